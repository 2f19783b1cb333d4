//! What can be asked of a session.

use std::sync::Arc;

use raidhall_protocol::{PlayerId, Seq, UnixMillis};
use serde_json::Value;
use tokio::time::Instant;

use super::command_metrics::count_outcome;
use super::{Caller, RaidSnapshot, Reply};
use crate::cluster::client::OwnerStatus;
use crate::cluster::message::WatcherReport;
use crate::error::Error;
use crate::fanout::outbox::{ConnectionId, Outbox, WatchId};
use crate::raid::{self, Ack};
use crate::store::{InstanceId, OpHash};

pub(super) enum SessionMessage {
    /// Carry a command out.
    Execute(ExecuteRequest),
    /// The first command of a raid that is being made.
    Create {
        command: raid::RaidCommand,
        key: OpHash,
        reply: Reply<Ack>,
    },
    /// Show the raid.
    Read {
        caller: Caller,
        reply: Reply<RaidSnapshot>,
    },
    /// Add a watcher.
    Watch(WatchRequest),
    /// Give a watcher a snapshot.
    Resync(WatchRequest),
    /// Pass a signal on.
    Signal {
        sender: ConnectionId,
        from: PlayerId,
        kind: String,
        data: Value,
        reply: Reply<()>,
    },
    /// Another instance says who watched there at a moment.
    WatcherReport {
        from: InstanceId,
        at: UnixMillis,
        report: WatcherReport,
    },
    /// The raid's owner asks whether anybody watches here.
    RequestWatcherReport,
    /// Another instance gave the raid up and names us its heir. These were online.
    Handover {
        from: InstanceId,
        online: Vec<PlayerId>,
    },
    /// Another instance asks how far the raid is.
    QueryStatus { reply: Reply<OwnerStatus> },
    /// A newer release has written this raid: it is not ours to own.
    MarkFollowOnly,
}

/// A command, asked for.
pub(super) struct ExecuteRequest {
    pub(super) command: raid::RaidCommand,
    pub(super) op: Option<OpHash>,
    pub(super) reply: Reply<Ack>,
    /// When it is answered `unavailable`, unless it is being committed by then.
    pub(super) deadline: Instant,
    /// It comes from another instance, which wants to hear if we are not the owner.
    pub(super) forwarded_by: Option<InstanceId>,
}

/// A watch, asked for.
pub(super) struct WatchRequest {
    pub(super) outbox: Arc<Outbox>,
    pub(super) watch_id: WatchId,
    pub(super) caller: Caller,
    pub(super) since: Option<Seq>,
    /// For what goes wrong; success comes through the outbox.
    pub(super) reply: Reply<()>,
}

impl SessionMessage {
    /// Whether it has waited for too long to be begun.
    pub(super) fn is_expired(&self, now: Instant) -> bool {
        matches!(self, Self::Execute(execute) if execute.deadline <= now)
    }

    /// The player who asks, where a player does who must be or have been a member.
    pub(super) fn requesting_player(&self) -> Option<PlayerId> {
        match self {
            Self::Execute(ExecuteRequest {
                command: raid::RaidCommand::Player { by, .. },
                ..
            }) => Some(*by),
            Self::Read { caller, .. } => caller.player(),
            Self::Watch(watch) | Self::Resync(watch) => watch.caller.player(),
            Self::Signal { from, .. } => Some(*from),
            _ => None,
        }
    }

    pub(super) fn fail(self, error: Error) {
        match self {
            Self::Execute(ExecuteRequest { reply, .. }) | Self::Create { reply, .. } => {
                let result = Err(error);
                count_outcome(&result);
                reply.send(result);
            }
            Self::Read { reply, .. } => reply.send(Err(error)),
            Self::Watch(watch) | Self::Resync(watch) => watch.reply.send(Err(error)),
            Self::Signal { reply, .. } => reply.send(Err(error)),
            Self::QueryStatus { reply } => reply.send(Err(error)),
            Self::WatcherReport { .. }
            | Self::RequestWatcherReport
            | Self::Handover { .. }
            | Self::MarkFollowOnly => {}
        }
    }
}
