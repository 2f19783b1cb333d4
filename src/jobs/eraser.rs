//! Erasure of players: the request handler closes the account at once, and this job then erases the
//! player from each raid.
//!
//! Each raid's owner decides what its members see of the erasure (`raid::erasure`); once that is
//! committed, the player's earlier events in the ledger are rewritten. The store keeps every
//! unfinished erasure, so any instance can continue after a crash. Every step may be repeated.

use std::sync::Arc;
use std::time::Duration;

use raidhall_protocol::{Event, EventData, PlayerId, RaidId, Seq};
use tokio::sync::Notify;
use tokio::time::timeout;
use tracing::{info, warn};

use crate::clock::Clock;
use crate::error::Error;
use crate::raid::{self, erasure};
use crate::session::Registry;
use crate::store::{Erasure, Result, Store, StoreError};
use crate::telemetry::{ErasureOutcome, metrics};

/// Interval between checks for erasures that another instance began or did not finish.
const POLL_INTERVAL: Duration = Duration::from_secs(10);
/// Delay after which an erasure that was taken may be taken again: long enough for most erasures,
/// and short enough to replace an instance that died.
const RETRY_DELAY: Duration = Duration::from_secs(60);
/// Delay after which every command that was accepted before the account was closed has taken
/// effect: the ban reaches every instance within 2 s, and a command that was waiting then begins
/// within 5 s or never.
const SETTLE_MILLIS: i64 = 30_000;
/// Raids, or events, that are read at once.
const PAGE_ROWS: u32 = 128;

/// Task that finishes the erasure of players.
pub struct Eraser {
    /// Store of accounts, raids and unfinished erasures.
    pub store: Arc<dyn Store>,
    /// Registry that executes the erasure in each raid.
    pub sessions: Registry,
    /// Clock that follows the database's.
    pub clock: Arc<Clock>,
    /// Notified when an account has been closed on this instance.
    pub erasure_requested: Arc<Notify>,
}

/// Reason why a raid, or all of a player's raids, could not be processed.
#[derive(Debug, thiserror::Error)]
enum EraseError {
    #[error("the raid's owner: {0:?}")]
    Session(Error),
    #[error("raids left: {0}")]
    RaidsLeft(u64),
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Eraser {
    /// Finishes pending erasures until dropped.
    pub async fn run(self) {
        loop {
            match self.store.take_erasure(self.clock.now(), RETRY_DELAY).await {
                Ok(Some(erasure)) => self.erase(erasure).await,
                found => {
                    if let Err(error) = found {
                        warn!(
                            ?error,
                            "lookup of pending erasures failed; retrying within 10s"
                        );
                    }
                    let _ = timeout(POLL_INTERVAL, self.erasure_requested.notified()).await;
                }
            }
        }
    }

    async fn erase(&self, erasure: Erasure) {
        let player = erasure.player;
        let outcome = self.try_erase(erasure).await.unwrap_or_else(|error| {
            warn!(%player, ?error, "erasing a player failed; retrying");
            ErasureOutcome::Incomplete
        });
        metrics().erasures.increment(outcome);
    }

    /// Erases a player from all of their raids. The erasure ends with a pass that began at least
    /// [`SETTLE_MILLIS`] after the account was closed, when no event of the player could follow.
    async fn try_erase(
        &self,
        Erasure { player, begun_at }: Erasure,
    ) -> Result<ErasureOutcome, EraseError> {
        let settled = self.clock.now().since(begun_at) >= SETTLE_MILLIS;
        let left = self.erase_from_raids(player).await?;
        if left > 0 {
            return Err(EraseError::RaidsLeft(left));
        }
        if !settled {
            return Ok(ErasureOutcome::Settling);
        }
        self.store.end_erasure(player).await?;
        info!(%player, "player erased");
        Ok(ErasureOutcome::Ended)
    }

    /// Erases a player from their raids, and returns the number of raids that failed.
    async fn erase_from_raids(&self, player: PlayerId) -> Result<u64> {
        let mut left = 0;
        let mut after = None;
        loop {
            let raids = self
                .store
                .raids_ever_joined(player, after, PAGE_ROWS)
                .await?;
            let Some(last) = raids.last() else {
                return Ok(left);
            };
            after = Some(*last);
            for raid in raids {
                if let Err(error) = self.erase_from_raid(raid, player).await {
                    warn!(%raid, %player, %error, "erasing a player from a raid failed; retrying later");
                    left += 1;
                }
            }
        }
    }

    async fn erase_from_raid(&self, raid: RaidId, player: PlayerId) -> Result<(), EraseError> {
        let first = self.store.events(raid, Seq::ZERO, 1).await?.pop();
        let made_raid = first.is_some_and(|first| first.by == Some(player));
        let command = raid::RaidCommand::Erase { player, made_raid };
        let ack = self
            .sessions
            .execute(raid, command, None)
            .await
            .map_err(EraseError::Session)?;
        Ok(self.rewrite_events(raid, player, ack.seq).await?)
    }

    /// Rewrites the events up to `last`, after which the raid shows nothing of the player.
    async fn rewrite_events(&self, raid: RaidId, player: PlayerId, last: Seq) -> Result<()> {
        // Snapshots older than an erasure still contain the erased texts.
        let mut clean_from = Seq::ZERO;
        let mut after = Seq::ZERO;
        while after < last {
            let page = self.store.events(raid, after, PAGE_ROWS).await?;
            let Some(end) = page.last() else { break };
            after = end.seq;
            let redacted: Vec<Event> = page
                .iter()
                .filter_map(|event| erasure::redact(event, player))
                .collect();
            let erased = page
                .iter()
                .rev()
                .find(|event| is_erasure_of(event, player))
                .map(|event| event.seq);
            clean_from = clean_from.max(erased.unwrap_or(Seq::ZERO));
            if !redacted.is_empty() {
                clean_from = last;
                self.store
                    .rewrite_events(raid, &redacted, Seq::ZERO)
                    .await?;
            }
        }
        self.store.rewrite_events(raid, &[], clean_from).await
    }
}

/// Returns whether an event records the player's erasure.
fn is_erasure_of(event: &Event, player: PlayerId) -> bool {
    matches!(event.data, EventData::PlayerErased { player: erased, .. } if erased == player)
}
