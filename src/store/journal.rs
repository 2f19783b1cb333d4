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
use serde::Deserialize;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep, timeout_at};
use tracing::{debug, error, warn};

use super::{Append, CommitOutcome, Store, StoreError};
use crate::option_value::millis;
use crate::telemetry::{TraceSpan, metrics};

/// Limits and timing of group commit.
#[derive(Debug, Clone, Deserialize)]
pub struct Options {
    /// Batches that may be in flight at once, each on a connection of its own.
    pub writers: usize,
    /// Events in one batch; a single append may be larger.
    pub batch_events_max: usize,
    /// Appends that may wait for one writer; beyond that sessions wait, and their mailboxes fill.
    #[serde(rename = "batch_queue")]
    pub queue_max: usize,
    /// How long a commit is tried before it is given up.
    #[serde(rename = "commit_patience_ms", deserialize_with = "millis")]
    pub commit_patience: Duration,
}

/// What became of an append, as its session is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JournalOutcome {
    /// It is durable.
    Committed,
    /// Somebody else owns the raid, or its history went on without us.
    Fenced,
    /// A raid of this create key or invite code exists already.
    Exists,
    /// The store will never take it: a fault of ours.
    Refused,
    /// The store could not be reached in time, or an append in front of it failed. It may or may not be durable.
    Unclear,
}

/// Where sessions hand their appends in.
#[derive(Clone)]
pub struct Journal {
    queues: Arc<[mpsc::Sender<PendingAppend>]>,
}

struct PendingAppend {
    append: Append,
    reply: oneshot::Sender<JournalOutcome>,
}

/// One writer's loop, to be spawned by the owner of the tasks.
pub struct JournalWriter {
    store: Arc<dyn Store>,
    options: Options,
    queue: mpsc::Receiver<PendingAppend>,
    /// An entry that could not join the batch before.
    deferred: Option<PendingAppend>,
}

impl Journal {
    /// A journal over a store, and the writers that serve it.
    pub fn new(store: &Arc<dyn Store>, options: &Options) -> (Journal, Vec<JournalWriter>) {
        let (queues, writers) = (0..options.writers.max(1))
            .map(|_| {
                let (sender, queue) = mpsc::channel(options.queue_max);
                let (store, options) = (Arc::clone(store), options.clone());
                (
                    sender,
                    JournalWriter {
                        store,
                        options,
                        queue,
                        deferred: None,
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
    pub async fn append(&self, append: Append) -> oneshot::Receiver<JournalOutcome> {
        let (outcome, receiver) = oneshot::channel();
        let queue = &self.queues[append.raid.get() as usize % self.queues.len()];
        metrics().journal_queue.increment(1.0);
        if queue
            .send(PendingAppend {
                append,
                reply: outcome,
            })
            .await
            .is_err()
        {
            metrics().journal_queue.decrement(1.0);
        }
        receiver
    }
}

impl JournalWriter {
    /// Commits until every [`Journal`] is gone.
    pub async fn run(mut self) {
        while let Some(first) = self.next_append().await {
            let batch = self.collect_batch(first);
            metrics()
                .journal_queue
                .decrement(batch.append_count() as f64);
            metrics().commit_events.record(batch.events as f64);
            let deadline = Instant::now() + self.options.commit_patience;
            // A panic costs this batch, whose sessions then find out from the store, and not the raids of this writer.
            if AssertUnwindSafe(self.commit_batch(batch.raids, deadline))
                .catch_unwind()
                .await
                .is_err()
            {
                error!("a commit panicked; its raids reload");
            }
        }
    }

    async fn next_append(&mut self) -> Option<PendingAppend> {
        match self.deferred.take() {
            Some(entry) => Some(entry),
            None => self.queue.recv().await,
        }
    }

    /// Everything that waits, up to the limit, one unit a raid.
    fn collect_batch(&mut self, first: PendingAppend) -> CommitBatch {
        let mut batch = CommitBatch::default();
        batch.add(first);
        while batch.events < self.options.batch_events_max {
            let Ok(entry) = self.queue.try_recv() else {
                break;
            };
            if batch.can_add(&entry) {
                batch.add(entry);
            } else {
                self.deferred = Some(entry);
                break;
            }
        }
        batch
    }

    /// Commits a batch. If it is refused, which raid is at fault is unknown: each is then sent alone.
    async fn commit_batch(&self, units: Vec<RaidAppends>, deadline: Instant) {
        let alone = units.len() == 1;
        for unit in self.commit_with_retries(units, deadline).await {
            let refused = if alone {
                vec![unit]
            } else {
                self.commit_with_retries(vec![unit], deadline).await
            };
            for unit in refused {
                self.commit_singly(unit, deadline).await;
            }
        }
    }

    /// Commits a refused raid's appends one by one: the first that is refused is the culprit.
    async fn commit_singly(&self, unit: RaidAppends, deadline: Instant) {
        let mut entries = unit.appends.into_iter();
        for entry in entries.by_ref() {
            let (raid, first) = (entry.append.raid, entry.append.first_seq());
            let refused = self
                .commit_with_retries(
                    vec![RaidAppends {
                        appends: vec![entry],
                    }],
                    deadline,
                )
                .await;
            if !refused.is_empty() {
                error!(%raid, %first, "the store refused an append; its raid reloads");
                refused
                    .into_iter()
                    .for_each(|unit| unit.report(JournalOutcome::Refused));
                break;
            }
        }
        entries.for_each(|entry| entry.report(JournalOutcome::Unclear));
    }

    /// Sends units until each one's fate is known or time is up. Gives them back if the store refused them.
    async fn commit_with_retries(
        &self,
        mut units: Vec<RaidAppends>,
        deadline: Instant,
    ) -> Vec<RaidAppends> {
        let mut pause = Duration::from_millis(10);
        loop {
            let appends = units
                .iter()
                .map(RaidAppends::merged_append)
                .collect::<Vec<_>>();
            let started = Instant::now();
            let trace = TraceSpan::start_commit(
                appends.len(),
                appends.iter().map(|append| append.events.len()).sum(),
            );
            match timeout_at(deadline, self.store.commit(&appends)).await {
                Ok(Ok(fates)) => {
                    trace.end("answered");
                    metrics()
                        .commit_seconds
                        .record(started.elapsed().as_secs_f64());
                    units = report_known(units, &appends, &fates);
                    if units.is_empty() {
                        return units;
                    }
                }
                Ok(Err(StoreError::Refused { operation, source })) => {
                    trace.end("refused");
                    warn!(operation, error = %source, raids = units.len(), "the store refused a batch");
                    return units;
                }
                Ok(Err(
                    error @ (StoreError::Unavailable { .. } | StoreError::NewerVersion { .. }),
                )) => {
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
                    .for_each(|unit| unit.report(JournalOutcome::Unclear));
                return Vec::new();
            }
            metrics().commit_retries.increment(1);
            sleep(pause).await;
            pause = (pause * 2).min(Duration::from_millis(200));
        }
    }
}

/// Tells those whose fate is known, and gives back those whose fate is not.
fn report_known(
    units: Vec<RaidAppends>,
    appends: &[Append],
    fates: &[CommitOutcome],
) -> Vec<RaidAppends> {
    assert_eq!(
        units.len(),
        fates.len(),
        "the store gives one fate for each append"
    );
    let mut unclear = Vec::new();
    for ((unit, append), fate) in units.into_iter().zip(appends).zip(fates) {
        match fate {
            CommitOutcome::Committed => {
                metrics()
                    .events_committed
                    .increment(append.events.len() as u64);
                unit.report(JournalOutcome::Committed);
            }
            CommitOutcome::Fenced => {
                metrics().batches_fenced.increment(1);
                unit.report(JournalOutcome::Fenced);
            }
            CommitOutcome::Exists => unit.report(JournalOutcome::Exists),
            CommitOutcome::Unclear => unclear.push(unit),
        }
    }
    unclear
}

#[derive(Default)]
struct CommitBatch {
    raids: Vec<RaidAppends>,
    index_by_raid: HashMap<RaidId, usize>,
    events: usize,
}

impl CommitBatch {
    fn append_count(&self) -> usize {
        self.raids.iter().map(|unit| unit.appends.len()).sum()
    }

    /// Whether an entry follows on from what the batch holds of its raid.
    fn can_add(&self, entry: &PendingAppend) -> bool {
        let Some(index) = self.index_by_raid.get(&entry.append.raid) else {
            return true;
        };
        let last = &self.raids[*index].last_append().append;
        entry.append.epoch == last.epoch && entry.append.first_seq() == last.last_seq().next()
    }

    fn add(&mut self, entry: PendingAppend) {
        self.events += entry.append.events.len();
        let units = &mut self.raids;
        let index = *self
            .index_by_raid
            .entry(entry.append.raid)
            .or_insert_with(|| {
                units.push(RaidAppends {
                    appends: Vec::new(),
                });
                units.len() - 1
            });
        units[index].appends.push(entry);
    }
}

/// One raid's appends in a batch: contiguous, of one epoch, at least one.
struct RaidAppends {
    appends: Vec<PendingAppend>,
}

impl RaidAppends {
    fn last_append(&self) -> &PendingAppend {
        self.appends.last().expect("a unit has at least one entry")
    }

    fn merged_append(&self) -> Append {
        let last = &self.last_append().append;
        let events = self
            .appends
            .iter()
            .flat_map(|entry| entry.append.events.iter().cloned())
            .collect();
        Append {
            events,
            create_key: self.appends[0].append.create_key,
            ..last.clone()
        }
    }

    fn report(self, outcome: JournalOutcome) {
        self.appends
            .into_iter()
            .for_each(|entry| entry.report(outcome));
    }
}

impl PendingAppend {
    fn report(self, outcome: JournalOutcome) {
        // A session that is gone has nobody left to tell.
        let _ = self.reply.send(outcome);
    }
}
