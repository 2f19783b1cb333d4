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

use super::truth::Truth;
use super::violation::{Breach, Violation};
use crate::ledger::{Entry, Ledger, Moment};

/// A stretch of a run in which everybody meant to be there.
#[derive(Debug, Clone, Copy)]
pub struct Calm {
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
pub struct Flaps {
    /// Times that a client was shown gone somebody who had hardly been away, or not at all.
    pub shown_gone: u64,
    /// Times that somebody lost the lead for being offline who was not for so long.
    pub deposed: u64,
    /// Times that somebody really was away for longer than the grace.
    pub absences: u64,
    /// Presence messages that changed nothing for the client that got them.
    pub repeated: u64,
    /// The first two, each with its place. Whether they convict depends on what was done to the servers.
    pub violations: Vec<Violation>,
}

impl Flaps {
    /// Adds another raid's.
    pub fn add(&mut self, other: Flaps) {
        self.shown_gone += other.shown_gone;
        self.deposed += other.deposed;
        self.absences += other.absences;
        self.repeated += other.repeated;
        self.violations.extend(other.violations);
    }
}

/// How much earlier a server may notice that a client is gone than the client itself, or later that it is back.
const NOTICE: Duration = Duration::from_millis(500);
/// How long what was true may be on its way to a client.
const ON_ITS_WAY: Duration = Duration::from_secs(2);

/// A time without any watching connection of a player.
#[derive(Debug, Clone, Copy)]
struct Gap {
    from: Moment,
    to: Moment,
    /// Of its own will: the player left the raid, or was sent away, and no grace applies.
    left: bool,
}

impl Gap {
    fn longer_than(&self, grace: Duration) -> bool {
        self.left || self.to.since(self.from) >= micros(grace.saturating_sub(NOTICE))
    }

    /// Whether it explains that the player is shown gone at this moment.
    fn explains(&self, at: Moment, grace: Duration) -> bool {
        let wait = if self.left {
            0
        } else {
            micros(grace.saturating_sub(NOTICE))
        };
        let begins = Moment(self.from.0.saturating_add(wait));
        let ends = Moment(self.to.0.saturating_add(micros(ON_ITS_WAY)));
        self.longer_than(grace) && begins <= at && at <= ends
    }
}

/// Judges what the clients of one raid were shown while it was calm.
pub fn flaps(raid: RaidId, ledgers: &[Ledger], truth: Option<&Truth>, calm: &Calm) -> Flaps {
    let gaps = gaps(ledgers);
    let mut flaps = Flaps::default();
    let during = |gap: &&Gap| gap.to >= calm.from && gap.from <= calm.to;
    let long = gaps
        .values()
        .flatten()
        .filter(during)
        .filter(|gap| gap.longer_than(calm.presence_grace));
    flaps.absences = long.count() as u64;
    for ledger in ledgers {
        shown(ledger, &gaps, calm, &mut flaps);
    }
    for (event, at) in changes_of_lead(ledgers, truth) {
        let EventData::LeaderChanged { previous, .. } = event.data else {
            continue;
        };
        let explained = gaps.get(&previous).is_some_and(|gaps| match at {
            Some(at) => gaps.iter().any(|gap| gap.explains(at, calm.leader_grace)),
            None => gaps.iter().any(|gap| gap.longer_than(calm.leader_grace)),
        });
        if !explained && at.is_none_or(|at| calm.from <= at && at <= calm.to) {
            flaps.deposed += 1;
            let breach = Breach::Deposed {
                seq: event.seq,
                leader: previous,
            };
            flaps.violations.push(Violation {
                raid,
                client: "server".to_owned(),
                breach,
            });
        }
    }
    flaps
}

/// What one client was shown.
fn shown(ledger: &Ledger, gaps: &BTreeMap<PlayerId, Vec<Gap>>, calm: &Calm, flaps: &mut Flaps) {
    let mut known: BTreeSet<PlayerId> = BTreeSet::new();
    for record in ledger.records() {
        let mut now = known.clone();
        let Entry::Received(message) = &record.entry else {
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
                flaps.repeated += u64::from(now == known);
            }
            _ => continue,
        }
        for player in known.difference(&now) {
            let explained = |gaps: &Vec<Gap>| {
                gaps.iter()
                    .any(|gap| gap.explains(record.at, calm.presence_grace))
            };
            let calm = calm.from <= record.at && record.at <= calm.to;
            // Of those without a ledger nothing is known.
            if calm && gaps.get(player).is_some_and(|gaps| !explained(gaps)) {
                flaps.shown_gone += 1;
                let (raid, client) = (ledger.raid, ledger.client.clone());
                let breach = Breach::ShownGone {
                    player: *player,
                    at_ms: record.at.0 / 1000,
                };
                flaps.violations.push(Violation {
                    raid,
                    client,
                    breach,
                });
            }
        }
        known = now;
    }
}

/// Every time that the lead moved because its holder was offline, and when a client first heard of it.
fn changes_of_lead<'a>(
    ledgers: &'a [Ledger],
    truth: Option<&'a Truth>,
) -> impl Iterator<Item = (&'a Event, Option<Moment>)> {
    let mut changes: BTreeMap<Seq, (&Event, Option<Moment>)> = BTreeMap::new();
    for event in truth.iter().flat_map(|truth| &truth.events) {
        changes.insert(event.seq, (event, None));
    }
    for record in ledgers.iter().flat_map(Ledger::records) {
        let Entry::Received(message) = &record.entry else {
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
fn gaps(ledgers: &[Ledger]) -> BTreeMap<PlayerId, Vec<Gap>> {
    let mut stays: BTreeMap<PlayerId, Vec<Gap>> = BTreeMap::new();
    for ledger in ledgers {
        stays
            .entry(ledger.player)
            .or_default()
            .extend(stays_of(ledger));
    }
    let between = |mut stays: Vec<Gap>| {
        stays.sort_by_key(|stay| stay.from);
        let mut gaps = Vec::new();
        let mut until: Option<Gap> = None;
        for stay in stays {
            let last = until.get_or_insert(stay);
            if last.to < stay.from {
                gaps.push(Gap {
                    from: last.to,
                    to: stay.from,
                    left: last.left,
                });
            }
            if last.to <= stay.to {
                *last = stay;
            }
        }
        let end = until.filter(|last| last.to < FOREVER);
        gaps.extend(end.map(|last| Gap {
            from: last.to,
            to: FOREVER,
            left: last.left,
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
struct Leaving {
    id: u64,
    since: Moment,
    done: bool,
}

/// The stretches in which a client watched; `left` when one ended by its own will. Who asked to leave may be shown
/// gone at any time from then on.
fn stays_of(ledger: &Ledger) -> Vec<Gap> {
    let mut stays: Vec<Gap> = Vec::new();
    let (mut here, mut leaving): (Option<Moment>, Option<Leaving>) = (None, None);
    for record in ledger.records() {
        let at = record.at;
        match &record.entry {
            Entry::Sent(ClientMessage::Do {
                id,
                cmd: Command::Leave,
                ..
            }) => {
                leaving.get_or_insert(Leaving {
                    id: *id,
                    since: at,
                    done: false,
                });
            }
            Entry::Disconnected { .. } => {
                let to = leaving.as_ref().map_or(at, |leaving| leaving.since);
                let left = leaving.is_some();
                stays.extend(here.take().map(|from| Gap {
                    from,
                    to: to.max(from),
                    left,
                }));
            }
            Entry::Received(message) => match &**message {
                ServerMessage::Watching { .. } | ServerMessage::Snapshot { .. }
                    if here.is_none() =>
                {
                    leaving = leaving.filter(|leaving| !leaving.done);
                    here = Some(at);
                }
                ServerMessage::Unwatched { .. } => {
                    let noticed = Moment(at.0.saturating_sub(micros(ON_ITS_WAY)));
                    let to = leaving.take().map_or(noticed, |leaving| leaving.since);
                    stays.extend(here.take().map(|from| Gap {
                        from,
                        to: to.max(from),
                        left: true,
                    }));
                }
                ServerMessage::Ack { id, .. } => {
                    leaving
                        .iter_mut()
                        .filter(|leaving| leaving.id == *id)
                        .for_each(|leaving| leaving.done = true);
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
    stays.extend(here.map(|from| Gap {
        from,
        to: FOREVER,
        left: false,
    }));
    stays
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}
