//! Who may do what: every route and every command, asked by everybody. A route that is served and has no row here fails.

use std::collections::BTreeSet;

use raidhall::auth::Scope;
use serde_json::{Value, json};

use crate::house::{House, text};
use crate::routes;

/// Everybody who may ask, in the order of a row's answers.
const WHO: [&str; 8] = [
    "nobody", "stranger", "member", "leader", "kicked", "banned", "service", "admin",
];

/// A request as one of them makes it; `{raid}`, `{code}`, `{player}` (another member),
/// `{leader}` and `{name}` (a webhook's) are filled in.
struct Row {
    asks: &'static str,
    body: Value,
    /// The status for each of [`WHO`].
    answers: [u16; 8],
}

fn row(asks: &'static str, body: Value, answers: [u16; 8]) -> Row {
    Row {
        asks,
        body,
        answers,
    }
}

/// Public, or for whoever is signed in, whoever they are.
fn doors() -> Vec<Row> {
    let none = || Value::Null;
    vec![
        row("POST /auth/guest", json!({"name": "Eve"}), [201; 8]),
        row(
            "POST /auth/refresh",
            json!({"refresh_token": "x"}),
            [401; 8],
        ),
        row("POST /auth/telegram", json!({"init_data": "x"}), [403; 8]),
        row(
            "POST /auth/link",
            json!({"token": "x"}),
            [401, 401, 401, 401, 401, 403, 403, 403],
        ),
        row("GET /me", none(), [401, 200, 200, 200, 200, 403, 403, 403]),
        row(
            "POST /raids",
            json!({"title": "Ship it", "target_xp": 100, "target_tasks": 2}),
            [401, 201, 201, 201, 201, 403, 403, 403],
        ),
        row(
            "GET /me/export",
            none(),
            [401, 200, 200, 200, 200, 403, 403, 403],
        ),
        row(
            "DELETE /me",
            none(),
            [401, 202, 202, 202, 202, 403, 403, 403],
        ),
        row(
            "GET /raids",
            none(),
            [401, 200, 200, 200, 200, 403, 403, 403],
        ),
        row(
            "GET /raids/{raid}",
            none(),
            [401, 404, 200, 200, 404, 403, 200, 200],
        ),
        row(
            "GET /raids/{raid}/events",
            none(),
            [401, 404, 200, 200, 404, 403, 200, 200],
        ),
        row(
            "GET /raids/{raid}/stream",
            none(),
            [401, 404, 200, 200, 404, 403, 200, 200],
        ),
        row(
            "GET /raids/{raid}/contributions",
            none(),
            [401, 404, 200, 200, 404, 403, 200, 200],
        ),
        row(
            "POST /raids/join",
            json!({"invite_code": "{code}"}),
            [401, 200, 200, 200, 403, 403, 403, 403],
        ),
        // The host app's backend.
        row(
            "POST /players",
            json!({"external_id": "u-1", "name": "Eve"}),
            ONLY_SERVICE,
        ),
        row(
            "POST /players/{player}/tokens",
            none(),
            [401, 403, 403, 403, 403, 403, 201, 403],
        ),
        row(
            "DELETE /players/{player}",
            none(),
            [401, 403, 403, 403, 403, 403, 202, 202],
        ),
        row(
            "POST /raids/{raid}/members",
            json!({"player": "{player}"}),
            ONLY_SERVICE,
        ),
        row("GET /events", none(), ONLY_SERVICE),
        // Operators.
        row("GET /admin/players?name=a", none(), ONLY_ADMIN),
        row(
            "POST /admin/players/{player}/ban",
            json!({"reason": "x"}),
            ONLY_ADMIN,
        ),
        row(
            "DELETE /admin/players/{player}/ban",
            none(),
            [401, 403, 403, 403, 403, 403, 403, 404],
        ),
        row(
            "POST /admin/players/{player}/disconnect",
            none(),
            ONLY_ADMIN,
        ),
        row("GET /admin/bans", none(), ONLY_ADMIN),
        row("GET /admin/raids?id=1", none(), ONLY_ADMIN),
        row("GET /admin/players/{player}/raids", none(), ONLY_ADMIN),
        row("POST /admin/raids/{raid}/end", none(), ONLY_ADMIN),
        row("GET /admin/instances", none(), ONLY_ADMIN),
        row("GET /admin/audit", none(), ONLY_ADMIN),
        row("GET /admin/webhooks", none(), ONLY_ADMIN),
        row("GET /admin/webhooks/{name}/deliveries", none(), ONLY_ADMIN),
        row(
            "POST /admin/webhooks/{name}/replay",
            json!({"dead": true}),
            ONLY_ADMIN,
        ),
        row("POST /admin/webhooks/{name}/resume", none(), ONLY_ADMIN),
        // Ends the sign-in: last, and members' tokens are of no use after it.
        row(
            "POST /auth/sign-out",
            none(),
            [401, 200, 200, 200, 200, 403, 403, 403],
        ),
    ]
}

const ONLY_SERVICE: [u16; 8] = [401, 403, 403, 403, 403, 403, 200, 403];
const ONLY_ADMIN: [u16; 8] = [401, 403, 403, 403, 403, 403, 403, 200];

/// Every command, in an active raid of its own: what the rules say of the moment to who may ask.
fn commands() -> Vec<(Value, [u16; 8])> {
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
struct Scene {
    house: House,
    tokens: Vec<String>,
    names: Vec<(&'static str, Value)>,
}

impl Scene {
    async fn set() -> Scene {
        let house = House::open().await;
        let mut guests = Vec::new();
        for name in [
            "Stranger", "Member", "Leader", "Kicked", "Banned", "Somebody",
        ] {
            guests.push(house.guest(name).await);
        }
        let token = |index: usize| text(&guests[index]["access_token"]);
        let id = |index: usize| guests[index]["player"]["id"].clone();
        let (member, leader) = (token(1), token(2));
        let new = json!({"title": "Ship it", "target_xp": 100, "target_tasks": 2, "late_join": true,
            "max_members": 50});
        let raid = house.post("/raids", &leader, new).await.ok(201);
        for joins in [1, 3, 4, 5] {
            house
                .post(
                    "/raids/join",
                    &token(joins),
                    json!({"invite_code": raid["invite_code"]}),
                )
                .await
                .ok(200);
        }
        for cmd in [
            json!({"type": "start"}),
            json!({"type": "kick", "player": id(3)}),
            json!({"type": "add_task", "title": "One", "xp": 10, "minutes": 5}),
            json!({"type": "add_task", "title": "Two", "xp": 10, "minutes": 5}),
        ] {
            house.command(&raid["id"], &leader, cmd).await.ok(200);
        }
        house
            .command(
                &raid["id"],
                &member,
                json!({"type": "claim_task", "task": 2}),
            )
            .await
            .ok(200);
        let admin = house.scoped(Scope::Admin);
        let ban = format!("/admin/players/{}/ban", id(4));
        house
            .post(&ban, &admin, json!({"reason": "x"}))
            .await
            .ok(200);
        // The ban is noticed within its second.
        tokio::time::sleep(std::time::Duration::from_secs(2)).await;
        let players = (0..5).map(token);
        let scopes = [house.scoped(Scope::Service), admin];
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
        Scene {
            house,
            tokens,
            names,
        }
    }

    /// What `who` is answered.
    async fn answers(&self, who: usize, asks: &str, body: &Value) -> u16 {
        let mut asks = asks.to_owned();
        let mut body = body.to_string();
        asks = asks.replace("{name}", "app");
        for (name, value) in &self.names {
            asks = asks.replace(name, &value.to_string());
            body = body.replace(&format!("\"{name}\""), &value.to_string());
        }
        let body = serde_json::from_str(&body).expect("JSON");
        self.house
            .ask(&asks, &self.tokens[who], &[], body)
            .await
            .status
            .as_u16()
    }
}

#[tokio::test(start_paused = true)]
async fn everybody_may_do_what_is_theirs_and_nothing_else() {
    let mut wrong = Vec::new();
    let commands = commands().into_iter();
    let rows = commands
        .map(|(cmd, answers)| {
            row(
                "POST /raids/{raid}/commands",
                json!({ "cmd": cmd }),
                answers,
            )
        })
        .chain(doors());
    for Row {
        asks,
        body,
        answers,
    } in rows
    {
        // Refusals leave no trace: they share a scene, and come before streams that last as long as a token.
        let shared = Scene::set().await;
        let mut asked: Vec<_> = answers.into_iter().enumerate().collect();
        asked.sort_by_key(|(_, expected)| *expected < 300);
        for (who, expected) in asked {
            let own = if expected < 300 {
                Some(Scene::set().await)
            } else {
                None
            };
            let answered = own
                .as_ref()
                .unwrap_or(&shared)
                .answers(who, asks, &body)
                .await;
            if answered != expected {
                wrong.push(format!(
                    "{asks} {body}: {} got {answered} instead of {expected}",
                    WHO[who]
                ));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn every_route_and_every_command_has_a_row() {
    let rows: BTreeSet<String> = doors()
        .iter()
        .map(|row| row.asks)
        .chain(["POST /raids/{id}/commands"])
        .map(pattern)
        .collect();
    let served: BTreeSet<_> = routes::served().iter().map(|asks| pattern(asks)).collect();
    assert!(served.len() > 20, "{served:?}");
    let without: Vec<_> = served.difference(&rows).collect();
    assert!(without.is_empty(), "routes without a row: {without:?}");
    let named: BTreeSet<_> = commands()
        .iter()
        .map(|(cmd, _)| text(&cmd["type"]))
        .collect();
    let source = include_str!("../../protocol/src/command.rs");
    let kinds = source
        .split("Self::")
        .filter_map(|part| part.split_once("=> \"")?.1.split('"').next());
    let kinds: BTreeSet<_> = kinds.map(str::to_owned).collect();
    assert_eq!(named, kinds);
}

/// A request without what differs from one to the next.
fn pattern(asks: &str) -> String {
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
