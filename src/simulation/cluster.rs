//! The cluster of a run, and what a plan does to it.

use std::sync::Arc;
use std::time::Duration;

use raidhall_loadtest::target::Target;
use raidhall_loadtest::targets::Targets;
use raidhall_protocol::UnixMillis;
use rand::rngs::StdRng;
use rand::{Rng, RngCore, SeedableRng};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use super::network::SimulatedNetwork;
use super::plan::{Fault, Plan, PlanStep};
use crate::app::{Instance, InstanceParts};
use crate::auth::AuthSecret;
use crate::cluster::bus::in_process::{BusFault, InProcessBroker, InProcessBus};
use crate::config::Config;
use crate::net::listener::memory_listener;
use crate::store::InstanceId;
use crate::store::faulty::{Faulty, RandomFaults};
use crate::store::memory::MemoryStore;

const START_TIME: UnixMillis = UnixMillis(1_767_225_600_000);
const FIRST_PORT: u16 = 10_000;

pub(super) struct SimulatedCluster {
    plan: Plan,
    began: Instant,
    rng: StdRng,
    store: Faulty<MemoryStore>,
    broker: InProcessBroker,
    network: SimulatedNetwork,
    nodes: Vec<Option<Node>>,
    /// Instances that shut down, and commits of crashed ones that are still under way.
    draining: JoinSet<()>,
    /// Whether the store fails at random.
    has_random_failures: bool,
}

/// A running instance, and its connections to store and bus.
struct Node {
    instance: Instance,
    store: Faulty<MemoryStore>,
    bus: Arc<InProcessBus>,
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
            draining: JoinSet::new(),
            has_random_failures: false,
        };
        for index in 0..plan.instances {
            cluster.nodes.push(None);
            cluster.start_instance(index).await;
        }
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
        self.set_store_faults();
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
        self.broker.set_fault(None);
        for index in 0..self.nodes.len() {
            self.network.set_stalled(port(index), false);
            if let Some(node) = &self.nodes[index] {
                node.store.faults().set_unreachable(false);
                end_stall(&node.store, true).await;
                node.bus.set_disconnected(false);
            } else {
                self.start_instance(index).await;
            }
        }
        self.set_store_faults();
        let elapsed = i64::try_from(self.began.elapsed().as_millis()).expect("a short run");
        self.store.set_now(START_TIME.plus(elapsed));
        while self.draining.join_next().await.is_some() {}
    }

    /// Shuts all instances down.
    pub(super) async fn stop(mut self) {
        for node in self.nodes.iter_mut().filter_map(Option::take) {
            self.draining.spawn(shut_down(node.instance));
        }
        while self.draining.join_next().await.is_some() {}
    }

    fn begin(&mut self, fault: Fault) {
        match fault {
            Fault::Crash { instance } => self.crash(instance),
            Fault::Drain { instance } => {
                if let Some(node) = self.nodes[instance].take() {
                    self.draining.spawn(shut_down(node.instance));
                }
            }
            Fault::StoreCut { instance } => {
                self.with(instance, |node| node.store.faults().set_unreachable(true));
            }
            Fault::StoreSlow {
                instance,
                latency_ms,
            } => {
                let rng = StdRng::seed_from_u64(self.rng.next_u64());
                let slow = RandomFaults {
                    rng,
                    latency_ms: latency_ms..latency_ms + 1,
                    failures: 0.0,
                    lost_replies: 0.0,
                };
                self.with(instance, |node| node.store.faults().set_random(Some(slow)));
            }
            Fault::CommitsStall { instance, commits } => {
                self.with(instance, |node| node.store.faults().stall_commits(commits));
            }
            Fault::BusCut { instance } => {
                self.with(instance, |node| node.bus.set_disconnected(true))
            }
            Fault::BusLoss { every } => self.broker.set_fault(Some(BusFault::DropEveryNth(every))),
            Fault::BusDuplicates => self.broker.set_fault(Some(BusFault::Duplicate)),
            Fault::BusDisorder => self.broker.set_fault(Some(BusFault::Reorder)),
            Fault::ConnectionsBreak { instance } => self.network.break_connections(port(instance)),
            Fault::ConnectionsStall { instance } => self.network.set_stalled(port(instance), true),
            Fault::ClockJump { by_ms } => self.store.set_now(self.store.now().plus(by_ms)),
        }
    }

    async fn end(&mut self, fault: Fault) {
        match fault {
            Fault::Crash { instance } | Fault::Drain { instance } => {
                if self.nodes[instance].is_none() {
                    self.start_instance(instance).await;
                }
            }
            Fault::StoreCut { instance } => {
                self.with(instance, |node| node.store.faults().set_unreachable(false));
            }
            Fault::StoreSlow { .. } => self.set_store_faults(),
            Fault::CommitsStall { instance, .. } => {
                let lands = self.rng.random();
                if let Some(node) = &self.nodes[instance] {
                    end_stall(&node.store, lands).await;
                }
            }
            Fault::BusCut { instance } => {
                self.with(instance, |node| node.bus.set_disconnected(false))
            }
            Fault::BusLoss { .. } | Fault::BusDuplicates | Fault::BusDisorder => {
                self.broker.set_fault(None);
            }
            Fault::ConnectionsBreak { .. } => {}
            Fault::ConnectionsStall { instance } => self.network.set_stalled(port(instance), false),
            Fault::ClockJump { by_ms } => self.store.set_now(self.store.now().plus(-by_ms)),
        }
    }

    fn with(&self, instance: usize, act: impl FnOnce(&Node)) {
        if let Some(node) = &self.nodes[instance] {
            act(node);
        }
    }

    /// Ends an instance as `kill -9` does: nothing of it reaches the store, the bus or a client any
    /// more. Commits that were under way may still land, up to ten seconds later.
    fn crash(&mut self, index: usize) {
        if let Some(Node { store, bus, .. }) = self.nodes[index].take() {
            self.network.stop_listening(port(index));
            store.faults().set_unreachable(true);
            bus.remove();
            let delay = Duration::from_millis(self.rng.random_range(0..10_000));
            let lands = self.rng.random();
            self.draining.spawn(async move {
                sleep(delay).await;
                end_stall(&store, lands).await;
            });
        }
    }

    /// Starts an instance in the place of one that has ended.
    async fn start_instance(&mut self, index: usize) {
        loop {
            let id = InstanceId(uuid::Builder::from_random_bytes(self.rng.random()).into_uuid());
            let store = self.store.new_connection();
            let (bus, connection) = self.broker.connect(id);
            let started = Instance::start(InstanceParts {
                id,
                config: config(&self.plan),
                store: Arc::new(store.clone()),
                bus: Some(connection),
                shared_limits: None,
                secret: AuthSecret::new([7; 32]).expect("long enough"),
                base_url: format!("http://127.0.0.1:{}", port(index))
                    .parse()
                    .expect("a URL"),
                has_lease_thread: false,
            });
            match started.await {
                Ok(instance) => {
                    let (listener, connector) = memory_listener();
                    instance.serve(listener);
                    self.network.listen(port(index), connector);
                    self.nodes[index] = Some(Node {
                        instance,
                        store,
                        bus,
                    });
                    return self.set_store_faults();
                }
                Err(_) => {
                    bus.remove();
                    sleep(Duration::from_secs(1)).await;
                }
            }
        }
    }

    /// Sets how every instance's calls of the store go.
    fn set_store_faults(&mut self) {
        let permille = if self.has_random_failures {
            self.plan.store_failures_permille
        } else {
            0
        };
        let failures = f64::from(permille) / 1_000.0;
        for node in self.nodes.iter().flatten() {
            node.store.faults().set_random(Some(RandomFaults {
                rng: StdRng::seed_from_u64(self.rng.next_u64()),
                latency_ms: 0..self.plan.store_delay_ms,
                failures,
                lost_replies: failures,
            }));
        }
    }
}

/// Lets the commits that hang take effect, or drops them.
async fn end_stall(store: &Faulty<MemoryStore>, lands: bool) {
    store.faults().stall_commits(0);
    if lands {
        store.faults().apply_stalled().await;
    } else {
        store.faults().drop_stalled();
    }
}

async fn shut_down(instance: Instance) {
    // No plan takes the lease away for good, so a failure is a violation.
    instance.shut_down().await.expect("a clean shutdown");
}

fn config(plan: &Plan) -> Config {
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

fn port(index: usize) -> u16 {
    FIRST_PORT + u16::try_from(index).expect("few instances")
}
