//! What can be asked of a session.

use std::sync::Arc;

use raidhall_protocol::{PlayerId, Seq, UnixMillis};
use serde_json::Value;
use tokio::time::Instant;

use super::command_metrics::count;
use super::{Ack, Caller, Reply, View};
use crate::cluster::client::Sight;
use crate::cluster::message::Watching;
use crate::error::Error;
use crate::fanout::outbox::{ConnectionId, Outbox, Ticket};
use crate::raid;
use crate::store::{InstanceId, OpHash};

pub(super) enum Message {
    /// Carry a command out.
    Execute(Execute),
    /// The first command of a raid that is being made.
    Create {
        command: raid::RaidCommand,
        key: OpHash,
        reply: Reply<Ack>,
    },
    /// Show the raid.
    Read { caller: Caller, reply: Reply<View> },
    /// Add a watcher.
    Watch(Watch),
    /// Give a watcher a snapshot.
    Resync(Watch),
    /// Pass a signal on.
    Signal {
        sender: ConnectionId,
        from: PlayerId,
        kind: String,
        data: Value,
        reply: Reply<()>,
    },
    /// Another instance says who watched there at a moment.
    Watching {
        from: InstanceId,
        at: UnixMillis,
        watching: Watching,
    },
    /// The raid's owner asks whether anybody watches here.
    WhoWatches,
    /// Another instance gave the raid up and names us its heir. These were online.
    Take {
        from: InstanceId,
        online: Vec<PlayerId>,
    },
    /// Another instance asks how far the raid is.
    Ask { reply: Reply<Sight> },
    /// A newer release has written this raid: it is not ours to own.
    Newer,
}

/// A command, asked for.
pub(super) struct Execute {
    pub(super) command: raid::RaidCommand,
    pub(super) op: Option<OpHash>,
    pub(super) reply: Reply<Ack>,
    /// When it is answered `unavailable`, unless it is being committed by then.
    pub(super) until: Instant,
    /// It comes from another instance, which wants to hear if we are not the owner.
    pub(super) from: Option<InstanceId>,
}

/// A watch, asked for.
pub(super) struct Watch {
    pub(super) outbox: Arc<Outbox>,
    pub(super) ticket: Ticket,
    pub(super) caller: Caller,
    pub(super) since: Option<Seq>,
    /// For what goes wrong; success comes through the outbox.
    pub(super) reply: Reply<()>,
}

impl Message {
    /// Whether it has waited for too long to be begun.
    pub(super) fn is_late(&self, now: Instant) -> bool {
        matches!(self, Self::Execute(execute) if execute.until <= now)
    }

    /// The player who asks, where a player does who must be or have been a member.
    pub(super) fn player(&self) -> Option<PlayerId> {
        match self {
            Self::Execute(Execute {
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
            Self::Execute(Execute { reply, .. }) | Self::Create { reply, .. } => {
                let result = Err(error);
                count(&result);
                reply.send(result);
            }
            Self::Read { reply, .. } => reply.send(Err(error)),
            Self::Watch(watch) | Self::Resync(watch) => watch.reply.send(Err(error)),
            Self::Signal { reply, .. } => reply.send(Err(error)),
            Self::Ask { reply } => reply.send(Err(error)),
            Self::Watching { .. } | Self::WhoWatches | Self::Take { .. } | Self::Newer => {}
        }
    }
}
