//! Tests of what clients are shown of progression and of other players.

use std::time::Duration;

use raidhall::auth::Scope;
use raidhall::definitions::{BUILT_IN, Definitions};
use raidhall::store::ProgressionDefinitions;
use serde_json::{Value, json};
use tokio::time::{sleep, timeout};

use crate::rest_server::{RestResponse, RestServer, json_text, limit};

/// How long the projector may take.
const PROJECTION_TIME: Duration = Duration::from_secs(10);
/// How long an instance may use definitions before it reads them again, and some.
const DEFINITIONS_AGE: Duration = Duration::from_secs(6);

/// A guest who has signed in.
struct Guest {
    id: Value,
    token: String,
}

impl Guest {
    async fn sign_in(server: &RestServer, name: &str) -> Guest {
        let signed_in = server.sign_in_guest(name).await;
        Guest {
            id: signed_in["player"]["id"].clone(),
            token: json_text(&signed_in["access_token"]),
        }
    }
}

/// An active raid that Ada leads and Ben has joined, and Cy, who is a stranger to both.
struct ProfileFixture {
    server: RestServer,
    ada: Guest,
    ben: Guest,
    cy: Guest,
    raid: Value,
}

impl ProfileFixture {
    async fn start() -> ProfileFixture {
        let server = RestServer::start().await;
        let ada = Guest::sign_in(&server, "Ada").await;
        let ben = Guest::sign_in(&server, "Ben").await;
        let cy = Guest::sign_in(&server, "Cy").await;
        let raid = server.create_raid(&ada.token).await;
        let code = json!({"invite_code": raid["invite_code"]});
        let joined = server.post("/raids/join", &ben.token, code).await;
        joined.expect_data(200);
        let raid = raid["id"].clone();
        let started = server.send_command(&raid, &ada.token, json!({"type": "start"}));
        started.await.expect_data(200);
        let fixture = ProfileFixture {
            server,
            ada,
            ben,
            cy,
            raid,
        };
        for guest in [&fixture.ada, &fixture.ben] {
            let is_member = |state: &Value| state["raids"] != json!([]);
            fixture.wait_for_state(guest, is_member).await;
        }
        fixture
    }

    /// Completes the raid by two contributions.
    async fn complete_raid(&self, contributors: [&Guest; 2]) {
        let service = self.server.scoped_token(Scope::Service);
        for Guest { id, .. } in contributors {
            let credit = json!({"type": "contribute", "player": id, "xp": 50, "kind": "habit"});
            let sent = self.server.send_command(&self.raid, &service, credit);
            sent.await.expect_data(200);
        }
        for guest in [&self.ada, &self.ben] {
            let has_ended = |state: &Value| state["raids_played"] == 1;
            self.wait_for_state(guest, has_ended).await;
        }
    }

    /// Waits until the projector has brought a player's state there.
    async fn wait_for_state(&self, guest: &Guest, is_reached: impl Fn(&Value) -> bool) {
        let reached = async {
            loop {
                let state = self.server.get("/me/state", &guest.token).await;
                if is_reached(&state.expect_data(200)["state"]) {
                    return;
                }
                sleep(Duration::from_millis(200)).await;
            }
        };
        timeout(PROJECTION_TIME, reached).await.expect("in time");
    }

    async fn send_own_command(&self, guest: &Guest, command: Value) {
        let body = json!({ "cmd": command });
        let sent = self.server.post("/me/commands", &guest.token, body).await;
        sent.expect_data(200);
    }

    async fn set_profile(&self, guest: &Guest, value: &str) {
        let command = json!({"type": "set_setting", "key": "profile", "value": value});
        self.send_own_command(guest, command).await;
    }

    /// Lets others not see a player on leaderboards.
    async fn leave_boards(&self, guest: &Guest) {
        let command = json!({"type": "set_setting", "key": "boards", "value": "companions"});
        self.send_own_command(guest, command).await;
    }

    /// Returns the status with which a token is answered that asks for a player's profile. The list
    /// of profiles has to agree.
    async fn profile_status(&self, token: &str, player: &Value) -> u16 {
        let path = format!("/players/{player}/profile");
        let status = self.server.get(&path, token).await.status.as_u16();
        let path = format!("/players?ids={player}");
        let listed = self.server.get(&path, token).await.expect_data(200);
        let count = listed.as_array().expect("a list").len();
        assert_eq!(count == 1, status == 200, "{listed}");
        status
    }
}

/// Returns the names in a list of profiles.
#[track_caller]
fn names(list: RestResponse) -> Vec<String> {
    let list = list.expect_data(200);
    let profiles = list.as_array().expect("a list").iter();
    profiles.map(|it| json_text(&it["name"])).collect()
}

#[tokio::test(start_paused = true)]
async fn a_profile_shows_level_badges_and_the_frame() {
    let test = ProfileFixture::start().await;
    let Guest { id, token } = &test.cy;
    let path = format!("/players/{id}/profile");
    let empty = json!({"id": id, "name": "Cy", "level": 1, "raids_won": 0, "badges": [], "streak_days": 0, "frame": null});
    let profile = test.server.get(&path, token).await.expect_data(200);
    assert_eq!(profile, empty);

    let service = test.server.scoped_token(Scope::Service);
    for (op, command) in [
        (
            "xp",
            json!({"type": "grant_xp", "amount": 400, "kind": "habit", "note": "a walk"}),
        ),
        (
            "coins",
            json!({"type": "grant_coins", "amount": 200, "note": "a gift"}),
        ),
    ] {
        let route = format!("/players/{id}/commands");
        let body = json!({"op": op, "cmd": command});
        let granted = test.server.post(&route, &service, body).await;
        granted.expect_data(200);
    }
    for command in ["buy", "equip"] {
        let command = json!({"type": command, "item": "frame_bronze"});
        test.send_own_command(&test.cy, command).await;
    }
    let profile = test.server.get(&path, token).await.expect_data(200);
    let state = test.server.get("/me/state", token).await.expect_data(200);
    let achievements = state["state"]["achievements"].as_array().expect("a list");
    let badge = |it: &Value| json!({"id": it["id"], "tier": it["tier"]});
    let badges: Vec<_> = achievements.iter().map(badge).collect();
    assert!(
        badges.contains(&json!({"id": "wardrobe", "tier": 1})),
        "{badges:?}"
    );
    let expected = json!({
        "id": id, "name": "Cy", "level": 3, "raids_won": 0, "badges": badges, "streak_days": 0, "frame": "frame_bronze",
    });
    assert_eq!(profile, expected);
}

#[tokio::test(start_paused = true)]
async fn members_of_an_open_raid_see_each_other() {
    let test = ProfileFixture::start().await;
    let Guest { id, .. } = &test.ada;
    assert_eq!(test.profile_status(&test.ben.token, id).await, 200);
    assert_eq!(test.profile_status(&test.cy.token, id).await, 404);
    for scope in [Scope::Service, Scope::Admin] {
        let token = test.server.scoped_token(scope);
        assert_eq!(test.profile_status(&token, id).await, 200);
    }

    let leave = test
        .server
        .send_command(&test.raid, &test.ben.token, json!({"type": "leave"}));
    leave.await.expect_data(200);
    let has_left = |state: &Value| state["raids"] == json!([]);
    test.wait_for_state(&test.ben, has_left).await;
    assert_eq!(test.profile_status(&test.ben.token, id).await, 404);
}

#[tokio::test(start_paused = true)]
async fn players_who_both_contributed_are_companions() {
    let test = ProfileFixture::start().await;
    test.complete_raid([&test.ada, &test.ben]).await;
    assert_eq!(
        test.profile_status(&test.ben.token, &test.ada.id).await,
        200
    );
    assert_eq!(
        test.profile_status(&test.ada.token, &test.ben.id).await,
        200
    );
    test.leave_boards(&test.ada).await;
    assert_eq!(test.profile_status(&test.cy.token, &test.ada.id).await, 404);
    let path = format!("/players/{}/profile", test.ada.id);
    let profile = test.server.get(&path, &test.ben.token).await;
    assert_eq!(profile.expect_data(200)["streak_days"], 1);
}

#[tokio::test(start_paused = true)]
async fn a_member_who_earned_nothing_is_no_companion() {
    let test = ProfileFixture::start().await;
    test.complete_raid([&test.ada, &test.ada]).await;
    test.leave_boards(&test.ada).await;
    assert_eq!(
        test.profile_status(&test.ben.token, &test.ada.id).await,
        404
    );
    assert_eq!(
        test.profile_status(&test.ada.token, &test.ben.id).await,
        404
    );
}

#[tokio::test(start_paused = true)]
async fn a_profile_for_companions_is_hidden_from_an_open_raid() {
    let test = ProfileFixture::start().await;
    test.set_profile(&test.ada, "companions").await;
    assert_eq!(
        test.profile_status(&test.ben.token, &test.ada.id).await,
        404
    );
    assert_eq!(
        test.profile_status(&test.ada.token, &test.ada.id).await,
        200
    );
    assert_eq!(
        test.profile_status(&test.ada.token, &test.ben.id).await,
        200
    );
    test.complete_raid([&test.ada, &test.ben]).await;
    assert_eq!(
        test.profile_status(&test.ben.token, &test.ada.id).await,
        200
    );
}

#[tokio::test(start_paused = true)]
async fn a_hidden_profile_is_hidden_from_companions() {
    let test = ProfileFixture::start().await;
    test.complete_raid([&test.ada, &test.ben]).await;
    test.set_profile(&test.ada, "hidden").await;
    assert_eq!(
        test.profile_status(&test.ben.token, &test.ada.id).await,
        404
    );
    let privileged = [Scope::Service, Scope::Admin].map(|scope| test.server.scoped_token(scope));
    for token in privileged.iter().chain([&test.ada.token]) {
        assert_eq!(test.profile_status(token, &test.ada.id).await, 200);
    }
    test.set_profile(&test.ada, "public").await;
    assert_eq!(
        test.profile_status(&test.ben.token, &test.ada.id).await,
        200
    );
}

#[tokio::test(start_paused = true)]
async fn players_who_are_not_shown_cannot_be_told_apart() {
    let test = ProfileFixture::start().await;
    test.complete_raid([&test.ada, &test.ben]).await;
    test.set_profile(&test.ada, "hidden").await;
    let eve = Guest::sign_in(&test.server, "Eve").await;
    let erased = test
        .server
        .request("DELETE /me", &eve.token, &[], Value::Null);
    erased.await.expect_data(202);

    let hidden = &test.ada.id;
    let stranger = &test.cy.id;
    let mut answers = Vec::new();
    for id in [hidden, stranger, &eve.id, &json!(999), &json!("x")] {
        let path = format!("/players/{}/profile", id.to_string().replace('"', ""));
        let answer = test.server.get(&path, &test.ben.token).await;
        let names: Vec<_> = answer.headers.keys().cloned().collect();
        let mut error = answer.expect_error("not_found");
        error["request_id"].take();
        answers.push((names, error));
    }
    for answer in &answers[1..] {
        assert_eq!(*answer, answers[0]);
    }
    let path = format!("/players?ids={hidden},{stranger},{},999", eve.id);
    let list = test.server.get(&path, &test.ben.token).await;
    assert_eq!(list.expect_data(200), json!([]));
}

#[tokio::test(start_paused = true)]
async fn a_list_has_the_shown_profiles_in_the_order_asked() {
    let test = ProfileFixture::start().await;
    let [ada, ben, cy] = [&test.ada, &test.ben, &test.cy].map(|guest| &guest.id);
    let path = format!("/players?ids={ben},999,{cy},{ada}");
    let list = test.server.get(&path, &test.ada.token).await;
    assert_eq!(names(list), ["Ben", "Ada"]);
    let service = test.server.scoped_token(Scope::Service);
    let all = test.server.get(&path, &service).await;
    assert_eq!(names(all), ["Ben", "Cy", "Ada"]);
}

#[tokio::test(start_paused = true)]
async fn a_bad_list_of_ids_is_named() {
    let server = RestServer::start().await;
    let token = server.guest_token("Ada").await;
    let too_many: Vec<_> = (1..=101).map(|id: u32| id.to_string()).collect();
    let too_many = format!("?ids={}", too_many.join(","));
    for query in [
        "", "?ids=", "?ids=1,1", "?ids=1,x", "?ids=0", "?ids=1,", &too_many,
    ] {
        let answer = server.get(&format!("/players{query}"), &token).await;
        assert_eq!(answer.invalid_fields(), ["ids"], "{query}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_list_is_charged_by_its_length() {
    let server = RestServer::start_with(|config| {
        config.http.rest_reads_per_minute = limit(2);
    })
    .await;
    let path = |end: u32| {
        let ids: Vec<_> = (1..=end).map(|id| id.to_string()).collect();
        format!("/players?ids={}", ids.join(","))
    };
    let ada = server.guest_token("Ada").await;
    server.get(&path(20), &ada).await.expect_data(200);
    let refused = server.get(&path(1), &ada).await;
    refused.expect_error("rate_limited");
    let ben = server.guest_token("Ben").await;
    for _ in 0..2 {
        server.get(&path(10), &ben).await.expect_data(200);
    }
}

#[tokio::test(start_paused = true)]
async fn the_definitions_in_force_are_shown_to_anyone() {
    let server = RestServer::start().await;
    let shown = server.get("/progression", "").await.expect_data(200);
    assert_eq!(shown, json!(Definitions::built_in().shown()));
    let changed = BUILT_IN.replace("victory = 50", "victory = 60");
    let applied = server.store.apply_definitions(&changed).await;
    applied.expect("apply");
    sleep(DEFINITIONS_AGE).await;
    let shown = server.get("/progression", "").await.expect_data(200);
    assert_eq!(shown["coins"]["victory"], 60);
}

#[tokio::test(start_paused = true)]
async fn the_definitions_are_charged_to_the_address() {
    let server = RestServer::start_with(|config| {
        config.http.rest_reads_per_minute = limit(1);
    })
    .await;
    for _ in 0..10 {
        server.get("/progression", "").await.expect_data(200);
    }
    let refused = server.get("/progression", "").await;
    refused.expect_error("rate_limited");
}
