//! Showing a raid: what a caller sees, what a watch begins with, and the snapshots that watchers share.

use super::super::held::{Basis, Opening};
use super::super::message::Watch;
use super::super::presence::Presence;
use super::Live;
use crate::audience::Joining;
use crate::error::Error;
use crate::frame;
use crate::outbox::Answer;
use crate::raid::Refusal;
use crate::session::Caller;
use bytes::Bytes;
use raidhall_protocol::{Codec, PlayerId, RaidState, Seq, ServerMessage};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, timeout};

/// How long the raid waits for the store to say whether it has another owner.
const HEAD_PATIENCE: Duration = Duration::from_secs(1);

/// The bytes of a snapshot, shared by all who need it while nothing changes.
pub(super) struct SnapshotFrame {
    seq: Seq,
    online: Vec<PlayerId>,
    frame: Bytes,
}

impl Live {
    pub(super) fn seen_by(&self, caller: Caller) -> Result<(), Error> {
        if caller.may_see(&self.state) { Ok(()) } else { Err(Refusal::NotFound.into()) }
    }

    /// What a watch begins with.
    pub(super) async fn basis(&mut self, watch: &Watch) -> Result<Result<Basis, Error>, &'static str> {
        let seq = self.state.seq();
        if let Err(error) = self.seen_by(watch.caller) {
            return Ok(Err(error));
        }
        if watch.since.is_some_and(|since| since > seq) {
            match self.is_superseded().await {
                Ok(false) => {}
                Ok(true) => return Err("superseded"),
                Err(error) => return Ok(Err(error)),
            }
        }
        Ok(Ok(match watch.since {
            Some(since) if since <= seq && seq.since(since) <= self.sessions.0.options.replay_events => {
                Basis::Replay { since, seq }
            }
            _ => Basis::Snapshot { seq, state: self.freeze() },
        }))
    }

    /// Whether the store knows of a later owner than this session.
    async fn is_superseded(&self) -> Result<bool, Error> {
        let head = timeout(HEAD_PATIENCE, self.sessions.0.store.head(self.audience.raid())).await;
        let head = head.ok().and_then(Result::ok).ok_or(Error::Unavailable)?;
        Ok(head.is_some_and(|head| head.epoch != self.epoch))
    }

    pub(super) fn freeze(&mut self) -> Arc<RaidState> {
        let seq = self.state.seq();
        match &self.frozen {
            Some((at, state)) if *at == seq => Arc::clone(state),
            _ => {
                let state = Arc::new(self.state.shown().clone());
                self.frozen = Some((seq, Arc::clone(&state)));
                state
            }
        }
    }

    /// Answers a watch, which joins the audience in the same breath.
    pub(super) fn open(&mut self, opening: Opening, presence: &mut Presence) {
        let Opening { watch: Watch { outbox, ticket, caller, reply, .. }, basis, joins } = opening;
        // Whoever left since the watch was decided may not see what came after.
        if caller.player().is_some_and(|player| !self.audience.is_member(player)) {
            return reply.send(Err(Refusal::NotFound.into()));
        }
        if let (Some(player), true) = (caller.player(), joins) {
            presence.arrive(player, Instant::now());
        }
        let known = presence.announced().iter().copied();
        let itself = caller.player().filter(|player| joins && !presence.announced().contains(player));
        let mut online = known.chain(itself).collect::<Vec<_>>();
        online.sort_unstable();
        let (cursor, promised, frame) = match basis {
            Basis::Replay { since, seq } => {
                let watching = ServerMessage::Watching { raid: ticket.raid, seq, recovered: true, online };
                (since, seq, frame::message(outbox.codec, &watching))
            }
            Basis::Snapshot { seq, state } => (seq, seq, self.snapshot(outbox.codec, seq, &state, online)),
        };
        if joins {
            let player = caller.player();
            self.audience.join(Joining { outbox, ticket, player, cursor, promised, frame });
        } else {
            outbox.answer(Answer::Resynced { ticket, seq: cursor, frame });
        }
        reply.send(Ok(()));
    }

    fn snapshot(&mut self, codec: Codec, seq: Seq, state: &Arc<RaidState>, online: Vec<PlayerId>) -> Bytes {
        let slot = &mut self.snapshots[codec as usize];
        if let Some(made) = slot.as_ref().filter(|made| made.seq == seq && made.online == online) {
            return made.frame.clone();
        }
        let raid = self.audience.raid();
        let state = Box::new(RaidState::clone(state));
        let message = ServerMessage::Snapshot { raid, seq, recovered: false, online: online.clone(), state };
        let frame = frame::message(codec, &message);
        *slot = Some(SnapshotFrame { seq, online, frame: frame.clone() });
        frame
    }
}
