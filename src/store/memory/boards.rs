//! Scores on leaderboards in the in-memory store.

use std::collections::BTreeMap;
use std::ops::Bound;

use async_trait::async_trait;
use raidhall_protocol::{PlayerId, UnixMillis};

use super::MemoryStore;
use super::tables::Tables;
use crate::progression::BoardWindowId;
use crate::store::*;

/// The scores of all windows.
pub(super) struct BoardTables {
    since: UnixMillis,
    scores: BTreeMap<(PlayerId, BoardWindowId), ScoreRecord>,
}

/// A score, and what hides it besides a ban.
struct ScoreRecord {
    position: BoardPosition,
    is_public: bool,
    is_removed: bool,
}

impl BoardTables {
    pub(super) fn new(since: UnixMillis) -> BoardTables {
        BoardTables {
            since,
            scores: BTreeMap::new(),
        }
    }

    pub(super) fn forget(&mut self, player: PlayerId) {
        self.scores.retain(|(of, _), _| *of != player);
    }

    /// Writes what an append makes of the player's scores.
    pub(super) fn write_append(&mut self, append: &StreamAppend) {
        let player = append.player;
        for moved in &append.scores {
            let began = ScoreRecord {
                position: BoardPosition {
                    score: 0,
                    reached_at: moved.reached_at,
                    reached_place: moved.reached_place,
                    player,
                },
                is_public: moved.is_public,
                is_removed: false,
            };
            let key = (player, moved.window.clone());
            let position = &mut self.scores.entry(key).or_insert(began).position;
            position.score += moved.xp;
            if position.reached_at <= moved.reached_at {
                position.reached_at = moved.reached_at;
                position.reached_place = moved.reached_place;
            }
        }
        if let Some(is_public) = append.audience_change() {
            let scores = self.scores.iter_mut();
            for (_, score) in scores.filter(|((of, _), _)| *of == player) {
                score.is_public = is_public;
            }
        }
    }
}

impl Tables {
    fn board_score(&self, record: &ScoreRecord) -> BoardScore {
        let position = record.position;
        let is_banned = self.accounts.bans.contains_key(&position.player);
        BoardScore {
            position,
            is_listed: record.is_public && !record.is_removed && !is_banned,
        }
    }

    /// Returns the listed scores of a window, the best ones first.
    fn listed(&self, window: &BoardWindowId) -> Vec<BoardPosition> {
        let scores = self.boards.scores.iter();
        let scores = scores.filter(|((_, of), _)| of == window);
        let scores = scores.map(|(_, record)| self.board_score(record));
        let listed = scores.filter(|score| score.is_listed);
        let mut listed: Vec<_> = listed.map(|score| score.position).collect();
        listed.sort_unstable();
        listed
    }
}

#[async_trait]
impl Boards for MemoryStore {
    async fn boards_since(&self) -> Result<UnixMillis> {
        Ok(self.0.lock().boards.since)
    }

    async fn listed_scores(
        &self,
        window: &BoardWindowId,
        part: BoardPart,
        limit: u32,
    ) -> Result<Vec<BoardPosition>> {
        let mut listed = self.0.lock().listed(window);
        match part {
            BoardPart::Top => {}
            BoardPart::Behind(position) => listed.retain(|it| *it > position),
            BoardPart::Before(position) => {
                listed.retain(|it| *it < position);
                listed.reverse();
            }
        }
        listed.truncate(limit as usize);
        Ok(listed)
    }

    async fn count_listed_before(
        &self,
        window: &BoardWindowId,
        position: &BoardPosition,
    ) -> Result<u64> {
        let listed = self.0.lock().listed(window);
        Ok(listed.iter().filter(|it| *it < position).count() as u64)
    }

    async fn scores_in_window(
        &self,
        window: &BoardWindowId,
        players: &[PlayerId],
    ) -> Result<Vec<BoardScore>> {
        let tables = self.0.lock();
        let score = |player: &PlayerId| tables.boards.scores.get(&(*player, window.clone()));
        let players = players.iter();
        let players = players.filter(|player| !tables.accounts.bans.contains_key(player));
        let scores = players.filter_map(score).filter(|it| !it.is_removed);
        Ok(scores.map(|it| tables.board_score(it)).collect())
    }

    async fn scores_of_player(
        &self,
        player: PlayerId,
        after: &BoardWindowId,
        limit: u32,
    ) -> Result<Vec<(BoardWindowId, BoardScore)>> {
        let tables = self.0.lock();
        let range = (Bound::Excluded((player, after.clone())), Bound::Unbounded);
        let scores = tables.boards.scores.range(range);
        let own = scores.take_while(|((of, _), _)| *of == player);
        let own = own.map(|((_, window), score)| (window.clone(), tables.board_score(score)));
        Ok(own.take(limit as usize).collect())
    }

    async fn set_removed(
        &self,
        window: &BoardWindowId,
        player: PlayerId,
        is_removed: bool,
        entry: &NewAuditEntry,
    ) -> Result<bool> {
        let mut tables = self.0.lock();
        let key = (player, window.clone());
        let Some(score) = tables.boards.scores.get_mut(&key) else {
            return Ok(false);
        };
        score.is_removed = is_removed;
        tables.record_audit(entry);
        Ok(true)
    }

    /// There are no counts in memory.
    async fn delete_empty_counts(&self, _: u32) -> Result<u32> {
        Ok(0)
    }
}
