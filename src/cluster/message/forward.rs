//! Commands as instances hand them to one another, and what became of them.

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
    /// Makes it safe to be sent again.
    #[serde(with = "serde_op")]
    pub op: OpHash,
    /// What is wanted.
    pub wish: ForwardableCommand,
}

impl ForwardItem {
    /// How many bytes it takes in a message, about.
    pub fn encoded_len(&self) -> usize {
        let mut count = ByteCounter(0);
        // Counting never fails; what could not be encoded would have no size.
        let _ = self.serialize(&mut rmp_serde::Serializer::new(&mut count).with_struct_map());
        count.0
    }
}

/// Counts what is written.
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

/// A command as instances tell it; what only an owner decides by itself has no form here.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ForwardableCommand {
    /// A player joins.
    Join(PlayerRef),
    /// A player acts.
    Player {
        /// Who.
        by: PlayerId,
        /// What they want.
        command: Command,
    },
    /// The host app's backend acts.
    Service(Command),
    /// An operator ends the raid. The release before this one does not know it, and does not answer.
    End,
    /// A player is forgotten. Likewise.
    Erase {
        /// Who.
        player: PlayerId,
        /// Whether it was they who made the raid.
        made_raid: bool,
    },
}

/// What became of a forwarded command.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ForwardReply {
    /// It is committed.
    Ack {
        /// At this seq.
        seq: Seq,
        /// It had taken effect before.
        duplicate: bool,
    },
    /// It was not carried out.
    Error {
        /// Why.
        kind: ErrorType,
        /// Which fields are at fault.
        fields: Vec<FieldFault>,
    },
    /// The instance asked does not own the raid; it did nothing.
    NotOwner,
}

impl ForwardableCommand {
    /// The command, if it is one that may be asked for from elsewhere.
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

    /// The command again.
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
    /// Whether the command was neither carried out nor refused: it may be asked for again.
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

    /// A session's answer as it travels.
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

    /// The answer as the caller gets it.
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

/// An op's hash as a number, which MessagePack carries as its 16 bytes.
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
