//! Rate limits that all instances charge together, counted in the bus's Redis.
//!
//! They use a connection of their own, so that neither the bus nor a limit waits for the other. A
//! caller waits only for a moment: if Redis does not respond, or refuses the commands, the caller
//! counts locally while the connection is reopened.

use std::fmt::Display;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::RwLock;
use redis::{Cmd, RedisError, RedisResult};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep};
use tracing::{debug, info, warn};

use super::backoff::ReconnectBackoff;
use super::connection::RedisConnection;
use super::server::{RedisConnector, with_timeout};
use super::{RedisOptions, STABLE_AFTER};
use crate::limits::rate::{QuotaStatus, Rate, RateLimitExceeded};
use crate::telemetry::{LocalLimitCause, metrics};

/// Longest wait for a response.
const RESPONSE_TIMEOUT: Duration = Duration::from_millis(50);
/// Longest wait for the response to a report, which no caller waits for.
const REPORT_TIMEOUT: Duration = Duration::from_secs(1);
/// Delay before checking again whether the Redis user has the rights that it lacked.
const FORBIDDEN_RETRY_DELAY: Duration = Duration::from_secs(60);
/// Key that is charged to check whether shared limits work.
const PROBE_KEY: &str = "ratelimit:{probe}:probe";

/// Charges `count` (negative: refunds) to an allowance, which is kept as the time at which it is
/// full again, in microseconds by Redis's own clock. A `report` is charged even if less is left.
/// Returns whether it was charged, and how long until the allowance is full again.
const CHARGE_SCRIPT: &str = "\
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local interval, limit, count = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local full_at = math.max(tonumber(redis.call('GET', KEYS[1]) or now), now)
local charged = math.max(full_at + interval * count, now)
if count > 0 and ARGV[4] == 'charge' and charged - now > interval * limit then return {0, full_at - now} end
redis.call('SET', KEYS[1], string.format('%.0f', charged), 'PX', math.max(1, math.ceil((charged - now) / 1000)))
return {1, charged - now}";

/// Messages of Redis for a user that may run scripts but not the commands in them; there is no
/// error code for that.
const SCRIPT_FORBIDDEN_MESSAGES: [&str; 2] = [
    "The user executing the script can't",
    "ACL failure in script",
];

/// Returns the key of what is charged to `subject` in a class of limits. Clusters that share a Redis
/// have different lineages.
pub fn shared_key(lineage: &str, subject: impl Display, class: &str) -> String {
    format!("ratelimit:{{{lineage}:{subject}}}:{class}")
}

/// A handle to the shared limits. It works while its [`SharedLimitsDriver`] runs.
#[derive(Clone)]
pub struct SharedLimits(Arc<SharedLimitsInner>);

/// Task that keeps the shared limits connected.
pub struct SharedLimitsDriver {
    server: RedisConnector,
    shared: Arc<SharedLimitsInner>,
}

struct SharedLimitsInner {
    state: RwLock<SharedLimitsState>,
    failed: Notify,
    /// Whether the loss of shared limits was logged as a warning.
    has_warned: AtomicBool,
}

enum SharedLimitsState {
    Connected(RedisConnection),
    /// Callers count locally, for this cause.
    Unavailable(LocalLimitCause),
}

impl SharedLimits {
    /// Creates shared limits that connect once their driver runs.
    ///
    /// # Errors
    ///
    /// The URL or the certificates are invalid. The error does not show the password.
    pub fn new(options: &RedisOptions) -> anyhow::Result<(SharedLimits, SharedLimitsDriver)> {
        let shared = Arc::new(SharedLimitsInner {
            state: RwLock::new(SharedLimitsState::Unavailable(LocalLimitCause::Down)),
            failed: Notify::new(),
            has_warned: AtomicBool::new(false),
        });
        let driver = SharedLimitsDriver {
            server: RedisConnector::new(options)?,
            shared: Arc::clone(&shared),
        };
        Ok((SharedLimits(shared), driver))
    }

    /// Charges one. Returns `None` if shared limits are not available now.
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

    /// Refunds one charge, if shared limits are available now.
    pub async fn refund(&self, key: &str, rate: Rate) {
        self.charge_count(key, rate, -1).await;
    }

    /// Charges what was granted locally, in one round trip for all keys, even where less is left.
    /// Returns for each key how long until its allowance is full again; `None` if shared limits are
    /// not available now.
    pub async fn report(&self, charges: &[(String, u32)], rate: Rate) -> Option<Vec<Duration>> {
        let connection = self.0.connection()?;
        let commands: Vec<_> = charges
            .iter()
            .map(|(key, count)| charge_script(key, rate, i64::from(*count), "report"))
            .collect();
        let reported: Vec<(u8, u64)> =
            with_timeout(REPORT_TIMEOUT, connection.query_all(&commands))
                .await
                .inspect_err(|error| self.0.mark_unavailable(error))
                .ok()?;
        let used = reported.into_iter().map(|(_, used)| used);
        Some(used.map(Duration::from_micros).collect())
    }

    async fn charge_count(&self, key: &str, rate: Rate, count: i64) -> Option<(bool, Duration)> {
        let connection = self.0.connection()?;
        run_charge_script(&connection, key, rate, count)
            .await
            .inspect_err(|error| self.0.mark_unavailable(error))
            .ok()
    }
}

impl SharedLimitsInner {
    /// Returns the connection, or counts in the metrics that the caller counts locally.
    fn connection(&self) -> Option<RedisConnection> {
        match &*self.state.read() {
            SharedLimitsState::Connected(connection) => Some(connection.clone()),
            SharedLimitsState::Unavailable(cause) => {
                metrics().limits_local.increment(*cause);
                None
            }
        }
    }

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
    /// Connects, and reconnects, until dropped.
    pub async fn run(self) {
        let mut backoff = ReconnectBackoff::default();
        loop {
            match self.connect().await {
                Ok(connection) => {
                    let connected_at = Instant::now();
                    self.serve_until_failure(connection).await;
                    if connected_at.elapsed() >= STABLE_AFTER {
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
        let connection = self.server.connect(None).await?;
        // The node in the URL may be gone the next time.
        if let Ok(nodes) = connection.cluster_nodes().await {
            self.server.set_known_nodes(nodes);
        }
        run_charge_script(
            &connection,
            PROBE_KEY,
            Rate::new(1, Duration::from_millis(1)),
            1,
        )
        .await?;
        Ok(connection)
    }

    /// Serves charges over `connection` until the first failure.
    async fn serve_until_failure(&self, connection: RedisConnection) {
        *self.shared.state.write() = SharedLimitsState::Connected(connection);
        let failure = self.shared.failed.notified();
        tokio::pin!(failure);
        if tokio::time::timeout(STABLE_AFTER, failure.as_mut())
            .await
            .is_ok()
        {
            return;
        }
        if self.shared.has_warned.swap(false, Ordering::Relaxed) {
            info!("rate limits are shared again");
        }
        failure.await;
    }
}

async fn run_charge_script(
    connection: &RedisConnection,
    key: &str,
    rate: Rate,
    count: i64,
) -> RedisResult<(bool, Duration)> {
    let command = charge_script(key, rate, count, "charge");
    let (charged, used): (u8, u64) =
        with_timeout(RESPONSE_TIMEOUT, connection.query(&command)).await?;
    Ok((charged == 1, Duration::from_micros(used)))
}

/// Returns the command that runs the script, to `charge` or to `report`.
fn charge_script(key: &str, rate: Rate, count: i64, mode: &str) -> Cmd {
    let mut command = redis::cmd("EVAL");
    let interval = u64::try_from(rate.interval().as_micros()).unwrap_or(u64::MAX);
    command
        .arg(CHARGE_SCRIPT)
        .arg(1)
        .arg(key)
        .arg(interval)
        .arg(rate.limit())
        .arg(count)
        .arg(mode);
    command
}

/// Returns whether Redis refuses the command, itself or within a script, for lack of rights.
fn is_forbidden(error: &RedisError) -> bool {
    error.code() == Some("NOPERM")
        || SCRIPT_FORBIDDEN_MESSAGES
            .iter()
            .any(|words| error.to_string().contains(words))
}
