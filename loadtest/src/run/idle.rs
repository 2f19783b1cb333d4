//! Connections that watch and do nothing: what each costs the server in memory, and all of them in
//! wake-ups.

use std::time::Duration;

use anyhow::Context;
use raidhall_protocol::Codec;
use tokio::time::{Instant, sleep, timeout};

use super::OVERHEAD_MAX;
use super::add_outcomes;
use super::bot_groups::BotGroups;
use super::run_server::{RunServer, RunServerArgs};
use super::self_monitor::SelfMonitor;
use super::smoke::idle_figures;
use crate::client_log::RunClock;
use crate::play::{BotHabits, BotPace, GroupPlan, OtherPlayers};
use crate::process::raise_open_files_limit;
use crate::report::Report;

/// The most members that a raid can have.
const RAID_MEMBERS_MAX: usize = 100;
/// How long the server needs to settle after all clients have connected.
const SETTLE_TIME: Duration = Duration::from_secs(3);

/// Arguments of `idle`: the server, how many connections, and for how long.
#[derive(Debug, Clone, clap::Args)]
pub struct IdleArgs {
    #[command(flatten)]
    pub host: RunServerArgs,
    /// Connections, 1 to 25000 (an address has no more ports)
    #[arg(long, default_value_t = 5000, value_parser = clap::value_parser!(u32).range(1..=25_000))]
    pub connections: u32,
    /// Seconds that the connections stay, 1 to 3600
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..=3600))]
    pub seconds: u64,
}

/// Connects, waits, measures, judges the few messages received, and reports.
pub async fn idle(args: &IdleArgs) -> anyhow::Result<Report> {
    raise_open_files_limit(u64::from(args.connections) + 256)?;
    let mut host = RunServer::open(&args.host).await?;
    let most = Duration::from_secs(args.seconds) + OVERHEAD_MAX;
    let report = timeout(most, hold_connections(args, &host))
        .await
        .context("the run took too long")??;
    host.close().await?;
    Ok(report)
}

async fn hold_connections(args: &IdleArgs, host: &RunServer) -> anyhow::Result<Report> {
    let clock = RunClock::start();
    let target = host.target();
    let mut groups = BotGroups::create(target.into(), plans(args.connections as usize)).await?;
    let before = host.usage();
    groups.connect(clock).await?;
    sleep(SETTLE_TIME).await;
    let connected = host.usage();
    let began = Instant::now();
    let tester = SelfMonitor::start()?;
    sleep(Duration::from_secs(args.seconds)).await;
    let idle = host.usage();
    let lasted = began.elapsed();
    let tester = tester.finish()?;
    let connections = groups.connections();
    let mut report = Report {
        run: "idle".to_owned(),
        raids: connections.div_ceil(RAID_MEMBERS_MAX),
        connections,
        seconds: lasted.as_secs_f64(),
        tester,
        ..Report::default()
    };
    if let (Some(before), Some(connected), Some(idle)) = (before, connected, idle) {
        report.server = Some(idle_figures(before, connected, idle, lasted, connections));
    }
    add_outcomes(&mut report, &groups.settle().await?);
    Ok(report)
}

/// Returns the plans of as few raids as can hold all connections.
fn plans(connections: usize) -> Vec<GroupPlan> {
    let pace = BotPace {
        commands_per_second: 0.0,
        signals_per_second: 0.0,
        reads_per_second: 0.0,
        poll_interval: Duration::from_secs(5),
    };
    (0..connections.div_ceil(RAID_MEMBERS_MAX))
        .map(|index| GroupPlan {
            index,
            players: (connections - index * RAID_MEMBERS_MAX).min(RAID_MEMBERS_MAX),
            codecs: &Codec::ALL,
            seed: index as u64,
            pace,
            is_winnable: false,
            time_limit: None,
            habits: BotHabits::default(),
            active_players: RAID_MEMBERS_MAX,
            others: OtherPlayers::default(),
        })
        .collect()
}
