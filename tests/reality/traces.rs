//! Traces, as a collector gets them. Only in a build that has them.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::routing::post;
use parking_lot::Mutex;
use raidhall_loadtest::client::Rest;
use raidhall_protocol::{Codec, Command};
use reqwest::Client;
use rustix::process::Signal;
use tokio::net::TcpListener;

use crate::instruments::METRICS;
use crate::party::{long_raid, target};
use crate::process::Site;
use crate::wire::Wire;
use crate::{bounded, eventually};

const CANARY: &str = "what-nobody-else-may-read";
const EVERYTHING: (&str, &str) = ("TELEMETRY__TRACES_PER_THOUSAND", "1000");

type Said = Arc<Mutex<Vec<u8>>>;

/// A collector: its address, and all that was sent to it. Names and numbers stand in it as they are.
async fn collector() -> (String, Said) {
    let said = Said::default();
    let take =
        |State(said): State<Said>, body: Bytes| async move { said.lock().extend_from_slice(&body) };
    let router = Router::new()
        .route("/v1/traces", post(take))
        .with_state(Arc::clone(&said));
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = format!("http://{}", listener.local_addr().expect("an address"));
    tokio::spawn(async move { axum::serve(listener, router).await.expect("serves") });
    (address, said)
}

fn has(said: &Said, what: &[u8]) -> bool {
    said.lock().windows(what.len()).any(|part| part == what)
}

#[tokio::test]
async fn a_request_and_a_command_are_traced_and_nothing_is_told_of_what_was_said() {
    bounded(async {
        let (endpoint, said) = collector().await;
        let site = Site::sqlite().await;
        let settings = [("TELEMETRY__OTLP_ENDPOINT", endpoint.as_str()), EVERYTHING];
        let mut server = site.start_with(&settings).await;
        let rest = Rest::new(server.target()).expect("doors");
        let ada = rest.guest(CANARY).await.expect("a guest");
        let rest = rest.with_token(&ada.access_token);
        let raid = rest
            .create(&long_raid(2), None)
            .await
            .expect("a raid")
            .state
            .id;
        rest.command(
            raid,
            None,
            &Command::Say {
                text: CANARY.into(),
            },
        )
        .await
        .expect("said");
        let mut wire = Wire::open(server.target(), Codec::Json, &ada.access_token).await;
        wire.watch(raid, None).await;
        wire.say(raid, CANARY).await;
        // A parent that a client makes up is not believed; the proxy's would be.
        let parent: [u8; 16] = [0xab; 16];
        let header = format!("00-{}-00f067aa0ba902b7-01", "ab".repeat(16));
        let client = Client::builder().no_proxy().build().expect("a client");
        client
            .get(server.target().url("/healthz"))
            .header("traceparent", header)
            .send()
            .await
            .expect("answered");
        // What is left is sent at the end.
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
            assert!(has(&said, name.as_bytes()), "{name}");
        }
        for secret in [
            CANARY.as_bytes(),
            ada.access_token.as_bytes(),
            b"127.0.0.1",
            &parent,
        ] {
            assert!(!has(&said, secret), "{secret:?}");
        }
    })
    .await;
}

#[tokio::test]
async fn a_trusted_proxy_s_trace_goes_on() {
    bounded(async {
        let (endpoint, said) = collector().await;
        let site = Site::sqlite().await;
        let trusted = ("SERVER__TRUSTED_PROXIES", "127.0.0.1");
        // None of our own choice: what it says is traced is.
        let settings = [
            ("TELEMETRY__OTLP_ENDPOINT", endpoint.as_str()),
            ("TELEMETRY__TRACES_PER_THOUSAND", "0"),
            trusted,
        ];
        let mut server = site.start_with(&settings).await;
        let client = Client::builder().no_proxy().build().expect("a client");
        let ask = |path: &str| client.get(server.target().url(path));
        ask("/readyz").send().await.expect("answered");
        let header = format!("00-{}-00f067aa0ba902b7-01", "ab".repeat(16));
        ask("/healthz")
            .header("traceparent", header)
            .send()
            .await
            .expect("answered");
        server.signal(Signal::TERM);
        assert_eq!(server.exit_code(Duration::from_secs(20)).await, Some(0));
        assert!(
            has(&said, &[0xab; 16]) && has(&said, b"GET /healthz") && !has(&said, b"GET /readyz")
        );
    })
    .await;
}

#[tokio::test]
async fn a_collector_that_is_not_there_holds_nobody_up() {
    bounded(async {
        let site = Site::sqlite().await;
        let nobody = target("127.0.0.1:1".parse().expect("an address")).url("");
        let settings = [
            ("TELEMETRY__OTLP_ENDPOINT", nobody.trim_end_matches('/')),
            EVERYTHING,
            METRICS,
        ];
        let mut server = site.start_with(&settings).await;
        let rest = Rest::new(server.target()).expect("doors");
        let ada = rest.guest("Ada").await.expect("a guest");
        let rest = rest.with_token(&ada.access_token);
        let raid = rest
            .create(&long_raid(2), None)
            .await
            .expect("a raid")
            .state
            .id;
        for _ in 0..50 {
            rest.me().await.expect("answered");
        }
        rest.command(raid, None, &Command::Start)
            .await
            .expect("done");
        eventually("sending fails", async || {
            server
                .metric("raidhall_trace_exports_total{outcome=\"failed\"}")
                .await
                > 0.0
        })
        .await;
        server.signal(Signal::TERM);
        assert_eq!(server.exit_code(Duration::from_secs(20)).await, Some(0));
    })
    .await;
}
