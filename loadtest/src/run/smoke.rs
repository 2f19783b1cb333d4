//! Whole raids played by real clients in both codecs, measured while they play and judged
//! afterwards.

use std::time::Duration;

use anyhow::Context;
use raidhall_protocol::Codec;
use tokio::time::{Instant, sleep, timeout};

use super::bot_groups::BotGroups;
use super::run_server::{RunServer, RunServerArgs};
use super::self_monitor::SelfMonitor;
use super::{OVERHEAD_MAX, add_outcomes, set_rates};
use crate::client_log::RunClock;
use crate::play::{BotHabits, BotPace, GroupPlan, OtherPlayers};
use crate::process::{ProcessUsage, raise_open_files_limit};
use crate::report::{Report, ServerFigures};

/// How long all clients are connected before any of them acts.
const IDLE_TIME: Duration = Duration::from_secs(2);
/// How long it takes until the load is steady.
const RAMP_UP_TIME: Duration = Duration::from_secs(2);
/// Time limit for completing the final tasks.
const FINAL_TASK_TIME: Duration = Duration::from_secs(2);

/// Arguments of `smoke`: the server, and the load.
#[derive(Debug, Clone, clap::Args)]
pub struct SmokeArgs {
    #[command(flatten)]
    pub host: RunServerArgs,
    /// Raids played at once, 1 to 10000
    #[arg(long, default_value_t = 10, value_parser = super::parse_raids)]
    pub raids: usize,
    /// Players per raid, 1 to 100
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u16).range(1..=100))]
    pub players: u16,
    /// Seconds to play, 1 to 3600
    #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..=3600))]
    pub seconds: u64,
    /// Signals per second and player, 0 to 1000
    #[arg(long, default_value_t = 5.0, value_parser = super::parse_rate)]
    pub signals_per_second: f64,
    /// Commands per second and player, 0 to 1000
    #[arg(long, default_value_t = 1.0, value_parser = super::parse_rate)]
    pub commands_per_second: f64,
    /// Codecs that the clients use
    #[arg(long, value_enum, default_value_t = Codecs::Both)]
    pub codec: Codecs,
    /// Random seed; the same seed gives the same commands
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
}

/// The codecs that the clients use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Codecs {
    /// Both codecs, each by half of the clients.
    Both,
    /// JSON in text frames.
    Json,
    /// MessagePack in binary frames.
    Msgpack,
}

impl Codecs {
    pub(super) const fn list(self) -> &'static [Codec] {
        match self {
            Self::Both => &Codec::ALL,
            Self::Json => &[Codec::Json],
            Self::Msgpack => &[Codec::MessagePack],
        }
    }
}

impl SmokeArgs {
    /// Returns one plan per raid; every other raid is won at the end.
    pub(super) fn plans(&self) -> Vec<GroupPlan> {
        let pace = BotPace {
            commands_per_second: self.commands_per_second,
            signals_per_second: self.signals_per_second,
            reads_per_second: 0.0,
            poll_interval: Duration::from_millis(200),
        };
        (0..self.raids)
            .map(|index| GroupPlan {
                index,
                players: usize::from(self.players),
                codecs: self.codec.list(),
                seed: self.seed.wrapping_mul(1_000_003).wrapping_add(index as u64),
                pace,
                is_winnable: index % 2 == 0,
                time_limit: None,
                habits: BotHabits {
                    may_leave: true,
                    ..BotHabits::default()
                },
                active_players: usize::from(self.players),
                others: OtherPlayers::default(),
            })
            .collect()
    }

    pub(super) const fn duration(&self) -> Duration {
        Duration::from_secs(self.seconds)
    }
}

/// Plays, measures, judges and reports. Fails when the run could not be completed.
pub async fn smoke(args: &SmokeArgs) -> anyhow::Result<Report> {
    let connections = args.raids * usize::from(args.players);
    raise_open_files_limit(connections as u64 + 256)?;
    let mut host = RunServer::open(&args.host).await?;
    let played = timeout(args.duration() + OVERHEAD_MAX, play(args, &host)).await;
    let report = played.context("the run took too long")??;
    host.close().await?;
    Ok(report)
}

async fn play(args: &SmokeArgs, host: &RunServer) -> anyhow::Result<Report> {
    let clock = RunClock::start();
    let target = host.target();
    let mut groups = BotGroups::create(target.into(), args.plans()).await?;
    let before = host.usage();
    groups.connect(clock).await?;
    let connected = host.usage();
    let began_idle = Instant::now();
    sleep(IDLE_TIME).await;
    let idle = host.usage();
    let idled = began_idle.elapsed();

    groups.start_playing();
    sleep(RAMP_UP_TIME.min(args.duration() / 4)).await;
    let busy = host.usage();
    let from = groups.meter.read();
    let began = Instant::now();
    let tester = SelfMonitor::start()?;
    sleep(args.duration()).await;
    let done = host.usage();
    let to = groups.meter.read();
    let lasted = began.elapsed();
    let tester = tester.finish()?;
    groups.complete_final_task();
    sleep(FINAL_TASK_TIME).await;

    let connections = groups.connections();
    let outcomes = groups.settle().await?;
    let mut report = Report {
        run: "smoke".to_owned(),
        raids: args.raids,
        connections,
        seconds: lasted.as_secs_f64(),
        tester,
        ..Report::default()
    };
    set_rates(&mut report, from, to, lasted);
    if let (Some(before), Some(connected), Some(idle), Some(busy), Some(done)) =
        (before, connected, idle, busy, done)
    {
        let mut server = idle_figures(before, connected, idle, idled, connections);
        let cpu = done.cpu.saturating_sub(busy.cpu);
        let deliveries = (to.deliveries - from.deliveries).max(1);
        server.cpu_micros_per_delivery = cpu.as_secs_f64() * 1e6 / deliveries as f64;
        server.cpu_cores = cpu.as_secs_f64() / lasted.as_secs_f64();
        server.rss_played_bytes = done.rss_bytes;
        server.bytes_per_connection =
            done.rss_bytes.saturating_sub(before.rss_bytes) as f64 / connections.max(1) as f64;
        report.server = Some(server);
    }
    add_outcomes(&mut report, &outcomes);
    Ok(report)
}

/// Returns what the server uses while all clients are connected and none acts.
pub(super) fn idle_figures(
    before: ProcessUsage,
    connected: ProcessUsage,
    idle: ProcessUsage,
    idled: Duration,
    connections: usize,
) -> ServerFigures {
    let seconds = idled.as_secs_f64().max(0.001);
    let per_connection =
        idle.rss_bytes.saturating_sub(before.rss_bytes) as f64 / connections.max(1) as f64;
    ServerFigures {
        rss_before_bytes: before.rss_bytes,
        rss_idle_bytes: idle.rss_bytes,
        rss_played_bytes: idle.rss_bytes,
        bytes_per_idle_connection: per_connection,
        bytes_per_connection: per_connection,
        idle_wakes_per_second: idle.sleeps.saturating_sub(connected.sleeps) as f64 / seconds,
        idle_cpu_cores: idle.cpu.saturating_sub(connected.cpu).as_secs_f64() / seconds,
        ..ServerFigures::default()
    }
}
