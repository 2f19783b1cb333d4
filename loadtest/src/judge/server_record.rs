//! The server record: a raid as REST returns it, judged against its own events.

use std::collections::{BTreeMap, BTreeSet};

use raidhall_protocol::rest::{Contribution, Profile};
use raidhall_protocol::{Event, EventData, PlayerId, RaidId, RaidState, Seq, TaskId};

use super::difference;
use super::violation::{Violation, ViolationKind};
use crate::fold::Fold;

/// A raid's events, state, presence and totals, read by REST after the run settled.
#[derive(Debug, Clone)]
pub struct ServerRecord {
    /// The raid's whole ledger (`GET /raids/{id}/events`).
    pub events: Vec<Event>,
    /// The raid's state (`GET /raids/{id}`).
    pub state: RaidState,
    /// The seq that `state` belongs to.
    pub seq: Seq,
    /// The players that the server shows as online.
    pub online: Vec<PlayerId>,
    /// The contributions, if they were read.
    pub contributions: Option<Vec<Contribution>>,
    /// The profiles of players who have played in no other raid.
    pub profiles: Vec<Profile>,
}

/// The violations of the ledger, and the states that its events fold to at the requested seqs.
pub(super) struct LedgerCheck {
    pub(super) violations: Vec<Violation>,
    pub(super) states: BTreeMap<Seq, RaidState>,
}

/// Judges the ledger by itself, and the rest of the server record against it.
pub(super) fn judge(raid: RaidId, record: &ServerRecord, requested: &BTreeSet<Seq>) -> LedgerCheck {
    let mut breaches = Vec::new();
    let states = fold_events(raid, record, requested, &mut breaches);
    match states.get(&record.seq) {
        Some(state) if *state != record.state => {
            let difference = difference::first_difference(&record.state, state);
            breaches.push(ViolationKind::StateMismatch {
                seq: record.seq,
                difference,
            });
        }
        Some(_) => {}
        None => {
            let held = record.events.last().map_or(Seq::ZERO, |event| event.seq);
            breaches.push(ViolationKind::IncompleteAtEnd {
                held,
                head: record.seq,
            });
        }
    }
    check_totals(record, &mut breaches);
    if let Some(told) = &record.contributions {
        check_contributions(record, told, &mut breaches);
    }
    let violation = |breach| Violation::of_server(raid, breach);
    LedgerCheck {
        violations: breaches.into_iter().map(violation).collect(),
        states,
    }
}

fn fold_events(
    raid: RaidId,
    record: &ServerRecord,
    requested: &BTreeSet<Seq>,
    breaches: &mut Vec<ViolationKind>,
) -> BTreeMap<Seq, RaidState> {
    let mut states = BTreeMap::new();
    let mut fold = Fold::new(raid);
    let mut held = Seq::ZERO;
    let mut clock = None;
    let mut broken = false;
    for event in &record.events {
        let seq = event.seq;
        if seq <= held {
            breaches.push(ViolationKind::Duplicate { seq });
            continue;
        }
        if seq != held.next() {
            breaches.push(ViolationKind::Gap { held, got: seq });
            broken = true;
        }
        if clock.is_some_and(|clock| event.at < clock) {
            breaches.push(ViolationKind::ClockWentBack { seq });
        }
        held = seq;
        clock = Some(event.at);
        if !broken && let Err(why) = fold.apply(event) {
            breaches.push(ViolationKind::Contradiction { seq, why });
            broken = true;
        }
        if !broken && (requested.contains(&seq) || seq == record.seq) {
            states.extend(fold.state().cloned().map(|state| (seq, state)));
        }
    }
    states
}

/// Checks the running sums in every event, and the totals at the end.
fn check_totals(record: &ServerRecord, breaches: &mut Vec<ViolationKind>) {
    let mut sums: BTreeMap<PlayerId, (u64, u64)> = BTreeMap::new();
    let mut all = (0, 0);
    let mut check = |what: &dyn Fn() -> String, told: u64, summed: u64| {
        if told != summed {
            breaches.push(ViolationKind::TotalsWrong {
                what: what(),
                told,
                summed,
            });
        }
    };
    for event in record.events.iter().filter(|event| event.seq <= record.seq) {
        let Some((player, earned)) = event.data.earned() else {
            continue;
        };
        let sum = sums.entry(player).or_default();
        *sum = (sum.0 + earned, sum.1 + 1);
        all = (all.0 + earned, all.1 + 1);
        if let EventData::TaskCompleted {
            member_xp,
            member_tasks,
            current_xp,
            current_tasks,
            ..
        }
        | EventData::Contributed {
            member_xp,
            member_tasks,
            current_xp,
            current_tasks,
            ..
        } = &event.data
        {
            let seq = event.seq;
            check(&|| format!("member_xp in event {seq}"), *member_xp, sum.0);
            check(
                &|| format!("member_tasks in event {seq}"),
                *member_tasks,
                sum.1,
            );
            check(&|| format!("current_xp in event {seq}"), *current_xp, all.0);
            check(
                &|| format!("current_tasks in event {seq}"),
                *current_tasks,
                all.1,
            );
        }
    }
    check(&|| "current_xp".to_owned(), record.state.current_xp, all.0);
    check(
        &|| "current_tasks".to_owned(),
        record.state.current_tasks,
        all.1,
    );
    let of = |player| sums.get(&player).copied().unwrap_or_default();
    for member in &record.state.members {
        let (xp, tasks) = of(member.player);
        check(&|| format!("xp of member {}", member.player), member.xp, xp);
        check(
            &|| format!("tasks of member {}", member.player),
            member.tasks,
            tasks,
        );
    }
    for profile in &record.profiles {
        let (xp, tasks) = of(profile.id);
        check(
            &|| format!("xp in the profile of player {}", profile.id),
            profile.xp,
            xp,
        );
        check(
            &|| format!("tasks in the profile of player {}", profile.id),
            profile.tasks,
            tasks,
        );
    }
}

fn check_contributions(
    record: &ServerRecord,
    told: &[Contribution],
    breaches: &mut Vec<ViolationKind>,
) {
    type ContributionRow = (PlayerId, u64, Option<TaskId>);
    let earned: BTreeMap<Seq, ContributionRow> = record
        .events
        .iter()
        .filter_map(|event| {
            let (player, xp) = event.data.earned()?;
            let task = match event.data {
                EventData::TaskCompleted { task, .. } => Some(task),
                _ => None,
            };
            Some((event.seq, (player, xp, task)))
        })
        .collect();
    let rows: BTreeMap<Seq, ContributionRow> = told
        .iter()
        .map(|row| (row.seq, (row.player, row.xp, row.task)))
        .collect();
    if rows.len() != told.len() || rows != earned {
        let told = told.len() as u64;
        let summed = earned.len() as u64;
        breaches.push(ViolationKind::TotalsWrong {
            what: "the list of contributions".to_owned(),
            told,
            summed,
        });
    }
}
