//! What the data of player events consists of.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use ts_rs::TS;

use crate::ids::UnixMillis;

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

/// What XP is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, TS, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum XpSource {
    /// A task of a raid.
    Task,
    /// A contribution to a raid, which the host app's backend credited.
    Contribution,
    /// A grant of the host app's backend outside of raids.
    Grant,
}

impl XpSource {
    /// Returns the name on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Task => "task",
            Self::Contribution => "contribution",
            Self::Grant => "grant",
        }
    }
}

/// Why a player's coins moved.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, TS, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum CoinsReason {
    /// A raid of the player was completed.
    Victory,
    /// The player has the first place of a completed raid.
    Mvp,
    /// The player reached the goal of an achievement.
    Achievement,
    /// The player bought an item.
    Purchase,
    /// The player repaired their streak.
    Repair,
    /// The host app's backend granted or took them.
    Granted,
}

impl CoinsReason {
    /// Returns the name on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Victory => "victory",
            Self::Mvp => "mvp",
            Self::Achievement => "achievement",
            Self::Purchase => "purchase",
            Self::Repair => "repair",
            Self::Granted => "granted",
        }
    }
}

/// How a player got an item.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, TS, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ItemSource {
    /// The player bought it.
    Purchase,
    /// The host app's backend granted it.
    Grant,
}

impl ItemSource {
    /// Returns the name on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Purchase => "purchase",
            Self::Grant => "grant",
        }
    }
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

impl RaidOutcome {
    /// Returns the name on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Completed => "completed",
            Self::Failed => "failed",
        }
    }
}

/// What set a number of a player's state right.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, TS, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum CorrectionSource {
    /// `raidhall rebuild`, which found that the number does not follow from the raids' events.
    Rebuild,
    /// An operator. The audit log has their name.
    Operator,
}

/// A number that operators can correct: a balance, or the days of the streak.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, TS, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Balance {
    /// All XP of the player that counts.
    Xp,
    /// How many coins the player has.
    Coins,
    /// How many days the player's streak has.
    Streak,
}

impl Balance {
    /// Returns the balance with a name on the wire; `None` if there is none.
    pub fn from_name(name: &str) -> Option<Balance> {
        match name {
            "xp" => Some(Self::Xp),
            "coins" => Some(Self::Coins),
            "streak" => Some(Self::Streak),
            _ => None,
        }
    }

    /// Returns the field of the state that holds the balance.
    pub const fn field(self) -> CorrectedField {
        match self {
            Self::Xp => CorrectedField::Xp,
            Self::Coins => CorrectedField::Coins,
            Self::Streak => CorrectedField::Streak,
        }
    }
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
    /// The player's level, from 1.
    Level,
    /// XP since the beginning of the level.
    LevelXp,
    /// XP from the beginning of the level to the next one.
    NextLevelXp,
    /// How many coins the player has.
    Coins,
    /// How many days the player's streak has.
    Streak,
}

impl CorrectedField {
    /// Every field that can be corrected.
    pub const ALL: [CorrectedField; 10] = [
        Self::Xp,
        Self::EarnedXp,
        Self::Tasks,
        Self::RaidsWon,
        Self::RaidsPlayed,
        Self::Level,
        Self::LevelXp,
        Self::NextLevelXp,
        Self::Coins,
        Self::Streak,
    ];

    /// Returns the name of the field on the wire, and in the state.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Xp => "xp",
            Self::EarnedXp => "earned_xp",
            Self::Tasks => "tasks",
            Self::RaidsWon => "raids_won",
            Self::RaidsPlayed => "raids_played",
            Self::Level => "level",
            Self::LevelXp => "level_xp",
            Self::NextLevelXp => "next_level_xp",
            Self::Coins => "coins",
            Self::Streak => "streak",
        }
    }
}
