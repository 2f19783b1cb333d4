//! The processes of a cluster's instances: how they start, shut down and crash.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use rand::Rng;
use tokio::time::{Instant, sleep};

use super::{DEREGISTER_TIME, RESTART_DELAY, SimulatedCluster, config, port, secret};
use crate::app::{Instance, InstanceParts};
use crate::cluster::bus::in_process::InProcessBus;
use crate::net::listener::memory_listener;
use crate::simulation::network::{BUFFER_BYTES, Link};
use crate::simulation::plan::Fault;
use crate::store::InstanceId;
use crate::store::faulty::Faulty;
use crate::store::memory::MemoryStore;
use crate::task_group::process::Process;

/// The process of an instance, and its connections to clients, store and bus.
pub(super) struct Node {
    pub(super) index: usize,
    pub(super) state: Arc<Mutex<NodeState>>,
    pub(super) connections: NodeConnections,
}

pub(super) enum NodeState {
    Starting,
    Running(Box<Instance>),
    ShuttingDown,
}

/// What connects a process with all others. Clones are handles to the same.
#[derive(Clone)]
pub(super) struct NodeConnections {
    pub(super) process: Process,
    pub(super) link: Link,
    pub(super) store: Faulty<MemoryStore>,
    pub(super) bus: Arc<InProcessBus>,
}

impl NodeConnections {
    /// Ends the process as `kill -9` does: nothing of it reaches the store, the bus or a client any
    /// more.
    pub(super) fn kill(&self) {
        self.process.kill();
        self.link.break_connections();
        self.bus.remove();
    }

    /// Lets the calls that hang take effect, or drops them.
    pub(super) async fn end_stall(&self, lands: bool) {
        self.store.faults().end_stall();
        if lands {
            self.store.faults().apply_stalled().await;
        } else {
            self.store.faults().drop_stalled();
        }
    }
}

impl SimulatedCluster {
    pub(super) fn remove_ended_nodes(&mut self) {
        self.nodes
            .retain(|node| !node.connections.process.is_dead());
    }

    /// Kills the processes of an instance. Calls of the store that hung may still land, up to ten
    /// seconds later.
    pub(super) fn crash(&mut self, index: usize) {
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

    /// Shuts an instance down. If no fault hits it meanwhile, none of its tasks may be left.
    pub(super) fn shut_down(&mut self, index: usize, is_healthy: bool) {
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

    pub(super) async fn await_background(&mut self) {
        while let Some(ending) = self.background.join_next().await {
            self.violations.extend(ending.expect("no panic"));
        }
    }

    /// Waits until every instance runs.
    pub(super) async fn await_instances(&mut self) {
        let is_running = |node: &&Node| matches!(&*node.state.lock(), NodeState::Running(_));
        while self.nodes.iter().filter(is_running).count() < self.plan.instances {
            self.start_missing_instances();
            sleep(RESTART_DELAY).await;
        }
    }

    /// Starts every instance that is down and that no active fault keeps down.
    pub(super) fn start_missing_instances(&mut self) {
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

    pub(super) fn start_instance(&mut self, index: usize) {
        let id = InstanceId(uuid::Builder::from_random_bytes(self.rng.random()).into_uuid());
        let (bus, bus_connection) = self.broker.connect(id);
        let (listener, connector) = memory_listener(BUFFER_BYTES);
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
            secret: secret(),
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
