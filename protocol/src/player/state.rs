//! State of a player: a function of their stream up to one seq.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use ts_rs::TS;

use super::event::CorrectedField;
use crate::ids::{PlayerId, RaidId, Seq, UnixMillis};
use crate::state::Role;

/// Everything about one player that their own devices show.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, TS, JsonSchema)]
pub struct PlayerState {
    /// Id of the player.
    pub id: PlayerId,
    /// Name of the player.
    pub name: String,
    /// All XP of the player that counts.
    pub xp: u64,
    /// All XP that the player has earned, in raids and beyond what counts in a day.
    pub earned_xp: u64,
    /// The player's level, from 1. It never goes down.
    pub level: u64,
    /// XP since the beginning of the level.
    pub level_xp: u64,
    /// XP from the beginning of the level to the next one.
    pub next_level_xp: u64,
    /// How many coins the player has.
    pub coins: u64,
    /// How many tasks and contributions the player has completed.
    pub tasks: u64,
    /// How many raids were completed while the player was a member.
    pub raids_won: u64,
    /// How many raids ended while the player was a member.
    pub raids_played: u64,
    /// The raids that the player is a member of and that have not ended, the latest 200 by joining.
    pub raids: Vec<PlayerRaid>,
    /// The skills that the player has trained, in the order of their first XP.
    pub skills: Vec<SkillProgress>,
    /// The achievements that the player has, each with its highest tier, in the order of their first
    /// tier.
    pub achievements: Vec<UnlockedAchievement>,
    /// The counters of achievements that have moved, in the order of their first move.
    pub counters: Vec<Counter>,
    /// The player's streak of days.
    pub streak: Streak,
    /// Ids of the items that the player has, in the order in which they got them.
    pub items: Vec<String>,
    /// What the player wears: ids of items by slot.
    pub equipped: BTreeMap<String, String>,
    /// The settings that were set, by key.
    pub settings: BTreeMap<String, Setting>,
    /// The notifications of the player.
    pub inbox: Inbox,
    /// The seq up to which the player has seen what happened, on any device; 0 at first.
    pub read_through: Seq,
}

impl PlayerState {
    /// Returns a number of the state.
    pub const fn number(&self, field: CorrectedField) -> u64 {
        match field {
            CorrectedField::Xp => self.xp,
            CorrectedField::EarnedXp => self.earned_xp,
            CorrectedField::Tasks => self.tasks,
            CorrectedField::RaidsWon => self.raids_won,
            CorrectedField::RaidsPlayed => self.raids_played,
            CorrectedField::Level => self.level,
            CorrectedField::LevelXp => self.level_xp,
            CorrectedField::NextLevelXp => self.next_level_xp,
            CorrectedField::Coins => self.coins,
            CorrectedField::Streak => self.streak.days,
        }
    }

    /// Returns a number of the state, to be changed.
    pub const fn number_mut(&mut self, field: CorrectedField) -> &mut u64 {
        match field {
            CorrectedField::Xp => &mut self.xp,
            CorrectedField::EarnedXp => &mut self.earned_xp,
            CorrectedField::Tasks => &mut self.tasks,
            CorrectedField::RaidsWon => &mut self.raids_won,
            CorrectedField::RaidsPlayed => &mut self.raids_played,
            CorrectedField::Level => &mut self.level,
            CorrectedField::LevelXp => &mut self.level_xp,
            CorrectedField::NextLevelXp => &mut self.next_level_xp,
            CorrectedField::Coins => &mut self.coins,
            CorrectedField::Streak => &mut self.streak.days,
        }
    }

    /// Sets a number of the state right. Days of the streak raise the best streak, and take the place of
    /// one that could be repaired.
    pub fn correct(&mut self, field: CorrectedField, to: u64) {
        *self.number_mut(field) = to;
        if field == CorrectedField::Streak {
            self.streak.best = self.streak.best.max(to);
            self.streak.repairable_days = 0;
            self.streak.repairable_from = None;
            self.streak.repairable_until = None;
        }
    }
}

/// A raid that a player is a member of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, TS, JsonSchema)]
pub struct PlayerRaid {
    /// Id of the raid.
    pub raid: RaidId,
    /// Role of the player.
    pub role: Role,
}

/// What a player has in a skill.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, TS, JsonSchema)]
pub struct SkillProgress {
    /// Name of the skill.
    pub skill: String,
    /// XP that the player earned in it.
    pub xp: u64,
    /// The player's level in it, from 1.
    pub level: u64,
}

/// An achievement that a player has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, TS, JsonSchema)]
pub struct UnlockedAchievement {
    /// Id of the achievement.
    pub id: String,
    /// The highest tier that was reached, from 1.
    pub tier: u32,
    /// When it was reached.
    pub at: UnixMillis,
}

/// How far a player is towards an achievement.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, TS, JsonSchema)]
pub struct Counter {
    /// Id of the achievement.
    pub id: String,
    /// What has been counted so far.
    pub value: u64,
    /// The goal of the next tier; null after the last one.
    pub goal: Option<u64>,
}

/// How many days in a row a player has kept. A day is kept with XP of a raid that counts.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, TS, JsonSchema)]
pub struct Streak {
    /// How many days the streak has; 0 before the first kept day, and after it was lost.
    pub days: u64,
    /// The most days that a streak of the player had.
    pub best: u64,
    /// The latest day that was kept, as `YYYY-MM-DD`; null before the first one.
    pub day: Option<String>,
    /// How many missed days the streak survives without being repaired.
    pub freezes: u64,
    /// When the streak is lost if no day is kept until then; null if there is no streak.
    pub lapses_at: Option<UnixMillis>,
    /// How many days a repair brings back; 0 if no lost streak can be repaired.
    pub repairable_days: u64,
    /// From when the lost streak can be repaired; null if it cannot.
    pub repairable_from: Option<UnixMillis>,
    /// Until when the lost streak can be repaired; null if it cannot. It may lie in the past.
    pub repairable_until: Option<UnixMillis>,
}

/// One setting of a player.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, TS, JsonSchema)]
pub struct Setting {
    /// Value of the setting, which depends on its key.
    #[ts(type = "unknown")]
    pub value: Value,
    /// How often the setting has been set.
    pub version: u64,
}

/// The notifications of a player.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, TS, JsonSchema)]
pub struct Inbox {
    /// Number of notifications among `items` that were not read.
    pub unread: u32,
    /// The latest 50 notifications, oldest first.
    pub items: Vec<InboxItem>,
}

/// A notification in a player's inbox.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, TS, JsonSchema)]
pub struct InboxItem {
    /// The seq of the event that added it.
    pub seq: Seq,
    /// When it was added.
    pub at: UnixMillis,
    /// Kind of the notification.
    pub kind: String,
    /// Data of the notification, which depends on its kind.
    #[ts(type = "unknown")]
    pub data: Value,
    /// Whether it was read.
    pub read: bool,
}
