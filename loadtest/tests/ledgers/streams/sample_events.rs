//! A raid of two players and the stream of one of them, which the tests forge.

use raidhall_protocol::event::LeaderReason;
use raidhall_protocol::player::event::{Allowance, CoinsReason, RaidOutcome, RaidPlace, XpSource};
use raidhall_protocol::player::state::Counter;
use raidhall_protocol::player::{PlayerEvent, PlayerEventData};
use raidhall_protocol::server::PlayerRef;
use raidhall_protocol::state::{Rank, Role};
use raidhall_protocol::{Event, EventData, Seq, UnixMillis};

use crate::sample_case::{created, event, history, joined, player, raid, task};

/// The seq of the last event of Ben's stream.
pub(crate) const END: u64 = 14;
/// The seq of the end of the raid in it.
pub(crate) const ENDED: usize = 11;
/// The index of the event with this seq.
pub(crate) const fn at(seq: usize) -> usize {
    seq - 1
}

pub(crate) fn ben() -> PlayerRef {
    PlayerRef {
        id: player(6),
        name: "Ben".to_owned(),
    }
}

/// Ada (5) creates a raid, Ben (6) joins; Ben is credited with 30 XP (5), completes a task of 400 XP
/// (8), leads (9), and the raid is won (10).
pub(crate) fn ledger() -> Vec<Event> {
    let claimed = EventData::TaskClaimed {
        task: task(1),
        player: player(6),
        energy: 90,
    };
    let completed = EventData::TaskCompleted {
        task: task(1),
        player: player(6),
        xp: 400,
        energy: 95,
        member_xp: 430,
        member_tasks: 2,
        current_xp: 430,
        current_tasks: 2,
    };
    let contributed = EventData::Contributed {
        player: player(6),
        xp: 30,
        kind: "focus".to_owned(),
        note: None,
        member_xp: 30,
        member_tasks: 1,
        current_xp: 30,
        current_tasks: 1,
    };
    let promoted = EventData::LeaderChanged {
        player: player(6),
        previous: player(5),
        reason: LeaderReason::Promoted,
        term: 2,
    };
    let rank = |id, name: &str, xp, tasks, rank| Rank {
        player: player(id),
        name: name.to_owned(),
        xp,
        tasks,
        rank,
    };
    let ranking = vec![rank(6, "Ben", 430, 2, 1), rank(5, "Ada", 0, 0, 2)];
    let mut events = vec![
        event(1, 5, created()),
        event(2, 5, joined(5, "Ada", Role::Leader, 1)),
        event(3, 6, joined(6, "Ben", Role::Member, 2)),
        history()[3].clone(),
        event(5, 5, contributed),
        history()[4].clone(),
        event(7, 6, claimed),
        event(8, 6, completed),
        event(9, 5, promoted),
        event(10, 5, EventData::RaidCompleted { ranking }),
    ];
    events[at(6)].seq = Seq(6);
    events
}

/// Returns an event of Ben's stream that happened at the time of its cause, or of the ledger's event
/// with the number `at`.
fn stream_event(seq: u64, cause: Option<u64>, at: usize, data: PlayerEventData) -> PlayerEvent {
    PlayerEvent {
        seq: Seq(seq),
        at: ledger()[at - 1].at,
        cause: cause.map(place),
        data,
    }
}

pub(crate) fn place(seq: u64) -> RaidPlace {
    RaidPlace {
        raid: raid(),
        seq: Seq(seq),
    }
}

fn counter(id: &str, value: u64, goal: u64) -> Counter {
    Counter {
        id: id.to_owned(),
        value,
        goal: Some(goal),
    }
}

fn joined_as(role: Role) -> PlayerEventData {
    PlayerEventData::RaidJoined {
        raid: raid(),
        role,
        counters: Vec::new(),
    }
}

fn level_reached(level: u64, coins: u64) -> PlayerEventData {
    PlayerEventData::LevelReached {
        level,
        coins,
        coins_earned: 20,
        counters: Vec::new(),
    }
}

fn unlocked(id: &str) -> PlayerEventData {
    let id = id.to_owned();
    PlayerEventData::AchievementUnlocked { id, tier: 1 }
}

pub(crate) fn coins_moved(amount: i64, reason: CoinsReason, coins: u64) -> PlayerEventData {
    PlayerEventData::CoinsMoved {
        amount,
        reason,
        coins,
        note: None,
        counters: Vec::new(),
    }
}

/// Ben's stream: what the raid gave him with all that follows from it, and a setting.
pub(crate) fn stream() -> Vec<PlayerEvent> {
    let set = PlayerEventData::SettingSet {
        key: "app.n".to_owned(),
        value: "k1".into(),
        version: 1,
        lapses_at: None,
    };
    let contributed = PlayerEventData::XpEarned {
        amount: 30,
        counted: 30,
        earned_xp: 30,
        xp: 30,
        tasks: 1,
        source: XpSource::Contribution,
        allowance: None,
        happened_at: ledger()[at(5)].at,
        level_xp: 30,
        next_level_xp: 100,
        skill: Some("focus".to_owned()),
        skill_xp: Some(30),
        skill_level: Some(1),
        coins: 3,
        coins_earned: 3,
        note: None,
        counters: vec![counter("collector", 30, 100)],
    };
    let kept = PlayerEventData::DayKept {
        day: "2026-01-01".to_owned(),
        zone: "UTC".to_owned(),
        days: 1,
        best: 1,
        freezes: 0,
        since: ledger()[at(5)].at,
        lapses_at: UnixMillis(1_767_225_600_000 + 2 * 86_400_000),
    };
    let completed = PlayerEventData::XpEarned {
        amount: 400,
        counted: 300,
        earned_xp: 430,
        xp: 330,
        tasks: 2,
        source: XpSource::Task,
        allowance: Some(Allowance {
            ranked: false,
            used: 300,
            since: ledger()[at(8)].at,
        }),
        happened_at: ledger()[at(8)].at,
        level_xp: 30,
        next_level_xp: 300,
        skill: Some("teamwork".to_owned()),
        skill_xp: Some(300),
        skill_level: Some(3),
        coins: 33,
        coins_earned: 30,
        note: None,
        counters: vec![counter("collector", 330, 1_000)],
    };
    let ended = PlayerEventData::RaidEnded {
        raid: raid(),
        outcome: RaidOutcome::Completed,
        rank: Some(1),
        xp: 430,
        happened_at: ledger()[at(10)].at,
        raids_played: 1,
        raids_won: 1,
        counters: vec![counter("victor", 1, 10)],
    };
    vec![
        stream_event(1, Some(3), 3, joined_as(Role::Member)),
        stream_event(2, None, 4, set),
        stream_event(3, Some(5), 5, contributed),
        stream_event(4, Some(5), 5, kept),
        stream_event(5, Some(8), 8, completed),
        stream_event(6, Some(8), 8, level_reached(2, 53)),
        stream_event(7, Some(8), 8, level_reached(3, 73)),
        stream_event(8, Some(8), 8, unlocked("collector")),
        stream_event(9, Some(8), 8, coins_moved(10, CoinsReason::Achievement, 83)),
        stream_event(10, Some(9), 9, joined_as(Role::Leader)),
        stream_event(11, Some(10), 10, ended),
        stream_event(12, Some(10), 10, coins_moved(50, CoinsReason::Victory, 133)),
        stream_event(13, Some(10), 10, coins_moved(25, CoinsReason::Mvp, 158)),
        stream_event(14, Some(10), 10, unlocked("victor")),
    ]
}
