//! Raids played while the server is killed and started again: clients come back with what they hold, and every
//! command that was ever acknowledged must be in the ledger exactly once.

use std::time::Duration;

use anyhow::{Context, bail};
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::gathered::Gathered;
use super::host::Host;
use super::smoke::Smoke;
use super::tester::SelfWatch;
use super::{OVERHEAD_MAX, rates, sum_up};
use crate::ledger::RunClock;
use crate::process::allow_files;
use crate::report::Report;

/// How long the server stays dead.
const DEAD: Duration = Duration::from_millis(300);
const FINALE: Duration = Duration::from_secs(2);

/// What to play, and how often the server dies.
#[derive(Debug, Clone, clap::Args)]
pub struct Chaos {
    /// What to play.
    #[command(flatten)]
    pub play: Smoke,
    /// Seconds between kills, 1 to 600
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=600))]
    pub kill_every: u64,
}

/// Plays, kills, judges and reports.
pub async fn chaos(args: &Chaos) -> anyhow::Result<Report> {
    let connections = args.play.raids * usize::from(args.play.players);
    allow_files(connections as u64 + 256)?;
    let mut host = Host::open(&args.play.host).await?;
    let kills = args.play.seconds / args.kill_every;
    let most = args.play.lasts()
        + OVERHEAD_MAX
        + Duration::from_secs(10) * u32::try_from(kills).unwrap_or(600);
    let played = timeout(most, play(args, &mut host)).await;
    let report = played.context("the run took too long")??;
    host.close().await?;
    Ok(report)
}

async fn play(args: &Chaos, host: &mut Host) -> anyhow::Result<Report> {
    let (clock, target) = (RunClock::start(), host.target());
    let mut gathered = Gathered::gather(target.into(), args.play.plans()).await?;
    gathered.connect(clock).await?;
    gathered.play();
    let (from, began, tester) = (gathered.meter.read(), Instant::now(), SelfWatch::start()?);
    let kills = kill_again_and_again(args, host, began + args.play.lasts()).await?;
    let (to, lasted, tester) = (gathered.meter.read(), began.elapsed(), tester.finish()?);
    gathered.finale();
    sleep(FINALE).await;
    let connections = gathered.connections();
    let outcomes = gathered.rest().await?;
    let mut report = Report {
        run: "chaos".to_owned(),
        raids: args.play.raids,
        connections,
        seconds: lasted.as_secs_f64(),
        tester,
        ..Report::default()
    };
    report.counted.kills = kills;
    rates(&mut report, from, to, lasted);
    sum_up(&mut report, &outcomes);
    Ok(report)
}

async fn kill_again_and_again(
    args: &Chaos,
    host: &mut Host,
    until: Instant,
) -> anyhow::Result<u64> {
    let Host::Own(server) = host else {
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
        sleep(DEAD).await;
        server.resume().await.context("start the server again")?;
    }
}
