//! Runs of the simulator: a few seeds with every run of the tests, as many as wanted with
//! `make simulate`, and every plan that ever failed.

use std::fmt::Write as _;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

use super::plan::{Plan, shrink};
use super::{OUTCOME_MARK, Outcome, PLAN_VARIABLE, run, run_here};

/// Seeds that are run if the environment names no others.
const DEFAULT_SEEDS: u64 = 24;

/// By how much a hostile member may delay others: the time of a few commits, beside those of the
/// others.
const HOSTILE_DELAY_MAX_MS: u64 = 300;

const PLANS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/src/simulation/plans");

/// Returns the number in an environment variable, if it is set.
fn number(variable: &str) -> Option<u64> {
    let text = std::env::var(variable)
        .ok()
        .filter(|text| !text.is_empty())?;
    let Ok(number) = text.parse() else {
        panic!("{variable} must be a number, not {text:?}")
    };
    Some(number)
}

/// Runs plans two at a time, until one fails. Returns how many were run, and the name of the first
/// that failed.
fn run_in_pairs<T: Send>(
    plans: impl Iterator<Item = (T, Plan)> + Send,
) -> (u64, Option<(T, Plan, Outcome)>) {
    let plans = Mutex::new(plans);
    let ran = AtomicU64::new(0);
    let failed = Mutex::new(None);
    let next = || plans.lock().next();
    let work = || {
        while failed.lock().is_none()
            && let Some((name, plan)) = next()
        {
            ran.fetch_add(1, Ordering::Relaxed);
            let outcome = run(&plan);
            if !outcome.violations.is_empty() {
                *failed.lock() = Some((name, plan, outcome));
            }
        }
    };
    std::thread::scope(|scope| {
        scope.spawn(work);
        work();
    });
    (ran.into_inner(), failed.into_inner())
}

fn report(plan: &Plan, outcome: &Outcome) -> String {
    let mut text = String::new();
    for violation in outcome.violations.iter().take(10) {
        let _ = writeln!(text, "  {violation}");
    }
    let json = serde_json::to_string(plan).expect("JSON");
    let _ = writeln!(
        text,
        "Replay it, or save it in src/simulation/plans/NAME.json:"
    );
    let _ = writeln!(text, "  make simulate PLAN='{json}'");
    text
}

fn plan_from_environment() -> Option<Plan> {
    let json = std::env::var(PLAN_VARIABLE)
        .ok()
        .filter(|json| !json.is_empty())?;
    Some(serde_json::from_str(&json).expect("a plan"))
}

/// What the processes of [`run`] and `scripts/mutants` execute.
#[test]
#[ignore = "runs the plan or the seed in the environment"]
fn one_plan() {
    let seed = || number("RAIDHALL_SIMULATE_FIRST").expect("a plan or a seed");
    let plan = plan_from_environment().unwrap_or_else(|| Plan::random(seed()));
    if let Ok(filter) = std::env::var("RUST_LOG") {
        let subscriber = tracing_subscriber::fmt().with_env_filter(filter);
        subscriber
            .with_ansi(false)
            .with_writer(std::io::stderr)
            .init();
    }
    let outcome = run_here(plan);
    println!(
        "{OUTCOME_MARK}{}",
        serde_json::to_string(&outcome).expect("JSON")
    );
}

#[test]
fn random_plans_keep_every_promise() {
    if let Some(plan) = plan_from_environment() {
        let outcome = run(&plan);
        assert!(outcome.violations.is_empty(), "{}", report(&plan, &outcome));
        return;
    }
    let seconds = number("RAIDHALL_SIMULATE_SECONDS");
    let default_count = if seconds.is_some() {
        u64::MAX
    } else {
        DEFAULT_SEEDS
    };
    let count = number("RAIDHALL_SIMULATE_SEEDS").unwrap_or(default_count);
    let first = number("RAIDHALL_SIMULATE_FIRST").unwrap_or(0);
    let time = Duration::from_secs(seconds.unwrap_or(u64::from(u32::MAX)));
    let began = Instant::now();
    let seeds = (first..first.saturating_add(count)).take_while(|_| began.elapsed() < time);
    let (ran, failed) = run_in_pairs(seeds.map(|seed| (seed, Plan::random(seed))));
    println!("{ran} seeds from {first} on");
    if let Some((seed, plan, outcome)) = failed {
        println!(
            "seed {seed} failed; shrinking its plan\n{}",
            report(&plan, &outcome)
        );
        let kinds = outcome.kinds();
        let fails_alike = |simpler: &Plan| !run(simpler).kinds().is_disjoint(&kinds);
        let smallest = shrink(plan, fails_alike);
        let outcome = run(&smallest);
        panic!(
            "seed {seed} failed; the smallest plan that fails:\n{}",
            report(&smallest, &outcome)
        );
    }
}

#[test]
fn plans_that_failed_once_pass() {
    let files = std::fs::read_dir(Path::new(PLANS)).expect("the folder of plans");
    let plans = files.map(|entry| {
        let path = entry.expect("an entry").path();
        let json = std::fs::read_to_string(&path).expect("a plan");
        (path, serde_json::from_str(&json).expect("a plan"))
    });
    let (ran, failed) = run_in_pairs(plans);
    assert!(ran > 0, "no plans");
    if let Some((path, plan, outcome)) = failed {
        panic!("{}:\n{}", path.display(), report(&plan, &outcome));
    }
}

#[test]
fn the_same_plan_gives_the_same_run() {
    for seed in 0..4 {
        let plan = Plan::random(seed);
        let (first, second) = std::thread::scope(|scope| {
            let first = scope.spawn(|| run(&plan));
            let second = run(&plan);
            (first.join().expect("a run"), second)
        });
        assert_eq!(first, second, "seed {seed}");
        assert!(first.acks > 0, "seed {seed} does nothing");
    }
}

#[test]
fn a_hostile_member_delays_no_one_else_for_long() {
    for seed in 0..4 {
        let spared = Plan {
            instances: 2,
            raids: 1,
            players: 3,
            play_ms: 20_000,
            store_failures_permille: 0,
            has_small_limits: false,
            has_floods: false,
            has_absences: false,
            has_visitors: false,
            has_hostile_members: false,
            has_devices: false,
            faults: Vec::new(),
            last_fault: None,
            ..Plan::random(seed)
        };
        let attacked = Plan {
            has_hostile_members: true,
            ..spared.clone()
        };
        let [spared, attacked] = [spared, attacked].map(|plan| run(&plan));
        assert_eq!(attacked.violations, Vec::<String>::new(), "seed {seed}");
        for (alone, with) in [
            (spared.ack_max_ms, attacked.ack_max_ms),
            (spared.delivery_max_ms, attacked.delivery_max_ms),
        ] {
            assert!(
                with <= alone + HOSTILE_DELAY_MAX_MS,
                "seed {seed}: {with} ms, not {alone}"
            );
        }
    }
}
