//! When the faults of a plan may disturb presence, so that the judge knows what it can demand.

use std::time::Duration;

use raidhall_loadtest::client_log::{ClientLog, Moment, Observation};
use raidhall_loadtest::judge::{Outage, Period};
use raidhall_protocol::ServerMessage;

use super::cluster::config;
use super::plan::{Fault, Plan, PlannedFault};
use crate::store::faulty::Call;

/// How long an instance may need after an outage until it tells others of its clients.
const OUTAGE_RECOVERY: Duration = Duration::from_secs(5);
/// How long others may need to take over the raids of an instance that has ended or stands still.
const TAKEOVER: Duration = Duration::from_secs(8);
/// How long after a lost message of presence the next one may come, and longer than a drain doubles
/// the grace after it has ended.
const PRESENCE_REPEAT: Duration = Duration::from_secs(17);

/// How long messages may be under way that were overtaken.
const DELAYED_MESSAGES: Duration = Duration::from_secs(2);

/// A period in which presence may be wrong.
#[derive(Debug, Clone, Copy)]
pub(super) struct Disturbance {
    pub(super) period: Period,
    /// Whether a player who is connected may be shown offline; otherwise changes only come late.
    pub(super) hides_players: bool,
    /// Whether an instance that begins to follow a raid meanwhile may reach none that knows who is
    /// online: the owner crashed, or a bus is cut.
    silences_owners: bool,
}

impl Disturbance {
    /// Returns whether this client of a raid may have been shown a player offline at this moment who
    /// was connected, or away for less than the grace.
    pub(super) fn may_hide_players(&self, client: &str, at: Moment, logs: &[ClientLog]) -> bool {
        let since_fault = Period {
            from: self.period.from,
            to: at,
        };
        let viewer = logs.iter().find(|log| log.client == client);
        let home = viewer.and_then(|log| find_server(log, at));
        let has_followed = logs
            .iter()
            .any(|log| watches_throughout(log, home, since_fault));
        self.period.contains(at) && (self.hides_players || (self.silences_owners && !has_followed))
    }
}

/// Returns the instance that a client was connected to last.
fn find_server(log: &ClientLog, at: Moment) -> Option<usize> {
    let earlier = log.entries().iter().rev().filter(|entry| entry.at <= at);
    let mut servers = earlier.filter_map(|entry| match entry.observation {
        Observation::Connected { server, .. } => Some(server),
        _ => None,
    });
    servers.next()
}

/// Returns whether a client watched at this instance all the time.
fn watches_throughout(log: &ClientLog, instance: Option<usize>, period: Period) -> bool {
    let mut is_there = false;
    let mut watches = false;
    for entry in log.entries() {
        let is_begun = period.from < entry.at;
        if is_begun && (!watches || period.to < entry.at) {
            break;
        }
        match &entry.observation {
            Observation::Connected { server, .. } => is_there = Some(*server) == instance,
            Observation::Disconnected { .. } => watches = false,
            Observation::Received(message) => match &**message {
                ServerMessage::Watching { .. } | ServerMessage::Snapshot { .. } => {
                    watches = is_there;
                }
                ServerMessage::Unwatched { .. } => watches = false,
                ServerMessage::Error { re, .. } if re == "watch" => watches = false,
                _ => {}
            },
            _ => {}
        }
    }
    watches
}

/// Returns when an instance may lose its lease or its clients, so that others take those clients for
/// offline. `began` is when the plan's time began.
pub(super) fn find_outages(plan: &Plan, began: Moment) -> Vec<Outage> {
    let mut outages = Vec::new();
    for planned in &plan.faults {
        if let Fault::StoreCut { instance }
        | Fault::StoreSlow { instance, .. }
        | Fault::Pause { instance }
        | Fault::ConnectionsStall { instance, .. }
        | Fault::CallsStall {
            instance,
            call: Call::Renew,
            ..
        }
        | Fault::AnswersStall {
            instance,
            call: Call::Renew,
            ..
        } = planned.fault
        {
            let period = find_period(plan, planned, began, OUTAGE_RECOVERY);
            outages.push(Outage {
                server: instance,
                from: period.from,
                to: period.to,
            });
        }
    }
    outages
}

/// Returns when instances may take raids over, begin the grace of players again, or lack messages
/// of presence. Players stay online through one drain, crash or known loss of the bus at a time, if
/// there is another instance.
pub(super) fn find_disturbances(plan: &Plan, began: Moment) -> Vec<Disturbance> {
    let mut disturbances = Vec::new();
    if plan.store_failures_permille > 0 {
        disturbances.push(Disturbance {
            period: Period {
                from: began,
                to: began.plus(plan.play_time() + TAKEOVER),
            },
            hides_players: true,
            silences_owners: false,
        });
    }
    for planned in &plan.faults {
        let recovery = match planned.fault {
            Fault::ConnectionsBreak { .. } | Fault::BusDuplicates => continue,
            Fault::StoreCut { .. }
            | Fault::StoreSlow { .. }
            | Fault::CommitsRefused { .. }
            | Fault::ConnectionsStall { .. }
            | Fault::ConnectionsSlow { .. } => OUTAGE_RECOVERY,
            Fault::Crash { .. } | Fault::Pause { .. } => TAKEOVER,
            // Each message of presence says how new it is.
            Fault::BusDisorder => DELAYED_MESSAGES,
            // The shutdown begins with a drain, and ends with the release of an old build.
            Fault::Drain { .. } | Fault::OldRelease { .. } => {
                config(plan).shutdown.timeout + PRESENCE_REPEAT
            }
            _ => PRESENCE_REPEAT,
        };
        let keeps_players = matches!(
            planned.fault,
            Fault::Drain { .. } | Fault::Crash { .. } | Fault::BusCut { .. } | Fault::BusDisorder
        );
        disturbances.push(Disturbance {
            period: find_period(plan, planned, began, recovery),
            hides_players: !keeps_players || plan.instances == 1,
            silences_owners: matches!(planned.fault, Fault::Crash { .. } | Fault::BusCut { .. }),
        });
    }
    let periods: Vec<_> = disturbances.iter().map(|it| it.period).collect();
    for disturbance in &mut disturbances {
        let overlapping = periods.iter().filter(|it| it.overlaps(disturbance.period));
        disturbance.hides_players |= overlapping.count() > 1;
    }
    if plan.has_floods {
        // Who floods is not read for a while, so that the end of the connection is noticed late.
        disturbances.push(Disturbance {
            period: Period {
                from: began,
                to: Moment::MAX,
            },
            hides_players: false,
            silences_owners: false,
        });
    }
    disturbances
}

/// Returns the parts of a period in which nothing disturbs presence.
pub(super) fn find_calm_periods(all: Period, disturbances: &[Disturbance]) -> Vec<Period> {
    let mut disturbed: Vec<_> = disturbances.iter().map(|it| it.period).collect();
    disturbed.sort_by_key(|period| period.from);
    let mut calm = Vec::new();
    let mut from = all.from;
    for period in disturbed {
        calm.push(Period {
            from,
            to: period.from.min(all.to),
        });
        from = from.max(period.to);
    }
    calm.push(Period { from, to: all.to });
    calm.retain(|period| period.from < period.to);
    calm
}

/// Returns the period of a fault and the recovery from it. Every fault ends with the plan's time.
fn find_period(plan: &Plan, planned: &PlannedFault, began: Moment, recovery: Duration) -> Period {
    let end = Duration::from_millis(planned.at_ms + planned.for_ms).min(plan.play_time());
    Period {
        from: began.plus(Duration::from_millis(planned.at_ms)),
        to: began.plus(end + recovery),
    }
}
