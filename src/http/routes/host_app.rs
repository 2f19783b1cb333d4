//! The routes for the host app's backend: players, their tokens, members of raids, and the feed.
//! Every change is recorded in the audit log.

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
use crate::store::{CommittedEvent, FeedBatch, FeedCursor};

/// The error for a feed cursor that is malformed or of another lineage.
const FEED_CURSOR_NOT_FOUND: Error =
    Error::NotFound("Unknown cursor: after must be a next_cursor of this lineage");

pub(in crate::http) fn routes() -> Router<Arc<AppState>> {
    Router::new()
        .route("/api/v1/players", post(get_or_create_player))
        .route("/api/v1/players/{id}/tokens", post(mint_tokens))
        .route("/api/v1/raids/{id}/members", post(add_member))
        .route("/api/v1/events", get(read_feed))
}

/// Returns the player with an id in the host app. The first call creates the player; later calls
/// change nothing, not even the name.
async fn get_or_create_player(
    State(app): State<Arc<AppState>>,
    HostAppBackend(caller): HostAppBackend,
    body: JsonBody,
) -> Result<Json<Data<HostPlayer>>, ErrorResponse> {
    let (external_id, name) = body.read(|fields| {
        let id = fields.text("external_id");
        let name = fields.text("name");
        let id = id.and_then(|id| parse_text(fields, "external_id", &id, parse_external_id));
        let name = name.and_then(|name| parse_text(fields, "name", &name, validate_player_name));
        Some((id?, name?))
    })?;
    // The name is left out, because an erasure cannot remove it from the audit log.
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

/// Signs a player in and returns the pair of tokens for the player's client.
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

/// Adds a player to a raid, as if the player had joined. Adding a member again changes nothing.
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

/// Returns a page of the feed: the events of all raids after a cursor from an earlier page, or from
/// the beginning.
async fn read_feed(
    State(app): State<Arc<AppState>>,
    HostAppBackend(_): HostAppBackend,
    mut query: Query,
) -> Result<Json<FeedPage>, ErrorResponse> {
    let after = query.text("after");
    let limit = query.limit();
    query.finish()?;
    let after = after
        .map(|cursor| decode_feed_cursor(&cursor).ok_or(FEED_CURSOR_NOT_FOUND))
        .transpose()?;
    let (lineage, after) = after.unzip();
    let FeedBatch {
        lineage: current,
        events,
        next,
    } = app
        .store
        .read_feed(after.unwrap_or_default(), limit)
        .await?;
    if lineage.is_some_and(|lineage| lineage != current) {
        return Err(FEED_CURSOR_NOT_FOUND.into());
    }
    let data = events
        .into_iter()
        .map(|CommittedEvent { raid, event, .. }| FeedEvent { raid, event })
        .collect();
    Ok(Json(FeedPage {
        data,
        next_cursor: encode_feed_cursor(&current, next),
    }))
}

/// Encodes a feed cursor together with its lineage, in which alone it is valid.
fn encode_feed_cursor(lineage: &str, cursor: FeedCursor) -> String {
    let numbers = [cursor.commit, cursor.raid, cursor.seq]
        .map(u64::to_be_bytes)
        .concat();
    BASE64URL_NOPAD.encode(&[&numbers, lineage.as_bytes()].concat())
}

/// Decodes the lineage and the feed cursor from the text of [`encode_feed_cursor`].
fn decode_feed_cursor(text: &str) -> Option<(String, FeedCursor)> {
    let bytes = BASE64URL_NOPAD.decode(text.as_bytes()).ok()?;
    let (numbers, lineage) = bytes.split_at_checked(24)?;
    let number = |index: usize| {
        Some(u64::from_be_bytes(
            numbers[index * 8..][..8].try_into().ok()?,
        ))
    };
    let cursor = FeedCursor {
        commit: number(0)?,
        raid: number(1)?,
        seq: number(2)?,
    };
    Some((String::from_utf8(lineage.to_vec()).ok()?, cursor))
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
