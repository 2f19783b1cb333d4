//! P7: compares the players that clients saw go offline with those who were away, and finds leader
//! changes from a leader who was present.
//!
//! The set of players that a client knows to be online outlives its connections: the difference to
//! the list that it receives after a reconnect counts as a change. Only a player who was away for
//! longer than the server's grace, or who left the raid, may be shown offline.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use raidhall_protocol::event::{LeaderReason, LeaveReason};
use raidhall_protocol::{
    ClientMessage, CloseCode, Command, Event, EventData, PlayerId, RaidId, Seq, ServerMessage,
};

use super::all_events;
use super::server_record::ServerRecord;
use super::stale_presence::Period;
use super::told::ToldSeqs;
use super::violation::{Violation, ViolationKind};
use crate::client_log::{ClientLog, Moment, Observation};

/// A period of a run in which every player means to be online.
#[derive(Debug, Clone)]
pub struct StablePeriod {
    /// When every player was connected and had been shown every other player online.
    pub from: Moment,
    /// When the first players begin to disconnect.
    pub to: Moment,
    /// How long a player may be without a connection before others see the player offline
    /// (`raid.presence_grace_ms`).
    pub presence_grace: Duration,
    /// How long a leader may be without a connection before the lead moves
    /// (`raid.leader_grace_ms`).
    pub leader_grace: Duration,
    /// When servers could not tell others of the players who were connected to them.
    pub outages: Vec<Outage>,
}

impl StablePeriod {
    /// Returns when the period begins and ends.
    pub fn period(&self) -> Period {
        Period {
            from: self.from,
            to: self.to,
        }
    }
}

/// A time in which the players who are connected to a server may be offline for all others: the
/// server does not reach the database, or nothing passes between it and its clients.
#[derive(Debug, Clone, Copy)]
pub struct Outage {
    /// The index of the server among those that the clients know.
    pub server: usize,
    pub from: Moment,
    pub to: Moment,
}

/// Presence and leader changes that no absence explains, with counts of related messages.
#[derive(Debug, Default)]
pub struct PresenceErrors {
    /// How often a client was shown a player offline who had been away for less than the grace, or
    /// not at all.
    pub false_offline: u64,
    /// How often a player lost the lead for being offline without having been away for the leader's
    /// grace.
    pub false_leader_changes: u64,
    /// How often a player really was away for longer than the grace.
    pub absences: u64,
    /// Presence messages that changed nothing for the client that received them.
    pub redundant_messages: u64,
    /// One violation per false offline and false leader change. Whether they count depends on what
    /// was done to the servers.
    pub violations: Vec<Violation>,
}

impl PresenceErrors {
    /// Adds the errors of another raid.
    pub fn add(&mut self, other: PresenceErrors) {
        self.false_offline += other.false_offline;
        self.false_leader_changes += other.false_leader_changes;
        self.absences += other.absences;
        self.redundant_messages += other.redundant_messages;
        self.violations.extend(other.violations);
    }
}

/// How much earlier than the client a server may notice that the client is gone, or later that it
/// is back.
const DETECTION_SKEW: Duration = Duration::from_millis(500);
/// How long presence that is already outdated may be on its way to a client.
const PROPAGATION_MAX: Duration = Duration::from_secs(2);

/// A period without any watching connection of a player.
#[derive(Debug, Clone, Copy)]
struct Absence {
    from: Moment,
    to: Moment,
    cause: AbsenceCause,
}

/// Why a player does not watch any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum AbsenceCause {
    /// The player left the raid or was kicked, so that no grace applies.
    Left,
    /// The server drained, which doubles the grace for presence.
    Drained,
    /// The connection was lost or closed.
    Lost,
}

impl Absence {
    /// Returns for how long the player is still shown online.
    fn presence_grace(&self, stable: &StablePeriod) -> Duration {
        match self.cause {
            AbsenceCause::Drained => stable.presence_grace * 2,
            AbsenceCause::Left | AbsenceCause::Lost => stable.presence_grace,
        }
    }

    fn is_longer_than(&self, grace: Duration) -> bool {
        self.cause == AbsenceCause::Left
            || self.to.since(self.from) >= micros(grace.saturating_sub(DETECTION_SKEW))
    }

    /// Returns whether the absence explains that the player is shown offline at this moment.
    fn explains(&self, at: Moment, grace: Duration) -> bool {
        let wait = if self.cause == AbsenceCause::Left {
            0
        } else {
            micros(grace.saturating_sub(DETECTION_SKEW))
        };
        let begins = Moment(self.from.0.saturating_add(wait));
        let ends = Moment(self.to.0.saturating_add(micros(PROPAGATION_MAX)));
        self.is_longer_than(grace) && begins <= at && at <= ends
    }
}

/// Judges the presence that the clients of one raid were shown during the stable period.
pub fn check_presence(
    raid: RaidId,
    logs: &[ClientLog],
    server_record: Option<&ServerRecord>,
    stable: &StablePeriod,
) -> PresenceErrors {
    let mut absences = find_absences(logs, &stable.outages);
    for (event, at) in told_events(logs, server_record) {
        // A player who is kicked while a refused watch ends the former one does not learn of it.
        if let EventData::MemberLeft {
            player,
            reason: LeaveReason::Kicked,
            ..
        } = event.data
            && let Some(at) = at
            && let Some(absences) = absences.get_mut(&player)
        {
            absences.push(Absence {
                from: at.minus(PROPAGATION_MAX),
                to: Moment::MAX,
                cause: AbsenceCause::Left,
            });
        }
    }
    let mut errors = PresenceErrors::default();
    let during = |absence: &&Absence| absence.to >= stable.from && absence.from <= stable.to;
    let long = absences
        .values()
        .flatten()
        .filter(during)
        .filter(|absence| absence.is_longer_than(absence.presence_grace(stable)));
    errors.absences = long.count() as u64;
    for log in logs {
        check_client(log, &absences, stable, &mut errors);
    }
    for (event, at) in leader_changes(logs, server_record) {
        let EventData::LeaderChanged { previous, .. } = event.data else {
            continue;
        };
        // Nothing is known of players without a client log.
        let explained = absences.get(&previous).is_none_or(|absences| match at {
            Some(at) => absences
                .iter()
                .any(|absence| absence.explains(at, stable.leader_grace)),
            None => absences
                .iter()
                .any(|absence| absence.is_longer_than(stable.leader_grace)),
        });
        if !explained && at.is_none_or(|at| stable.from <= at && at <= stable.to) {
            errors.false_leader_changes += 1;
            let breach = ViolationKind::FalseLeaderChange {
                seq: event.seq,
                leader: previous,
            };
            errors.violations.push(Violation::of_server(raid, breach));
        }
    }
    errors
}

/// Checks the presence changes that one client was shown.
fn check_client(
    log: &ClientLog,
    absences: &BTreeMap<PlayerId, Vec<Absence>>,
    stable: &StablePeriod,
    errors: &mut PresenceErrors,
) {
    let mut known: BTreeSet<PlayerId> = BTreeSet::new();
    for record in log.entries() {
        let mut now = known.clone();
        let Observation::Received(message) = &record.observation else {
            continue;
        };
        match &**message {
            ServerMessage::Watching { online, .. } | ServerMessage::Snapshot { online, .. } => {
                now = online.iter().copied().collect();
            }
            ServerMessage::Presence {
                online, offline, ..
            } => {
                now.retain(|player| !offline.contains(player));
                now.extend(online);
                errors.redundant_messages += u64::from(now == known);
            }
            _ => continue,
        }
        for player in known.difference(&now) {
            let explained = |absences: &Vec<Absence>| {
                absences
                    .iter()
                    .any(|absence| absence.explains(record.at, absence.presence_grace(stable)))
            };
            let is_in_period = stable.from <= record.at && record.at <= stable.to;
            if is_in_period
                && absences
                    .get(player)
                    .is_some_and(|absences| !explained(absences))
            {
                errors.false_offline += 1;
                let breach = ViolationKind::FalseOffline {
                    player: *player,
                    at_ms: record.at.0 / 1000,
                };
                errors.violations.push(Violation::of(log, breach));
            }
        }
        known = now;
    }
}

/// Returns every leader change caused by an offline leader, and when a client was first told of it.
fn leader_changes<'a>(
    logs: &'a [ClientLog],
    server_record: Option<&'a ServerRecord>,
) -> impl Iterator<Item = (&'a Event, Option<Moment>)> {
    let offline = |event: &Event| {
        matches!(
            event.data,
            EventData::LeaderChanged {
                reason: LeaderReason::LeaderOffline,
                ..
            }
        )
    };
    told_events(logs, server_record).filter(move |(event, _)| offline(event))
}

/// Returns every event, and when a client was first told of it.
fn told_events<'a>(
    logs: &'a [ClientLog],
    server_record: Option<&'a ServerRecord>,
) -> impl Iterator<Item = (&'a Event, Option<Moment>)> {
    let told = ToldSeqs::from_logs(logs);
    let events: BTreeMap<Seq, &Event> = all_events(logs, server_record)
        .map(|event| (event.seq, event))
        .collect();
    let events = events.into_values();
    events.map(move |event| (event, told.first(event.seq)))
}

/// Returns when each player had no watching connection, from the player's first watch to the end of
/// the run.
fn find_absences(logs: &[ClientLog], outages: &[Outage]) -> BTreeMap<PlayerId, Vec<Absence>> {
    let mut periods: BTreeMap<PlayerId, Vec<Absence>> = BTreeMap::new();
    for log in logs {
        periods
            .entry(log.player)
            .or_default()
            .extend(watch_periods(log, outages));
    }
    let between = |mut periods: Vec<Absence>| {
        periods.sort_by_key(|period| period.from);
        let mut absences = Vec::new();
        let mut until: Option<Absence> = None;
        for period in periods {
            let last = until.get_or_insert(period);
            if last.to < period.from {
                absences.push(Absence {
                    from: last.to,
                    to: period.from,
                    cause: last.cause,
                });
            }
            if last.to <= period.to {
                *last = period;
            }
        }
        let end = until.filter(|last| last.to < Moment::MAX);
        absences.extend(end.map(|last| Absence {
            from: last.to,
            to: Moment::MAX,
            cause: last.cause,
        }));
        absences
    };
    periods
        .into_iter()
        .map(|(player, periods)| (player, between(periods)))
        .collect()
}

/// A `leave` that may not have taken effect yet.
struct PendingLeave {
    id: u64,
    sent_at: Moment,
    is_acknowledged: bool,
}

/// Returns the periods in which a client watched; `cause` is why it ended. A player who
/// asked to leave may be shown offline at any time from then on.
fn watch_periods(log: &ClientLog, outages: &[Outage]) -> Vec<Absence> {
    let mut periods: Vec<Absence> = Vec::new();
    let mut server = 0;
    let mut leaving: Option<PendingLeave> = None;
    let mut here: Option<Moment> = None;
    let end_period =
        |periods: &mut Vec<_>, here: &mut Option<Moment>, to: Moment, cause, server| {
            let period = here.take().map(|from| Absence {
                from,
                to: to.max(from),
                cause,
            });
            periods.extend(period.into_iter().flat_map(|it| split(it, server, outages)));
        };
    for record in log.entries() {
        let at = record.at;
        match &record.observation {
            Observation::Sent(ClientMessage::Do {
                id,
                cmd: Command::Leave,
                ..
            }) => {
                leaving.get_or_insert(PendingLeave {
                    id: *id,
                    sent_at: at,
                    is_acknowledged: false,
                });
            }
            Observation::Connected {
                server: current, ..
            } => server = *current,
            Observation::Disconnected { code } => {
                let to = leaving.as_ref().map_or(at, |leaving| leaving.sent_at);
                let cause = match code {
                    _ if leaving.is_some() => AbsenceCause::Left,
                    Some(code) if *code == CloseCode::Draining.code() => AbsenceCause::Drained,
                    _ => AbsenceCause::Lost,
                };
                end_period(&mut periods, &mut here, to, cause, server);
            }
            Observation::Received(message) => match &**message {
                ServerMessage::Watching { .. } | ServerMessage::Snapshot { .. }
                    if here.is_none() =>
                {
                    leaving = leaving.filter(|leaving| !leaving.is_acknowledged);
                    here = Some(at);
                }
                ServerMessage::Unwatched { .. } => {
                    let noticed = at.minus(PROPAGATION_MAX);
                    let to = leaving.take().map_or(noticed, |leaving| leaving.sent_at);
                    end_period(&mut periods, &mut here, to, AbsenceCause::Left, server);
                }
                // A watch that is refused ends the one that it was to replace.
                ServerMessage::Error { re, error, .. } if re == "watch" => {
                    let left = leaving.as_ref().map(|it| (it.sent_at, AbsenceCause::Left));
                    let (to, cause) = left.unwrap_or((at, AbsenceCause::Lost));
                    end_period(&mut periods, &mut here, to, cause, server);
                    // The player was removed, perhaps since an earlier watch was refused.
                    let last = periods.last_mut().filter(|_| !error.retry);
                    if let Some(last) = last {
                        last.cause = AbsenceCause::Left;
                    }
                }
                ServerMessage::Ack { id, .. } => {
                    if let Some(leaving) = leaving.as_mut().filter(|leaving| leaving.id == *id) {
                        leaving.is_acknowledged = true;
                    }
                }
                ServerMessage::Error {
                    id: Some(id),
                    error,
                    ..
                } if !error.retry => {
                    leaving = leaving.filter(|leaving| leaving.id != *id);
                }
                _ => {}
            },
            _ => {}
        }
    }
    // A log that ends while its client watches does not end the period.
    end_period(
        &mut periods,
        &mut here,
        Moment::MAX,
        AbsenceCause::Lost,
        server,
    );
    periods
}

/// Returns the parts of a watch period that lie outside the outages of its server.
fn split(period: Absence, server: usize, outages: &[Outage]) -> Vec<Absence> {
    let mut parts = vec![period];
    for outage in outages.iter().filter(|outage| outage.server == server) {
        parts = parts
            .into_iter()
            .flat_map(|part| {
                let cause = if part.to <= outage.from {
                    part.cause
                } else {
                    AbsenceCause::Lost
                };
                let before = Absence {
                    to: part.to.min(outage.from),
                    cause,
                    ..part
                };
                let after = Absence {
                    from: part.from.max(outage.to),
                    ..part
                };
                [before, after]
            })
            .filter(|part| part.from <= part.to)
            .collect();
    }
    parts
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}
