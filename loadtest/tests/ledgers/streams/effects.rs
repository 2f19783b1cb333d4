//! Violations of effects: without their cause, missing, doubled or wrong.

use std::time::Duration;

use raidhall_loadtest::client_log::{ClientLog, Moment};
use raidhall_loadtest::judge::{RaidEventArrivals, StreamViolationKind};
use raidhall_protocol::Seq;
use raidhall_protocol::player::PlayerEventData;

use super::forged_stream::{find_in_stream, renumber};
use super::sample_stream::*;
use crate::sample_case::{player, raid, received_event};

#[test]
fn a_correct_stream_has_no_violations_without_devices() {
    assert_eq!(find_in_stream(|_| {}), []);
}

#[test]
fn an_effect_without_its_cause_is_a_violation() {
    let without = |seq, kind, cause| StreamViolationKind::EffectWithoutCause {
        seq: Seq(seq),
        kind,
        cause,
    };
    let missing = StreamViolationKind::CauseWithoutEffect {
        kind: "xp_earned",
        cause: place(5),
    };
    for cause in [None, Some(place(4)), Some(place(99))] {
        let found = find_in_stream(|stream| stream[at(3)].cause = cause);
        let expected = [
            without(3, "xp_earned", cause),
            without(4, "day_kept", Some(place(5))),
            missing.clone(),
        ];
        assert_eq!(found, expected);
    }
}

#[test]
fn a_setting_with_a_cause_in_a_raid_is_a_violation() {
    let cause = Some(place(4));
    let found = find_in_stream(|stream| stream[at(2)].cause = cause);
    let without = StreamViolationKind::EffectWithoutCause {
        seq: Seq(2),
        kind: "setting_set",
        cause,
    };
    assert_eq!(found, [without]);
}

#[test]
fn a_cause_without_its_effect_is_a_violation() {
    for (seq, kind, cause) in [
        (1, "raid_joined", 3),
        (5, "xp_earned", 8),
        (10, "raid_joined", 9),
        (11, "raid_ended", 10),
    ] {
        let found = find_in_stream(|stream| {
            stream.remove(at(seq));
            renumber(stream);
        });
        let missing = StreamViolationKind::CauseWithoutEffect {
            kind,
            cause: place(cause),
        };
        assert!(found.contains(&missing), "{found:?}");
    }
}

#[test]
fn two_effects_of_one_cause_are_a_violation() {
    for (seq, kind, cause) in [(3, "xp_earned", 5), (10, "raid_joined", 9)] {
        let found = find_in_stream(|stream| {
            stream.insert(seq, stream[at(seq)].clone());
            renumber(stream);
        });
        let double = StreamViolationKind::DoubleEffect {
            seq: Seq(seq as u64 + 1),
            first: Seq(seq as u64),
            kind,
            cause: place(cause),
        };
        assert!(found.contains(&double), "{found:?}");
    }
}

#[test]
fn an_effect_that_its_cause_and_the_allowance_do_not_give_is_a_violation() {
    type Forge = fn(&mut PlayerEventData);
    let forgeries: [(usize, Forge); 6] = [
        (3, |data| change_xp(data, |amount, _| *amount += 1)),
        (3, |data| change_xp(data, |_, counted| *counted -= 1)),
        (5, |data| change_xp(data, |_, counted| *counted = 400)),
        (5, |data| {
            if let PlayerEventData::XpEarned { allowance, .. } = data {
                *allowance = None;
            }
        }),
        (ENDED, |data| {
            if let PlayerEventData::RaidEnded { rank, .. } = data {
                *rank = Some(2);
            }
        }),
        (ENDED, |data| {
            if let PlayerEventData::RaidEnded { raids_won, .. } = data {
                *raids_won = 0;
            }
        }),
    ];
    for (seq, forge) in forgeries {
        let found = find_in_stream(|stream| forge(&mut stream[at(seq)].data));
        assert!(
            matches!(found[0], StreamViolationKind::EffectWrong { seq: Seq(wrong), .. }
                if wrong == seq as u64),
            "{found:?}"
        );
    }
}

fn change_xp(data: &mut PlayerEventData, change: impl FnOnce(&mut u64, &mut u64)) {
    if let PlayerEventData::XpEarned {
        amount, counted, ..
    } = data
    {
        change(amount, counted);
    }
}

#[test]
fn an_effect_with_another_time_than_its_cause_is_a_violation() {
    let found = find_in_stream(|stream| stream[at(10)].at.0 += 1);
    let at = ledger()[at(9)].at.0;
    let wrong = StreamViolationKind::EffectTimeWrong {
        seq: Seq(10),
        told: at + 1,
        expected: at,
    };
    assert_eq!(found, [wrong]);
}

#[test]
fn effects_in_another_order_than_their_causes_are_a_violation() {
    let found = find_in_stream(|stream| {
        let leads = stream.remove(at(10));
        stream.insert(at(5), leads);
        renumber(stream);
    });
    let reordered = StreamViolationKind::CausesReordered { seq: Seq(6) };
    assert!(found.contains(&reordered), "{found:?}");
}

#[test]
fn a_gap_or_a_duplicate_in_the_servers_stream_is_a_violation() {
    let found = find_in_stream(|stream| stream[at(14)].seq = Seq(16));
    let gap = StreamViolationKind::Gap {
        held: Seq(13),
        got: Seq(16),
    };
    assert_eq!(found, [gap]);
    let found = find_in_stream(|stream| stream[at(14)].seq = Seq(13));
    assert_eq!(found, [StreamViolationKind::Duplicate { seq: Seq(13) }]);
}

#[test]
fn balances_that_are_not_the_sums_of_the_effects_are_violations() {
    let wrong = |what, told, summed| StreamViolationKind::BalanceWrong { what, told, summed };
    let found = find(|case| case.states[0].state.xp = 430);
    let kinds: Vec<_> = found.into_iter().map(|(_, kind)| kind).collect();
    assert!(kinds.contains(&wrong("xp", 430, 330)), "{kinds:?}");
    assert!(
        matches!(
            kinds[0],
            StreamViolationKind::StateMismatch { seq: Seq(END), .. }
        ),
        "{kinds:?}"
    );
    assert_only("server", wrong("xp of the profile", 330, 430), |case| {
        case.profile.xp = 330;
    });
    assert_only("server", wrong("raids_won of the profile", 2, 1), |case| {
        case.profile.raids_won = 2;
    });
}

#[test]
fn a_state_of_another_instance_that_differs_is_a_violation() {
    let found = find(|case| case.states[1].state.tasks = 3);
    assert!(
        matches!(&found[..], [(client, StreamViolationKind::StateMismatch { seq: Seq(END), .. })]
            if client == "server"),
        "{found:?}"
    );
    let beyond = StreamViolationKind::StateBeyondStream {
        at: Seq(END + 1),
        end: Seq(END),
    };
    assert_only("server", beyond, |case| {
        case.states[1].seq = Seq(END + 1);
    });
}

#[test]
fn an_effect_that_comes_late_is_measured_and_reported() {
    // The phone was told event 10 at 13 s, the laptop at 15 s.
    let mut log = ClientLog::new("Ada", player(5), raid());
    log.record(Moment(10_500_000), received_event(&ledger()[at(9)]));
    let mut raids = RaidEventArrivals::default();
    raids.add(&log);
    let mut early = ClientLog::new("Eve", player(7), raid());
    early.record(Moment(10_000_000), received_event(&ledger()[at(9)]));
    raids.add(&early);
    let arrivals = StreamSample::valid().judge().arrivals;
    let all = (Moment(0), Moment::MAX);
    let lag = arrivals.measure(&raids, all).percentiles();
    assert_eq!(lag.count, 2);
    assert!((lag.max_ms / 5_000.0 - 1.0).abs() < 0.01, "{lag:?}");
    let late = arrivals.find_late(&raids, all, Duration::from_secs(4));
    let late: Vec<_> = late.into_iter().map(|it| (it.client, it.kind)).collect();
    let kind = StreamViolationKind::EffectLate {
        seq: Seq(10),
        after_ms: 5_000,
        count: 1,
    };
    assert_eq!(late, [("laptop".to_owned(), kind)]);
    let later = (Moment(10_000_001), Moment::MAX);
    assert_eq!(arrivals.measure(&raids, later).percentiles().count, 0);
}
