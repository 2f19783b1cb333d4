//! The cluster of a run, and what a plan does to it.

mod faults;
mod nodes;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use nodes::Node;
use raidhall_loadtest::target::Target;
use raidhall_loadtest::targets::Targets;
use raidhall_protocol::event::FailReason;
use raidhall_protocol::player::{PlayerEvent, PlayerState};
use raidhall_protocol::server::PlayerRef;
use raidhall_protocol::{Event, EventData, PlayerId, RaidId, Seq, UnixMillis};
use rand::rngs::StdRng;
use rand::{RngCore, SeedableRng};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};
use uuid::Uuid;

use super::game::RECOVERY_TIME;
use super::network::SimulatedNetwork;
use super::plan::{Fault, Plan, PlanStep};
use crate::auth::{self, Auth, AuthSecret, Scope};
use crate::cluster::bus::in_process::InProcessBroker;
use crate::config::Config;
use crate::store::faulty::Faulty;
use crate::store::memory::MemoryStore;
use crate::store::{FamilyId, Ledger, PlayerStreams};
use crate::streams::fold_stream;

const START_TIME: UnixMillis = UnixMillis(1_767_225_600_000);
const FIRST_PORT: u16 = 10_000;

/// How much longer than its time budget a shutdown may take, to give its lease back.
const DEREGISTER_TIME: Duration = Duration::from_secs(3);

/// How much longer than the time limits on idle raids and connections it may take until they are
/// gone.
const IDLE_MARGIN: Duration = Duration::from_secs(15);

/// How much later than its deadline a raid may end, if instances serve, in milliseconds.
const DEADLINE_DELAY_MS: i64 = 5_000;
/// The share of commits that the store refuses while it refuses some.
const REFUSED_SHARE: f64 = 0.3;
/// How long access tokens are valid. The server record is read with one from the beginning, by an
/// instance whose clock may still be ahead by several jumps.
const TOKEN_TTL: Duration = Duration::from_secs(3 * 3_600);
/// How long an instance that has ended or cannot start stays down.
const RESTART_DELAY: Duration = Duration::from_secs(1);

pub(super) struct SimulatedCluster {
    plan: Plan,
    began: Instant,
    rng: StdRng,
    store: Faulty<MemoryStore>,
    broker: InProcessBroker,
    network: SimulatedNetwork,
    /// The processes of instances. While one shuts down, its successor may run already.
    nodes: Vec<Node>,
    /// Instances that start or shut down, and calls of crashed ones that are still under way. Each
    /// returns what went wrong.
    background: JoinSet<Option<String>>,
    violations: Vec<String>,
    /// How many tasks an instance has while no client is connected and no raid is loaded.
    idle_tasks: usize,
    active_faults: Vec<Fault>,
    /// By how much the database's clock is ahead because of jumps.
    clock_jumped_ms: i64,
    /// From when on instances serve as if nothing had happened.
    recovered_at: UnixMillis,
    /// How long the machines of the instances have been suspended.
    suspended: Duration,
    /// Whether the store fails at random.
    has_random_failures: bool,
}

impl SimulatedCluster {
    pub(super) async fn start(plan: &Plan) -> SimulatedCluster {
        let mut rng = StdRng::seed_from_u64(plan.seed ^ 1);
        let mut fork = || StdRng::seed_from_u64(rng.next_u64());
        let network = SimulatedNetwork::new(fork(), 0..plan.network_delay_ms);
        let broker = InProcessBroker::default();
        broker.set_delays(fork(), 0..plan.bus_delay_ms);
        let mut cluster = SimulatedCluster {
            plan: plan.clone(),
            began: Instant::now(),
            rng,
            store: Faulty::new(MemoryStore::new(START_TIME)),
            broker,
            network,
            nodes: Vec::new(),
            background: JoinSet::new(),
            violations: Vec::new(),
            idle_tasks: 0,
            active_faults: Vec::new(),
            clock_jumped_ms: 0,
            recovered_at: START_TIME,
            suspended: Duration::ZERO,
            has_random_failures: false,
        };
        cluster.await_instances().await;
        cluster.idle_tasks = cluster.nodes[0].connections.process.task_count();
        cluster
    }

    /// Returns the servers as clients know them.
    pub(super) fn targets(&self) -> Targets {
        let target = |index| {
            let url = format!("http://127.0.0.1:{}", port(index));
            Target::parse(&url).expect("a target")
        };
        let targets = (0..self.plan.instances).map(target).collect();
        Targets::new(targets)
            .expect("at least one instance")
            .over(Arc::new(self.network.clone()))
    }

    /// Lets calls of the store fail now and then, from now on.
    pub(super) fn begin_random_failures(&mut self) {
        self.has_random_failures = true;
        self.set_conditions();
    }

    /// Returns when each event of a raid was committed.
    pub(super) fn commit_times(&self, raid: RaidId) -> BTreeMap<Seq, Instant> {
        self.store.commit_log().commit_times(raid)
    }

    /// Starts instances that have ended again, until a time.
    pub(super) async fn run_until(&mut self, end: Instant) {
        while Instant::now() < end {
            sleep_until(end.min(Instant::now() + RESTART_DELAY)).await;
            self.start_missing_instances();
        }
    }

    pub(super) async fn apply(&mut self, step: PlanStep) {
        match step {
            PlanStep::Begin(fault) => self.begin(fault),
            PlanStep::End(fault) => self.end(fault).await,
        }
    }

    /// Ends every fault, and starts the instances that are down.
    pub(super) async fn heal(&mut self) {
        self.has_random_failures = false;
        for fault in std::mem::take(&mut self.active_faults) {
            if let Fault::OldRelease { instance } = fault {
                self.shut_down(instance, false);
            }
        }
        self.set_conditions();
        for node in &self.nodes {
            node.connections.end_stall(true).await;
        }
        self.await_instances().await;
        self.await_background().await;
        self.recovered_at = self.store.now().plus(millis(RECOVERY_TIME));
    }

    /// Returns how long it takes after the last client has left until nothing of it is in memory.
    pub(super) fn idle_time(&self) -> Duration {
        let config = config(&self.plan);
        (config.sessions.idle_timeout).max(config.connections.keep_alive) + IDLE_MARGIN
    }

    /// Returns the ledger of a raid.
    pub(super) async fn events(&self, raid: RaidId) -> Vec<Event> {
        let events = self.store.events(raid, Seq::ZERO, u32::MAX).await;
        events.expect("a store without faults")
    }

    /// Returns the stream of a player.
    pub(super) async fn stream(&self, player: PlayerId) -> Vec<PlayerEvent> {
        let events = self.store.stream_events(player, Seq::ZERO, u32::MAX).await;
        events.expect("a store without faults")
    }

    /// Returns the state of a player who was not erased, as devices would get it.
    pub(super) async fn player_state(&self, player: PlayerId) -> PlayerState {
        let loaded = self.store.load_stream(player, None).await;
        let loaded = loaded.expect("a store without faults");
        let folded = fold_stream(&self.store, player, loaded.expect("a player")).await;
        folded.expect("a stream without gaps").state
    }

    /// Checks that a raid whose deadline is past has ended, once, and not much later.
    pub(super) fn check_deadline(&self, raid: RaidId, events: &[Event]) -> Option<String> {
        let deadline = events.iter().find_map(|event| match event.data {
            EventData::RaidStarted { deadline } => Some(deadline),
            _ => None,
        })?;
        let latest = deadline.max(self.recovered_at).plus(DEADLINE_DELAY_MS);
        let end = |event: &Event| match event.data {
            EventData::RaidCompleted { .. } => Some((event.at, event.at <= deadline)),
            EventData::RaidFailed { reason } => {
                let is_on_time = deadline <= event.at && event.at <= latest;
                Some((event.at, reason != FailReason::Deadline || is_on_time))
            }
            _ => None,
        };
        let ends: Vec<_> = events.iter().filter_map(end).collect();
        match ends[..] {
            [] if self.store.now() <= latest => None,
            [(_, true)] => None,
            _ => Some(format!(
                "raid {raid} has the deadline {deadline}, and ended at {ends:?}"
            )),
        }
    }

    /// Shuts all instances down. Returns what instances did wrong.
    pub(super) async fn stop(mut self) -> Vec<String> {
        let conflicts = self.store.commit_log().conflicts();
        let texts = conflicts
            .iter()
            .map(|conflict| format!("two writers: {conflict:?}"));
        self.violations.extend(texts);
        self.remove_ended_nodes();
        for node in &self.nodes {
            let index = node.index;
            let tasks = node.connections.process.task_count();
            if node.connections.bus.is_following() {
                self.violations.push(format!(
                    "idle instance {index} subscribes to a raid or a stream"
                ));
            }
            if tasks != self.idle_tasks {
                self.violations.push(format!(
                    "{tasks} tasks at idle instance {index}, not {} as at the beginning",
                    self.idle_tasks
                ));
            }
        }
        for index in 0..self.plan.instances {
            self.shut_down(index, true);
        }
        self.await_background().await;
        self.violations
    }
}

/// Returns an operator's token that is valid for the whole run.
pub(super) fn operator_token() -> String {
    let options = Config::default().auth;
    let ttl = TOKEN_TTL;
    Auth::new(&secret(), options).mint_scoped(Scope::Admin, "operator", None, ttl, START_TIME)
}

/// Returns a player's token that is valid for the whole run.
pub(super) fn player_token(id: PlayerId) -> String {
    let options = auth::Options {
        access_ttl: TOKEN_TTL,
        ..Config::default().auth
    };
    let player = PlayerRef {
        id,
        name: "Device".to_owned(),
    };
    Auth::new(&secret(), options).mint(&player, FamilyId(Uuid::nil()), START_TIME)
}

fn secret() -> AuthSecret {
    AuthSecret::new([7; 32]).expect("long enough")
}

pub(super) fn config(plan: &Plan) -> Config {
    let mut config = Config::default();
    config.auth.access_ttl = TOKEN_TTL;
    if plan.has_absences {
        // Longer than owners trust presence while the bus is cut, so that they know of the loss
        // before they replace a leader.
        config.sessions.leader_grace = Duration::from_secs(16);
    }
    if plan.has_small_limits {
        config.sockets.heartbeat_interval = Duration::from_secs(2);
        config.sessions.idle_timeout = Duration::from_secs(2);
        config.sessions.mailbox_messages_max = 8;
        config.sessions.op_keys_max = 16;
        config.sessions.replay_events_max = 32;
        config.sessions.ring_events_max = 16;
        config.sessions.snapshot_min_events = 8;
    }
    config
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).expect("a short run")
}

fn port(index: usize) -> u16 {
    FIRST_PORT + u16::try_from(index).expect("few instances")
}
