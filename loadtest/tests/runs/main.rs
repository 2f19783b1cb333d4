//! Whole runs against a small server that keeps the contract, and against ones that break it in one way each.

#![allow(clippy::unwrap_used, reason = "a test may panic")]
#![allow(
    clippy::disallowed_methods,
    reason = "the fake's tasks end with the test's runtime"
)]

mod fake;
mod falling_over;

use fake::{Fault, serve};
use raidhall_loadtest::report::Report;
use raidhall_loadtest::run::{Codecs, HostArgs, Smoke, smoke};

async fn play(fault: Fault) -> Report {
    let url = serve(fault).await;
    let args = Smoke {
        host: HostArgs {
            spawn: None,
            url,
            database: None,
        },
        raids: 2,
        players: 4,
        seconds: 2,
        signals_per_second: 10.0,
        commands_per_second: 15.0,
        codec: Codecs::Both,
        seed: 7,
    };
    smoke(&args).await.unwrap()
}

async fn convict(fault: Fault, of: &str) {
    let report = play(fault).await;
    let found = report
        .violations
        .iter()
        .any(|violation| violation.contains(of));
    assert!(found, "{fault:?} was not convicted of {of:?}: {report}");
}

#[tokio::test]
async fn a_server_that_keeps_the_contract_is_innocent_and_measured() {
    let report = play(Fault::None).await;
    assert!(report.violations.is_empty(), "{report}");
    assert!(
        report.judged.acks > 100 && report.judged.history > 100,
        "{report}"
    );
    assert!(
        report.signal_latency.count > 100 && report.event_latency.count > 100,
        "{report}"
    );
    assert!(
        report.ack_latency.max_ms > 0.0 && report.deliveries_per_second > 100.0,
        "{report}"
    );
}

#[tokio::test]
async fn a_server_that_cuts_connections_is_innocent_as_long_as_it_replays() {
    let report = play(Fault::CutsConnections).await;
    assert!(report.violations.is_empty(), "{report}");
    assert!(
        report.counted.reconnects > 0 && report.judged.replays == report.judged.resumes,
        "{report}"
    );
    assert!(
        report.judged.repeats > 0,
        "an op was sent again and answered as a repeat: {report}"
    );
}

#[tokio::test]
async fn a_server_that_loses_an_event_on_the_way_is_convicted() {
    convict(Fault::SkipsEvents, "hole").await;
}

#[tokio::test]
async fn a_server_that_acks_ahead_of_the_event_is_convicted() {
    convict(Fault::AcksFirst, "ack of").await;
}

#[tokio::test]
async fn a_server_that_does_a_command_twice_is_convicted() {
    convict(Fault::DoesTwice, "double effect").await;
}

#[tokio::test]
async fn a_server_that_acknowledges_and_forgets_is_convicted() {
    convict(Fault::Forgets, "lost").await;
}

#[tokio::test]
async fn a_server_that_forgets_ops_is_convicted_once_connections_are_cut() {
    convict(Fault::ForgetsOps, "double effect").await;
}

#[tokio::test]
async fn a_server_that_answers_resumes_with_snapshots_is_convicted() {
    convict(Fault::NeverReplays, "resumes were replays").await;
}
