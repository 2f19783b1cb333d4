//! Folds of what raids cause.

use raidhall_protocol::event::LeaveReason;
use raidhall_protocol::limits::PLAYER_RAIDS_SHOWN;
use raidhall_protocol::player::event::{Allowance, RaidOutcome, XpSource};
use raidhall_protocol::player::{PlayerEvent, PlayerEventData, PlayerState};
use raidhall_protocol::state::Role;
use raidhall_protocol::{RaidId, UnixMillis};
use serde::Deserialize;

use super::{NOW, execute, new_fold, set};
use crate::player::{AllowanceDay, DaySettings, PlayerFold};

fn raid(id: u64) -> RaidId {
    RaidId::try_from(id).expect("an id")
}

fn apply(fold: &mut PlayerFold, data: PlayerEventData) {
    fold.apply(&PlayerEvent {
        seq: fold.seq.next(),
        at: NOW,
        cause: None,
        data,
    });
}

fn join(fold: &mut PlayerFold, raid_id: u64, role: Role) {
    let raid = raid(raid_id);
    apply(
        fold,
        PlayerEventData::RaidJoined {
            raid,
            role,
            counters: Vec::new(),
        },
    );
}

fn leave(fold: &mut PlayerFold, raid_id: u64) {
    let raid = raid(raid_id);
    let reason = LeaveReason::Kicked;
    apply(fold, PlayerEventData::RaidLeft { raid, reason });
}

fn earn(fold: &mut PlayerFold, allowance: Option<Allowance>) {
    let earned = PlayerEventData::XpEarned {
        amount: 40,
        counted: 40,
        earned_xp: 40,
        xp: 40,
        tasks: 1,
        source: XpSource::Contribution,
        allowance,
        happened_at: NOW,
        level_xp: 0,
        next_level_xp: 100,
        skill: None,
        skill_xp: None,
        skill_level: None,
        coins: 0,
        coins_earned: 0,
        note: None,
        counters: Vec::new(),
    };
    apply(fold, earned);
}

const fn used(ranked: bool, used: u64, since: UnixMillis) -> Option<Allowance> {
    Some(Allowance {
        ranked,
        used,
        since,
    })
}

fn shown(fold: &PlayerFold) -> Vec<(u64, Role)> {
    let raids = fold.state.raids.iter();
    raids.map(|it| (it.raid.get(), it.role)).collect()
}

/// The wire tests write this file; the folds of clients are tested with it, too.
#[test]
fn a_players_history_folds_to_the_state_of_the_fixture() {
    #[derive(Deserialize)]
    struct StoredHistory {
        before: PlayerState,
        events: Vec<PlayerEvent>,
        after: PlayerState,
    }
    let fixture = include_str!("../../../protocol/fixtures/player_history.json");
    let history: StoredHistory = serde_json::from_str(fixture).expect("a history");
    let mut fold = new_fold();
    assert_eq!(fold.state, history.before);
    for event in &history.events {
        fold.apply(event);
    }
    assert_eq!(fold.state, history.after);
}

#[test]
fn a_raid_keeps_its_place_when_the_role_in_it_changes() {
    let mut fold = new_fold();
    join(&mut fold, 7, Role::Leader);
    join(&mut fold, 8, Role::Member);
    join(&mut fold, 7, Role::Member);
    assert_eq!(shown(&fold), [(7, Role::Member), (8, Role::Member)]);
    leave(&mut fold, 7);
    join(&mut fold, 7, Role::Member);
    assert_eq!(shown(&fold), [(8, Role::Member), (7, Role::Member)]);
}

#[test]
fn a_state_shows_the_latest_200_raids_by_joining() {
    let mut fold = new_fold();
    let last = PLAYER_RAIDS_SHOWN as u64 + 1;
    for raid_id in 1..=last {
        join(&mut fold, raid_id, Role::Member);
    }
    let ends = |fold: &PlayerFold| {
        let raids = shown(fold);
        (raids.len(), raids[0], raids[raids.len() - 1])
    };
    let newest = (last, Role::Member);
    assert_eq!(ends(&fold), (200, (2, Role::Member), newest));
    join(&mut fold, 2, Role::Leader);
    assert_eq!(ends(&fold), (200, (2, Role::Leader), newest));
    leave(&mut fold, 1);
    assert_eq!(ends(&fold), (200, (2, Role::Leader), newest), "not shown");
    leave(&mut fold, 2);
    assert_eq!(ends(&fold), (199, (3, Role::Member), newest));
}

#[test]
fn an_ended_raid_counts_even_if_it_is_not_shown() {
    let mut fold = new_fold();
    let ended = PlayerEventData::RaidEnded {
        raid: raid(7),
        outcome: RaidOutcome::Completed,
        rank: Some(1),
        xp: 40,
        happened_at: NOW,
        raids_played: 5,
        raids_won: 3,
        counters: Vec::new(),
    };
    apply(&mut fold, ended);
    assert_eq!((fold.state.raids_played, fold.state.raids_won), (5, 3));
}

#[test]
fn an_allowance_is_kept_with_the_settings_at_the_start_of_its_day() {
    let mut fold = new_fold();
    let day = |zone: &str, since, ranked_used, casual_used| AllowanceDay {
        since,
        settings: DaySettings {
            zone: zone.to_owned(),
            start_hour: 0,
        },
        ranked_used,
        casual_used,
    };
    earn(&mut fold, None);
    assert_eq!(fold.allowance_day, None);
    earn(&mut fold, used(false, 40, NOW));
    assert_eq!(execute(&mut fold, set("zone", "Asia/Tashkent")), Ok(1));
    earn(&mut fold, used(true, 80, NOW));
    earn(&mut fold, None);
    assert_eq!(fold.allowance_day, Some(day("UTC", NOW, 80, 40)));
    let next = NOW.plus(86_400_000);
    earn(&mut fold, used(true, 10, next));
    assert_eq!(fold.allowance_day, Some(day("Asia/Tashkent", next, 10, 0)));
}

#[test]
fn a_fold_with_raids_and_an_allowance_is_encoded_in_full() {
    let mut fold = new_fold();
    join(&mut fold, 7, Role::Leader);
    join(&mut fold, 8, Role::Member);
    assert_eq!(execute(&mut fold, set("zone", "Asia/Tashkent")), Ok(1));
    earn(&mut fold, used(false, 300, NOW));
    earn(&mut fold, used(true, 1_040, NOW));
    let bytes = fold.encode();
    let decoded = PlayerFold::decode(&bytes).expect("decode");
    assert_eq!(decoded, fold);
    assert_eq!(decoded.encode(), bytes);
    assert!(decoded.allowance_day.is_some());
}
