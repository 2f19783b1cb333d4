//! Raids played on several nodes while these are killed, frozen or deployed. They are judged as in
//! any run; in addition, a deploy must be invisible: no player is shown offline, and no lead moves.

mod disturbance;
mod disturbed_play;
mod nodes;

use std::time::Duration;

use anyhow::Context;
pub use disturbance::DisturbanceArgs;
use disturbed_play::RECOVERY_TIME;
pub(super) use disturbed_play::play_disturbed;
pub use nodes::{Nodes, Services};
use tokio::time::{sleep, timeout};

use super::OVERHEAD_MAX;
use super::bot_groups::BotGroups;
use super::smoke::Codecs;
use crate::client_log::RunClock;
use crate::play::{BotHabits, BotPace, GroupPlan, OtherPlayers};
use crate::process::raise_open_files_limit;
use crate::report::Report;

/// Time limit for completing the final tasks.
pub(super) const FINAL_TASK_TIME: Duration = Duration::from_secs(2);

/// Arguments of `cluster`: the services, the load, and the disturbances.
#[derive(Debug, Clone, clap::Args)]
pub struct ClusterArgs {
    #[command(flatten)]
    pub services: Services,
    /// Nodes, 1 to 16
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u8).range(1..=16))]
    pub nodes: u8,
    #[command(flatten)]
    pub play: SteadyLoadArgs,
    #[command(flatten)]
    pub disturb: DisturbanceArgs,
}

/// Load at an even pace from players who do not leave their raid.
#[derive(Debug, Clone, clap::Args)]
pub struct SteadyLoadArgs {
    /// Raids played at once, 1 to 10000
    #[arg(long, default_value_t = 9, value_parser = super::parse_raids)]
    pub raids: usize,
    /// Players per raid, spread over the nodes, 1 to 100
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u16).range(1..=100))]
    pub players: u16,
    /// Seconds to play, 1 to 3600
    #[arg(long, default_value_t = 120, value_parser = clap::value_parser!(u64).range(1..=3600))]
    pub seconds: u64,
    /// Signals per second and player, 0 to 1000
    #[arg(long, default_value_t = 1.0, value_parser = super::parse_rate)]
    pub signals_per_second: f64,
    /// Commands per second and player, 0 to 1000
    #[arg(long, default_value_t = 1.0, value_parser = super::parse_rate)]
    pub commands_per_second: f64,
    /// Codecs that the clients use
    #[arg(long, value_enum, default_value_t = Codecs::Both)]
    pub codec: Codecs,
    /// Random seed; the same seed gives the same commands and disturbs the same nodes
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
}

impl ClusterArgs {
    pub(super) async fn start_nodes(&self) -> anyhow::Result<Nodes> {
        let count = usize::from(self.nodes);
        Nodes::start(&self.services, count, self.disturb.previous.as_ref()).await
    }
}

impl SteadyLoadArgs {
    pub(super) fn plans(&self) -> Vec<GroupPlan> {
        let pace = BotPace {
            commands_per_second: self.commands_per_second,
            signals_per_second: self.signals_per_second,
            reads_per_second: 0.0,
            poll_interval: Duration::from_millis(200),
        };
        let plan = |index| GroupPlan {
            index,
            players: usize::from(self.players),
            codecs: self.codec.list(),
            seed: self.seed.wrapping_mul(1_000_003).wrapping_add(index as u64),
            pace,
            is_winnable: index % 2 == 0,
            time_limit: None,
            habits: BotHabits::default(),
            active_players: usize::from(self.players),
            others: OtherPlayers::default(),
        };
        (0..self.raids).map(plan).collect()
    }
}

/// Starts the nodes, plays, disturbs them, judges and reports.
pub async fn cluster(args: &ClusterArgs) -> anyhow::Result<Report> {
    let nodes = args.start_nodes().await?;
    run_on_nodes(nodes, &args.play, &args.disturb).await
}

/// Does the same as [`cluster`] on nodes that are already running, and stops them at the end.
pub async fn run_on_nodes(
    nodes: Nodes,
    play: &SteadyLoadArgs,
    disturb: &DisturbanceArgs,
) -> anyhow::Result<Report> {
    let connections = play.raids * usize::from(play.players);
    raise_open_files_limit(connections as u64 + 256)?;
    run_within(nodes, play, disturb, async |nodes| {
        play_on(nodes, play, disturb).await
    })
    .await
}

/// Runs a function that plays on the nodes, stops them, and adds their logs to a report with
/// violations. Fails if it takes longer than playing, disturbances and everything else may.
pub(super) async fn run_within(
    mut nodes: Nodes,
    play: &SteadyLoadArgs,
    disturb: &DisturbanceArgs,
    play_on: impl AsyncFnOnce(&mut Nodes) -> anyhow::Result<Report>,
) -> anyhow::Result<Report> {
    let lasts = disturb.duration_max(Duration::from_secs(play.seconds), nodes.count());
    let time_max = lasts + RECOVERY_TIME + OVERHEAD_MAX;
    let played = timeout(time_max, play_on(&mut nodes)).await;
    let mut report = played.context("the run took too long")??;
    nodes.check_all_running()?;
    nodes.stop().await?;
    if !report.violations.is_empty() {
        report.evidence.extend(nodes.logs());
    }
    Ok(report)
}

async fn play_on(
    nodes: &mut Nodes,
    play: &SteadyLoadArgs,
    disturb: &DisturbanceArgs,
) -> anyhow::Result<Report> {
    let clock = RunClock::start();
    let mut groups = BotGroups::create(nodes.targets(), play.plans()).await?;
    groups.connect(clock).await?;
    groups.wait_until_fully_online().await?;
    let played = play_disturbed(nodes, clock, &groups, play, disturb).await?;
    groups.complete_final_task();
    sleep(FINAL_TASK_TIME).await;
    let connections = groups.connections();
    let outcomes = groups.settle().await?;
    let mut report = played.report("cluster", play, &outcomes, (nodes.count(), disturb));
    report.connections = connections;
    Ok(report)
}
