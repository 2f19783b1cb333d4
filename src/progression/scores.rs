//! What effects add to scores on leaderboards.

use raidhall_protocol::UnixMillis;
use raidhall_protocol::player::PlayerEventData;
use raidhall_protocol::player::event::{RaidPlace, XpSource};

use super::Cause;
use crate::definitions::BoardDefinition;

/// One window of a leaderboard. The default one comes before all others, and is of none.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BoardWindowId {
    /// Id of the leaderboard.
    pub board: String,
    /// Number of the window.
    pub number: i64,
}

/// XP that is added to a player's score in one window.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScoreMove {
    /// The window that the score is in.
    pub window: BoardWindowId,
    /// How much is added.
    pub xp: u64,
    /// When the score was reached: the time of the raid's event, or the opening of the window if the event
    /// is earlier.
    pub reached_at: UnixMillis,
    /// The raid's event that it was reached with.
    pub reached_place: RaidPlace,
    /// Whether others see the player on leaderboards, for a score that begins.
    pub is_public: bool,
}

/// Adds to `moves` what the effects of a cause add to a player's scores, so that each window is there
/// once. Only XP of raids that counts is added, and neither grants nor corrections.
pub fn add_score_moves(
    moves: &mut Vec<ScoreMove>,
    cause: &Cause,
    effects: &[PlayerEventData],
    boards: &[BoardDefinition],
    terms: ScoreTerms,
) {
    let xp = effects.iter().map(counted_raid_xp).sum();
    if xp == 0 {
        return;
    }
    for board in boards {
        let Some((number, reached_at)) = window_of(board, cause.at, terms.times) else {
            continue;
        };
        let window = BoardWindowId {
            board: board.shown.id.clone(),
            number,
        };
        let score = ScoreMove {
            window,
            xp,
            reached_at,
            reached_place: cause.place,
            is_public: terms.is_public,
        };
        match moves.iter_mut().find(|it| it.window == score.window) {
            Some(earlier) => {
                earlier.xp = earlier.xp.saturating_add(score.xp);
                if earlier.reached_at <= score.reached_at {
                    earlier.reached_at = score.reached_at;
                    earlier.reached_place = score.reached_place;
                }
            }
            None => moves.push(score),
        }
    }
}

/// Returns the window in which XP of a moment counts, and when it counts as reached. XP that comes when
/// its window is final counts in the one that was open then, as of its opening. Windows that closed before
/// the database had leaderboards stay empty.
fn window_of(
    board: &BoardDefinition,
    at: UnixMillis,
    times: BoardTimes,
) -> Option<(i64, UnixMillis)> {
    let number = board.number_at(at);
    let Some(closes_at) = board.closes_at(number) else {
        return Some((number, at));
    };
    if closes_at <= times.since {
        return None;
    }
    if closes_at > times.final_until {
        return Some((number, at));
    }
    let open = board.number_at(times.final_until);
    Some((open, board.opens_at(open).unwrap_or(at)))
}

/// When leaderboards began, and which of their windows are final.
#[derive(Debug, Clone, Copy)]
pub struct BoardTimes {
    /// Since when the database has leaderboards.
    pub since: UnixMillis,
    /// Windows that closed up to then are final.
    pub final_until: UnixMillis,
}

/// What scores depend on besides a cause and its effects.
#[derive(Debug, Clone, Copy)]
pub struct ScoreTerms {
    /// When leaderboards began, and which of their windows are final.
    pub times: BoardTimes,
    /// Whether others see the player on leaderboards.
    pub is_public: bool,
}

/// Returns the XP of a raid that an event counts.
pub fn counted_raid_xp(data: &PlayerEventData) -> u64 {
    match data {
        PlayerEventData::XpEarned {
            counted, source, ..
        } if *source != XpSource::Grant => *counted,
        _ => 0,
    }
}
