//! The rules of a raid as a pure state machine: no I/O, no clock, no randomness, no hash order.
//!
//! [`decide()`] turns a command into events or a refusal and changes nothing; [`apply()`] folds an
//! event into the state. A state folded from a snapshot and the events after it equals the live
//! one, byte for byte.

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
pub(crate) use energy::FULL as ENERGY_MAX;
use raidhall_protocol::rest::NewRaid;
use raidhall_protocol::server::PlayerRef;
use raidhall_protocol::{Command as PlayerCommand, PlayerId, Seq, UnixMillis};
pub use refusal::Refusal;
pub use state::State;
pub(crate) use values::Values;

/// A command to a raid, with its author.
#[derive(Debug, Clone, PartialEq)]
pub enum RaidCommand {
    /// A player creates the raid and leads it. Only the first command of a raid can be this one.
    Create {
        leader: PlayerRef,
        /// An invite code that no other raid has.
        invite_code: String,
        /// The requested title, goals and limits.
        raid: NewRaid,
    },
    /// A player who holds the invite code joins. A member who joins again causes no event and is
    /// not refused.
    Join { player: PlayerRef },
    /// A player sends a command from the protocol.
    Player {
        by: PlayerId,
        command: PlayerCommand,
    },
    /// The host app's backend sends a command; only `contribute`, `add_task` and
    /// `remove_task` are accepted.
    Service { command: PlayerCommand },
    /// An operator ends the raid.
    End,
    /// A player is erased: they leave the raid unless it has ended, and their texts are removed.
    Erase {
        player: PlayerId,
        /// Whether the player created the raid, so that its title and description are theirs.
        made_raid: bool,
    },
    /// The raid's deadline has been reached.
    Deadline,
    /// The leader has been offline for too long while another member was online.
    LeaderOffline,
}

impl RaidCommand {
    /// Returns the command's name for metrics; a player's command has its name from the wire.
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

    /// Returns the player who sends the command, if a player does.
    pub const fn sender(&self) -> Option<PlayerId> {
        match self {
            Self::Create { leader: player, .. } | Self::Join { player } => Some(player.id),
            Self::Player { by, .. } => Some(*by),
            _ => None,
        }
    }
}

/// The positive answer to a command: its events are committed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ack {
    /// The seq of the last event that the command caused; the raid's newest if it caused none.
    pub seq: Seq,
    /// Whether the command's op had taken effect before.
    pub duplicate: bool,
}

/// What a decision depends on besides the state.
#[derive(Debug, Clone, Copy)]
pub struct Context<'a> {
    /// Current time by the database's clock.
    pub now: UnixMillis,
    /// The members who are online.
    pub online: &'a BTreeSet<PlayerId>,
    /// A random invite code, for a command that needs one.
    pub new_invite_code: &'a str,
    /// Limits on what players may add to a raid.
    pub quotas: Quotas,
}

/// Limits on what players may add to a raid.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quotas {
    /// Events of a raid in one UTC day, after which chat messages and changes of tasks are refused.
    /// Players' other commands are refused after twice as many.
    pub daily_events_max: u64,
    /// Tasks of a raid that one member added and that were not removed.
    pub member_tasks_max: usize,
}

impl Quotas {
    /// Quotas that no raid reaches.
    pub const UNLIMITED: Quotas = Quotas {
        daily_events_max: u64::MAX,
        member_tasks_max: usize::MAX,
    };
}
