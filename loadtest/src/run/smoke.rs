//! Whole raids by real clients in both codecs, measured while they play and judged when they are over.

use std::time::Duration;

use anyhow::Context;
use raidhall_protocol::Codec;
use tokio::time::{Instant, sleep, timeout};

use super::bot_groups::BotGroups;
use super::run_server::{RunServer, RunServerArgs};
use super::self_monitor::SelfMonitor;
use super::{OVERHEAD_MAX, add_outcomes, set_rates};
use crate::client_log::RunClock;
use crate::play::{BotPace, GroupPlan};
use crate::process::{ProcessUsage, raise_open_files_limit};
use crate::report::{Report, ServerFigures};

/// How long everybody is connected before anybody acts.
const IDLE_TIME: Duration = Duration::from_secs(2);
/// How long playing takes to become steady.
const RAMP_UP_TIME: Duration = Duration::from_secs(2);
/// How long the last tasks may take.
const FINAL_TASK_TIME: Duration = Duration::from_secs(2);

/// What to play.
#[derive(Debug, Clone, clap::Args)]
pub struct SmokeArgs {
    /// Where the server is.
    #[command(flatten)]
    pub host: RunServerArgs,
    /// Raids played at once
    #[arg(long, default_value_t = 10)]
    pub raids: usize,
    /// Players in each, 1 to 100
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u16).range(1..=100))]
    pub players: u16,
    /// How long to play, 1 to 3600
    #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..=3600))]
    pub seconds: u64,
    /// Signals per player
    #[arg(long, default_value_t = 5.0)]
    pub signals_per_second: f64,
    /// Commands per player
    #[arg(long, default_value_t = 1.0)]
    pub commands_per_second: f64,
    /// How clients talk
    #[arg(long, value_enum, default_value_t = Codecs::Both)]
    pub codec: Codecs,
    /// The same seed makes the same wishes
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
}

/// Which codecs the clients use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Codecs {
    /// Half each.
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
    /// One plan per raid; every other raid is to be won at the end.
    pub(super) fn plans(&self) -> Vec<GroupPlan> {
        let pace = BotPace {
            commands_per_second: self.commands_per_second,
            signals_per_second: self.signals_per_second,
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
                may_leave: true,
                active_players: usize::from(self.players),
            })
            .collect()
    }

    pub(super) const fn duration(&self) -> Duration {
        Duration::from_secs(self.seconds)
    }
}

/// Plays, judges and reports. Errs when there is nothing to judge.
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
    let (clock, target) = (RunClock::start(), host.target());
    let mut gathered = BotGroups::create(target.into(), args.plans()).await?;
    let before = host.usage();
    gathered.connect(clock).await?;
    let (connected, began_idle) = (host.usage(), Instant::now());
    sleep(IDLE_TIME).await;
    let (idle, idled) = (host.usage(), began_idle.elapsed());

    gathered.start_playing();
    sleep(RAMP_UP_TIME.min(args.duration() / 4)).await;
    let (busy, from, began) = (host.usage(), gathered.meter.read(), Instant::now());
    let tester = SelfMonitor::start()?;
    sleep(args.duration()).await;
    let (done, to, lasted) = (host.usage(), gathered.meter.read(), began.elapsed());
    let tester = tester.finish()?;
    gathered.complete_final_task();
    sleep(FINAL_TASK_TIME).await;

    let connections = gathered.connections();
    let outcomes = gathered.settle().await?;
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

/// What a server uses while everybody is connected and nobody acts.
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
