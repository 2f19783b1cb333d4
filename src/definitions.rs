//! The definitions of progression, which an operator can replace: how XP makes levels and coins,
//! which skills it trains, how streaks last, the achievements, the items of the shop, and the
//! leaderboards.

mod achievement;
mod board;
mod levels;
mod parse;
mod table;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use raidhall_protocol::progression::{
    Board, CoinAmounts, Levels, Progression, ShopItem, StreakRules,
};

pub use achievement::AchievementDefinition;
pub use board::BoardDefinition;
pub use levels::LevelCurve;

/// The definitions that the server has built in, as TOML.
pub const BUILT_IN: &str = include_str!("../config/progression.toml");

/// The key of the skill that tasks train, among the kinds of contributions.
const TASK: &str = "task";

/// Everything about progression that an operator can choose.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Definitions {
    /// How much XP of tasks in raids that are not ranked counts in one day of a player.
    pub casual_xp_per_day: u64,
    /// How much XP of tasks in ranked raids counts in one day of a player.
    pub ranked_xp_per_day: u64,
    /// The XP at which each level begins, of players and of skills.
    pub levels: LevelCurve,
    /// How many coins things bring.
    pub coins: CoinAmounts,
    /// Skills by the kind of contribution that trains them. Tasks have the kind `task`.
    skills: BTreeMap<String, String>,
    /// The rules of streaks; `None` if there are no streaks.
    pub streaks: Option<StreakRules>,
    /// The achievements, in the order in which clients show them.
    pub achievements: Vec<AchievementDefinition>,
    /// The items of the shop, in the order in which clients show them.
    pub items: Vec<ShopItem>,
    /// The leaderboards, in the order in which clients show them.
    pub boards: Vec<BoardDefinition>,
}

impl Definitions {
    /// Returns the definitions that the server has built in.
    pub fn built_in() -> Definitions {
        Definitions::parse(BUILT_IN).expect("the built-in definitions are valid")
    }

    /// Reads definitions from TOML.
    ///
    /// # Errors
    ///
    /// Fails with every fault, each with the key that it is about.
    pub fn parse(text: &str) -> Result<Definitions, Vec<String>> {
        parse::parse(text)
    }

    /// Returns definitions by which each cause has one effect: there are no achievements,
    /// streaks or leaderboards, and neither coins nor a second level can be reached.
    #[cfg(test)]
    pub(crate) fn plain() -> Definitions {
        Definitions {
            levels: LevelCurve::new(1_000_000),
            coins: CoinAmounts {
                xp_per_coin: 1_000_000,
                victory: 0,
                mvp: 0,
                level: 0,
            },
            skills: BTreeMap::new(),
            streaks: None,
            achievements: Vec::new(),
            items: Vec::new(),
            boards: Vec::new(),
            ..Definitions::built_in()
        }
    }

    /// Returns plain definitions with the built-in rules of streaks.
    #[cfg(test)]
    pub(crate) fn plain_with_streaks() -> Definitions {
        let mut definitions = Definitions::plain();
        definitions.streaks = Definitions::built_in().streaks;
        definitions
    }

    /// Returns the skill that tasks train; `None` if they train none.
    pub fn skill_of_tasks(&self) -> Option<&str> {
        self.skills.get(TASK).map(String::as_str)
    }

    /// Returns the skill that a contribution or a grant of a kind trains; `None` if it trains none.
    pub fn skill_of_kind(&self, kind: &str) -> Option<&str> {
        let skill = self.skills.get(kind).filter(|_| kind != TASK);
        skill.map(String::as_str)
    }

    /// Returns an item of the shop.
    pub fn item(&self, id: &str) -> Option<&ShopItem> {
        self.items.iter().find(|item| item.id == id)
    }

    /// Returns the leaderboard of an id.
    pub fn board(&self, id: &str) -> Option<&BoardDefinition> {
        self.boards.iter().find(|board| board.shown.id == id)
    }

    /// Returns a fault for each leaderboard that has other windows than in the earlier definitions. Its
    /// scores are in the windows of these.
    pub fn faults_behind(&self, earlier: &Definitions) -> Vec<String> {
        let mut faults = Vec::new();
        for board in &earlier.boards {
            let Board {
                id, window, zone, ..
            } = &board.shown;
            let Some(later) = self.board(id) else {
                continue; // it may come back as it was
            };
            if later.shown.window != *window {
                let name = window.as_str();
                faults.push(format!(
                    "boards.{id}.window: must stay {name}, as its scores are"
                ));
            }
            if later.shown.zone != *zone {
                faults.push(format!(
                    "boards.{id}.zone: must stay {zone}, as its scores are"
                ));
            }
        }
        faults
    }

    /// Returns what clients show of the definitions.
    pub fn shown(&self) -> Progression {
        let achievements = self.achievements.iter();
        Progression {
            casual_xp_per_day: self.casual_xp_per_day,
            ranked_xp_per_day: self.ranked_xp_per_day,
            levels: Levels {
                xp_factor: self.levels.xp_factor,
            },
            coins: self.coins,
            streaks: self.streaks,
            achievements: achievements.map(|it| it.shown.clone()).collect(),
            items: self.items.clone(),
            boards: self.boards.iter().map(|it| it.shown.clone()).collect(),
        }
    }
}
