//! The checks of a run that has ended.

use std::collections::hash_map::DefaultHasher;
use std::collections::{BTreeMap, BTreeSet};
use std::hash::{Hash, Hasher};
use std::time::Duration;

use raidhall_loadtest::client_log::{ClientLog, Moment};
use raidhall_loadtest::judge::{
    Violation, ViolationKind, check_commits, check_liveness, check_order, check_outsider,
    check_presence, check_stale_presence, check_views, check_visitor, judge, read_client_log,
};
use raidhall_loadtest::play::GroupOutcome;
use raidhall_protocol::Seq;
use tokio::time::sleep;

use super::cluster::SimulatedCluster;
use super::deliveries::{Delivery, find_deliveries, find_late, find_undisturbed};
use super::disturbances::find_calm_periods;
use super::erasures::find_text_left;
use super::game::{Game, erased_player};
use super::plan::{Fault, Plan, PlannedFault};
use super::progress::check_progress;
use super::refusals::check_refusals;
use super::{CLIENT_VARIABLE, Outcome};
use crate::telemetry::render_metrics;

/// How long an erasure may take. One whose instance ends is continued after a minute, as the
/// database's clock shows it when the erasure is taken.
const ERASURE_TIME: Duration = Duration::from_secs(150);

/// Judges a game, and then the cluster at rest, which it stops.
pub(super) async fn judge_game(plan: &Plan, game: &Game, cluster: SimulatedCluster) -> Outcome {
    let mut outcome = judge_groups(game);
    for group in &game.outcomes {
        let times = cluster.commit_times(group.raid).into_iter();
        let committed = times.map(|(seq, time)| (seq, game.clock.moment_of(time)));
        check_times(plan, game, group, &committed.collect(), &mut outcome);
    }
    outcome
        .violations
        .extend(check_rest(plan, game, cluster).await);
    outcome.violations.extend(counted_defects(plan));
    outcome
}

/// Compares what a group's clients received, and when, with when it was committed.
fn check_times(
    plan: &Plan,
    game: &Game,
    group: &GroupOutcome,
    committed: &BTreeMap<Seq, Moment>,
    outcome: &mut Outcome,
) {
    for log in &group.ledgers {
        let early = check_commits(log, committed);
        outcome
            .violations
            .extend(early.iter().map(ToString::to_string));
        let deliveries = find_deliveries(log, committed);
        outcome.add_waits(log, &deliveries);
        let periods = find_undisturbed(plan, log, &game.healthy, game.last_fault_ended);
        outcome
            .violations
            .extend(find_late(log, &deliveries, &periods));
    }
    outcome.violations.extend(check_refusals(group, committed));
}

/// Checks the cluster once nothing happens any more: erased texts, deadlines, and what is left of
/// tasks, queues and maps.
async fn check_rest(plan: &Plan, game: &Game, cluster: SimulatedCluster) -> Vec<String> {
    if game.outcomes.iter().any(|it| erased_player(it).is_some()) {
        sleep(ERASURE_TIME + plan.total_clock_jump()).await;
    }
    sleep(cluster.idle_time()).await;
    let mut violations = Vec::new();
    let mut ledgers = BTreeMap::new();
    for group in &game.outcomes {
        let events = cluster.events(group.raid).await;
        let erased = erased_player(group);
        violations.extend(erased.and_then(|player| find_text_left(&events, player)));
        violations.extend(cluster.check_deadline(group.raid, &events));
        ledgers.insert(group.raid, events);
    }
    let erased: BTreeSet<_> = game.outcomes.iter().filter_map(erased_player).collect();
    violations.extend(check_progress(&cluster, &ledgers, &erased).await);
    let devices = game.devices.iter();
    for device in devices.filter(|it| !erased.contains(&it.player())) {
        violations.extend(device.check(&cluster.stream(device.player()).await));
    }
    violations.extend(cluster.stop().await);
    violations
}

/// Judges what the clients sent and received, and what the server says at the end.
fn judge_groups(game: &Game) -> Outcome {
    let Game {
        outcomes,
        healthy,
        stable,
        disturbances,
        ..
    } = game;
    let mut result = Outcome::default();
    let mut trace = DefaultHasher::new();
    let calm_periods = find_calm_periods(stable.period(), disturbances);
    for outcome in outcomes {
        let GroupOutcome { raid, ledgers, .. } = outcome;
        let record = Some(&outcome.server_record);
        let verdict = judge(*raid, ledgers, record);
        let mut violations = verdict.violations;
        violations.extend(check_liveness(ledgers, record, healthy));
        violations.extend(ledgers.iter().flat_map(check_order));
        violations.extend(outcome.outsider_log.iter().flat_map(check_outsider));
        let visitor = outcome.visitor.iter();
        violations.extend(
            visitor.flat_map(|it| check_visitor(it, &outcome.server_record, &calm_periods)),
        );
        violations.extend(check_views(
            *raid,
            ledgers,
            &outcome.server_record,
            &outcome.views,
        ));
        let presence = check_presence(*raid, ledgers, record, stable).violations;
        let is_false = |violation: &Violation| match violation.kind {
            ViolationKind::FalseOffline { at_ms, .. } => {
                let at = Moment(at_ms * 1_000);
                !disturbances
                    .iter()
                    .any(|it| it.may_hide_players(&violation.client, at, ledgers))
            }
            _ => true,
        };
        violations.extend(presence.into_iter().filter(is_false));
        violations.extend(check_stale_presence(
            *raid,
            ledgers,
            record,
            stable,
            &calm_periods,
        ));
        result
            .violations
            .extend(violations.iter().map(ToString::to_string));
        result.events += verdict.history_events;
        result.acks += verdict.acks;
        format!("{:?}", outcome.server_record.events).hash(&mut trace);
        let visitor_logs = outcome.visitor.iter().flat_map(|it| &it.logs);
        let other_logs = outcome.outsider_log.iter().chain(visitor_logs);
        for log in outcome.ledgers.iter().chain(other_logs) {
            format!("{:?}", log.entries()).hash(&mut trace);
            print_log(log);
        }
    }
    result.trace = trace.finish();
    result
}

/// Prints the log of a client that the environment names.
fn print_log(log: &ClientLog) {
    if std::env::var(CLIENT_VARIABLE).is_ok_and(|client| log.client.starts_with(&client)) {
        for entry in log.entries() {
            let millis = entry.at.0 / 1_000;
            eprintln!("{} {millis} {:?}", log.client, entry.observation);
        }
    }
}

impl Outcome {
    fn add_waits(&mut self, log: &ClientLog, deliveries: &[Delivery]) {
        let summary = read_client_log(log);
        let acks = summary.commands.values().filter_map(|command| {
            let (at, ..) = command.ack?;
            Some(at.since(command.first_sent) / 1_000)
        });
        self.ack_max_ms = acks.fold(self.ack_max_ms, u64::max);
        let deliveries = deliveries.iter().map(Delivery::millis);
        self.delivery_max_ms = deliveries.fold(self.delivery_max_ms, u64::max);
    }
}

/// Returns the metrics that count defects and are not 0.
fn counted_defects(plan: &Plan) -> Vec<String> {
    let is_refused = |planned: &PlannedFault| matches!(planned.fault, Fault::CommitsRefused { .. });
    let mut defects = vec!["raidhall_history_lost_total "];
    if !plan.faults.iter().any(is_refused) {
        defects.push("raidhall_session_reloads_total{cause=\"refused\"} ");
    }
    let metrics = render_metrics();
    let is_0 = |defect: &&str| metrics.lines().any(|line| line == format!("{defect}0"));
    defects.retain(|defect| !is_0(defect));
    defects
        .into_iter()
        .map(|defect| format!("{defect}is not 0"))
        .collect()
}
