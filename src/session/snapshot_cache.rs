//! Showing a raid: what a watch begins with, and the states and snapshots that watchers share.
//!
//! Owner and edge show alike: a state is a function of its seq.

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

pub(super) struct SnapshotCache {
    audience: Arc<Audience>,
    /// How far behind a returning client may be to get a replay.
    replay_events_max: u64,
    /// The state as last shown to somebody, shared while it stays the same.
    shared_state: Option<(Seq, Arc<RaidState>)>,
    frames: PerEncoding<Option<SnapshotFrame>>,
}

/// The bytes of a snapshot, shared by all who need it while nothing changes.
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

    /// What a watch begins with.
    pub(super) fn watch_start(
        &mut self,
        state: &State,
        watch: &WatchRequest,
    ) -> Result<WatchStart, Error> {
        if !watch.caller.can_see(state) {
            return Err(Refusal::NotFound.into());
        }
        let seq = state.seq();
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

    /// Answers a watch, which joins the audience in the same breath. `announced` is who all watchers know to be
    /// online: they are told the same changes from then on.
    pub(super) fn answer_watch(&mut self, opening: ReadyWatch, announced: &BTreeSet<PlayerId>) {
        let ReadyWatch {
            watch:
                WatchRequest {
                    outbox,
                    watch_id: ticket,
                    caller,
                    reply,
                    ..
                },
            start: basis,
            is_joining: joins,
        } = opening;
        // Whoever left since the watch was decided may not see what came after.
        if caller
            .player()
            .is_some_and(|player| !self.audience.is_member(player))
        {
            return reply.send(Err(Refusal::NotFound.into()));
        }
        let itself = caller
            .player()
            .filter(|player| joins && !announced.contains(player));
        let mut online = announced.iter().copied().chain(itself).collect::<Vec<_>>();
        online.sort_unstable();
        let (cursor, promised, frame) = match basis {
            WatchStart::Replay { since, seq } => {
                let watching = ServerMessage::Watching {
                    raid: ticket.raid,
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
        if joins {
            let player = caller.player();
            self.audience.join(NewWatch {
                outbox,
                watch_id: ticket,
                player,
                cursor,
                replay_until: promised,
                frame,
            });
        } else {
            outbox.push_reply(OutboxReply::Resynced {
                ticket,
                seq: cursor,
                frame,
            });
        }
        reply.send(Ok(()));
    }

    fn snapshot_frame(
        &mut self,
        form: Encoding,
        seq: Seq,
        state: &Arc<RaidState>,
        online: Vec<PlayerId>,
    ) -> Bytes {
        let slot = self.frames.get_mut(form);
        if let Some(made) = slot
            .as_ref()
            .filter(|made| made.seq == seq && made.online == online)
        {
            return made.frame.clone();
        }
        let raid = self.audience.raid();
        let state = Box::new(RaidState::clone(state));
        let message = ServerMessage::Snapshot {
            raid,
            seq,
            recovered: false,
            online: online.clone(),
            state,
        };
        let frame = frame::encode(form, &message);
        *slot = Some(SnapshotFrame {
            seq,
            online,
            frame: frame.clone(),
        });
        frame
    }
}
