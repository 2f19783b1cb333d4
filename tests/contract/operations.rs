//! All operations of the REST API. A test fails if the server has an operation that this list
//! lacks, or the reverse.

use raidhall_protocol::ErrorType::{
    Conflict, Forbidden, NotEnoughEnergy, NotFound, NotLeader, NotMember, NotYours, Overloaded,
    QuotaExceeded, RaidClosed, RaidFull, TaskTaken, TooManyTasks, Unauthenticated, WrongStatus,
};
use raidhall_protocol::admin::{
    AuditEntry, Ban, Disconnected, Erased, InstanceView, Linked, PlayerView, Replayed, Resumed,
    SignedOut, Standing, WebhookDelivery, WebhookView,
};
use raidhall_protocol::host_app::{FeedEvent, HostPlayer};
use raidhall_protocol::limits::{EXTERNAL_ID_CHARS_MAX, NAME_CHARS_MAX, REASON_CHARS_MAX};
use raidhall_protocol::player::{PlayerCommand, PlayerEvent};
use raidhall_protocol::rest::{
    CommandResult, Contribution, InviteView, LedgerRow, NewRaid, PlayerStateAt, Profile,
    RaidSummary, RaidView, TokenPair,
};
use raidhall_protocol::state::RaidStatus;
use raidhall_protocol::text::{NAME, TEXT, TEXT_OR_NONE};
use raidhall_protocol::{Command, OpKey, PlayerId};
use schemars::JsonSchema;
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

fn player_name() -> Value {
    json!({"type": "string", "minLength": 1, "maxLength": NAME_CHARS_MAX, "pattern": NAME})
}

fn seq() -> Value {
    json!({"type": "integer", "minimum": 0, "maximum": 9_007_199_254_740_991_u64})
}

fn id() -> Value {
    json!({"type": "integer", "minimum": 1, "maximum": 9_007_199_254_740_991_u64})
}

fn cursor() -> Value {
    // A raid's id as eight bytes in URL-safe Base64; no raid has the id 0.
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
    json!({"type": ["string", "null"], "description": "Value to pass as `cursor` for the next page; null on the last page."})
}

/// Returns the schema of a map that has exactly one of two text fields.
fn either_key(one: &str, other: &str) -> Value {
    let only = |name: &str| json!({"required": [name], "properties": {name: {"type": "string"}}});
    let maybe = || json!({"type": ["string", "null"]});
    json!({"type": "object", "properties": {one: maybe(), other: maybe()}, "oneOf": [only(one), only(other)]})
}

/// Returns the schema of a text without control characters.
fn printable_text() -> Value {
    json!({"type": "string", "pattern": TEXT_OR_NONE})
}

fn sign_in_operations(schemas: &mut Schemas) -> Vec<Operation> {
    let tag = "Signing in";
    let new = |route, id, summary| Operation::new(route, id, tag, summary);
    let plain = || json!({"type": "string"});
    vec![
        new("POST /auth/guest", "signInAsGuest", "Sign in as a guest")
            .describe(
                "Creates a player with the given name and returns a pair of tokens. No access \
                 token is needed. Returns `forbidden` if guest sign-in is turned off. Sign-ins \
                 are limited per client address.",
            )
            .body(object(&[("name", player_name())]), json!({"name": "Ada"}))
            .fails_with(&[Forbidden, Overloaded])
            .rate_limited()
            .returns::<TokenPair>(201, schemas),
        new("POST /auth/refresh", "refresh", "Refresh a pair of tokens")
            .describe(
                "Exchanges a refresh token for a new pair of tokens. A refresh token can be used \
                 once; for 60 seconds after that, presenting it again returns the same new pair, \
                 in case the response was lost. Later reuse ends the sign-in and returns \
                 `unauthenticated`. Returns `forbidden` if the player is banned.",
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
            "Sign in with Telegram",
        )
        .describe(
            "Signs in the user of a Telegram Mini App, whose player is created at the first \
             sign-in. Send the init data in the body or in the `X-Telegram-Init-Data` header; \
             it is valid for one request. Returns `unauthenticated` if the init data is \
             invalid, too old or already used, and `forbidden` if sign-in with Telegram is \
             turned off or the player is banned.",
        )
        .header(
            "X-Telegram-Init-Data",
            "Init data of the Mini App; if this header is present, the body is ignored.",
            plain(),
        )
        .body(
            object(&[("init_data", plain())]),
            json!({"init_data": "query_id=…&user=…&auth_date=…&hash=…"}),
        )
        .fails_with(&[Unauthenticated, Forbidden])
        .rate_limited()
        .returns::<TokenPair>(200, schemas),
        new("POST /auth/link", "link", "Link an external identity")
            .describe(
                "Links an identity to the calling player, who can then also sign in with it. Id \
                 and name of the player stay the same. Send either a `token` of a configured \
                 issuer or the `init_data` of a Telegram Mini App. Returns `invalid` if the \
                 identity belongs to another player or if the caller already has one, \
                 `unauthenticated` if the token or the init data is invalid, and `forbidden` if \
                 sign-in with Telegram is turned off. Only players may call this.",
            )
            .allow_caller(AllowedCaller::Player)
            .header(
                "X-Telegram-Init-Data",
                "Init data of the Mini App; if this header is present, the body is ignored.",
                plain(),
            )
            .body(either_key("token", "init_data"), json!({"token": "eyJ…"}))
            .fails_with(&[NotFound])
            .returns::<Linked>(200, schemas),
        new("POST /auth/sign-out", "signOut", "Sign out")
            .describe(
                "Ends the sign-in that the access token belongs to. Its refresh token stops \
                 working; its access tokens stop working and its connections close within two \
                 seconds, on every instance. Returns `forbidden` for a token that belongs to no \
                 sign-in, such as a host app's own token.",
            )
            .allow_caller(AllowedCaller::Player)
            .returns::<SignedOut>(200, schemas),
    ]
}

fn player_operations(schemas: &mut Schemas) -> Vec<Operation> {
    let new = |route, id, summary| {
        Operation::new(route, id, "Players", summary).allow_caller(AllowedCaller::Player)
    };
    let command = command_with_op::<PlayerCommand>(schemas);
    vec![
        new("GET /me", "me", "Get your profile")
            .describe("Returns the calling player's id, name and totals over all raids.")
            .fails_with(&[NotFound])
            .returns::<Profile>(200, schemas),
        new("DELETE /me", "eraseMe", "Delete your account")
            .describe(
                "Closes the calling player's account. This cannot be undone. The account's \
                 personal data is deleted before the response is sent, and within two seconds \
                 every instance rejects the player's tokens and closes their connections. The \
                 player's name and texts are then removed from raids in the background. Only \
                 players may call this.",
            )
            .fails_with(&[NotFound])
            .returns::<Erased>(202, schemas),
        new("GET /me/state", "myState", "Get your state")
            .describe(
                "Returns the calling player's state: everything that follows from the events of \
                 their own stream up to `seq`. The events after it are those of `GET /me/events` \
                 with `after` set to `seq`.",
            )
            .fails_with(&[NotFound])
            .returns::<PlayerStateAt>(200, schemas),
        new("GET /me/events", "myEvents", "List your events")
            .describe(
                "Lists the events of the calling player's own stream, oldest first. Pass the last \
                 `seq` as `after` for the next page; a page with fewer than `limit` rows is the \
                 last one.",
            )
            .query(
                "after",
                "Return only rows with a seq above this one; 0 by default.",
                seq(),
            )
            .paged()
            .returns_list::<PlayerEvent>(schemas),
        new("POST /me/commands", "doForMe", "Send a command to your stream")
            .describe(
                "Sends a command to the calling player's own stream. Responds once its events \
                 are stored. With an `op`, which `Idempotency-Key` can carry too, the command \
                 takes effect at most once. Returns `conflict` if a setting does not have the \
                 version `if_version`, and `forbidden` for commands of the host app's backend. A \
                 player may send 2 commands per second. Only players may call this.",
            )
            .idempotent()
            .body(
                command,
                json!({"op": "0190f3", "cmd": {"type": "set_setting", "key": "theme", "value": "dark"}}),
            )
            .fails_with(&[NotFound, Conflict])
            .returns::<CommandResult>(200, schemas),
        new("GET /me/stream", "streamMe", "Stream your events")
            .describe(
                "Streams the calling player's own stream as Server-Sent Events: a snapshot of \
                 the state or the missed events, then live events. To resume, send \
                 `Last-Event-ID` or `since`. Streams count as connections; if there are too \
                 many, the response is `overloaded`.",
            )
            .streams(),
        new("GET /me/export", "exportMe", "Export your data")
            .describe(
                "Downloads everything that is stored about the calling player as one JSON \
                 document: profile, sign-ins, the events of the player's stream and, for each \
                 raid, the events that the player caused or is named in. The document has no size limit. If the download breaks \
                 off, it is not valid JSON: request it again.",
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
    let own_event = schemas.response::<PlayerEvent>();
    let kept = object(&[
        ("player", schemas.response::<Profile>()),
        ("external_id", json!({"type": ["string", "null"]})),
        ("sign_ins", json!({"type": "array", "items": sign_in})),
        ("stream", json!({"type": "array", "items": own_event})),
        ("raids", json!({"type": "array", "items": raid})),
    ]);
    object(&[("data", kept)])
}

impl Operation {
    /// Makes the operation one that streams events and can be resumed.
    fn streams(self) -> Self {
        let text = || json!({"type": "string"});
        let event = json!({
            "type": "object",
            "required": ["event", "data"],
            "properties": {"event": text(), "data": text(), "id": text(), "retry": {"type": ["integer", "string"]}},
            "description": "An event of the stream; `data` is the same message as on the WebSocket, as JSON on one line.",
        });
        self.query("since", "Newest seq that the client holds.", seq())
            .query(
                "lineage",
                "`Raidhall-Lineage` of the stream that the seq comes from; if it is not the \
                 current one, the seq is ignored.",
                printable_text(),
            )
            .header(
                "Last-Event-ID",
                "Newest seq that the client holds; takes precedence over `since`.",
                seq(),
            )
            .fails_with(&[NotFound, Overloaded])
            .without_rate_limit()
            .with_header("Raidhall-Lineage")
            .returns_stream(event, examples::stream_event())
    }
}

/// Returns the schema of the body of a command.
fn command_with_op<C: JsonSchema>(schemas: &mut Schemas) -> Value {
    json!({
        "type": "object",
        "required": ["cmd"],
        "properties": {"op": schemas.request::<Option<OpKey>>(), "cmd": schemas.request::<C>()},
    })
}

fn raid_operations(schemas: &mut Schemas) -> Vec<Operation> {
    let new = |route, id, summary| {
        Operation::new(route, id, "Raids", summary).allow_caller(AllowedCaller::Player)
    };
    let mut new_raid = schemas.request::<NewRaid>();
    let leader =
        json!({"type": "object", "properties": {"leader": schemas.request::<Option<PlayerId>>()}});
    new_raid = json!({"allOf": [new_raid, leader]});
    let command = command_with_op::<Command>(schemas);
    let raid_status = status(schemas);
    let page = next_cursor();
    vec![
        new("POST /raids", "createRaid", "Create a raid")
            .describe(
                "Creates a raid with the caller as its leader and only member. The host app's \
                 backend sets `leader` to the id of the player who will lead it; any other caller \
                 who sets `leader`, or `ranked` to true, gets `forbidden`. With an `Idempotency-Key`, a repeated \
                 request returns the raid that the first one created. Returns `quota_exceeded` if the \
                 caller leads as many open raids as one player may.",
            )
            .idempotent()
            .body(
                new_raid,
                json!({"title": "Ship it", "target_xp": 500, "target_tasks": 10}),
            )
            .fails_with(&[NotFound, QuotaExceeded, Overloaded])
            .returns::<RaidView>(201, schemas),
        new("GET /raids", "myRaids", "List your raids")
            .describe("Lists the raids that the calling player is a member of, newest first.")
            .query("status", "Return only raids with this status.", raid_status)
            .query(
                "cursor",
                "The `next_cursor` of the previous page.",
                cursor(),
            )
            .paged()
            .returns_page::<RaidSummary>(schemas, page),
        new("POST /raids/join", "joinRaid", "Join a raid")
            .describe(
                "Adds the calling player to the raid with this invite code, which is not \
                 case-sensitive. Joining again changes nothing. Returns `not_found` if the code \
                 is wrong, `raid_full` or `raid_closed` if the raid accepts no more members, and \
                 `forbidden` if the player was kicked. Wrong codes are limited per player and per \
                 client address.",
            )
            .body(
                object(&[("invite_code", json!({"type": "string"}))]),
                json!({"invite_code": "K7MQ2XNB"}),
            )
            .fails_with(&[NotFound, RaidFull, RaidClosed, QuotaExceeded, Overloaded])
            .returns::<RaidView>(200, schemas),
        new("GET /invites/{code}", "invite", "Look at an invite")
            .describe(
                "Returns what an invite code, which is not case-sensitive, shows of its raid: \
                 enough to decide whether to join. No access token is needed. Returns \
                 `not_found` if the code is wrong. Wrong codes are limited per client address, \
                 together with those of joining.",
            )
            .allow_caller(AllowedCaller::Public)
            .rate_limited()
            .fails_with(&[NotFound, Overloaded])
            .returns::<InviteView>(200, schemas),
        new("GET /raids/{id}", "raid", "Get a raid")
            .describe(
                "Returns the raid's state with its `seq`, the players who are online and the URL \
                 of a WebSocket that reaches it. Allowed to members, the host app's backend and \
                 operators; for any other caller the raid does not exist.",
            )
            .fails_with(&[NotFound, Overloaded])
            .returns::<RaidView>(200, schemas),
        new("POST /raids/{id}/commands", "command", "Send a command")
            .describe(
                "Changes the raid; a successful response means that the change is committed. \
                 Members may send any command that the rules allow them, the host app's backend \
                 `contribute`, `add_task` and `remove_task`. To make retries safe, send an \
                 idempotency key as `op` or as `Idempotency-Key`; if both are present, `op` takes \
                 precedence.",
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
                QuotaExceeded,
                Overloaded,
            ])
            .returns::<CommandResult>(200, schemas),
        new("GET /raids/{id}/events", "events", "List a raid's events")
            .describe(
                "Lists the raid's events, oldest first. Pass the last `seq` as `after` for the \
                 next page; a page with fewer than `limit` rows is the last one. Allowed to \
                 members, the host app's backend and operators.",
            )
            .query(
                "after",
                "Return only rows with a seq above this one; 0 by default.",
                seq(),
            )
            .paged()
            .fails_with(&[NotFound, Overloaded])
            .returns_list::<LedgerRow>(schemas),
        new(
            "GET /raids/{id}/contributions",
            "contributions",
            "List a raid's contributions",
        )
        .describe(
            "Lists the XP that players earned in the raid, by completing tasks or from the \
             host app's backend, oldest first. Pass the last `seq` as `after` for the next \
             page; a page with fewer than `limit` rows is the last one. Allowed to members, \
             the host app's backend and operators.",
        )
        .query(
            "after",
            "Return only rows with a seq above this one; 0 by default.",
            seq(),
        )
        .paged()
        .fails_with(&[NotFound, Overloaded])
        .returns_list::<Contribution>(schemas),
        new("GET /raids/{id}/stream", "stream", "Stream a raid")
            .describe(
                "Streams the raid as Server-Sent Events: a snapshot of the state or the missed \
                 events, then live events, presence and signals. A player who listens is online. \
                 To resume, send `Last-Event-ID` or `since`. Streams count as connections; if \
                 there are too many, the response is `overloaded`. Allowed to members, the host \
                 app's backend and operators.",
            )
            .streams(),
    ]
}

fn backend_operations(schemas: &mut Schemas) -> Vec<Operation> {
    let new = |route, id, summary| {
        Operation::new(route, id, "The host app's backend", summary)
            .allow_caller(AllowedCaller::HostAppBackend)
    };
    let player_command = json!({
        "type": "object",
        "required": ["op", "cmd"],
        "properties": {"op": schemas.request::<OpKey>(), "cmd": schemas.request::<PlayerCommand>()},
    });
    let external_id = json!({
        "type": "string",
        "minLength": 1,
        "maxLength": EXTERNAL_ID_CHARS_MAX,
        "pattern": r"^[^\s\x00-\x1f\x7f-\x9f]([^\x00-\x1f\x7f-\x9f]*[^\s\x00-\x1f\x7f-\x9f])?$",
    });
    let next =
        json!({"type": "string", "description": "Value to pass as `after` for the next page."});
    vec![
        new("POST /players", "admitPlayer", "Get or create a player")
            .describe(
                "Returns the player with this id in the host app. The first call creates the \
                 player; later calls change nothing, not even the name. Requires the scope \
                 `service`.",
            )
            .body(
                object(&[("external_id", external_id), ("name", player_name())]),
                json!({"external_id": "u-17", "name": "Ada"}),
            )
            .returns::<HostPlayer>(200, schemas),
        new(
            "POST /players/{id}/tokens",
            "mintTokens",
            "Create tokens for a player",
        )
        .describe(
            "Signs a player in and returns the pair of tokens for the player's client. \
             Returns `forbidden` if the player is banned. Requires the scope `service`.",
        )
        .fails_with(&[NotFound])
        .returns::<TokenPair>(201, schemas),
        new(
            "DELETE /players/{id}",
            "erasePlayer",
            "Delete a player's account",
        )
        .describe(
            "Closes the player's account, exactly as `DELETE /me` does for the caller. This \
             cannot be undone. Requires the scope `service` or `admin`.",
        )
        .fails_with(&[NotFound])
        .returns::<Erased>(202, schemas),
        new(
            "POST /players/{id}/commands",
            "doForPlayer",
            "Send a command to a player's stream",
        )
        .describe(
            "Sends a command of the host app's backend to a player's own stream: `notify`. \
             Responds once its events are stored. A command that is repeated under its `op` takes \
             effect once. Requires the scope `service`.",
        )
        .body(
            player_command,
            json!({"op": "sale-5", "cmd": {
                "type": "notify", "kind": "sale", "title": "Sale", "body": "Frames for half", "url": "/shop",
            }}),
        )
        .fails_with(&[NotFound])
        .returns::<CommandResult>(200, schemas),
        new(
            "POST /raids/{id}/members",
            "addMember",
            "Add a member to a raid",
        )
        .describe(
            "Adds a player to a raid as if the player had joined. Adding a member again \
             changes nothing. Returns `forbidden` if the player is banned or was kicked from \
             the raid. Requires the scope `service`.",
        )
        .idempotent()
        .body(
            object(&[("player", schemas.request::<PlayerId>())]),
            json!({"player": 5}),
        )
        .fails_with(&[
            NotFound,
            RaidFull,
            RaidClosed,
            WrongStatus,
            QuotaExceeded,
            Overloaded,
        ])
        .returns::<RaidView>(200, schemas),
        new("GET /events", "feed", "List events of all raids")
            .describe(
                "Lists the events of all raids in the order in which they were committed. There \
                 is always a `next_cursor`, even on an empty page: store it, and pass it as \
                 `after` to continue. Returns `not_found` if `after` is not a cursor of the \
                 current lineage, as after a restore; then start again without `after`. Requires \
                 the scope `service`.",
            )
            .query(
                "after",
                "The `next_cursor` of the previous page.",
                printable_text(),
            )
            .paged()
            .fails_with(&[NotFound])
            .returns_page::<FeedEvent>(schemas, next),
    ]
}

fn operator_operations(schemas: &mut Schemas) -> Vec<Operation> {
    let new = |route, id, summary| {
        Operation::new(route, id, "Operators", summary).allow_caller(AllowedCaller::Operator)
    };
    let raid_status = status(schemas);
    let page = next_cursor();
    vec![
        new("GET /admin/players", "findPlayers", "Find players")
            .describe(
                "Lists the players who match all of the given filters, ordered by name. Without a \
                 filter, all players match. Requires the scope `admin`.",
            )
            .query("id", "Id of the player.", id())
            .query(
                "external_id",
                "Id of the player in the host app.",
                printable_text(),
            )
            .query(
                "name",
                "Prefix of the player's name, not case-sensitive.",
                printable_text(),
            )
            .paged()
            .returns_list::<PlayerView>(schemas),
        new("POST /admin/players/{id}/ban", "ban", "Ban a player")
            .describe(
                "Bans a player: within two seconds every instance rejects the player's tokens and \
                 closes their connections. Banning again changes the reason. Requires the scope \
                 `admin`.",
            )
            .body(
                object(&[(
                    "reason",
                    json!({"type": "string", "minLength": 1, "maxLength": REASON_CHARS_MAX, "pattern": TEXT}),
                )]),
                json!({"reason": "spam"}),
            )
            .fails_with(&[NotFound])
            .returns::<Standing>(200, schemas),
        new("DELETE /admin/players/{id}/ban", "unban", "Lift a ban")
            .describe(
                "Lifts a player's ban. Returns `not_found` if the player is not banned. Requires \
                 the scope `admin`.",
            )
            .fails_with(&[NotFound])
            .returns::<Standing>(200, schemas),
        new(
            "POST /admin/players/{id}/disconnect",
            "disconnect",
            "Disconnect a player",
        )
        .describe(
            "Closes the player's connections with code 4001 within two seconds, once: the \
             player can connect again. Requires the scope `admin`.",
        )
        .fails_with(&[NotFound])
        .returns::<Disconnected>(200, schemas),
        new("GET /admin/bans", "bans", "List bans")
            .describe("Lists all bans, ordered by the player's id. Requires the scope `admin`.")
            .query(
                "after",
                "Id of the player in the last row of the previous page.",
                seq(),
            )
            .paged()
            .returns_list::<Ban>(schemas),
        new(
            "GET /admin/players/{id}/raids",
            "raidsOf",
            "List a player's raids",
        )
        .describe(
            "Lists the raids that a player is a member of, newest first. Requires the scope \
             `admin`.",
        )
        .query("status", "Return only raids with this status.", raid_status)
        .query(
            "cursor",
            "The `next_cursor` of the previous page.",
            cursor(),
        )
        .paged()
        .fails_with(&[NotFound])
        .returns_page::<RaidSummary>(schemas, page),
        new("GET /admin/raids", "findRaids", "Find raids")
            .describe(
                "Lists the raids that match all of the given filters, ordered by title. Without a \
                 filter, all raids match. Requires the scope `admin`.",
            )
            .query("id", "Id of the raid.", id())
            .query(
                "invite_code",
                "Invite code of the raid, not case-sensitive.",
                printable_text(),
            )
            .query(
                "title",
                "Prefix of the raid's title, not case-sensitive.",
                printable_text(),
            )
            .paged()
            .returns_list::<RaidSummary>(schemas),
        new("POST /admin/raids/{id}/end", "endRaid", "End a raid")
            .describe(
                "Ends a raid as failed, with the reason `cancelled`. Returns `wrong_status` if \
                 the raid has already ended. Requires the scope `admin`.",
            )
            .idempotent()
            .fails_with(&[NotFound, WrongStatus, Overloaded])
            .returns::<CommandResult>(200, schemas),
        new("GET /admin/instances", "instances", "List instances")
            .describe(
                "Lists the instances with a valid lease, ordered by id. Requires the scope \
                 `admin`.",
            )
            .returns_list::<InstanceView>(schemas),
        new("GET /admin/audit", "audit", "List audit log entries")
            .describe(
                "Lists the recorded actions of operators, of the host app's backend and of \
                 players who deleted their accounts, oldest first. Requires the scope `admin`.",
            )
            .query("after", "Id of the last row of the previous page.", seq())
            .paged()
            .returns_list::<AuditEntry>(schemas),
        new("GET /admin/webhooks", "webhooks", "List webhook endpoints")
            .describe(
                "Lists the configured endpoints with the state of their deliveries. Requires the \
                 scope `admin`.",
            )
            .returns_list::<WebhookView>(schemas),
        new(
            "GET /admin/webhooks/{name}/deliveries",
            "webhookDeliveries",
            "List failed webhook deliveries",
        )
        .describe(
            "Lists an endpoint's deliveries that failed and wait for another attempt or, with \
             `dead=true`, those that are not retried because all attempts failed. Requires \
             the scope `admin`.",
        )
        .query(
            "dead",
            "Return dead deliveries instead of waiting ones; false by default.",
            json!({"type": "boolean"}),
        )
        .query("after", "Id of the last row of the previous page.", seq())
        .paged()
        .fails_with(&[NotFound])
        .returns_list::<WebhookDelivery>(schemas),
        new(
            "POST /admin/webhooks/{name}/replay",
            "replayWebhooks",
            "Replay webhook deliveries",
        )
        .describe(
            "Delivers one event (`raid` and `seq`) or up to 10,000 dead deliveries (`dead`) \
             to the endpoint again, without delay and with a new count of attempts. Returns \
             the number of deliveries, and `not_found` if the event does not exist or is of a \
             type that is not sent to webhooks. Requires the scope `admin`.",
        )
        .body(replay_selection(), json!({"dead": true}))
        .fails_with(&[NotFound])
        .returns::<Replayed>(200, schemas),
        new(
            "POST /admin/webhooks/{name}/resume",
            "resumeWebhooks",
            "Resume a webhook endpoint",
        )
        .describe(
            "Resumes deliveries to an endpoint that is paused. `resumed` is false if it was \
             not paused. Requires the scope `admin`.",
        )
        .fails_with(&[NotFound])
        .returns::<Resumed>(200, schemas),
    ]
}

/// Returns the schema of a request that selects the webhooks to replay.
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
        let space = status(&["ok", "low"]);
        let checks = object(&[
            ("store", part()),
            ("bus", part()),
            ("feed", part()),
            ("space", space),
        ]);
        object(&[("status", status(states)), ("checks", checks)])
    };
    vec![
        Operation::new("GET /healthz", "alive", "Health", "Check liveness")
            .describe("Returns 200 as long as the process responds.")
            .returns_json(200, object(&[("status", status(&["ok"]))])),
        Operation::new("GET /readyz", "ready", "Health", "Check readiness")
            .describe(
                "Returns 200 if a load balancer can send clients to this instance, otherwise 503. \
                 An instance that has lost its bus, or whose bus does not reach another live \
                 instance, is `degraded`: it is slower, but still serves clients.",
            )
            .returns_json(200, report(&["ready", "degraded"]))
            .returns_alternative(
                503,
                "The instance is not ready.",
                report(&["starting", "draining", "unavailable"]),
            ),
    ]
}
