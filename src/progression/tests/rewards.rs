//! What raids bring beside XP: levels, coins, skills and achievements, by the built-in definitions.

use raidhall_protocol::player::event::{CoinsReason, RaidOutcome};
use raidhall_protocol::player::state::{SkillProgress, UnlockedAchievement};
use raidhall_protocol::state::Role;

use super::*;

const NOON: &str = "2026-11-28T12:00Z";

fn task(xp: u64) -> CauseKind {
    let is_ranked = true;
    CauseKind::TaskCompleted { xp, is_ranked }
}

fn contribution(kind: &str, xp: u64) -> CauseKind {
    let kind = kind.to_owned();
    CauseKind::Contributed { xp, kind }
}

fn ended(outcome: RaidOutcome, rank: Option<u32>) -> CauseKind {
    let xp = 40;
    CauseKind::Ended { outcome, rank, xp }
}

fn add(stream: &mut Stream, kind: CauseKind) -> Vec<PlayerEventData> {
    stream.add(7, time(NOON), kind)
}

/// Returns the effects in short: what was reached, and the coins.
fn shorten(effects: &[PlayerEventData]) -> Vec<String> {
    let short = |data: &PlayerEventData| match data {
        PlayerEventData::XpEarned {
            xp,
            coins,
            level_xp,
            next_level_xp,
            ..
        } => format!("xp {xp}, {level_xp} of {next_level_xp}, coins {coins}"),
        PlayerEventData::LevelReached { level, coins, .. } => {
            format!("level {level}, coins {coins}")
        }
        PlayerEventData::CoinsMoved {
            amount,
            reason,
            coins,
            ..
        } => format!("{} {amount}, coins {coins}", reason.as_str()),
        PlayerEventData::AchievementUnlocked { id, tier } => format!("{id} {tier}"),
        other => other.kind().to_owned(),
    };
    effects.iter().map(short).collect()
}

fn counter(stream: &Stream, id: &str) -> Option<(u64, Option<u64>)> {
    let counters = &stream.fold.state.counters;
    let found = counters.iter().find(|counter| counter.id == id);
    found.map(|counter| (counter.value, counter.goal))
}

#[test]
fn xp_brings_coins_then_levels_then_achievements() {
    let mut stream = Stream::rewarded();
    let effects = add(&mut stream, task(705));
    assert_eq!(
        shorten(&effects),
        [
            "xp 705, 105 of 400, coins 70",
            "day_kept",
            "level 2, coins 90",
            "level 3, coins 110",
            "level 4, coins 130",
            "first_steps 1",
            "achievement 5, coins 135",
            "big_day 1",
            "achievement 10, coins 145",
            "ranked 1",
            "achievement 10, coins 155",
        ]
    );
    assert_eq!(counter(&stream, "first_steps"), Some((1, None)));
    assert_eq!(counter(&stream, "collector"), Some((705, Some(1_000))));
    assert_eq!(counter(&stream, "climber"), Some((4, Some(5))));
    let state = &stream.fold.state;
    assert_eq!((state.level, state.level_xp, state.coins), (4, 105, 155));
}

#[test]
fn coins_of_xp_lose_nothing_to_rounding() {
    let mut stream = Stream::rewarded();
    stream.definitions.achievements.clear();
    for _ in 0..20 {
        add(&mut stream, contribution("walk", 3));
    }
    assert_eq!(stream.fold.state.coins, 6);
}

#[test]
fn a_victory_and_its_first_place_bring_coins() {
    let mut stream = Stream::rewarded();
    stream.definitions.achievements.clear();
    let completed = RaidOutcome::Completed;
    let effects = add(&mut stream, ended(completed, Some(1)));
    let first = ["raid_ended", "victory 50, coins 50", "mvp 25, coins 75"];
    assert_eq!(shorten(&effects), first);
    let effects = add(&mut stream, ended(completed, Some(2)));
    assert_eq!(shorten(&effects), ["raid_ended", "victory 50, coins 125"]);
    let effects = add(&mut stream, ended(RaidOutcome::Failed, None));
    assert_eq!(shorten(&effects), ["raid_ended"]);
}

#[test]
fn xp_trains_the_skill_of_its_kind() {
    let mut stream = Stream::rewarded();
    for kind in [
        task(100),
        contribution("habit", 25),
        contribution("walk", 50),
    ] {
        add(&mut stream, kind);
    }
    add(&mut stream, task(30));
    let skill = |skill: &str, xp, level| {
        let skill = skill.to_owned();
        SkillProgress { skill, xp, level }
    };
    assert_eq!(
        stream.fold.state.skills,
        [skill("teamwork", 130, 2), skill("discipline", 25, 1)]
    );
    assert_eq!(stream.fold.state.xp, 205);
}

#[test]
fn each_tier_is_unlocked_once_at_its_goal() {
    let mut stream = Stream::rewarded();
    let lead = CauseKind::HasRole(Role::Leader);
    let mut unlocked = Vec::new();
    for _ in 0..60 {
        let effects = add(&mut stream, lead.clone());
        let count = counter(&stream, "leader").map(|(count, _)| count);
        for data in effects {
            if let PlayerEventData::AchievementUnlocked { id, tier } = data {
                unlocked.push((id, tier, count));
            }
        }
    }
    let leader = |tier, count| ("leader".to_owned(), tier, Some(count));
    assert_eq!(unlocked, [leader(1, 1), leader(2, 10), leader(3, 50)]);
    assert_eq!(counter(&stream, "leader"), Some((50, None)));
    let last = UnlockedAchievement {
        id: "leader".to_owned(),
        tier: 3,
        at: time(NOON),
    };
    assert_eq!(stream.fold.state.achievements, [last]);
}

/// Coins of one achievement can unlock another one, and count for it more than once.
#[test]
fn achievements_that_count_what_achievements_bring_come_once() {
    let built_in = crate::definitions::BUILT_IN;
    let rich = r#"
        [[achievements]]
        id = "rich"
        icon = "gem"
        event = "coins_moved"
        tiers = [{ goal = 1, coins = 1 }, { goal = 2, coins = 1 }, { goal = 3, coins = 1 }]
        en = { title = "Rich", text = "Get coins" }
        ru = { title = "Богач", text = "Получайте монеты" }
    "#;
    let mut stream = Stream::rewarded();
    let definitions = Definitions::parse(&format!("{built_in}\n{rich}"));
    stream.definitions = definitions.expect("definitions");
    let effects = add(&mut stream, task(705));
    let tiers: Vec<_> = shorten(&effects)
        .into_iter()
        .filter(|short| short.starts_with("rich "))
        .collect();
    assert_eq!(tiers, ["rich 1", "rich 2", "rich 3"]);
}

#[test]
fn a_new_curve_takes_no_level_away_and_gives_the_missing_ones() {
    let mut stream = Stream::rewarded();
    stream.definitions.achievements.clear();
    add(&mut stream, task(705));
    assert_eq!(stream.fold.state.level, 4);
    stream.definitions.levels = crate::definitions::LevelCurve::new(500);
    let effects = add(&mut stream, task(5));
    assert_eq!(shorten(&effects), ["xp 710, 0 of 4000, coins 131"]);
    assert_eq!(stream.fold.state.level, 4);
    stream.definitions.levels = crate::definitions::LevelCurve::new(1);
    let levels_of = |effects: &[PlayerEventData]| {
        let is_level = |it: &&PlayerEventData| it.kind() == "level_reached";
        effects.iter().filter(is_level).count()
    };
    assert_eq!(levels_of(&add(&mut stream, task(1))), 23);
    assert_eq!(stream.fold.state.level, 27);
}

#[test]
fn a_player_far_ahead_of_a_new_curve_gets_its_levels_in_parts() {
    let mut stream = Stream::rewarded();
    stream.fold.state.xp = 1_000_000;
    let effects = add(&mut stream, task(1));
    let levels = effects.iter().filter(|it| it.kind() == "level_reached");
    assert_eq!(levels.count(), 50);
    add(&mut stream, task(1));
    assert_eq!(stream.fold.state.level, 101);
    for _ in 0..3 {
        add(&mut stream, task(1));
    }
    assert_eq!(stream.fold.state.level, 141);
}

/// The coins of an achievement are those of its tier, and the purse is their sum.
#[test]
fn the_purse_is_the_sum_of_what_came() {
    let mut stream = Stream::rewarded();
    let mut sum = 0;
    for round in 0..200 {
        let kind = match round % 4 {
            0 => CauseKind::HasRole(Role::Member),
            1 => task(90),
            2 => contribution("study", 17),
            _ => ended(RaidOutcome::Completed, Some(1 + round % 3)),
        };
        for data in add(&mut stream, kind) {
            sum += match data {
                PlayerEventData::XpEarned { coins_earned, .. }
                | PlayerEventData::LevelReached { coins_earned, .. } => coins_earned,
                PlayerEventData::CoinsMoved { amount, reason, .. } => {
                    assert_ne!(reason, CoinsReason::Purchase);
                    amount.unsigned_abs()
                }
                _ => 0,
            };
        }
        assert_eq!(stream.fold.state.coins, sum);
    }
}
