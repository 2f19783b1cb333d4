//! `/boards` and `/boards/{board}`: the leaderboards, and where players are on them.

mod companions;
mod cursor;
mod removals;

use std::collections::HashSet;
use std::sync::Arc;

use axum::extract::State;
use axum::routing::{get, post};
use axum::{Json, Router};
use raidhall_protocol::boards::{
    BoardEntry, BoardMetric, BoardPage, BoardPlayer, BoardTitle, OpenBoard,
};
use raidhall_protocol::rest::Data;
use raidhall_protocol::{PlayerId, UnixMillis};

use self::companions::{CANDIDATES_MAX, companion_scores};
use self::cursor::BoardCursor;
use crate::auth::Scope;
use crate::definitions::BoardDefinition;
use crate::error::Error;
use crate::http::AppState;
use crate::http::error_response::{BOARD_NOT_FOUND, ErrorResponse};
use crate::http::extract::{Authenticated, BoardPath, Query, ROWS_PER_PROFILE, RowCharge};
use crate::player::PlayerFold;
use crate::progression::BoardWindowId;
use crate::store::{BoardPart, BoardPosition, BoardScore};

const WINDOW_NOT_FOUND: Error = Error::NotFound("The leaderboard has no such window");

pub(in crate::http) fn routes() -> Router<Arc<AppState>> {
    Router::new()
        .route("/api/v1/boards", get(list))
        .route("/api/v1/boards/{board}", get(show))
        .route(
            "/api/v1/admin/boards/{board}/scores/{player}/remove",
            post(removals::remove),
        )
        .route(
            "/api/v1/admin/boards/{board}/scores/{player}/restore",
            post(removals::restore),
        )
}

/// Returns the leaderboards of the definitions in force, or of those of a few seconds ago.
async fn list(
    State(app): State<Arc<AppState>>,
    caller: Authenticated,
) -> Result<Json<Data<Vec<OpenBoard>>>, ErrorResponse> {
    viewer(&caller)?;
    let definitions = app.streams.definitions().await?;
    let now = app.clock.now();
    let boards = definitions.boards.iter();
    let data = boards.map(|board| open_board(board, now)).collect();
    Ok(Json(Data { data }))
}

fn open_board(board: &BoardDefinition, now: UnixMillis) -> OpenBoard {
    let number = board.number_at(now);
    let shown = &board.shown;
    OpenBoard {
        id: shown.id.clone(),
        title: BoardTitle {
            en: shown.en.clone(),
            ru: shown.ru.clone(),
        },
        metric: BoardMetric::CountedXp,
        window: shown.window,
        number,
        opens_at: board.opens_at(number),
        closes_at: board.closes_at(number),
    }
}

/// Returns the player who asks; `None` for the host app's backend and operators.
fn viewer(caller: &Authenticated) -> Result<Option<PlayerId>, ErrorResponse> {
    match caller.0.scope {
        Scope::Player => Ok(Some(caller.player()?.id)),
        Scope::Service | Scope::Admin => Ok(None),
    }
}

/// Returns a part of a window. Ranks are those of this moment.
async fn show(
    State(app): State<Arc<AppState>>,
    caller: Authenticated,
    BoardPath(id): BoardPath,
    charge: RowCharge,
    query: Query,
) -> Result<Json<BoardPage>, ErrorResponse> {
    let viewer = viewer(&caller)?;
    let query = BoardQuery::read(query)?;
    if query.is_around_me || query.is_of_companions {
        caller.player()?;
    }
    charge.apply(&app, &caller, query.rows()).await?;
    let definitions = app.streams.definitions().await?;
    let board = definitions.board(&id).ok_or(BOARD_NOT_FOUND)?;
    let number = existing_window(board, &query.window, app.clock.now())?;
    // Before the scores, so that those of a final window are final.
    let is_final = is_final(&app, board.closes_at(number)).await?;
    let window = BoardWindowId { board: id, number };
    let own: Vec<_> = viewer.into_iter().collect();
    let own = app.store.scores_in_window(&window, &own).await?.pop();
    let behind = match query.cursor {
        Some(cursor) => Some(cursor.position(&*app.store, &window).await?),
        None => None,
    };
    let part = match viewer.filter(|_| query.is_of_companions) {
        Some(viewer) => companion_scores(&app, viewer, &window, own, &query, behind).await?,
        None => listed_scores(&app, &window, own, &query, behind).await?,
    };
    let opens_at = board.opens_at(number);
    let closes_at = board.closes_at(number);
    let next_cursor = part.next;
    let next_cursor = next_cursor.map(|last| BoardCursor::behind(&last, number).encode());
    let (data, me) = entries(&app, part, own).await?;
    Ok(Json(BoardPage {
        data,
        me,
        number,
        opens_at,
        closes_at,
        is_final,
        next_cursor,
    }))
}

/// Returns the number of the window that is asked for, if it has opened.
fn existing_window(
    board: &BoardDefinition,
    choice: &WindowChoice,
    now: UnixMillis,
) -> Result<i64, Error> {
    let current = board.number_at(now);
    let number = choice.number(current);
    if number > current || (number < 0 && board.closes_at(current).is_none()) {
        return Err(WINDOW_NOT_FOUND);
    }
    Ok(number)
}

/// Returns whether no score moves any more in a window that closes then.
async fn is_final(app: &AppState, closes_at: Option<UnixMillis>) -> Result<bool, ErrorResponse> {
    let now = app.clock.now();
    let Some(closes_at) = closes_at.filter(|closes_at| *closes_at <= now) else {
        return Ok(false);
    };
    Ok(closes_at <= app.store.boards_final_until().await?)
}

/// The query of a part of a leaderboard.
struct BoardQuery {
    window: WindowChoice,
    /// Whether the part has the caller in its middle.
    is_around_me: bool,
    is_of_companions: bool,
    limit: u32,
    /// Where the part before ends.
    cursor: Option<BoardCursor>,
}

/// The window that a query asks for.
enum WindowChoice {
    Current,
    Previous,
    Number(i64),
}

impl WindowChoice {
    const fn number(&self, current: i64) -> i64 {
        match self {
            WindowChoice::Current => current,
            WindowChoice::Previous => current.saturating_sub(1),
            WindowChoice::Number(number) => *number,
        }
    }
}

impl BoardQuery {
    /// Reads the parameters, and fails with all faults if there are any.
    fn read(mut query: Query) -> Result<BoardQuery, ErrorResponse> {
        let window = query.read(
            "number",
            "must be current, previous or the number of a window",
            |text| match text {
                "current" => Some(WindowChoice::Current),
                "previous" => Some(WindowChoice::Previous),
                number => number.parse().ok().map(WindowChoice::Number),
            },
        );
        let around = query.read("around", "must be me", |text| (text == "me").then_some(()));
        let companions = query.flag("companions").unwrap_or(false);
        let limit = query.limit();
        let fault = "must be a next_cursor that was given out";
        let cursor = query.read("cursor", fault, BoardCursor::decode);
        query.finish()?;
        Ok(BoardQuery {
            // The next part is of the same window, also if another one has opened meanwhile.
            window: match &cursor {
                Some(cursor) => WindowChoice::Number(cursor.number),
                None => window.unwrap_or(WindowChoice::Current),
            },
            is_around_me: around.is_some() && cursor.is_none(),
            is_of_companions: companions,
            limit,
            cursor,
        })
    }
}

impl BoardQuery {
    /// Returns how many rows the query is charged as. The streams of the players who are read are
    /// folded, as those of profiles are.
    fn rows(&self) -> u32 {
        let players = if self.is_of_companions {
            CANDIDATES_MAX
        } else {
            self.limit
        };
        players.saturating_mul(ROWS_PER_PROFILE)
    }
}

/// Scores in a row, and what they are among all.
struct RankedPart {
    /// The rank of the first one.
    first_rank: u64,
    positions: Vec<BoardPosition>,
    /// The rank of the caller's own score.
    own_rank: Option<u64>,
    /// The last one, if others follow.
    next: Option<BoardPosition>,
}

/// Reads a part of a window, and counts the ranks of its first score and of the caller's own.
async fn listed_scores(
    app: &AppState,
    window: &BoardWindowId,
    own: Option<BoardScore>,
    query: &BoardQuery,
    behind: Option<BoardPosition>,
) -> Result<RankedPart, ErrorResponse> {
    let store = &app.store;
    let limit = query.limit as usize;
    let middle = own.filter(|_| query.is_around_me);
    let part = match (middle, behind) {
        (Some(own), _) => BoardPart::Behind(own.position),
        (None, Some(last)) => BoardPart::Behind(last),
        (None, None) => BoardPart::Top,
    };
    // One row beyond the limit shows that others follow.
    let behind = store.listed_scores(window, part, query.limit + 1).await?;
    let mut positions = Vec::new();
    if let Some(own) = middle {
        let before = BoardPart::Before(own.position);
        positions = store.listed_scores(window, before, query.limit).await?;
        // The caller's own score may have moved since it was read.
        positions.retain(|it| it.player != own.position.player);
        // If few follow, the part is filled up from before.
        let rest = behind.len() + usize::from(own.is_listed);
        positions.truncate(limit.saturating_sub(rest).max(limit / 2));
        positions.reverse();
        positions.extend(own.is_listed.then_some(own.position));
    }
    let known: HashSet<_> = positions.iter().map(|it| it.player).collect();
    positions.extend(behind.into_iter().filter(|it| !known.contains(&it.player)));
    let has_more = positions.len() > limit;
    positions.truncate(limit);
    let better = match positions.first() {
        Some(first) if part != BoardPart::Top => store.count_listed_before(window, first).await?,
        _ => 0,
    };
    let own_rank = match own {
        Some(own) => Some(store.count_listed_before(window, &own.position).await? + 1),
        None => None,
    };
    Ok(RankedPart {
        first_rank: better + 1,
        next: positions.last().copied().filter(|_| has_more),
        positions,
        own_rank,
    })
}

/// Returns what clients see of a part, and of the caller's own score. Players who were erased
/// meanwhile are left out.
async fn entries(
    app: &AppState,
    part: RankedPart,
    own: Option<BoardScore>,
) -> Result<(Vec<BoardEntry>, Option<BoardEntry>), ErrorResponse> {
    let own = own.map(|own| own.position);
    let players = part.positions.iter().chain(&own);
    let players: Vec<_> = players.map(|it| it.player).collect();
    let folds = app.streams.read_many(&players).await?;
    let entry = |rank, position: &BoardPosition| {
        let fold = folds.get(&position.player)?;
        Some(BoardEntry {
            rank,
            player: board_player(fold),
            score: position.score,
            reached_at: position.reached_at,
        })
    };
    let ranked = (part.first_rank..).zip(&part.positions);
    let data = ranked.filter_map(|(rank, it)| entry(rank, it)).collect();
    let own = own.zip(part.own_rank);
    let own = own.and_then(|(position, rank)| entry(rank, &position));
    Ok((data, own))
}

fn board_player(fold: &PlayerFold) -> BoardPlayer {
    let state = &fold.state;
    BoardPlayer {
        id: state.id,
        name: state.name.clone(),
        level: state.level,
        frame: state.equipped.get("frame").cloned(),
    }
}
