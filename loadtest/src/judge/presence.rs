//! P7: whom clients were shown gone, against who was away; and whether the lead moved from somebody who was there.
//!
//! What a client knows to be online outlives its connections: a list that it gets on its return counts as what changed
//! since. Somebody who was away for longer than the server's grace, or who left the raid, may be shown gone; nobody
//! else.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use raidhall_protocol::event::LeaderReason;
use raidhall_protocol::{
    ClientMessage, Command, Event, EventData, PlayerId, RaidId, Seq, ServerMessage,
};

use super::server_record::ServerRecord;
use super::violation::{Violation, ViolationKind};
use crate::client_log::{ClientLog, Moment, Observation};

/// A stretch of a run in which everybody meant to be there.
#[derive(Debug, Clone, Copy)]
pub struct StablePeriod {
    /// Everybody is connected, and was shown everybody else.
    pub from: Moment,
    /// People begin to go home.
    pub to: Moment,
    /// How long somebody may be without a connection before others are shown it (`raid.presence_grace_ms`).
    pub presence_grace: Duration,
    /// How long a leader may be (`raid.leader_grace_ms`).
    pub leader_grace: Duration,
}

/// What clients were shown that was not so.
#[derive(Debug, Default)]
pub struct PresenceErrors {
    /// Times that a client was shown gone somebody who had hardly been away, or not at all.
    pub false_offline: u64,
    /// Times that somebody lost the lead for being offline who was not for so long.
    pub false_leader_changes: u64,
    /// Times that somebody really was away for longer than the grace.
    pub absences: u64,
    /// Presence messages that changed nothing for the client that got them.
    pub redundant_messages: u64,
    /// The first two, each with its place. Whether they convict depends on what was done to the servers.
    pub violations: Vec<Violation>,
}

impl PresenceErrors {
    /// Adds another raid's.
    pub fn add(&mut self, other: PresenceErrors) {
        self.false_offline += other.false_offline;
        self.false_leader_changes += other.false_leader_changes;
        self.absences += other.absences;
        self.redundant_messages += other.redundant_messages;
        self.violations.extend(other.violations);
    }
}

/// How much earlier a server may notice that a client is gone than the client itself, or later that it is back.
const DETECTION_SKEW: Duration = Duration::from_millis(500);
/// How long what was true may be on its way to a client.
const PROPAGATION_MAX: Duration = Duration::from_secs(2);

/// A time without any watching connection of a player.
#[derive(Debug, Clone, Copy)]
struct Absence {
    from: Moment,
    to: Moment,
    /// Of its own will: the player left the raid, or was sent away, and no grace applies.
    is_voluntary: bool,
}

impl Absence {
    fn is_longer_than(&self, grace: Duration) -> bool {
        self.is_voluntary
            || self.to.since(self.from) >= micros(grace.saturating_sub(DETECTION_SKEW))
    }

    /// Whether it explains that the player is shown gone at this moment.
    fn explains(&self, at: Moment, grace: Duration) -> bool {
        let wait = if self.is_voluntary {
            0
        } else {
            micros(grace.saturating_sub(DETECTION_SKEW))
        };
        let begins = Moment(self.from.0.saturating_add(wait));
        let ends = Moment(self.to.0.saturating_add(micros(PROPAGATION_MAX)));
        self.is_longer_than(grace) && begins <= at && at <= ends
    }
}

/// Judges what the clients of one raid were shown while it was calm.
pub fn check_presence(
    raid: RaidId,
    ledgers: &[ClientLog],
    truth: Option<&ServerRecord>,
    calm: &StablePeriod,
) -> PresenceErrors {
    let gaps = find_absences(ledgers);
    let mut flaps = PresenceErrors::default();
    let during = |gap: &&Absence| gap.to >= calm.from && gap.from <= calm.to;
    let long = gaps
        .values()
        .flatten()
        .filter(during)
        .filter(|gap| gap.is_longer_than(calm.presence_grace));
    flaps.absences = long.count() as u64;
    for ledger in ledgers {
        check_client(ledger, &gaps, calm, &mut flaps);
    }
    for (event, at) in leader_changes(ledgers, truth) {
        let EventData::LeaderChanged { previous, .. } = event.data else {
            continue;
        };
        let explained = gaps.get(&previous).is_some_and(|gaps| match at {
            Some(at) => gaps.iter().any(|gap| gap.explains(at, calm.leader_grace)),
            None => gaps.iter().any(|gap| gap.is_longer_than(calm.leader_grace)),
        });
        if !explained && at.is_none_or(|at| calm.from <= at && at <= calm.to) {
            flaps.false_leader_changes += 1;
            let breach = ViolationKind::FalseLeaderChange {
                seq: event.seq,
                leader: previous,
            };
            flaps.violations.push(Violation {
                raid,
                client: "server".to_owned(),
                kind: breach,
            });
        }
    }
    flaps
}

/// What one client was shown.
fn check_client(
    ledger: &ClientLog,
    gaps: &BTreeMap<PlayerId, Vec<Absence>>,
    calm: &StablePeriod,
    flaps: &mut PresenceErrors,
) {
    let mut known: BTreeSet<PlayerId> = BTreeSet::new();
    for record in ledger.entries() {
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
                flaps.redundant_messages += u64::from(now == known);
            }
            _ => continue,
        }
        for player in known.difference(&now) {
            let explained = |gaps: &Vec<Absence>| {
                gaps.iter()
                    .any(|gap| gap.explains(record.at, calm.presence_grace))
            };
            let calm = calm.from <= record.at && record.at <= calm.to;
            // Of those without a ledger nothing is known.
            if calm && gaps.get(player).is_some_and(|gaps| !explained(gaps)) {
                flaps.false_offline += 1;
                let (raid, client) = (ledger.raid, ledger.client.clone());
                let breach = ViolationKind::FalseOffline {
                    player: *player,
                    at_ms: record.at.0 / 1000,
                };
                flaps.violations.push(Violation {
                    raid,
                    client,
                    kind: breach,
                });
            }
        }
        known = now;
    }
}

/// Every time that the lead moved because its holder was offline, and when a client first heard of it.
fn leader_changes<'a>(
    ledgers: &'a [ClientLog],
    truth: Option<&'a ServerRecord>,
) -> impl Iterator<Item = (&'a Event, Option<Moment>)> {
    let mut changes: BTreeMap<Seq, (&Event, Option<Moment>)> = BTreeMap::new();
    for event in truth.iter().flat_map(|truth| &truth.events) {
        changes.insert(event.seq, (event, None));
    }
    for record in ledgers.iter().flat_map(ClientLog::entries) {
        let Observation::Received(message) = &record.observation else {
            continue;
        };
        if let ServerMessage::Event { event, .. } = &**message {
            let (_, at) = changes.entry(event.seq).or_insert((event, None));
            *at = Some(at.map_or(record.at, |at| at.min(record.at)));
        }
    }
    let offline = |event: &Event| {
        matches!(
            event.data,
            EventData::LeaderChanged {
                reason: LeaderReason::LeaderOffline,
                ..
            }
        )
    };
    changes
        .into_values()
        .filter(move |(event, _)| offline(event))
}

/// When each player had no watching connection, between the first and the end of the run.
fn find_absences(ledgers: &[ClientLog]) -> BTreeMap<PlayerId, Vec<Absence>> {
    let mut stays: BTreeMap<PlayerId, Vec<Absence>> = BTreeMap::new();
    for ledger in ledgers {
        stays
            .entry(ledger.player)
            .or_default()
            .extend(watch_periods(ledger));
    }
    let between = |mut stays: Vec<Absence>| {
        stays.sort_by_key(|stay| stay.from);
        let mut gaps = Vec::new();
        let mut until: Option<Absence> = None;
        for stay in stays {
            let last = until.get_or_insert(stay);
            if last.to < stay.from {
                gaps.push(Absence {
                    from: last.to,
                    to: stay.from,
                    is_voluntary: last.is_voluntary,
                });
            }
            if last.to <= stay.to {
                *last = stay;
            }
        }
        let end = until.filter(|last| last.to < FOREVER);
        gaps.extend(end.map(|last| Absence {
            from: last.to,
            to: FOREVER,
            is_voluntary: last.is_voluntary,
        }));
        gaps
    };
    stays
        .into_iter()
        .map(|(player, stays)| (player, between(stays)))
        .collect()
}

const FOREVER: Moment = Moment(u64::MAX);

/// A `leave` on its way.
struct PendingLeave {
    id: u64,
    sent_at: Moment,
    is_acknowledged: bool,
}

/// The stretches in which a client watched; `left` when one ended by its own will. Who asked to leave may be shown
/// gone at any time from then on.
fn watch_periods(ledger: &ClientLog) -> Vec<Absence> {
    let mut stays: Vec<Absence> = Vec::new();
    let (mut here, mut leaving): (Option<Moment>, Option<PendingLeave>) = (None, None);
    for record in ledger.entries() {
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
            Observation::Disconnected { .. } => {
                let to = leaving.as_ref().map_or(at, |leaving| leaving.sent_at);
                let left = leaving.is_some();
                stays.extend(here.take().map(|from| Absence {
                    from,
                    to: to.max(from),
                    is_voluntary: left,
                }));
            }
            Observation::Received(message) => match &**message {
                ServerMessage::Watching { .. } | ServerMessage::Snapshot { .. }
                    if here.is_none() =>
                {
                    leaving = leaving.filter(|leaving| !leaving.is_acknowledged);
                    here = Some(at);
                }
                ServerMessage::Unwatched { .. } => {
                    let noticed = Moment(at.0.saturating_sub(micros(PROPAGATION_MAX)));
                    let to = leaving.take().map_or(noticed, |leaving| leaving.sent_at);
                    stays.extend(here.take().map(|from| Absence {
                        from,
                        to: to.max(from),
                        is_voluntary: true,
                    }));
                }
                ServerMessage::Ack { id, .. } => {
                    leaving
                        .iter_mut()
                        .filter(|leaving| leaving.id == *id)
                        .for_each(|leaving| leaving.is_acknowledged = true);
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
    // A ledger that ends while its client watches says nothing of an end.
    stays.extend(here.map(|from| Absence {
        from,
        to: FOREVER,
        is_voluntary: false,
    }));
    stays
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}
