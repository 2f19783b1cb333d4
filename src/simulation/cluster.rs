//! The cluster of a run, and what a plan does to it.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use raidhall_loadtest::target::Target;
use raidhall_loadtest::targets::Targets;
use raidhall_protocol::event::FailReason;
use raidhall_protocol::{Event, EventData, RaidId, Seq, UnixMillis};
use rand::rngs::StdRng;
use rand::{Rng, RngCore, SeedableRng};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until};

use super::RECOVERY_TIME;
use super::network::{Link, LinkSpeed, SimulatedNetwork};
use super::plan::{Fault, Plan, PlanStep};
use crate::app::{Instance, InstanceParts};
use crate::auth::AuthSecret;
use crate::clock::suspension::suspend;
use crate::cluster::bus::in_process::{BusFault, InProcessBroker, InProcessBus};
use crate::config::Config;
use crate::net::listener::memory_listener;
use crate::store::faulty::{Faulty, RandomFaults};
use crate::store::memory::MemoryStore;
use crate::store::{InstanceId, Ledger};
use crate::task_group::process::Process;

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
    /// Instances that start or shut down, and commits of crashed ones that are still under way. Each
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

/// The process of an instance, and its connections to clients, store and bus.
struct Node {
    index: usize,
    state: Arc<Mutex<NodeState>>,
    connections: NodeConnections,
}

enum NodeState {
    Starting,
    Running(Box<Instance>),
    ShuttingDown,
}

/// What connects a process with all others. Clones are handles to the same.
#[derive(Clone)]
struct NodeConnections {
    process: Process,
    link: Link,
    store: Faulty<MemoryStore>,
    bus: Arc<InProcessBus>,
}

impl NodeConnections {
    /// Ends the process as `kill -9` does: nothing of it reaches the store, the bus or a client any
    /// more.
    fn kill(&self) {
        self.process.kill();
        self.link.break_connections();
        self.bus.remove();
    }

    /// Lets the commits that hang take effect, or drops them.
    async fn end_stall(&self, lands: bool) {
        self.store.faults().stall_commits(0);
        if lands {
            self.store.faults().apply_stalled().await;
        } else {
            self.store.faults().drop_stalled();
        }
    }
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
                self.shut_down(instance);
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

    /// Checks that a raid whose deadline is past has ended, once, and not much later.
    pub(super) async fn check_deadline(&self, raid: RaidId) -> Option<String> {
        let events = self.store.events(raid, Seq(0), u32::MAX).await;
        let events = events.expect("a store without faults");
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
        let conflicts = self.store.writers().conflicts();
        let texts = conflicts
            .iter()
            .map(|conflict| format!("two writers: {conflict:?}"));
        self.violations.extend(texts);
        self.remove_ended_nodes();
        for node in &self.nodes {
            let (index, tasks) = (node.index, node.connections.process.task_count());
            if node.connections.bus.subscription_count() > 1 {
                self.violations.push(format!(
                    "idle instance {index} subscribes to more than its inbox"
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
            self.shut_down(index);
        }
        self.await_background().await;
        self.violations
    }

    fn begin(&mut self, fault: Fault) {
        self.active_faults.push(fault);
        match fault {
            Fault::Crash { instance } => self.crash(instance),
            Fault::Drain { instance } => self.shut_down(instance),
            Fault::CommitsStall { instance, commits } => {
                for connections in self.connections_of(instance) {
                    connections.store.faults().stall_commits(commits);
                }
            }
            Fault::ConnectionsBreak { instance } => {
                for connections in self.connections_of(instance) {
                    connections.link.break_connections();
                }
            }
            Fault::Suspend { by_ms } => {
                let duration = Duration::from_millis(by_ms);
                suspend(duration);
                self.suspended += duration;
                self.set_clock();
            }
            _ => {}
        }
        self.set_conditions();
    }

    async fn end(&mut self, fault: Fault) {
        let position = self.active_faults.iter().position(|it| *it == fault);
        self.active_faults
            .remove(position.expect("a fault that has begun"));
        self.set_conditions();
        match fault {
            Fault::Crash { .. } | Fault::Drain { .. } => self.start_missing_instances(),
            Fault::CommitsStall { instance, .. } => {
                let lands = self.rng.random();
                for connections in self.connections_of(instance) {
                    connections.end_stall(lands).await;
                }
            }
            Fault::OldRelease { instance } => self.shut_down(instance),
            _ => {}
        }
    }

    /// Makes everything as the active faults demand.
    fn set_conditions(&mut self) {
        self.remove_ended_nodes();
        for node in &self.nodes {
            let instance = node.index;
            let has = |fault| self.active_faults.contains(&fault);
            let NodeConnections {
                process, link, bus, ..
            } = &node.connections;
            process.set_paused(has(Fault::Pause { instance }));
            link.set_speed(if has(Fault::ConnectionsStall { instance }) {
                LinkSpeed::Stalled
            } else if has(Fault::ConnectionsSlow { instance }) {
                LinkSpeed::Slow
            } else {
                LinkSpeed::Normal
            });
            bus.set_disconnected(has(Fault::BusCut { instance }));
            bus.set_muted(has(Fault::BusMute { instance }));
            bus.set_deaf(has(Fault::BusDeaf { instance }));
        }
        self.set_store_conditions();
        let bus_fault = self.active_faults.iter().find_map(|fault| match fault {
            Fault::BusLoss { every } => Some(BusFault::DropEveryNth(*every)),
            Fault::BusDuplicates => Some(BusFault::Duplicate),
            Fault::BusDisorder => Some(BusFault::Reorder),
            _ => None,
        });
        self.broker.set_fault(bus_fault);
        let jump = |fault: &Fault| match fault {
            Fault::ClockJump { by_ms } => *by_ms,
            _ => 0,
        };
        let jumped_ms = self.active_faults.iter().map(jump).sum();
        if jumped_ms != self.clock_jumped_ms {
            self.clock_jumped_ms = jumped_ms;
            self.set_clock();
        }
    }

    fn set_store_conditions(&mut self) {
        let permille = if self.has_random_failures {
            self.plan.store_failures_permille
        } else {
            0
        };
        let failures = f64::from(permille) / 1_000.0;
        for node in &self.nodes {
            let instance = node.index;
            let has = |fault| self.active_faults.contains(&fault);
            let slow = self.active_faults.iter().find_map(|fault| match fault {
                Fault::StoreSlow {
                    instance,
                    latency_ms,
                } if *instance == node.index => Some(*latency_ms..*latency_ms + 1),
                _ => None,
            });
            let mut new_rng = || StdRng::seed_from_u64(self.rng.next_u64());
            let faults = node.connections.store.faults();
            faults.set_unreachable(has(Fault::StoreCut { instance }));
            faults.set_old_release(has(Fault::OldRelease { instance }));
            faults.set_random(Some(RandomFaults {
                rng: new_rng(),
                latency_ms: slow.unwrap_or(0..self.plan.store_delay_ms),
                failures,
                lost_replies: failures,
            }));
            if has(Fault::CommitsRefused { instance }) {
                faults.refuse_commits(REFUSED_SHARE, new_rng());
            } else {
                faults.accept_commits();
            }
        }
    }

    fn remove_ended_nodes(&mut self) {
        self.nodes
            .retain(|node| !node.connections.process.is_dead());
    }

    fn set_clock(&self) {
        let elapsed = self.began.elapsed() + self.suspended;
        self.store
            .set_now(START_TIME.plus(millis(elapsed)).plus(self.clock_jumped_ms));
    }

    /// Returns the connections of an instance, and of its predecessors that shut down.
    fn connections_of(&self, index: usize) -> impl Iterator<Item = &NodeConnections> {
        let nodes = self.nodes.iter().filter(move |node| node.index == index);
        nodes.map(|node| &node.connections)
    }

    /// Kills the processes of an instance. Commits that were under way may still land, up to ten
    /// seconds later.
    fn crash(&mut self, index: usize) {
        for node in self.nodes.extract_if(.., |node| node.index == index) {
            node.connections.kill();
            let delay = Duration::from_millis(self.rng.random_range(0..10_000));
            let lands = self.rng.random();
            self.background.spawn(async move {
                sleep(delay).await;
                node.connections.end_stall(lands).await;
                None
            });
        }
    }

    fn shut_down(&mut self, index: usize) {
        let is_healthy = self.active_faults.is_empty();
        for node in self.nodes.iter().filter(|node| node.index == index) {
            let state = std::mem::replace(&mut *node.state.lock(), NodeState::ShuttingDown);
            let instance = match state {
                NodeState::Running(instance) => *instance,
                NodeState::Starting => {
                    node.connections.kill();
                    continue;
                }
                NodeState::ShuttingDown => continue,
            };
            let time_max = config(&self.plan).shutdown.timeout
                + DEREGISTER_TIME
                + self.plan.total_pause_time();
            let connections = node.connections.clone();
            self.background.spawn(async move {
                let began = Instant::now();
                let ended = connections.process.run(instance.shut_down()).await;
                let tasks_left = connections.process.task_count();
                connections.kill();
                match ended {
                    // It crashed meanwhile.
                    None => None,
                    // No plan takes the lease away for good.
                    Some(Err(error)) => Some(format!("instance {index} lost its lease: {error}")),
                    Some(Ok(())) if began.elapsed() > time_max => {
                        Some(format!("instance {index} took too long to shut down"))
                    }
                    Some(Ok(())) if is_healthy && tasks_left > 0 => Some(format!(
                        "{tasks_left} tasks of instance {index} outlive its shutdown"
                    )),
                    Some(Ok(())) => None,
                }
            });
        }
    }

    async fn await_background(&mut self) {
        while let Some(ending) = self.background.join_next().await {
            self.violations.extend(ending.expect("no panic"));
        }
    }

    /// Waits until every instance runs.
    async fn await_instances(&mut self) {
        let is_running = |node: &&Node| matches!(&*node.state.lock(), NodeState::Running(_));
        while self.nodes.iter().filter(is_running).count() < self.plan.instances {
            self.start_missing_instances();
            sleep(RESTART_DELAY).await;
        }
    }

    /// Starts every instance that is down and that no active fault keeps down.
    fn start_missing_instances(&mut self) {
        self.set_conditions();
        for instance in 0..self.plan.instances {
            let is_present = |node: &Node| {
                node.index == instance && !matches!(&*node.state.lock(), NodeState::ShuttingDown)
            };
            let downtimes = [Fault::Crash { instance }, Fault::Drain { instance }];
            let is_down = downtimes
                .iter()
                .any(|fault| self.active_faults.contains(fault));
            if !is_down && !self.nodes.iter().any(is_present) {
                self.start_instance(instance);
            }
        }
    }

    fn start_instance(&mut self, index: usize) {
        let id = InstanceId(uuid::Builder::from_random_bytes(self.rng.random()).into_uuid());
        let (bus, bus_connection) = self.broker.connect(id);
        let (listener, connector) = memory_listener();
        let connections = NodeConnections {
            process: Process::default(),
            link: Link::new(connector),
            store: self.store.new_connection(),
            bus,
        };
        let parts = InstanceParts {
            id,
            config: config(&self.plan),
            store: Arc::new(connections.store.clone()),
            bus: Some(bus_connection),
            shared_limits: None,
            secret: AuthSecret::new([7; 32]).expect("long enough"),
            base_url: format!("http://127.0.0.1:{}", port(index))
                .parse()
                .expect("a URL"),
            has_lease_thread: false,
        };
        let node = Node {
            index,
            state: Arc::new(Mutex::new(NodeState::Starting)),
            connections: connections.clone(),
        };
        let state = Arc::clone(&node.state);
        self.nodes.push(node);
        self.set_conditions();
        let network = self.network.clone();
        self.background.spawn(async move {
            let started = connections.process.run(Instance::start(parts)).await;
            let Some(Ok(instance)) = started else {
                // The next one may have better luck.
                connections.kill();
                return None;
            };
            connections.process.enter(|| instance.serve(listener));
            network.listen(port(index), connections.link);
            *state.lock() = NodeState::Running(Box::new(instance));
            None
        });
    }
}

pub(super) fn config(plan: &Plan) -> Config {
    let mut config = Config::default();
    // The server record is read with a token from the beginning, by an instance whose clock may still
    // be ahead by several jumps.
    config.auth.access_ttl = Duration::from_secs(3 * 3_600);
    if plan.has_small_limits {
        config.sockets.heartbeat_interval = Duration::from_secs(2);
        config.sessions.idle_timeout = Duration::from_secs(2);
        config.sessions.leader_grace = Duration::from_secs(8);
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
