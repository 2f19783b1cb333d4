//! The raid, player, webhook endpoint, score or invite code that a path names. A segment that cannot be an
//! id is answered with 404.

use axum::extract::{FromRequestParts, Path};
use axum::http::request::Parts;
use raidhall_protocol::{PlayerId, RaidId};

use crate::error::Error;
use crate::http::error_response::{
    BOARD_NOT_FOUND, CODE_NOT_FOUND, ENDPOINT_NOT_FOUND, ErrorResponse, PLAYER_NOT_FOUND,
};

const RAID_NOT_FOUND: Error = Error::NotFound("There is no such raid");

/// The raid id in a path; the raid may not exist.
pub(crate) struct RaidPath(pub(crate) RaidId);

/// The player id in a path; the player may not exist.
pub(in crate::http) struct PlayerPath(pub(in crate::http) PlayerId);

/// The name of a webhook endpoint in a path; the endpoint may not be configured.
pub(in crate::http) struct EndpointPath(pub(in crate::http) String);

/// The id of a leaderboard in a path; there may be no such leaderboard.
pub(in crate::http) struct BoardPath(pub(in crate::http) String);

/// The leaderboard and the player in the path of a score; there may be no such score.
pub(in crate::http) struct BoardScorePath {
    pub(in crate::http) board: String,
    pub(in crate::http) player: PlayerId,
}

/// The invite code in a path, as written; no raid may have it.
pub(in crate::http) struct InviteCodePath(pub(in crate::http) String);

impl<S: Send + Sync> FromRequestParts<S> for InviteCodePath {
    type Rejection = ErrorResponse;

    async fn from_request_parts(
        parts: &mut Parts,
        state: &S,
    ) -> Result<InviteCodePath, ErrorResponse> {
        let code = path_segment(parts, state).await.ok_or(CODE_NOT_FOUND)?;
        Ok(InviteCodePath(code))
    }
}

impl<S: Send + Sync> FromRequestParts<S> for BoardPath {
    type Rejection = ErrorResponse;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<BoardPath, ErrorResponse> {
        let board = path_segment(parts, state).await.ok_or(BOARD_NOT_FOUND)?;
        Ok(BoardPath(board))
    }
}

impl<S: Send + Sync> FromRequestParts<S> for BoardScorePath {
    type Rejection = ErrorResponse;

    async fn from_request_parts(
        parts: &mut Parts,
        state: &S,
    ) -> Result<BoardScorePath, ErrorResponse> {
        let path = Path::<(String, String)>::from_request_parts(parts, state).await;
        let Path((board, player)) = path.map_err(|_| BOARD_NOT_FOUND)?;
        let id = player.parse::<u64>().ok();
        let player = id.and_then(|id| PlayerId::try_from(id).ok());
        Ok(BoardScorePath {
            board,
            player: player.ok_or(PLAYER_NOT_FOUND)?,
        })
    }
}

impl<S: Send + Sync> FromRequestParts<S> for RaidPath {
    type Rejection = ErrorResponse;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<RaidPath, ErrorResponse> {
        let id = path_id(parts, state).await.ok_or(RAID_NOT_FOUND)?;
        Ok(RaidPath(id))
    }
}

impl<S: Send + Sync> FromRequestParts<S> for PlayerPath {
    type Rejection = ErrorResponse;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<PlayerPath, ErrorResponse> {
        let id = path_id(parts, state).await.ok_or(PLAYER_NOT_FOUND)?;
        Ok(PlayerPath(id))
    }
}

impl<S: Send + Sync> FromRequestParts<S> for EndpointPath {
    type Rejection = ErrorResponse;

    async fn from_request_parts(
        parts: &mut Parts,
        state: &S,
    ) -> Result<EndpointPath, ErrorResponse> {
        let name = path_segment(parts, state).await.ok_or(ENDPOINT_NOT_FOUND)?;
        Ok(EndpointPath(name))
    }
}

async fn path_id<T: TryFrom<u64>, S: Send + Sync>(parts: &mut Parts, state: &S) -> Option<T> {
    let id: u64 = path_segment(parts, state).await?.parse().ok()?;
    T::try_from(id).ok()
}

/// Returns the path's only parameter; `None` if it is not UTF-8.
async fn path_segment<S: Send + Sync>(parts: &mut Parts, state: &S) -> Option<String> {
    let segment = Path::<String>::from_request_parts(parts, state).await.ok();
    segment.map(|Path(text)| text)
}
