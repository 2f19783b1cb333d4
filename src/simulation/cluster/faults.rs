//! What faults do to a cluster.

use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng, RngCore, SeedableRng};

use super::nodes::NodeConnections;
use super::{REFUSED_SHARE, START_TIME, SimulatedCluster, millis};
use crate::clock::suspension::suspend;
use crate::cluster::bus::in_process::BusFault;
use crate::simulation::network::LinkSpeed;
use crate::simulation::plan::Fault;
use crate::store::faulty::RandomFaults;

impl SimulatedCluster {
    pub(super) fn begin(&mut self, fault: Fault) {
        self.active_faults.push(fault);
        match fault {
            Fault::Crash { instance } => self.crash(instance),
            Fault::Drain { instance } => self.shut_down(instance, false),
            Fault::CallsStall {
                instance,
                call,
                count,
            } => {
                for connections in self.connections_of(instance) {
                    connections.store.faults().stall_calls(call, count);
                }
            }
            Fault::AnswersStall {
                instance,
                call,
                count,
            } => {
                for connections in self.connections_of(instance) {
                    connections.store.faults().stall_answers(call, count);
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

    pub(super) async fn end(&mut self, fault: Fault) {
        let position = self.active_faults.iter().position(|it| *it == fault);
        self.active_faults
            .remove(position.expect("a fault that has begun"));
        self.set_conditions();
        match fault {
            Fault::Crash { .. } | Fault::Drain { .. } => self.start_missing_instances(),
            Fault::CallsStall { instance, .. } | Fault::AnswersStall { instance, .. } => {
                let lands = self.rng.random();
                for connections in self.connections_of(instance) {
                    connections.end_stall(lands).await;
                }
            }
            Fault::OldRelease { instance } => self.shut_down(instance, false),
            _ => {}
        }
    }

    /// Makes everything as the active faults demand.
    pub(super) fn set_conditions(&mut self) {
        self.remove_ended_nodes();
        for node in &self.nodes {
            let instance = node.index;
            let has = |fault| self.active_faults.contains(&fault);
            let NodeConnections {
                process, link, bus, ..
            } = &node.connections;
            process.set_paused(has(Fault::Pause { instance }));
            let speed = self.active_faults.iter().find_map(|fault| match *fault {
                Fault::ConnectionsStall { instance, every } if instance == node.index => {
                    Some((LinkSpeed::Stalled, every))
                }
                Fault::ConnectionsSlow { instance, every } if instance == node.index => {
                    Some((LinkSpeed::Slow, every))
                }
                _ => None,
            });
            let (speed, every) = speed.unwrap_or((LinkSpeed::Normal, 1));
            link.set_speed(speed, every);
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

    pub(super) fn set_store_conditions(&mut self) {
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

    pub(super) fn set_clock(&self) {
        let elapsed = self.began.elapsed() + self.suspended;
        self.store
            .set_now(START_TIME.plus(millis(elapsed)).plus(self.clock_jumped_ms));
    }

    /// Returns the connections of an instance, and of its predecessors that shut down.
    pub(super) fn connections_of(&self, index: usize) -> impl Iterator<Item = &NodeConnections> {
        let nodes = self.nodes.iter().filter(move |node| node.index == index);
        nodes.map(|node| &node.connections)
    }
}
