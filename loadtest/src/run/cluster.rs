//! Raids played on several nodes while these are killed, frozen or deployed. They are judged as in
//! any run; in addition, a deploy must be invisible: no player is shown offline, and no lead moves.

mod disturbance;
mod nodes;

use std::time::Duration;

use anyhow::Context;
pub use disturbance::DisturbanceArgs;
use disturbance::DisturbanceLog;
pub use nodes::{Nodes, Services};
use tokio::time::{Instant, sleep, timeout};

use super::bot_groups::BotGroups;
use super::self_monitor::SelfMonitor;
use super::smoke::Codecs;
use super::{CLIENT_LOGS_MAX, OVERHEAD_MAX, add_outcomes, set_rates};
use crate::ack_waits::AckWaits;
use crate::client_log::RunClock;
use crate::judge::{PresenceErrors, StablePeriod, check_presence};
use crate::play::{BotHabits, BotPace, GroupOutcome, GroupPlan, OtherPlayers};
use crate::process::raise_open_files_limit;
use crate::report::{ClientLogDump, ClusterFigures, Report};

/// Time limit for completing the final tasks.
const FINAL_TASK_TIME: Duration = Duration::from_secs(2);
/// How long the bots play on after the last disturbance: longer than the longest grace (10 s after
/// a drain), so that a player that a server forgot is shown offline while presence is still judged.
const RECOVERY_TIME: Duration = Duration::from_secs(12);
/// `raid.presence_grace_ms` of the nodes.
const PRESENCE_GRACE: Duration = Duration::from_secs(5);
/// `raid.leader_grace_ms` of the nodes.
const LEADER_GRACE: Duration = Duration::from_secs(60);

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

impl SteadyLoadArgs {
    fn plans(&self) -> Vec<GroupPlan> {
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
    let count = usize::from(args.nodes);
    let nodes = Nodes::start(&args.services, count, args.disturb.previous.as_ref()).await?;
    run_on_nodes(nodes, &args.play, &args.disturb).await
}

/// Does the same as [`cluster`] on nodes that are already running, and stops them at the end.
pub async fn run_on_nodes(
    mut nodes: Nodes,
    play: &SteadyLoadArgs,
    disturb: &DisturbanceArgs,
) -> anyhow::Result<Report> {
    let connections = play.raids * usize::from(play.players);
    raise_open_files_limit(connections as u64 + 256)?;
    let lasts = disturb.duration_max(Duration::from_secs(play.seconds), nodes.count());
    let played = timeout(
        lasts + RECOVERY_TIME + OVERHEAD_MAX,
        play_on(&mut nodes, play, disturb),
    )
    .await;
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
    let from = clock.now();
    groups.start_playing();
    let read = groups.meter.read();
    let began = Instant::now();
    let tester = SelfMonitor::start()?;
    let until = began + Duration::from_secs(play.seconds);
    let disturbances = disturb.run(nodes, clock, until, play.seed).await?;
    if disturb.is_any() {
        sleep(RECOVERY_TIME).await;
    }
    let to = groups.meter.read();
    let lasted = began.elapsed();
    let tester = tester.finish()?;
    let stable = StablePeriod {
        from,
        to: clock.now(),
        presence_grace: PRESENCE_GRACE,
        leader_grace: LEADER_GRACE,
        outages: Vec::new(),
    };
    groups.complete_final_task();
    sleep(FINAL_TASK_TIME).await;
    let connections = groups.connections();
    let outcomes = groups.settle().await?;
    let mut report = Report {
        run: "cluster".to_owned(),
        raids: play.raids,
        connections,
        seconds: lasted.as_secs_f64(),
        tester,
        ..Report::default()
    };
    report.counted.kills = disturbances.kills;
    set_rates(&mut report, read, to, lasted);
    add_outcomes(&mut report, &outcomes);
    check_disturbances(
        &mut report,
        &outcomes,
        nodes.count(),
        disturbances,
        &stable,
        disturb.is_invisible_to_players(),
    );
    Ok(report)
}

/// Adds what the disturbances did to the players: ack waits and presence errors.
fn check_disturbances(
    report: &mut Report,
    outcomes: &[GroupOutcome],
    nodes: usize,
    disturbances: DisturbanceLog,
    stable: &StablePeriod,
    invisible: bool,
) {
    let mut waits = AckWaits::default();
    let mut all = PresenceErrors::default();
    for outcome in outcomes {
        waits.add(outcome.raid, &outcome.ledgers, &disturbances.frozen);
        let found = check_presence(
            outcome.raid,
            &outcome.ledgers,
            Some(&outcome.server_record),
            stable,
        );
        if invisible {
            let saw = |evidence: &ClientLogDump| {
                found.violations.iter().any(|violation| {
                    evidence.name == ClientLogDump::file_name(outcome.raid, &violation.client)
                })
            };
            let room = CLIENT_LOGS_MAX.saturating_sub(report.evidence.len());
            let known: Vec<_> = report
                .evidence
                .iter()
                .map(|evidence| evidence.name.clone())
                .collect();
            let ledgers = outcome
                .ledgers
                .iter()
                .map(ClientLogDump::from_log)
                .filter(saw);
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
        kills: disturbances.kills,
        stops: disturbances.stops,
        rolls: disturbances.rolls,
        stood: waits.connected.figures(),
        frozen: waits.server_frozen.figures(),
        torn: waits.reconnected.figures(),
        shown_gone: all.false_offline,
        deposed: all.false_leader_changes,
        absences: all.absences,
        repeated: all.redundant_messages,
        timeline: disturbances.timeline,
    });
}
