//! A record of the commits to raids, for tests of a whole cluster.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap};

use parking_lot::Mutex;
use raidhall_protocol::{RaidId, Seq};
use tokio::time::Instant;

use crate::store::{Append, CommitOutcome, Epoch, InstanceId};

/// The committed appends of all connections to a store: which instance wrote under each epoch of a
/// raid, and when each event took effect.
#[derive(Default)]
pub struct CommitLog(Mutex<LoggedCommits>);

#[derive(Default)]
struct LoggedCommits {
    writers: HashMap<(RaidId, Epoch), InstanceId>,
    conflicts: Vec<WriterConflict>,
    times: BTreeMap<(RaidId, Seq), Instant>,
}

/// Two instances that wrote to a raid under one epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WriterConflict {
    /// The raid that both wrote to.
    pub raid: RaidId,
    /// The epoch that both had.
    pub epoch: Epoch,
    /// The instances, in the order of their first commits.
    pub writers: [InstanceId; 2],
}

impl CommitLog {
    /// Returns the instance that wrote to a raid first under an epoch.
    pub fn writer(&self, raid: RaidId, epoch: Epoch) -> Option<InstanceId> {
        self.0.lock().writers.get(&(raid, epoch)).copied()
    }

    /// Returns the conflicts so far, in their order. A store that fences commits has none.
    pub fn conflicts(&self) -> Vec<WriterConflict> {
        self.0.lock().conflicts.clone()
    }

    /// Returns when each event of a raid was committed.
    pub fn commit_times(&self, raid: RaidId) -> BTreeMap<Seq, Instant> {
        let commits = self.0.lock();
        let times = commits.times.range((raid, Seq::ZERO)..);
        times
            .take_while(|((of, _), _)| *of == raid)
            .map(|((_, seq), time)| (*seq, *time))
            .collect()
    }

    /// Records a batch's committed appends.
    pub(super) fn record(&self, batch: &[Append], outcomes: &[CommitOutcome]) {
        let now = Instant::now();
        let mut log = self.0.lock();
        for (append, outcome) in batch.iter().zip(outcomes) {
            if *outcome != CommitOutcome::Committed {
                continue;
            }
            let Append {
                raid, epoch, owner, ..
            } = *append;
            for ledger_event in &append.events {
                log.times
                    .entry((raid, ledger_event.event.seq))
                    .or_insert(now);
            }
            match log.writers.entry((raid, epoch)) {
                Entry::Vacant(vacant) => {
                    vacant.insert(owner);
                }
                Entry::Occupied(first) if *first.get() != owner => {
                    let writers = [*first.get(), owner];
                    log.conflicts.push(WriterConflict {
                        raid,
                        epoch,
                        writers,
                    });
                }
                Entry::Occupied(_) => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use raidhall_protocol::state::RaidStatus;
    use uuid::Uuid;

    use super::*;
    use crate::store::{Month, RaidHeader};

    fn append(owner: u128, epoch: u64) -> Append {
        Append {
            raid: RaidId::try_from(1_u64).expect("an id"),
            created_month: Month(202_701),
            owner: InstanceId(Uuid::from_u128(owner)),
            epoch: Epoch(epoch),
            events: Vec::new(),
            header: RaidHeader {
                status: RaidStatus::Active,
                deadline: None,
                current_xp: 0,
                current_tasks: 0,
                ended_at: None,
            },
            creation: None,
        }
    }

    #[test]
    fn two_instances_that_commit_under_one_epoch_are_a_conflict() {
        let log = CommitLog::default();
        log.record(&[append(1, 1)], &[CommitOutcome::Committed]);
        log.record(&[append(1, 1)], &[CommitOutcome::Committed]);
        log.record(&[append(2, 1)], &[CommitOutcome::Fenced]);
        log.record(&[append(2, 2)], &[CommitOutcome::Committed]);
        assert_eq!(log.conflicts(), []);

        log.record(&[append(1, 2)], &[CommitOutcome::Committed]);
        let conflict = WriterConflict {
            raid: append(1, 2).raid,
            epoch: Epoch(2),
            writers: [append(2, 2).owner, append(1, 2).owner],
        };
        assert_eq!(log.conflicts(), [conflict]);
    }
}
