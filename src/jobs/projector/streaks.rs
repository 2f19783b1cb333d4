//! Finds streaks that have lapsed or are at risk, once no contribution that keeps their day can be
//! on its way any more.

use raidhall_protocol::UnixMillis;
use raidhall_protocol::progression::StreakRules;
use tokio::time::Instant;

use super::causes::Work;
use super::{Projector, STREAK_SCAN_INTERVAL, Tenure};
use crate::store::Result;
use crate::streams::settled_moment;

/// Maximum number of streaks for which what is due is appended together.
const DUE_STREAKS_MAX: u32 = 256;

/// Up to which moment all contributions are known, and by which rules streaks are lost.
pub(super) struct SettledStreaks {
    pub(super) settled_at: UnixMillis,
    pub(super) rules: StreakRules,
}

impl Projector {
    /// Appends what is due for a page of streaks, their losses and reminders, in the order of these
    /// moments. The next page is due at once, but after the next events of the feed. Players with a
    /// failed cause come later: it may keep their streak. Returns false if this instance is not the
    /// projector any more.
    pub(super) async fn append_due(&self, tenure: &mut Tenure) -> Result<bool> {
        let after = tenure.streaks_after.take();
        tenure.streaks_due_at = Instant::now() + STREAK_SCAN_INTERVAL;
        let Some(rules) = self.definitions.newest().await?.streaks else {
            return Ok(true);
        };
        let now = self.clock.now();
        let settled_at = settled_moment(&*self.store, tenure.place, now).await?;
        let Some(settled_at) = settled_at else {
            return Ok(true);
        };
        let due = self
            .store
            .due_streaks(settled_at, after, DUE_STREAKS_MAX)
            .await?;
        if due.is_empty() {
            return Ok(true);
        }
        if due.len() == DUE_STREAKS_MAX as usize {
            tenure.streaks_after = due.last().copied();
            tenure.streaks_due_at = Instant::now();
        }
        tenure.limit_memory();
        let mut work = Work::new(tenure.place);
        work.streaks = Some(SettledStreaks { settled_at, rules });
        for streak in &due {
            work.waiting.entry(streak.player).or_default();
        }
        self.project(tenure, work).await
    }
}
