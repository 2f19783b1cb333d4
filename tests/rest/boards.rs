//! Tests of leaderboards: which players they list, and with which ranks.

use std::time::Duration;

use raidhall::auth::Scope;
use serde_json::{Value, json};
use tokio::time::{sleep, timeout};

use crate::rest_server::{RestServer, json_text};

/// How long the projector may take.
const PROJECTION_TIME: Duration = Duration::from_secs(10);

/// How long a window that has just closed may take to be final.
const FINAL_TIME: Duration = Duration::from_secs(180);

/// A player who has signed in.
struct RankedPlayer {
    id: Value,
    token: String,
}

/// An active raid whose members have earned XP: Ada 40, Ben 60, Cy 60 after Ben, and Dot none.
struct BoardFixture {
    server: RestServer,
    service: String,
    raid: Value,
    players: Vec<RankedPlayer>,
}

impl BoardFixture {
    async fn start() -> BoardFixture {
        let server = RestServer::start().await;
        let mut players = Vec::new();
        for name in ["Ada", "Ben", "Cy", "Dot"] {
            let signed_in = server.sign_in_guest(name).await;
            players.push(RankedPlayer {
                id: signed_in["player"]["id"].clone(),
                token: json_text(&signed_in["access_token"]),
            });
        }
        let ada = &players[0].token;
        let new =
            json!({"title": "Ship it", "target_xp": 1_000, "target_tasks": 1, "max_members": 4});
        let raid = server.post("/raids", ada, new).await.expect_data(201);
        for player in &players[1..] {
            let code = json!({"invite_code": raid["invite_code"]});
            let joined = server.post("/raids/join", &player.token, code).await;
            joined.expect_data(200);
        }
        let raid = raid["id"].clone();
        let started = server.send_command(&raid, ada, json!({"type": "start"}));
        started.await.expect_data(200);
        let fixture = BoardFixture {
            service: server.scoped_token(Scope::Service),
            server,
            raid,
            players,
        };
        for (player, xp) in [(0, 40), (1, 60), (2, 60)] {
            fixture.contribute(player, xp).await;
        }
        fixture
    }

    /// Credits a player, and waits until their score has it.
    async fn contribute(&self, player: usize, xp: u64) {
        let RankedPlayer { id, token } = &self.players[player];
        let before = self.score(token).await;
        let credit = json!({"type": "contribute", "player": id, "xp": xp, "kind": "habit"});
        let sent = self.server.send_command(&self.raid, &self.service, credit);
        sent.await.expect_data(200);
        let has_moved = async {
            while self.score(token).await != before + xp {
                sleep(Duration::from_millis(200)).await;
            }
        };
        timeout(PROJECTION_TIME, has_moved).await.expect("in time");
    }

    async fn score(&self, token: &str) -> u64 {
        let page = self.page("/boards/daily", token).await;
        page["me"]["score"].as_u64().unwrap_or(0)
    }

    async fn page(&self, path: &str, token: &str) -> Value {
        let answer = self.server.get(path, token).await;
        assert_eq!(answer.status.as_u16(), 200, "{}", answer.body);
        answer.body
    }

    async fn set(&self, player: usize, key: &str, value: &str) {
        let command = json!({"cmd": {"type": "set_setting", "key": key, "value": value}});
        let token = &self.players[player].token;
        let sent = self.server.post("/me/commands", token, command).await;
        sent.expect_data(200);
    }
}

/// Returns rank, name and score of each entry.
fn entries(page: &Value) -> Vec<(u64, String, u64)> {
    let data = page["data"].as_array().expect("a list").iter();
    data.map(|it| {
        let number = |field: &str| it[field].as_u64().expect("a number");
        (
            number("rank"),
            json_text(&it["player"]["name"]),
            number("score"),
        )
    })
    .collect()
}

fn entry(rank: u64, name: &str, score: u64) -> (u64, String, u64) {
    (rank, name.to_owned(), score)
}

#[tokio::test(start_paused = true)]
async fn a_leaderboard_ranks_by_score_and_then_by_time() {
    let test = BoardFixture::start().await;
    let ranked = [entry(1, "Ben", 60), entry(2, "Cy", 60), entry(3, "Ada", 40)];
    for board in ["daily", "weekly", "season", "all_time"] {
        let path = format!("/boards/{board}");
        let page = test.page(&path, &test.players[0].token).await;
        assert_eq!(entries(&page), ranked, "{board}");
        assert_eq!(page["me"], page["data"][2]);
        assert_eq!(page["next_cursor"], Value::Null);
    }
    test.contribute(0, 21).await;
    let page = test.page("/boards/daily", &test.service).await;
    let ranked = [entry(1, "Ada", 61), entry(2, "Ben", 60), entry(3, "Cy", 60)];
    assert_eq!(
        (entries(&page), &page["me"]),
        (ranked.to_vec(), &Value::Null)
    );
    let player = json!({"id": test.players[0].id, "name": "Ada", "level": 1, "frame": null});
    assert_eq!(page["data"][0]["player"], player);
}

#[tokio::test(start_paused = true)]
async fn the_list_of_leaderboards_has_their_open_windows() {
    let test = BoardFixture::start().await;
    let boards = test.server.get("/boards", &test.players[0].token).await;
    let boards = boards.expect_data(200);
    let ids: Vec<_> = boards
        .as_array()
        .expect("a list")
        .iter()
        .map(|it| &it["id"])
        .collect();
    assert_eq!(ids, ["daily", "weekly", "season", "all_time"]);
    let page = test.page("/boards/daily", &test.players[0].token).await;
    for field in ["number", "opens_at", "closes_at"] {
        assert_eq!(boards[0][field], page[field], "{field}");
    }
    assert_eq!(boards[0]["title"]["en"], "Today");
    assert_eq!(boards[3]["closes_at"], Value::Null);
}

#[tokio::test(start_paused = true)]
async fn pages_of_a_leaderboard_go_on_where_the_last_one_ended() {
    let test = BoardFixture::start().await;
    let mut found = Vec::new();
    let mut path = "/boards/daily?limit=1".to_owned();
    loop {
        let page = test.page(&path, &test.players[0].token).await;
        found.extend(entries(&page));
        let Some(cursor) = page["next_cursor"].as_str() else {
            break;
        };
        path = format!("/boards/daily?limit=1&cursor={cursor}");
    }
    let ranked = [entry(1, "Ben", 60), entry(2, "Cy", 60), entry(3, "Ada", 40)];
    assert_eq!(found, ranked);
}

#[tokio::test(start_paused = true)]
async fn around_me_shows_the_players_next_to_oneself() {
    let test = BoardFixture::start().await;
    let around = "/boards/daily?around=me&limit=2";
    let page = test.page(around, &test.players[2].token).await;
    assert_eq!(entries(&page), [entry(1, "Ben", 60), entry(2, "Cy", 60)]);
    let page = test.page(around, &test.players[0].token).await;
    assert_eq!(entries(&page), [entry(2, "Cy", 60), entry(3, "Ada", 40)]);
    let page = test.page(around, &test.players[3].token).await;
    assert_eq!(entries(&page), [entry(1, "Ben", 60), entry(2, "Cy", 60)]);
    assert_eq!(page["me"], Value::Null, "Dot has no score");
}

#[tokio::test(start_paused = true)]
async fn around_the_last_player_are_as_many_as_asked_for() {
    let test = BoardFixture::start().await;
    let around = "/boards/daily?around=me&limit=3";
    let ranked = [entry(1, "Ben", 60), entry(2, "Cy", 60), entry(3, "Ada", 40)];
    for player in &test.players[..3] {
        let page = test.page(around, &player.token).await;
        assert_eq!(entries(&page), ranked);
        assert_eq!(page["next_cursor"], Value::Null);
    }
    test.set(0, "boards", "hidden").await;
    let page = test.page("/boards/daily?around=me&limit=2", &test.players[0].token);
    assert_eq!(entries(&page.await), ranked[..2], "Ada is not listed");
}

#[tokio::test(start_paused = true)]
async fn a_removed_score_is_neither_listed_nor_ranked_until_restored() {
    let test = BoardFixture::start().await;
    let admin = test.server.scoped_token(Scope::Admin);
    let ben = &test.players[1];
    let window = test.page("/boards/daily", &ben.token).await["number"].clone();
    let set = async |action: &str| {
        let path = format!("/admin/boards/daily/scores/{}/{action}", ben.id);
        let body = json!({"reason": "cheats"});
        let answer = test.server.post(&path, &admin, body).await;
        answer.expect_data(200)
    };
    let removal = |removed: bool| json!({"board": "daily", "number": window, "player": ben.id, "removed": removed});
    for _ in 0..2 {
        assert_eq!(set("remove").await, removal(true));
    }
    let page = test.page("/boards/daily", &ben.token).await;
    assert_eq!(entries(&page), [entry(1, "Cy", 60), entry(2, "Ada", 40)]);
    assert_eq!(page["me"], Value::Null);
    let companions = "/boards/daily?companions=true";
    let page = test.page(companions, &test.players[0].token).await;
    assert!(entries(&page).iter().all(|(_, name, _)| name != "Ben"));
    let page = test.page("/boards/weekly", &ben.token).await;
    assert_eq!(page["me"]["rank"], 1, "other leaderboards keep the score");
    for _ in 0..2 {
        assert_eq!(set("restore").await, removal(false));
    }
    let page = test.page("/boards/daily", &ben.token).await;
    assert_eq!(entries(&page)[0], entry(1, "Ben", 60));
    let audit = test.server.get("/admin/audit", &admin).await;
    let audit = audit.expect_data(200);
    let removed = audit.as_array().expect("a list").iter();
    let mut removed = removed.filter(|it| it["action"] == "remove_score");
    let details = json!({"reason": "cheats", "board": "daily", "number": window});
    assert_eq!(removed.next().expect("an entry")["details"], details);
}

#[tokio::test(start_paused = true)]
async fn a_removal_names_an_existing_score_of_an_existing_window() {
    let test = BoardFixture::start().await;
    let admin = test.server.scoped_token(Scope::Admin);
    let ben = &test.players[1];
    let window = test.page("/boards/daily", &ben.token).await["number"].as_i64();
    let next = window.expect("a number") + 1;
    let dot = &test.players[3].id;
    for (board, player, body) in [
        ("none", &ben.id, json!({"reason": "x"})),
        ("daily", dot, json!({"reason": "x"})),
        ("daily", &json!(0), json!({"reason": "x"})),
        ("daily", &ben.id, json!({"reason": "x", "number": next})),
        ("daily", &ben.id, json!({"reason": "x", "number": next - 2})),
        ("all_time", &ben.id, json!({"reason": "x", "number": -1})),
    ] {
        let path = format!("/admin/boards/{board}/scores/{player}/remove");
        let answer = test.server.post(&path, &admin, body).await;
        answer.expect_error("not_found");
    }
    let path = format!("/admin/boards/daily/scores/{}/restore", ben.id);
    let body = json!({"reason": " ", "number": "1"});
    let answer = test.server.post(&path, &admin, body).await;
    let mut faulty = answer.invalid_fields();
    faulty.sort();
    assert_eq!(faulty, ["number", "reason"]);
}

#[tokio::test(start_paused = true)]
async fn a_hidden_player_sees_their_own_rank_and_others_do_not() {
    let test = BoardFixture::start().await;
    test.set(1, "boards", "hidden").await;
    let page = test.page("/boards/daily", &test.players[0].token).await;
    assert_eq!(entries(&page), [entry(1, "Cy", 60), entry(2, "Ada", 40)]);
    let own = test
        .page("/boards/daily?around=me", &test.players[1].token)
        .await;
    assert_eq!(own["me"]["rank"], 1);
    assert_eq!(entries(&own), [entry(1, "Cy", 60), entry(2, "Ada", 40)]);
    test.set(1, "boards", "public").await;
    let page = test.page("/boards/daily", &test.players[0].token).await;
    assert_eq!(entries(&page)[0], entry(1, "Ben", 60));
}

#[tokio::test(start_paused = true)]
async fn a_leaderboard_of_companions_ranks_these_alone() {
    let test = BoardFixture::start().await;
    let path = "/boards/daily?companions=true";
    let page = test.page(path, &test.players[0].token).await;
    assert_eq!(
        entries(&page),
        [entry(1, "Ada", 40)],
        "the raid has not ended"
    );
    test.set(1, "boards", "companions").await;
    test.set(2, "boards", "hidden").await;
    test.contribute(0, 900).await;
    let have_ended = async {
        for player in &test.players {
            loop {
                let state = test.server.get("/me/state", &player.token).await;
                if state.expect_data(200)["state"]["raids_played"] == 1 {
                    break;
                }
                sleep(Duration::from_millis(200)).await;
            }
        }
    };
    timeout(PROJECTION_TIME, have_ended).await.expect("in time");
    let page = test.page(path, &test.players[0].token).await;
    assert_eq!(entries(&page), [entry(1, "Ada", 940), entry(2, "Ben", 60)]);
    let page = test.page("/boards/daily", &test.players[3].token).await;
    assert_eq!(entries(&page), [entry(1, "Ada", 940)]);
}

#[tokio::test(start_paused = true)]
async fn players_listed_on_a_leaderboard_show_their_profiles() {
    let test = BoardFixture::start().await;
    let stranger = test.server.guest_token("Eve").await;
    let status = async |player: usize| {
        let path = format!("/players/{}/profile", test.players[player].id);
        test.server.get(&path, &stranger).await.status.as_u16()
    };
    assert_eq!([status(0).await, status(3).await], [200, 404]);
    test.set(0, "boards", "companions").await;
    assert_eq!(status(0).await, 404);
    test.set(1, "profile", "companions").await;
    assert_eq!(status(1).await, 404);
}

#[tokio::test(start_paused = true)]
async fn windows_that_have_not_opened_or_do_not_exist_are_not_found() {
    let test = BoardFixture::start().await;
    let token = &test.players[0].token;
    let previous = test.page("/boards/daily?number=previous", token).await;
    let current = test.page("/boards/daily?number=current", token).await;
    let number = current["number"].as_i64().expect("a number");
    assert_eq!(
        (&previous["data"], &previous["me"]),
        (&json!([]), &Value::Null)
    );
    assert_eq!(previous["closes_at"], current["opens_at"]);
    assert_eq!(previous["number"], number - 1);
    let next = format!("/boards/daily?number={}", number + 1);
    let never = "/boards/all_time?number=previous";
    for path in [next.as_str(), never, "/boards/none"] {
        let answer = test.server.get(path, token).await;
        answer.expect_error("not_found");
    }
}

#[tokio::test(start_paused = true)]
async fn a_window_that_closed_long_enough_ago_is_final() {
    let test = BoardFixture::start().await;
    let token = &test.players[0].token;
    let is_final = async |path: &str| test.page(path, token).await["final"] == true;
    let becomes_final = async {
        while !is_final("/boards/daily?number=previous").await {
            sleep(Duration::from_secs(1)).await;
        }
    };
    timeout(FINAL_TIME, becomes_final).await.expect("in time");
    assert!(!is_final("/boards/daily").await);
    assert!(!is_final("/boards/all_time").await);
}

#[tokio::test(start_paused = true)]
async fn a_query_of_a_leaderboard_is_refused_with_every_fault() {
    let test = BoardFixture::start().await;
    let path = "/boards/daily?number=next&around=you&companions=1&limit=0&cursor=7";
    let answer = test.server.get(path, &test.players[0].token).await;
    let fields = ["number", "around", "companions", "limit", "cursor"];
    assert_eq!(answer.invalid_fields(), fields);
}

#[tokio::test(start_paused = true)]
async fn only_players_have_a_neighbourhood_and_companions() {
    let test = BoardFixture::start().await;
    for query in ["around=me", "companions=true"] {
        let path = format!("/boards/daily?{query}");
        let answer = test.server.get(&path, &test.service).await;
        answer.expect_error("forbidden");
    }
}

#[tokio::test(start_paused = true)]
async fn the_part_behind_a_neighbourhood_follows_it() {
    let test = BoardFixture::start().await;
    let ben = &test.players[1].token;
    let path = "/boards/daily?around=me&limit=2";
    let page = test.page(path, ben).await;
    assert_eq!(entries(&page), [entry(1, "Ben", 60), entry(2, "Cy", 60)]);
    let cursor = json_text(&page["next_cursor"]);
    let page = test.page(&format!("{path}&cursor={cursor}"), ben).await;
    assert_eq!(entries(&page), [entry(3, "Ada", 40)]);
}
