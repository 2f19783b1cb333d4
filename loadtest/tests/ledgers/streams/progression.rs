//! Violations of levels, coins and skills, and of what follows from an effect.

use raidhall_loadtest::judge::StreamViolationKind;
use raidhall_protocol::Seq;
use raidhall_protocol::player::PlayerEventData;
use raidhall_protocol::player::event::XpSource;

use super::forged_stream::*;
use super::sample_stream::*;

#[test]
fn xp_with_a_wrong_level_skill_or_coins_is_a_violation() {
    type Forge = fn(&mut PlayerEventData);
    let forgeries: [Forge; 8] = [
        |data| change(data, |it| *it.level_xp += 1),
        |data| change(data, |it| *it.next_level_xp = 200),
        |data| change(data, |it| *it.skill = Some("focus".to_owned())),
        |data| change(data, |it| *it.skill_xp = Some(400)),
        |data| change(data, |it| *it.skill_level = Some(2)),
        |data| change(data, |it| *it.coins += 1),
        |data| change(data, |it| *it.coins_earned += 1),
        |data| change(data, |it| *it.source = XpSource::Contribution),
    ];
    for forge in forgeries {
        assert_wrong(5, forge);
    }
    // A contribution of the kind `focus` trains that skill.
    assert_wrong(3, |data| {
        change(data, |it| *it.skill = Some("teamwork".to_owned()));
    });
}

/// The numbers of an `xp_earned` that a test forges.
struct XpNumbers<'a> {
    source: &'a mut XpSource,
    level_xp: &'a mut u64,
    next_level_xp: &'a mut u64,
    skill: &'a mut Option<String>,
    skill_xp: &'a mut Option<u64>,
    skill_level: &'a mut Option<u64>,
    coins: &'a mut u64,
    coins_earned: &'a mut u64,
}

fn change(data: &mut PlayerEventData, forge: impl FnOnce(XpNumbers<'_>)) {
    let PlayerEventData::XpEarned {
        source,
        level_xp,
        next_level_xp,
        skill,
        skill_xp,
        skill_level,
        coins,
        coins_earned,
        ..
    } = data
    else {
        panic!("{} has no XP", data.kind());
    };
    forge(XpNumbers {
        source,
        level_xp,
        next_level_xp,
        skill,
        skill_xp,
        skill_level,
        coins,
        coins_earned,
    });
}

#[test]
fn a_level_that_is_wrong_skipped_or_reached_twice_is_a_violation() {
    assert_wrong(6, |data| {
        if let PlayerEventData::LevelReached { level, .. } = data {
            *level = 4;
        }
    });
    assert_wrong(7, |data| {
        if let PlayerEventData::LevelReached { coins_earned, .. } = data {
            *coins_earned = 0;
        }
    });
    assert_found(&missing(5, "Level(3)"), |stream| {
        stream.remove(at(6));
        renumber(stream);
    });
    assert_found(&missing(5, "Level(3)"), |stream| {
        stream.remove(at(7));
        renumber(stream);
    });
    assert_found(&unexpected(8, "level_reached"), |stream| {
        stream.insert(at(8), stream[at(7)].clone());
        renumber(stream);
    });
    // The chain of another cause, after the level was reached.
    assert_found(&unexpected(11, "level_reached"), |stream| {
        let mut again = stream[at(7)].clone();
        again.cause = stream[at(10)].cause;
        again.at = stream[at(10)].at;
        stream.insert(at(11), again);
        renumber(stream);
    });
}

#[test]
fn coins_that_do_not_add_up_are_a_violation() {
    for seq in [9, 12, 13] {
        assert_wrong(seq, |data| {
            if let PlayerEventData::CoinsMoved { coins, .. } = data {
                *coins += 1;
            }
        });
    }
    assert_wrong(12, |data| {
        if let PlayerEventData::CoinsMoved { amount, coins, .. } = data {
            *amount += 10;
            *coins += 10;
        }
    });
    let found = find(|case| case.states[0].state.coins += 1);
    let told_wrong = StreamViolationKind::BalanceWrong {
        what: "coins",
        told: 159,
        summed: 158,
    };
    let kinds: Vec<_> = found.into_iter().map(|(_, kind)| kind).collect();
    assert!(kinds.contains(&told_wrong), "{kinds:?}");
}

#[test]
fn a_victory_without_its_coins_or_with_them_twice_is_a_violation() {
    for (seq, coins) in [
        (12, "Coins { amount: 50, reason: Victory }"),
        (13, "Coins { amount: 25, reason: Mvp }"),
    ] {
        assert_found(&missing(ENDED, coins), |stream| {
            stream.remove(at(seq));
            renumber(stream);
        });
        assert_found(&unexpected(14, "coins_moved"), |stream| {
            stream.insert(at(14), stream[at(seq)].clone());
            renumber(stream);
        });
    }
    let second_place = |data: &mut PlayerEventData| {
        if let PlayerEventData::RaidEnded { rank, .. } = data {
            *rank = Some(2);
        }
    };
    assert_found(&unexpected(13, "coins_moved"), |stream| {
        second_place(&mut stream[at(ENDED)].data);
    });
}

#[test]
fn a_follow_up_with_another_cause_or_time_is_a_violation() {
    for cause in [None, Some(place(9))] {
        let without = StreamViolationKind::EffectWithoutCause {
            seq: Seq(6),
            kind: "level_reached",
            cause,
        };
        let found = find_in_stream(|stream| stream[at(6)].cause = cause);
        assert_eq!(found, [without]);
    }
    let late = StreamViolationKind::EffectTimeWrong {
        seq: Seq(9),
        told: ledger()[at(8)].at.0 + 1,
        expected: ledger()[at(8)].at.0,
    };
    let found = find_in_stream(|stream| stream[at(9)].at.0 += 1);
    assert_eq!(found, [late]);
}

#[test]
fn follow_ups_that_are_torn_apart_or_out_of_order_are_violations() {
    let found = find_in_stream(|stream| {
        stream.swap(at(9), at(10));
        renumber(stream);
    });
    assert!(
        found.contains(&unexpected(10, "coins_moved")),
        "another effect stands between: {found:?}"
    );
    assert_found(&missing(5, "Level(2)"), |stream| {
        stream[at(6)..=at(8)].rotate_right(1);
        renumber(stream);
    });
    assert_found(&missing(5, "Level(2)"), |stream| {
        stream.drain(at(6)..=at(9));
        renumber(stream);
    });
}
