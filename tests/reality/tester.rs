//! The load tester with real processes: it starts, kills, freezes and ends them, plays meanwhile, and judges. One node
//! on SQLite, so that neither a bus nor another node has a part in it.

use std::path::Path;
use std::time::Duration;

use raidhall_loadtest::client::Rest;
use raidhall_loadtest::report::Report;
use raidhall_loadtest::run::{Codecs, Disturb, Nodes, Steady, cluster_on};
use raidhall_loadtest::spawn::{Server, Setup};
use tokio::time::timeout;

use crate::bounded;

fn setup() -> Setup {
    let binary = Path::new(env!("CARGO_BIN_EXE_raidhall")).to_owned();
    Setup {
        binary,
        database: None,
        bus: None,
        settings: Vec::new(),
    }
}

async fn play(disturb: Disturb) -> Report {
    let nodes =
        Nodes::of(vec![Server::start_with(setup()).await.expect("a server")]).expect("a node");
    let steady = Steady {
        raids: 2,
        players: 3,
        seconds: 5,
        signals_per_second: 1.0,
        commands_per_second: 10.0,
        codec: Codecs::Both,
        seed: 1,
    };
    cluster_on(nodes, &steady, &disturb)
        .await
        .expect("a report")
}

#[tokio::test]
async fn a_node_that_is_killed_again_and_again_is_measured_and_judged() {
    bounded(async {
        let report = play(Disturb {
            kill_every: Some(2),
            dead_ms: 300,
            ..Disturb::default()
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
async fn a_node_that_is_frozen_keeps_its_connections_and_their_waits_are_told_apart() {
    bounded(async {
        let report = play(Disturb {
            stop_every: Some(1),
            ..Disturb::default()
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
async fn a_node_is_deployed_as_often_as_told_and_the_judge_looks_for_traces() {
    bounded(async {
        let report = play(Disturb {
            roll: Some(2),
            ..Disturb::default()
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
        // Everything but what a lone node shows of its deploy must hold.
        let traces = figures.shown_gone + figures.deposed;
        assert_eq!(report.violations.len() as u64, traces, "{report}");
        assert!(
            report
                .violations
                .iter()
                .all(|violation| violation.contains("shown gone")),
            "{report}"
        );
    })
    .await;
}

#[tokio::test]
async fn a_server_comes_back_on_its_port_and_one_that_ends_by_itself_is_noticed() {
    bounded(async {
        let mut server = Server::start_with(setup()).await.expect("a server");
        let (target, pid) = (server.target(), server.pid());
        server.kill().await.expect("killed");
        server.resume().await.expect("started again");
        assert!(server.target() == target && server.pid() != pid);
        let rest = Rest::new(&target).expect("doors");
        server.freeze().await.expect("frozen");
        let asked = timeout(Duration::from_millis(300), rest.ready()).await;
        assert!(
            asked.is_err(),
            "a frozen server answers nothing, not {asked:?}"
        );
        server.thaw().expect("thawed");
        assert!(rest.ready().await);

        let pid = server
            .pid()
            .and_then(|pid| rustix::process::Pid::from_raw(i32::try_from(pid).ok()?));
        rustix::process::kill_process(pid.expect("it runs"), rustix::process::Signal::KILL)
            .expect("killed");
        while server.crashed().expect("its status").is_none() {
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
