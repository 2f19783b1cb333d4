//! What can be asked of a session.

use super::{Ack, Caller, Reply, View, count};
use crate::error::Error;
use crate::outbox::{ConnectionId, Outbox, Ticket};
use crate::raid;
use crate::store::OpHash;
use raidhall_protocol::{PlayerId, Seq};
use serde_json::Value;
use std::sync::Arc;

pub(super) enum Message {
    /// Carry a command out.
    Execute { command: raid::Command, op: Option<OpHash>, reply: Reply<Ack> },
    /// The first command of a raid that is being made.
    Create { command: raid::Command, key: OpHash, reply: Reply<Ack> },
    /// Show the raid.
    Read { caller: Caller, reply: Reply<View> },
    /// Add a watcher.
    Watch(Watch),
    /// Give a watcher a snapshot.
    Resync(Watch),
    /// Pass a signal on.
    Signal { sender: ConnectionId, from: PlayerId, kind: String, data: Value, reply: Reply<()> },
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
    pub(super) fn fail(self, error: Error) {
        match self {
            Self::Execute { reply, .. } | Self::Create { reply, .. } => {
                let result = Err(error);
                count(&result);
                reply.send(result);
            }
            Self::Read { reply, .. } => reply.send(Err(error)),
            Self::Watch(watch) | Self::Resync(watch) => watch.reply.send(Err(error)),
            Self::Signal { reply, .. } => reply.send(Err(error)),
        }
    }
}
