//! Progression as clients show it: the curve of levels, what brings coins, the achievements, the items
//! of the shop and the leaderboards. It has the form of the operator's file, without what only the rules need.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use ts_rs::TS;

/// The definitions of progression that are in force (`GET /progression`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, TS, JsonSchema)]
pub struct Progression {
    /// How much XP of tasks in raids that are not ranked counts in one day of a player.
    pub casual_xp_per_day: u64,
    /// How much XP of tasks in ranked raids counts in one day of a player.
    pub ranked_xp_per_day: u64,
    /// The XP at which levels begin.
    pub levels: Levels,
    /// How many coins things bring.
    pub coins: CoinAmounts,
    /// The rules of streaks; null if there are no streaks.
    pub streaks: Option<StreakRules>,
    /// The achievements, in the order in which clients show them.
    pub achievements: Vec<Achievement>,
    /// The items of the shop, in the order in which clients show them.
    pub items: Vec<ShopItem>,
    /// The leaderboards, in the order in which clients show them.
    pub boards: Vec<Board>,
}

/// The XP at which each level begins, of players and of skills.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, TS, JsonSchema)]
pub struct Levels {
    /// Level n begins at `xp_factor` · n · (n − 1) XP.
    pub xp_factor: u64,
}

/// How many coins something brings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, TS, JsonSchema)]
pub struct CoinAmounts {
    /// XP that counts, for one coin.
    pub xp_per_coin: u64,
    /// Coins for a raid that was completed.
    pub victory: u64,
    /// Coins for its first place, beside those of the victory.
    pub mvp: u64,
    /// Coins for each level.
    pub level: u64,
}

/// How streaks survive missed days, and what a lost one costs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, TS, JsonSchema)]
pub struct StreakRules {
    /// Days of a streak that earn a freeze.
    pub days_per_freeze: u64,
    /// Most freezes that a player has.
    pub freezes_max: u64,
    /// Hours from the loss of a streak in which it can be repaired.
    pub repair_hours: u64,
    /// Coins that a repair costs.
    pub repair_cost: u64,
    /// Days from a repair to the next one.
    pub repair_pause_days: u64,
}

/// An achievement that players can unlock.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, TS, JsonSchema)]
pub struct Achievement {
    /// Id of the achievement.
    pub id: String,
    /// Name of its picture.
    pub icon: String,
    /// The goals, in ascending order.
    pub tiers: Vec<Tier>,
    /// Its title and what it is for, in English.
    pub en: AchievementText,
    /// Its title and what it is for, in Russian.
    pub ru: AchievementText,
}

/// A goal of an achievement.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, TS, JsonSchema)]
pub struct Tier {
    /// What the counter must reach.
    pub goal: u64,
    /// Coins for reaching it.
    pub coins: u64,
}

/// The texts of an achievement in one language.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, TS, JsonSchema)]
pub struct AchievementText {
    /// The title of the achievement.
    pub title: String,
    /// What a player does for it.
    pub text: String,
}

/// An item of the shop.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, TS, JsonSchema)]
pub struct ShopItem {
    /// Id of the item.
    pub id: String,
    /// Where it is worn.
    pub slot: String,
    /// Its price in coins.
    pub price: u64,
    /// Its name in English.
    pub en: String,
    /// Its name in Russian.
    pub ru: String,
}

/// A leaderboard: it ranks players by the XP of raids that counts, from window to window.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, TS, JsonSchema)]
pub struct Board {
    /// Id of the leaderboard.
    pub id: String,
    /// The period after which its scores begin again.
    pub window: BoardWindow,
    /// The IANA time zone in which its windows open and close.
    pub zone: String,
    /// Its title in English.
    pub en: String,
    /// Its title in Russian.
    pub ru: String,
}

/// The period after which the scores of a leaderboard begin again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, TS, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum BoardWindow {
    /// A day of the calendar.
    Daily,
    /// A week of ISO 8601, which begins on Monday.
    Weekly,
    /// A quarter of a year.
    Season,
    /// The scores never begin again.
    AllTime,
}

impl BoardWindow {
    /// Every period, from the shortest one.
    pub const ALL: [BoardWindow; 4] = [
        BoardWindow::Daily,
        BoardWindow::Weekly,
        BoardWindow::Season,
        BoardWindow::AllTime,
    ];

    /// Returns the name on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            BoardWindow::Daily => "daily",
            BoardWindow::Weekly => "weekly",
            BoardWindow::Season => "season",
            BoardWindow::AllTime => "all_time",
        }
    }
}
