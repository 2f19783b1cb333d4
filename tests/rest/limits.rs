//! Tests of the rate limits of the REST API.

use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderMap, Request};
use raidhall::store::faulty::Call;
use serde_json::json;
use tower::ServiceExt;

use crate::rest_server::{RestServer, json_text, limit};

#[tokio::test(start_paused = true)]
async fn guest_sign_ins_of_one_address_are_limited_to_sixty_a_minute() {
    let server = RestServer::start().await;
    for _ in 0..60 {
        server.sign_in_guest("Ada").await;
    }
    let answer = server.post("/auth/guest", "", json!({"name": "Ada"})).await;
    let named = [
        "retry-after",
        "x-ratelimit-limit",
        "x-ratelimit-remaining",
        "x-ratelimit-reset",
    ];
    assert_eq!(
        named.map(|name| answer.headers[name].to_str().expect("text")),
        ["1", "60", "0", "60"]
    );
    assert_eq!(answer.expect_error("rate_limited")["retry_after_ms"], 1000);
    tokio::time::advance(Duration::from_secs(1)).await;
    server.sign_in_guest("Ada").await;
}

#[tokio::test(start_paused = true)]
async fn invite_code_guesses_are_limited_and_reveal_nothing() {
    let server = RestServer::start().await;
    let ada = server.guest_token("Ada").await;
    let bob = server.guest_token("Bob").await;
    let raid = server.create_raid(&ada).await;
    let right = json!({"invite_code": raid["invite_code"]});
    for _ in 0..50 {
        server
            .post("/raids/join", &ada, right.clone())
            .await
            .expect_data(200);
    }
    for _ in 0..20 {
        server
            .post("/raids/join", &bob, json!({"invite_code": "22222222"}))
            .await
            .expect_error("not_found");
    }
    server
        .post("/raids/join", &bob, json!({"invite_code": "22222222"}))
        .await
        .expect_error("rate_limited");
    server
        .post("/raids/join", &bob, right.clone())
        .await
        .expect_error("rate_limited");
    server
        .post("/raids/join", &ada, right.clone())
        .await
        .expect_data(200);
    for guest in 0..4 {
        let token = server.guest_token(&format!("Guest {guest}")).await;
        for _ in 0..20 {
            server
                .post("/raids/join", &token, json!({"invite_code": "22222222"}))
                .await
                .expect_error("not_found");
        }
    }
    let fresh = server.guest_token("One more").await;
    server
        .post("/raids/join", &fresh, right.clone())
        .await
        .expect_error("rate_limited");
    tokio::time::advance(Duration::from_secs(3)).await;
    server
        .post("/raids/join", &bob, right)
        .await
        .expect_data(200);
}

#[tokio::test(start_paused = true)]
async fn a_player_over_the_command_limit_gets_a_retry_time() {
    let server =
        RestServer::start_with(|config| config.sockets.commands_per_second = limit(5)).await;
    let token = server.guest_token("Ada").await;
    let raid = server.create_raid(&token).await;
    let say = json!({"type": "say", "text": "again"});
    for _ in 0..9 {
        server
            .send_command(&raid["id"], &token, say.clone())
            .await
            .expect_data(200);
    }
    let error = server
        .send_command(&raid["id"], &token, say.clone())
        .await
        .expect_error("rate_limited");
    assert_eq!(error["retry_after_ms"], 200);
    tokio::time::advance(Duration::from_millis(200)).await;
    server
        .send_command(&raid["id"], &token, say)
        .await
        .expect_data(200);
}

/// Returns the rate limit headers of a response: the limit, what is left of it, and the seconds
/// until it is full again.
fn rate_limit_headers(headers: &HeaderMap) -> [u32; 3] {
    ["limit", "remaining", "reset"].map(|name| {
        let value = headers
            .get(format!("x-ratelimit-{name}"))
            .unwrap_or_else(|| panic!("no {name}"));
        value.to_str().expect("text").parse().expect("a number")
    })
}

#[tokio::test(start_paused = true)]
async fn every_response_of_a_limited_route_states_what_is_left() {
    let server = RestServer::start_with(|config| {
        config.http.rest_reads_per_minute = limit(12);
        config.http.rest_writes_per_minute = limit(6);
    })
    .await;
    let signed_in = server.post("/auth/guest", "", json!({"name": "Ada"})).await;
    assert_eq!(rate_limit_headers(&signed_in.headers), [60, 59, 1]);
    let pair = signed_in.expect_data(201);
    let token = json_text(&pair["access_token"]);
    let refresh = json_text(&pair["refresh_token"]);
    let renewed = server
        .post("/auth/refresh", "", json!({"refresh_token": refresh}))
        .await;
    assert_eq!(rate_limit_headers(&renewed.headers), [600, 599, 1]);
    assert_eq!(
        rate_limit_headers(&server.get("/me", &token).await.headers),
        [12, 11, 5]
    );
    assert_eq!(
        rate_limit_headers(&server.get("/raids/1", &token).await.headers),
        [12, 10, 10],
        "a failed request counts too"
    );
    let new = json!({"title": "Ship it", "target_xp": 100, "target_tasks": 2});
    assert_eq!(
        rate_limit_headers(&server.post("/raids", &token, new.clone()).await.headers),
        [6, 5, 10]
    );
    for _ in 0..5 {
        server
            .post("/raids", &token, new.clone())
            .await
            .expect_data(201);
    }
    let refused = server.post("/raids", &token, new.clone()).await;
    assert_eq!(rate_limit_headers(&refused.headers), [6, 0, 60]);
    assert_eq!(refused.headers["retry-after"], "10");
    assert_eq!(
        refused.expect_error("rate_limited")["retry_after_ms"],
        10_000
    );
    server.get("/me", &token).await.expect_data(200);
    tokio::time::advance(Duration::from_secs(10)).await;
    server.post("/raids", &token, new).await.expect_data(201);
}

#[tokio::test(start_paused = true)]
async fn a_player_creates_no_more_raids_than_they_may_lead() {
    let server = RestServer::start_with(|config| config.sessions.led_raids_max = 2).await;
    let ada = server.guest_token("Ada").await;
    let first = server.create_raid(&ada).await;
    let mut new = json!({"title": "Ship it", "target_xp": 100, "target_tasks": 2});
    let key = [("idempotency-key", "again")];
    let create = || server.request("POST /raids", &ada, &key, new.clone());
    let second = create().await.expect_data(201);
    let refused = server.post("/raids", &ada, new.clone()).await;
    assert_eq!(refused.expect_error("quota_exceeded")["retry"], false);
    assert_eq!(create().await.expect_data(201)["id"], second["id"]);
    let cancel = json!({"type": "cancel"});
    let canceled = server.send_command(&first["id"], &ada, cancel).await;
    canceled.expect_data(200);
    server.create_raid(&ada).await;

    new["leader"] = server.get("/me", &ada).await.expect_data(200)["id"].clone();
    let service = server.scoped_token(raidhall::auth::Scope::Service);
    server.post("/raids", &service, new).await.expect_data(201);
}

#[tokio::test(start_paused = true)]
async fn one_address_is_limited_to_the_requests_of_ten_players() {
    let server =
        RestServer::start_with(|config| config.http.rest_reads_per_minute = limit(5)).await;
    let mut first = None;
    for number in 0..10 {
        let token = server.guest_token(&format!("Player {number}")).await;
        for _ in 0..5 {
            server.get("/me", &token).await.expect_data(200);
        }
        server.get("/me", &token).await.expect_error("rate_limited");
        first.get_or_insert(token);
    }
    let eleventh = server.guest_token("Eleventh").await;
    let refused = server.get("/me", &eleventh).await;
    assert_eq!(rate_limit_headers(&refused.headers)[..2], [50, 0]);
    refused.expect_error("rate_limited");
    tokio::time::advance(Duration::from_secs(13)).await;
    server.get("/me", &eleventh).await.expect_data(200);
    server
        .get("/me", &first.expect("a first"))
        .await
        .expect_data(200);
}

#[tokio::test(start_paused = true)]
async fn token_refreshes_are_rate_limited() {
    let server =
        RestServer::start_with(|config| config.http.guest_signins_per_minute = limit(1)).await;
    let wrong = json!({"refresh_token": "no such token"});
    for _ in 0..10 {
        server
            .post("/auth/refresh", "", wrong.clone())
            .await
            .expect_error("unauthenticated");
    }
    server
        .post("/auth/refresh", "", wrong.clone())
        .await
        .expect_error("rate_limited");
    tokio::time::advance(Duration::from_secs(6)).await;
    server
        .post("/auth/refresh", "", wrong)
        .await
        .expect_error("unauthenticated");
}

#[tokio::test(start_paused = true)]
async fn the_backend_is_not_rate_limited() {
    let server =
        RestServer::start_with(|config| config.http.rest_reads_per_minute = limit(1)).await;
    let service = server.scoped_token(raidhall::auth::Scope::Service);
    let raid = server.create_raid(&server.guest_token("Ada").await).await;
    for _ in 0..50 {
        server
            .get(&format!("/raids/{}", raid["id"]), &service)
            .await
            .expect_data(200);
    }
}

#[tokio::test(start_paused = true)]
async fn a_request_for_more_than_fifty_rows_counts_as_two_reads() {
    let server =
        RestServer::start_with(|config| config.http.rest_reads_per_minute = limit(11)).await;
    let token = server.guest_token("Ada").await;
    let raid = server.create_raid(&token).await;
    let remaining = async |path: &str, limit: u32| {
        let page = server.get(&format!("{path}?limit={limit}"), &token).await;
        assert_eq!(page.status, 200);
        rate_limit_headers(&page.headers)[1]
    };
    let events = format!("/raids/{}/events", raid["id"]);
    assert_eq!(remaining(&events, 50).await, 10);
    assert_eq!(remaining(&events, 51).await, 8);
    let contributions = format!("/raids/{}/contributions", raid["id"]);
    assert_eq!(remaining(&contributions, 100).await, 6);
    assert_eq!(remaining("/raids", 100).await, 4);
    assert_eq!(remaining("/raids", 20).await, 3);
    assert_eq!(remaining("/raids", 20).await, 2);
    assert_eq!(remaining("/raids", 20).await, 1);

    let reads = server.store.faults().call_count(Call::Events);
    let refused = server.get(&format!("{events}?limit=100"), &token).await;
    refused.expect_error("rate_limited");
    assert_eq!(server.store.faults().call_count(Call::Events), reads);
}

#[tokio::test(start_paused = true)]
async fn a_player_exports_one_at_a_time_and_so_many_a_day() {
    let server = RestServer::start_with(|config| config.http.exports_per_day = limit(3)).await;
    let token = server.guest_token("Ada").await;
    let export = || {
        let request = Request::get("/api/v1/me/export");
        let request = request.header("authorization", format!("Bearer {token}"));
        let request = request.body(Body::empty()).expect("a request");
        server.router.clone().oneshot(request)
    };
    let unread = export().await.expect("infallible");
    assert_eq!(unread.status(), 200);
    let refused = server.get("/me/export", &token).await;
    assert_eq!(refused.headers["retry-after"], "10");
    refused.expect_error("rate_limited");
    drop(unread);

    for _ in 0..2 {
        assert_eq!(server.get("/me/export", &token).await.status, 200);
    }
    let refused = server.get("/me/export", &token).await;
    assert_eq!(refused.headers["retry-after"], "28800");
    refused.expect_error("rate_limited");
    let other = server.guest_token("Ben").await;
    assert_eq!(server.get("/me/export", &other).await.status, 200);
}
