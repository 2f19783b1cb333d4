//! What a player may ask to be given: everything that is kept of them, and nothing of others.

use axum::body::Body;
use axum::http::Request;
use raidhall::auth::Scope;
use raidhall::store::memory::Call;
use serde_json::{Value, json};
use tower::ServiceExt;

use crate::house::{House, text};

fn seqs(raid: &Value) -> Vec<u64> {
    let events = raid["events"].as_array().expect("events").iter();
    events
        .map(|event| event["seq"].as_u64().expect("a seq"))
        .collect()
}

#[tokio::test(start_paused = true)]
async fn a_player_is_given_what_they_did_and_what_names_them_in_every_raid_they_were_in() {
    let house = House::with(|options, _| options.rest_writes_per_minute = 10_000).await;
    let (ada, bob) = (house.guest("Ada").await, house.guest("Bob").await);
    let (ada_token, bob_token) = (text(&ada["access_token"]), text(&bob["access_token"]));
    let own = house.raid(&ada_token).await; // 1 and 2
    house
        .post(
            "/raids/join",
            &bob_token,
            json!({"invite_code": own["invite_code"]}),
        )
        .await
        .ok(200); // 3
    house
        .command(
            &own["id"],
            &bob_token,
            json!({"type": "say", "text": "Bob's secret"}),
        )
        .await
        .ok(200); // 4
    house
        .command(
            &own["id"],
            &ada_token,
            json!({"type": "say", "text": "Ada's word"}),
        )
        .await
        .ok(200); // 5
    let promote = json!({"type": "promote", "player": bob["player"]["id"]});
    house.command(&own["id"], &ada_token, promote).await.ok(200); // 6
    let left = house.raid(&bob_token).await;
    house
        .post(
            "/raids/join",
            &ada_token,
            json!({"invite_code": left["invite_code"]}),
        )
        .await
        .ok(200); // 3
    for word in 0..450 {
        let say = json!({"type": "say", "text": format!("Bob's word {word}")});
        house.command(&left["id"], &bob_token, say).await.ok(200); // 4 to 453
    }
    let kick = json!({"type": "kick", "player": ada["player"]["id"]});
    house.command(&left["id"], &bob_token, kick).await.ok(200); // 454
    house.raid(&bob_token).await;

    let answer = house.get("/me/export", &ada_token).await;
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
    let data = answer.ok(200);
    assert_eq!(data["player"], house.get("/me", &ada_token).await.ok(200));
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
    assert_eq!(seqs(&raids[0]), [1, 2, 5, 6]);
    assert_eq!(seqs(&raids[1]), [3, 454]);
    let whole = data.to_string();
    assert!(
        whole.contains("Ada's word") && !whole.contains("Bob's"),
        "{whole}"
    );
    assert!(!whole.contains(&text(&ada["refresh_token"])));
}

#[tokio::test(start_paused = true)]
async fn only_a_player_has_data_to_be_given() {
    let house = House::open().await;
    house.get("/me/export", "").await.failed("unauthenticated");
    house
        .get("/me/export", &house.scoped(Scope::Service))
        .await
        .failed("forbidden");
    house
        .get("/me/export", &house.scoped(Scope::Admin))
        .await
        .failed("forbidden");
}

async fn begun(house: &House, token: &str) -> Body {
    let request =
        Request::get("/api/v1/me/export").header("authorization", format!("Bearer {token}"));
    let request = request.body(Body::empty()).expect("a request");
    house
        .router
        .clone()
        .oneshot(request)
        .await
        .expect("infallible")
        .into_body()
}

#[tokio::test(start_paused = true)]
async fn downloads_that_nobody_reads_hold_nobody_up() {
    let house = House::open().await;
    let token = house.token("Ada").await;
    let mut unread = Vec::new();
    for _ in 0..20 {
        unread.push(begun(&house, &token).await);
    }
    house.get("/me/export", &token).await.ok(200);
    assert_eq!(unread.len(), 20);
}

#[tokio::test(start_paused = true)]
async fn a_download_that_cannot_be_finished_breaks_off_and_is_no_whole_json() {
    let house = House::open().await;
    let token = house.token("Ada").await;
    house.raid(&token).await;
    let body = begun(&house, &token).await;
    house.store.faults().fail_calls(Call::Events, 1);
    axum::body::to_bytes(body, usize::MAX)
        .await
        .expect_err("it breaks off");
    house.get("/me/export", &token).await.ok(200);
}
