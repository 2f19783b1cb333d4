//! What the server says of itself by REST, judged against its own events.

use std::collections::{BTreeMap, BTreeSet};

use raidhall_protocol::rest::{Contribution, Profile};
use raidhall_protocol::{Event, EventData, PlayerId, RaidId, RaidState, Seq, TaskId};

use super::difference;
use super::violation::{Violation, ViolationKind};
use crate::fold::Fold;

/// The server's own account of a raid, read by REST after the run came to rest.
#[derive(Debug, Clone)]
pub struct ServerRecord {
    /// The whole ledger (`GET /raids/{id}/events`).
    pub events: Vec<Event>,
    /// The state (`GET /raids/{id}`).
    pub state: RaidState,
    /// The seq that it is a function of.
    pub seq: Seq,
    /// Whom it shows online.
    pub online: Vec<PlayerId>,
    /// The contributions, if they were read.
    pub contributions: Option<Vec<Contribution>>,
    /// The profiles of players who have played in no other raid.
    pub profiles: Vec<Profile>,
}

/// The states that the ledger makes at the seqs that somebody asks about.
pub(super) struct LedgerCheck {
    pub(super) violations: Vec<Violation>,
    pub(super) states: BTreeMap<Seq, RaidState>,
}

/// Judges the ledger by itself, and everything else that the server says against it.
pub(super) fn judge(raid: RaidId, truth: &ServerRecord, asked: &BTreeSet<Seq>) -> LedgerCheck {
    let mut breaches = Vec::new();
    let states = fold_events(raid, truth, asked, &mut breaches);
    match states.get(&truth.seq) {
        Some(state) if *state != truth.state => {
            let difference = difference::first_difference(&truth.state, state);
            breaches.push(ViolationKind::StateMismatch {
                seq: truth.seq,
                difference,
            });
        }
        Some(_) => {}
        None => {
            let held = truth.events.last().map_or(Seq::ZERO, |event| event.seq);
            breaches.push(ViolationKind::IncompleteAtEnd {
                held,
                head: truth.seq,
            });
        }
    }
    check_totals(truth, &mut breaches);
    if let Some(told) = &truth.contributions {
        check_contributions(truth, told, &mut breaches);
    }
    let convict = |breach| Violation {
        raid,
        client: "server".to_owned(),
        kind: breach,
    };
    LedgerCheck {
        violations: breaches.into_iter().map(convict).collect(),
        states,
    }
}

fn fold_events(
    raid: RaidId,
    truth: &ServerRecord,
    asked: &BTreeSet<Seq>,
    breaches: &mut Vec<ViolationKind>,
) -> BTreeMap<Seq, RaidState> {
    let mut states = BTreeMap::new();
    let mut fold = Fold::new(raid);
    let (mut held, mut clock, mut broken) = (Seq::ZERO, None, false);
    for event in &truth.events {
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
        (held, clock) = (seq, Some(event.at));
        if !broken && let Err(why) = fold.apply(event) {
            breaches.push(ViolationKind::Contradiction { seq, why });
            broken = true;
        }
        if !broken && (asked.contains(&seq) || seq == truth.seq) {
            states.extend(fold.state().cloned().map(|state| (seq, state)));
        }
    }
    states
}

/// Running sums in every event, and the sums at the end.
fn check_totals(truth: &ServerRecord, breaches: &mut Vec<ViolationKind>) {
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
    for event in truth.events.iter().filter(|event| event.seq <= truth.seq) {
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
    check(&|| "current_xp".to_owned(), truth.state.current_xp, all.0);
    check(
        &|| "current_tasks".to_owned(),
        truth.state.current_tasks,
        all.1,
    );
    let of = |player| sums.get(&player).copied().unwrap_or_default();
    for member in &truth.state.members {
        let (xp, tasks) = of(member.player);
        check(&|| format!("xp of member {}", member.player), member.xp, xp);
        check(
            &|| format!("tasks of member {}", member.player),
            member.tasks,
            tasks,
        );
    }
    for profile in &truth.profiles {
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
    truth: &ServerRecord,
    told: &[Contribution],
    breaches: &mut Vec<ViolationKind>,
) {
    type ContributionRow = (PlayerId, u64, Option<TaskId>);
    let earned: BTreeMap<Seq, ContributionRow> = truth
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
        let (told, summed) = (told.len() as u64, earned.len() as u64);
        breaches.push(ViolationKind::TotalsWrong {
            what: "the list of contributions".to_owned(),
            told,
            summed,
        });
    }
}
