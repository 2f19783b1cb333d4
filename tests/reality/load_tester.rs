//! The load tester with real processes: it starts, kills, freezes and stops servers, plays
//! meanwhile, and judges. One node on SQLite, so that neither a bus nor another node is involved;
//! several only where players' devices are connected to different ones.

use std::path::Path;
use std::time::Duration;

use raidhall_loadtest::client::RestClient;
use raidhall_loadtest::report::Report;
use raidhall_loadtest::run::{
    Codecs, DisturbanceArgs, Nodes, SteadyLoadArgs, StreamLoadArgs, run_on_nodes,
    run_players_on_nodes,
};
use raidhall_loadtest::server_process::{ServerProcess, ServerProcessOptions};
use tokio::time::timeout;

use crate::process::TestDatabase;
use crate::redis::RedisProcess;
use crate::with_timeout;

fn server_options() -> ServerProcessOptions {
    let binary = Path::new(env!("CARGO_BIN_EXE_raidhall")).to_owned();
    ServerProcessOptions {
        binary,
        database: None,
        bus: None,
        settings: Vec::new(),
    }
}

/// Starts nodes on a database and a Redis, each with these settings.
pub async fn start_nodes(
    count: usize,
    database: &TestDatabase,
    redis: &RedisProcess,
    settings: &[(&str, &str)],
) -> Nodes {
    let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    let options = ServerProcessOptions {
        database: Some(database.url()),
        bus: Some(redis.url()),
        settings: settings.iter().map(owned).collect(),
        ..server_options()
    };
    let mut servers = Vec::new();
    for _ in 0..count {
        let server = ServerProcess::start_with(options.clone()).await;
        servers.push(server.expect("a node"));
    }
    Nodes::from_servers(servers).expect("nodes")
}

fn steady_load(raids: usize, players: u16, seconds: u64) -> SteadyLoadArgs {
    SteadyLoadArgs {
        raids,
        players,
        seconds,
        signals_per_second: 1.0,
        commands_per_second: 10.0,
        codec: Codecs::Both,
        seed: 1,
    }
}

async fn run_disturbed(disturb: DisturbanceArgs) -> Report {
    let nodes = Nodes::from_servers(vec![
        ServerProcess::start_with(server_options())
            .await
            .expect("a server"),
    ])
    .expect("a node");
    run_on_nodes(nodes, &steady_load(2, 3, 5), &disturb)
        .await
        .expect("a report")
}

#[tokio::test]
async fn the_load_tester_measures_and_judges_repeated_node_kills() {
    with_timeout(async {
        let report = run_disturbed(DisturbanceArgs {
            kill_every: Some(2),
            dead_ms: 300,
            ..DisturbanceArgs::default()
        })
        .await;
        assert!(report.violations.is_empty(), "{report}");
        let figures = report.cluster.as_ref().expect("figures");
        assert_eq!(
            (figures.kills, figures.stops, figures.rolls),
            (2, 0, 0),
            "{report}"
        );
        assert_eq!(figures.timeline.len(), 4, "{report}");
        assert!(
            figures.stood.wait.count > 50 && figures.stood.longest.is_some(),
            "{report}"
        );
        assert!(
            report.judged.resumes >= 12 && report.counted.reconnects >= 12,
            "{report}"
        );
    })
    .await;
}

#[tokio::test]
async fn the_load_tester_counts_waits_for_a_frozen_node_separately() {
    with_timeout(async {
        let report = run_disturbed(DisturbanceArgs {
            stop_every: Some(1),
            ..DisturbanceArgs::default()
        })
        .await;
        assert!(report.violations.is_empty(), "{report}");
        let figures = report.cluster.as_ref().expect("figures");
        assert_eq!((figures.kills, figures.stops), (0, 1), "{report}");
        assert!(figures.frozen.wait.max_ms > 5_000.0, "{report}");
        assert!(
            figures.stood.wait.max_ms < figures.frozen.wait.max_ms,
            "{report}"
        );
    })
    .await;
}

#[tokio::test]
async fn the_load_tester_runs_the_configured_deploys_and_judges_them() {
    with_timeout(async {
        let report = run_disturbed(DisturbanceArgs {
            roll: Some(2),
            ..DisturbanceArgs::default()
        })
        .await;
        let figures = report.cluster.as_ref().expect("figures");
        assert_eq!((figures.kills, figures.rolls), (0, 2), "{report}");
        assert_eq!(
            figures.stood.wait.count + figures.torn.wait.count,
            report.judged.acks,
            "{report}"
        );
        assert!(
            report.counted.reconnects >= 6 && report.counted.ends.contains_key("4200"),
            "{report}"
        );
        // A lone node cannot hide its deploy: that players are shown offline is the only violation
        // allowed.
        let presence_violations = figures.shown_gone + figures.deposed;
        assert_eq!(
            report.violations.len() as u64,
            presence_violations,
            "{report}"
        );
        assert!(
            report
                .violations
                .iter()
                .all(|violation| violation.contains("shown offline")),
            "{report}"
        );
    })
    .await;
}

#[tokio::test]
async fn the_devices_of_players_agree_on_every_effect_over_node_kills() {
    with_timeout(async {
        let database = TestDatabase::postgres().await;
        let redis = RedisProcess::start().await;
        let nodes = start_nodes(3, &database, &redis, &[]).await;
        let disturb = DisturbanceArgs {
            kill_every: Some(3),
            dead_ms: 300,
            ..DisturbanceArgs::default()
        };
        let streams = StreamLoadArgs {
            devices: 3,
            contributions_per_second: 10.0,
            settings_per_second: 0.5,
            effect_seconds: 5,
        };
        let report = run_players_on_nodes(nodes, &steady_load(3, 2, 8), &disturb, &streams)
            .await
            .expect("a report");
        assert!(report.violations.is_empty(), "{report}");
        assert!(report.counted.kills >= 2, "{report}");
        let figures = report.players.as_ref().expect("figures");
        assert_eq!((figures.players, figures.devices), (2, 3), "{report}");
        assert!(
            figures.effects > 50 && figures.acks > 10 && figures.resumes > 0,
            "{report}"
        );
        assert!(figures.effect_lag.count > 50, "{report}");
        let first = &figures.state_hashes[0];
        assert_eq!(figures.state_hashes.len(), 3, "{report}");
        assert!(
            figures.state_hashes.iter().all(|hash| hash == first),
            "{report}"
        );
    })
    .await;
}

#[tokio::test]
async fn a_restarted_server_keeps_its_port_and_an_unexpected_exit_is_noticed() {
    with_timeout(async {
        let mut server = ServerProcess::start_with(server_options())
            .await
            .expect("a server");
        let target = server.target();
        let pid = server.pid();
        server.kill().await.expect("killed");
        server.restart().await.expect("started again");
        assert!(server.target() == target && server.pid() != pid);
        let rest = RestClient::new(&target).expect("a REST client");
        server.freeze().await.expect("frozen");
        let response = timeout(Duration::from_millis(300), rest.is_ready()).await;
        assert!(
            response.is_err(),
            "a frozen server responds to nothing, not {response:?}"
        );
        server.thaw().expect("thawed");
        assert!(rest.is_ready().await);

        let pid = server
            .pid()
            .and_then(|pid| rustix::process::Pid::from_raw(i32::try_from(pid).ok()?));
        rustix::process::kill_process(pid.expect("it runs"), rustix::process::Signal::KILL)
            .expect("killed");
        while server.unexpected_exit().expect("its status").is_none() {
            tokio::task::yield_now().await;
        }
        assert!(
            server
                .kill()
                .await
                .expect_err("noticed")
                .to_string()
                .contains("ended by itself")
        );
    })
    .await;
}
