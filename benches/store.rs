//! Benchmark of commits by the number of raids in a batch: `make bench-store`, or for SQLite alone
//! `cargo bench --bench store`.

#![allow(
    clippy::disallowed_methods,
    reason = "it measures real time, and its tasks end with the process"
)]
#![allow(unreachable_pub, reason = "a measurement has no outside")]

#[path = "../tests/support/history.rs"]
#[allow(dead_code, reason = "shared with tests")]
mod history;

#[path = "../tests/support/postgres.rs"]
mod database;

use std::sync::Arc;
use std::time::{Duration, Instant};

use database::{PostgresDatabase, SERVER_URL_VARIABLE};
use history::{History, completed_task, instance, op, raid, said};
use raidhall::store::postgres::{PostgresOptions, PostgresStore};
use raidhall::store::sqlite::SqliteStore;
use raidhall::store::{Append, CommitOutcome, Store};
use raidhall_protocol::PlayerId;

const MEASURE_DURATION: Duration = Duration::from_secs(5);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Longer than the whole benchmark.
const LEASE_TTL: Duration = Duration::from_secs(3_600);
const PLAYERS: usize = 1_000;
const RAIDS_PER_BATCH: [usize; 4] = [1, 10, 50, 200];

#[tokio::main]
async fn main() {
    print_heading();
    let directory = tempfile::tempdir().expect("a directory");
    let url = format!(
        "sqlite://{}",
        directory.path().join("raidhall.db").display()
    );
    let store = SqliteStore::open(&url, 2).await.expect("open");
    store.migrate(CONNECT_TIMEOUT).await.expect("migrate");
    measure("sqlite", 1, Arc::new(store)).await;

    if std::env::var_os(SERVER_URL_VARIABLE).is_none() {
        eprintln!("{SERVER_URL_VARIABLE} is not set: Postgres is not measured");
        return;
    }
    let database = PostgresDatabase::create().await;
    let options = PostgresOptions {
        url: database.url(),
        connections_max: 8,
        statement_timeout: LEASE_TTL,
        connect_timeout: CONNECT_TIMEOUT,
        is_exclusive: false,
    };
    let store = PostgresStore::connect(options).await.expect("connect");
    store.migrate(Duration::ZERO).await.expect("migrate");
    measure("postgres", 4, Arc::new(store)).await;
}

/// Measures commits of each batch size, with `writers` concurrent callers.
async fn measure(name: &str, writers: usize, store: Arc<dyn Store>) {
    let owner = instance();
    store
        .register(&owner, LEASE_TTL, CONNECT_TIMEOUT)
        .await
        .expect("register");
    let mut players = Vec::new();
    for _ in 0..PLAYERS {
        players.push(store.create_player("Ada").await.expect("create player").id);
    }
    let mut next_raid = 1..;
    for size in RAIDS_PER_BATCH {
        let mut writing = Vec::new();
        for _ in 0..writers {
            let histories: Vec<_> = next_raid
                .by_ref()
                .take(size)
                .map(|id| History::new(raid(id), owner.id))
                .collect();
            writing.push(tokio::spawn(commit_batches(
                Arc::clone(&store),
                histories,
                players.clone(),
            )));
        }
        let mut times = Vec::new();
        for writer in writing {
            times.extend(writer.await.expect("a writer"));
        }
        times.sort_unstable();
        print_report(name, writers, size, &times);
    }
}

/// Commits batches with one event per raid: one in three is a completed task, the others are chat,
/// and each has an op. Returns how long each commit took.
async fn commit_batches(
    store: Arc<dyn Store>,
    mut histories: Vec<History>,
    players: Vec<PlayerId>,
) -> Vec<Duration> {
    let creations: Vec<_> = histories
        .iter_mut()
        .map(|history| history.creation(players[0]))
        .collect();
    assert_eq!(
        store.commit(&creations).await.expect("create"),
        vec![CommitOutcome::Committed; creations.len()]
    );
    let mut times = Vec::new();
    let began = Instant::now();
    for round in 0.. {
        if began.elapsed() > MEASURE_DURATION {
            break;
        }
        let batch: Vec<Append> = (histories.iter_mut().enumerate())
            .map(|(index, history)| {
                let player = players[(index * 7 + round) % players.len()];
                let event = match (index + round) % 3 {
                    0 => completed_task(player, 10),
                    _ => said("onwards, together, until it is done"),
                };
                history.append_with_op([event], Some(op(&format!("op-{round}"))))
            })
            .collect();
        let sent = Instant::now();
        let outcomes = store.commit(&batch).await.expect("commit");
        times.push(sent.elapsed());
        assert!(
            outcomes
                .iter()
                .all(|outcome| *outcome == CommitOutcome::Committed),
            "{outcomes:?}"
        );
    }
    times
}

#[expect(clippy::print_stdout, reason = "its result")]
fn print_heading() {
    println!("store     writers  raids/batch  commits/s  events/s  p50 ms  p99 ms");
}

#[expect(clippy::print_stdout, reason = "its result")]
fn print_report(name: &str, writers: usize, size: usize, sorted: &[Duration]) {
    let at = |share: f64| sorted[((sorted.len() - 1) as f64 * share) as usize].as_secs_f64() * 1e3;
    let commits = sorted.len() as f64 / MEASURE_DURATION.as_secs_f64();
    let events = commits * size as f64;
    let p50 = at(0.5);
    let p99 = at(0.99);
    println!("{name:8}  {writers:7}  {size:11}  {commits:9.0}  {events:8.0}  {p50:6.2}  {p99:6.2}");
}
