//! Players' streams in the in-memory store.

use anyhow::anyhow;
use async_trait::async_trait;
use raidhall_protocol::player::PlayerEvent;
use raidhall_protocol::rest::Profile;
use raidhall_protocol::{PlayerId, Seq, UnixMillis};

use super::MemoryStore;
use super::tables::Tables;
use crate::store::*;

/// The stream of one player.
#[derive(Default)]
pub(super) struct StoredStream {
    events: Vec<StreamEntry>,
    saved_state: Option<(Seq, Vec<u8>)>,
    due_at: Option<UnixMillis>,
}

impl StoredStream {
    pub(super) fn last_seq(&self) -> Seq {
        Seq(self.events.len() as u64)
    }

    fn events_after(&self, after: Seq) -> impl Iterator<Item = &PlayerEvent> {
        let events = self.events.iter().map(|recorded| &recorded.event);
        events.filter(move |event| event.seq > after)
    }

    /// Returns the seq of the event that carries an op.
    pub(super) fn op_seq(&self, op: OpHash) -> Option<Seq> {
        let carrying = self.events.iter().find(|it| it.op == Some(op));
        carrying.map(|it| it.event.seq)
    }
}

#[async_trait]
impl PlayerStreams for MemoryStore {
    async fn load_stream(
        &self,
        player: PlayerId,
        op: Option<OpHash>,
    ) -> Result<Option<LoadedStream>> {
        let tables = self.0.lock();
        let loaded = tables.load_stream(player);
        Ok(loaded.map(|loaded| {
            let stream = tables.streams.get(&player);
            let op_seq = stream.zip(op).and_then(|(it, op)| it.op_seq(op));
            LoadedStream { op_seq, ..loaded }
        }))
    }

    async fn append_to_stream(&self, append: &StreamAppend) -> Result<StreamOutcome> {
        self.0.lock().append_to_stream(append)
    }

    async fn stream_events(
        &self,
        player: PlayerId,
        after: Seq,
        limit: u32,
    ) -> Result<Vec<PlayerEvent>> {
        let tables = self.0.lock();
        let stream = tables.streams.get(&player);
        let events = stream.into_iter().flat_map(|it| it.events_after(after));
        Ok(events.take(limit as usize).cloned().collect())
    }

    async fn players_with_streams(
        &self,
        after: Option<PlayerId>,
        limit: u32,
    ) -> Result<Vec<PlayerId>> {
        let tables = self.0.lock();
        let players = tables.streams.keys().copied();
        let mut players: Vec<_> = players.filter(|player| Some(*player) > after).collect();
        players.sort_unstable();
        players.truncate(limit as usize);
        Ok(players)
    }

    async fn due_streaks(
        &self,
        until: UnixMillis,
        after: Option<DueStreak>,
        limit: u32,
    ) -> Result<Vec<DueStreak>> {
        let tables = self.0.lock();
        let due = tables.streams.iter().filter_map(|(player, stream)| {
            let due_at = stream.due_at.filter(|due_at| *due_at <= until)?;
            let player = *player;
            Some(DueStreak { due_at, player })
        });
        let mut due: Vec<_> = due
            .filter(|it| Some(*it) > after && !tables.projection.has_failed(it.player))
            .collect();
        due.sort_unstable();
        due.truncate(limit as usize);
        Ok(due)
    }

    async fn stream_heads(&self, players: &[PlayerId]) -> Result<Vec<(PlayerId, Seq)>> {
        let tables = self.0.lock();
        let head = |player: &PlayerId| Some((*player, tables.streams.get(player)?.last_seq()));
        let heads = players.iter().filter_map(head);
        Ok(heads.filter(|(_, head)| *head > Seq::ZERO).collect())
    }
}

impl Tables {
    /// Loads the stream of a player who was not erased, without an op.
    pub(super) fn load_stream(&self, player: PlayerId) -> Option<LoadedStream> {
        let profile = self.unerased(player)?;
        let empty = StoredStream::default();
        let stream = self.streams.get(&player).unwrap_or(&empty);
        let saved = stream.saved_state.as_ref();
        Some(LoadedStream {
            name: profile.name.clone(),
            last_seq: stream.last_seq(),
            saved_state: stream.saved_state.clone(),
            tail: stream
                .events_after(saved.map_or(Seq::ZERO, |(seq, _)| *seq))
                .cloned()
                .collect(),
            op_seq: None,
        })
    }

    pub(super) fn append_to_stream(&mut self, append: &StreamAppend) -> Result<StreamOutcome> {
        let outcome = self.check_append(append)?;
        if outcome == StreamOutcome::Appended {
            self.write_append(append);
        }
        Ok(outcome)
    }

    /// Returns what the outcome of an append would be, and writes nothing.
    pub(super) fn check_append(&self, append: &StreamAppend) -> Result<StreamOutcome> {
        if self.unerased(append.player).is_none() {
            return Ok(StreamOutcome::Gone);
        }
        let stream = self.streams.get(&append.player);
        if stream.map_or(Seq::ZERO, StoredStream::last_seq) != append.after {
            return Ok(StreamOutcome::Moved);
        }
        let mut ops = append.events.iter().filter_map(|recorded| recorded.op);
        if ops.any(|op| stream.is_some_and(|stream| stream.op_seq(op).is_some())) {
            return Err(StoreError::Refused {
                operation: "append to a player's stream",
                source: anyhow!("the op is in the stream already"),
            });
        }
        Ok(StreamOutcome::Appended)
    }

    /// Writes an append that was checked.
    pub(super) fn write_append(&mut self, append: &StreamAppend) {
        self.boards.write_append(append);
        let stream = self.streams.entry(append.player).or_default();
        stream.events.extend(append.events.iter().cloned());
        stream.due_at = append.due_at;
        if let Some(state) = &append.state {
            stream.saved_state = Some((append.last_seq(), state.clone()));
        }
        if let Some(profile) = self.players.get_mut(&append.player) {
            let change = append.profile_change();
            if let Some(name) = change.name {
                name.clone_into(&mut profile.name);
            }
            let totals = [
                (&mut profile.xp, change.xp),
                (&mut profile.tasks, change.tasks),
                (&mut profile.raids_won, change.raids_won),
            ];
            for (total, changed) in totals {
                let floor = if change.is_correction { 0 } else { *total };
                *total = changed.unwrap_or(*total).max(floor);
            }
        }
    }

    /// Returns a player who was not erased.
    fn unerased(&self, player: PlayerId) -> Option<&Profile> {
        let is_erased = self.accounts.erased.contains_key(&player);
        self.players.get(&player).filter(|_| !is_erased)
    }
}
