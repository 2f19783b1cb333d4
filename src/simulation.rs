//! A simulation of a whole cluster: instances from their listeners to one store, a bus, a network
//! and clients, on one thread and on paused time, under one seed.
//!
//! A [`Plan`] says who plays and what goes wrong when. The instances are the real ones; store, bus
//! and network are in memory and misbehave as planned. The clients are those of the load tester, and
//! its judge reads their logs at the end. The same plan gives the same run, so a plan that fails is
//! a test: [`shrink`](plan::shrink) removes what it does not need, and it is kept in
//! `src/simulation/plans`.

mod cluster;
mod deliveries;
mod disturbances;
mod entropy;
mod erasures;
mod network;
mod plan;
mod refusals;
mod tests;

use std::collections::hash_map::DefaultHasher;
use std::collections::{BTreeMap, BTreeSet};
use std::hash::{Hash, Hasher};
use std::process::Command;
use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::Duration;

use anyhow::Context;
use cluster::SimulatedCluster;
use deliveries::{Delivery, find_deliveries, find_late, find_undisturbed};
use disturbances::{Disturbance, find_calm_periods, find_disturbances, find_outages};
use erasures::{find_text_left, redact_outcome};
use parking_lot::Mutex;
use plan::{Fault, Plan, PlanStep, PlannedFault};
use raidhall_loadtest::client::RestClient;
use raidhall_loadtest::client_log::{ClientLog, Moment, RunClock};
use raidhall_loadtest::judge::{
    HealthyPeriod, StablePeriod, Violation, ViolationKind, check_commits, check_liveness,
    check_order, check_outsider, check_presence, check_stale_presence, check_views, check_visitor,
    judge, read_client_log,
};
use raidhall_loadtest::play::{
    BotGroup, BotHabits, BotPace, GroupOutcome, GroupPlan, OtherPlayers, TrafficCounters,
};
use raidhall_protocol::{Codec, PlayerId};
use refusals::check_refusals;
use serde::{Deserialize, Serialize};
use tokio::time::{Instant, sleep, timeout};

use crate::telemetry::render_metrics;

/// The environment variable that holds a plan, for a process that runs it.
const PLAN_VARIABLE: &str = "RAIDHALL_SIMULATE_PLAN";
/// The environment variable that names clients whose logs are printed, such as `0.1`: the second of
/// the first raid.
const CLIENT_VARIABLE: &str = "RAIDHALL_SIMULATE_CLIENT";
/// Precedes the outcome in the output of such a process.
const OUTCOME_MARK: &str = "outcome: ";
/// Longest time that a run may take, as the simulated clocks show it.
const RUN_TIME_MAX: Duration = Duration::from_secs(900);
/// Longest time that a run may take in reality. One that takes longer hangs.
const REAL_TIME_MAX: Duration = Duration::from_secs(300);
/// How long clients may take to connect.
const CONNECT_TIME_MAX: Duration = Duration::from_secs(60);
/// How long the cluster needs after the last fault until all is as before: until a jump of the
/// clock is accepted, and a player who was lost is shown offline.
const RECOVERY_TIME: Duration = Duration::from_secs(30);
/// The shortest time limit that a raid can have.
const TIME_LIMIT: Duration = Duration::from_secs(60);
/// How long after the last fault clients may still wait for answers that it delays.
const DISTURBED_TIME: Duration = Duration::from_secs(10);
/// How long a command may take once the cluster has recovered, its repeats included.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long an erasure may take. One whose instance ends is continued after a minute.
const ERASURE_TIME: Duration = Duration::from_secs(150);
/// Time for completing the final tasks.
const FINAL_TASK_TIME: Duration = Duration::from_secs(2);

/// The result of a run.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Outcome {
    /// Every violation of the protocol's promises, and every other fault, as text.
    violations: Vec<String>,
    /// A hash of all that clients sent and received, when, and of the ledgers.
    trace: u64,
    events: u64,
    acks: u64,
    /// The longest time that a member who is not hostile waited for an ack.
    ack_max_ms: u64,
    /// The longest time from the commit of an event until such a member had it.
    delivery_max_ms: u64,
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

    /// Returns the kinds of the violations: their texts up to the first number, without the client.
    fn kinds(&self) -> BTreeSet<String> {
        let kind = |text: &String| {
            let what = text.split_once("): ").map_or(&**text, |(_, what)| what);
            let is_word = |c: &char| !c.is_ascii_digit();
            what.chars().take_while(is_word).collect()
        };
        self.violations.iter().map(kind).collect()
    }
}

/// Runs a plan in a process of its own: what one process initializes once, and counts, must not
/// depend on earlier runs.
fn run(plan: &Plan) -> Outcome {
    let program = std::env::current_exe().expect("this program");
    let output = Command::new(program)
        .args([
            "--exact",
            "simulation::tests::one_plan",
            "--ignored",
            "--nocapture",
        ])
        .env(PLAN_VARIABLE, serde_json::to_string(plan).expect("JSON"))
        .output()
        .expect("the program starts");
    let printed = String::from_utf8_lossy(&output.stdout);
    let outcome = printed
        .lines()
        .find_map(|line| serde_json::from_str(line.split_once(OUTCOME_MARK)?.1).ok());
    outcome.unwrap_or_else(|| Outcome {
        violations: vec![format!(
            "the run ended with {}: {}",
            output.status,
            String::from_utf8_lossy(&output.stderr)
        )],
        ..Outcome::default()
    })
}

/// Runs a plan on a new thread, which has drawn nothing random before. A panic of any task is a
/// violation, even if the server goes on.
fn run_here(plan: Plan) -> Outcome {
    let panics = Arc::<Mutex<Vec<String>>>::default();
    let seen = Arc::clone(&panics);
    std::panic::set_hook(Box::new(move |panic| seen.lock().push(panic.to_string())));
    let (running, ended) = mpsc::channel::<()>();
    std::thread::spawn(move || {
        if ended.recv_timeout(REAL_TIME_MAX) == Err(RecvTimeoutError::Timeout) {
            eprintln!("the run hangs");
            std::process::abort();
        }
    });
    let mut outcome = run_on_new_thread(plan);
    drop(running);
    drop(std::panic::take_hook());
    outcome.violations.append(&mut panics.lock());
    outcome
}

fn run_on_new_thread(plan: Plan) -> Outcome {
    let thread = std::thread::spawn(move || {
        entropy::seed_thread(plan.seed);
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .expect("a runtime");
        runtime.block_on(async {
            let run = timeout(RUN_TIME_MAX, simulate(&plan)).await;
            run.context("the run took too long")
                .flatten()
                .unwrap_or_else(|error| Outcome {
                    violations: vec![format!("{error:#}")],
                    ..Outcome::default()
                })
        })
    });
    // The hook has recorded the panic.
    thread.join().unwrap_or_default()
}

async fn simulate(plan: &Plan) -> anyhow::Result<Outcome> {
    let mut cluster = SimulatedCluster::start(plan).await;
    let clock = RunClock::start();
    let rest = RestClient::with_targets(cluster.targets())?;
    let traffic = Arc::<TrafficCounters>::default();
    let mut groups = Vec::new();
    for index in 0..plan.raids {
        let mut group = BotGroup::create(&rest, group_plan(plan, index)).await?;
        group.connect(&rest, clock, &traffic);
        groups.push(group);
    }
    let connecting = async {
        while groups
            .iter()
            .any(|it| it.fully_online_count() < it.player_count())
        {
            sleep(Duration::from_millis(50)).await;
        }
    };
    timeout(CONNECT_TIME_MAX, connecting)
        .await
        .context("not all clients could connect and see each other")?;
    let all_online = clock.now();
    cluster.begin_random_failures();
    for group in &groups {
        group.start_playing();
    }
    let began = Instant::now();
    let outages = find_outages(plan, clock.now());
    let disturbances = find_disturbances(plan, clock.now());
    for (at, step) in plan.steps() {
        cluster.run_until(began + at).await;
        cluster.apply(step).await;
    }
    cluster.run_until(began + plan.play_time()).await;
    cluster.heal().await;
    sleep(DISTURBED_TIME).await;
    let from = clock.now();
    sleep(RECOVERY_TIME - DISTURBED_TIME).await;
    let healthy = HealthyPeriod {
        from,
        to: clock.now(),
        // A command that is over the limit is repeated later and later.
        patience: if plan.has_floods {
            RECOVERY_TIME
        } else {
            PATIENCE
        },
    };
    if let Some(fault) = plan.last_fault {
        cluster.apply(PlanStep::Begin(fault)).await;
    }
    for group in &groups {
        group.complete_final_task();
    }
    sleep(FINAL_TASK_TIME).await;
    cluster.heal().await;
    let last_fault_ended = clock.now();
    if plan.last_fault.is_some() {
        sleep(RECOVERY_TIME).await;
    }
    let mut outcomes = Vec::new();
    for group in groups {
        let mut outcome = group.settle().await?;
        if let Some(player) = erased_player(&outcome) {
            redact_outcome(&mut outcome, player);
        }
        outcomes.push(outcome);
    }
    let limits = cluster::config(plan).sessions;
    let stable = StablePeriod {
        from: all_online,
        to: healthy.to,
        presence_grace: limits.presence_grace,
        leader_grace: limits.leader_grace,
        outages,
    };
    let mut outcome = judge_outcomes(&outcomes, &healthy, &stable, &disturbances);
    for group in &outcomes {
        let times = cluster.commit_times(group.raid);
        let committed = times
            .into_iter()
            .map(|(seq, time)| (seq, clock.moment_of(time)))
            .collect::<BTreeMap<_, _>>();
        let early = group
            .ledgers
            .iter()
            .flat_map(|log| check_commits(log, &committed));
        outcome.violations.extend(early.map(|it| it.to_string()));
        for log in &group.ledgers {
            let deliveries = find_deliveries(log, &committed);
            outcome.add_waits(log, &deliveries);
            let periods = find_undisturbed(plan, log, &healthy, last_fault_ended);
            let late = find_late(log, &deliveries, &periods);
            outcome.violations.extend(late);
        }
        outcome.violations.extend(check_refusals(group, &committed));
    }
    if outcomes.iter().any(|it| erased_player(it).is_some()) {
        sleep(ERASURE_TIME).await;
    }
    sleep(cluster.idle_time()).await;
    for group in &outcomes {
        let events = cluster.events(group.raid).await;
        let erased = erased_player(group);
        let left = erased.and_then(|player| find_text_left(&events, player));
        let late = cluster.check_deadline(group.raid, &events);
        outcome.violations.extend(left.into_iter().chain(late));
    }
    outcome.violations.extend(cluster.stop().await);
    outcome.violations.extend(counted_defects(plan));
    Ok(outcome)
}

/// Returns the player whose account was closed while the group played.
fn erased_player(outcome: &GroupOutcome) -> Option<PlayerId> {
    let visitor = outcome.visitor.as_ref().filter(|it| it.is_erased)?;
    visitor.shut_out.map(|_| visitor.player)
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

fn group_plan(plan: &Plan, index: usize) -> GroupPlan {
    GroupPlan {
        index,
        players: plan.players,
        codecs: &[Codec::Json, Codec::MessagePack],
        seed: plan.seed.wrapping_mul(1_000_003).wrapping_add(index as u64),
        pace: BotPace {
            commands_per_second: if plan.has_floods { 40.0 } else { 2.0 },
            signals_per_second: 0.5,
            reads_per_second: 0.5,
            poll_interval: Duration::from_millis(200),
        },
        is_winnable: index.is_multiple_of(2),
        time_limit: plan.has_time_limit.then_some(TIME_LIMIT),
        habits: BotHabits {
            may_leave: true,
            may_moderate: true,
            sends_copies: true,
            // Floods get many watches refused, which ends the former ones.
            has_odd_watches: !plan.has_floods,
            may_go_away: plan.has_absences,
        },
        active_players: plan.players,
        others: OtherPlayers {
            has_outsider: true,
            operator_token: plan.has_visitors.then(cluster::operator_token),
            has_hostile_member: plan.has_hostile_members,
        },
    }
}

fn judge_outcomes(
    outcomes: &[GroupOutcome],
    healthy: &HealthyPeriod,
    stable: &StablePeriod,
    disturbances: &[Disturbance],
) -> Outcome {
    let mut result = Outcome::default();
    let mut trace = DefaultHasher::new();
    let calm_periods = find_calm_periods(stable.period(), disturbances);
    let may_hide_players = |at_ms: u64| {
        let at = Moment(at_ms * 1_000);
        disturbances
            .iter()
            .any(|it| it.hides_players && it.period.contains(at))
    };
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
            ViolationKind::FalseOffline { at_ms, .. } => !may_hide_players(at_ms),
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
