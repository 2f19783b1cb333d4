//! Playing on nodes while they are disturbed, and what the players noticed of it.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::disturbance::{DisturbanceArgs, DisturbanceLog};
use super::{Nodes, SteadyLoadArgs};
use crate::ack_waits::AckWaits;
use crate::client_log::{Moment, RunClock};
use crate::judge::{PresenceErrors, StablePeriod, check_presence};
use crate::play::{GroupOutcome, TrafficReading};
use crate::report::{ClientLogDump, ClusterFigures, Report, TesterLoad};
use crate::run::bot_groups::BotGroups;
use crate::run::self_monitor::SelfMonitor;
use crate::run::{CLIENT_LOGS_MAX, add_outcomes, set_rates};

/// How long the bots play on after the last disturbance: longer than the longest grace (10 s after
/// a drain), so that a player that a server forgot is shown offline while presence is still judged.
pub(super) const RECOVERY_TIME: Duration = Duration::from_secs(12);
/// `raid.presence_grace_ms` of the nodes.
const PRESENCE_GRACE: Duration = Duration::from_secs(5);
/// `raid.leader_grace_ms` of the nodes.
const LEADER_GRACE: Duration = Duration::from_secs(60);

/// What a time of playing on disturbed nodes gave, before the raids have settled.
pub(in crate::run) struct DisturbedPlay {
    pub(in crate::run) from: Moment,
    pub(in crate::run) to: Moment,
    lasted: Duration,
    traffic: [TrafficReading; 2],
    tester: TesterLoad,
    disturbances: DisturbanceLog,
}

/// Lets the bots play while the nodes are disturbed, and for a while after that.
pub(in crate::run) async fn play_disturbed(
    nodes: &mut Nodes,
    clock: RunClock,
    groups: &BotGroups,
    play: &SteadyLoadArgs,
    disturb: &DisturbanceArgs,
) -> anyhow::Result<DisturbedPlay> {
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
    Ok(DisturbedPlay {
        from,
        to: clock.now(),
        lasted: began.elapsed(),
        traffic: [read, groups.meter.read()],
        tester: tester.finish()?,
        disturbances,
    })
}

impl DisturbedPlay {
    /// Judges the raids, and reports what the disturbances did to their players.
    pub(in crate::run) fn report(
        self,
        run: &str,
        play: &SteadyLoadArgs,
        outcomes: &[GroupOutcome],
        (nodes, disturb): (usize, &DisturbanceArgs),
    ) -> Report {
        let mut report = Report {
            run: run.to_owned(),
            raids: play.raids,
            seconds: self.lasted.as_secs_f64(),
            tester: self.tester,
            ..Report::default()
        };
        report.counted.kills = self.disturbances.kills;
        let [from, to] = self.traffic;
        set_rates(&mut report, from, to, self.lasted);
        add_outcomes(&mut report, outcomes);
        let stable = StablePeriod {
            from: self.from,
            to: self.to,
            presence_grace: PRESENCE_GRACE,
            leader_grace: LEADER_GRACE,
            outages: Vec::new(),
        };
        let invisible = disturb.is_invisible_to_players();
        let disturbances = self.disturbances;
        check_disturbances(
            &mut report,
            outcomes,
            nodes,
            disturbances,
            &stable,
            invisible,
        );
        report
    }
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
