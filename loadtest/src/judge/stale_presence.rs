//! P9: compares who clients are shown online, and who leads, with who is connected, in periods in
//! which nothing disturbs the servers: an absence is shown and a missing leader replaced in time, and
//! a player who is back is shown online in time.
//!
//! Each log must be that of its player's only client.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use raidhall_protocol::state::Role;
use raidhall_protocol::{
    ClientMessage, Command, Event, EventData, PlayerId, RaidId, Seq, ServerMessage,
};

use super::all_events;
use super::presence::StablePeriod;
use super::server_record::ServerRecord;
use super::told::ToldSeqs;
use super::violation::{Violation, ViolationKind};
use crate::client_log::{ClientLog, Moment, Observation};

/// How long a change of presence may take to reach clients, and how long servers may need to notice
/// that a connection has ended.
const PROPAGATION_MAX: Duration = Duration::from_secs(2);

/// A part of a run; one without an end ends at [`Moment::MAX`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Period {
    pub from: Moment,
    pub to: Moment,
}

impl Period {
    /// Returns whether a moment lies in this period.
    pub fn contains(self, at: Moment) -> bool {
        self.from <= at && at < self.to
    }

    /// Returns whether the periods have a moment in common.
    pub fn overlaps(self, other: Period) -> bool {
        self.overlap(other).is_some()
    }

    fn overlap(self, other: Period) -> Option<Period> {
        let from = self.from.max(other.from);
        let to = self.to.min(other.to);
        (from < to).then_some(Period { from, to })
    }

    /// Returns what is left after this time.
    fn after(self, time: Duration) -> Option<Period> {
        let from = self.from.plus(time);
        (from < self.to).then_some(Period { from, ..self })
    }
}

/// Judges the presence and the leaders of one raid in each calm period. What began before counts from
/// the period's begin.
pub fn check_stale_presence(
    raid: RaidId,
    logs: &[ClientLog],
    server_record: Option<&ServerRecord>,
    stable: &StablePeriod,
    calm_periods: &[Period],
) -> Vec<Violation> {
    let clients: Vec<_> = logs.iter().map(read_client).collect();
    let terms = find_terms(logs, server_record);
    let mut violations = Vec::new();
    for calm in calm_periods {
        let unreplaced = terms.iter().filter_map(|(leader, term)| {
            let at = find_unreplaced(*leader, term.overlap(*calm)?, &clients, stable)?;
            let leader = *leader;
            let at_ms = at.0 / 1_000;
            Some(("server", ViolationKind::LeaderNotReplaced { leader, at_ms }))
        });
        let found = find_wrongly_shown(&clients, *calm, stable);
        violations.extend(found.into_iter().chain(unreplaced));
    }
    let violation = |(client, kind): (&str, _)| Violation {
        raid,
        client: client.to_owned(),
        kind,
    };
    violations.into_iter().map(violation).collect()
}

/// Returns which clients were shown a player otherwise than the player was, each with its name.
fn find_wrongly_shown<'a>(
    clients: &[ClientPresence<'a>],
    calm: Period,
    stable: &StablePeriod,
) -> Vec<(&'a str, ViolationKind)> {
    let noticed = stable.presence_grace + PROPAGATION_MAX;
    let mut wrong = Vec::new();
    for ClientPresence {
        player,
        present,
        away,
        ..
    } in clients
    {
        let player = *player;
        let after = |period: &Period, time| period.overlap(calm)?.after(time);
        for viewer in clients {
            for period in away.iter().filter_map(|away| after(away, noticed)) {
                let at = viewer.find_wrong(player, false, period);
                wrong.extend(at.map(|at| {
                    let at_ms = at.0 / 1_000;
                    (
                        viewer.name,
                        ViolationKind::StillShownOnline { player, at_ms },
                    )
                }));
            }
            for period in present
                .iter()
                .filter_map(|present| after(present, PROPAGATION_MAX))
            {
                let at = viewer.find_wrong(player, true, period);
                wrong.extend(at.map(|at| {
                    let at_ms = at.0 / 1_000;
                    (viewer.name, ViolationKind::NotShownOnline { player, at_ms })
                }));
            }
        }
    }
    wrong
}

/// Returns when a leader had been away for too long, during a part of their term, while another
/// player watched all the time.
fn find_unreplaced(
    leader: PlayerId,
    term: Period,
    clients: &[ClientPresence<'_>],
    stable: &StablePeriod,
) -> Option<Moment> {
    let patience = stable.presence_grace + stable.leader_grace + PROPAGATION_MAX;
    let absent = clients.iter().find(|client| client.player == leader)?;
    let mut absences = absent.away.iter().filter_map(|away| away.overlap(term));
    absences.find_map(|away| {
        let due = away.after(patience)?.from;
        let is_there = |present: &Period| present.from <= away.from && due <= present.to;
        let has_successor = clients.iter().any(|it| it.present.iter().any(is_there));
        has_successor.then_some(due)
    })
}

/// What one client's log says of its player's presence, and of the presence that it was shown.
struct ClientPresence<'a> {
    name: &'a str,
    player: PlayerId,
    /// When the player watched as a member.
    present: Vec<Period>,
    /// When the player had no connection.
    away: Vec<Period>,
    /// The players who were shown online while the client watched.
    shown: Vec<(Period, BTreeSet<PlayerId>)>,
}

impl ClientPresence<'_> {
    /// Returns when the client was first shown otherwise in this period.
    fn find_wrong(&self, player: PlayerId, is_online: bool, period: Period) -> Option<Moment> {
        let wrong = |(_, online): &&(_, BTreeSet<_>)| online.contains(&player) != is_online;
        let mut times = self.shown.iter().filter(wrong);
        times.find_map(|(shown, _)| Some(shown.overlap(period)?.from))
    }
}

fn read_client(log: &ClientLog) -> ClientPresence<'_> {
    let mut client = ClientPresence {
        name: &log.client,
        player: log.player,
        present: Vec::new(),
        away: Vec::new(),
        shown: Vec::new(),
    };
    let mut present_since = None;
    let mut away_since = None;
    let mut shown: Option<(Moment, BTreeSet<PlayerId>)> = None;
    let end = |since: &mut Option<Moment>, to: Moment| {
        let from = since.take()?;
        Some(Period {
            from,
            to: from.max(to),
        })
    };
    for entry in log.entries() {
        let at = entry.at;
        let mut next = shown.clone();
        match &entry.observation {
            Observation::Connected { .. } => client.away.extend(end(&mut away_since, at)),
            Observation::Disconnected { .. } => {
                client.present.extend(end(&mut present_since, at));
                away_since.get_or_insert(at);
                next = None;
            }
            // The player may be gone from now on, even if there will be no answer.
            Observation::Sent(ClientMessage::Do {
                cmd: Command::Leave,
                ..
            }) => {
                client.present.extend(end(&mut present_since, at));
            }
            Observation::Received(message) => match &**message {
                ServerMessage::Watching { online, .. } | ServerMessage::Snapshot { online, .. } => {
                    present_since.get_or_insert(at);
                    next = Some((at, online.iter().copied().collect()));
                }
                ServerMessage::Presence {
                    online, offline, ..
                } => {
                    if let Some((since, known)) = &mut next {
                        *since = at;
                        known.retain(|player| !offline.contains(player));
                        known.extend(online);
                    }
                }
                ServerMessage::Unwatched { .. } => {
                    // The player was removed somewhat earlier.
                    let removed = at.minus(PROPAGATION_MAX);
                    client.present.extend(end(&mut present_since, removed));
                    next = None;
                }
                // A watch that is refused ends the one that it was to replace.
                ServerMessage::Error { re, .. } if re == "watch" => {
                    let refused = at.minus(PROPAGATION_MAX);
                    client.present.extend(end(&mut present_since, refused));
                    next = None;
                }
                _ => {}
            },
            _ => {}
        }
        if next != shown {
            let former = std::mem::replace(&mut shown, next);
            let shown = former.map(|(from, online)| (Period { from, to: at }, online));
            client.shown.extend(shown);
        }
    }
    client.present.extend(end(&mut present_since, Moment::MAX));
    client.away.extend(end(&mut away_since, Moment::MAX));
    let last = shown.map(|(from, online)| {
        (
            Period {
                from,
                to: Moment::MAX,
            },
            online,
        )
    });
    client.shown.extend(last);
    client
}

/// Returns which player led from when to when, as far as clients were told.
fn find_terms(logs: &[ClientLog], server_record: Option<&ServerRecord>) -> Vec<(PlayerId, Period)> {
    let told = ToldSeqs::from_logs(logs);
    let events: BTreeMap<Seq, &Event> = all_events(logs, server_record)
        .map(|event| (event.seq, event))
        .collect();
    let mut terms: Vec<(PlayerId, Period)> = Vec::new();
    for event in events.values() {
        let at = told.first(event.seq).unwrap_or(Moment::MAX);
        let leader = match event.data {
            EventData::MemberJoined {
                player,
                role: Role::Leader,
                ..
            }
            | EventData::LeaderChanged { player, .. } => Some(player),
            EventData::RaidCompleted { .. } | EventData::RaidFailed { .. } => None,
            _ => continue,
        };
        if let Some((_, last)) = terms.last_mut() {
            last.to = last.to.min(at);
        }
        let to = Moment::MAX;
        terms.extend(leader.map(|player| (player, Period { from: at, to })));
    }
    terms
}
