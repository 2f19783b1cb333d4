//! Traces as a collector receives them; only in builds with the feature `otel`.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::routing::post;
use parking_lot::Mutex;
use raidhall_loadtest::client::RestClient;
use raidhall_protocol::{Codec, Command};
use reqwest::Client;
use rustix::process::Signal;
use tokio::net::TcpListener;

use crate::process::TestDatabase;
use crate::raid_group::{long_raid, target};
use crate::telemetry::METRICS_SETTING;
use crate::test_socket::TestSocket;
use crate::{wait_until, with_timeout};

const CANARY: &str = "canary-9c41e07b";
const TRACE_ALL_SETTING: (&str, &str) = ("TELEMETRY__TRACES_PER_THOUSAND", "1000");

type ExportedBytes = Arc<Mutex<Vec<u8>>>;

/// Starts a collector; returns its address and all bytes sent to it, in which names and numbers can
/// be found unencoded.
async fn start_collector() -> (String, ExportedBytes) {
    let exported = ExportedBytes::default();
    let take = |State(exported): State<ExportedBytes>, body: Bytes| async move {
        exported.lock().extend_from_slice(&body)
    };
    let router = Router::new()
        .route("/v1/traces", post(take))
        .with_state(Arc::clone(&exported));
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = format!("http://{}", listener.local_addr().expect("an address"));
    tokio::spawn(async move { axum::serve(listener, router).await.expect("serves") });
    (address, exported)
}

fn contains(exported: &ExportedBytes, what: &[u8]) -> bool {
    exported.lock().windows(what.len()).any(|part| part == what)
}

#[tokio::test]
async fn traces_cover_requests_and_commands_but_not_their_contents() {
    with_timeout(async {
        let (endpoint, exported) = start_collector().await;
        let database = TestDatabase::sqlite().await;
        let settings = [
            ("TELEMETRY__OTLP_ENDPOINT", endpoint.as_str()),
            TRACE_ALL_SETTING,
        ];
        let mut server = database.start_with(&settings).await;
        let rest = RestClient::new(server.target()).expect("a REST client");
        let ada = rest.sign_in_guest(CANARY).await.expect("a guest");
        let rest = rest.with_token(&ada.access_token);
        let raid = rest
            .create_raid(&long_raid(2), None)
            .await
            .expect("a raid")
            .state
            .id;
        rest.send_command(
            raid,
            None,
            &Command::Say {
                text: CANARY.into(),
            },
        )
        .await
        .expect("sent");
        let mut socket =
            TestSocket::connect_authenticated(server.target(), Codec::Json, &ada.access_token)
                .await;
        socket.watch(raid, None).await;
        socket.say(raid, CANARY).await;
        // A trace parent invented by a client is ignored; a trusted proxy's would be continued.
        let parent: [u8; 16] = [0xab; 16];
        let header = format!("00-{}-00f067aa0ba902b7-01", "ab".repeat(16));
        let client = Client::builder().no_proxy().build().expect("a client");
        client
            .get(server.target().url("/healthz"))
            .header("traceparent", header)
            .send()
            .await
            .expect("answered");
        // The remaining spans are exported at the end.
        server.signal(Signal::TERM);
        assert_eq!(server.exit_code(Duration::from_secs(20)).await, Some(0));
        for name in [
            "POST /api/v1/raids/{id}/commands",
            "GET /healthz",
            "command say",
            "decided",
            "raidhall.outcome",
            "committed",
            "raidhall.events",
            "service.version",
        ] {
            assert!(contains(&exported, name.as_bytes()), "{name}");
        }
        for secret in [
            CANARY.as_bytes(),
            ada.access_token.as_bytes(),
            b"127.0.0.1",
            &parent,
        ] {
            assert!(!contains(&exported, secret), "{secret:?}");
        }
    })
    .await;
}

#[tokio::test]
async fn the_trace_of_a_trusted_proxy_is_continued() {
    with_timeout(async {
        let (endpoint, exported) = start_collector().await;
        let database = TestDatabase::sqlite().await;
        let trusted = ("SERVER__TRUSTED_PROXIES", "127.0.0.1");
        // None sampled by the server: only what the proxy marks as traced is exported.
        let settings = [
            ("TELEMETRY__OTLP_ENDPOINT", endpoint.as_str()),
            ("TELEMETRY__TRACES_PER_THOUSAND", "0"),
            trusted,
        ];
        let mut server = database.start_with(&settings).await;
        let client = Client::builder().no_proxy().build().expect("a client");
        let get = |path: &str| client.get(server.target().url(path));
        get("/readyz").send().await.expect("answered");
        let header = format!("00-{}-00f067aa0ba902b7-01", "ab".repeat(16));
        get("/healthz")
            .header("traceparent", header)
            .send()
            .await
            .expect("answered");
        server.signal(Signal::TERM);
        assert_eq!(server.exit_code(Duration::from_secs(20)).await, Some(0));
        assert!(
            contains(&exported, &[0xab; 16])
                && contains(&exported, b"GET /healthz")
                && !contains(&exported, b"GET /readyz")
        );
    })
    .await;
}

#[tokio::test]
async fn a_missing_trace_collector_delays_no_request() {
    with_timeout(async {
        let database = TestDatabase::sqlite().await;
        let unreachable = target("127.0.0.1:1".parse().expect("an address")).url("");
        let settings = [
            (
                "TELEMETRY__OTLP_ENDPOINT",
                unreachable.trim_end_matches('/'),
            ),
            TRACE_ALL_SETTING,
            METRICS_SETTING,
        ];
        let mut server = database.start_with(&settings).await;
        let rest = RestClient::new(server.target()).expect("a REST client");
        let ada = rest.sign_in_guest("Ada").await.expect("a guest");
        let rest = rest.with_token(&ada.access_token);
        let raid = rest
            .create_raid(&long_raid(2), None)
            .await
            .expect("a raid")
            .state
            .id;
        for _ in 0..50 {
            rest.profile().await.expect("answered");
        }
        rest.send_command(raid, None, &Command::Start)
            .await
            .expect("done");
        wait_until("an export has failed", async || {
            server
                .metric_sum("raidhall_trace_exports_total{outcome=\"failed\"}")
                .await
                > 0.0
        })
        .await;
        server.signal(Signal::TERM);
        assert_eq!(server.exit_code(Duration::from_secs(20)).await, Some(0));
    })
    .await;
}
