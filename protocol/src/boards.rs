//! Leaderboards in the REST API (`GET /boards` and `GET /boards/{board}`).

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use ts_rs::TS;

use crate::progression::BoardWindow;
use crate::{PlayerId, UnixMillis};

/// A leaderboard, with its window that is open now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, TS, JsonSchema)]
pub struct OpenBoard {
    /// Id of the leaderboard.
    pub id: String,
    /// The title of the leaderboard.
    pub title: BoardTitle,
    /// What its scores add up.
    pub metric: BoardMetric,
    /// The period after which its scores begin again.
    pub window: BoardWindow,
    /// Number of the window that is open.
    pub number: i64,
    /// When the window opened; null if it has always been open.
    pub opens_at: Option<UnixMillis>,
    /// When the window closes; null if it never does.
    pub closes_at: Option<UnixMillis>,
}

/// The title of a leaderboard in each language.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, TS, JsonSchema)]
pub struct BoardTitle {
    /// The title in English.
    pub en: String,
    /// The title in Russian.
    pub ru: String,
}

/// What the scores of a leaderboard add up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, TS, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum BoardMetric {
    /// The XP of raids that counts.
    CountedXp,
}

/// A part of one window of a leaderboard.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, TS, JsonSchema)]
pub struct BoardPage {
    /// The players of this part, in the order of their ranks.
    pub data: Vec<BoardEntry>,
    /// The caller's own score, also if it is not listed; null if there is none.
    pub me: Option<BoardEntry>,
    /// Number of the window.
    pub number: i64,
    /// When the window opened; null if it has always been open.
    pub opens_at: Option<UnixMillis>,
    /// When the window closes or closed; null if it never does.
    pub closes_at: Option<UnixMillis>,
    /// Whether the window has closed and its scores move no more.
    #[serde(rename = "final")]
    pub is_final: bool,
    /// Cursor to pass as `cursor` for the next part; null on the last.
    pub next_cursor: Option<String>,
}

/// A player's place on a leaderboard.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, TS, JsonSchema)]
pub struct BoardEntry {
    /// The player's rank, from 1.
    pub rank: u64,
    /// The player as leaderboards show them.
    pub player: BoardPlayer,
    /// The player's score in the window.
    pub score: u64,
    /// When the score was reached; of two equal scores the earlier one is ahead.
    pub reached_at: UnixMillis,
}

/// What leaderboards show of a player.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, TS, JsonSchema)]
pub struct BoardPlayer {
    /// Id of the player.
    pub id: PlayerId,
    /// Name of the player.
    pub name: String,
    /// Level of the player.
    pub level: u64,
    /// The item in the slot `frame`; null if there is none.
    pub frame: Option<String>,
}
