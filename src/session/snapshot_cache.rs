//! Starts of watches, and the states and encoded snapshots that watchers share.
//!
//! Owner and follower use it in the same way: a state is a function of its seq.

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;
use raidhall_protocol::{PlayerId, RaidState, Seq, ServerMessage};

use super::message::WatchRequest;
use super::pending_replies::{ReadyWatch, WatchStart};
use crate::error::Error;
use crate::fanout::audience::{Audience, NewWatch};
use crate::fanout::frame::{self, Encoding, PerEncoding};
use crate::fanout::outbox::OutboxReply;
use crate::raid::{Refusal, State};
use crate::telemetry::metrics;

pub(super) struct SnapshotCache {
    audience: Arc<Audience>,
    /// Events that a returning client may be behind and still get a replay.
    replay_events_max: u64,
    /// The state as last sent, shared while its seq stays the same.
    shared_state: Option<(Seq, Arc<RaidState>)>,
    frames: PerEncoding<Option<SnapshotFrame>>,
}

/// An encoded snapshot, shared by all connections of one encoding until the state or presence
/// changes.
struct SnapshotFrame {
    seq: Seq,
    online: Vec<PlayerId>,
    frame: Bytes,
}

impl SnapshotCache {
    pub(super) fn new(audience: Arc<Audience>, replay_events_max: u64) -> Self {
        Self {
            audience,
            replay_events_max,
            shared_state: None,
            frames: PerEncoding::default(),
        }
    }

    pub(super) fn shared_state(&mut self, state: &State) -> Arc<RaidState> {
        let seq = state.seq();
        match &self.shared_state {
            Some((at, state)) if *at == seq => Arc::clone(state),
            _ => {
                let shown = Arc::new(state.shown().clone());
                self.shared_state = Some((seq, Arc::clone(&shown)));
                shown
            }
        }
    }

    /// Decides how a watch starts: with a replay if it is close enough behind, else with a
    /// snapshot.
    ///
    /// # Errors
    ///
    /// `NotFound` if the caller cannot see the raid.
    pub(super) fn watch_start(
        &mut self,
        state: &State,
        watch: &WatchRequest,
    ) -> Result<WatchStart, Error> {
        if !watch.caller.can_see(state) {
            return Err(Refusal::NotFound.into());
        }
        let seq = state.seq();
        if watch.since > Some(seq) {
            metrics().resumes_ahead.increment(1);
        }
        Ok(match watch.since {
            Some(since) if since <= seq && seq.since(since) <= self.replay_events_max => {
                WatchStart::Replay { since, seq }
            }
            _ => WatchStart::Snapshot {
                seq,
                state: self.shared_state(state),
            },
        })
    }

    /// Sends a watch its start and adds it to the audience in the same step, so that it misses
    /// nothing. `announced` is the set of players that all watchers know to be online: the new
    /// watch receives the same changes from then on.
    pub(super) fn answer_watch(&mut self, ready: ReadyWatch, announced: &BTreeSet<PlayerId>) {
        let ReadyWatch {
            watch:
                WatchRequest {
                    outbox,
                    watch_id,
                    caller,
                    reply,
                    ..
                },
            start,
            is_joining,
        } = ready;
        // A player who has left since the watch was decided cannot see later events.
        if caller
            .player()
            .is_some_and(|player| !self.audience.is_member(player))
        {
            return reply.send(Err(Refusal::NotFound.into()));
        }
        // A new watcher is online from now on, though the others do not know it yet.
        let own_player = caller
            .player()
            .filter(|player| is_joining && !announced.contains(player));
        let mut online = announced
            .iter()
            .copied()
            .chain(own_player)
            .collect::<Vec<_>>();
        online.sort_unstable();
        let (cursor, replay_until, frame) = match start {
            WatchStart::Replay { since, seq } => {
                let watching = ServerMessage::Watching {
                    id: None,
                    raid: watch_id.raid,
                    seq,
                    recovered: true,
                    online,
                };
                (since, seq, frame::encode(outbox.encoding, &watching))
            }
            WatchStart::Snapshot { seq, state } => (
                seq,
                seq,
                self.snapshot_frame(outbox.encoding, seq, &state, online),
            ),
        };
        if is_joining {
            let player = caller.player();
            self.audience.join(NewWatch {
                outbox,
                watch_id,
                player,
                cursor,
                replay_until,
                frame,
            });
        } else {
            outbox.push_reply(OutboxReply::Resynced {
                ticket: watch_id,
                seq: cursor,
                frame,
            });
        }
        reply.send(Ok(()));
    }

    fn snapshot_frame(
        &mut self,
        encoding: Encoding,
        seq: Seq,
        state: &Arc<RaidState>,
        online: Vec<PlayerId>,
    ) -> Bytes {
        let slot = self.frames.get_mut(encoding);
        if let Some(cached) = slot
            .as_ref()
            .filter(|cached| cached.seq == seq && cached.online == online)
        {
            return cached.frame.clone();
        }
        let raid = self.audience.raid();
        let state = Box::new(RaidState::clone(state));
        let message = ServerMessage::Snapshot {
            id: None,
            raid,
            seq,
            recovered: false,
            online: online.clone(),
            state,
        };
        let frame = frame::encode(encoding, &message);
        *slot = Some(SnapshotFrame {
            seq,
            online,
            frame: frame.clone(),
        });
        frame
    }
}
