//! What the host app's backend asks for: players, their tokens, members, and the feed of all raids. All that changes
//! something is on record.

use axum::extract::{FromRef, FromRequestParts, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::{get, post};
use axum::{Json, Router};
use data_encoding::BASE64URL_NOPAD;
use raidhall_protocol::PlayerId;
use raidhall_protocol::host_app::{FeedEvent, FeedPage, HostPlayer};
use raidhall_protocol::limits::EXTERNAL_ID_CHARS_MAX;
use raidhall_protocol::rest::{Data, TokenPair};
use raidhall_protocol::server::PlayerRef;
use serde_json::json;

use crate::auth::{BANNED, Scope, guest_name};
use crate::error::Error;
use crate::http::audited::Accountable;
use crate::http::authentication::Gate;
use crate::http::body::Body;
use crate::http::error_response::Failure;
use crate::http::idempotency;
use crate::http::query::Query;
use crate::http::routes::admin::PlayerPath;
use crate::http::routes::raids::{RaidPath, Raids, Shown};
use crate::raid;
use crate::store::{FeedBatch, FeedCursor, OpHash};

/// Never given out, or of a history that the database has no more.
const NO_PLACE: Error = Error::NotFound(
    "There is no such place in the feed: after must be a next_cursor of this lineage",
);
pub(in crate::http) const NO_PLAYER: Error = Error::NotFound("There is no such player");

pub(in crate::http) fn routes(raids: Raids) -> Router {
    Router::new()
        .route("/api/v1/players", post(admit))
        .route("/api/v1/players/{id}/tokens", post(tokens))
        .route("/api/v1/raids/{id}/members", post(add_member))
        .route("/api/v1/events", get(feed))
        .with_state(raids)
}

/// The host app's backend: a caller with the `service` scope.
pub(in crate::http) struct Backend(pub(crate) Accountable);

/// The player of an id in the host app, made at the first call. Later calls change nothing, the name neither.
async fn admit(
    State(raids): State<Raids>,
    Backend(by): Backend,
    body: Body,
) -> Result<Json<Data<HostPlayer>>, Failure> {
    let (external_id, name) = body.read(|fields| {
        let (id, name) = (fields.text("external_id"), fields.text("name"));
        let id = id.and_then(|id| {
            external_id(id)
                .map_err(|must| fields.fault("external_id", must))
                .ok()
        });
        let name = name.and_then(|name| {
            guest_name(&name)
                .map(str::to_owned)
                .map_err(|must| fields.fault("name", must))
                .ok()
        });
        Some((id?, name?))
    })?;
    // Without the name: nothing is ever taken from the record.
    by.record(
        &*raids.store,
        "admit_player",
        format!("identity {external_id}"),
        json!({}),
    )
    .await?;
    let player = raids
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
async fn tokens(
    State(raids): State<Raids>,
    Backend(by): Backend,
    PlayerPath(id): PlayerPath,
) -> Result<(StatusCode, Json<Data<TokenPair>>), Failure> {
    let player = raids.player(id).await?.ok_or(NO_PLAYER)?;
    by.record(
        &*raids.store,
        "mint_tokens",
        format!("player {id}"),
        json!({}),
    )
    .await?;
    let data = raids
        .gate
        .auth
        .sign_in(&*raids.store, player, raids.gate.clock.now())
        .await?;
    Ok((StatusCode::CREATED, Json(Data { data })))
}

/// Adds a member, as if they had joined; adding twice is the same membership.
async fn add_member(
    State(raids): State<Raids>,
    Backend(by): Backend,
    RaidPath(raid): RaidPath,
    headers: HeaderMap,
    body: Body,
) -> Result<Shown, Failure> {
    let key = idempotency::key(&headers).map_err(|fault| Failure::invalid(vec![fault]))?;
    let id = body.read(|fields| fields.id::<PlayerId>("player"))?;
    let player = raids.player(id).await?.ok_or(NO_PLAYER)?;
    by.record(
        &*raids.store,
        "add_member",
        format!("raid {raid}"),
        json!({ "player": id }),
    )
    .await?;
    let op = key.map(|key| OpHash::new(&by.signed.0.subject, &key));
    raids
        .sessions
        .execute(raid, raid::RaidCommand::Join { player }, op)
        .await?;
    raids.show(raid, &by.signed).await
}

/// What has happened in all raids since a place that an earlier call gave, or ever.
async fn feed(
    State(raids): State<Raids>,
    Backend(_): Backend,
    mut query: Query,
) -> Result<Json<FeedPage>, Failure> {
    let (after, limit) = (query.text("after"), query.limit());
    query.finish()?;
    let after = after
        .map(|cursor| place(&cursor).ok_or(NO_PLACE))
        .transpose()?;
    let (lineage, place) = after.unzip();
    let FeedBatch {
        lineage: current,
        events,
        next,
    } = raids
        .store
        .read_feed(place.unwrap_or_default(), limit)
        .await?;
    if lineage.is_some_and(|lineage| lineage != current) {
        return Err(NO_PLACE.into());
    }
    let data = events
        .into_iter()
        .map(|(raid, event)| FeedEvent { raid, event })
        .collect();
    Ok(Json(FeedPage {
        data,
        next_cursor: cursor(&current, next),
    }))
}

/// A place in the feed as text: the lineage first, for it is worth nothing in another.
fn cursor(lineage: &str, place: FeedCursor) -> String {
    let numbers = [place.commit, place.raid, place.seq]
        .map(u64::to_be_bytes)
        .concat();
    BASE64URL_NOPAD.encode(&[&numbers, lineage.as_bytes()].concat())
}

/// The lineage and the place that a cursor names.
fn place(cursor: &str) -> Option<(String, FeedCursor)> {
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

fn external_id(text: String) -> Result<String, &'static str> {
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

impl Raids {
    /// A player who may come in, by id.
    pub(in crate::http) async fn player(&self, id: PlayerId) -> Result<Option<PlayerRef>, Failure> {
        if self.gate.auth.is_banned(id) {
            return Err(BANNED.into());
        }
        let profile = self.store.player(id).await?;
        Ok(profile.map(|profile| PlayerRef {
            id: profile.id,
            name: profile.name,
        }))
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Backend
where
    Gate: FromRef<S>,
{
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Backend, Failure> {
        let accountable = Accountable::from_request_parts(parts, state).await?;
        match accountable.signed.0.scope {
            Scope::Service => Ok(Backend(accountable)),
            Scope::Player | Scope::Admin => {
                Err(Error::Forbidden("Only the host app's backend may do this").into())
            }
        }
    }
}
