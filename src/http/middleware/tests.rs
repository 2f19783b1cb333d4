//! Tests of the middleware around small test routes: every kind of failure, and the headers of
//! every response.

use axum::Json;
use axum::body::Body;
use axum::http::StatusCode;
use axum::routing::{get, post};
use serde_json::{Value, json};
use tower::ServiceExt;

use super::*;
use crate::config::Config;
use crate::http::extract::JsonBody as Fields;
use crate::http::readiness::Readiness;
use crate::http::routes::{health, web_app};
use crate::limits::rate::RateLimitExceeded;
use crate::store::StoreError;

const SECOND: Duration = Duration::from_secs(1);

async fn echo(Fields(map): Fields) -> Json<Value> {
    Json(map.into())
}

async fn store_is_down() -> ErrorResponse {
    StoreError::Unavailable {
        operation: "look",
        source: anyhow::anyhow!("password=hunter2"),
    }
    .into()
}

async fn panics() {
    panic!("on purpose");
}

async fn too_often() -> ErrorResponse {
    RateLimitExceeded {
        limit: 60,
        retry_after: Duration::from_millis(1001),
        reset_after: SECOND * 60,
    }
    .into()
}

fn app(hosts: &[&str]) -> Router {
    let routes = Router::new()
        .route("/echo/{id}", post(echo))
        .route("/down", get(store_is_down))
        .route("/panic", get(panics))
        .route("/slow", get(|| tokio::time::sleep(SECOND * 60)))
        .route("/often", get(too_often))
        .route(
            "/address",
            get(|from: ClientAddress| async move { from.0.to_string() }),
        )
        .merge(health::routes(Readiness::new(SECOND)))
        .merge(web_app::routes("ws://localhost/api/v1/ws"));
    let allowed_origins = serde_json::json!(["https://play.example"]);
    let options = Options {
        body_bytes_max: 1024,
        allowed_origins: serde_json::from_value(allowed_origins).expect("an origin"),
        hosts: serde_json::from_value(hosts.into()).expect("hosts"),
        trusted_proxies: TrustedProxies::new(vec!["10.0.0.0/8".parse().expect("a network")]),
        ..Config::default().http
    };
    apply_middleware(routes, &options)
}

/// Calls `method path` with these headers and body; returns the response and its body as text.
async fn call(
    request: &str,
    headers: &[(&str, &str)],
    body: impl Into<axum::body::Body>,
) -> (Response<()>, String) {
    call_on(app(&[]), request, headers, body).await
}

async fn call_on(
    app: Router,
    request: &str,
    headers: &[(&str, &str)],
    body: impl Into<axum::body::Body>,
) -> (Response<()>, String) {
    let (method, path) = request.split_once(' ').expect("method and path");
    let mut request = Request::builder().method(method).uri(path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let response = app
        .oneshot(request.body(body.into()).expect("a request"))
        .await
        .expect("infallible");
    let (parts, body) = response.into_parts();
    let bytes = axum::body::to_bytes(body, usize::MAX)
        .await
        .expect("a body");
    (
        Response::from_parts(parts, ()),
        String::from_utf8(bytes.to_vec()).expect("UTF-8"),
    )
}

type Response<T> = axum::http::Response<T>;

fn header<'a>(response: &'a Response<()>, name: &str) -> &'a str {
    response
        .headers()
        .get(name)
        .map_or("", |value| value.to_str().expect("plain text"))
}

/// Asserts that the response is an error of this type and status in the common format, and returns
/// the error.
fn error((response, body): (Response<()>, String), kind: &str, status: u16) -> Value {
    assert_eq!(response.status().as_u16(), status, "{body}");
    assert_eq!(header(&response, "content-type"), "application/json");
    assert_eq!(header(&response, "content-length"), body.len().to_string());
    let mut error: Value = serde_json::from_str(&body).expect("JSON");
    let mut error = error["error"].take();
    let keys: Vec<&String> = error.as_object().expect("a map").keys().collect();
    assert_eq!(
        keys,
        [
            "fields",
            "message",
            "request_id",
            "retry",
            "retry_after_ms",
            "status",
            "type"
        ]
    );
    assert_eq!(
        (error["type"].as_str(), error["status"].as_u64()),
        (Some(kind), Some(status.into()))
    );
    assert_eq!(error["request_id"], header(&response, "x-request-id"));
    let seconds = error["retry_after_ms"]
        .as_u64()
        .map_or(String::new(), |ms| ms.div_ceil(1000).to_string());
    assert_eq!(header(&response, "retry-after"), seconds);
    error.take()
}

#[tokio::test]
async fn another_sites_page_cannot_send_a_body_without_a_content_type() {
    let own = [("host", "raid.example"), ("origin", "https://raid.example")];
    for headers in [&own[..0], &own] {
        let (response, _) = call("POST /echo/1", headers, "{\"a\":1}").await;
        assert_eq!(response.status(), 200, "{headers:?}");
    }
    for origin in ["https://evil.example", "https://play.example", "null"] {
        let headers = [("host", "raid.example"), ("origin", origin)];
        error(call("POST /echo/1", &headers, "{}").await, "invalid", 400);
    }
}

#[tokio::test]
async fn only_configured_hosts_are_served() {
    let app = app(&["raid.example", "127.0.0.1:8080"]);
    let get =
        async |path: &str, host: &str| call_on(app.clone(), path, &[("host", host)], "").await;
    for host in ["raid.example", "RAID.example", "127.0.0.1:8080"] {
        assert_eq!(get("GET /address", host).await.0.status(), 200, "{host}");
    }
    for host in ["raid.example:81", "evil.example", "127.0.0.1", ""] {
        error(get("GET /address", host).await, "invalid", 400);
    }
    let without = call_on(app.clone(), "GET /address", &[], "").await;
    error(without, "invalid", 400);
    let (probe, _) = get("GET /healthz", "10.0.0.7").await;
    assert_eq!(probe.status(), 200, "a load balancer names an address");
}

#[tokio::test]
async fn every_request_error_has_the_same_shape() {
    let json = [("content-type", "application/json")];
    error(call("GET /nowhere", &[], "").await, "not_found", 404);
    error(call("POST /echo/1", &json, "{").await, "invalid", 400);
    error(call("POST /echo/1", &json, "[1]").await, "invalid", 400);
    error(call("POST /echo/1", &json, "").await, "invalid", 400);
    error(
        call("POST /echo/1", &json, vec![b'{', b'"', 0xff, b'"', b'}']).await,
        "invalid",
        400,
    );
    error(
        call("POST /echo/1", &json, "[".repeat(1000)).await,
        "invalid",
        400,
    );
    error(
        call("POST /echo/1", &[("content-type", "text/plain")], "{}").await,
        "invalid",
        400,
    );
    error(
        call("POST /echo/1", &json, " ".repeat(1025)).await,
        "too_large",
        413,
    );
    let wrong_method = call("DELETE /echo/1", &[], "").await;
    assert_eq!(header(&wrong_method.0, "allow"), "POST");
    error(wrong_method, "method_not_allowed", 405);
    let (response, body) = call(
        "POST /echo/1",
        &[("content-type", "Application/JSON; charset=utf-8")],
        "{\"a\":1}",
    )
    .await;
    assert_eq!(
        (response.status(), body.as_str()),
        (StatusCode::OK, "{\"a\":1}")
    );
    let (response, _) = call("POST /echo/1", &[], "{}").await;
    assert_eq!(
        response.status(),
        StatusCode::OK,
        "no content type is no fault"
    );
}

#[tokio::test]
async fn server_errors_state_a_retry_delay_but_no_details() {
    let down = call("GET /down", &[], "").await;
    assert!(!down.1.contains("hunter2"));
    let down = error(down, "unavailable", 503);
    assert_eq!(
        (&down["retry"], &down["retry_after_ms"]),
        (&json!(true), &json!(500))
    );
    let panicked = call("GET /panic", &[], "").await;
    assert!(!panicked.1.contains("on purpose"));
    error(panicked, "internal", 500);
}

#[tokio::test(start_paused = true)]
async fn a_request_that_takes_too_long_is_answered_503() {
    error(call("GET /slow", &[], "").await, "unavailable", 503);
}

#[tokio::test(start_paused = true)]
async fn a_body_that_never_ends_is_answered_408() {
    let begun = Instant::now();
    let body = Body::from_stream(futures_util::stream::pending::<
        Result<bytes::Bytes, std::io::Error>,
    >());
    error(call("POST /echo/1", &[], body).await, "invalid", 408);
    assert_eq!(begun.elapsed(), SECOND * 10);
}

#[tokio::test]
async fn a_rate_limited_response_states_the_limit_and_the_reset() {
    let limited = call("GET /often", &[], "").await;
    let names = [
        "x-ratelimit-limit",
        "x-ratelimit-remaining",
        "x-ratelimit-reset",
        "retry-after",
    ];
    assert_eq!(
        names.map(|name| header(&limited.0, name)),
        ["60", "0", "60", "2"]
    );
    assert_eq!(error(limited, "rate_limited", 429)["retry_after_ms"], 1001);
}

#[tokio::test]
async fn every_response_has_a_request_id_and_keeps_a_valid_given_one() {
    let given = |id| async move {
        let (response, _) = call("GET /healthz", &[("x-request-id", id)], "").await;
        header(&response, "x-request-id").to_owned()
    };
    assert_eq!(given("Abc_1.2-3").await, "Abc_1.2-3");
    for harmful in ["", "a b", "a\"b", &"x".repeat(65)] {
        let id = given(harmful).await;
        assert_eq!(id.len(), 36, "{harmful:?} became {id:?}");
    }
    let (response, _) = call("GET /nowhere", &[], "").await;
    assert_eq!(header(&response, "x-content-type-options"), "nosniff");
    assert_eq!(header(&response, "cache-control"), "no-store");
}

#[tokio::test]
async fn pages_of_allowed_origins_may_call_and_read_errors() {
    let ask = |origin| {
        [
            ("origin", origin),
            ("access-control-request-method", "POST"),
        ]
    };
    let (allowed, _) = call("OPTIONS /echo/1", &ask("https://play.example"), "").await;
    assert_eq!(allowed.status(), StatusCode::OK);
    assert_eq!(
        header(&allowed, "access-control-allow-origin"),
        "https://play.example"
    );
    assert!(header(&allowed, "access-control-allow-headers").contains("idempotency-key"));
    assert_eq!(header(&allowed, "access-control-allow-credentials"), "");
    assert_ne!(header(&allowed, "x-request-id"), "");
    let (refused, _) = call("OPTIONS /echo/1", &ask("https://evil.example"), "").await;
    assert_eq!(header(&refused, "access-control-allow-origin"), "");
    for path in ["GET /panic", "GET /nowhere", "DELETE /echo/1"] {
        let (failed, _) = call(path, &[("origin", "https://play.example")], "").await;
        assert_eq!(
            header(&failed, "access-control-allow-origin"),
            "https://play.example",
            "{path}"
        );
        assert!(header(&failed, "access-control-expose-headers").contains("retry-after"));
        assert!(header(&failed, "vary").contains("origin"));
    }
}

#[tokio::test]
async fn http_metrics_are_labeled_by_route_and_not_by_path() {
    for request in [
        "POST /echo/1",
        "POST /echo/2",
        "GET /nowhere",
        "GET /echo/3",
        "GET /panic",
    ] {
        call(request, &[], "{}").await;
    }
    let rendered = crate::telemetry::render_metrics();
    for labels in [
        r#"method="POST",route="/echo/{id}",status="200""#,
        r#"method="GET",route="unmatched",status="404""#,
        r#"method="GET",route="/echo/{id}",status="405""#,
        r#"method="GET",route="/panic",status="500""#,
    ] {
        assert!(rendered.contains(labels), "{labels}");
    }
    assert!(!rendered.contains("/echo/2") && !rendered.contains("nowhere"));
}

#[tokio::test]
async fn the_client_address_is_found_behind_a_trusted_proxy() {
    let mut request = Request::builder()
        .uri("/address")
        .header("x-forwarded-for", "203.0.113.9");
    request = request.extension(PeerAddress("10.0.0.1:1234".parse().expect("an address")));
    let response = app(&[])
        .oneshot(request.body(axum::body::Body::empty()).expect("a request"))
        .await
        .expect("infallible");
    let body = axum::body::to_bytes(response.into_body(), 100)
        .await
        .expect("a body");
    assert_eq!(body, "203.0.113.9");
}

#[tokio::test]
async fn readiness_is_reported_per_dependency() {
    assert_eq!(call("GET /healthz", &[], "").await.1, "{\"status\":\"ok\"}");
    let (response, body) = call("GET /readyz", &[], "").await;
    assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
    let body: Value = serde_json::from_str(&body).expect("JSON");
    assert_eq!(
        body,
        json!({
            "status": "starting",
            "checks": {"store": "failing", "bus": "ok", "feed": "ok", "space": "ok"},
            "projector_lag_secs": null,
        })
    );
}

#[tokio::test]
async fn the_page_is_sent_again_only_when_it_changed() {
    let (response, body) = call("GET /", &[], "").await;
    assert!(body.starts_with("<!doctype html>"));
    assert_eq!(
        header(&response, "content-type"),
        "text/html; charset=utf-8"
    );
    assert_eq!(header(&response, "cache-control"), "no-cache");
    assert!(header(&response, "content-security-policy").contains("default-src 'none'"));
    let etag = header(&response, "etag").to_owned();
    for known in [etag.clone(), format!("\"other\", W/{etag}")] {
        let (again, body) = call("GET /", &[("if-none-match", &known)], "").await;
        assert_eq!(
            (again.status(), body.as_str()),
            (StatusCode::NOT_MODIFIED, "")
        );
    }
}
