//! Makes windows of leaderboards final, once no contribution that counts in them can come any more.

use tokio::time::Instant;

use super::{CLOSED_WINDOWS_INTERVAL, Projector, Tenure};
use crate::definitions::BoardDefinition;
use crate::store::Result;
use crate::streams::settled_moment;

impl Projector {
    /// Makes the windows final that closed up to the moment to which all contributions are in the
    /// streams. **No page adds to a final window**: the next one is computed with the new moment, and one
    /// that another projector computed before is refused. Returns false if this instance is not the
    /// projector any more.
    pub(super) async fn finish_closed(&self, tenure: &mut Tenure) -> Result<bool> {
        tenure.closed_windows_due_at = Instant::now() + CLOSED_WINDOWS_INTERVAL;
        let final_until = tenure.boards.final_until;
        let definitions = self.definitions.newest().await?;
        let next_close = |board: &BoardDefinition| board.closes_at(board.number_at(final_until));
        let next_close = definitions.boards.iter().filter_map(next_close).min();
        let now = self.clock.now();
        let Some(closes_at) = next_close.filter(|closes_at| *closes_at <= now) else {
            return Ok(true);
        };
        let settled_at = settled_moment(&*self.store, tenure.place, now).await?;
        let Some(settled_at) = settled_at.filter(|settled_at| closes_at <= *settled_at) else {
            return Ok(true);
        };
        if !self.store.finish_boards(self.instance, settled_at).await? {
            return Ok(false);
        }
        tenure.boards.final_until = settled_at;
        Ok(true)
    }
}
