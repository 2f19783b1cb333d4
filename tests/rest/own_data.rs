//! Tests of the export of a player's own data: complete, and without the data of other players.

use axum::body::Body;
use axum::http::Request;
use raidhall::auth::Scope;
use raidhall::progression::{BoardWindowId, ScoreMove};
use raidhall::store::faulty::Call;
use raidhall::store::{PlayerStreams, StreamAppend, StreamEntry, StreamOutcome};
use raidhall_protocol::player::event::RaidPlace;
use raidhall_protocol::player::{PlayerEvent, PlayerEventData};
use raidhall_protocol::{Seq, UnixMillis};
use serde_json::{Value, json};
use tower::ServiceExt;

use crate::rest_server::{RestServer, json_text, limit};

fn event_seqs(raid: &Value) -> Vec<u64> {
    let events = raid["events"].as_array().expect("events").iter();
    events
        .map(|event| event["seq"].as_u64().expect("a seq"))
        .collect()
}

#[tokio::test(start_paused = true)]
async fn an_export_holds_what_a_player_did_and_what_names_them() {
    let server = RestServer::start_with(|config| {
        config.http.rest_writes_per_minute = limit(10_000);
    })
    .await;
    let ada = server.sign_in_guest("Ada").await;
    let bob = server.sign_in_guest("Bob").await;
    let ada_token = json_text(&ada["access_token"]);
    let bob_token = json_text(&bob["access_token"]);
    let own = server.create_raid(&ada_token).await; // 1 and 2
    server
        .post(
            "/raids/join",
            &bob_token,
            json!({"invite_code": own["invite_code"]}),
        )
        .await
        .expect_data(200); // 3
    server
        .send_command(
            &own["id"],
            &bob_token,
            json!({"type": "say", "text": "Bob's secret"}),
        )
        .await
        .expect_data(200); // 4
    server
        .send_command(
            &own["id"],
            &ada_token,
            json!({"type": "say", "text": "Ada's word"}),
        )
        .await
        .expect_data(200); // 5
    let promote = json!({"type": "promote", "player": bob["player"]["id"]});
    server
        .send_command(&own["id"], &ada_token, promote)
        .await
        .expect_data(200); // 6
    let left = server.create_raid(&bob_token).await;
    server
        .post(
            "/raids/join",
            &ada_token,
            json!({"invite_code": left["invite_code"]}),
        )
        .await
        .expect_data(200); // 3
    for word in 0..450 {
        let say = json!({"type": "say", "text": format!("Bob's word {word}")});
        server
            .send_command(&left["id"], &bob_token, say)
            .await
            .expect_data(200); // 4 to 453
    }
    let kick = json!({"type": "kick", "player": ada["player"]["id"]});
    server
        .send_command(&left["id"], &bob_token, kick)
        .await
        .expect_data(200); // 454
    server.create_raid(&bob_token).await;

    let answer = server.get("/me/export", &ada_token).await;
    let disposition = answer.headers["content-disposition"]
        .to_str()
        .expect("text")
        .to_owned();
    assert_eq!(
        disposition,
        format!(
            "attachment; filename=\"raidhall-player-{}.json\"",
            ada["player"]["id"]
        )
    );
    assert_eq!(answer.headers["cache-control"], "no-store");
    let data = answer.expect_data(200);
    assert_eq!(
        data["player"],
        server.get("/me", &ada_token).await.expect_data(200)
    );
    assert_eq!(data["sign_ins"].as_array().map(Vec::len), Some(1));
    assert_eq!(data["external_id"], Value::Null);
    let raids = data["raids"].as_array().expect("raids");
    let ids: Vec<_> = raids
        .iter()
        .map(|raid| (&raid["id"], &raid["member"], &raid["title"]))
        .collect();
    let title = json!("Ship it");
    assert_eq!(
        ids,
        [
            (&own["id"], &json!(true), &title),
            (&left["id"], &json!(false), &title)
        ]
    );
    assert_eq!(event_seqs(&raids[0]), [1, 2, 5, 6]);
    assert_eq!(event_seqs(&raids[1]), [3, 454]);
    let whole = data.to_string();
    assert!(
        whole.contains("Ada's word") && !whole.contains("Bob's"),
        "{whole}"
    );
    assert!(!whole.contains(&json_text(&ada["refresh_token"])));
}

#[tokio::test(start_paused = true)]
async fn an_export_holds_all_events_of_the_players_stream() {
    let server = RestServer::start().await;
    let ada = server.sign_in_guest("Ada").await;
    let token = json_text(&ada["access_token"]);
    let player = ada["player"]["id"].as_u64().expect("an id");
    let empty = server.get("/me/export", &token).await.expect_data(200);
    assert_eq!(empty["stream"], json!([]));
    assert_eq!(empty["board_scores"], json!([]));
    let notified = |seq| PlayerEvent {
        seq: Seq(seq),
        at: UnixMillis(5),
        cause: None,
        data: PlayerEventData::Notified {
            kind: "sale".into(),
            data: json!({"n": seq}),
        },
    };
    let events: Vec<_> = (1..=401).map(notified).collect();
    let score = |number| ScoreMove {
        window: BoardWindowId {
            board: "daily".into(),
            number,
        },
        xp: 40,
        reached_at: UnixMillis(5),
        reached_place: RaidPlace {
            raid: 7_u64.try_into().expect("a raid"),
            seq: Seq(124),
        },
        is_public: true,
    };
    let without_op = |event| StreamEntry { event, op: None };
    let append = StreamAppend {
        player: player.try_into().expect("a player"),
        after: Seq::ZERO,
        events: events.iter().cloned().map(without_op).collect(),
        state: Some(Vec::new()),
        due_at: None,
        scores: (1..=401).map(score).collect(),
    };
    let appended = server.store.append_to_stream(&append).await;
    assert_eq!(appended.expect("append"), StreamOutcome::Appended);
    let whole = server.get("/me/export", &token).await.expect_data(200);
    assert_eq!(whole["stream"], json!(events));
    let shown = |number| {
        json!({"board": "daily", "number": number, "score": 40, "reached_at": 5, "reached_raid": 7,
            "reached_seq": 124, "listed": true})
    };
    let scores: Vec<_> = (1..=401).map(shown).collect();
    assert_eq!(whole["board_scores"], json!(scores));
}

#[tokio::test(start_paused = true)]
async fn only_a_player_can_export_own_data() {
    let server = RestServer::start().await;
    server
        .get("/me/export", "")
        .await
        .expect_error("unauthenticated");
    server
        .get("/me/export", &server.scoped_token(Scope::Service))
        .await
        .expect_error("forbidden");
    server
        .get("/me/export", &server.scoped_token(Scope::Admin))
        .await
        .expect_error("forbidden");
}

async fn start_export(server: &RestServer, token: &str) -> Body {
    let request =
        Request::get("/api/v1/me/export").header("authorization", format!("Bearer {token}"));
    let request = request.body(Body::empty()).expect("a request");
    server
        .router
        .clone()
        .oneshot(request)
        .await
        .expect("infallible")
        .into_body()
}

#[tokio::test(start_paused = true)]
async fn unread_downloads_do_not_block_others() {
    let server = RestServer::start().await;
    let mut unread = Vec::new();
    for _ in 0..20 {
        let token = server.guest_token("Ada").await;
        unread.push(start_export(&server, &token).await);
    }
    let token = server.guest_token("Ben").await;
    server.get("/me/export", &token).await.expect_data(200);
    assert_eq!(unread.len(), 20);
}

#[tokio::test(start_paused = true)]
async fn a_failed_download_breaks_off_without_complete_json() {
    let server = RestServer::start().await;
    let token = server.guest_token("Ada").await;
    server.create_raid(&token).await;
    let body = start_export(&server, &token).await;
    server.store.faults().fail_calls(Call::Events, 1);
    axum::body::to_bytes(body, usize::MAX)
        .await
        .expect_err("it breaks off");
    server.get("/me/export", &token).await.expect_data(200);
}
