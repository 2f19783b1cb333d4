//! A player's whole stream, with which folds of player events are tested.

use std::collections::BTreeMap;

use raidhall_protocol::Seq;
use raidhall_protocol::event::LeaveReason;
use raidhall_protocol::player::event::{
    Allowance, CoinsReason, CorrectedField, CorrectionSource, ItemSource, RaidOutcome, RaidPlace,
    XpSource,
};
use raidhall_protocol::player::state::{Inbox, Streak};
use raidhall_protocol::player::{PlayerEvent, PlayerEventData, PlayerState};
use raidhall_protocol::state::Role;
use serde::Serialize;
use serde_json::json;

use crate::player_samples::{
    AT, achievement, by_key, counter, day_kept, empty_state, joined, place, raid, sale, sale_data,
    setting_at, skill, streak_frozen, streak_lost, streak_repaired,
};

/// A whole stream, and the states before and after it. Every fold of player events has to agree.
#[derive(Serialize)]
pub(crate) struct PlayerHistory {
    before: PlayerState,
    events: Vec<PlayerEvent>,
    after: PlayerState,
}

/// Returns a stream with every event type.
pub(crate) fn history() -> PlayerHistory {
    let set = |key: &str, value, version| PlayerEventData::SettingSet {
        key: key.to_owned(),
        value: json!(value),
        version,
        lapses_at: None,
    };
    let notified = PlayerEventData::Notified {
        kind: "sale".to_owned(),
        data: sale_data(),
    };
    let read = PlayerEventData::ReadThrough { seq: Seq(3) };
    let renamed = PlayerEventData::NameChanged {
        name: "Countess".to_owned(),
    };
    let own = [
        set("theme", "light", 1),
        set("theme", "dark", 2),
        notified.clone(),
        notified,
        read,
        set("zone", "Asia/Tashkent", 1),
        renamed,
    ];
    let mut events: Vec<_> = own.into_iter().map(|data| (None, data)).collect();
    events.extend(raid_history());
    events.extend(streak_history());
    let numbered = |(seq, (cause, data))| PlayerEvent {
        seq: Seq(seq),
        at: AT,
        cause,
        data,
    };
    let settings = [
        ("day_start_hour", setting_at(json!(4), 1)),
        ("theme", setting_at(json!("dark"), 2)),
        ("zone", setting_at(json!("Asia/Tashkent"), 1)),
    ];
    PlayerHistory {
        before: empty_state(),
        events: (1..).zip(events).map(numbered).collect(),
        after: PlayerState {
            name: "Countess".to_owned(),
            xp: 360,
            earned_xp: 410,
            level: 3,
            level_xp: 60,
            next_level_xp: 300,
            coins: 50,
            tasks: 5,
            raids_won: 2,
            raids_played: 3,
            raids: vec![joined(7, Role::Member), joined(8, Role::Member)],
            skills: vec![skill("teamwork", 340, 3), skill("discipline", 25, 3)],
            achievements: vec![achievement("collector", 2), achievement("first_steps", 1)],
            counters: vec![
                counter("companion", 40, Some(50)),
                counter("first_steps", 1, None),
                counter("collector", 365, Some(1_000)),
                counter("climber", 2, Some(5)),
                counter("saver", 53, Some(100)),
                counter("veteran", 2, Some(5)),
                counter("wardrobe", 1, Some(5)),
            ],
            streak: Streak {
                days: 21,
                best: 21,
                day: Some("2026-01-01".to_owned()),
                freezes: 1,
                lapses_at: Some(AT.plus(100_800_000)),
                repairable_days: 0,
                repairable_from: None,
                repairable_until: None,
            },
            items: ["frame_gold", "frame_bronze", "title_night_owl"]
                .map(str::to_owned)
                .into(),
            equipped: BTreeMap::from([
                ("frame".to_owned(), "frame_bronze".to_owned()),
                ("title".to_owned(), "title_night_owl".to_owned()),
            ]),
            settings: by_key(settings),
            inbox: Inbox {
                unread: 1,
                items: vec![sale(3, true), sale(4, false)],
            },
            read_through: Seq(3),
            ..empty_state()
        },
    }
}

/// Returns the part of the history that raids cause: the player leads raid 7 until another member is
/// promoted, leaves and joins raid 8, wins raid 9 and loses raid 10. Then the
/// numbers are corrected.
fn raid_history() -> Vec<(Option<RaidPlace>, PlayerEventData)> {
    let join = |raid_id, seq, role| {
        let raid = raid(raid_id);
        let data = PlayerEventData::RaidJoined {
            raid,
            role,
            counters: vec![counter("companion", seq, Some(50))],
        };
        (Some(place(raid_id, seq)), data)
    };
    let leave = |raid_id, seq| {
        let data = PlayerEventData::RaidLeft {
            raid: raid(raid_id),
            reason: LeaveReason::Left,
        };
        (Some(place(raid_id, seq)), data)
    };
    let end = |raid_id, seq, outcome, rank, xp, raids_played| {
        let data = PlayerEventData::RaidEnded {
            raid: raid(raid_id),
            outcome,
            rank,
            xp,
            happened_at: AT,
            raids_played,
            raids_won: 1,
            counters: vec![counter("veteran", raids_played, Some(5))],
        };
        (Some(place(raid_id, seq)), data)
    };
    let earn = |raid_id, seq, [amount, counted, earned_xp, xp, tasks]: [u64; 5], allowance| {
        let data = earned([amount, counted, earned_xp, xp, tasks], allowance);
        (Some(place(raid_id, seq)), data)
    };
    let allowance = |ranked, used| {
        let since = AT;
        Some(Allowance {
            ranked,
            used,
            since,
        })
    };
    vec![
        join(7, 2, Role::Leader),
        join(8, 5, Role::Member),
        join(9, 4, Role::Member),
        join(10, 3, Role::Member),
        earn(7, 20, [250, 250, 250, 250, 1], allowance(false, 250)),
        (Some(place(7, 20)), level_reached(2)),
        (Some(place(7, 20)), unlocked("collector", 1)),
        (
            Some(place(7, 20)),
            coins_moved(20, CoinsReason::Achievement, 65),
        ),
        earn(8, 21, [100, 50, 350, 300, 2], allowance(false, 300)),
        (Some(place(8, 21)), unlocked("first_steps", 1)),
        (Some(place(8, 21)), unlocked("collector", 2)),
        earn(9, 22, [40, 40, 390, 340, 3], allowance(true, 40)),
        earn(10, 23, [25, 25, 415, 365, 4], None),
        join(7, 30, Role::Member),
        leave(8, 31),
        end(9, 32, RaidOutcome::Completed, Some(2), 40, 1),
        end(10, 33, RaidOutcome::Failed, None, 25, 2),
        join(8, 40, Role::Member),
        (None, item_granted("frame_gold", ItemSource::Grant)),
        (None, item_equipped("frame", "frame_gold")),
        (None, item_granted("frame_bronze", ItemSource::Purchase)),
        (None, coins_moved(-12, CoinsReason::Purchase, 53)),
        (None, item_equipped("frame", "frame_bronze")),
        (None, item_granted("title_night_owl", ItemSource::Grant)),
        (None, item_equipped("title", "title_night_owl")),
        (None, correct(CorrectedField::Xp, 365, 360)),
        (None, correct(CorrectedField::EarnedXp, 415, 410)),
        (None, correct(CorrectedField::Tasks, 4, 5)),
        (None, correct(CorrectedField::RaidsWon, 1, 2)),
        (None, correct(CorrectedField::RaidsPlayed, 2, 3)),
        (None, correct(CorrectedField::Level, 2, 3)),
        (None, correct(CorrectedField::LevelXp, 265, 60)),
        (None, correct(CorrectedField::NextLevelXp, 200, 300)),
        (None, correct(CorrectedField::Coins, 53, 50)),
    ]
}

/// Returns the part of the history that is about the streak: it is kept, lost and repaired, the day
/// begins at another hour, and it is corrected.
fn streak_history() -> Vec<(Option<RaidPlace>, PlayerEventData)> {
    let later = PlayerEventData::SettingSet {
        key: "day_start_hour".to_owned(),
        value: json!(4),
        version: 1,
        lapses_at: Some(AT.plus(100_800_000)),
    };
    vec![
        (Some(place(10, 23)), streak_frozen()),
        (Some(place(10, 23)), day_kept(12)),
        (None, streak_lost(Some(AT.plus(172_800_000)))),
        (None, streak_repaired(Some(AT))),
        (None, later),
        (None, correct(CorrectedField::Streak, 13, 21)),
    ]
}

/// Returns XP of a task, which trains teamwork, or of a contribution, which trains discipline.
fn earned(
    [amount, counted, earned_xp, xp, tasks]: [u64; 5],
    allowance: Option<Allowance>,
) -> PlayerEventData {
    let is_task = allowance.is_some();
    let skill = if is_task { "teamwork" } else { "discipline" };
    PlayerEventData::XpEarned {
        amount,
        counted,
        earned_xp,
        xp,
        tasks,
        source: if is_task {
            XpSource::Task
        } else {
            XpSource::Contribution
        },
        allowance,
        happened_at: AT,
        level_xp: xp - 100,
        next_level_xp: 200,
        skill: Some(skill.to_owned()),
        skill_xp: Some(if is_task { xp } else { 25 }),
        skill_level: Some(if xp < 300 { 2 } else { 3 }),
        coins: 45 + counted / 10,
        coins_earned: counted / 10,
        note: None,
        counters: vec![
            counter("first_steps", 1, None),
            counter("collector", xp, Some(1_000)),
        ],
    }
}

fn level_reached(level: u64) -> PlayerEventData {
    PlayerEventData::LevelReached {
        level,
        coins: 45,
        coins_earned: 20,
        counters: vec![counter("climber", level, Some(5))],
    }
}

fn unlocked(id: &str, tier: u32) -> PlayerEventData {
    let id = id.to_owned();
    PlayerEventData::AchievementUnlocked { id, tier }
}

fn coins_moved(amount: i64, reason: CoinsReason, coins: u64) -> PlayerEventData {
    PlayerEventData::CoinsMoved {
        amount,
        reason,
        coins,
        note: None,
        counters: vec![counter("saver", coins, Some(100))],
    }
}

fn item_granted(item: &str, by: ItemSource) -> PlayerEventData {
    PlayerEventData::ItemGranted {
        item: item.to_owned(),
        by,
        counters: vec![counter("wardrobe", 1, Some(5))],
    }
}

fn item_equipped(slot: &str, item: &str) -> PlayerEventData {
    PlayerEventData::ItemEquipped {
        slot: slot.to_owned(),
        item: item.to_owned(),
    }
}

fn correct(field: CorrectedField, from: u64, to: u64) -> PlayerEventData {
    PlayerEventData::Corrected {
        field,
        from,
        to,
        by: CorrectionSource::Rebuild,
        note: "counted twice".to_owned(),
    }
}
