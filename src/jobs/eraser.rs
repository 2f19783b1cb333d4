//! Forgetting players: their accounts are closed by the doors, at once; here their raids follow, one by one.
//!
//! Each raid's owner decides what its members see of it (`raid::erasure`); when that is committed, what stands before it
//! in the ledger is rewritten. Whatever dies in between, the store knows who is not forgotten yet, and any instance goes
//! on. Every step may be taken again.

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

/// How often to look for erasures that another instance began or did not end.
const POLL_INTERVAL: Duration = Duration::from_secs(10);
/// How long after a look through a player's raids the next one is due: enough for most, and whoever died is soon replaced.
const RETRY_DELAY: Duration = Duration::from_secs(60);
/// How long after an account was closed the last of what was let in before has taken effect: the ban reaches every
/// instance within 2 s, and a command that was parked then is begun within 5 s or never.
const SETTLE_MILLIS: i64 = 30_000;
/// Raids, or events, read at once.
const PAGE_ROWS: u32 = 128;

/// What forgetting needs.
pub struct Eraser {
    /// Where everything is.
    pub store: Arc<dyn Store>,
    /// Where raids are live.
    pub sessions: Registry,
    /// What time it is.
    pub clock: Arc<Clock>,
    /// Somebody has just closed an account.
    pub erasure_requested: Arc<Notify>,
}

/// Why a raid, or all of a player's, could not be gone through.
#[derive(Debug, thiserror::Error)]
enum EraseError {
    #[error("the raid's owner: {0:?}")]
    Session(Error),
    #[error("raids that are still to do: {0}")]
    RaidsLeft(u64),
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Eraser {
    /// Forgets whoever is to be forgotten, until dropped.
    pub async fn run(self) {
        loop {
            match self.store.take_erasure(RETRY_DELAY).await {
                Ok(Some(erasure)) => self.erase(erasure).await,
                found => {
                    if let Err(error) = found {
                        warn!(?error, "it could not be looked up who is to be forgotten");
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

    /// Goes through all of a player's raids. It ends with a round that began when nothing could be added any more.
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
        info!(%player, "a player is forgotten");
        Ok(ErasureOutcome::Ended)
    }

    /// The number of raids that are still to do.
    async fn erase_from_raids(&self, player: PlayerId) -> Result<u64> {
        let (mut left, mut after) = (0, None);
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
                    warn!(%raid, %player, %error, "a player could not be taken out of a raid");
                    left += 1;
                }
            }
        }
    }

    async fn erase_from_raid(&self, raid: RaidId, player: PlayerId) -> Result<(), EraseError> {
        let first = self.store.events(raid, Seq::ZERO, 1).await?.pop();
        let made_raid = first.is_some_and(|first| first.by == Some(player));
        let command = raid::RaidCommand::Erase { player, made_raid };
        let taken_out = self
            .sessions
            .execute(raid, command, None)
            .await
            .map_err(EraseError::Session)?;
        Ok(self.rewrite_events(raid, player, taken_out.seq).await?)
    }

    /// Rewrites what stands up to `last`, where the raid shows nothing of the player any more.
    async fn rewrite_events(&self, raid: RaidId, player: PlayerId, last: Seq) -> Result<()> {
        // Older snapshots tell what was erased after them.
        let (mut clean_from, mut after) = (Seq::ZERO, Seq::ZERO);
        while after < last {
            let page = self.store.events(raid, after, PAGE_ROWS).await?;
            let Some(end) = page.last() else { break };
            after = end.seq;
            let told: Vec<Event> = page
                .iter()
                .filter_map(|event| erasure::redact(event, player))
                .collect();
            let erased = page
                .iter()
                .rev()
                .find(|event| is_erasure_of(event, player))
                .map(|event| event.seq);
            clean_from = clean_from.max(erased.unwrap_or(Seq::ZERO));
            if !told.is_empty() {
                clean_from = last;
                self.store.rewrite_events(raid, &told, Seq::ZERO).await?;
            }
        }
        self.store.rewrite_events(raid, &[], clean_from).await
    }
}

/// Whether an event says that the player is erased.
fn is_erasure_of(event: &Event, player: PlayerId) -> bool {
    matches!(event.data, EventData::PlayerErased { player: erased, .. } if erased == player)
}
