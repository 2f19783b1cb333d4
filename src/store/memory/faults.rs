//! What can go wrong between a caller and its database, on demand.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use anyhow::anyhow;
use parking_lot::Mutex;
use raidhall_protocol::RaidId;
use tokio::sync::{oneshot, watch};

use crate::store::{Append, Fate, Result, StoreError};

/// Each call of the store, for counting and for choosing which fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "named as the store's methods")]
pub enum Call {
    Enlist,
    Renew,
    Retire,
    ReserveRaidIds,
    Claim,
    Release,
    Commit,
    Load,
    Heads,
    Owned,
    Events,
    Feed,
    Contributions,
    FindOp,
    SaveSnapshot,
    Due,
    RaidByInvite,
    RaidByCreateKey,
    RaidsOf,
    CreatePlayer,
    Player,
    Account,
    RaidsVisited,
    BeginRefresh,
    RotateRefresh,
    Ban,
    Unban,
    Disconnect,
    Bans,
    SignOut,
    Notices,
    Record,
    Audit,
    FindPlayers,
    FindRaids,
    Instances,
    PlayerOfIdentity,
    AdmitIdentity,
    LinkIdentity,
    UseProof,
    BeginErasure,
    TakeErasure,
    Rewrite,
    EndErasure,
    FeedEnd,
    TakeEndpoint,
    ReleaseEndpoint,
    NoteProgress,
    DueDeliveries,
    ParkedDeliveries,
    Endpoints,
    Replay,
    ResumeEndpoint,
}

/// The faults of one connection. Clones are handles to the same faults.
#[derive(Clone)]
pub struct Faults {
    plan: Arc<Mutex<Plan>>,
    held: Arc<watch::Sender<HashSet<Call>>>,
}

type Effect = Box<dyn FnOnce(&[Append]) -> Result<Vec<Fate>> + Send>;

/// A commit that has been sent, whatever became of its caller.
struct Stalled {
    batch: Vec<Append>,
    effect: Effect,
    answer: oneshot::Sender<Result<Vec<Fate>>>,
}

#[derive(Default)]
struct Plan {
    calls: HashMap<Call, u64>,
    failing: HashMap<Call, u64>,
    cut: bool,
    latency: Duration,
    answers_to_lose: u64,
    commits_to_stall: u64,
    stalled: VecDeque<Stalled>,
    refused: HashSet<RaidId>,
}

impl Default for Faults {
    fn default() -> Self {
        Self {
            plan: Arc::default(),
            held: Arc::new(watch::Sender::default()),
        }
    }
}

impl Faults {
    /// How often a call was made, with those that failed or were dropped half-way.
    pub fn calls(&self, call: Call) -> u64 {
        self.plan.lock().calls.get(&call).copied().unwrap_or(0)
    }

    /// The next `times` calls of this kind fail as unavailable, before they take effect.
    pub fn fail(&self, call: Call, times: u64) {
        self.plan.lock().failing.insert(call, times);
    }

    /// While cut, every call fails as unavailable, before it takes effect.
    pub fn cut(&self, cut: bool) {
        self.plan.lock().cut = cut;
    }

    /// Every call takes this long before it takes effect.
    pub fn delay(&self, latency: Duration) {
        self.plan.lock().latency = latency;
    }

    /// Calls of this kind wait before they take effect, until [`Faults::go_on`]. One whose caller gives up never does.
    pub fn hold(&self, call: Call) {
        self.held.send_modify(|held| {
            held.insert(call);
        });
    }

    /// Lets held calls go on.
    pub fn go_on(&self, call: Call) {
        self.held.send_modify(|held| {
            held.remove(&call);
        });
    }

    /// The next `times` commits take effect, and their callers are told that the store is unavailable.
    pub fn lose_answers(&self, times: u64) {
        self.plan.lock().answers_to_lose = times;
    }

    /// The next `times` commits are sent and then hang, until [`Faults::land_stalled`] or [`Faults::lose_stalled`];
    /// that their callers give up stops nothing.
    pub fn stall_commits(&self, times: u64) {
        self.plan.lock().commits_to_stall = times;
    }

    /// How many commits hang.
    pub fn stalled(&self) -> usize {
        self.plan.lock().stalled.len()
    }

    /// The commits that hang take effect, oldest first; callers that still wait are answered.
    pub fn land_stalled(&self) {
        while let Some(Stalled {
            batch,
            effect,
            answer,
        }) = self.next_stalled()
        {
            let _ = answer.send(effect(&batch)); // the caller may have given up: that is the point
        }
    }

    /// The commits that hang will never take effect; callers that still wait are told that the store is unavailable.
    pub fn lose_stalled(&self) {
        while let Some(stalled) = self.next_stalled() {
            let _ = stalled.answer.send(Err(unavailable(Call::Commit)));
        }
    }

    /// From now on a batch with this raid is refused as a whole.
    pub fn refuse(&self, raid: RaidId) {
        self.plan.lock().refused.insert(raid);
    }

    /// This raid is no longer refused.
    pub fn accept(&self, raid: RaidId) {
        self.plan.lock().refused.remove(&raid);
    }

    /// Counts a call, and fails or delays it as planned.
    pub(super) async fn enter(&self, call: Call) -> Result<()> {
        let (failing, latency) = {
            let mut plan = self.plan.lock();
            *plan.calls.entry(call).or_default() += 1;
            let failing = plan.cut || plan.failing.get_mut(&call).is_some_and(take_one);
            (failing, plan.latency)
        };
        if !latency.is_zero() {
            tokio::time::sleep(latency).await;
        }
        let mut held = self.held.subscribe();
        let _ = held.wait_for(|held| !held.contains(&call)).await; // the sender lives in `self`
        if failing {
            Err(unavailable(call))
        } else {
            Ok(())
        }
    }

    /// Lets a commit take effect, or go wrong as planned.
    pub(super) async fn commit(
        &self,
        batch: &[Append],
        effect: impl FnOnce(&[Append]) -> Result<Vec<Fate>> + Send + 'static,
    ) -> Result<Vec<Fate>> {
        let lost = {
            let mut plan = self.plan.lock();
            if batch
                .iter()
                .any(|append| plan.refused.contains(&append.raid))
            {
                return Err(StoreError::Refused {
                    operation: "commit",
                    source: anyhow!("refused on demand"),
                });
            }
            take_one(&mut plan.answers_to_lose)
        };
        let stalls = take_one(&mut self.plan.lock().commits_to_stall);
        let fates = if stalls {
            self.stall(batch, Box::new(effect)).await
        } else {
            effect(batch)
        };
        if lost {
            Err(unavailable(Call::Commit))
        } else {
            fates
        }
    }

    async fn stall(&self, batch: &[Append], effect: Effect) -> Result<Vec<Fate>> {
        let (sender, answer) = oneshot::channel();
        let stalled = Stalled {
            batch: batch.to_vec(),
            effect,
            answer: sender,
        };
        self.plan.lock().stalled.push_back(stalled);
        answer
            .await
            .unwrap_or_else(|_| Err(unavailable(Call::Commit)))
    }

    fn next_stalled(&self) -> Option<Stalled> {
        self.plan.lock().stalled.pop_front()
    }
}

fn take_one(times: &mut u64) -> bool {
    let left = *times > 0;
    *times = times.saturating_sub(1);
    left
}

fn unavailable(call: Call) -> StoreError {
    StoreError::Unavailable {
        operation: "memory store",
        source: anyhow!("{call:?} failed on demand"),
    }
}
