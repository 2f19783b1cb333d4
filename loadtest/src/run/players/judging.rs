//! Judges the players' streams after a run, and measures how long effects took.

use std::time::Duration;

use crate::client_log::{ClientLog, Moment};
use crate::judge::{
    ExpectedEffect, RaidEventArrivals, StreamCase, StreamViolation, Violation, check_answers,
    judge_players,
};
use crate::play::{BackendResult, GroupOutcome};
use crate::report::{ClientLogDump, PlayerFigures, Report};
use crate::run::CLIENT_LOGS_MAX;

/// The players' streams when everything has settled, and what they must have.
pub(super) struct SettledStreams {
    pub(super) cases: Vec<StreamCase>,
    pub(super) expected: Vec<ExpectedEffect>,
    /// When the bots played.
    pub(super) period: (Moment, Moment),
    /// What each connection of the host app's backend sent and received.
    pub(super) backend: Vec<BackendResult>,
    /// How late an effect may be; `None` if nodes were disturbed.
    pub(super) lag_max: Option<Duration>,
}

impl SettledStreams {
    /// Judges the streams, and adds violations and figures to the report of the raids.
    pub(super) fn add_to(&self, report: &mut Report, outcomes: &[GroupOutcome]) {
        let verdict = judge_players(&self.cases, &self.expected);
        let mut raids = RaidEventArrivals::default();
        for log in outcomes.iter().flat_map(|outcome| &outcome.ledgers) {
            raids.add(log);
        }
        let arrivals = &verdict.arrivals;
        let mut violations = verdict.violations;
        if let Some(lag_max) = self.lag_max {
            violations.extend(arrivals.find_late(&raids, self.period, lag_max));
        }
        let mut backend_acks = 0;
        for (logs, counts) in &self.backend {
            report.counted.add(counts);
            backend_acks += counts.acks;
            for log in logs {
                add_unanswered(report, log);
            }
        }
        let lag = arrivals.measure(&raids, self.period).percentiles();
        let devices = verdict.state_hashes.len();
        let per_second = |count: f64| count / report.seconds.max(0.001);
        let hash = |hash: &u64| format!("{hash:016x}");
        report.players = Some(PlayerFigures {
            players: self.cases.len(),
            devices,
            events: verdict.stream_events,
            effects: verdict.effects,
            received: verdict.received_events,
            acks: verdict.acks,
            grants: verdict.grants,
            resumes: verdict.resumes,
            backend_acks_per_second: per_second(backend_acks as f64),
            effects_per_second: per_second(lag.count as f64 / devices.max(1) as f64),
            effect_lag: lag,
            state_hashes: verdict.state_hashes.iter().map(hash).collect(),
        });
        self.add_evidence(report, &violations);
        let texts = violations.iter().map(StreamViolation::to_string);
        report.violations.extend(texts);
    }

    /// Adds the logs of the devices of players with a violation.
    fn add_evidence(&self, report: &mut Report, violations: &[StreamViolation]) {
        let is_wrong = |case: &&StreamCase| {
            let player = case.record.player.id;
            violations.iter().any(|found| found.player == player)
        };
        let wrong = self.cases.iter().filter(is_wrong);
        let logs = wrong.flat_map(|case| &case.devices);
        let room = CLIENT_LOGS_MAX.saturating_sub(report.evidence.len());
        let logs = logs.take(room).map(ClientLogDump::from_stream_log);
        report.evidence.extend(logs);
    }
}

/// Adds the commands of the backend that were never answered, with the log.
fn add_unanswered(report: &mut Report, log: &ClientLog) {
    let unanswered = check_answers(log);
    if !unanswered.is_empty() && report.evidence.len() < CLIENT_LOGS_MAX {
        report.evidence.push(ClientLogDump::from_log(log));
    }
    let texts = unanswered.iter().map(Violation::to_string);
    report.violations.extend(texts);
}
