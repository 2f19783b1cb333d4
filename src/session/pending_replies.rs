//! Replies that wait for the commit that they depend on, released in mailbox order.

use std::collections::VecDeque;
use std::sync::Arc;

use raidhall_protocol::{PlayerId, RaidState, Seq};

use super::command_metrics::count_outcome;
use super::message::WatchRequest;
use super::{RaidSnapshot, Reply};
use crate::cluster::client::OwnerStatus;
use crate::error::Error;
use crate::raid::Ack;

/// A reply with its decided result.
pub(super) enum PendingReply {
    Ack(Reply<Ack>, Result<Ack, Error>),
    Read(Reply<RaidSnapshot>, Result<(Arc<RaidState>, Seq), Error>),
    Status(Reply<OwnerStatus>, Seq),
    /// The start of a watch; `true` for a new one, which joins the audience.
    Watch(WatchRequest, bool, Result<WatchStart, Error>),
}

/// How a watch starts: with a replay or with a snapshot.
pub(super) enum WatchStart {
    /// The client has every event up to `since`; the events after it up to `seq` are sent
    /// completely.
    Replay { since: Seq, seq: Seq },
    /// The whole state at `seq`.
    Snapshot { seq: Seq, state: Arc<RaidState> },
}

/// Queue of pending replies in mailbox order, each with the seq at which it was decided.
#[derive(Default)]
pub(super) struct PendingReplies(VecDeque<(Seq, PendingReply)>);

impl PendingReplies {
    pub(super) fn push(&mut self, decided_at: Seq, reply: PendingReply) {
        self.0.push_back((decided_at, reply));
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// Removes and returns the next reply, if it depends on nothing beyond `committed`.
    pub(super) fn pop(&mut self, committed: Seq) -> Option<PendingReply> {
        if self.0.front()?.0 > committed {
            None
        } else {
            self.0.pop_front().map(|(_, reply)| reply)
        }
    }

    /// Fails all replies: those decided from the first to the last seq of `culprit` with its error,
    /// the rest with `unavailable`.
    pub(super) fn fail(&mut self, culprit: Option<(Seq, Seq, Error)>) {
        for (decided_at, reply) in self.0.drain(..) {
            let error = culprit
                .as_ref()
                .filter(|(first, last, _)| (first..=last).contains(&&decided_at))
                .map_or(Error::Unavailable, |(_, _, error)| error.clone());
            reply.fail(error);
        }
    }
}

impl PendingReply {
    fn fail(self, error: Error) {
        match self {
            Self::Ack(reply, _) => {
                let result = Err(error);
                count_outcome(&result);
                reply.send(result);
            }
            Self::Read(reply, _) => reply.send(Err(error)),
            Self::Status(reply, _) => reply.send(Err(error)),
            Self::Watch(watch, ..) => watch.reply.send(Err(error)),
        }
    }

    /// Sends a reply that needs nothing else; returns a watch, which the caller must join to the
    /// audience.
    pub(super) fn send(self, online: impl FnOnce() -> Vec<PlayerId>) -> Option<ReadyWatch> {
        match self {
            Self::Ack(reply, result) => {
                count_outcome(&result);
                reply.send(result);
            }
            Self::Read(reply, result) => {
                reply.send(result.map(|(state, seq)| RaidSnapshot {
                    state,
                    seq,
                    online: online(),
                    ws_url: None,
                }));
            }
            Self::Status(reply, seq) => reply.send(Ok(OwnerStatus {
                seq,
                online: online(),
            })),
            Self::Watch(watch, is_joining, Ok(start)) => {
                return Some(ReadyWatch {
                    watch,
                    start,
                    is_joining,
                });
            }
            Self::Watch(watch, _, Err(error)) => watch.reply.send(Err(error)),
        }
        None
    }
}

/// An accepted watch whose start frame can be sent now.
pub(super) struct ReadyWatch {
    pub(super) watch: WatchRequest,
    pub(super) start: WatchStart,
    /// `true` for a new watch, which joins the audience; `false` for a resync of one that has
    /// joined.
    pub(super) is_joining: bool,
}
