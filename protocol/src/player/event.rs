//! Events of a player's stream. An event carries results, so a client that applies events to a
//! state gets the server's state without knowing the rules.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use ts_rs::TS;

use crate::event::LeaveReason;
use crate::ids::{PlayerId, RaidId, Seq, UnixMillis};
use crate::state::Role;

/// Newest version of the data of player events that this build knows. The store keeps
/// [`PlayerEventData::version`] with each event.
pub const PLAYER_EVENT_VERSION: u16 = 1;

/// A numbered event of one player's stream.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, TS, JsonSchema)]
pub struct PlayerEvent {
    /// Position of the event in the player's stream.
    pub seq: Seq,
    /// When the event happened, by the database's clock; never before the previous event.
    pub at: UnixMillis,
    /// The event of a raid that caused this one; null if none did.
    pub cause: Option<RaidPlace>,
    /// Type and data of the event.
    #[serde(flatten)]
    pub data: PlayerEventData,
}

/// The place of an event in a raid's history.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, TS, JsonSchema)]
pub struct RaidPlace {
    /// Id of the raid.
    pub raid: RaidId,
    /// Seq of the event.
    pub seq: Seq,
}

/// Data of a player event, tagged by `type`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, TS, JsonSchema)]
#[serde(tag = "type", content = "data", rename_all = "snake_case")]
pub enum PlayerEventData {
    /// The player earned XP in a raid.
    XpEarned {
        /// XP that the player earned in the raid.
        amount: u64,
        /// How much of it counts: what lies beyond a day's allowance stays in the raid.
        counted: u64,
        /// All XP that the player has earned.
        earned_xp: u64,
        /// All XP of the player that counts.
        xp: u64,
        /// How many tasks and contributions the player has completed.
        tasks: u64,
        /// The day's allowance that was used; null for a contribution, which counts in full.
        allowance: Option<Allowance>,
    },
    /// The player joined a raid, or their role in it changed.
    RaidJoined {
        /// Id of the raid.
        raid: RaidId,
        /// Role of the player from then on.
        role: Role,
    },
    /// The player left a raid, or was removed from it.
    RaidLeft {
        /// Id of the raid.
        raid: RaidId,
        /// Why the player left.
        reason: LeaveReason,
    },
    /// A raid that the player was a member of ended.
    RaidEnded {
        /// Id of the raid.
        raid: RaidId,
        /// How the raid ended.
        outcome: RaidOutcome,
        /// Place of the player in the final ranking; null if the raid failed.
        rank: Option<u32>,
        /// XP that the player earned in the raid.
        xp: u64,
        /// How many raids the player was a member of when they ended.
        raids_played: u64,
        /// How many of them were completed.
        raids_won: u64,
    },
    /// A setting was set.
    SettingSet {
        /// Name of the setting.
        key: String,
        /// Value of the setting.
        #[ts(type = "unknown")]
        value: Value,
        /// How often the setting has been set.
        version: u64,
    },
    /// The player's name was changed.
    NameChanged {
        /// The player's new name.
        name: String,
    },
    /// The player was notified.
    Notified {
        /// Kind of the notification.
        kind: String,
        /// Data of the notification, which depends on its kind.
        #[ts(type = "unknown")]
        data: Value,
    },
    /// The notifications up to a seq were read.
    ReadThrough {
        /// The seq of the newest notification that was read.
        seq: Seq,
    },
    /// A number of the state was wrong, and was set right.
    Corrected {
        /// Which number it is.
        field: CorrectedField,
        /// The value that was wrong.
        from: u64,
        /// The value from then on.
        to: u64,
        /// Id of the player who corrected it as an operator; null if `raidhall rebuild` did.
        by: Option<PlayerId>,
        /// Why it was corrected.
        note: String,
    },
}

impl PlayerEventData {
    /// Returns the name of the event's type on the wire and in the store.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::XpEarned { .. } => "xp_earned",
            Self::RaidJoined { .. } => "raid_joined",
            Self::RaidLeft { .. } => "raid_left",
            Self::RaidEnded { .. } => "raid_ended",
            Self::SettingSet { .. } => "setting_set",
            Self::NameChanged { .. } => "name_changed",
            Self::Notified { .. } => "notified",
            Self::ReadThrough { .. } => "read_through",
            Self::Corrected { .. } => "corrected",
        }
    }

    /// Returns the version of the data's format: the first version with this type in its current
    /// form. A release that does not know the version leaves the stream to releases that do.
    pub const fn version(&self) -> u16 {
        1
    }
}

/// What a player has used of the XP of tasks that counts in one day, in ranked raids or in all others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, TS, JsonSchema)]
pub struct Allowance {
    /// Whether it is the allowance of ranked raids.
    pub ranked: bool,
    /// XP that was counted in it so far.
    pub used: u64,
    /// When the player completed the first task of this day.
    pub since: UnixMillis,
}

/// How a raid ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, TS, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum RaidOutcome {
    /// Both goals were reached.
    Completed,
    /// The raid was lost.
    Failed,
}

/// A number of a player's state that can be corrected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, TS, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum CorrectedField {
    /// All XP of the player that counts.
    Xp,
    /// All XP that the player has earned.
    EarnedXp,
    /// How many tasks and contributions the player has completed.
    Tasks,
    /// How many raids were completed while the player was a member.
    RaidsWon,
    /// How many raids ended while the player was a member.
    RaidsPlayed,
}

impl CorrectedField {
    /// Every field, in the order of the state.
    pub const ALL: [CorrectedField; 5] = [
        Self::Xp,
        Self::EarnedXp,
        Self::Tasks,
        Self::RaidsWon,
        Self::RaidsPlayed,
    ];

    /// Returns the name of the field on the wire, and in the state.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Xp => "xp",
            Self::EarnedXp => "earned_xp",
            Self::Tasks => "tasks",
            Self::RaidsWon => "raids_won",
            Self::RaidsPlayed => "raids_played",
        }
    }
}
