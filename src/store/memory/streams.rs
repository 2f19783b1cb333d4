//! Players' streams in the in-memory store.

use anyhow::anyhow;
use async_trait::async_trait;
use raidhall_protocol::player::PlayerEvent;
use raidhall_protocol::rest::Profile;
use raidhall_protocol::{PlayerId, Seq};

use super::MemoryStore;
use super::tables::Tables;
use crate::store::*;

/// The stream of one player.
#[derive(Default)]
pub(super) struct StoredStream {
    events: Vec<(PlayerEvent, Option<OpHash>)>,
    saved_state: Option<(Seq, Vec<u8>)>,
}

impl StoredStream {
    fn last_seq(&self) -> Seq {
        Seq(self.events.len() as u64)
    }

    fn events_after(&self, after: Seq) -> impl Iterator<Item = &PlayerEvent> {
        let events = self.events.iter().map(|(event, _)| event);
        events.filter(move |event| event.seq > after)
    }

    /// Returns the seq of the event that carries an op.
    fn op_seq(&self, op: OpHash) -> Option<Seq> {
        let mut events = self.events.iter();
        events.find_map(|(event, carried)| (*carried == Some(op)).then_some(event.seq))
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
        let Some(profile) = tables.unerased(player) else {
            return Ok(None);
        };
        let empty = StoredStream::default();
        let stream = tables.streams.get(&player).unwrap_or(&empty);
        let saved = stream.saved_state.as_ref();
        Ok(Some(LoadedStream {
            name: profile.name.clone(),
            last_seq: stream.last_seq(),
            saved_state: stream.saved_state.clone(),
            tail: stream
                .events_after(saved.map_or(Seq::ZERO, |(seq, _)| *seq))
                .cloned()
                .collect(),
            op_seq: op.and_then(|op| stream.op_seq(op)),
        }))
    }

    async fn append_to_stream(&self, append: &StreamAppend) -> Result<StreamOutcome> {
        let mut tables = self.0.lock();
        if tables.unerased(append.player).is_none() {
            return Ok(StreamOutcome::Gone);
        }
        let present = tables.streams.get(&append.player);
        if present.map_or(Seq::ZERO, StoredStream::last_seq) != append.after {
            return Ok(StreamOutcome::Moved);
        }
        let op_seq = present.zip(append.op).and_then(|(it, op)| it.op_seq(op));
        if op_seq.is_some() {
            return Err(StoreError::Refused {
                operation: "append to a player's stream",
                source: anyhow!("the op is in the stream already"),
            });
        }
        let last = append.last_seq();
        let with_op =
            |event: &PlayerEvent| (event.clone(), append.op.filter(|_| event.seq == last));
        let stream = tables.streams.entry(append.player).or_default();
        stream.events.extend(append.events.iter().map(with_op));
        if let Some(state) = &append.state {
            stream.saved_state = Some((last, state.clone()));
        }
        if let Some(name) = append.new_name()
            && let Some(profile) = tables.players.get_mut(&append.player)
        {
            name.clone_into(&mut profile.name);
        }
        Ok(StreamOutcome::Appended)
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

    async fn stream_heads(&self, players: &[PlayerId]) -> Result<Vec<(PlayerId, Seq)>> {
        let tables = self.0.lock();
        let head = |player: &PlayerId| Some((*player, tables.streams.get(player)?.last_seq()));
        Ok(players.iter().filter_map(head).collect())
    }
}

impl Tables {
    /// Returns a player who was not erased.
    fn unerased(&self, player: PlayerId) -> Option<&Profile> {
        let is_erased = self.accounts.erased.contains_key(&player);
        self.players.get(&player).filter(|_| !is_erased)
    }
}
