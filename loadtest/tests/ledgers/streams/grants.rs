//! Violations of what the host app's backend grants to a player.

use raidhall_loadtest::judge::{Grant, StreamViolationKind};
use raidhall_protocol::Seq;
use raidhall_protocol::player::event::{CoinsReason, XpSource};
use raidhall_protocol::player::state::Counter;
use raidhall_protocol::player::{PlayerCommand, PlayerEventData};

use super::forged_stream::assert_kinds;
use super::sample_stream::*;

/// Returns the event of a grant of 25 XP that trains a skill, at the end of Ben's stream.
fn granted_xp(skill: &str) -> PlayerEventData {
    PlayerEventData::XpEarned {
        amount: 25,
        counted: 25,
        earned_xp: 455,
        xp: 355,
        tasks: 2,
        source: XpSource::Grant,
        allowance: None,
        happened_at: stream()[at(ENDED)].at,
        level_xp: 55,
        next_level_xp: 300,
        skill: Some(skill.to_owned()),
        skill_xp: Some(25),
        skill_level: Some(1),
        coins: 160,
        coins_earned: 2,
        note: Some("a week of walks".to_owned()),
        counters: vec![Counter {
            id: "collector".to_owned(),
            value: 355,
            goal: Some(1_000),
        }],
    }
}

fn grant_xp(ack: Option<u64>) -> Grant {
    Grant {
        command: PlayerCommand::GrantXp {
            amount: 25,
            kind: "habit".to_owned(),
            note: "a week of walks".to_owned(),
        },
        ack: ack.map(Seq),
    }
}

/// Grants Ben 25 XP, as the event says.
fn grant(case: &mut StreamSample, event: PlayerEventData) {
    case.append(vec![event]);
    case.profile.xp = 455;
    case.grants.push(grant_xp(Some(END + 1)));
}

#[test]
fn a_grant_of_xp_by_a_correct_server_is_counted_and_no_violation() {
    let mut case = StreamSample::valid();
    grant(&mut case, granted_xp("discipline"));
    let verdict = case.judge();
    assert_eq!(verdict.violations, []);
    assert_eq!(verdict.grants, 1);
}

#[test]
fn two_tiers_that_one_grant_reaches_are_no_violation() {
    let counter = |id: &str, value, goal| Counter {
        id: id.to_owned(),
        value,
        goal,
    };
    let level_reached = |level, coins, goal| PlayerEventData::LevelReached {
        level,
        coins,
        coins_earned: 20,
        counters: vec![counter("climber", level, goal)],
    };
    let unlocked = |id: &str, tier| PlayerEventData::AchievementUnlocked {
        id: id.to_owned(),
        tier,
    };
    let note = "a year of walks".to_owned();
    let earned = PlayerEventData::XpEarned {
        amount: 700,
        counted: 700,
        earned_xp: 1_130,
        xp: 1_030,
        tasks: 2,
        source: XpSource::Grant,
        allowance: None,
        happened_at: stream()[at(ENDED)].at,
        level_xp: 30,
        next_level_xp: 500,
        skill: None,
        skill_xp: None,
        skill_level: None,
        coins: 228,
        coins_earned: 70,
        note: Some(note.clone()),
        counters: vec![counter("collector", 1_030, Some(10_000))],
    };
    let forge = |case: &mut StreamSample| {
        case.append(vec![
            earned,
            level_reached(4, 248, Some(5)),
            level_reached(5, 268, None),
            unlocked("collector", 2),
            unlocked("climber", 1),
            unlocked("climber", 2),
        ]);
        case.profile.xp = 1_130;
        case.grants.push(Grant {
            command: PlayerCommand::GrantXp {
                amount: 700,
                kind: "gift".to_owned(),
                note,
            },
            ack: Some(Seq(END + 6)),
        });
    };
    assert_kinds(forge, &[]);
}

#[test]
fn a_grant_that_no_command_asked_for_is_a_violation() {
    let from_nowhere = |effect: &str| StreamViolationKind::DoubleCommand {
        effect: effect.to_owned(),
        found: 1,
        allowed: 0,
    };
    let xp = "25 XP for discipline: a week of walks";
    let without_command = |case: &mut StreamSample| {
        grant(case, granted_xp("discipline"));
        case.grants.clear();
    };
    assert_kinds(without_command, &[from_nowhere(xp)]);
    let mut coins = coins_moved(5, CoinsReason::Granted, 163);
    if let PlayerEventData::CoinsMoved { note, .. } = &mut coins {
        *note = Some("refund".to_owned());
    }
    let of_coins = [from_nowhere("5 coins: refund")];
    assert_kinds(|case| case.append(vec![coins]), &of_coins);
}

#[test]
fn a_grant_that_is_lost_is_a_violation() {
    let lost = StreamViolationKind::AckWithoutEvent {
        seq: Seq(END + 1),
        effect: "25 XP for discipline: a week of walks".to_owned(),
        found: "no event".to_owned(),
    };
    let forge = |case: &mut StreamSample| case.grants.push(grant_xp(Some(END + 1)));
    assert_kinds(forge, &[lost]);
    assert_kinds(|case| case.grants.push(grant_xp(None)), &[]);
}

#[test]
fn a_grant_that_trains_another_skill_is_a_violation() {
    let found = find(|case| grant(case, granted_xp("strength")));
    let lost = StreamViolationKind::AckWithoutEvent {
        seq: Seq(END + 1),
        effect: "25 XP for discipline: a week of walks".to_owned(),
        found: "xp_earned".to_owned(),
    };
    assert!(found.contains(&("server".to_owned(), lost)), "{found:?}");
}

#[test]
fn a_grant_that_counts_as_a_task_is_a_violation() {
    let mut event = granted_xp("discipline");
    if let PlayerEventData::XpEarned { tasks, .. } = &mut event {
        *tasks += 1;
    }
    let found = find(|case| grant(case, event));
    assert!(
        matches!(&found[0].1, StreamViolationKind::EffectWrong { seq: Seq(seq), .. }
            if *seq == END + 1),
        "{found:?}"
    );
}
