//! What the projector keeps: its place in the feed, and the causes that failed.
//!
//! **An effect and the op key of its cause are written together, so a cause takes effect once**,
//! however often a page is projected again. The place moves when all effects up to it are written.

use std::collections::BTreeSet;

use anyhow::anyhow;
use async_trait::async_trait;
use raidhall_protocol::player::event::RaidPlace;
use raidhall_protocol::{PlayerId, UnixMillis};

use super::{FeedCursor, InstanceId, LoadedStream, OpHash, Result, StoreError, StreamAppend};

/// Number of failed causes up to which they are counted.
pub(super) const FAULTS_COUNT_MAX: u32 = 10_000;

/// The effects of one page of the feed.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ProjectedPage {
    /// The projector's place in the feed, from which the page was read.
    pub from: FeedCursor,
    /// The place behind the page.
    pub to: FeedCursor,
    /// Appends to players' streams, each to another one.
    pub appends: Vec<StreamAppend>,
    /// Causes that failed: new ones, and further attempts. Each is there once.
    pub failed: Vec<FailedCause>,
    /// Causes that failed earlier and have taken effect now, each with its player.
    pub settled: Vec<(PlayerId, RaidPlace)>,
}

impl ProjectedPage {
    /// Refuses a page that has two appends to one stream, or a failed cause twice.
    pub(super) fn check(&self, operation: &'static str) -> Result<()> {
        let players: BTreeSet<_> = self.appends.iter().map(|append| append.player).collect();
        let failed = self.failed.iter();
        let failed: BTreeSet<_> = failed
            .map(|it| (it.player, it.cause.raid, it.cause.seq))
            .collect();
        if players.len() < self.appends.len() || failed.len() < self.failed.len() {
            return Err(StoreError::Refused {
                operation,
                source: anyhow!("a stream or a failed cause is in the page twice"),
            });
        }
        Ok(())
    }
}

/// An event of a raid whose effect on a player could not be computed or written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FailedCause {
    /// The player whose stream lacks the effect.
    pub player: PlayerId,
    /// The raid's event that failed to take effect.
    pub cause: RaidPlace,
    /// Why the latest attempt failed.
    pub error: String,
    /// When the first attempt failed.
    pub failed_at: UnixMillis,
}

/// Outcome of writing a page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ProjectionOutcome {
    /// All effects are written, and the place has moved. Players who do not exist or were erased
    /// are left out.
    Committed,
    /// The streams of these players end elsewhere. All other effects are written; the place has not
    /// moved, and failures are not recorded.
    Moved(Vec<PlayerId>),
    /// Another instance is the projector, or the place is another one; nothing was written.
    Lost,
}

impl ProjectionOutcome {
    /// Returns the outcome for the projector by the players whose streams end elsewhere.
    pub(super) fn of_moved(players: Vec<PlayerId>) -> ProjectionOutcome {
        if players.is_empty() {
            ProjectionOutcome::Committed
        } else {
            ProjectionOutcome::Moved(players)
        }
    }
}

/// The projector's part of the store.
#[async_trait]
pub trait Projection: Send + Sync + 'static {
    /// Makes this instance the projector. Returns the place in the feed, which is at first the
    /// feed's start; `None` while another live instance is the projector.
    async fn acquire_projector(&self, instance: InstanceId) -> Result<Option<FeedCursor>>;

    /// Frees the projector's place for others, if `instance` holds it.
    async fn release_projector(&self, instance: InstanceId) -> Result<()>;

    /// Returns up to when windows of leaderboards that closed are final; the epoch at first.
    async fn boards_final_until(&self) -> Result<UnixMillis>;

    /// Makes windows of leaderboards that closed up to then final, as the projector. Returns false if
    /// another instance is the projector.
    async fn finish_boards(&self, instance: InstanceId, until: UnixMillis) -> Result<bool>;

    /// Returns the projector's place in the feed: everything up to it has taken effect or failed.
    async fn projector_place(&self) -> Result<FeedCursor>;

    /// Loads players' streams, in any order; players who do not exist or were erased are absent.
    /// No op is searched.
    async fn load_streams(&self, players: &[PlayerId]) -> Result<Vec<(PlayerId, LoadedStream)>>;

    /// Returns those of the given op keys that events of the player's stream carry, in any order.
    async fn find_stream_ops(&self, ops: &[(PlayerId, OpHash)]) -> Result<Vec<(PlayerId, OpHash)>>;

    /// Writes a page as the projector.
    async fn commit_projection(
        &self,
        instance: InstanceId,
        page: &ProjectedPage,
    ) -> Result<ProjectionOutcome>;

    /// Returns failed causes of players with an id above `after`, in the order of the players and
    /// then of the raids and seqs, all of a player at once, for at most `limit` players.
    async fn failed_causes(&self, after: Option<PlayerId>, limit: u32) -> Result<Vec<FailedCause>>;

    /// Returns the number of failed causes, counted up to 10,000.
    async fn count_failed_causes(&self) -> Result<u64>;
}
