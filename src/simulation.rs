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
mod devices;
mod disturbances;
mod entropy;
mod erasures;
mod game;
mod network;
mod plan;
mod progress;
mod refusals;
mod tests;
mod verdict;

use std::collections::BTreeSet;
use std::process::Command;
use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::Duration;

use anyhow::Context;
use cluster::SimulatedCluster;
use game::Game;
use parking_lot::Mutex;
use plan::Plan;
use serde::{Deserialize, Serialize};
use tokio::time::timeout;
use verdict::judge_game;

/// The environment variable that holds a plan, for a process that runs it.
const PLAN_VARIABLE: &str = "RAIDHALL_SIMULATE_PLAN";
/// The environment variable that names clients whose logs are printed, such as `0.1`: the second of
/// the first raid.
const CLIENT_VARIABLE: &str = "RAIDHALL_SIMULATE_CLIENT";
/// Precedes the outcome in the output of such a process.
const OUTCOME_MARK: &str = "outcome: ";
/// Longest time that a run may take, as the simulated clocks show it, beside jumps of the clock.
const RUN_TIME_MAX: Duration = Duration::from_secs(900);
/// Longest time that a run may take in reality. One that takes longer hangs.
const REAL_TIME_MAX: Duration = Duration::from_secs(300);

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
            let run_time_max = RUN_TIME_MAX + plan.total_clock_jump();
            let run = timeout(run_time_max, simulate(&plan)).await;
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
    let game = Game::play(plan, &mut cluster).await?;
    Ok(judge_game(plan, &game, cluster).await)
}
