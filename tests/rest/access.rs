//! Access rules: every route and every command, requested by every kind of caller. The test fails
//! if a served route has no row here.

use std::collections::BTreeSet;

use raidhall::auth::Scope;
use serde_json::{Value, json};

use crate::rest_server::{RestServer, json_text};
use crate::routes;

/// The kinds of caller, in the order of the statuses of a row.
const CALLERS: [&str; 8] = [
    "anonymous",
    "stranger",
    "member",
    "leader",
    "kicked",
    "banned",
    "service",
    "admin",
];

/// A request and its expected statuses. The test fills in `{raid}`, `{code}`, `{player}` (another
/// member), `{leader}`, `{name}` (of a webhook endpoint) and `{board}`.
struct AccessRule {
    request: &'static str,
    body: Value,
    /// The expected status for each of [`CALLERS`].
    statuses: [u16; 8],
}

fn rule(request: &'static str, body: Value, statuses: [u16; 8]) -> AccessRule {
    AccessRule {
        request,
        body,
        statuses,
    }
}

/// Returns the rules of all routes but that for commands.
fn public_rules() -> Vec<AccessRule> {
    let none = || Value::Null;
    vec![
        rule("POST /auth/guest", json!({"name": "Eve"}), [201; 8]),
        rule(
            "POST /auth/refresh",
            json!({"refresh_token": "x"}),
            [401; 8],
        ),
        rule("POST /auth/telegram", json!({"init_data": "x"}), [403; 8]),
        rule(
            "POST /auth/link",
            json!({"token": "x"}),
            [401, 401, 401, 401, 401, 403, 403, 403],
        ),
        rule("GET /me", none(), [401, 200, 200, 200, 200, 403, 403, 403]),
        rule(
            "GET /me/state",
            none(),
            [401, 200, 200, 200, 200, 403, 403, 403],
        ),
        rule(
            "GET /me/events",
            none(),
            [401, 200, 200, 200, 200, 403, 403, 403],
        ),
        rule(
            "GET /me/stream",
            none(),
            [401, 200, 200, 200, 200, 403, 403, 403],
        ),
        rule(
            "POST /me/commands",
            json!({"cmd": {"type": "set_setting", "key": "theme", "value": "dark"}}),
            [401, 200, 200, 200, 200, 403, 403, 403],
        ),
        rule("GET /progression", none(), [200; 8]),
        rule(
            "GET /players?ids={player}",
            none(),
            [401, 200, 200, 200, 200, 403, 200, 200],
        ),
        rule(
            "GET /players/{player}/profile",
            none(),
            [401, 404, 200, 200, 404, 403, 200, 200],
        ),
        rule(
            "GET /boards",
            none(),
            [401, 200, 200, 200, 200, 403, 200, 200],
        ),
        rule(
            "GET /boards/{board}",
            none(),
            [401, 200, 200, 200, 200, 403, 200, 200],
        ),
        rule(
            "POST /raids",
            json!({"title": "Ship it", "target_xp": 100, "target_tasks": 2}),
            [401, 201, 201, 201, 201, 403, 403, 403],
        ),
        rule(
            "GET /me/export",
            none(),
            [401, 200, 200, 200, 200, 403, 403, 403],
        ),
        rule(
            "DELETE /me",
            none(),
            [401, 202, 202, 202, 202, 403, 403, 403],
        ),
        rule(
            "GET /raids",
            none(),
            [401, 200, 200, 200, 200, 403, 403, 403],
        ),
        rule(
            "GET /raids/{raid}",
            none(),
            [401, 404, 200, 200, 404, 403, 200, 200],
        ),
        rule(
            "GET /raids/{raid}/events",
            none(),
            [401, 404, 200, 200, 404, 403, 200, 200],
        ),
        rule(
            "GET /raids/{raid}/stream",
            none(),
            [401, 404, 200, 200, 404, 403, 200, 200],
        ),
        rule(
            "GET /raids/{raid}/contributions",
            none(),
            [401, 404, 200, 200, 404, 403, 200, 200],
        ),
        rule(
            "POST /raids/join",
            json!({"invite_code": "{code}"}),
            [401, 200, 200, 200, 403, 403, 403, 403],
        ),
        rule("GET /invites/{code}", none(), [200; 8]),
        // Routes for the host app's backend.
        rule(
            "POST /players",
            json!({"external_id": "u-1", "name": "Eve"}),
            ONLY_SERVICE,
        ),
        rule(
            "POST /players/{player}/tokens",
            none(),
            [401, 403, 403, 403, 403, 403, 201, 403],
        ),
        rule(
            "DELETE /players/{player}",
            none(),
            [401, 403, 403, 403, 403, 403, 202, 202],
        ),
        rule(
            "POST /players/{player}/commands",
            json!({"op": "sale-5", "cmd": {"type": "notify", "kind": "sale", "title": "Sale", "body": "Now"}}),
            ONLY_SERVICE,
        ),
        rule(
            "POST /players/{player}/commands",
            json!({"op": "ticket-81", "cmd": {"type": "correct", "field": "xp", "amount": 5, "note": "Lost"}}),
            ONLY_ADMIN,
        ),
        rule(
            "POST /raids/{raid}/members",
            json!({"player": "{player}"}),
            ONLY_SERVICE,
        ),
        rule("GET /events", none(), ONLY_SERVICE),
        // Routes for operators.
        rule("GET /admin/players?name=a", none(), ONLY_ADMIN),
        rule(
            "POST /admin/players/{player}/ban",
            json!({"reason": "x"}),
            ONLY_ADMIN,
        ),
        rule(
            "DELETE /admin/players/{player}/ban",
            none(),
            [401, 403, 403, 403, 403, 403, 403, 404],
        ),
        rule(
            "POST /admin/players/{player}/disconnect",
            none(),
            ONLY_ADMIN,
        ),
        rule("GET /admin/bans", none(), ONLY_ADMIN),
        rule(
            "POST /admin/boards/{board}/scores/{player}/remove",
            json!({"reason": "x"}),
            [401, 403, 403, 403, 403, 403, 403, 404],
        ),
        rule(
            "POST /admin/boards/{board}/scores/{player}/restore",
            json!({"reason": "x"}),
            [401, 403, 403, 403, 403, 403, 403, 404],
        ),
        rule("GET /admin/raids?id=1", none(), ONLY_ADMIN),
        rule("GET /admin/players/{player}/raids", none(), ONLY_ADMIN),
        rule("POST /admin/raids/{raid}/end", none(), ONLY_ADMIN),
        rule("GET /admin/instances", none(), ONLY_ADMIN),
        rule("GET /admin/audit", none(), ONLY_ADMIN),
        rule("GET /admin/webhooks", none(), ONLY_ADMIN),
        rule("GET /admin/webhooks/{name}/deliveries", none(), ONLY_ADMIN),
        rule(
            "POST /admin/webhooks/{name}/replay",
            json!({"dead": true}),
            ONLY_ADMIN,
        ),
        rule("POST /admin/webhooks/{name}/resume", none(), ONLY_ADMIN),
        // Comes last, because it ends the sign-in and so revokes the caller's token.
        rule(
            "POST /auth/sign-out",
            none(),
            [401, 200, 200, 200, 200, 403, 403, 403],
        ),
    ]
}

const ONLY_SERVICE: [u16; 8] = [401, 403, 403, 403, 403, 403, 200, 403];
const ONLY_ADMIN: [u16; 8] = [401, 403, 403, 403, 403, 403, 403, 200];

/// Returns every command with its expected statuses. Commands that succeed run in an active raid of
/// their own, so the status of a permitted caller also depends on the state of the raid.
fn command_rules() -> Vec<(Value, [u16; 8])> {
    vec![
        (json!({"type": "say", "text": "hello"}), MEMBERS),
        (
            json!({"type": "add_task", "title": "Sweep", "xp": 10, "minutes": 5}),
            [401, 404, 200, 200, 404, 403, 200, 403],
        ),
        (
            json!({"type": "edit_task", "task": 1, "title": "Mop"}),
            LEADER,
        ),
        (json!({"type": "remove_task", "task": 1}), LEADER),
        (json!({"type": "claim_task", "task": 1}), MEMBERS),
        (
            json!({"type": "release_task", "task": 2}),
            [401, 404, 200, 200, 404, 403, 403, 403],
        ),
        (
            json!({"type": "complete_task", "task": 2}),
            [401, 404, 200, 403, 404, 403, 403, 403],
        ),
        (
            json!({"type": "fail_task", "task": 2}),
            [401, 404, 200, 403, 404, 403, 403, 403],
        ),
        (json!({"type": "leave"}), MEMBERS),
        (
            json!({"type": "start"}),
            [401, 404, 403, 409, 404, 403, 403, 403],
        ),
        (json!({"type": "kick", "player": "{player}"}), LEADER),
        (json!({"type": "promote", "player": "{player}"}), LEADER),
        (json!({"type": "mute", "player": "{player}"}), LEADER),
        (json!({"type": "rotate_invite"}), LEADER),
        (json!({"type": "cancel"}), LEADER),
        (
            json!({"type": "contribute", "player": "{leader}", "xp": 5, "kind": "habit"}),
            [401, 404, 403, 403, 404, 403, 200, 403],
        ),
    ]
}

const MEMBERS: [u16; 8] = [401, 404, 200, 200, 404, 403, 403, 403];
const LEADER: [u16; 8] = [401, 404, 403, 200, 404, 403, 403, 403];

/// An active raid and one caller of each kind. Task 1 is open, and task 2 is claimed by the member.
struct AccessFixture {
    server: RestServer,
    tokens: Vec<String>,
    path_values: Vec<(&'static str, Value)>,
}

impl AccessFixture {
    async fn start() -> AccessFixture {
        let server = RestServer::start().await;
        let mut guests = Vec::new();
        for name in ["Stranger", "Member", "Leader", "Kicked", "Banned", "Other"] {
            guests.push(server.sign_in_guest(name).await);
        }
        let token = |index: usize| json_text(&guests[index]["access_token"]);
        let id = |index: usize| guests[index]["player"]["id"].clone();
        let member = token(1);
        let leader = token(2);
        let new = json!({"title": "Ship it", "target_xp": 100, "target_tasks": 2, "late_join": true,
            "max_members": 50});
        let raid = server.post("/raids", &leader, new).await.expect_data(201);
        for joins in [1, 3, 4, 5] {
            server
                .post(
                    "/raids/join",
                    &token(joins),
                    json!({"invite_code": raid["invite_code"]}),
                )
                .await
                .expect_data(200);
        }
        for cmd in [
            json!({"type": "start"}),
            json!({"type": "kick", "player": id(3)}),
            json!({"type": "add_task", "title": "One", "xp": 10, "minutes": 5}),
            json!({"type": "add_task", "title": "Two", "xp": 10, "minutes": 5}),
        ] {
            server
                .send_command(&raid["id"], &leader, cmd)
                .await
                .expect_data(200);
        }
        server
            .send_command(
                &raid["id"],
                &member,
                json!({"type": "claim_task", "task": 2}),
            )
            .await
            .expect_data(200);
        let admin = server.scoped_token(Scope::Admin);
        let ban = format!("/admin/players/{}/ban", id(4));
        server
            .post(&ban, &admin, json!({"reason": "x"}))
            .await
            .expect_data(200);
        // Instances poll for bans every second.
        tokio::time::sleep(std::time::Duration::from_secs(2)).await;
        let players = (0..5).map(token);
        let scopes = [server.scoped_token(Scope::Service), admin];
        let tokens = std::iter::once(String::new())
            .chain(players)
            .chain(scopes)
            .collect();
        let names = vec![
            ("{raid}", raid["id"].clone()),
            ("{code}", raid["invite_code"].clone()),
            ("{player}", id(5)),
            ("{leader}", id(2)),
        ];
        AccessFixture {
            server,
            tokens,
            path_values: names,
        }
    }

    /// Sends a request as one of [`CALLERS`] and returns the status of the response.
    async fn request_status(&self, caller: usize, request: &str, body: &Value) -> u16 {
        let mut request = request.to_owned();
        let mut body = body.to_string();
        request = request.replace("{name}", "app");
        request = request.replace("{board}", "daily");
        for (name, value) in &self.path_values {
            let text = value.as_str().map_or(value.to_string(), str::to_owned);
            request = request.replace(name, &text);
            body = body.replace(&format!("\"{name}\""), &value.to_string());
        }
        let body = serde_json::from_str(&body).expect("JSON");
        self.server
            .request(&request, &self.tokens[caller], &[], body)
            .await
            .status
            .as_u16()
    }
}

#[tokio::test(start_paused = true)]
async fn each_caller_may_use_exactly_the_permitted_routes() {
    let mut wrong = Vec::new();
    let commands = command_rules().into_iter();
    let rows = commands
        .map(|(cmd, statuses)| {
            rule(
                "POST /raids/{raid}/commands",
                json!({ "cmd": cmd }),
                statuses,
            )
        })
        .chain(public_rules());
    for AccessRule {
        request,
        body,
        statuses,
    } in rows
    {
        // Refused requests change nothing, so they share a fixture. They come first, because a
        // stream that succeeds lasts until its token expires.
        let shared = AccessFixture::start().await;
        let mut requests: Vec<_> = statuses.into_iter().enumerate().collect();
        requests.sort_by_key(|(_, expected)| *expected < 300);
        for (caller, expected) in requests {
            let own = if expected < 300 {
                Some(AccessFixture::start().await)
            } else {
                None
            };
            let status = own
                .as_ref()
                .unwrap_or(&shared)
                .request_status(caller, request, &body)
                .await;
            if status != expected {
                wrong.push(format!(
                    "{request} {body}: {} got {status} instead of {expected}",
                    CALLERS[caller]
                ));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn every_route_and_every_command_is_in_the_access_table() {
    let rows: BTreeSet<String> = public_rules()
        .iter()
        .map(|row| row.request)
        .chain(["POST /raids/{id}/commands"])
        .map(route_pattern)
        .collect();
    let served: BTreeSet<_> = routes::registered_routes()
        .iter()
        .map(|route| route_pattern(route))
        .collect();
    assert!(served.len() > 20, "{served:?}");
    let without: Vec<_> = served.difference(&rows).collect();
    assert!(without.is_empty(), "routes without a row: {without:?}");
    let named: BTreeSet<_> = command_rules()
        .iter()
        .map(|(cmd, _)| json_text(&cmd["type"]))
        .collect();
    let source = include_str!("../../protocol/src/command.rs");
    let kinds = source
        .split("Self::")
        .filter_map(|part| part.split_once("=> \"")?.1.split('"').next());
    let kinds: BTreeSet<_> = kinds.map(str::to_owned).collect();
    assert_eq!(named, kinds);
}

/// Returns the route of a request: without the query, and with `{}` for every parameter.
fn route_pattern(request: &str) -> String {
    let path = request.split('?').next().unwrap_or_default();
    let segment = |part: &str| {
        if part.starts_with('{') {
            "{}".to_owned()
        } else {
            part.to_owned()
        }
    };
    path.split('/').map(segment).collect::<Vec<_>>().join("/")
}
