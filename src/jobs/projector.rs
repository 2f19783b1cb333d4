//! Turns raids' events into events of players' streams, in the order of the feed, on the instance
//! that is the projector.
//!
//! **Each cause takes effect once.** Its op key is written with its effects, and a cause whose key is
//! in the stream is skipped, so a page can be projected again after any failure. A command of a
//! player that comes between makes the projector compute that player's effects again.
//!
//! A cause that fails is put aside and tried again every minute. The others go on.
//!
//! The projector also knows up to which moment all contributions are in the streams. So it appends
//! the losses of streaks that lapsed before that and reminders of those at risk, and makes windows of
//! leaderboards final that closed before.

mod causes;
mod contexts;
mod finals;
mod page;
mod streaks;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use raidhall_protocol::PlayerId;
use tokio::sync::Notify;
use tokio::time::{Instant, timeout};
use tracing::info;

pub use self::contexts::RaidContexts;
use crate::clock::Clock;
use crate::cluster::client::ClusterClient;
use crate::feed_reader::FeedReader;
use crate::player::PlayerFold;
use crate::progression::BoardTimes;
use crate::store::{DueStreak, FeedCursor, InstanceId, Result, Store};
use crate::streams::{CurrentDefinitions, Streams};
use crate::telemetry::metrics;

/// Interval between reads of the feed while no commit is announced.
const POLL_INTERVAL: Duration = Duration::from_secs(2);
/// Interval between reads of the feed for [`ACTIVE_PERIOD`] after something happened: more is likely
/// to follow, and a commit may not be in the feed yet because a transaction in flight is before it.
const ACTIVE_POLL_INTERVAL: Duration = Duration::from_millis(100);
const ACTIVE_PERIOD: Duration = Duration::from_secs(5);
/// Interval between searches for streaks for which something is due.
const STREAK_SCAN_INTERVAL: Duration = Duration::from_secs(10);
/// Interval between attempts at the causes that failed.
const FAILED_RETRY_INTERVAL: Duration = Duration::from_secs(60);
/// Interval between searches for windows of leaderboards that have closed.
const CLOSED_WINDOWS_INTERVAL: Duration = Duration::from_secs(10);
/// Interval between deletions of leaderboards' empty counts, once there were few.
const EMPTY_COUNTS_INTERVAL: Duration = Duration::from_secs(60);
/// Maximum number of empty counts that are deleted at once: more than a page of events can leave.
const EMPTY_COUNTS_MAX: u32 = 10_000;
/// Maximum number of events that are read at once.
const PAGE_EVENTS_MAX: u32 = 512;
/// Maximum number of players' states that are kept between pages.
const FOLDS_KEPT_MAX: usize = 10_000;

/// Task that projects raids' events onto players' streams.
pub struct Projector {
    /// Store of the feed and of the streams.
    pub store: Arc<dyn Store>,
    /// Streams that clients watch at this instance.
    pub streams: Streams,
    /// Id of this instance.
    pub instance: InstanceId,
    /// The clock of the database.
    pub clock: Arc<Clock>,
    /// The definitions of progression.
    pub definitions: CurrentDefinitions,
    /// Announces commits of other instances.
    pub cluster: ClusterClient,
    /// Notified when an instance has committed events.
    pub feed_advanced: Arc<Notify>,
    /// Called with how far the projector is behind; `None` while this instance is not the projector.
    pub report_lag: Box<dyn Fn(Option<Duration>) + Send + Sync>,
}

/// What the projector knows while it is the projector.
struct Tenure {
    place: FeedCursor,
    /// Players' states after what was written last. An append shows whether they still are.
    folds: HashMap<PlayerId, PlayerFold>,
    contexts: RaidContexts,
    boards: BoardTimes,
    active_until: Instant,
    failed_due_at: Instant,
    empty_counts_due_at: Instant,
    closed_windows_due_at: Instant,
    streaks_due_at: Instant,
    /// The last streak of the latest page of due ones, while more may follow.
    streaks_after: Option<DueStreak>,
}

#[async_trait]
impl FeedReader for Projector {
    async fn acquire_and_read(&self) -> Result<()> {
        let Some(place) = self.store.acquire_projector(self.instance).await? else {
            self.record_lag(None);
            return Ok(());
        };
        info!("this instance is the projector");
        let _subscription = self.cluster.follow_feed().await;
        let mut tenure = Tenure {
            place,
            folds: HashMap::new(),
            contexts: RaidContexts::new(Arc::clone(&self.store)),
            boards: BoardTimes {
                since: self.store.boards_since().await?,
                final_until: self.store.boards_final_until().await?,
            },
            active_until: Instant::now(),
            failed_due_at: Instant::now(),
            empty_counts_due_at: Instant::now(),
            closed_windows_due_at: Instant::now(),
            streaks_due_at: Instant::now(),
            streaks_after: None,
        };
        while self.project_next(&mut tenure).await? {}
        info!("this instance is not the projector any more");
        Ok(())
    }

    async fn release(&self) -> Result<()> {
        self.record_lag(None);
        self.store.release_projector(self.instance).await
    }

    fn count_newer(&self) {
        metrics().projector_newer.increment(1);
    }
}

impl Projector {
    /// Projects the next page, or waits for one. Returns false if this instance is not the projector
    /// any more.
    async fn project_next(&self, tenure: &mut Tenure) -> Result<bool> {
        if tenure.failed_due_at <= Instant::now() {
            tenure.failed_due_at = Instant::now() + FAILED_RETRY_INTERVAL;
            if !self.retry_failed(tenure).await? {
                return Ok(false);
            }
        }
        if tenure.empty_counts_due_at <= Instant::now()
            && self.store.delete_empty_counts(EMPTY_COUNTS_MAX).await? < EMPTY_COUNTS_MAX
        {
            tenure.empty_counts_due_at = Instant::now() + EMPTY_COUNTS_INTERVAL;
        }
        if tenure.closed_windows_due_at <= Instant::now() && !self.finish_closed(tenure).await? {
            return Ok(false);
        }
        if tenure.streaks_due_at <= Instant::now() && !self.append_due(tenure).await? {
            return Ok(false);
        }
        let batch = self.store.read_feed(tenure.place, PAGE_EVENTS_MAX).await?;
        let Some(oldest) = batch.events.first() else {
            self.record_lag(Some(Duration::ZERO));
            if tenure.streaks_after.is_none() {
                self.wait(tenure).await;
            }
            return Ok(true);
        };
        tenure.active_until = Instant::now() + ACTIVE_PERIOD;
        let lag = self.clock.now().since(oldest.event.at).max(0);
        self.record_lag(Some(Duration::from_millis(lag.cast_unsigned())));
        let work = self.find_work(tenure, batch).await?;
        self.project(tenure, work).await
    }

    fn record_lag(&self, lag: Option<Duration>) {
        metrics()
            .projector_lag
            .set(lag.unwrap_or_default().as_secs_f64());
        (self.report_lag)(lag);
    }

    async fn wait(&self, tenure: &mut Tenure) {
        let interval = if Instant::now() < tenure.active_until {
            ACTIVE_POLL_INTERVAL
        } else {
            POLL_INTERVAL
        };
        if timeout(interval, self.feed_advanced.notified())
            .await
            .is_ok()
        {
            tenure.active_until = Instant::now() + ACTIVE_PERIOD;
        }
    }
}

impl Tenure {
    /// Forgets what is kept between pages if it has become too much. It is read again.
    fn limit_memory(&mut self) {
        if self.folds.len() > FOLDS_KEPT_MAX {
            self.folds.clear();
        }
    }
}
