//! The metrics of servers in use: every metric that the dashboard and the alerts name exists, and a
//! thousand players make no more series than fifty.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use raidhall_loadtest::client::RestClient;
use raidhall_protocol::rest::NewRaid;
use raidhall_protocol::{ClientMessage, Codec, Command};
use serde_json::json;
use tokio::time::{sleep, timeout};

use crate::cluster::Cluster;
use crate::process::{TestDatabase, TestServer};
use crate::raid_group::{RaidGroup, long_raid};
use crate::telemetry::METRICS_SETTING;
use crate::test_socket::TestSocket;
use crate::with_timeout;

/// Returns every metric name in a text.
fn metric_names(text: &str) -> BTreeSet<String> {
    let is_part = |byte: char| byte.is_ascii_alphanumeric() || byte == '_';
    let words = text.split(|byte| !is_part(byte));
    words
        .filter(|word| word.starts_with("raidhall_") || word.starts_with("process_"))
        .map(Into::into)
        .collect()
}

/// Returns the series of a metrics page, without their values and without histogram buckets.
fn metric_series(page: &str) -> BTreeSet<String> {
    let lines = page
        .lines()
        .filter(|line| !line.starts_with('#') && !line.contains("le=\""));
    lines
        .filter_map(|line| line.rsplit_once(' '))
        .map(|(series, _)| series.to_owned())
        .collect()
}

/// Returns the names of the metrics on a metrics page.
fn exported_names(page: &str) -> BTreeSet<String> {
    let lines = page.lines().filter(|line| !line.starts_with('#'));
    lines
        .filter_map(|line| line.split(['{', ' ']).next())
        .map(Into::into)
        .collect()
}

#[tokio::test]
async fn every_metric_in_the_dashboard_and_alerts_is_exported() {
    with_timeout(async {
        let cluster =
            Cluster::start_on(TestDatabase::postgres().await, 2, &[METRICS_SETTING]).await;
        let group = RaidGroup::create_on(&cluster.targets, 2, &long_raid(2)).await;
        let token = group.add_member().await.access_token;
        for server in &cluster.servers {
            let mut socket =
                TestSocket::connect_authenticated(server.target(), Codec::Json, &token).await;
            socket.watch(group.raid, None).await;
            socket.say(group.raid, "hello").await;
        }
        let config = Path::new(env!("CARGO_MANIFEST_DIR")).join("config");
        for file in ["prometheus/alerts.yaml", "grafana/raidhall.json"] {
            let text = std::fs::read_to_string(config.join(file)).expect(file);
            let named = metric_names(&text);
            assert!(named.len() > 15, "{file}: {named:?}");
            // Some metrics are exported by one of the instances only.
            loop {
                let mut exported = BTreeSet::new();
                for server in &cluster.servers {
                    exported.extend(exported_names(&server.metrics_page().await));
                }
                let missing: Vec<_> = named.difference(&exported).collect();
                if missing.is_empty() {
                    break;
                }
                let since_started = cluster.servers[0]
                    .metric_sum("raidhall_event_loop_lag_seconds_count")
                    .await;
                assert!(
                    since_started < 300.0,
                    "{file} names metrics that no server exports: {missing:?}"
                );
                sleep(Duration::from_millis(200)).await;
            }
        }
    })
    .await;
}

/// Does what a typical visitor does, including refused requests. Returns the invite code of the
/// visitor's raid.
async fn run_visit(server: &TestServer, rest: &RestClient, invite: Option<&str>) -> String {
    let tokens = rest.sign_in_guest("visitor").await.expect("a guest");
    let own = rest.with_token(&tokens.access_token);
    let raid = match invite {
        None => own
            .create_raid(
                &NewRaid {
                    max_members: Some(100),
                    ..long_raid(90)
                },
                None,
            )
            .await
            .expect("a raid"),
        Some(invite) => own.join_raid(invite).await.expect("a member"),
    };
    let id = raid.state.id;
    let _ = (
        own.profile().await,
        own.raid(id).await,
        own.join_raid("22222222").await,
    );
    let mut socket =
        TestSocket::connect_authenticated(server.target(), Codec::Json, &tokens.access_token).await;
    socket.watch(id, None).await;
    // The second time is a duplicate.
    for _ in 0..2 {
        let text = "hello".into();
        let said = socket
            .execute(id, Some("once"), Command::Say { text })
            .await;
        said.expect("said");
    }
    let start = socket.execute(id, None, Command::Start).await;
    assert_eq!(start.is_err(), invite.is_some());
    socket
        .send(ClientMessage::Signal {
            id: None,
            raid: id,
            kind: "emote".into(),
            data: json!({"n": id}),
        })
        .await;
    socket
        .send(ClientMessage::Unwatch { id: None, raid: id })
        .await;
    socket.say(id, "bye").await;
    raid.state.invite_code
}

async fn run_visits(server: &TestServer, count: usize) {
    let rest = RestClient::with_targets((*server.target()).into()).expect("a REST client");
    let mut invite = None;
    for number in 0..count {
        if number % 50 == 0 {
            invite = None; // the next visitor creates another raid
        }
        let code = run_visit(server, &rest, invite.as_deref()).await;
        invite.get_or_insert(code);
    }
}

/// Returns all series once every connection has ended, so that their metrics are complete.
async fn series_after_disconnects(server: &TestServer) -> BTreeSet<String> {
    while server.metric_sum("raidhall_connections").await > 0.0 {
        sleep(Duration::from_millis(50)).await;
    }
    metric_series(&server.metrics_page().await)
}

#[tokio::test]
async fn a_thousand_players_make_no_more_metric_series_than_fifty() {
    with_timeout(async {
        let database = TestDatabase::sqlite().await;
        let server = database.start_with(&[METRICS_SETTING]).await;
        run_visits(&server, 50).await;
        let before = series_after_disconnects(&server).await;
        run_visits(&server, 950).await;
        let after = series_after_disconnects(&server).await;
        let more: Vec<_> = after.difference(&before).collect();
        assert!(more.is_empty(), "{more:?}");
        assert!(before.len() > 80, "{before:?}");
    })
    .await;
}

#[tokio::test]
async fn mute_connections_do_not_keep_prometheus_out() {
    with_timeout(async {
        let database = TestDatabase::sqlite().await;
        let server = database.start_with(&[METRICS_SETTING]).await;
        let address = server.metrics_address().await;
        let mut mute = Vec::new();
        for _ in 0..8 {
            let connection = tokio::net::TcpStream::connect(&address).await;
            mute.push(connection.expect("connect"));
        }
        let page = timeout(Duration::from_secs(8), server.metrics_page()).await;
        assert!(page.expect("in time").contains("raidhall_connections "));
        drop(mute);
    })
    .await;
}
