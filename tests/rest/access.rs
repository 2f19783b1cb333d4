//! Who may do what: every route and every command, asked by everybody. A route that is served and has no row here fails.

use std::collections::BTreeSet;

use raidhall::auth::Scope;
use serde_json::{Value, json};

use crate::rest_server::{RestServer, json_text};
use crate::routes;

/// Everybody who may ask, in the order of a row's answers.
const CALLERS: [&str; 8] = [
    "nobody", "stranger", "member", "leader", "kicked", "banned", "service", "admin",
];

/// A request as one of them makes it; `{raid}`, `{code}`, `{player}` (another member),
/// `{leader}` and `{name}` (a webhook's) are filled in.
struct AccessRule {
    request: &'static str,
    body: Value,
    /// The status for each of [`CALLERS`].
    statuses: [u16; 8],
}

fn rule(asks: &'static str, body: Value, answers: [u16; 8]) -> AccessRule {
    AccessRule {
        request: asks,
        body,
        statuses: answers,
    }
}

/// Public, or for whoever is signed in, whoever they are.
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
        // The host app's backend.
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
            "POST /raids/{raid}/members",
            json!({"player": "{player}"}),
            ONLY_SERVICE,
        ),
        rule("GET /events", none(), ONLY_SERVICE),
        // Operators.
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
        // Ends the sign-in: last, and members' tokens are of no use after it.
        rule(
            "POST /auth/sign-out",
            none(),
            [401, 200, 200, 200, 200, 403, 403, 403],
        ),
    ]
}

const ONLY_SERVICE: [u16; 8] = [401, 403, 403, 403, 403, 403, 200, 403];
const ONLY_ADMIN: [u16; 8] = [401, 403, 403, 403, 403, 403, 403, 200];

/// Every command, in an active raid of its own: what the rules say of the moment to who may ask.
fn command_rules() -> Vec<(Value, [u16; 8])> {
    vec![
        (json!({"type": "say", "text": "hello"}), MEMBERS),
        (
            json!({"type": "add_task", "title": "Sweep", "xp": 10, "minutes": 5}),
            MEMBERS,
        ),
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
        (json!({"type": "cancel"}), LEADER),
        (
            json!({"type": "contribute", "player": "{leader}", "xp": 5, "kind": "habit"}),
            [401, 404, 403, 403, 404, 403, 200, 403],
        ),
    ]
}

const MEMBERS: [u16; 8] = [401, 404, 200, 200, 404, 403, 403, 403];
const LEADER: [u16; 8] = [401, 404, 403, 200, 404, 403, 403, 403];

/// A raid under way with everybody about it: member 1's task is open, task 2 is claimed by the member.
struct AccessFixture {
    server: RestServer,
    tokens: Vec<String>,
    path_values: Vec<(&'static str, Value)>,
}

impl AccessFixture {
    async fn start() -> AccessFixture {
        let house = RestServer::start().await;
        let mut guests = Vec::new();
        for name in [
            "Stranger", "Member", "Leader", "Kicked", "Banned", "Somebody",
        ] {
            guests.push(house.sign_in_guest(name).await);
        }
        let token = |index: usize| json_text(&guests[index]["access_token"]);
        let id = |index: usize| guests[index]["player"]["id"].clone();
        let (member, leader) = (token(1), token(2));
        let new = json!({"title": "Ship it", "target_xp": 100, "target_tasks": 2, "late_join": true,
            "max_members": 50});
        let raid = house.post("/raids", &leader, new).await.expect_data(201);
        for joins in [1, 3, 4, 5] {
            house
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
            house
                .send_command(&raid["id"], &leader, cmd)
                .await
                .expect_data(200);
        }
        house
            .send_command(
                &raid["id"],
                &member,
                json!({"type": "claim_task", "task": 2}),
            )
            .await
            .expect_data(200);
        let admin = house.scoped_token(Scope::Admin);
        let ban = format!("/admin/players/{}/ban", id(4));
        house
            .post(&ban, &admin, json!({"reason": "x"}))
            .await
            .expect_data(200);
        // The ban is noticed within its second.
        tokio::time::sleep(std::time::Duration::from_secs(2)).await;
        let players = (0..5).map(token);
        let scopes = [house.scoped_token(Scope::Service), admin];
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
            server: house,
            tokens,
            path_values: names,
        }
    }

    /// What `who` is answered.
    async fn request_status(&self, who: usize, asks: &str, body: &Value) -> u16 {
        let mut asks = asks.to_owned();
        let mut body = body.to_string();
        asks = asks.replace("{name}", "app");
        for (name, value) in &self.path_values {
            asks = asks.replace(name, &value.to_string());
            body = body.replace(&format!("\"{name}\""), &value.to_string());
        }
        let body = serde_json::from_str(&body).expect("JSON");
        self.server
            .request(&asks, &self.tokens[who], &[], body)
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
        .map(|(cmd, answers)| {
            rule(
                "POST /raids/{raid}/commands",
                json!({ "cmd": cmd }),
                answers,
            )
        })
        .chain(public_rules());
    for AccessRule {
        request,
        body,
        statuses,
    } in rows
    {
        // Refusals leave no trace: they share a scene, and come before streams that last as long as a token.
        let shared = AccessFixture::start().await;
        let mut asked: Vec<_> = statuses.into_iter().enumerate().collect();
        asked.sort_by_key(|(_, expected)| *expected < 300);
        for (who, expected) in asked {
            let own = if expected < 300 {
                Some(AccessFixture::start().await)
            } else {
                None
            };
            let answered = own
                .as_ref()
                .unwrap_or(&shared)
                .request_status(who, request, &body)
                .await;
            if answered != expected {
                wrong.push(format!(
                    "{request} {body}: {} got {answered} instead of {expected}",
                    CALLERS[who]
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
        .map(|asks| route_pattern(asks))
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

/// A request without what differs from one to the next.
fn route_pattern(asks: &str) -> String {
    let path = asks.split('?').next().unwrap_or_default();
    let segment = |part: &str| {
        if part.starts_with('{') {
            "{}".to_owned()
        } else {
            part.to_owned()
        }
    };
    path.split('/').map(segment).collect::<Vec<_>>().join("/")
}
