//! Tests of the definitions: their file, the curve of levels, and what achievements count.

use figment::Figment;
use figment::providers::{Format, Toml};
use proptest::prelude::*;
use raidhall_protocol::player::PlayerEventData;
use raidhall_protocol::player::event::{Allowance, CoinsReason, ItemSource, RaidOutcome, XpSource};
use raidhall_protocol::progression::StreakRules;
use raidhall_protocol::state::Role;
use raidhall_protocol::{RaidId, UnixMillis};
use serde_json::{Value, json};

use super::achievement::{COUNTED_FIELDS, content};
use super::{BUILT_IN, BoardDefinition, Definitions, LevelCurve};

const SMALL: &str = r#"
    casual_xp_per_day = 300
    ranked_xp_per_day = 2000
    levels = { xp_factor = 50 }
    coins = { xp_per_coin = 10, victory = 50, mvp = 25, level = 20 }
    skills = { task = "teamwork", habit = "discipline" }
    items = [{ id = "frame_gold", slot = "frame", price = 1000, en = "Golden frame", ru = "Золотая рамка" }]
"#;

const TEXTS: &str = r#"
    id = "doer"
    icon = "check"
    en = { title = "Doer", text = "Complete tasks" }
    ru = { title = "Деятель", text = "Выполняйте задания" }
"#;

/// Reads definitions with one achievement.
fn parse_achievement(counted: &str) -> Result<Definitions, Vec<String>> {
    Definitions::parse(&format!("{SMALL}\n[[achievements]]\n{TEXTS}\n{counted}"))
}

/// Returns a counter of an achievement after these events.
fn count(counted: &str, events: &[PlayerEventData]) -> u64 {
    let definitions = parse_achievement(counted).expect("definitions");
    let achievement = &definitions.achievements[0];
    let add = |value, data| achievement.count(value, data).unwrap_or(value);
    events.iter().fold(0, add)
}

fn raid() -> RaidId {
    RaidId::try_from(7_u64).expect("an id")
}

fn earned(counted: u64, is_ranked: bool) -> PlayerEventData {
    PlayerEventData::XpEarned {
        amount: counted + 5,
        counted,
        earned_xp: 900,
        xp: 700,
        tasks: 31,
        source: XpSource::Task,
        allowance: Some(Allowance {
            ranked: is_ranked,
            used: counted,
            since: UnixMillis(0),
        }),
        happened_at: UnixMillis(0),
        level_xp: 100,
        next_level_xp: 400,
        skill: Some("teamwork".to_owned()),
        skill_xp: Some(300),
        skill_level: Some(3),
        coins: 80,
        coins_earned: 1,
        note: None,
        counters: Vec::new(),
    }
}

fn moved(amount: i64, reason: CoinsReason) -> PlayerEventData {
    PlayerEventData::CoinsMoved {
        amount,
        reason,
        coins: 80,
        note: None,
        counters: Vec::new(),
    }
}

fn ended(outcome: RaidOutcome, rank: Option<u32>) -> PlayerEventData {
    PlayerEventData::RaidEnded {
        raid: raid(),
        outcome,
        rank,
        xp: 400,
        happened_at: UnixMillis(0),
        raids_played: 5,
        raids_won: 3,
        counters: Vec::new(),
    }
}

fn level(level: u64) -> PlayerEventData {
    PlayerEventData::LevelReached {
        level,
        coins: 80,
        coins_earned: 20,
        counters: Vec::new(),
    }
}

#[test]
fn the_built_in_definitions_are_those_of_the_contract() {
    let definitions = Definitions::built_in();
    assert_eq!(
        (definitions.casual_xp_per_day, definitions.ranked_xp_per_day),
        (300, 2_000)
    );
    assert_eq!(definitions.skill_of_tasks(), Some("teamwork"));
    assert_eq!(definitions.skill_of_kind("task"), None);
    assert_eq!(definitions.skill_of_kind("unknown"), None);
    assert!(definitions.achievements.len() >= 15);
    assert!(definitions.items.iter().any(|item| item.slot == "frame"));
    let levels = definitions.levels;
    assert_eq!(
        [1, 2, 3, 4].map(|level| levels.begin(level)),
        [0, 100, 300, 600]
    );
    let streaks = StreakRules {
        days_per_freeze: 7,
        freezes_max: 2,
        repair_hours: 48,
        repair_cost: 100,
        repair_pause_days: 30,
    };
    assert_eq!(definitions.streaks, Some(streaks));
}

#[test]
fn clients_are_shown_the_file_without_what_only_the_rules_need() {
    let read = Figment::from(Toml::string(BUILT_IN)).extract::<Value>();
    let mut file = read.expect("TOML");
    let hide = |value: &mut Value, hidden: &[&str]| {
        let table = value.as_object_mut().expect("a table");
        table.retain(|key, _| !hidden.contains(&key.as_str()));
    };
    hide(&mut file, &["skills"]);
    for achievement in file["achievements"].as_array_mut().expect("a list") {
        hide(achievement, &["event", "where", "at_least", "sum", "max"]);
    }
    for board in file["boards"].as_array_mut().expect("a list") {
        board["zone"] = json!("UTC");
    }
    assert_eq!(json!(Definitions::built_in().shown()), file);
}

#[test]
fn every_fault_of_a_file_is_found_at_once() {
    let text = r#"
        casual_xp_per_day = -1
        levels = { xp_factor = 0, growth = 2 }
        coins = { xp_per_coin = 10, victory = "many", mvp = 25, level = 20 }
        skills = { task = "Team work", Habit = "discipline" }
        items = [
            { id = "frame_gold", slot = "frame", price = 1, en = "Gold", ru = "Золото" },
            { id = "frame_gold", slot = "frame", price = 1, en = "", ru = "Золото" },
        ]
        boards = [
            { id = "daily", window = "hourly", zone = "Mars/Olympus", en = "Today", ru = "Сегодня" },
            { id = "daily", window = "daily", zone = 3, en = "Today", title = "Today" },
        ]
        sounds = true
        streaks = { days_per_freeze = 0, freezes_max = 31, repair_hours = 48, repair_cost = -1, lapse = 1 }
        [[achievements]]
        id = "doer"
        icon = "check"
        event = "xp_earned"
        where = { source = "walk", colour = "red" }
        at_least = { source = 1 }
        sum = "skill"
        tiers = [{ goal = 10, coins = 1 }, { goal = 10, coins = 1 }]
        en = { title = "Doer", text = "Complete tasks" }
        [[achievements]]
        id = "late"
        icon = "clock"
        event = "day_lost"
        where = { anything = 1 }
        tiers = []
        en = { title = "Late", text = "Be late" }
        ru = 1
    "#;
    let mut faults = Definitions::parse(text).expect_err("faults");
    faults.sort();
    assert_eq!(
        faults,
        [
            "achievements[0].at_least.source: must be a field that holds a number",
            "achievements[0].ru: is required, a table",
            "achievements[0].sum: must be one of amount, counted",
            "achievements[0].tiers: must have goals, each above the one before it",
            "achievements[0].where.colour: must be one of the fields amount, counted, source, skill, ranked",
            "achievements[0].where.source: must be one of task, contribution, grant",
            "achievements[1].event: must be one of xp_earned, level_reached, coins_moved, item_granted, raid_joined, raid_ended",
            "achievements[1].ru: must be a table",
            "achievements[1].tiers: must have goals, each above the one before it",
            "boards: must have the id daily only once",
            "boards[0].window: must be one of daily, weekly, season, all_time",
            "boards[0].zone: must be the name of a time zone (IANA)",
            "boards[1].ru: is required, a text of 1 to 60 characters on one line",
            "boards[1].title: is not a known key",
            "boards[1].zone: must be the name of a time zone (IANA)",
            "casual_xp_per_day: must be a whole number from 0 to 1000000000",
            "coins.victory: must be a whole number from 0 to 1000000",
            "items: must have the id frame_gold only once",
            "items[1].en: must be a text of 1 to 60 characters on one line",
            "levels.growth: is not a known key",
            "levels.xp_factor: must be a whole number from 1 to 1000000",
            "ranked_xp_per_day: is required, a whole number from 0 to 1000000000",
            "skills.Habit: must be a kind: 1 to 50 characters of a-z _",
            "skills.task: must be the name of a skill: 1 to 64 characters of a-z 0-9 _",
            "sounds: is not a known key",
            "streaks.days_per_freeze: must be a whole number from 1 to 1000",
            "streaks.freezes_max: must be a whole number from 0 to 30",
            "streaks.lapse: is not a known key",
            "streaks.repair_cost: must be a whole number from 0 to 1000000",
            "streaks.repair_pause_days: is required, a whole number from 0 to 1000",
        ]
    );
    let broken = Definitions::parse("levels = {").expect_err("a fault");
    assert!(broken[0].starts_with("is not TOML: "), "{broken:?}");
}

fn definitions_with_board(window: &str, zone: &str) -> Definitions {
    let board = format!(
        r#"boards = [{{ id = "it", window = "{window}", zone = "{zone}", en = "It", ru = "Это" }}]"#
    );
    let text = format!("{SMALL}\nachievements = []\n{board}");
    Definitions::parse(&text).expect("definitions")
}

fn board(window: &str, zone: &str) -> BoardDefinition {
    definitions_with_board(window, zone).boards.remove(0)
}

#[test]
fn a_leaderboard_keeps_its_windows_in_later_definitions() {
    let daily = definitions_with_board("daily", "UTC");
    let none = Definitions::plain();
    let moved = definitions_with_board("weekly", "Asia/Tashkent");
    let faults = [
        "boards.it.window: must stay daily, as its scores are",
        "boards.it.zone: must stay UTC, as its scores are",
    ];
    assert_eq!(moved.faults_behind(&daily), faults);
    for later in [&daily, &none] {
        assert_eq!(later.faults_behind(&daily), [""; 0]);
    }
    assert_eq!(daily.faults_behind(&none), [""; 0]);
}

fn at(text: &str) -> UnixMillis {
    let at: jiff::Timestamp = text.parse().expect("a time");
    UnixMillis(at.as_millisecond())
}

#[test]
fn windows_are_days_iso_weeks_and_quarters_of_the_boards_zone() {
    let utc = |window| board(window, "UTC");
    let new_year = at("2027-01-01T00:00:00Z");
    assert_eq!(utc("daily").number_at(new_year), 20_819);
    assert_eq!(utc("season").number_at(new_year), 57 * 4);
    assert_eq!(utc("season").number_at(new_year.plus(-1)), 57 * 4 - 1);
    let week = utc("weekly");
    let number = week.number_at(new_year);
    assert_eq!(week.opens_at(number), Some(at("2026-12-28T00:00:00Z")));
    assert_eq!(week.closes_at(number), Some(at("2027-01-04T00:00:00Z")));
    let all_time = utc("all_time");
    assert_eq!(all_time.number_at(new_year), 0);
    assert_eq!((all_time.opens_at(0), all_time.closes_at(0)), (None, None));
    let kiritimati = board("daily", "Pacific/Kiritimati");
    assert_eq!(kiritimati.number_at(at("2026-12-31T10:00:00Z")), 20_819);
    // A day without its first hour, and one of 25 hours.
    let santiago = board("daily", "America/Santiago");
    let spring = santiago.number_at(at("2026-09-06T12:00:00Z"));
    assert_eq!(santiago.opens_at(spring), Some(at("2026-09-06T04:00:00Z")));
    let berlin = board("daily", "Europe/Berlin");
    let autumn = berlin.number_at(at("2026-10-25T12:00:00Z"));
    let opens_at = berlin.opens_at(autumn).expect("a time");
    let length = berlin.closes_at(autumn).expect("a time").since(opens_at);
    assert_eq!(length, 25 * 3_600_000);
}

#[test]
fn windows_beyond_the_calendar_have_no_times() {
    for window in ["daily", "weekly", "season"] {
        let board = board(window, "Pacific/Kiritimati");
        for number in [i64::MIN, -10_000_000, 10_000_000, i64::MAX] {
            assert_eq!(board.opens_at(number), None, "{window} {number}");
            assert_eq!(board.closes_at(number), None, "{window} {number}");
        }
    }
}

#[test]
fn a_file_without_streaks_has_none() {
    let text = format!("{SMALL}\nachievements = []");
    let definitions = Definitions::parse(&text).expect("definitions");
    assert_eq!(definitions.streaks, None);
}

#[test]
fn lists_have_an_end() {
    let item = |number: usize| {
        format!(
            r#"{{ id = "item_{number}", slot = "frame", price = 1, en = "Item", ru = "Вещь" }}"#
        )
    };
    let items: Vec<_> = (0..201).map(item).collect();
    let (head, _) = SMALL.split_once("items").expect("the items");
    let text = format!("{head}\nachievements = []\nitems = [{}]", items.join(","));
    let faults = Definitions::parse(&text).expect_err("a fault");
    assert_eq!(faults, ["items: must be a list of at most 200 tables"]);
}

#[test]
fn an_achievement_counts_events_that_pass_its_filters() {
    let won = ended(RaidOutcome::Completed, Some(1));
    let second = ended(RaidOutcome::Completed, Some(2));
    let lost = ended(RaidOutcome::Failed, None);
    let ends = [won, second, lost, earned(40, false)];
    let goal = "tiers = [{ goal = 100, coins = 0 }]";
    let count = |what: &str, events: &[_]| count(&format!("{what}\n{goal}"), events);
    assert_eq!(count(r#"event = "raid_ended""#, &ends), 3);
    let first = r#"event = "raid_ended"
        where = { outcome = "completed", rank = 1 }"#;
    assert_eq!(count(first, &ends), 1);
    let ranked = r#"event = "xp_earned"
        where = { ranked = true }"#;
    assert_eq!(count(ranked, &[earned(40, true), earned(40, false)]), 1);
    let large = r#"event = "xp_earned"
        at_least = { counted = 40 }"#;
    assert_eq!(count(large, &[earned(40, true), earned(39, true)]), 1);
}

#[test]
fn an_achievement_sums_or_takes_the_largest_number() {
    let goal = "tiers = [{ goal = 10, coins = 0 }, { goal = 100, coins = 0 }]";
    let count = |what: &str, events: &[_]| count(&format!("{what}\n{goal}"), events);
    let sum = r#"event = "xp_earned"
        sum = "counted""#;
    let earned_twice = [earned(40, true), earned(25, true)];
    assert_eq!(count(sum, &earned_twice), 65);
    let beyond = [earned(90, true), earned(90, true), earned(90, true)];
    assert_eq!(count(sum, &beyond), 180, "it stops after the last goal");
    let max = r#"event = "level_reached"
        max = "level""#;
    assert_eq!(count(max, &[level(3), level(7), level(5)]), 7);
    let spent = r#"event = "coins_moved"
        sum = "spent""#;
    let moves = [
        moved(50, CoinsReason::Victory),
        moved(-30, CoinsReason::Purchase),
    ];
    assert_eq!(count(spent, &moves), 30);
}

#[test]
fn every_field_that_achievements_can_use_is_read() {
    let samples = [
        earned(40, true),
        level(3),
        moved(50, CoinsReason::Victory),
        PlayerEventData::ItemGranted {
            item: "frame_gold".to_owned(),
            by: ItemSource::Grant,
            counters: Vec::new(),
        },
        PlayerEventData::RaidJoined {
            raid: raid(),
            role: Role::Leader,
            counters: Vec::new(),
        },
        ended(RaidOutcome::Completed, Some(1)),
    ];
    for field in COUNTED_FIELDS {
        let sample = samples.iter().find(|data| data.kind() == field.event);
        let sample = sample.expect("a sample of the event");
        let name = field.name;
        assert!(content(sample, name).is_some(), "{}: {name}", field.event);
    }
}

#[test]
fn a_counter_has_the_next_goal_until_the_last_one() {
    let tiers = r#"event = "raid_ended"
        tiers = [{ goal = 1, coins = 10 }, { goal = 10, coins = 50 }]"#;
    let definitions = parse_achievement(tiers).expect("definitions");
    let achievement = &definitions.achievements[0];
    assert_eq!(
        [0, 1, 9, 10].map(|value| achievement.next_goal(value)),
        [Some(1), Some(10), Some(10), None]
    );
    let won = ended(RaidOutcome::Completed, Some(1));
    assert_eq!(achievement.count(10, &won), None);
}

#[test]
fn the_built_in_file_is_what_operators_change() {
    let changed = BUILT_IN.replace("xp_factor = 50", "xp_factor = 80");
    let definitions = Definitions::parse(&changed).expect("definitions");
    assert_eq!(definitions.levels, LevelCurve::new(80));
}

proptest! {
    #[test]
    fn each_moment_lies_in_its_window(
        moment in 0..4_000_000_000_000_i64,
        window in 0..3_usize,
        zone in 0..5_usize,
    ) {
        let zones = ["UTC", "America/Santiago", "Pacific/Kiritimati", "Africa/Cairo", "Asia/Beirut"];
        let board = board(["daily", "weekly", "season"][window], zones[zone]);
        let at = UnixMillis(moment);
        let number = board.number_at(at);
        let opens_at = board.opens_at(number).expect("a time");
        let closes_at = board.closes_at(number).expect("a time");
        prop_assert!(opens_at <= at && at < closes_at);
        prop_assert_eq!(board.number_at(opens_at), number);
        prop_assert_eq!(board.number_at(opens_at.plus(-1)), number - 1);
    }

    #[test]
    fn xp_lies_between_its_level_and_the_next(xp in 0..=u64::MAX >> 8, factor in 1..1_000_000_u64) {
        let levels = LevelCurve::new(factor);
        let level = levels.level_of(xp);
        prop_assert!(level >= 1);
        prop_assert!(levels.begin(level) <= xp);
        prop_assert!(xp < levels.begin(level + 1));
        prop_assert_eq!(levels.begin(level) + levels.width(level), levels.begin(level + 1));
    }
}
