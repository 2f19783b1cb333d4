//! Every operation of REST. One that the server has and this list has not fails a test, and so does the reverse.

use raidhall_protocol::ErrorType::{
    Forbidden, NotEnoughEnergy, NotFound, NotLeader, NotMember, NotYours, Overloaded, RaidClosed,
    RaidFull, TaskTaken, TooManyTasks, Unauthenticated, WrongStatus,
};
use raidhall_protocol::admin::{
    AuditEntry, Ban, Disconnected, Erased, InstanceView, Linked, PlayerView, Replayed, Resumed,
    SignedOut, Standing, WebhookDelivery, WebhookView,
};
use raidhall_protocol::host_app::{FeedEvent, HostPlayer};
use raidhall_protocol::limits::{
    EXTERNAL_ID_CHARS_MAX, NAME_CHARS_MAX, REASON_CHARS_MAX, TEXT, TEXT_OR_NONE,
};
use raidhall_protocol::rest::{
    CommandResult, Contribution, LedgerRow, NewRaid, Profile, RaidSummary, RaidView, TokenPair,
};
use raidhall_protocol::state::RaidStatus;
use raidhall_protocol::{Command, OpKey, PlayerId};
use serde_json::{Value, json};

use super::examples;
use super::operation::{AllowedCaller, Operation};
use super::schemas::{Schemas, object};

pub fn all_operations(schemas: &mut Schemas) -> Vec<Operation> {
    [
        sign_in_operations(schemas),
        player_operations(schemas),
        raid_operations(schemas),
        backend_operations(schemas),
        operator_operations(schemas),
        health_operations(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn text(chars_max: usize) -> Value {
    json!({"type": "string", "minLength": 1, "maxLength": chars_max, "pattern": TEXT})
}

fn seq() -> Value {
    json!({"type": "integer", "minimum": 0, "maximum": 9_007_199_254_740_991_u64})
}

fn id() -> Value {
    json!({"type": "integer", "minimum": 1, "maximum": 9_007_199_254_740_991_u64})
}

fn cursor() -> Value {
    // A raid's id in eight bytes, as Base64 for URLs; no raid has the id 0.
    json!({
        "type": "string",
        "pattern": "^A[AB][A-Za-z0-9_-]{8}[AEIMQUYcgkosw048]$",
        "not": {"const": "AAAAAAAAAAA"},
    })
}

fn status(schemas: &mut Schemas) -> Value {
    schemas.response::<RaidStatus>()
}

fn next_cursor() -> Value {
    json!({"type": ["string", "null"], "description": "What to pass as `cursor` for the next page; null on the last."})
}

/// A map with one of two texts.
fn either_key(one: &str, other: &str) -> Value {
    let only = |name: &str| json!({"required": [name], "properties": {name: {"type": "string"}}});
    let maybe = || json!({"type": ["string", "null"]});
    json!({"type": "object", "properties": {one: maybe(), other: maybe()}, "oneOf": [only(one), only(other)]})
}

/// Any text without control characters.
fn printable_text() -> Value {
    json!({"type": "string", "pattern": TEXT_OR_NONE})
}

fn sign_in_operations(schemas: &mut Schemas) -> Vec<Operation> {
    let tag = "Signing in";
    let new = |asks, id, summary| Operation::new(asks, id, tag, summary);
    let plain = || json!({"type": "string"});
    vec![
        new(
            "POST /auth/guest",
            "signInAsGuest",
            "Come in as a guest, by a name",
        )
        .body(
            object(&[("name", text(NAME_CHARS_MAX))]),
            json!({"name": "Ada"}),
        )
        .fails_with(&[Forbidden])
        .rate_limited()
        .returns::<TokenPair>(201, schemas),
        new(
            "POST /auth/refresh",
            "refresh",
            "A new pair of tokens for a refresh token",
        )
        .body(
            object(&[("refresh_token", plain())]),
            json!({"refresh_token": "9f2c…"}),
        )
        .fails_with(&[Unauthenticated, Forbidden])
        .rate_limited()
        .returns::<TokenPair>(200, schemas),
        new(
            "POST /auth/telegram",
            "signInByTelegram",
            "Come in as the user of a Telegram Mini App",
        )
        .header(
            "X-Telegram-Init-Data",
            "The init data, where they do not come in the body; they count before it.",
            plain(),
        )
        .body(
            object(&[("init_data", plain())]),
            json!({"init_data": "query_id=…&user=…&auth_date=…&hash=…"}),
        )
        .fails_with(&[Unauthenticated, Forbidden])
        .rate_limited()
        .returns::<TokenPair>(200, schemas),
        new(
            "POST /auth/link",
            "link",
            "Become, as a guest, whom a foreign token or Telegram vouches for",
        )
        .allow_caller(AllowedCaller::Player)
        .header(
            "X-Telegram-Init-Data",
            "The init data, where they do not come in the body; they count before it.",
            plain(),
        )
        .body(either_key("token", "init_data"), json!({"token": "eyJ…"}))
        .fails_with(&[NotFound])
        .returns::<Linked>(200, schemas),
        new(
            "POST /auth/sign-out",
            "signOut",
            "End this sign-in: its tokens, and its connections within two seconds",
        )
        .allow_caller(AllowedCaller::Player)
        .returns::<SignedOut>(200, schemas),
    ]
}

fn player_operations(schemas: &mut Schemas) -> Vec<Operation> {
    let new = |asks, id, summary| {
        Operation::new(asks, id, "Players", summary).allow_caller(AllowedCaller::Player)
    };
    vec![
        new("GET /me", "me", "Who you are, and what you have done")
            .fails_with(&[NotFound])
            .returns::<Profile>(200, schemas),
        new(
            "DELETE /me",
            "eraseMe",
            "Close your account for good, and take back what you wrote in raids",
        )
        .fails_with(&[NotFound])
        .returns::<Erased>(202, schemas),
        new(
            "GET /me/export",
            "exportMe",
            "All that is kept of you, as one download",
        )
        .fails_with(&[NotFound])
        .with_header("Content-Disposition")
        .returns_json(200, export(schemas)),
    ]
}

fn export(schemas: &mut Schemas) -> Value {
    let event = json!({"type": "array", "items": schemas.response::<LedgerRow>()});
    let raid = object(&[
        ("id", id()),
        ("events", event),
        ("title", json!({"type": ["string", "null"]})),
        ("member", json!({"type": "boolean"})),
    ]);
    let sign_in = object(&[
        ("renewed_at", json!({"type": "integer"})),
        ("expires_at", json!({"type": "integer"})),
    ]);
    let kept = object(&[
        ("player", schemas.response::<Profile>()),
        ("external_id", json!({"type": ["string", "null"]})),
        ("sign_ins", json!({"type": "array", "items": sign_in})),
        ("raids", json!({"type": "array", "items": raid})),
    ]);
    object(&[("data", kept)])
}

fn raid_operations(schemas: &mut Schemas) -> Vec<Operation> {
    let new = |asks, id, summary| {
        Operation::new(asks, id, "Raids", summary).allow_caller(AllowedCaller::Player)
    };
    let mut new_raid = schemas.request::<NewRaid>();
    let leader =
        json!({"type": "object", "properties": {"leader": schemas.request::<Option<PlayerId>>()}});
    new_raid = json!({"allOf": [new_raid, leader]});
    let command = json!({
        "type": "object",
        "required": ["cmd"],
        "properties": {"op": schemas.request::<Option<OpKey>>(), "cmd": schemas.request::<Command>()},
    });
    let (raid_status, page) = (status(schemas), next_cursor());
    let text = || json!({"type": "string"});
    let event = json!({
        "type": "object",
        "required": ["event", "data"],
        "properties": {"event": text(), "data": text(), "id": text(), "retry": {"type": ["integer", "string"]}},
        "description": "One event of the stream; `data` is the message of the socket, as JSON.",
    });
    vec![
        new(
            "POST /raids",
            "createRaid",
            "Make a raid and lead it; the backend names who leads",
        )
        .idempotent()
        .body(
            new_raid,
            json!({"title": "Ship it", "target_xp": 500, "target_tasks": 10}),
        )
        .fails_with(&[NotFound])
        .returns::<RaidView>(201, schemas),
        new(
            "GET /raids",
            "myRaids",
            "The raids that you are a member of, newest first",
        )
        .query("status", "Only those.", raid_status)
        .query("cursor", "The `next_cursor` of the page before.", cursor())
        .paged()
        .returns_page::<RaidSummary>(schemas, page),
        new(
            "POST /raids/join",
            "joinRaid",
            "Join by an invite code; joining twice is the same membership",
        )
        .body(
            object(&[("invite_code", json!({"type": "string"}))]),
            json!({"invite_code": "K7MQ2XNB"}),
        )
        .fails_with(&[NotFound, RaidFull, RaidClosed, Overloaded])
        .returns::<RaidView>(200, schemas),
        new("GET /raids/{id}", "raid", "The raid")
            .fails_with(&[NotFound, Overloaded])
            .returns::<RaidView>(200, schemas),
        new(
            "POST /raids/{id}/commands",
            "command",
            "Do something in the raid",
        )
        .idempotent()
        .body(
            command,
            json!({"op": "0190f3-a", "cmd": {"type": "complete_task", "task": 3}}),
        )
        .fails_with(&[
            NotFound,
            NotMember,
            NotLeader,
            NotYours,
            WrongStatus,
            TaskTaken,
            RaidFull,
            RaidClosed,
            TooManyTasks,
            NotEnoughEnergy,
            Overloaded,
        ])
        .returns::<CommandResult>(200, schemas),
        new(
            "GET /raids/{id}/events",
            "events",
            "The raid's ledger, oldest first",
        )
        .query("after", "The seq after which to begin.", seq())
        .paged()
        .fails_with(&[NotFound, Overloaded])
        .returns_list::<LedgerRow>(schemas),
        new(
            "GET /raids/{id}/contributions",
            "contributions",
            "Who earned what, oldest first",
        )
        .query("after", "The seq after which to begin.", seq())
        .paged()
        .fails_with(&[NotFound, Overloaded])
        .returns_list::<Contribution>(schemas),
        new(
            "GET /raids/{id}/stream",
            "stream",
            "The raid, live, as Server-Sent Events",
        )
        .query("since", "The newest seq that you hold.", seq())
        .query(
            "lineage",
            "The history of the database that it is of.",
            printable_text(),
        )
        .header(
            "Last-Event-ID",
            "The newest seq that you hold; it counts before `since`.",
            seq(),
        )
        .fails_with(&[NotFound, Overloaded])
        .without_rate_limit()
        .with_header("Raidhall-Lineage")
        .returns_stream(event, examples::stream_event()),
    ]
}

fn backend_operations(schemas: &mut Schemas) -> Vec<Operation> {
    let new = |asks, id, summary| {
        Operation::new(asks, id, "The host app's backend", summary)
            .allow_caller(AllowedCaller::HostAppBackend)
    };
    let external_id = json!({
        "type": "string",
        "minLength": 1,
        "maxLength": EXTERNAL_ID_CHARS_MAX,
        "pattern": r"^[^\s\x00-\x1f\x7f-\x9f]([^\x00-\x1f\x7f-\x9f]*[^\s\x00-\x1f\x7f-\x9f])?$",
    });
    let next =
        json!({"type": "string", "description": "What to pass as `after` for what follows."});
    vec![
        new(
            "POST /players",
            "admitPlayer",
            "The player of an id in your app, made at the first call",
        )
        .body(
            object(&[("external_id", external_id), ("name", text(NAME_CHARS_MAX))]),
            json!({"external_id": "u-17", "name": "Ada"}),
        )
        .returns::<HostPlayer>(200, schemas),
        new(
            "POST /players/{id}/tokens",
            "mintTokens",
            "A pair of tokens with which the player's client comes in",
        )
        .fails_with(&[NotFound])
        .returns::<TokenPair>(201, schemas),
        new(
            "DELETE /players/{id}",
            "erasePlayer",
            "Have a player forgotten; operators may do so too",
        )
        .fails_with(&[NotFound])
        .returns::<Erased>(202, schemas),
        new(
            "POST /raids/{id}/members",
            "addMember",
            "Add a player to a raid, as if they had joined",
        )
        .idempotent()
        .body(
            object(&[("player", schemas.request::<PlayerId>())]),
            json!({"player": 5}),
        )
        .fails_with(&[NotFound, RaidFull, RaidClosed, WrongStatus, Overloaded])
        .returns::<RaidView>(200, schemas),
        new(
            "GET /events",
            "feed",
            "What has happened in all raids, in the order in which it was committed",
        )
        .query(
            "after",
            "The `next_cursor` of the page before.",
            printable_text(),
        )
        .paged()
        .fails_with(&[NotFound])
        .returns_page::<FeedEvent>(schemas, next),
    ]
}

fn operator_operations(schemas: &mut Schemas) -> Vec<Operation> {
    let new = |asks, id, summary| {
        Operation::new(asks, id, "Operators", summary).allow_caller(AllowedCaller::Operator)
    };
    let (raid_status, page) = (status(schemas), next_cursor());
    vec![
        new(
            "GET /admin/players",
            "findPlayers",
            "Players, by name, who are all that is asked for",
        )
        .query("id", "The player.", id())
        .query("external_id", "The id in the host app.", printable_text())
        .query("name", "How the name begins.", printable_text())
        .paged()
        .returns_list::<PlayerView>(schemas),
        new(
            "POST /admin/players/{id}/ban",
            "ban",
            "Keep a player out; their connections end within two seconds",
        )
        .body(
            object(&[("reason", text(REASON_CHARS_MAX))]),
            json!({"reason": "spam"}),
        )
        .fails_with(&[NotFound])
        .returns::<Standing>(200, schemas),
        new(
            "DELETE /admin/players/{id}/ban",
            "unban",
            "Let a player in again",
        )
        .fails_with(&[NotFound])
        .returns::<Standing>(200, schemas),
        new(
            "POST /admin/players/{id}/disconnect",
            "disconnect",
            "End a player's connections, once",
        )
        .fails_with(&[NotFound])
        .returns::<Disconnected>(200, schemas),
        new("GET /admin/bans", "bans", "Who is banned")
            .query("after", "The player's id of the last one seen.", seq())
            .paged()
            .returns_list::<Ban>(schemas),
        new(
            "GET /admin/players/{id}/raids",
            "raidsOf",
            "The raids that a player is a member of, newest first",
        )
        .query("status", "Only those.", raid_status)
        .query("cursor", "The `next_cursor` of the page before.", cursor())
        .paged()
        .fails_with(&[NotFound])
        .returns_page::<RaidSummary>(schemas, page),
        new(
            "GET /admin/raids",
            "findRaids",
            "Raids, by title, that are all that is asked for",
        )
        .query("id", "The raid.", id())
        .query("invite_code", "Its invite code.", printable_text())
        .query("title", "How its title begins.", printable_text())
        .paged()
        .returns_list::<RaidSummary>(schemas),
        new(
            "POST /admin/raids/{id}/end",
            "endRaid",
            "End a raid: it has failed, cancelled",
        )
        .idempotent()
        .fails_with(&[NotFound, WrongStatus, Overloaded])
        .returns::<CommandResult>(200, schemas),
        new(
            "GET /admin/instances",
            "instances",
            "The instances that live",
        )
        .returns_list::<InstanceView>(schemas),
        new(
            "GET /admin/audit",
            "audit",
            "What operators and the backend have done, oldest first",
        )
        .query("after", "The id of the last one seen.", seq())
        .paged()
        .returns_list::<AuditEntry>(schemas),
        new(
            "GET /admin/webhooks",
            "webhooks",
            "Where webhooks are posted, and how that goes",
        )
        .returns_list::<WebhookView>(schemas),
        new(
            "GET /admin/webhooks/{name}/deliveries",
            "webhookDeliveries",
            "Webhooks that were not delivered",
        )
        .query(
            "dead",
            "Those that are given up, instead of those that wait.",
            json!({"type": "boolean"}),
        )
        .query("after", "The id of the last one seen.", seq())
        .paged()
        .fails_with(&[NotFound])
        .returns_list::<WebhookDelivery>(schemas),
        new(
            "POST /admin/webhooks/{name}/replay",
            "replayWebhooks",
            "Have one webhook, or all dead ones, tried at once",
        )
        .body(replay_selection(), json!({"dead": true}))
        .fails_with(&[NotFound])
        .returns::<Replayed>(200, schemas),
        new(
            "POST /admin/webhooks/{name}/resume",
            "resumeWebhooks",
            "Go on with an endpoint that is paused",
        )
        .fails_with(&[NotFound])
        .returns::<Resumed>(200, schemas),
    ]
}

/// Which webhooks to replay.
fn replay_selection() -> Value {
    let dead = json!({"required": ["dead"], "properties": {"dead": {"const": true}}});
    let not_dead = json!({"enum": [false, null]});
    let one = json!({"required": ["raid", "seq"], "properties": {"dead": not_dead, "raid": id(), "seq": seq()}});
    json!({"type": "object", "oneOf": [dead, one]})
}

fn health_operations() -> Vec<Operation> {
    let status = |states: &[&str]| json!({"type": "string", "enum": states});
    let part = || status(&["ok", "failing"]);
    let report = |states: &[&str]| {
        let checks = object(&[("store", part()), ("bus", part())]);
        object(&[("status", status(states)), ("checks", checks)])
    };
    vec![
        Operation::new(
            "GET /healthz",
            "alive",
            "Health",
            "Whether the process answers",
        )
        .returns_json(200, object(&[("status", status(&["ok"]))])),
        Operation::new(
            "GET /readyz",
            "ready",
            "Health",
            "Whether to send it clients",
        )
        .returns_json(200, report(&["ready", "degraded"]))
        .returns_alternative(
            503,
            "It is not ready.",
            report(&["starting", "draining", "unavailable"]),
        ),
    ]
}
