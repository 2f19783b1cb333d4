//! Faults between a caller and its database, injected on demand.

use std::collections::{HashMap, HashSet, VecDeque};
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use anyhow::anyhow;
use futures_util::future::BoxFuture;
use parking_lot::Mutex;
use raidhall_protocol::RaidId;
use rand::Rng;
use rand::rngs::StdRng;
use serde::{Deserialize, Serialize};
use tokio::sync::{oneshot, watch};

use crate::store::{Append, CommitOutcome, Result, StoreError};

/// The store's methods, to count calls and to choose which fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs, reason = "named as the store's methods")]
pub enum Call {
    Register,
    Renew,
    EndStaleLease,
    Deregister,
    Space,
    Maintain,
    ReserveRaidIds,
    Claim,
    Release,
    Commit,
    Load,
    Heads,
    OwnedRaids,
    Events,
    ReadFeed,
    EventsAt,
    Contributions,
    FindOps,
    SaveSnapshot,
    DueRaids,
    RaidByInvite,
    RaidByCreateKey,
    RaidsByMember,
    RaidMembers,
    CreatePlayer,
    Player,
    Account,
    RaidsEverJoined,
    FilterEverJoined,
    DeleteUnusedGuests,
    CreateTokenFamily,
    RotateRefreshToken,
    Ban,
    Unban,
    Disconnect,
    Bans,
    SignOut,
    Notices,
    RecordAudit,
    AuditEntries,
    FindPlayers,
    FindRaids,
    Instances,
    PlayerByIdentity,
    FindOrCreateByIdentity,
    LinkIdentity,
    ConsumeProof,
    BeginErasure,
    TakeErasure,
    RewriteEvents,
    EndErasure,
    FeedEnd,
    OldestOpenTransaction,
    AcquireEndpoint,
    ReleaseEndpoint,
    SaveProgress,
    DueDeliveries,
    ParkedDeliveries,
    Endpoints,
    ReplayDeliveries,
    ResumeEndpoint,
    LoadStream,
    AppendToStream,
    StreamEvents,
    PlayersWithStreams,
    DueStreaks,
    StreamHeads,
    AcquireProjector,
    ReleaseProjector,
    BoardsFinalUntil,
    FinishBoards,
    ProjectorPlace,
    LoadStreams,
    FindStreamOps,
    CommitProjection,
    FailedCauses,
    CountFailedCauses,
    DefinitionsAfter,
    AddDefinitions,
    BoardsSince,
    ListedScores,
    CountListedBefore,
    ScoresInWindow,
    ScoresOfPlayer,
    SetRemoved,
    DeleteEmptyCounts,
}

/// The faults of one connection. Clones are handles to the same faults.
#[derive(Clone)]
pub struct InjectedFaults {
    plan: Arc<Mutex<FaultPlan>>,
    held_calls: Arc<watch::Sender<HashSet<Call>>>,
}

/// Faults that are drawn for every call.
pub struct RandomFaults {
    pub rng: StdRng,
    /// Milliseconds before a call takes effect, and again before its reply arrives.
    pub latency_ms: Range<u64>,
    /// The share of calls that fail before they take effect.
    pub failures: f64,
    /// The share of calls that take effect and fail.
    pub lost_replies: f64,
}

impl RandomFaults {
    fn draw(&mut self, share: f64) -> (Duration, bool) {
        let latency = Duration::from_millis(self.rng.random_range(self.latency_ms.clone()));
        (latency, self.rng.random_bool(share))
    }
}

#[derive(Default)]
struct FaultPlan {
    calls: HashMap<Call, u64>,
    failing: HashMap<Call, u64>,
    newer: HashMap<Call, u64>,
    refusing: HashMap<Call, u64>,
    stalling: HashMap<Call, u64>,
    stalling_answers: HashMap<Call, u64>,
    /// Calls that have been sent and hang, whether or not their callers still wait. Each takes
    /// effect and replies.
    stalled: VecDeque<BoxFuture<'static, ()>>,
    is_unreachable: bool,
    is_old_release: bool,
    latency: Duration,
    random: Option<RandomFaults>,
    replies_to_drop: HashMap<Call, u64>,
    refused_raids: HashSet<RaidId>,
    refusals: Option<(StdRng, f64)>,
}

impl Default for InjectedFaults {
    fn default() -> Self {
        Self {
            plan: Arc::default(),
            held_calls: Arc::new(watch::Sender::default()),
        }
    }
}

impl InjectedFaults {
    /// Returns how often a method was called, including calls that failed or were dropped half-way.
    pub fn call_count(&self, call: Call) -> u64 {
        self.plan.lock().calls.get(&call).copied().unwrap_or(0)
    }

    /// Makes the next `times` calls of this method fail as unavailable, before they take effect.
    pub fn fail_calls(&self, call: Call, times: u64) {
        self.plan.lock().failing.insert(call, times);
    }

    /// Makes the next `times` calls of this method meet an event that a newer release wrote.
    pub fn make_newer(&self, call: Call, times: u64) {
        self.plan.lock().newer.insert(call, times);
    }

    /// Makes the store refuse the next `times` calls of this method.
    pub fn refuse_calls(&self, call: Call, times: u64) {
        self.plan.lock().refusing.insert(call, times);
    }

    /// Cuts the connection or restores it. While it is cut, every call fails as unavailable, before
    /// it takes effect.
    pub fn set_unreachable(&self, cut: bool) {
        self.plan.lock().is_unreachable = cut;
    }

    /// Makes every load of a raid meet an event that a newer release wrote, or ends that.
    pub fn set_old_release(&self, is_old: bool) {
        self.plan.lock().is_old_release = is_old;
    }

    /// Delays every call by `latency`, before it takes effect.
    pub fn set_latency(&self, latency: Duration) {
        self.plan.lock().latency = latency;
    }

    /// Draws faults for every call from now on, or stops that.
    pub fn set_random(&self, random: Option<RandomFaults>) {
        self.plan.lock().random = random;
    }

    /// Makes calls of this method wait before they take effect, until
    /// [`InjectedFaults::release_calls`]. A held call whose caller drops it never takes effect.
    pub fn hold_calls(&self, call: Call) {
        self.held_calls.send_modify(|held| {
            held.insert(call);
        });
    }

    /// Lets held calls of this method go on.
    pub fn release_calls(&self, call: Call) {
        self.held_calls.send_modify(|held| {
            held.remove(&call);
        });
    }

    /// Makes the next `times` calls of this method take effect and report to their callers that the
    /// store is unavailable.
    pub fn drop_replies(&self, call: Call, times: u64) {
        self.plan.lock().replies_to_drop.insert(call, times);
    }

    /// Makes the next `times` calls of this method hang until [`InjectedFaults::apply_stalled`] or
    /// [`InjectedFaults::drop_stalled`], even if their callers drop the calls.
    pub fn stall_calls(&self, call: Call, times: u64) {
        self.plan.lock().stalling.insert(call, times);
    }

    /// Makes the next `times` calls of this method take effect at once and their answers hang, until
    /// [`InjectedFaults::apply_stalled`] or [`InjectedFaults::drop_stalled`].
    pub fn stall_answers(&self, call: Call, times: u64) {
        self.plan.lock().stalling_answers.insert(call, times);
    }

    /// Lets all calls from now on take effect and be answered at once.
    pub fn end_stall(&self) {
        let mut plan = self.plan.lock();
        plan.stalling.clear();
        plan.stalling_answers.clear();
    }

    /// Returns the number of calls that hang.
    pub fn stalled_count(&self) -> usize {
        self.plan.lock().stalled.len()
    }

    /// Applies the calls that hang, oldest first, and replies to callers that still wait.
    pub async fn apply_stalled(&self) {
        while let Some(effect) = self.next_stalled() {
            effect.await;
        }
    }

    /// Discards the calls that hang; callers that still wait get the error that the store is
    /// unavailable.
    pub fn drop_stalled(&self) {
        while self.next_stalled().is_some() {}
    }

    /// Makes the store refuse every batch with this raid, as a whole.
    pub fn refuse_raid(&self, raid: RaidId) {
        self.plan.lock().refused_raids.insert(raid);
    }

    /// Ends the refusal of batches with this raid.
    pub fn accept_raid(&self, raid: RaidId) {
        self.plan.lock().refused_raids.remove(&raid);
    }

    /// Makes the store refuse this share of batches, as wholes, drawn by `rng`.
    pub fn refuse_commits(&self, share: f64, rng: StdRng) {
        self.plan.lock().refusals = Some((rng, share));
    }

    /// Ends the refusals of [`InjectedFaults::refuse_commits`].
    pub fn accept_commits(&self) {
        self.plan.lock().refusals = None;
    }

    /// Counts a call, and fails or delays it as planned.
    pub(super) async fn before_call(&self, call: Call) -> Result<()> {
        let (result, latency) = {
            let mut plan = self.plan.lock();
            *plan.calls.entry(call).or_default() += 1;
            let drawn = (plan.random.as_mut()).map(|random| random.draw(random.failures));
            let (latency, fails) = drawn.unwrap_or((plan.latency, false));
            let result = if fails
                || plan.is_unreachable
                || plan.failing.get_mut(&call).is_some_and(consume_one)
            {
                Err(unavailable(call))
            } else if (plan.is_old_release && call == Call::Load)
                || plan.newer.get_mut(&call).is_some_and(consume_one)
            {
                Err(StoreError::NewerVersion { version: u16::MAX })
            } else if plan.refusing.get_mut(&call).is_some_and(consume_one) {
                Err(StoreError::Refused {
                    operation: "a call that a test refuses",
                    source: anyhow!("{call:?}"),
                })
            } else {
                Ok(())
            };
            (result, latency)
        };
        if !latency.is_zero() {
            tokio::time::sleep(latency).await;
        }
        let mut held = self.held_calls.subscribe();
        let _ = held.wait_for(|held| !held.contains(&call)).await; // the sender lives in `self`
        result
    }

    /// Delays or loses the reply to a call that took effect, as it is drawn. A connection that is cut
    /// brings no reply.
    pub(super) async fn after_call(&self, call: Call) -> Result<()> {
        let drawn = {
            let mut plan = self.plan.lock();
            (plan.random.as_mut()).map(|random| random.draw(random.lost_replies))
        };
        let (latency, is_lost) = drawn.unwrap_or_default();
        if !latency.is_zero() {
            tokio::time::sleep(latency).await;
        }
        let mut plan = self.plan.lock();
        let is_dropped = plan.replies_to_drop.get_mut(&call).is_some_and(consume_one);
        if is_lost || is_dropped || plan.is_unreachable {
            Err(unavailable(call))
        } else {
            Ok(())
        }
    }

    /// Runs a commit, or makes it go wrong as planned.
    pub(super) async fn commit(
        &self,
        batch: &[Append],
        effect: impl Future<Output = Result<Vec<CommitOutcome>>> + Send + 'static,
    ) -> Result<Vec<CommitOutcome>> {
        {
            let mut plan = self.plan.lock();
            let is_drawn =
                (plan.refusals.as_mut()).is_some_and(|(rng, share)| rng.random_bool(*share));
            let mut raids = batch.iter().map(|append| append.raid);
            if is_drawn || raids.any(|raid| plan.refused_raids.contains(&raid)) {
                return Err(StoreError::Refused {
                    operation: "commit",
                    source: anyhow!("refused on demand"),
                });
            }
        }
        self.take_effect(Call::Commit, effect).await
    }

    /// Lets a call take effect and answers it, each now or once its stall ends.
    pub(super) async fn take_effect<T: Send + 'static, E: From<StoreError> + Send + 'static>(
        &self,
        call: Call,
        effect: impl Future<Output = Result<T, E>> + Send + 'static,
    ) -> Result<T, E> {
        let is_stalled =
            |plan: &mut FaultPlan| plan.stalling.get_mut(&call).is_some_and(consume_one);
        let (reply, received) = oneshot::channel();
        let rest: BoxFuture<'static, ()> = if is_stalled(&mut self.plan.lock()) {
            Box::pin(async move {
                let _ = reply.send(effect.await); // the caller may have given up, as tests want
            })
        } else {
            let result = effect.await;
            let mut plan = self.plan.lock();
            if !(plan.stalling_answers.get_mut(&call)).is_some_and(consume_one) {
                return result;
            }
            Box::pin(async move {
                let _ = reply.send(result); // as above
            })
        };
        self.plan.lock().stalled.push_back(rest);
        received
            .await
            .unwrap_or_else(|_| Err(unavailable(call).into()))
    }

    fn next_stalled(&self) -> Option<BoxFuture<'static, ()>> {
        self.plan.lock().stalled.pop_front()
    }
}

fn consume_one(times: &mut u64) -> bool {
    let left = *times > 0;
    *times = times.saturating_sub(1);
    left
}

fn unavailable(call: Call) -> StoreError {
    StoreError::Unavailable {
        operation: "faulty store",
        source: anyhow!("{call:?} failed on demand"),
    }
}
