//! A raid as Server-Sent Events, with a clock that runs ahead while nobody does anything.

use serde_json::json;

use crate::rest_server::{RestServer, json_text};

#[tokio::test(start_paused = true)]
async fn a_stream_ends_a_minute_after_its_token_with_code_4001() {
    let house = RestServer::start().await;
    let ada = house.guest_token("Ada").await;
    let raid = house.create_raid(&ada).await;
    let begun = house.clock.now();
    let answer = house
        .get(&format!("/raids/{}/stream", raid["id"]), &ada)
        .await;
    let lasted = house.clock.now().0 - begun.0;
    assert!((959_000..=961_000).contains(&lasted), "{lasted} ms");
    let told = json_text(&answer.body);
    assert!(
        told.starts_with("event: snapshot\nid: 2\ndata: {\"t\":\"snapshot\""),
        "{told}"
    );
    assert_eq!(
        told.lines().filter(|line| *line == ":").count(),
        47,
        "a heartbeat every 20 s: {told}"
    );
    let last = json!({"code": 4001, "name": "unauthenticated"});
    assert!(
        told.ends_with(&format!("event: close\ndata: {last}\n\n")),
        "{told}"
    );
}
