//! Finds what a page of the feed, or a cause that failed, means for players.

use std::collections::BTreeMap;

use raidhall_protocol::player::event::RaidPlace;
use raidhall_protocol::{Event, PlayerId, RaidId};
use tracing::warn;

use super::streaks::SettledStreaks;
use super::{Projector, Tenure};
use crate::progression::{Cause, causes};
use crate::store::{CommittedEvent, FailedCause, FeedBatch, FeedCursor, Result};

/// Maximum number of players whose failed causes are tried again together.
const FAILED_PLAYERS_MAX: u32 = 64;

/// Causes that are projected together, and what becomes of them.
pub(super) struct Work {
    /// The place behind them.
    pub(super) to: FeedCursor,
    /// Causes by player, in the order of the feed.
    pub(super) waiting: BTreeMap<PlayerId, Vec<Cause>>,
    /// What is due for these players' streaks.
    pub(super) streaks: Option<SettledStreaks>,
    /// Causes that failed in this attempt.
    pub(super) failed: Vec<FailedCause>,
    /// Causes that failed earlier and are tried again.
    pub(super) retried: Vec<(PlayerId, RaidPlace)>,
}

impl Work {
    pub(super) fn new(to: FeedCursor) -> Work {
        Work {
            to,
            waiting: BTreeMap::new(),
            streaks: None,
            failed: Vec::new(),
            retried: Vec::new(),
        }
    }

    fn add(&mut self, player: PlayerId, cause: Cause) {
        self.waiting.entry(player).or_default().push(cause);
    }
}

impl Projector {
    /// Finds what a page of the feed means for players.
    pub(super) async fn find_work(&self, tenure: &mut Tenure, batch: FeedBatch) -> Result<Work> {
        tenure.limit_memory();
        let mut work = Work::new(batch.next);
        for committed in &batch.events {
            let CommittedEvent { raid, event, .. } = committed;
            match tenure.contexts.find(committed).await? {
                Some(context) => {
                    for (player, cause) in causes(*raid, event, &context) {
                        work.add(player, cause);
                    }
                }
                None => self.put_members_aside(&mut work, *raid, event).await?,
            }
        }
        Ok(work)
    }

    /// Puts the end of a raid aside for its members, because the raid itself cannot be read.
    async fn put_members_aside(&self, work: &mut Work, raid: RaidId, event: &Event) -> Result<()> {
        let cause = RaidPlace {
            raid,
            seq: event.seq,
        };
        for members in self.store.raid_members(&[raid], u32::MAX).await? {
            for member in members.first {
                let error = "the raid cannot be read".to_owned();
                work.failed.push(FailedCause {
                    player: member.id,
                    cause,
                    error,
                    failed_at: self.clock.now(),
                });
            }
        }
        Ok(())
    }

    /// Tries the causes that failed earlier again. Returns false if this instance is not the
    /// projector any more.
    pub(super) async fn retry_failed(&self, tenure: &mut Tenure) -> Result<bool> {
        let mut after = None;
        loop {
            let failed = self.store.failed_causes(after, FAILED_PLAYERS_MAX).await?;
            let Some(last) = failed.last() else {
                break;
            };
            after = Some(last.player);
            let mut work = Work::new(tenure.place);
            for failure in &failed {
                self.find_again(tenure, &mut work, failure).await?;
            }
            if !self.project(tenure, work).await? {
                return Ok(false);
            }
        }
        self.report_failed().await?;
        Ok(true)
    }

    async fn find_again(
        &self,
        tenure: &mut Tenure,
        work: &mut Work,
        failure: &FailedCause,
    ) -> Result<()> {
        let FailedCause { player, cause, .. } = *failure;
        let found = self.store.events_at(&[cause]).await?;
        let Some(committed) = found.first() else {
            warn!(%player, raid = %cause.raid, seq = %cause.seq, "the ledger lacks the event behind a failed effect");
            return Ok(());
        };
        let Some(context) = tenure.contexts.find(committed).await? else {
            return Ok(());
        };
        for (of, cause) in causes(cause.raid, &committed.event, &context) {
            if of == player {
                work.add(player, cause);
            }
        }
        work.retried.push((player, cause));
        Ok(())
    }
}
