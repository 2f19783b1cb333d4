//! The rules of a raid as a pure state machine: no I/O, no clock, no randomness, no hash order.
//!
//! [`decide()`] turns a command into events or a refusal and changes nothing; [`apply()`] folds an event into the state.
//! A state folded from a stored form and the events after it equals the live one, byte for byte.

mod apply;
mod decide;
mod energy;
pub mod erasure;
mod ranking;
mod refusal;
mod state;
pub mod stored;
#[cfg(test)]
mod tests;
mod values;

use std::collections::BTreeSet;

pub use apply::apply;
pub use decide::decide;
use raidhall_protocol::rest::NewRaid;
use raidhall_protocol::server::PlayerRef;
use raidhall_protocol::{Command as PlayerCommand, PlayerId, Seq, UnixMillis};
pub use refusal::Refusal;
pub use state::State;

/// Everything that can be asked of a raid, by whomever.
#[derive(Debug, Clone, PartialEq)]
pub enum RaidCommand {
    /// A player makes the raid and leads it. Only ever the first command.
    Create {
        /// Who leads.
        leader: PlayerRef,
        /// A code that no other raid has.
        invite_code: String,
        /// What the raid is made of.
        raid: NewRaid,
    },
    /// A player who holds the invite code joins. A member who joins again causes no event and is not refused.
    Join {
        /// Who.
        player: PlayerRef,
    },
    /// A player acts.
    Player {
        /// Who.
        by: PlayerId,
        /// What they want.
        command: PlayerCommand,
    },
    /// The host app's backend acts: `contribute` and nothing else.
    Service {
        /// What it wants.
        command: PlayerCommand,
    },
    /// An operator ends the raid.
    End,
    /// A player is forgotten: they leave if they can, and their texts are taken back.
    Erase {
        /// Who.
        player: PlayerId,
        /// Whether it was they who made the raid.
        made_raid: bool,
    },
    /// The clock reached the deadline.
    Deadline,
    /// The leader was offline for too long while somebody else was online.
    LeaderOffline,
}

impl RaidCommand {
    /// The name of what is asked for: a player's command by its name on the wire.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Create { .. } => "create",
            Self::Join { .. } => "join",
            Self::Player { command, .. } | Self::Service { command } => command.kind(),
            Self::End => "end",
            Self::Erase { .. } => "erase",
            Self::Deadline => "deadline",
            Self::LeaderOffline => "leader_offline",
        }
    }
}

/// The positive answer to a command: its events are committed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ack {
    /// The seq of the last event that the command caused.
    pub seq: Seq,
    /// Whether the command's op had taken effect before.
    pub duplicate: bool,
}

/// What a decision depends on besides the state.
#[derive(Debug, Clone, Copy)]
pub struct Context<'a> {
    /// The database's time.
    pub now: UnixMillis,
    /// The members who are online.
    pub online: &'a BTreeSet<PlayerId>,
}
