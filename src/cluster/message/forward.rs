//! Commands that instances forward to a raid's owner, and the replies to them.

use std::io;

use raidhall_protocol::server::PlayerRef;
use raidhall_protocol::{Command, ErrorType, FieldFault, PlayerId, Seq};
use serde::{Deserialize, Serialize};

use crate::error::Error;
use crate::raid::{self, Ack, Refusal};
use crate::store::OpHash;

/// One command on its way to the raid's owner.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ForwardItem {
    /// Hash of the command's op, which makes it safe to send the command again.
    #[serde(with = "serde_op")]
    pub op: OpHash,
    /// The command to execute.
    pub wish: ForwardableCommand,
}

impl ForwardItem {
    /// Returns the approximate number of bytes that the command takes in a message.
    pub fn encoded_len(&self) -> usize {
        let mut count = ByteCounter(0);
        // Counting cannot fail; a command that could not be encoded would count as its prefix.
        let _ = self.serialize(&mut rmp_serde::Serializer::new(&mut count).with_struct_map());
        count.0
    }
}

/// A writer that only counts bytes.
struct ByteCounter(usize);

impl io::Write for ByteCounter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 += bytes.len();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A command in the form in which instances forward it. Commands that only an owner issues itself
/// have no such form.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ForwardableCommand {
    /// A player joins the raid.
    Join(PlayerRef),
    /// A player sends a command to the raid.
    Player {
        /// The player who sends the command.
        by: PlayerId,
        command: Command,
    },
    /// The host app's backend acts.
    Service(Command),
    /// An operator ends the raid. The previous release does not know this command and does not
    /// reply to it.
    End,
    /// A player is erased from the raid. The previous release does not know this command and does
    /// not reply to it.
    Erase {
        /// The erased player's id.
        player: PlayerId,
        /// Whether the player created the raid.
        made_raid: bool,
    },
}

/// Outcome of a forwarded command.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ForwardReply {
    /// The command is committed.
    Ack {
        /// Seq of the command's last event.
        seq: Seq,
        /// Whether the command had taken effect before.
        duplicate: bool,
    },
    /// The command was not executed.
    Error {
        /// Type of the error, as clients receive it.
        kind: ErrorType,
        /// Fields that are at fault.
        fields: Vec<FieldFault>,
    },
    /// The receiving instance does not own the raid and did nothing.
    NotOwner,
}

impl ForwardableCommand {
    /// Returns the command in its forwardable form, if other instances may request it.
    pub fn from_command(command: raid::RaidCommand) -> Option<ForwardableCommand> {
        Some(match command {
            raid::RaidCommand::Join { player } => Self::Join(player),
            raid::RaidCommand::Player { by, command } => Self::Player { by, command },
            raid::RaidCommand::Service { command } => Self::Service(command),
            raid::RaidCommand::End => Self::End,
            raid::RaidCommand::Erase { player, made_raid } => Self::Erase { player, made_raid },
            raid::RaidCommand::Create { .. }
            | raid::RaidCommand::Deadline
            | raid::RaidCommand::LeaderOffline => {
                return None;
            }
        })
    }

    /// Converts the command back to the form that a session executes.
    pub fn into_command(self) -> raid::RaidCommand {
        match self {
            Self::Join(player) => raid::RaidCommand::Join { player },
            Self::Player { by, command } => raid::RaidCommand::Player { by, command },
            Self::Service(command) => raid::RaidCommand::Service { command },
            Self::End => raid::RaidCommand::End,
            Self::Erase { player, made_raid } => raid::RaidCommand::Erase { player, made_raid },
        }
    }
}

impl ForwardReply {
    /// Returns whether the command was neither executed nor refused, so that it may be sent again.
    pub const fn is_undecided(&self) -> bool {
        matches!(
            self,
            Self::NotOwner
                | Self::Error {
                    kind: ErrorType::Unavailable,
                    ..
                }
        )
    }

    /// Converts a session's reply to the form in which it is sent.
    pub fn from_result(result: Result<Ack, Error>) -> ForwardReply {
        match result {
            Ok(Ack { seq, duplicate }) => Self::Ack { seq, duplicate },
            Err(Error::NotOwner) => Self::NotOwner,
            Err(error) => {
                let kind = error.error_type();
                let fields = match error {
                    Error::Refused(Refusal::Invalid(fields)) => fields,
                    _ => Vec::new(),
                };
                Self::Error { kind, fields }
            }
        }
    }

    /// Converts the reply to the form that the caller gets.
    pub fn into_result(self) -> Result<Ack, Error> {
        match self {
            Self::Ack { seq, duplicate } => Ok(Ack { seq, duplicate }),
            Self::NotOwner => Err(Error::NotOwner),
            Self::Error { kind, fields } => Err(match kind {
                ErrorType::Overloaded => Error::Overloaded,
                ErrorType::Internal => Error::Internal,
                kind => Refusal::from_error_type(kind, fields)
                    .map_or(Error::Unavailable, Error::Refused),
            }),
        }
    }
}

/// Encodes an op's hash as a number, which MessagePack carries as its 16 bytes.
mod serde_op {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    use crate::store::OpHash;

    pub(super) fn serialize<S: Serializer>(op: &OpHash, serializer: S) -> Result<S::Ok, S::Error> {
        u128::from_be_bytes(op.0).serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<OpHash, D::Error> {
        u128::deserialize(deserializer).map(|number| OpHash(number.to_be_bytes()))
    }
}
