//! Group commit: many raids' events in one statement.
//!
//! Raids are divided among a few writers by id. Each writer collects the appends that arrive while
//! its last batch commits, so an idle server adds no delay and a busy one commits in large batches.
//! **A raid's appends are committed in the order in which they were handed in, and the outcome of
//! an append is reported only once it is known:**
//!
//! * An ambiguous commit (connection lost, time-out) is sent again unchanged, until the store
//!   reports its outcome or `commit_patience` is over. Only then is it reported as unclear, and the
//!   session reloads with a new claim, which fences off any statement that is still in flight.
//! * A batch that is refused for another reason is split and sent raid by raid, then append by
//!   append, so that only the append at fault is reported as refused.

use std::collections::HashMap;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use raidhall_protocol::RaidId;
use serde::Deserialize;
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::time::{Instant, sleep, timeout_at};
use tracing::{debug, error, warn};

use super::{Append, CommitOutcome, Store, StoreError};
use crate::option_value::millis;
use crate::telemetry::{TraceSpan, metrics};

/// Limits and timing of group commit.
#[derive(Debug, Clone, Deserialize)]
pub struct Options {
    /// Maximum number of batches in flight at once, each on a connection of its own.
    pub writers: usize,
    /// Maximum number of events in one batch; a single append may be larger.
    pub batch_events_max: usize,
    /// Maximum number of appends that wait for one writer; beyond it sessions wait, and their
    /// mailboxes fill.
    #[serde(rename = "batch_queue")]
    pub queue_max: usize,
    /// How long a commit is retried before it is reported as unclear.
    #[serde(rename = "commit_patience_ms", deserialize_with = "millis")]
    pub commit_patience: Duration,
}

/// Outcome of an append, as reported to its session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JournalOutcome {
    /// The append is durable.
    Committed,
    /// Another instance owns the raid, or its history went on without this instance.
    Fenced,
    /// A raid with this create key or invite code exists already.
    Exists,
    /// The leader of a new raid leads as many open raids as they may.
    OverQuota,
    /// The store rejects the append, which is a bug in this program.
    Refused,
    /// The store could not be reached in time, or an earlier append of the raid failed. The append
    /// may or may not be durable.
    Unclear,
}

/// Handle by which sessions hand in their appends.
#[derive(Clone)]
pub struct Journal {
    queues: Arc<[mpsc::Sender<PendingAppend>]>,
    committed: Arc<Notify>,
}

struct PendingAppend {
    append: Append,
    reply: oneshot::Sender<JournalOutcome>,
}

/// Loop of one writer; the caller spawns [`JournalWriter::run`].
pub struct JournalWriter {
    store: Arc<dyn Store>,
    options: Options,
    committed: Arc<Notify>,
    queue: mpsc::Receiver<PendingAppend>,
    /// An append that did not fit the previous batch.
    deferred: Option<PendingAppend>,
}

impl Journal {
    /// Creates a journal and the writers that serve it.
    pub fn new(store: &Arc<dyn Store>, options: &Options) -> (Journal, Vec<JournalWriter>) {
        let committed = Arc::<Notify>::default();
        let (queues, writers) = (0..options.writers.max(1))
            .map(|_| {
                let (sender, queue) = mpsc::channel(options.queue_max);
                let writer = JournalWriter {
                    store: Arc::clone(store),
                    options: options.clone(),
                    committed: Arc::clone(&committed),
                    queue,
                    deferred: None,
                };
                (sender, writer)
            })
            .unzip::<_, _, Vec<_>, Vec<_>>();
        (
            Journal {
                queues: queues.into(),
                committed,
            },
            writers,
        )
    }

    /// Returns the notice that events were committed, for one task that waits for them.
    pub fn committed(&self) -> Arc<Notify> {
        Arc::clone(&self.committed)
    }

    /// Queues an append after the raid's earlier ones, and waits while the queue is full. The
    /// receiver gets the outcome once it is known. A closed receiver means that the writer is gone
    /// or that its commit panicked; the outcome is then unknown.
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
    /// Commits batches until every [`Journal`] handle is dropped.
    pub async fn run(mut self) {
        while let Some(first) = self.next_append().await {
            let batch = self.collect_batch(first);
            metrics()
                .journal_queue
                .decrement(batch.append_count() as f64);
            metrics().commit_events.record(batch.events as f64);
            let deadline = Instant::now() + self.options.commit_patience;
            // A panic loses this batch alone: its sessions see their receivers close and reload
            // from the store, and the writer's other raids go on.
            if AssertUnwindSafe(self.commit_batch(batch.raids, deadline))
                .catch_unwind()
                .await
                .is_err()
            {
                error!("commit panicked; its raids reload");
            }
        }
    }

    async fn next_append(&mut self) -> Option<PendingAppend> {
        match self.deferred.take() {
            Some(entry) => Some(entry),
            None => self.queue.recv().await,
        }
    }

    /// Takes waiting appends up to the batch limit, and stops at one that does not continue its
    /// raid's appends in the batch.
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

    /// Commits a batch. A refusal does not say which raid is at fault, so each raid is then sent
    /// alone.
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

    /// Commits a refused raid's appends one by one. The first that is refused is the one at fault;
    /// those behind it are unclear.
    async fn commit_singly(&self, unit: RaidAppends, deadline: Instant) {
        let mut entries = unit.appends.into_iter();
        for entry in entries.by_ref() {
            let raid = entry.append.raid;
            let first = entry.append.first_seq();
            let refused = self
                .commit_with_retries(
                    vec![RaidAppends {
                        appends: vec![entry],
                    }],
                    deadline,
                )
                .await;
            if !refused.is_empty() {
                error!(%raid, %first, "append refused by the store; its raid reloads");
                for unit in refused {
                    unit.report(JournalOutcome::Refused);
                }
                break;
            }
        }
        for entry in entries {
            entry.report(JournalOutcome::Unclear);
        }
    }

    /// Sends units until each one's outcome is known or the deadline passes. Returns them if the
    /// store refuses them.
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
                Ok(Ok(outcomes)) => {
                    trace.end("answered");
                    metrics()
                        .commit_seconds
                        .record(started.elapsed().as_secs_f64());
                    self.committed.notify_one();
                    units = report_known(units, &appends, &outcomes);
                    if units.is_empty() {
                        return units;
                    }
                }
                Ok(Err(StoreError::Refused { operation, source })) => {
                    trace.end("refused");
                    warn!(operation, error = %source, raids = units.len(), "batch refused by the store; splitting it to find the append at fault");
                    return units;
                }
                Ok(Err(error)) => {
                    trace.end("unavailable");
                    debug!(error = ?error, "commit failed; retrying");
                }
                Err(_) => trace.end("late"),
            }
            if Instant::now() + pause >= deadline {
                warn!(
                    raids = units.len(),
                    "commit not confirmed in time; its raids reload"
                );
                for unit in units {
                    unit.report(JournalOutcome::Unclear);
                }
                return Vec::new();
            }
            metrics().commit_retries.increment(1);
            sleep(pause).await;
            pause = (pause * 2).min(Duration::from_millis(200));
        }
    }
}

/// Reports the known outcomes, and returns the units whose outcome is unclear.
fn report_known(
    units: Vec<RaidAppends>,
    appends: &[Append],
    outcomes: &[CommitOutcome],
) -> Vec<RaidAppends> {
    assert_eq!(
        units.len(),
        outcomes.len(),
        "the store gives one outcome for each append"
    );
    let mut unclear = Vec::new();
    for ((unit, append), outcome) in units.into_iter().zip(appends).zip(outcomes) {
        match outcome {
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
            CommitOutcome::OverQuota => unit.report(JournalOutcome::OverQuota),
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

    /// Returns whether an entry continues its raid's appends in the batch.
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

/// One raid's appends in a batch: contiguous, under one epoch, at least one.
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
            creation: self.appends[0].append.creation,
            ..last.clone()
        }
    }

    fn report(self, outcome: JournalOutcome) {
        for entry in self.appends {
            entry.report(outcome);
        }
    }
}

impl PendingAppend {
    fn report(self, outcome: JournalOutcome) {
        // The session may have ended and no longer wait for the outcome.
        let _ = self.reply.send(outcome);
    }
}
