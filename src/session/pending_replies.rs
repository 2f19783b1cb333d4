//! Answers that wait for the commit they depend on, released in inbox order.

use std::collections::VecDeque;
use std::sync::Arc;

use raidhall_protocol::{PlayerId, RaidState, Seq};

use super::command_metrics::count_outcome;
use super::message::WatchRequest;
use super::{RaidSnapshot, Reply};
use crate::cluster::client::OwnerStatus;
use crate::error::Error;
use crate::raid::Ack;

/// An answer as decided.
pub(super) enum PendingReply {
    Ack(Reply<Ack>, Result<Ack, Error>),
    Read(Reply<RaidSnapshot>, Result<(Arc<RaidState>, Seq), Error>),
    Status(Reply<OwnerStatus>, Seq),
    Watch(WatchRequest, Result<WatchStart, Error>),
    Resync(WatchRequest, Result<WatchStart, Error>),
}

/// What a watch begins with.
pub(super) enum WatchStart {
    /// The client has everything up to `since`; what follows up to `seq` is promised whole.
    Replay { since: Seq, seq: Seq },
    /// The raid as a whole.
    Snapshot { seq: Seq, state: Arc<RaidState> },
}

/// The answers in inbox order, each with the seq at which it was decided.
#[derive(Default)]
pub(super) struct PendingReplies(VecDeque<(Seq, PendingReply)>);

impl PendingReplies {
    pub(super) fn push(&mut self, decided_at: Seq, held: PendingReply) {
        self.0.push_back((decided_at, held));
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// The next answer that depends on nothing beyond `committed`.
    pub(super) fn pop(&mut self, committed: Seq) -> Option<PendingReply> {
        if self.0.front()?.0 > committed {
            None
        } else {
            self.0.pop_front().map(|(_, held)| held)
        }
    }

    /// Fails everything: with `internal` what was decided from `first` to `last`, if given, with `unavailable` the
    /// rest.
    pub(super) fn fail(&mut self, culprit: Option<(Seq, Seq)>) {
        for (decided_at, held) in self.0.drain(..) {
            let at_fault =
                culprit.is_some_and(|(first, last)| (first..=last).contains(&decided_at));
            held.fail(if at_fault {
                Error::Internal
            } else {
                Error::Unavailable
            });
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
            Self::Watch(watch, _) | Self::Resync(watch, _) => watch.reply.send(Err(error)),
        }
    }

    /// Gives the answers that need nothing but themselves; gives back a watch, which needs the audience.
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
            Self::Watch(watch, Ok(basis)) => {
                return Some(ReadyWatch {
                    watch,
                    start: basis,
                    is_joining: true,
                });
            }
            Self::Resync(watch, Ok(basis)) => {
                return Some(ReadyWatch {
                    watch,
                    start: basis,
                    is_joining: false,
                });
            }
            Self::Watch(watch, Err(error)) | Self::Resync(watch, Err(error)) => {
                watch.reply.send(Err(error))
            }
        }
        None
    }
}

/// A watch whose answer may go out now.
pub(super) struct ReadyWatch {
    pub(super) watch: WatchRequest,
    pub(super) start: WatchStart,
    /// Whether it joins the audience, or has done so before.
    pub(super) is_joining: bool,
}
