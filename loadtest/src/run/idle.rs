//! Connections that watch and do nothing: what each costs the server in memory, and what all cost it in wake-ups.

use std::time::Duration;

use anyhow::Context;
use raidhall_protocol::Codec;
use tokio::time::{Instant, sleep, timeout};

use super::OVERHEAD_MAX;
use super::gathered::Gathered;
use super::host::{Host, HostArgs};
use super::smoke::idle_figures;
use super::sum_up;
use super::tester::SelfWatch;
use crate::ledger::RunClock;
use crate::play::{Pace, Plan};
use crate::process::allow_files;
use crate::report::Report;

/// The most members that a raid takes.
const PLAYERS_MAX: usize = 100;
/// How long what connecting left behind may take to settle.
const CALM: Duration = Duration::from_secs(3);

/// How many connections, for how long.
#[derive(Debug, Clone, clap::Args)]
pub struct Idle {
    /// Where the server is.
    #[command(flatten)]
    pub host: HostArgs,
    /// Connections, 1 to 25000 (one address has no more ports)
    #[arg(long, default_value_t = 5000, value_parser = clap::value_parser!(u32).range(1..=25_000))]
    pub connections: u32,
    /// How long they stay, 1 to 3600
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..=3600))]
    pub seconds: u64,
}

/// Connects, waits, measures and judges what little was said.
pub async fn idle(args: &Idle) -> anyhow::Result<Report> {
    allow_files(u64::from(args.connections) + 256)?;
    let mut host = Host::open(&args.host).await?;
    let most = Duration::from_secs(args.seconds) + OVERHEAD_MAX;
    let report = timeout(most, stay(args, &host))
        .await
        .context("the run took too long")??;
    host.close().await?;
    Ok(report)
}

async fn stay(args: &Idle, host: &Host) -> anyhow::Result<Report> {
    let (clock, target) = (RunClock::start(), host.target());
    let mut gathered = Gathered::gather(target.into(), plans(args.connections as usize)).await?;
    let before = host.usage();
    gathered.connect(clock).await?;
    sleep(CALM).await;
    let (connected, began, tester) = (host.usage(), Instant::now(), SelfWatch::start()?);
    sleep(Duration::from_secs(args.seconds)).await;
    let (idle, lasted, tester) = (host.usage(), began.elapsed(), tester.finish()?);
    let connections = gathered.connections();
    let mut report = Report {
        run: "idle".to_owned(),
        raids: connections.div_ceil(PLAYERS_MAX),
        connections,
        seconds: lasted.as_secs_f64(),
        tester,
        ..Report::default()
    };
    if let (Some(before), Some(connected), Some(idle)) = (before, connected, idle) {
        report.server = Some(idle_figures(before, connected, idle, lasted, connections));
    }
    sum_up(&mut report, &gathered.rest().await?);
    Ok(report)
}

/// As few raids as hold them all.
fn plans(connections: usize) -> Vec<Plan> {
    let pace = Pace {
        commands_per_second: 0.0,
        signals_per_second: 0.0,
        look: Duration::from_secs(5),
    };
    (0..connections.div_ceil(PLAYERS_MAX))
        .map(|index| Plan {
            index,
            players: (connections - index * PLAYERS_MAX).min(PLAYERS_MAX),
            codecs: &Codec::ALL,
            seed: index as u64,
            pace,
            to_be_won: false,
            restless: false,
            actors: PLAYERS_MAX,
        })
        .collect()
}
