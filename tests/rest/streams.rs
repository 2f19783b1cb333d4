//! Tests of event streams, with a paused clock that advances while all tasks are idle.

use serde_json::json;

use crate::rest_server::{RestServer, json_text};

#[tokio::test(start_paused = true)]
async fn a_stream_ends_a_minute_after_its_token_with_code_4001() {
    let server = RestServer::start().await;
    let ada = server.guest_token("Ada").await;
    let raid = server.create_raid(&ada).await;
    let begun = server.clock.now();
    let answer = server
        .get(&format!("/raids/{}/stream", raid["id"]), &ada)
        .await;
    let lasted = server.clock.now().0 - begun.0;
    assert!((959_000..=961_000).contains(&lasted), "{lasted} ms");
    let text = json_text(&answer.body);
    assert!(
        text.starts_with("event: snapshot\nid: 2\ndata: {\"t\":\"snapshot\""),
        "{text}"
    );
    assert_eq!(
        text.lines().filter(|line| *line == ":").count(),
        47,
        "a heartbeat every 20 s: {text}"
    );
    let last = json!({"code": 4001, "name": "unauthenticated"});
    assert!(
        text.ends_with(&format!("event: close\ndata: {last}\n\n")),
        "{text}"
    );
}
