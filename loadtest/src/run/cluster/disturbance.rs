//! Disturbances of a cluster's nodes while bots play: nodes are killed, frozen, or deployed one
//! after the other.

use std::path::PathBuf;
use std::time::Duration;

use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use tokio::time::{Instant, sleep, sleep_until};

use super::nodes::Nodes;
use crate::ack_waits::FreezePeriod;
use crate::client_log::{Moment, RunClock};

/// What is done to the nodes: nothing, unless one of the first four options is given.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct DisturbanceArgs {
    /// Kill a random node (SIGKILL) every SECONDS, and restart it; the choice follows from the seed
    #[arg(long, value_name = "SECONDS", group = "disturb", value_parser = clap::value_parser!(u64).range(1..=3600))]
    pub kill_every: Option<u64>,
    /// Freeze a random node (SIGSTOP) every SECONDS, for twice the duration of a lease
    #[arg(long, value_name = "SECONDS", group = "disturb", value_parser = clap::value_parser!(u64).range(1..=3600))]
    pub stop_every: Option<u64>,
    /// Restart a node (SIGTERM) every SECONDS as a deploy does, each in turn
    #[arg(long, value_name = "SECONDS", group = "disturb", value_parser = clap::value_parser!(u64).range(1..=3600))]
    pub roll_every: Option<u64>,
    /// Restart all nodes in turn, TIMES times, as fast as they become ready; the run ends when that
    /// is done
    #[arg(long, value_name = "TIMES", group = "disturb", value_parser = clap::value_parser!(u32).range(1..=100))]
    pub roll: Option<u32>,
    /// Milliseconds that a killed node stays down
    #[arg(long, value_name = "MS", default_value_t = 1000, value_parser = clap::value_parser!(u64).range(0..=60_000))]
    pub dead_ms: u64,
    /// Server binary of another release, which alternates with the present one at each restart
    #[arg(
        long,
        value_name = "PATH",
        requires = "disturb",
        conflicts_with = "stop_every"
    )]
    pub previous: Option<PathBuf>,
}

/// The disturbances of a run, counted and with their times.
#[derive(Debug, Default)]
pub(super) struct DisturbanceLog {
    pub(super) kills: u64,
    pub(super) stops: u64,
    pub(super) rolls: u64,
    pub(super) frozen: Vec<FreezePeriod>,
    pub(super) timeline: Vec<String>,
}

/// Twice the duration of a lease (`lease.ttl_ms`, 3,000).
const FREEZE_TIME: Duration = Duration::from_secs(6);
/// Upper bound for stopping and starting one node; each of the two fails by itself beyond it.
const RESTART_MAX: Duration = Duration::from_secs(80);

impl DisturbanceArgs {
    /// Returns whether players must not notice anything: there are no disturbances, or only those
    /// of a deploy.
    pub(super) const fn is_invisible_to_players(&self) -> bool {
        self.kill_every.is_none() && self.stop_every.is_none()
    }

    pub(in crate::run) const fn is_any(&self) -> bool {
        !self.is_invisible_to_players() || self.roll_every.is_some() || self.roll.is_some()
    }

    /// Returns the longest possible duration of the disturbances in a run that plays this long.
    pub(super) fn duration_max(&self, play: Duration, nodes: usize) -> Duration {
        let rolls = self.roll.unwrap_or(0) * u32::try_from(nodes).unwrap_or(u32::MAX);
        play + RESTART_MAX + RESTART_MAX.saturating_mul(rolls)
    }

    /// Disturbs the nodes until the given time, or with `roll` until all restarts are done.
    pub(super) async fn run(
        &self,
        nodes: &mut Nodes,
        clock: RunClock,
        until: Instant,
        seed: u64,
    ) -> anyhow::Result<DisturbanceLog> {
        let mut runner = DisturbanceRunner {
            nodes,
            clock,
            downtime: Duration::from_millis(self.dead_ms),
            log: DisturbanceLog::default(),
        };
        let mut rng = SmallRng::seed_from_u64(seed);
        if let Some(times) = self.roll {
            for _ in 0..times {
                for node in 0..runner.nodes.count() {
                    runner.roll(node).await?;
                }
            }
            return Ok(runner.log);
        }
        let every = self
            .kill_every
            .or(self.stop_every)
            .or(self.roll_every)
            .map(Duration::from_secs);
        let mut next = Instant::now();
        let mut turn = 0;
        while let Some(every) = every {
            next = (next + every).max(Instant::now());
            if next >= until {
                break;
            }
            sleep_until(next).await;
            runner.nodes.check_all_running()?;
            let any = rng.random_range(0..runner.nodes.count());
            if self.kill_every.is_some() {
                runner.kill(any).await?;
            } else if self.stop_every.is_some() {
                runner.freeze(any).await?;
            } else {
                runner.roll(turn % runner.nodes.count()).await?;
                turn += 1;
            }
        }
        sleep_until(until).await;
        Ok(runner.log)
    }
}

struct DisturbanceRunner<'a> {
    nodes: &'a mut Nodes,
    clock: RunClock,
    downtime: Duration,
    log: DisturbanceLog,
}

impl DisturbanceRunner<'_> {
    async fn kill(&mut self, node: usize) -> anyhow::Result<()> {
        self.record(&format!("node {node} killed"));
        self.nodes.kill(node).await?;
        self.log.kills += 1;
        sleep(self.downtime).await;
        self.nodes.restart(node).await?;
        self.record(&format!("node {node} ready"));
        Ok(())
    }

    async fn freeze(&mut self, node: usize) -> anyhow::Result<()> {
        let from = self.record(&format!("node {node} frozen"));
        self.nodes.freeze(node).await?;
        self.log.stops += 1;
        sleep(FREEZE_TIME).await;
        self.nodes.thaw(node)?;
        let to = self.record(&format!("node {node} thawed"));
        self.log.frozen.push(FreezePeriod {
            server: node,
            from,
            to,
        });
        Ok(())
    }

    async fn roll(&mut self, node: usize) -> anyhow::Result<()> {
        self.record(&format!("node {node} asked to end"));
        self.nodes.terminate(node).await?;
        self.record(&format!("node {node} ended"));
        self.log.rolls += 1;
        self.nodes.restart(node).await?;
        self.record(&format!("node {node} ready"));
        Ok(())
    }

    fn record(&mut self, what: &str) -> Moment {
        let now = self.clock.now();
        self.log
            .timeline
            .push(format!("{:.3} s: {what}", now.0 as f64 / 1e6));
        now
    }
}
