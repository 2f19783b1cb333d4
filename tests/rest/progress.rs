//! Tests of the projector: raids' events become events of players' streams, each once.

use std::time::Duration;

use raidhall::auth::Scope;
use raidhall::definitions::BUILT_IN;
use raidhall::progression::DefinitionsNumber;
use raidhall::store::faulty::Call;
use raidhall::store::{ApplyOutcome, ProgressionDefinitions};
use serde_json::{Value, json};
use tokio::time::{sleep, timeout};

use crate::rest_server::{RestServer, json_text};

/// How long the projector may take in these tests: the pause after a failure, and some.
const PROJECTION_TIME: Duration = Duration::from_secs(10);
/// How long until a cause that failed is tried again, and some.
const RETRY_TIME: Duration = Duration::from_secs(70);

/// A raid of a leader in a server, and the leader's stream.
struct TestRaid {
    server: RestServer,
    token: String,
    service: String,
    player: Value,
    raid: Value,
}

impl TestRaid {
    /// Creates and starts a raid that two contributions complete.
    async fn start() -> TestRaid {
        TestRaid::start_with([100, 2]).await
    }

    /// Creates and starts a raid that no contribution completes.
    async fn start_long() -> TestRaid {
        TestRaid::start_with([1_000_000, 100]).await
    }

    async fn start_with(targets: [u64; 2]) -> TestRaid {
        let server = RestServer::start().await;
        let ada = server.sign_in_guest("Ada").await;
        let token = json_text(&ada["access_token"]);
        let [target_xp, target_tasks] = targets;
        let new = json!({"title": "Ship it", "target_xp": target_xp, "target_tasks": target_tasks});
        let raid = server.post("/raids", &token, new).await.expect_data(201)["id"].clone();
        let started = server.send_command(&raid, &token, json!({"type": "start"}));
        started.await.expect_data(200);
        TestRaid {
            service: server.scoped_token(Scope::Service),
            player: ada["player"]["id"].clone(),
            server,
            token,
            raid,
        }
    }

    async fn contribute(&self, xp: u64) {
        let credit =
            json!({"type": "contribute", "player": self.player, "xp": xp, "kind": "habit"});
        let sent = self.server.send_command(&self.raid, &self.service, credit);
        sent.await.expect_data(200);
    }

    /// Lets the leader complete a new task.
    async fn complete_task(&self, task: u64, xp: u64) {
        for command in [
            json!({"type": "add_task", "title": "Sweep", "xp": xp, "minutes": 5}),
            json!({"type": "claim_task", "task": task}),
            json!({"type": "complete_task", "task": task}),
        ] {
            let sent = self.server.send_command(&self.raid, &self.token, command);
            sent.await.expect_data(200);
        }
    }

    /// Lowers the daily allowance from 300 to 100.
    async fn lower_allowance(&self) {
        let lower = BUILT_IN.replace("casual_xp_per_day = 300", "casual_xp_per_day = 100");
        let applied = self.server.store.apply_definitions(&lower).await;
        let second = ApplyOutcome::Applied(DefinitionsNumber(2));
        assert_eq!(applied.expect("apply"), second);
    }

    /// Returns the events of the stream without those that others brought: coins, achievements and kept days.
    async fn events(&self) -> Vec<Value> {
        let events = self.server.get("/me/events", &self.token).await;
        let mut events = events.expect_data(200).as_array().expect("events").clone();
        let brought = [
            "coins_moved",
            "achievement_unlocked",
            "level_reached",
            "day_kept",
        ];
        events.retain(|event| !brought.contains(&event["type"].as_str().expect("a type")));
        events
    }

    /// Waits until the stream has so many events, and returns them.
    async fn wait_for_events(&self, count: usize, time: Duration) -> Vec<Value> {
        let reached = async {
            loop {
                let events = self.events().await;
                if events.len() >= count {
                    return events;
                }
                sleep(Duration::from_millis(200)).await;
            }
        };
        timeout(time, reached).await.expect("projected in time")
    }

    async fn state(&self) -> Value {
        let state = self.server.get("/me/state", &self.token).await;
        state.expect_data(200)["state"].clone()
    }
}

/// Asserts that the data of an event has these fields, among others.
#[track_caller]
fn assert_data(event: &Value, expected: Value) {
    for (field, value) in expected.as_object().expect("fields") {
        assert_eq!(&event["data"][field], value, "{field} of {event}");
    }
}

/// Returns how much XP each `xp_earned` counts.
fn counted(events: &[Value]) -> Vec<Value> {
    let counted = events.iter().filter(|event| event["type"] == "xp_earned");
    counted
        .map(|event| event["data"]["counted"].clone())
        .collect()
}

fn types(events: &[Value]) -> Vec<String> {
    events
        .iter()
        .map(|event| json_text(&event["type"]))
        .collect()
}

#[tokio::test(start_paused = true)]
async fn a_raid_shows_in_the_streams_of_its_members() {
    let test = TestRaid::start().await;
    let joined = test.wait_for_events(1, PROJECTION_TIME).await;
    assert_data(&joined[0], json!({"raid": test.raid, "role": "leader"}));
    assert_eq!(
        test.state().await["raids"],
        json!([{"raid": test.raid, "role": "leader"}])
    );
    test.contribute(60).await;
    test.contribute(50).await;
    let events = test.wait_for_events(4, PROJECTION_TIME).await;
    assert_eq!(
        types(&events),
        ["raid_joined", "xp_earned", "xp_earned", "raid_ended"]
    );
    let earned = json!({
        "amount": 50, "counted": 50, "earned_xp": 110, "xp": 110, "tasks": 2, "allowance": null,
    });
    assert_data(&events[2], earned);
    let ended = json!({
        "raid": test.raid, "outcome": "completed", "rank": 1, "xp": 110, "raids_played": 1, "raids_won": 1,
    });
    assert_data(&events[3], ended);
    let route = format!("/raids/{}/events", test.raid);
    let raid_events = test.server.get(&route, &test.token).await.expect_data(200);
    for event in &events {
        let cause = &event["cause"];
        assert_eq!(cause["raid"], test.raid);
        let raid_events = raid_events.as_array().expect("events");
        let behind = raid_events.iter().find(|it| it["seq"] == cause["seq"]);
        assert_eq!(behind.expect("an event of the raid")["at"], event["at"]);
    }
    let state = test.state().await;
    assert_eq!(
        (&state["xp"], &state["raids_won"], &state["raids"]),
        (&json!(110), &json!(1), &json!([]))
    );
}

#[tokio::test(start_paused = true)]
async fn a_raid_that_failed_ends_for_those_who_are_members() {
    let test = TestRaid::start().await;
    test.contribute(60).await;
    let cancel = json!({"type": "cancel"});
    let sent = test.server.send_command(&test.raid, &test.token, cancel);
    sent.await.expect_data(200);
    let events = test.wait_for_events(3, PROJECTION_TIME).await;
    let ended = json!({
        "raid": test.raid, "outcome": "failed", "rank": null, "xp": 60, "raids_played": 1, "raids_won": 0,
    });
    assert_data(&events[2], ended);
}

#[tokio::test(start_paused = true)]
async fn effects_whose_commit_lost_its_reply_are_not_doubled() {
    let test = TestRaid::start().await;
    test.wait_for_events(1, PROJECTION_TIME).await;
    let faults = test.server.store.faults();
    faults.drop_replies(Call::CommitProjection, 1);
    test.contribute(60).await;
    test.contribute(50).await;
    let events = test.wait_for_events(4, PROJECTION_TIME).await;
    sleep(PROJECTION_TIME).await;
    assert_eq!(test.events().await, events);
    assert_eq!(test.state().await["xp"], 110);
}

#[tokio::test(start_paused = true)]
async fn a_command_in_between_takes_effect_before_the_effects() {
    let test = TestRaid::start().await;
    test.wait_for_events(1, PROJECTION_TIME).await;
    let faults = test.server.store.faults();
    let commits = faults.call_count(Call::CommitProjection);
    faults.hold_calls(Call::CommitProjection);
    test.contribute(60).await;
    let is_held = async {
        while faults.call_count(Call::CommitProjection) == commits {
            sleep(Duration::from_millis(200)).await;
        }
    };
    timeout(PROJECTION_TIME, is_held).await.expect("a commit");
    let command = json!({"cmd": {"type": "set_setting", "key": "theme", "value": "dark"}});
    let sent = test.server.post("/me/commands", &test.token, command);
    sent.await.expect_data(200);
    faults.release_calls(Call::CommitProjection);
    let events = test.wait_for_events(3, PROJECTION_TIME).await;
    assert_eq!(types(&events), ["raid_joined", "setting_set", "xp_earned"]);
    assert_eq!(test.state().await["xp"], 60);
}

#[tokio::test(start_paused = true)]
async fn a_refused_effect_is_put_aside_and_tried_again() {
    let test = TestRaid::start().await;
    test.wait_for_events(1, PROJECTION_TIME).await;
    let faults = test.server.store.faults();
    // The page, and the player's effects alone.
    faults.refuse_calls(Call::CommitProjection, 2);
    test.contribute(60).await;
    let is_aside = async {
        while faults.call_count(Call::CountFailedCauses) < 2 {
            sleep(Duration::from_millis(200)).await;
        }
    };
    timeout(PROJECTION_TIME, is_aside).await.expect("put aside");
    let bea = test.server.guest_token("Bea").await;
    test.server.create_raid(&bea).await;
    let of_bea = async {
        while test.server.get("/me/state", &bea).await.expect_data(200)["seq"] == 0 {
            sleep(Duration::from_millis(200)).await;
        }
    };
    timeout(PROJECTION_TIME, of_bea).await.expect("projected");
    assert_eq!(test.events().await.len(), 1, "Ada's waits");
    let events = test.wait_for_events(2, RETRY_TIME).await;
    assert_eq!(types(&events), ["raid_joined", "xp_earned"]);
    sleep(RETRY_TIME).await;
    assert_eq!(test.events().await, events);
}

#[tokio::test(start_paused = true)]
async fn an_event_of_a_newer_release_stops_the_projector_only_for_a_while() {
    let test = TestRaid::start().await;
    test.wait_for_events(1, PROJECTION_TIME).await;
    let faults = test.server.store.faults();
    let releases = faults.call_count(Call::ReleaseProjector);
    faults.make_newer(Call::ReadFeed, 2);
    test.contribute(60).await;
    let events = test.wait_for_events(2, RETRY_TIME).await;
    assert_eq!(types(&events), ["raid_joined", "xp_earned"]);
    assert!(faults.call_count(Call::ReleaseProjector) > releases);
}

#[tokio::test(start_paused = true)]
async fn a_cause_counts_by_the_definitions_in_force_when_it_happened() {
    let test = TestRaid::start_long().await;
    test.wait_for_events(1, PROJECTION_TIME).await;
    let faults = test.server.store.faults();
    faults.hold_calls(Call::ReadFeed);
    test.complete_task(1, 150).await;
    test.lower_allowance().await;
    test.complete_task(2, 40).await;
    faults.release_calls(Call::ReadFeed);
    let events = test.wait_for_events(3, PROJECTION_TIME).await;
    assert_eq!(counted(&events), [150, 0], "of 300, then of 100");
}

#[tokio::test(start_paused = true)]
async fn a_failed_cause_is_retried_with_the_definitions_of_its_time() {
    let test = TestRaid::start_long().await;
    test.wait_for_events(1, PROJECTION_TIME).await;
    let faults = test.server.store.faults();
    // The page, and the player's effects alone.
    faults.refuse_calls(Call::CommitProjection, 2);
    test.complete_task(1, 150).await;
    let is_aside = async {
        while faults.call_count(Call::CountFailedCauses) < 2 {
            sleep(Duration::from_millis(200)).await;
        }
    };
    timeout(PROJECTION_TIME, is_aside).await.expect("put aside");
    test.lower_allowance().await;
    let events = test.wait_for_events(2, RETRY_TIME).await;
    assert_eq!(counted(&events), [150], "of 300");
    test.complete_task(2, 40).await;
    let events = test.wait_for_events(3, PROJECTION_TIME).await;
    assert_eq!(counted(&events), [150, 0], "of 100");
}

#[tokio::test(start_paused = true)]
async fn the_projector_waits_at_definitions_of_a_newer_release() {
    let test = TestRaid::start_long().await;
    test.contribute(60).await;
    test.wait_for_events(2, PROJECTION_TIME).await;
    let applied = test
        .server
        .store
        .apply_definitions("of = 'a newer release'");
    applied.await.expect("apply");
    let faults = test.server.store.faults();
    let releases = faults.call_count(Call::ReleaseProjector);
    test.contribute(50).await;
    let is_released = async {
        while faults.call_count(Call::ReleaseProjector) < releases + 2 {
            sleep(Duration::from_millis(200)).await;
        }
    };
    timeout(RETRY_TIME, is_released).await.expect("it waits");
    assert_eq!(test.events().await.len(), 2);
}

#[tokio::test(start_paused = true)]
async fn xp_of_raids_moves_the_scores_on_leaderboards_once() {
    let raid = TestRaid::start_long().await;
    let faults = raid.server.store.faults();
    faults.drop_replies(Call::CommitProjection, 1);
    raid.contribute(40).await;
    raid.contribute(2).await;
    let granted = json!({"op": "1", "cmd": {"type": "grant_xp", "amount": 9, "kind": "walk", "note": "a gift"}});
    let commands = format!("/players/{}/commands", raid.player);
    let sent = raid.server.post(&commands, &raid.service, granted).await;
    sent.expect_data(200);
    raid.wait_for_events(4, PROJECTION_TIME).await;
    let export = raid.server.get("/me/export", &raid.token).await;
    let export = export.expect_data(200);
    let scores = export["board_scores"].as_array().expect("scores");
    let shown: Vec<_> = scores
        .iter()
        .map(|it| (&it["board"], &it["score"]))
        .collect();
    let boards = ["all_time", "daily", "season", "weekly"].map(Value::from);
    let score = json!(42);
    let expected: Vec<_> = boards.iter().map(|board| (board, &score)).collect();
    assert_eq!(shown, expected);
}
