//! The scores of players on leaderboards. Appends to players' streams move them; see
//! [`StreamAppend`](super::StreamAppend).

use std::cmp::{Ordering, Reverse};

use async_trait::async_trait;
use raidhall_protocol::player::event::RaidPlace;
use raidhall_protocol::{PlayerId, UnixMillis};

use super::{NewAuditEntry, Result};
use crate::progression::BoardWindowId;

/// The place of a player's score in the order of a window. The better one is the lesser one: the higher
/// score, or else the one that was reached first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BoardPosition {
    /// The score of the player.
    pub score: u64,
    /// When it was reached.
    pub reached_at: UnixMillis,
    /// The raid's event that it was reached with.
    pub reached_place: RaidPlace,
    /// The player whose score it is.
    pub player: PlayerId,
}

impl Ord for BoardPosition {
    fn cmp(&self, other: &Self) -> Ordering {
        let key = |it: &BoardPosition| {
            let RaidPlace { raid, seq } = it.reached_place;
            (Reverse(it.score), it.reached_at, raid, seq, it.player)
        };
        key(self).cmp(&key(other))
    }
}

impl PartialOrd for BoardPosition {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// A player's score in a window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BoardScore {
    /// Its place in the order of the window.
    pub position: BoardPosition,
    /// Whether others see it.
    pub is_listed: bool,
}

/// Which part of a window is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BoardPart {
    /// Scores from the best one on.
    Top,
    /// The scores behind a position, the best ones first.
    Behind(BoardPosition),
    /// The scores before a position, the nearest ones first.
    Before(BoardPosition),
}

/// The leaderboards of the store. A score is listed if its player lets others see it and is not
/// banned, and no operator removed it.
#[async_trait]
pub trait Boards: Send + Sync + 'static {
    /// Returns since when the database has leaderboards. Windows that closed earlier stay empty.
    async fn boards_since(&self) -> Result<UnixMillis>;

    /// Returns listed scores of a part of a window, at most `limit`.
    async fn listed_scores(
        &self,
        window: &BoardWindowId,
        part: BoardPart,
        limit: u32,
    ) -> Result<Vec<BoardPosition>>;

    /// Returns the number of listed scores that are better than a position.
    async fn count_listed_before(
        &self,
        window: &BoardWindowId,
        position: &BoardPosition,
    ) -> Result<u64>;

    /// Returns the scores of those of the players who have one in the window and are not banned, without
    /// those that were removed, in any order.
    async fn scores_in_window(
        &self,
        window: &BoardWindowId,
        players: &[PlayerId],
    ) -> Result<Vec<BoardScore>>;

    /// Returns a player's scores in the windows after `after`, by leaderboard and number, at most
    /// `limit`.
    async fn scores_of_player(
        &self,
        player: PlayerId,
        after: &BoardWindowId,
        limit: u32,
    ) -> Result<Vec<(BoardWindowId, BoardScore)>>;

    /// Removes a player's score from a window or restores it, and writes the audit entry with it. Returns
    /// false if there is no such score.
    async fn set_removed(
        &self,
        window: &BoardWindowId,
        player: PlayerId,
        is_removed: bool,
        entry: &NewAuditEntry,
    ) -> Result<bool>;

    /// Deletes at most `limit` counts without players, and returns how many it deleted.
    async fn delete_empty_counts(&self, limit: u32) -> Result<u32>;
}
