//! Finds streaks that have lapsed, once no contribution that keeps them can come any more.

use raidhall_protocol::UnixMillis;
use raidhall_protocol::progression::StreakRules;
use tokio::time::Instant;

use super::causes::Work;
use super::{LAPSE_SCAN_INTERVAL, Projector, Tenure};
use crate::store::Result;
use crate::streams::settled_moment;

/// Maximum number of streaks that are lost together.
const LAPSED_STREAKS_MAX: u32 = 256;

/// Up to which moment the streaks of players have lapsed, and by which rules they are lost.
pub(super) struct SettledLapses {
    pub(super) settled_at: UnixMillis,
    pub(super) rules: StreakRules,
}

impl Projector {
    /// Appends the losses of a page of streaks that have lapsed, in the order in which they did. The
    /// next page is due at once, but after the next events of the feed. Players with a failed cause come
    /// later: it may keep their streak. Returns false if this instance is not the projector any more.
    pub(super) async fn lose_lapsed(&self, tenure: &mut Tenure) -> Result<bool> {
        let after = tenure.lapses_after.take();
        tenure.lapses_due_at = Instant::now() + LAPSE_SCAN_INTERVAL;
        let Some(rules) = self.definitions.newest().await?.streaks else {
            return Ok(true);
        };
        let now = self.clock.now();
        let settled_at = settled_moment(&*self.store, tenure.place, now).await?;
        let Some(settled_at) = settled_at else {
            return Ok(true);
        };
        let lapsed = self
            .store
            .lapsed_streaks(settled_at, after, LAPSED_STREAKS_MAX)
            .await?;
        if lapsed.is_empty() {
            return Ok(true);
        }
        if lapsed.len() == LAPSED_STREAKS_MAX as usize {
            tenure.lapses_after = lapsed.last().copied();
            tenure.lapses_due_at = Instant::now();
        }
        tenure.limit_memory();
        let mut work = Work::new(tenure.place);
        work.lapses = Some(SettledLapses { settled_at, rules });
        for streak in &lapsed {
            work.waiting.entry(streak.player).or_default();
        }
        self.project(tenure, work).await
    }
}
