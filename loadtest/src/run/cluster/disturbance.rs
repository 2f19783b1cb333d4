//! What is done to the nodes of a cluster while people play: killed, frozen, or deployed one after the other.

use std::path::PathBuf;
use std::time::Duration;

use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use tokio::time::{Instant, sleep, sleep_until};

use super::nodes::Nodes;
use crate::ack_waits::FreezePeriod;
use crate::client_log::{Moment, RunClock};

/// What to do to the nodes; nothing, unless one of the first four is given.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct DisturbanceArgs {
    /// Kill a node every so many seconds (SIGKILL), and start it again; which one follows from the seed
    #[arg(long, value_name = "SECONDS", group = "disturb", value_parser = clap::value_parser!(u64).range(1..=3600))]
    pub kill_every: Option<u64>,
    /// Freeze a node every so many seconds (SIGSTOP) for twice as long as a lease lasts
    #[arg(long, value_name = "SECONDS", group = "disturb", value_parser = clap::value_parser!(u64).range(1..=3600))]
    pub stop_every: Option<u64>,
    /// Restart a node every so many seconds as a deploy does (SIGTERM), each in its turn
    #[arg(long, value_name = "SECONDS", group = "disturb", value_parser = clap::value_parser!(u64).range(1..=3600))]
    pub roll_every: Option<u64>,
    /// Restart all nodes in turn so many times, as fast as they get ready; the run ends when that is done
    #[arg(long, value_name = "TIMES", group = "disturb", value_parser = clap::value_parser!(u32).range(1..=100))]
    pub roll: Option<u32>,
    /// How long a killed node stays dead, in milliseconds
    #[arg(long, value_name = "MS", default_value_t = 1000, value_parser = clap::value_parser!(u64).range(0..=60_000))]
    pub dead_ms: u64,
    /// A server's program of another release, which takes turns with the present one at each restart
    #[arg(
        long,
        value_name = "PATH",
        requires = "disturb",
        conflicts_with = "stop_every"
    )]
    pub previous: Option<PathBuf>,
}

/// What was done.
#[derive(Debug, Default)]
pub(super) struct DisturbanceLog {
    pub(super) kills: u64,
    pub(super) stops: u64,
    pub(super) rolls: u64,
    pub(super) frozen: Vec<FreezePeriod>,
    pub(super) timeline: Vec<String>,
}

/// Twice the time that a lease lasts (`lease.ttl_ms`, 3,000).
const FREEZE_TIME: Duration = Duration::from_secs(6);
/// The longest that ending and starting one node may take; beyond it either fails by itself.
const RESTART_MAX: Duration = Duration::from_secs(80);

impl DisturbanceArgs {
    /// Whether nobody may notice: nothing is done, or only what deploys do.
    pub(super) const fn is_invisible_to_players(&self) -> bool {
        self.kill_every.is_none() && self.stop_every.is_none()
    }

    pub(super) const fn is_any(&self) -> bool {
        !self.is_invisible_to_players() || self.roll_every.is_some() || self.roll.is_some()
    }

    /// How long it can take at most, of a run that plays for so long.
    pub(super) fn duration_max(&self, play: Duration, nodes: usize) -> Duration {
        let rolls = self.roll.unwrap_or(0) * u32::try_from(nodes).unwrap_or(u32::MAX);
        play + RESTART_MAX + RESTART_MAX.saturating_mul(rolls)
    }

    /// Does it, until then; with `roll`, until it is done.
    pub(super) async fn run(
        &self,
        nodes: &mut Nodes,
        clock: RunClock,
        until: Instant,
        seed: u64,
    ) -> anyhow::Result<DisturbanceLog> {
        let mut at_work = DisturbanceRunner {
            nodes,
            clock,
            downtime: Duration::from_millis(self.dead_ms),
            log: DisturbanceLog::default(),
        };
        let mut rng = SmallRng::seed_from_u64(seed);
        if let Some(times) = self.roll {
            for _ in 0..times {
                for node in 0..at_work.nodes.count() {
                    at_work.roll(node).await?;
                }
            }
            return Ok(at_work.log);
        }
        let every = self
            .kill_every
            .or(self.stop_every)
            .or(self.roll_every)
            .map(Duration::from_secs);
        let (mut next, mut turn) = (Instant::now(), 0);
        while let Some(every) = every {
            next = (next + every).max(Instant::now());
            if next >= until {
                break;
            }
            sleep_until(next).await;
            at_work.nodes.check_all_running()?;
            let any = rng.random_range(0..at_work.nodes.count());
            if self.kill_every.is_some() {
                at_work.kill(any).await?;
            } else if self.stop_every.is_some() {
                at_work.freeze(any).await?;
            } else {
                at_work.roll(turn % at_work.nodes.count()).await?;
                turn += 1;
            }
        }
        sleep_until(until).await;
        Ok(at_work.log)
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
        self.record(&format!("node {node} told to end"));
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
