//! How fast commits are. Run in release mode:
//! `scripts/with-services cargo test --release --test store -- --ignored --nocapture commits_per_second`

use super::open;
use crate::conformance::{enlisted, newcomer};
use crate::database::Database;
use crate::history::{History, completed_task, joined, op, raid, raid_created, said};
use raidhall::store::postgres::PostgresStore;
use raidhall::store::{Append, Fate, Store};
use raidhall_protocol::PlayerId;
use std::sync::Arc;
use std::time::{Duration, Instant};

const WRITERS: usize = 4;
const MEASURED: Duration = Duration::from_secs(5);

#[tokio::test(flavor = "multi_thread")]
#[ignore = "measures, asserts nothing"]
#[expect(clippy::print_stdout, reason = "its only result")]
async fn commits_per_second() {
    let database = Database::create().await;
    let store = open(&database).await;
    let owner = enlisted(&*store).await;
    let mut players = Vec::new();
    for _ in 0..1_000 {
        players.push(newcomer(&*store, "Ada").await);
    }
    println!("writers  raids/batch  commits/s  events/s  p50 ms  p99 ms");
    let mut next_raid = 1..;
    for batch_size in [1, 10, 50, 200] {
        let mut writers = Vec::new();
        for _ in 0..WRITERS {
            let histories: Vec<_> =
                (next_raid.by_ref().take(batch_size)).map(|id| History::of(raid(id), owner.id)).collect();
            writers.push(tokio::spawn(write(Arc::clone(&store), histories, players.clone())));
        }
        let mut times = Vec::new();
        for writer in writers {
            times.extend(writer.await.expect("a writer"));
        }
        times.sort_unstable();
        let at = |share: f64| times[((times.len() - 1) as f64 * share) as usize].as_secs_f64() * 1e3;
        let per_second = times.len() as f64 / MEASURED.as_secs_f64();
        let events = per_second * batch_size as f64;
        println!(
            "{WRITERS:7}  {batch_size:11}  {per_second:9.0}  {events:8.0}  {:6.2}  {:6.2}",
            at(0.5),
            at(0.99)
        );
    }
}

/// One event per raid in each batch: every third a completed task, the others talk, each with an op.
async fn write(
    store: Arc<PostgresStore>,
    mut histories: Vec<History>,
    players: Vec<PlayerId>,
) -> Vec<Duration> {
    let creations: Vec<_> = histories
        .iter_mut()
        .map(|history| history.append([raid_created(history.raid), joined(players[0])]))
        .collect();
    assert_eq!(store.commit(&creations).await.expect("create"), vec![Fate::Committed; creations.len()]);
    let (mut times, began) = (Vec::new(), Instant::now());
    for round in 0.. {
        if began.elapsed() > MEASURED {
            break;
        }
        let batch: Vec<Append> = (histories.iter_mut().enumerate())
            .map(|(index, history)| {
                let player = players[(index * 7 + round) % players.len()];
                let event = match (index + round) % 3 {
                    0 => completed_task(player, 10),
                    _ => said("onwards, together, until it is done"),
                };
                history.append_op([event], Some(op(&format!("op-{round}"))))
            })
            .collect();
        let sent = Instant::now();
        let fates = store.commit(&batch).await.expect("commit");
        times.push(sent.elapsed());
        assert!(fates.iter().all(|fate| *fate == Fate::Committed), "{fates:?}");
    }
    times
}
