//! Raids played over several nodes while these are killed, frozen or deployed. Judged as ever; and a deploy must be
//! invisible: nobody shown gone, no lead moved.

mod disturb;
mod nodes;

use std::time::Duration;

use anyhow::Context;
pub use disturb::Disturb;
use disturb::Disturbed;
pub use nodes::{Nodes, Services};
use tokio::time::{Instant, sleep, timeout};

use super::gathered::Gathered;
use super::smoke::Codecs;
use super::tester::SelfWatch;
use super::{EVIDENCE_MAX, OVERHEAD_MAX, rates, sum_up};
use crate::judge::{Calm, Flaps, flaps};
use crate::ledger::RunClock;
use crate::play::{Outcome, Pace, Plan};
use crate::process::allow_files;
use crate::report::{ClusterFigures, Evidence, Report};
use crate::waits::Waits;

/// How long the last tasks may take.
const FINALE: Duration = Duration::from_secs(2);
/// How long people play on after the last disturbance: beyond the longest grace (10 s after a drain), so that whom a
/// server forgot over it is shown gone while it still counts.
const AFTERMATH: Duration = Duration::from_secs(12);
/// `raid.presence_grace_ms` of the nodes.
const PRESENCE_GRACE: Duration = Duration::from_secs(5);
/// `raid.leader_grace_ms` of the nodes.
const LEADER_GRACE: Duration = Duration::from_secs(60);

/// A cluster, what to play on it, and what to do to it.
#[derive(Debug, Clone, clap::Args)]
pub struct Cluster {
    /// What the nodes need.
    #[command(flatten)]
    pub services: Services,
    /// Nodes, 1 to 16
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u8).range(1..=16))]
    pub nodes: u8,
    /// What to play.
    #[command(flatten)]
    pub play: Steady,
    /// What to do to the nodes.
    #[command(flatten)]
    pub disturb: Disturb,
}

/// Play at an even pace, by people who stay.
#[derive(Debug, Clone, clap::Args)]
pub struct Steady {
    /// Raids played at once
    #[arg(long, default_value_t = 9)]
    pub raids: usize,
    /// Players in each, spread over the nodes, 1 to 100
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u16).range(1..=100))]
    pub players: u16,
    /// How long to play, 1 to 3600
    #[arg(long, default_value_t = 120, value_parser = clap::value_parser!(u64).range(1..=3600))]
    pub seconds: u64,
    /// Signals per player
    #[arg(long, default_value_t = 1.0)]
    pub signals_per_second: f64,
    /// Commands per player
    #[arg(long, default_value_t = 1.0)]
    pub commands_per_second: f64,
    /// How clients talk
    #[arg(long, value_enum, default_value_t = Codecs::Both)]
    pub codec: Codecs,
    /// The same seed makes the same wishes, and disturbs the same nodes
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
}

impl Steady {
    fn plans(&self) -> Vec<Plan> {
        let pace = Pace {
            commands_per_second: self.commands_per_second,
            signals_per_second: self.signals_per_second,
            look: Duration::from_millis(200),
        };
        let plan = |index| Plan {
            index,
            players: usize::from(self.players),
            codecs: self.codec.list(),
            seed: self.seed.wrapping_mul(1_000_003).wrapping_add(index as u64),
            pace,
            to_be_won: index % 2 == 0,
            restless: false,
            actors: usize::from(self.players),
        };
        (0..self.raids).map(plan).collect()
    }
}

/// Starts the nodes, plays, disturbs, judges and reports.
pub async fn cluster(args: &Cluster) -> anyhow::Result<Report> {
    let count = usize::from(args.nodes);
    let nodes = Nodes::start(&args.services, count, args.disturb.previous.as_ref()).await?;
    cluster_on(nodes, &args.play, &args.disturb).await
}

/// The same on nodes that run already; they are ended.
pub async fn cluster_on(
    mut nodes: Nodes,
    play: &Steady,
    disturb: &Disturb,
) -> anyhow::Result<Report> {
    let connections = play.raids * usize::from(play.players);
    allow_files(connections as u64 + 256)?;
    let lasts = disturb.lasts_at_most(Duration::from_secs(play.seconds), nodes.count());
    let played = timeout(
        lasts + AFTERMATH + OVERHEAD_MAX,
        play_on(&mut nodes, play, disturb),
    )
    .await;
    let mut report = played.context("the run took too long")??;
    nodes.check()?;
    nodes.close().await?;
    if !report.violations.is_empty() {
        report.evidence.extend(nodes.logs());
    }
    Ok(report)
}

async fn play_on(nodes: &mut Nodes, play: &Steady, disturb: &Disturb) -> anyhow::Result<Report> {
    let clock = RunClock::start();
    let mut gathered = Gathered::gather(nodes.targets(), play.plans()).await?;
    gathered.connect(clock).await?;
    gathered.complete().await?;
    let from = clock.now();
    gathered.play();
    let (read, began, tester) = (gathered.meter.read(), Instant::now(), SelfWatch::start()?);
    let until = began + Duration::from_secs(play.seconds);
    let done = disturb.run(nodes, clock, until, play.seed).await?;
    if disturb.anything() {
        sleep(AFTERMATH).await;
    }
    let (to, lasted, tester) = (gathered.meter.read(), began.elapsed(), tester.finish()?);
    let calm = Calm {
        from,
        to: clock.now(),
        presence_grace: PRESENCE_GRACE,
        leader_grace: LEADER_GRACE,
    };
    gathered.finale();
    sleep(FINALE).await;
    let connections = gathered.connections();
    let outcomes = gathered.rest().await?;
    let mut report = Report {
        run: "cluster".to_owned(),
        raids: play.raids,
        connections,
        seconds: lasted.as_secs_f64(),
        tester,
        ..Report::default()
    };
    report.counted.kills = done.kills;
    rates(&mut report, read, to, lasted);
    sum_up(&mut report, &outcomes);
    look_for_traces(
        &mut report,
        &outcomes,
        nodes.count(),
        done,
        &calm,
        disturb.invisible(),
    );
    Ok(report)
}

/// What the disturbances did to those who played.
fn look_for_traces(
    report: &mut Report,
    outcomes: &[Outcome],
    nodes: usize,
    done: Disturbed,
    calm: &Calm,
    invisible: bool,
) {
    let (mut waits, mut all) = (Waits::default(), Flaps::default());
    for outcome in outcomes {
        waits.add(outcome.raid, &outcome.ledgers, &done.frozen);
        let found = flaps(outcome.raid, &outcome.ledgers, Some(&outcome.truth), calm);
        if invisible {
            let saw = |evidence: &Evidence| {
                found.violations.iter().any(|violation| {
                    evidence.name == Evidence::file_name(outcome.raid, &violation.client)
                })
            };
            let room = EVIDENCE_MAX.saturating_sub(report.evidence.len());
            let known: Vec<_> = report
                .evidence
                .iter()
                .map(|evidence| evidence.name.clone())
                .collect();
            let ledgers = outcome.ledgers.iter().map(Evidence::of).filter(saw);
            report.evidence.extend(
                ledgers
                    .filter(|evidence| !known.contains(&evidence.name))
                    .take(room),
            );
            report
                .violations
                .extend(found.violations.iter().map(ToString::to_string));
        }
        all.add(found);
    }
    report.cluster = Some(ClusterFigures {
        nodes,
        kills: done.kills,
        stops: done.stops,
        rolls: done.rolls,
        stood: waits.stood.figures(),
        frozen: waits.frozen.figures(),
        torn: waits.torn.figures(),
        shown_gone: all.shown_gone,
        deposed: all.deposed,
        absences: all.absences,
        repeated: all.repeated,
        timeline: done.timeline,
    });
}
