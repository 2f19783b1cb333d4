//! Raids played while the server is killed and restarted: clients come back with what they hold,
//! and every command that was ever acknowledged must be in the ledger exactly once.

use std::time::Duration;

use anyhow::{Context, bail};
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::bot_groups::BotGroups;
use super::run_server::RunServer;
use super::self_monitor::SelfMonitor;
use super::smoke::SmokeArgs;
use super::{OVERHEAD_MAX, add_outcomes, set_rates};
use crate::client_log::RunClock;
use crate::process::raise_open_files_limit;
use crate::report::Report;

/// How long a killed server stays down.
const DOWNTIME: Duration = Duration::from_millis(300);
const FINAL_TASK_TIME: Duration = Duration::from_secs(2);

/// Arguments of `chaos`: those of `smoke`, and how often the server is killed.
#[derive(Debug, Clone, clap::Args)]
pub struct ChaosArgs {
    #[command(flatten)]
    pub play: SmokeArgs,
    /// Seconds between kills, 1 to 600
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=600))]
    pub kill_every: u64,
}

/// Plays while the server is killed again and again, judges and reports.
pub async fn chaos(args: &ChaosArgs) -> anyhow::Result<Report> {
    let connections = args.play.raids * usize::from(args.play.players);
    raise_open_files_limit(connections as u64 + 256)?;
    let mut host = RunServer::open(&args.play.host).await?;
    let kills = args.play.seconds / args.kill_every;
    let most = args.play.duration()
        + OVERHEAD_MAX
        + Duration::from_secs(10) * u32::try_from(kills).unwrap_or(600);
    let played = timeout(most, play(args, &mut host)).await;
    let report = played.context("the run took too long")??;
    host.close().await?;
    Ok(report)
}

async fn play(args: &ChaosArgs, host: &mut RunServer) -> anyhow::Result<Report> {
    let clock = RunClock::start();
    let target = host.target();
    let mut groups = BotGroups::create(target.into(), args.play.plans()).await?;
    groups.connect(clock).await?;
    groups.start_playing();
    let from = groups.meter.read();
    let began = Instant::now();
    let tester = SelfMonitor::start()?;
    let kills = kill_repeatedly(args, host, began + args.play.duration()).await?;
    let to = groups.meter.read();
    let lasted = began.elapsed();
    let tester = tester.finish()?;
    groups.complete_final_task();
    sleep(FINAL_TASK_TIME).await;
    let connections = groups.connections();
    let outcomes = groups.settle().await?;
    let mut report = Report {
        run: "chaos".to_owned(),
        raids: args.play.raids,
        connections,
        seconds: lasted.as_secs_f64(),
        tester,
        ..Report::default()
    };
    report.counted.kills = kills;
    set_rates(&mut report, from, to, lasted);
    add_outcomes(&mut report, &outcomes);
    Ok(report)
}

async fn kill_repeatedly(
    args: &ChaosArgs,
    host: &mut RunServer,
    until: Instant,
) -> anyhow::Result<u64> {
    let RunServer::Spawned(server) = host else {
        bail!("chaos kills the server: start one for it with --spawn")
    };
    let mut kills = 0;
    loop {
        let next = Instant::now() + Duration::from_secs(args.kill_every);
        if next >= until {
            sleep_until(until).await;
            return Ok(kills);
        }
        sleep_until(next).await;
        server.kill().await?;
        kills += 1;
        sleep(DOWNTIME).await;
        server.restart().await.context("start the server again")?;
    }
}
