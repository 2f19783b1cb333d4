//! Group commit: many raids' events in one statement.
//!
//! A few writers share the raids by id. Each collects what came in while its last batch committed, so an idle server
//! adds no delay and a busy one commits in large batches. A raid's appends are committed in the order given; the
//! outcome of one is told only once it is known:
//!
//! * An ambiguous commit (connection lost, time-out) is sent again as it was, until the store says what became of it
//!   or `commit_patience` is over. Only then is it given up, and the session reloads by a claim of its own, which
//!   fences off what may still be in flight.
//! * A batch that is refused for another reason is split and sent raid by raid, then append by append: only the
//!   culprit is told that it was refused.

use std::collections::HashMap;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use raidhall_protocol::RaidId;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep, timeout_at};
use tracing::{debug, error, warn};

use super::{Append, Fate, Store, StoreError};
use crate::telemetry::{Trace, metrics};

/// How appends are committed.
#[derive(Debug, Clone)]
pub struct Options {
    /// How many batches may be in flight at once, each on a connection of its own.
    pub writers: usize,
    /// Events in a batch at most; a single append may be larger.
    pub batch_events_max: usize,
    /// Appends that wait for a writer at most; sessions wait beyond that, and their inboxes fill.
    pub queue: usize,
    /// How long a commit is tried before it is given up.
    pub commit_patience: Duration,
}

/// What became of an append, as its session is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It is durable.
    Committed,
    /// Somebody else owns the raid, or its history went on without us.
    Fenced,
    /// A raid of this create key or invite code exists already.
    Exists,
    /// The store will never take it: a fault of ours.
    Refused,
    /// The store could not be reached in time, or an append in front of it failed. It may or may not be durable.
    GaveUp,
}

/// Where sessions hand their appends in.
#[derive(Clone)]
pub struct Journal {
    queues: Arc<[mpsc::Sender<Entry>]>,
}

struct Entry {
    append: Append,
    outcome: oneshot::Sender<Outcome>,
}

/// One writer's loop, to be spawned by the owner of the tasks.
pub struct Writer {
    store: Arc<dyn Store>,
    options: Options,
    queue: mpsc::Receiver<Entry>,
    /// An entry that could not join the batch before.
    held_over: Option<Entry>,
}

impl Journal {
    /// A journal over a store, and the writers that serve it.
    pub fn new(store: &Arc<dyn Store>, options: &Options) -> (Journal, Vec<Writer>) {
        let (queues, writers) = (0..options.writers.max(1))
            .map(|_| {
                let (sender, queue) = mpsc::channel(options.queue);
                let (store, options) = (Arc::clone(store), options.clone());
                (
                    sender,
                    Writer {
                        store,
                        options,
                        queue,
                        held_over: None,
                    },
                )
            })
            .unzip::<_, _, Vec<_>, Vec<_>>();
        (
            Journal {
                queues: queues.into(),
            },
            writers,
        )
    }

    /// Hands an append in, after those of the same raid before it. The outcome comes when it is known; a closed
    /// receiver means that the writer is gone and nothing more will be committed.
    pub async fn append(&self, append: Append) -> oneshot::Receiver<Outcome> {
        let (outcome, receiver) = oneshot::channel();
        let queue = &self.queues[append.raid.get() as usize % self.queues.len()];
        metrics().journal_queue.increment(1.0);
        if queue.send(Entry { append, outcome }).await.is_err() {
            metrics().journal_queue.decrement(1.0);
        }
        receiver
    }
}

impl Writer {
    /// Commits until every [`Journal`] is gone.
    pub async fn run(mut self) {
        while let Some(first) = self.next().await {
            let batch = self.collect(first);
            metrics().journal_queue.decrement(batch.entries() as f64);
            metrics().commit_events.record(batch.events as f64);
            let deadline = Instant::now() + self.options.commit_patience;
            // A panic costs this batch, whose sessions then find out from the store, and not the raids of this writer.
            if AssertUnwindSafe(self.commit(batch.units, deadline))
                .catch_unwind()
                .await
                .is_err()
            {
                error!("a commit panicked; its raids reload");
            }
        }
    }

    async fn next(&mut self) -> Option<Entry> {
        match self.held_over.take() {
            Some(entry) => Some(entry),
            None => self.queue.recv().await,
        }
    }

    /// Everything that waits, up to the limit, one unit a raid.
    fn collect(&mut self, first: Entry) -> Batch {
        let mut batch = Batch::default();
        batch.add(first);
        while batch.events < self.options.batch_events_max {
            let Ok(entry) = self.queue.try_recv() else {
                break;
            };
            if batch.fits(&entry) {
                batch.add(entry);
            } else {
                self.held_over = Some(entry);
                break;
            }
        }
        batch
    }

    /// Commits a batch. If it is refused, which raid is at fault is unknown: each is then sent alone.
    async fn commit(&self, units: Vec<Unit>, deadline: Instant) {
        let alone = units.len() == 1;
        for unit in self.settle(units, deadline).await {
            let refused = if alone {
                vec![unit]
            } else {
                self.settle(vec![unit], deadline).await
            };
            for unit in refused {
                self.commit_singly(unit, deadline).await;
            }
        }
    }

    /// Commits a refused raid's appends one by one: the first that is refused is the culprit.
    async fn commit_singly(&self, unit: Unit, deadline: Instant) {
        let mut entries = unit.entries.into_iter();
        for entry in entries.by_ref() {
            let (raid, first) = (entry.append.raid, entry.append.first());
            let refused = self
                .settle(
                    vec![Unit {
                        entries: vec![entry],
                    }],
                    deadline,
                )
                .await;
            if !refused.is_empty() {
                error!(%raid, %first, "the store refused an append; its raid reloads");
                refused
                    .into_iter()
                    .for_each(|unit| unit.tell(Outcome::Refused));
                break;
            }
        }
        entries.for_each(|entry| entry.tell(Outcome::GaveUp));
    }

    /// Sends units until each one's fate is known or time is up. Gives them back if the store refused them.
    async fn settle(&self, mut units: Vec<Unit>, deadline: Instant) -> Vec<Unit> {
        let mut pause = Duration::from_millis(10);
        loop {
            let appends = units.iter().map(Unit::merged).collect::<Vec<_>>();
            let started = Instant::now();
            let trace = Trace::commit(
                appends.len(),
                appends.iter().map(|append| append.events.len()).sum(),
            );
            match timeout_at(deadline, self.store.commit(&appends)).await {
                Ok(Ok(fates)) => {
                    trace.end("answered");
                    metrics()
                        .commit_seconds
                        .record(started.elapsed().as_secs_f64());
                    units = tell_known(units, &appends, &fates);
                    if units.is_empty() {
                        return units;
                    }
                }
                Ok(Err(StoreError::Refused { operation, source })) => {
                    trace.end("refused");
                    warn!(operation, error = %source, raids = units.len(), "the store refused a batch");
                    return units;
                }
                Ok(Err(error @ (StoreError::Unavailable { .. } | StoreError::Newer { .. }))) => {
                    trace.end("unavailable");
                    debug!(error = ?error, "a commit failed; it is sent again");
                }
                Err(_) => trace.end("late"),
            }
            if Instant::now() + pause >= deadline {
                warn!(
                    raids = units.len(),
                    "a commit was given up; its raids reload"
                );
                units
                    .into_iter()
                    .for_each(|unit| unit.tell(Outcome::GaveUp));
                return Vec::new();
            }
            metrics().commit_retries.increment(1);
            sleep(pause).await;
            pause = (pause * 2).min(Duration::from_millis(200));
        }
    }
}

/// Tells those whose fate is known, and gives back those whose fate is not.
fn tell_known(units: Vec<Unit>, appends: &[Append], fates: &[Fate]) -> Vec<Unit> {
    assert_eq!(
        units.len(),
        fates.len(),
        "the store gives one fate for each append"
    );
    let mut unclear = Vec::new();
    for ((unit, append), fate) in units.into_iter().zip(appends).zip(fates) {
        match fate {
            Fate::Committed => {
                metrics()
                    .events_committed
                    .increment(append.events.len() as u64);
                unit.tell(Outcome::Committed);
            }
            Fate::Fenced => {
                metrics().batches_fenced.increment(1);
                unit.tell(Outcome::Fenced);
            }
            Fate::Exists => unit.tell(Outcome::Exists),
            Fate::Unclear => unclear.push(unit),
        }
    }
    unclear
}

#[derive(Default)]
struct Batch {
    units: Vec<Unit>,
    index: HashMap<RaidId, usize>,
    events: usize,
}

impl Batch {
    fn entries(&self) -> usize {
        self.units.iter().map(|unit| unit.entries.len()).sum()
    }

    /// Whether an entry follows on from what the batch holds of its raid.
    fn fits(&self, entry: &Entry) -> bool {
        let Some(index) = self.index.get(&entry.append.raid) else {
            return true;
        };
        let last = &self.units[*index].last().append;
        entry.append.epoch == last.epoch && entry.append.first() == last.last().next()
    }

    fn add(&mut self, entry: Entry) {
        self.events += entry.append.events.len();
        let units = &mut self.units;
        let index = *self.index.entry(entry.append.raid).or_insert_with(|| {
            units.push(Unit {
                entries: Vec::new(),
            });
            units.len() - 1
        });
        units[index].entries.push(entry);
    }
}

/// One raid's appends in a batch: contiguous, of one epoch, at least one.
struct Unit {
    entries: Vec<Entry>,
}

impl Unit {
    fn last(&self) -> &Entry {
        self.entries.last().expect("a unit has at least one entry")
    }

    fn merged(&self) -> Append {
        let last = &self.last().append;
        let events = self
            .entries
            .iter()
            .flat_map(|entry| entry.append.events.iter().cloned())
            .collect();
        Append {
            events,
            create_key: self.entries[0].append.create_key,
            ..last.clone()
        }
    }

    fn tell(self, outcome: Outcome) {
        self.entries
            .into_iter()
            .for_each(|entry| entry.tell(outcome));
    }
}

impl Entry {
    fn tell(self, outcome: Outcome) {
        // A session that is gone has nobody left to tell.
        let _ = self.outcome.send(outcome);
    }
}
