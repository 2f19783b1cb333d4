//! Messages that a session's mailbox accepts.

use std::sync::Arc;

use raidhall_protocol::{PlayerId, Seq, UnixMillis};
use serde_json::Value;
use tokio::time::Instant;

use super::command_metrics::count_outcome;
use super::{Caller, RaidSnapshot, Reply};
use crate::cluster::client::OwnerStatus;
use crate::cluster::message::WatcherReport;
use crate::error::Error;
use crate::fanout::audience::Audience;
use crate::fanout::outbox::{ConnectionId, Outbox, WatchId};
use crate::raid::{self, Ack};
use crate::store::{CreationTerms, InstanceId, OpHash};

pub(super) enum SessionMessage {
    /// Decides and commits a command.
    Execute(ExecuteRequest),
    /// Creates the raid: the first command under a new id.
    Create {
        request: ExecuteRequest,
        terms: CreationTerms,
    },
    /// Reads a snapshot of the raid.
    Read {
        caller: Caller,
        reply: Reply<RaidSnapshot>,
    },
    /// Adds a watch to the audience.
    Watch(WatchRequest),
    /// Sends a new snapshot to a watch that fell behind.
    Resync(WatchRequest),
    /// Delivers a signal to the raid's watchers.
    Signal(SignalRequest),
    /// Another instance's report of its watchers.
    WatcherReport(ReceivedReport),
    /// The raid's owner asks for a watcher report of this instance.
    RequestWatcherReport,
    /// `from` has released the raid and names this instance its successor; `online` were online
    /// there.
    Handover {
        from: InstanceId,
        online: Vec<PlayerId>,
    },
    /// Another instance asks for the raid's newest seq and its online players.
    QueryStatus { reply: Reply<OwnerStatus> },
    /// Wakes the session. Every turn checks whether the deadline is due and whether this instance
    /// may own the raid.
    Wake,
}

/// Request to execute a command.
pub(super) struct ExecuteRequest {
    pub(super) command: raid::RaidCommand,
    pub(super) op: Option<OpHash>,
    pub(super) reply: Reply<Ack>,
    /// Moment at which the command is answered `unavailable`, unless this instance is already
    /// committing it.
    pub(super) deadline: Instant,
    /// The instance that forwarded the command; it needs [`Error::NotOwner`] if this one is not the
    /// owner.
    pub(super) forwarded_by: Option<InstanceId>,
}

/// Request to start or to resynchronize a watch.
pub(super) struct WatchRequest {
    pub(super) outbox: Arc<Outbox>,
    pub(super) watch_id: WatchId,
    pub(super) caller: Caller,
    pub(super) since: Option<Seq>,
    /// Reports a failure, or that the watch was accepted; its first frame comes through the outbox.
    pub(super) reply: Reply<()>,
}

/// A watcher report, its sender, and the number of the sender's message.
pub(super) struct ReceivedReport {
    pub(super) from: InstanceId,
    pub(super) number: u64,
    /// Whether the sender receives the raid's messages.
    pub(super) is_subscribed: bool,
    pub(super) report: WatcherReport,
}

/// Request to deliver a signal.
pub(super) struct SignalRequest {
    pub(super) sender: ConnectionId,
    pub(super) from: PlayerId,
    pub(super) kind: String,
    pub(super) data: Value,
    pub(super) reply: Reply<()>,
}

impl SignalRequest {
    /// Sends the signal to an audience, and the result to the requester.
    pub(super) fn send_to(self, audience: &Audience, now: UnixMillis) {
        let result = audience.send_signal(self.sender, self.from, now, &self.kind, self.data);
        self.reply.send(result.map_err(Error::from));
    }
}

impl WatchRequest {
    /// Returns the message with this request: for a new watch, which joins the audience, or for one
    /// that has joined.
    pub(super) fn into_message(self, is_joining: bool) -> SessionMessage {
        if is_joining {
            SessionMessage::Watch(self)
        } else {
            SessionMessage::Resync(self)
        }
    }
}

impl SessionMessage {
    /// Returns whether the message is a command whose deadline has passed.
    pub(super) fn is_expired(&self, now: Instant) -> bool {
        matches!(self, Self::Execute(execute) if execute.deadline <= now)
    }

    /// Returns the requesting player of a request that only a present or former member may make. An
    /// instance that forwards a command has checked that.
    pub(super) fn requesting_player(&self) -> Option<PlayerId> {
        match self {
            Self::Execute(ExecuteRequest {
                command: raid::RaidCommand::Player { by, .. },
                forwarded_by: None,
                ..
            }) => Some(*by),
            Self::Read { caller, .. } => caller.player(),
            Self::Watch(watch) | Self::Resync(watch) => watch.caller.player(),
            Self::Signal(signal) => Some(signal.from),
            _ => None,
        }
    }

    pub(super) fn fail(self, error: Error) {
        match self {
            Self::Execute(ExecuteRequest { reply, .. })
            | Self::Create {
                request: ExecuteRequest { reply, .. },
                ..
            } => {
                let result = Err(error);
                count_outcome(&result);
                reply.send(result);
            }
            Self::Read { reply, .. } => reply.send(Err(error)),
            Self::Watch(watch) | Self::Resync(watch) => watch.reply.send(Err(error)),
            Self::Signal(signal) => signal.reply.send(Err(error)),
            Self::QueryStatus { reply } => reply.send(Err(error)),
            Self::WatcherReport(_)
            | Self::RequestWatcherReport
            | Self::Handover { .. }
            | Self::Wake => {}
        }
    }
}
