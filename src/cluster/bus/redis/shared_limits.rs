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

use super::backoff::ReconnectBackoff;
use super::connection::RedisConnection;
use super::server::{RedisConnector, with_timeout};
use super::{RedisOptions, STABLE_AFTER};
use crate::limits::rate::{QuotaStatus, Rate, RateLimitExceeded};
use crate::telemetry::{LocalLimitCause, metrics};

/// How long an answer may take.
const RESPONSE_TIMEOUT: Duration = Duration::from_millis(50);
/// How long to wait before asking again whether this user may.
const FORBIDDEN_RETRY_DELAY: Duration = Duration::from_secs(60);
/// What is charged to see whether it works.
const PROBE_KEY: &str = "ratelimit:{probe}:probe";

/// Charges `count` (negative: takes back) to an allowance kept as the moment at which it is full again, by Redis's own
/// clock in microseconds. Answers whether it was charged, and after how long the allowance is full again.
const CHARGE_SCRIPT: &str = "\
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local interval, limit, count = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local full_at = math.max(tonumber(redis.call('GET', KEYS[1]) or now), now)
local charged = math.max(full_at + interval * count, now)
if count > 0 and charged - now > interval * limit then return {0, full_at - now} end
redis.call('SET', KEYS[1], string.format('%.0f', charged), 'PX', math.max(1, math.ceil((charged - now) / 1000)))
return {1, charged - now}";

/// How Redis says that the user may run a script, and not what is in it: it has no code for that.
const SCRIPT_FORBIDDEN_MESSAGES: [&str; 2] = [
    "The user executing the script can't",
    "ACL failure in script",
];

/// A handle. It works while its [`SharedLimitsDriver`] runs.
#[derive(Clone)]
pub struct SharedLimits(Arc<SharedLimitsInner>);

/// What keeps it connected.
pub struct SharedLimitsDriver {
    server: RedisConnector,
    shared: Arc<SharedLimitsInner>,
}

struct SharedLimitsInner {
    state: RwLock<SharedLimitsState>,
    failed: Notify,
    /// Whether it was said that it does not work.
    has_warned: AtomicBool,
}

enum SharedLimitsState {
    Connected(RedisConnection),
    /// Callers count for themselves, for this cause.
    Unavailable(LocalLimitCause),
}

impl SharedLimits {
    /// Connects to the bus's Redis once its keeper runs.
    ///
    /// # Errors
    ///
    /// The URL or the certificates make no sense. The error does not show the password.
    pub fn new(options: &RedisOptions) -> anyhow::Result<(SharedLimits, SharedLimitsDriver)> {
        let shared = Arc::new(SharedLimitsInner {
            state: RwLock::new(SharedLimitsState::Unavailable(LocalLimitCause::Down)),
            failed: Notify::new(),
            has_warned: AtomicBool::new(false),
        });
        let keeper = SharedLimitsDriver {
            server: RedisConnector::new(options)?,
            shared: Arc::clone(&shared),
        };
        Ok((SharedLimits(shared), keeper))
    }

    /// Charges one; none if that cannot be had now.
    pub async fn charge(
        &self,
        key: &str,
        rate: Rate,
    ) -> Option<Result<QuotaStatus, RateLimitExceeded>> {
        let (charged, used) = self.charge_count(key, rate, 1).await?;
        Some(if charged {
            Ok(rate.quota_status(used))
        } else {
            Err(rate.exceeded(used))
        })
    }

    /// Takes one charge back, if that can be had now.
    pub async fn refund(&self, key: &str, rate: Rate) {
        self.charge_count(key, rate, -1).await;
    }

    async fn charge_count(&self, key: &str, rate: Rate, count: i32) -> Option<(bool, Duration)> {
        let away = match &*self.0.state.read() {
            SharedLimitsState::Connected(link) => Ok(link.clone()),
            SharedLimitsState::Unavailable(cause) => Err(*cause),
        };
        match away {
            Ok(link) => run_charge_script(&link, key, rate, count)
                .await
                .inspect_err(|error| self.0.mark_unavailable(error))
                .ok(),
            Err(cause) => {
                metrics().limits_local.increment(cause);
                None
            }
        }
    }
}

impl SharedLimitsInner {
    fn mark_unavailable(&self, error: &RedisError) {
        metrics().limits_local.increment(LocalLimitCause::Failed);
        *self.state.write() = SharedLimitsState::Unavailable(LocalLimitCause::Down);
        self.log_unavailable(error);
        self.failed.notify_one();
    }

    fn log_unavailable(&self, error: &RedisError) {
        if self.has_warned.swap(true, Ordering::Relaxed) {
            debug!(%error, "rate limits are still counted by this instance alone");
        } else {
            warn!(%error, "rate limits are counted by this instance alone");
        }
    }
}

impl SharedLimitsDriver {
    /// Connects, and connects again, for ever.
    pub async fn run(self) {
        let mut backoff = ReconnectBackoff::default();
        loop {
            match self.connect().await {
                Ok(link) => {
                    let begun = Instant::now();
                    self.serve_until_failure(link).await;
                    if begun.elapsed() >= STABLE_AFTER {
                        backoff = ReconnectBackoff::default();
                    }
                }
                Err(error) => {
                    self.shared.log_unavailable(&error);
                    if is_forbidden(&error) {
                        *self.shared.state.write() =
                            SharedLimitsState::Unavailable(LocalLimitCause::Forbidden);
                        sleep(FORBIDDEN_RETRY_DELAY).await;
                        continue;
                    }
                    *self.shared.state.write() =
                        SharedLimitsState::Unavailable(LocalLimitCause::Down);
                }
            }
            sleep(backoff.next_delay()).await;
        }
    }

    async fn connect(&self) -> RedisResult<RedisConnection> {
        let link = self.server.connect(None).await?;
        // Next time the node of the URL may be gone.
        if let Ok(nodes) = link.cluster_nodes().await {
            self.server.set_known_nodes(nodes);
        }
        run_charge_script(&link, PROBE_KEY, Rate::new(1, Duration::from_millis(1)), 1).await?;
        Ok(link)
    }

    /// Until the first doubt.
    async fn serve_until_failure(&self, link: RedisConnection) {
        *self.shared.state.write() = SharedLimitsState::Connected(link);
        let doubted = self.shared.failed.notified();
        tokio::pin!(doubted);
        if tokio::time::timeout(STABLE_AFTER, doubted.as_mut())
            .await
            .is_ok()
        {
            return;
        }
        if self.shared.has_warned.swap(false, Ordering::Relaxed) {
            info!("rate limits are shared again");
        }
        doubted.await;
    }
}

async fn run_charge_script(
    link: &RedisConnection,
    key: &str,
    rate: Rate,
    count: i32,
) -> RedisResult<(bool, Duration)> {
    let mut command = redis::cmd("EVAL");
    let interval = u64::try_from(rate.interval().as_micros()).unwrap_or(u64::MAX);
    command
        .arg(CHARGE_SCRIPT)
        .arg(1)
        .arg(key)
        .arg(interval)
        .arg(rate.limit())
        .arg(count);
    let (charged, used): (u8, u64) = with_timeout(RESPONSE_TIMEOUT, link.query(&command)).await?;
    Ok((charged == 1, Duration::from_micros(used)))
}

/// Whether this user may not do it, itself or in a script.
fn is_forbidden(error: &RedisError) -> bool {
    error.code() == Some("NOPERM")
        || SCRIPT_FORBIDDEN_MESSAGES
            .iter()
            .any(|words| error.to_string().contains(words))
}
