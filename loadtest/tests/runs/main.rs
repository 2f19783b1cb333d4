//! Whole runs against a small server that keeps the contract, and against variants that break it in
//! one way each.

#![allow(clippy::unwrap_used, reason = "a test may panic")]
#![allow(
    clippy::disallowed_methods,
    reason = "the fake server's tasks end with the test's runtime"
)]

mod failover;
mod fake;

use fake::{FakeFault, serve_one};
use raidhall_loadtest::report::Report;
use raidhall_loadtest::run::{Codecs, RunServerArgs, SmokeArgs, smoke};

async fn run_smoke(fault: FakeFault) -> Report {
    let url = serve_one(fault).await;
    let args = SmokeArgs {
        host: RunServerArgs {
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

async fn assert_violation(fault: FakeFault, of: &str) {
    let report = run_smoke(fault).await;
    let found = report
        .violations
        .iter()
        .any(|violation| violation.contains(of));
    assert!(found, "{fault:?} was not reported as {of:?}: {report}");
}

#[tokio::test]
async fn a_correct_server_passes_and_is_measured() {
    let report = run_smoke(FakeFault::None).await;
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
async fn a_server_that_cuts_connections_but_replays_passes() {
    let report = run_smoke(FakeFault::CutsConnections).await;
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
async fn a_server_that_skips_events_fails_the_run() {
    assert_violation(FakeFault::SkipsEvents, "hole").await;
}

#[tokio::test]
async fn a_server_that_acks_before_the_event_fails_the_run() {
    assert_violation(FakeFault::AcksBeforeEvents, "ack of").await;
}

#[tokio::test]
async fn a_server_that_executes_a_command_twice_fails_the_run() {
    assert_violation(FakeFault::RepeatsEffects, "double effect").await;
}

#[tokio::test]
async fn a_server_that_loses_acknowledged_commands_fails_the_run() {
    assert_violation(FakeFault::LosesEvents, "lost").await;
}

#[tokio::test]
async fn a_server_that_forgets_ops_fails_the_run_after_reconnects() {
    assert_violation(FakeFault::ForgetsOps, "double effect").await;
}

#[tokio::test]
async fn a_server_that_answers_resumes_with_snapshots_fails_the_run() {
    assert_violation(FakeFault::NeverReplays, "resumes were replays").await;
}
