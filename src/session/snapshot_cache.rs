//! Showing a raid: what a watch begins with, and the states and snapshots that watchers share.
//!
//! Owner and edge show alike: a state is a function of its seq.

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;
use raidhall_protocol::{PlayerId, RaidState, Seq, ServerMessage};

use super::message::Watch;
use super::pending_replies::{Basis, Opening};
use crate::error::Error;
use crate::fanout::audience::{Audience, Joining};
use crate::fanout::frame::{self, ByForm, Form};
use crate::fanout::outbox::Answer;
use crate::raid::{Refusal, State};

pub(super) struct Show {
    audience: Arc<Audience>,
    /// How far behind a returning client may be to get a replay.
    replay_events: u64,
    /// The state as last shown to somebody, shared while it stays the same.
    frozen: Option<(Seq, Arc<RaidState>)>,
    snapshots: ByForm<Option<SnapshotFrame>>,
}

/// The bytes of a snapshot, shared by all who need it while nothing changes.
struct SnapshotFrame {
    seq: Seq,
    online: Vec<PlayerId>,
    frame: Bytes,
}

impl Show {
    pub(super) fn new(audience: Arc<Audience>, replay_events: u64) -> Self {
        Self {
            audience,
            replay_events,
            frozen: None,
            snapshots: ByForm::default(),
        }
    }

    pub(super) fn freeze(&mut self, state: &State) -> Arc<RaidState> {
        let seq = state.seq();
        match &self.frozen {
            Some((at, state)) if *at == seq => Arc::clone(state),
            _ => {
                let shown = Arc::new(state.shown().clone());
                self.frozen = Some((seq, Arc::clone(&shown)));
                shown
            }
        }
    }

    /// What a watch begins with.
    pub(super) fn basis(&mut self, state: &State, watch: &Watch) -> Result<Basis, Error> {
        if !watch.caller.may_see(state) {
            return Err(Refusal::NotFound.into());
        }
        let seq = state.seq();
        Ok(match watch.since {
            Some(since) if since <= seq && seq.since(since) <= self.replay_events => {
                Basis::Replay { since, seq }
            }
            _ => Basis::Snapshot {
                seq,
                state: self.freeze(state),
            },
        })
    }

    /// Answers a watch, which joins the audience in the same breath. `announced` is who all watchers know to be
    /// online: they are told the same changes from then on.
    pub(super) fn open(&mut self, opening: Opening, announced: &BTreeSet<PlayerId>) {
        let Opening {
            watch:
                Watch {
                    outbox,
                    ticket,
                    caller,
                    reply,
                    ..
                },
            basis,
            joins,
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
            Basis::Replay { since, seq } => {
                let watching = ServerMessage::Watching {
                    raid: ticket.raid,
                    seq,
                    recovered: true,
                    online,
                };
                (since, seq, frame::message(outbox.form, &watching))
            }
            Basis::Snapshot { seq, state } => {
                (seq, seq, self.snapshot(outbox.form, seq, &state, online))
            }
        };
        if joins {
            let player = caller.player();
            self.audience.join(Joining {
                outbox,
                ticket,
                player,
                cursor,
                promised,
                frame,
            });
        } else {
            outbox.answer(Answer::Resynced {
                ticket,
                seq: cursor,
                frame,
            });
        }
        reply.send(Ok(()));
    }

    fn snapshot(
        &mut self,
        form: Form,
        seq: Seq,
        state: &Arc<RaidState>,
        online: Vec<PlayerId>,
    ) -> Bytes {
        let slot = self.snapshots.get_mut(form);
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
        let frame = frame::message(form, &message);
        *slot = Some(SnapshotFrame {
            seq,
            online,
            frame: frame.clone(),
        });
        frame
    }
}
