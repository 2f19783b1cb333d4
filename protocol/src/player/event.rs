//! Events of a player's stream. An event carries results, so a client that applies events to a
//! state gets the server's state without knowing the rules.

mod values;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use ts_rs::TS;

pub use self::values::{
    Allowance, Balance, CoinsReason, CorrectedField, CorrectionSource, ItemSource, RaidOutcome,
    XpSource,
};
use super::state::Counter;
use crate::event::LeaveReason;
use crate::ids::{RaidId, Seq, UnixMillis};
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
        /// What the XP is for.
        source: XpSource,
        /// When the XP was earned. The event's `at` may be later.
        happened_at: UnixMillis,
        /// The day's allowance that was used; null if the XP counts in full.
        allowance: Option<Allowance>,
        /// XP since the beginning of the level that the player has now. A level that was reached
        /// with this XP follows as `level_reached`.
        level_xp: u64,
        /// XP from the beginning of that level to the next one.
        next_level_xp: u64,
        /// The skill that the XP trains; null if it trains none.
        skill: Option<String>,
        /// XP that the player has earned in the skill.
        skill_xp: Option<u64>,
        /// The player's level in the skill.
        skill_level: Option<u64>,
        /// The player's coins after it.
        coins: u64,
        /// How many of them the XP brought.
        coins_earned: u64,
        /// Why the host app's backend granted the XP; null for XP of a raid.
        note: Option<String>,
        /// The counters of achievements that moved.
        counters: Vec<Counter>,
    },
    /// The player reached a level. Each level is reached once.
    LevelReached {
        /// The level that was reached.
        level: u64,
        /// The player's coins after it.
        coins: u64,
        /// How many of them the level brought.
        coins_earned: u64,
        /// The counters of achievements that moved.
        counters: Vec<Counter>,
    },
    /// The player got or spent coins, other than those of XP and levels.
    CoinsMoved {
        /// How many coins came; negative if they were spent.
        amount: i64,
        /// Why the coins moved.
        reason: CoinsReason,
        /// The player's coins after it.
        coins: u64,
        /// What the host app's backend says about it; null if nothing.
        note: Option<String>,
        /// The counters of achievements that moved.
        counters: Vec<Counter>,
    },
    /// The player reached the goal of an achievement. Each tier is reached once.
    AchievementUnlocked {
        /// Id of the achievement.
        id: String,
        /// The tier, from 1.
        tier: u32,
    },
    /// The player earned XP that counts on another day of their streak, or on the same day in another
    /// time zone, which leaves `days` as it is.
    DayKept {
        /// The day, as `YYYY-MM-DD`.
        day: String,
        /// Name of the time zone that it is a day of.
        zone: String,
        /// How many days the streak has.
        days: u64,
        /// The most days that a streak of the player had.
        best: u64,
        /// How many missed days the streak survives from then on.
        freezes: u64,
        /// When the XP was earned, from which the next day of the streak is found.
        since: UnixMillis,
        /// When the streak is lost if no day is kept until then.
        lapses_at: UnixMillis,
    },
    /// Freezes kept the streak through days that were missed. The day that was kept after them follows
    /// as `day_kept`.
    StreakFrozen {
        /// How many days were missed, each of which took a freeze.
        days_frozen: u64,
        /// How many freezes are left.
        freezes: u64,
        /// When the streak is lost if no day is kept until then.
        lapses_at: UnixMillis,
    },
    /// The streak was lost: more days were missed than there are freezes, which stay.
    StreakLost {
        /// How many days the streak had.
        days: u64,
        /// How many days a repair brings back; 0 if none is possible. They are those of another
        /// streak if a longer one was lost before and can still be repaired.
        repairable_days: u64,
        /// From when the streak can be repaired; null if it cannot.
        repairable_from: Option<UnixMillis>,
        /// Until when it can be repaired; null if it cannot.
        repairable_until: Option<UnixMillis>,
    },
    /// The player repaired the streak that was lost, or XP of a raid that came late showed that it
    /// should not have been lost. It includes the days kept since.
    StreakRepaired {
        /// How many days the streak has.
        days: u64,
        /// The most days that a streak of the player had.
        best: u64,
        /// How many missed days the streak survives from then on.
        freezes: u64,
        /// How many coins it cost; they moved before it.
        cost: u64,
        /// A moment of the day before, which counts as kept; null if a day was kept since the loss,
        /// or if XP that came late brought the streak back.
        since: Option<UnixMillis>,
        /// When the streak is lost if no day is kept until then.
        lapses_at: UnixMillis,
    },
    /// The player got an item of the shop. Each item is had once.
    ItemGranted {
        /// Id of the item.
        item: String,
        /// How the player got it.
        by: ItemSource,
        /// The counters of achievements that moved.
        counters: Vec<Counter>,
    },
    /// The player put on an item that they have.
    ItemEquipped {
        /// Where it is worn. It replaces what was worn there.
        slot: String,
        /// Id of the item.
        item: String,
    },
    /// The player joined a raid, or their role in it changed.
    RaidJoined {
        /// Id of the raid.
        raid: RaidId,
        /// Role of the player from then on.
        role: Role,
        /// The counters of achievements that moved.
        counters: Vec<Counter>,
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
        /// When the raid ended. The event's `at` may be later.
        happened_at: UnixMillis,
        /// How many raids the player was a member of when they ended.
        raids_played: u64,
        /// How many of them were completed.
        raids_won: u64,
        /// The counters of achievements that moved.
        counters: Vec<Counter>,
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
        /// When the streak is lost from then on, if the setting decides the player's day; null if it
        /// does not, or if there is no streak.
        lapses_at: Option<UnixMillis>,
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
    /// The player has seen what happened up to a seq, and read the notifications up to it.
    ReadThrough {
        /// The seq of the newest event of the stream that the player has seen.
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
        /// What set the number right.
        by: CorrectionSource,
        /// Why it was corrected.
        note: String,
    },
}

impl PlayerEventData {
    /// Returns the name of the event's type on the wire and in the store.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::XpEarned { .. } => "xp_earned",
            Self::LevelReached { .. } => "level_reached",
            Self::CoinsMoved { .. } => "coins_moved",
            Self::AchievementUnlocked { .. } => "achievement_unlocked",
            Self::DayKept { .. } => "day_kept",
            Self::StreakFrozen { .. } => "streak_frozen",
            Self::StreakLost { .. } => "streak_lost",
            Self::StreakRepaired { .. } => "streak_repaired",
            Self::ItemGranted { .. } => "item_granted",
            Self::ItemEquipped { .. } => "item_equipped",
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

    /// Returns the counters of achievements that the event moved.
    pub fn counters(&self) -> &[Counter] {
        match self {
            Self::XpEarned { counters, .. }
            | Self::LevelReached { counters, .. }
            | Self::CoinsMoved { counters, .. }
            | Self::ItemGranted { counters, .. }
            | Self::RaidJoined { counters, .. }
            | Self::RaidEnded { counters, .. } => counters,
            _ => &[],
        }
    }

    /// Returns the version of the data's format: the first version with this type in its current
    /// form. A release that does not know the version leaves the stream to releases that do.
    pub const fn version(&self) -> u16 {
        1
    }
}
