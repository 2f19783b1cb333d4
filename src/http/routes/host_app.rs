//! What the host app's backend asks for: players, their tokens, members, and the feed of all raids. All that changes
//! something is on record.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::{get, post};
use axum::{Json, Router};
use data_encoding::BASE64URL_NOPAD;
use raidhall_protocol::PlayerId;
use raidhall_protocol::host_app::{FeedEvent, FeedPage, HostPlayer};
use raidhall_protocol::limits::EXTERNAL_ID_CHARS_MAX;
use raidhall_protocol::rest::{Data, TokenPair};
use serde_json::json;

use crate::auth::validate_player_name;
use crate::error::Error;
use crate::http::AppState;
use crate::http::error_response::ErrorResponse;
use crate::http::extract::{
    HostAppBackend, IdempotencyKey, JsonBody, PlayerPath, Query, RaidPath, parse_text,
};
use crate::http::routes::raids::{RaidResponse, raid_view};
use crate::raid;
use crate::store::{FeedBatch, FeedCursor};

/// Never given out, or of a history that the database has no more.
const FEED_CURSOR_NOT_FOUND: Error = Error::NotFound(
    "There is no such place in the feed: after must be a next_cursor of this lineage",
);

pub(in crate::http) fn routes() -> Router<Arc<AppState>> {
    Router::new()
        .route("/api/v1/players", post(get_or_create_player))
        .route("/api/v1/players/{id}/tokens", post(mint_tokens))
        .route("/api/v1/raids/{id}/members", post(add_member))
        .route("/api/v1/events", get(read_feed))
}

/// The player of an id in the host app, made at the first call. Later calls change nothing, the name neither.
async fn get_or_create_player(
    State(app): State<Arc<AppState>>,
    HostAppBackend(caller): HostAppBackend,
    body: JsonBody,
) -> Result<Json<Data<HostPlayer>>, ErrorResponse> {
    let (external_id, name) = body.read(|fields| {
        let (id, name) = (fields.text("external_id"), fields.text("name"));
        let id = id.and_then(|id| parse_text(fields, "external_id", &id, parse_external_id));
        let name = name.and_then(|name| parse_text(fields, "name", &name, validate_player_name));
        Some((id?, name?))
    })?;
    // Without the name: nothing is ever taken from the record.
    caller
        .record(
            &*app.store,
            "admit_player",
            format!("identity {external_id}"),
            json!({}),
        )
        .await?;
    let player = app
        .store
        .find_or_create_by_identity(&external_id, &name)
        .await?;
    Ok(Json(Data {
        data: HostPlayer {
            player,
            external_id,
        },
    }))
}

/// A pair of tokens with which a player's client comes in, as after any sign-in.
async fn mint_tokens(
    State(app): State<Arc<AppState>>,
    HostAppBackend(caller): HostAppBackend,
    PlayerPath(id): PlayerPath,
) -> Result<(StatusCode, Json<Data<TokenPair>>), ErrorResponse> {
    let player = app.unbanned_player(id).await?;
    caller
        .record(
            &*app.store,
            "mint_tokens",
            format!("player {id}"),
            json!({}),
        )
        .await?;
    let data = app.sign_in(player).await?;
    Ok((StatusCode::CREATED, Json(Data { data })))
}

/// Adds a member, as if they had joined; adding twice is the same membership.
async fn add_member(
    State(app): State<Arc<AppState>>,
    HostAppBackend(caller): HostAppBackend,
    RaidPath(raid): RaidPath,
    key: IdempotencyKey,
    body: JsonBody,
) -> Result<RaidResponse, ErrorResponse> {
    let key = key.validate()?;
    let id = body.read(|fields| fields.id::<PlayerId>("player"))?;
    let player = app.unbanned_player(id).await?;
    caller
        .record(
            &*app.store,
            "add_member",
            format!("raid {raid}"),
            json!({ "player": id }),
        )
        .await?;
    let op = caller.authenticated.op_hash(key);
    app.sessions
        .execute(raid, raid::RaidCommand::Join { player }, op)
        .await?;
    raid_view(&app, raid, &caller.authenticated).await
}

/// What has happened in all raids since a place that an earlier call gave, or ever.
async fn read_feed(
    State(app): State<Arc<AppState>>,
    HostAppBackend(_): HostAppBackend,
    mut query: Query,
) -> Result<Json<FeedPage>, ErrorResponse> {
    let (after, limit) = (query.text("after"), query.limit());
    query.finish()?;
    let after = after
        .map(|cursor| decode_feed_cursor(&cursor).ok_or(FEED_CURSOR_NOT_FOUND))
        .transpose()?;
    let (lineage, place) = after.unzip();
    let FeedBatch {
        lineage: current,
        events,
        next,
    } = app
        .store
        .read_feed(place.unwrap_or_default(), limit)
        .await?;
    if lineage.is_some_and(|lineage| lineage != current) {
        return Err(FEED_CURSOR_NOT_FOUND.into());
    }
    let data = events
        .into_iter()
        .map(|(raid, event)| FeedEvent { raid, event })
        .collect();
    Ok(Json(FeedPage {
        data,
        next_cursor: encode_feed_cursor(&current, next),
    }))
}

/// A place in the feed as text: the lineage first, for it is worth nothing in another.
fn encode_feed_cursor(lineage: &str, place: FeedCursor) -> String {
    let numbers = [place.commit, place.raid, place.seq]
        .map(u64::to_be_bytes)
        .concat();
    BASE64URL_NOPAD.encode(&[&numbers, lineage.as_bytes()].concat())
}

/// The lineage and the place that a cursor names.
fn decode_feed_cursor(cursor: &str) -> Option<(String, FeedCursor)> {
    let bytes = BASE64URL_NOPAD.decode(cursor.as_bytes()).ok()?;
    let (numbers, lineage) = bytes.split_at_checked(24)?;
    let number = |index: usize| {
        Some(u64::from_be_bytes(
            numbers[index * 8..][..8].try_into().ok()?,
        ))
    };
    let place = FeedCursor {
        commit: number(0)?,
        raid: number(1)?,
        seq: number(2)?,
    };
    Some((String::from_utf8(lineage.to_vec()).ok()?, place))
}

fn parse_external_id(text: &str) -> Result<&str, &'static str> {
    let fits = (1..=EXTERNAL_ID_CHARS_MAX).contains(&text.chars().count());
    if !fits {
        return Err("must have 1 to 200 characters");
    }
    let plain = text.trim() == text && !text.chars().any(char::is_control);
    if plain {
        Ok(text)
    } else {
        Err("must not hold control characters, nor begin or end with a space")
    }
}
