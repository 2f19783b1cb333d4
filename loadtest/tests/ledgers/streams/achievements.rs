//! Violations of achievements: their tiers, counters and goals.

use raidhall_loadtest::judge::{StreamViolationKind, expected_effects, judge_players};
use raidhall_protocol::Seq;
use raidhall_protocol::player::event::CoinsReason;
use raidhall_protocol::player::state::Counter;
use raidhall_protocol::player::{PlayerEvent, PlayerEventData};

use super::forged_stream::*;
use super::sample_stream::*;
use crate::sample_case::raid;

/// Returns the only counter that an event moves.
fn counter_of(event: &mut PlayerEvent) -> &mut Counter {
    match &mut event.data {
        PlayerEventData::XpEarned { counters, .. }
        | PlayerEventData::RaidEnded { counters, .. } => &mut counters[0],
        data => panic!("{} moves no counter here", data.kind()),
    }
}

fn clear_counters(event: &mut PlayerEvent) {
    if let PlayerEventData::XpEarned { counters, .. }
    | PlayerEventData::RaidEnded { counters, .. } = &mut event.data
    {
        counters.clear();
    }
}

#[test]
fn a_tier_that_is_unlocked_twice_or_out_of_order_is_a_violation() {
    let found = find_in_stream(|stream| {
        stream.push(stream[at(14)].clone());
        renumber(stream);
    });
    assert!(
        matches!(
            found[..],
            [StreamViolationKind::EffectWrong { seq: Seq(15), .. }]
        ),
        "{found:?}"
    );
    assert_found(&unexpected(15, "achievement_unlocked"), |stream| {
        let mut again = stream[at(8)].clone();
        again.cause = stream[at(14)].cause;
        again.at = stream[at(14)].at;
        stream.push(again);
        renumber(stream);
    });
    assert_wrong(14, |data| {
        if let PlayerEventData::AchievementUnlocked { tier, .. } = data {
            *tier = 2;
        }
    });
}

#[test]
fn a_tier_is_unlocked_if_and_only_if_its_goal_is_reached() {
    let not_unlocked = missing(5, r#"Tiers { id: "collector", is_due: true }"#);
    assert_found(&not_unlocked, |stream| {
        stream.drain(at(8)..=at(9));
        renumber(stream);
    });
    assert_found(&unexpected(8, "achievement_unlocked"), |stream| {
        counter_of(&mut stream[at(3)]).goal = Some(1_000);
    });
    assert_found(&unexpected(14, "achievement_unlocked"), |stream| {
        clear_counters(&mut stream[at(ENDED)]);
    });
}

#[test]
fn a_counter_that_does_not_move_forward_is_a_violation() {
    for to in [20, 30] {
        let went_back = StreamViolationKind::CounterWentBack {
            seq: Seq(5),
            id: "collector".to_owned(),
            from: 30,
            to,
        };
        assert_found(&went_back, |stream| {
            counter_of(&mut stream[at(5)]).value = to;
        });
    }
    let past = StreamViolationKind::CounterPastLastGoal {
        seq: Seq(5),
        id: "collector".to_owned(),
    };
    assert_found(&past, |stream| counter_of(&mut stream[at(3)]).goal = None);
}

#[test]
fn a_counter_that_is_not_what_it_counts_is_a_violation() {
    let wrong = |seq: usize, id: &str, told, expected| StreamViolationKind::CounterWrong {
        seq: Seq(seq as u64),
        id: id.to_owned(),
        told,
        expected,
    };
    let found = find_in_stream(|stream| counter_of(&mut stream[at(ENDED)]).value = 2);
    assert_eq!(found, [wrong(ENDED, "victor", 2, 1)]);
    assert_found(&wrong(ENDED, "victor", 0, 1), |stream| {
        clear_counters(&mut stream[at(ENDED)]);
    });
    let found = find_in_stream(|stream| counter_of(&mut stream[at(3)]).value = 31);
    assert_eq!(found, [wrong(3, "collector", 31, 30)]);
    assert_found(&wrong(5, "collector", 30, 330), |stream| {
        clear_counters(&mut stream[at(5)]);
    });
}

#[test]
fn a_goal_that_is_not_the_next_one_is_a_violation() {
    let wrong = |seq: usize, value, goal| StreamViolationKind::GoalWrong {
        seq: Seq(seq as u64),
        id: "collector".to_owned(),
        value,
        goal,
    };
    for goal in [Some(100), Some(330)] {
        assert_found(&wrong(5, 330, goal), |stream| {
            counter_of(&mut stream[at(5)]).goal = goal;
        });
    }
    assert_found(&wrong(3, 30, Some(30)), |stream| {
        counter_of(&mut stream[at(3)]).goal = Some(30);
    });
    assert_found(&wrong(5, 330, Some(2_000)), |stream| {
        // The goal of 1,000 is not reached yet.
        counter_of(&mut stream[at(3)]).goal = Some(1_000);
        counter_of(&mut stream[at(5)]).goal = Some(2_000);
    });
}

#[test]
fn a_goal_that_another_player_does_not_have_is_a_violation() {
    let valid = || StreamSample::valid().into_case();
    let mut other = valid();
    counter_of(&mut other.record.events[at(5)]).goal = Some(2_000);
    other.devices.clear();
    let expected = expected_effects(raid(), &ledger());
    let judge = |second| {
        let verdict = judge_players(&[valid(), second], &expected);
        let kinds = verdict.violations.into_iter().map(|it| it.kind);
        kinds.collect::<Vec<_>>()
    };
    let wrong = StreamViolationKind::GoalWrong {
        seq: Seq(5),
        id: "collector".to_owned(),
        value: 330,
        goal: Some(2_000),
    };
    assert!(judge(other).contains(&wrong));
    assert!(!judge(valid()).contains(&wrong));
}

#[test]
fn an_unlocked_tier_takes_no_coins() {
    assert_wrong(9, |data| {
        if let PlayerEventData::CoinsMoved {
            amount,
            coins,
            reason: CoinsReason::Achievement,
            ..
        } = data
        {
            *amount = -10;
            *coins = 63;
        }
    });
}
