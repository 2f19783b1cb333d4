//! Allowances that all instances share: how often somebody may do something, counted in the bus's Redis.
//!
//! On a connection of its own, so that neither waits for the other. Whoever asks waits for a moment at most: where Redis
//! does not answer, or may not be asked, the caller counts for itself, and this connects anew meanwhile.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::RwLock;
use redis::{RedisError, RedisResult};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep};
use tracing::{debug, info, warn};

use super::backoff::Backoff;
use super::connection::Link;
use super::server::{Server, within};
use super::{GOOD, RedisOptions};
use crate::limits::rate::{Exceeded, Rate, Standing};
use crate::telemetry::metrics;

/// How long an answer may take.
const ANSWER: Duration = Duration::from_millis(50);
/// How long to wait before asking again whether this user may.
const FORBIDDEN: Duration = Duration::from_secs(60);
/// What is charged to see whether it works.
const PROBE: &str = "ratelimit:{probe}:probe";

/// Charges `count` (negative: takes back) to an allowance kept as the moment at which it is full again, by Redis's own
/// clock in microseconds. Answers whether it was charged, and after how long the allowance is full again.
const SCRIPT: &str = "\
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local interval, limit, count = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local full_at = math.max(tonumber(redis.call('GET', KEYS[1]) or now), now)
local charged = math.max(full_at + interval * count, now)
if count > 0 and charged - now > interval * limit then return {0, full_at - now} end
redis.call('SET', KEYS[1], string.format('%.0f', charged), 'PX', math.max(1, math.ceil((charged - now) / 1000)))
return {1, charged - now}";

/// How Redis says that the user may run a script, and not what is in it: it has no code for that.
const IN_SCRIPT: [&str; 2] = [
    "The user executing the script can't",
    "ACL failure in script",
];

/// A handle. It works while its [`Keeper`] runs.
#[derive(Clone)]
pub struct Allowances(Arc<Shared>);

/// What keeps it connected.
pub struct Keeper {
    server: Server,
    shared: Arc<Shared>,
}

struct Shared {
    state: RwLock<State>,
    doubted: Notify,
    /// Whether it was said that it does not work.
    told: AtomicBool,
}

enum State {
    Up(Link),
    /// Callers count for themselves, for this cause.
    Away(&'static str),
}

impl Allowances {
    /// Connects to the bus's Redis once its keeper runs.
    ///
    /// # Errors
    ///
    /// The URL or the certificates make no sense. The error does not show the password.
    pub fn new(options: &RedisOptions) -> anyhow::Result<(Allowances, Keeper)> {
        let shared = Arc::new(Shared {
            state: RwLock::new(State::Away("down")),
            doubted: Notify::new(),
            told: AtomicBool::new(false),
        });
        let keeper = Keeper {
            server: Server::new(options)?,
            shared: Arc::clone(&shared),
        };
        Ok((Allowances(shared), keeper))
    }

    /// Charges one; none if that cannot be had now.
    pub async fn charge(&self, key: &str, rate: Rate) -> Option<Result<Standing, Exceeded>> {
        let (charged, used) = self.ask(key, rate, 1).await?;
        Some(if charged {
            Ok(rate.standing(used))
        } else {
            Err(rate.exceeded(used))
        })
    }

    /// Takes one charge back, if that can be had now.
    pub async fn refund(&self, key: &str, rate: Rate) {
        self.ask(key, rate, -1).await;
    }

    async fn ask(&self, key: &str, rate: Rate, count: i32) -> Option<(bool, Duration)> {
        let away = match &*self.0.state.read() {
            State::Up(link) => Ok(link.clone()),
            State::Away(cause) => Err(*cause),
        };
        match away {
            Ok(link) => charge(&link, key, rate, count)
                .await
                .inspect_err(|error| self.0.doubt(error))
                .ok(),
            Err(cause) => {
                metrics().limits_local.increment(cause);
                None
            }
        }
    }
}

impl Shared {
    fn doubt(&self, error: &RedisError) {
        metrics().limits_local.increment("failed");
        *self.state.write() = State::Away("down");
        self.tell(error);
        self.doubted.notify_one();
    }

    fn tell(&self, error: &RedisError) {
        if self.told.swap(true, Ordering::Relaxed) {
            debug!(%error, "rate limits are still counted by this instance alone");
        } else {
            warn!(%error, "rate limits are counted by this instance alone");
        }
    }
}

impl Keeper {
    /// Connects, and connects again, for ever.
    pub async fn run(self) {
        let mut backoff = Backoff::default();
        loop {
            match self.begin().await {
                Ok(link) => {
                    let begun = Instant::now();
                    self.live(link).await;
                    if begun.elapsed() >= GOOD {
                        backoff = Backoff::default();
                    }
                }
                Err(error) => {
                    self.shared.tell(&error);
                    if is_forbidden(&error) {
                        *self.shared.state.write() = State::Away("forbidden");
                        sleep(FORBIDDEN).await;
                        continue;
                    }
                    *self.shared.state.write() = State::Away("down");
                }
            }
            sleep(backoff.next()).await;
        }
    }

    async fn begin(&self) -> RedisResult<Link> {
        let link = self.server.connect(None).await?;
        // Next time the node of the URL may be gone.
        if let Ok(nodes) = link.nodes().await {
            self.server.remember(nodes);
        }
        charge(&link, PROBE, Rate::new(1, Duration::from_millis(1)), 1).await?;
        Ok(link)
    }

    /// Until the first doubt.
    async fn live(&self, link: Link) {
        *self.shared.state.write() = State::Up(link);
        let doubted = self.shared.doubted.notified();
        tokio::pin!(doubted);
        if tokio::time::timeout(GOOD, doubted.as_mut()).await.is_ok() {
            return;
        }
        if self.shared.told.swap(false, Ordering::Relaxed) {
            info!("rate limits are shared again");
        }
        doubted.await;
    }
}

async fn charge(link: &Link, key: &str, rate: Rate, count: i32) -> RedisResult<(bool, Duration)> {
    let mut command = redis::cmd("EVAL");
    let interval = u64::try_from(rate.interval().as_micros()).unwrap_or(u64::MAX);
    command
        .arg(SCRIPT)
        .arg(1)
        .arg(key)
        .arg(interval)
        .arg(rate.limit())
        .arg(count);
    let (charged, used): (u8, u64) = within(ANSWER, link.query(&command)).await?;
    Ok((charged == 1, Duration::from_micros(used)))
}

/// Whether this user may not do it, itself or in a script.
fn is_forbidden(error: &RedisError) -> bool {
    error.code() == Some("NOPERM")
        || IN_SCRIPT
            .iter()
            .any(|words| error.to_string().contains(words))
}
