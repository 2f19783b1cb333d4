//! Raids played while the server is killed and started again: clients come back with what they hold, and every
//! command that was ever acknowledged must be in the ledger exactly once.

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

/// How long the server stays dead.
const DOWNTIME: Duration = Duration::from_millis(300);
const FINAL_TASK_TIME: Duration = Duration::from_secs(2);

/// What to play, and how often the server dies.
#[derive(Debug, Clone, clap::Args)]
pub struct ChaosArgs {
    /// What to play.
    #[command(flatten)]
    pub play: SmokeArgs,
    /// Seconds between kills, 1 to 600
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=600))]
    pub kill_every: u64,
}

/// Plays, kills, judges and reports.
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
    let (clock, target) = (RunClock::start(), host.target());
    let mut gathered = BotGroups::create(target.into(), args.play.plans()).await?;
    gathered.connect(clock).await?;
    gathered.start_playing();
    let (from, began, tester) = (gathered.meter.read(), Instant::now(), SelfMonitor::start()?);
    let kills = kill_repeatedly(args, host, began + args.play.duration()).await?;
    let (to, lasted, tester) = (gathered.meter.read(), began.elapsed(), tester.finish()?);
    gathered.complete_final_task();
    sleep(FINAL_TASK_TIME).await;
    let connections = gathered.connections();
    let outcomes = gathered.settle().await?;
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
