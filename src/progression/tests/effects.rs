//! What a cause adds to a player's stream.

use raidhall_protocol::event::LeaveReason;
use raidhall_protocol::player::PlayerEventData;
use raidhall_protocol::player::event::RaidOutcome;
use raidhall_protocol::player::state::PlayerRaid;
use raidhall_protocol::state::Role;

use super::{Stream, raid, time};
use crate::progression::CauseKind;

const LEFT: CauseKind = CauseKind::Left(LeaveReason::Left);
const COMPLETED: CauseKind = CauseKind::Ended {
    outcome: RaidOutcome::Completed,
    rank: Some(2),
    xp: 40,
};
const FAILED: CauseKind = CauseKind::Ended {
    outcome: RaidOutcome::Failed,
    rank: None,
    xp: 25,
};

fn add(stream: &mut Stream, raid_id: u64, kind: CauseKind) -> Vec<PlayerEventData> {
    stream.add(raid_id, time("2026-11-28T12:00Z"), kind)
}

fn joined(raid_id: u64, role: Role) -> PlayerEventData {
    let raid = raid(raid_id);
    PlayerEventData::RaidJoined {
        raid,
        role,
        counters: Vec::new(),
    }
}

fn shown(stream: &Stream) -> Vec<(u64, Role)> {
    let short = |joined: &PlayerRaid| (joined.raid.get(), joined.role);
    stream.fold.state.raids.iter().map(short).collect()
}

#[test]
fn a_new_role_is_a_raid_joined() {
    let mut stream = Stream::new();
    let join = CauseKind::HasRole(Role::Member);
    assert_eq!(add(&mut stream, 7, join), [joined(7, Role::Member)]);
    let lead = CauseKind::HasRole(Role::Leader);
    assert_eq!(add(&mut stream, 7, lead), [joined(7, Role::Leader)]);
    assert_eq!(shown(&stream), [(7, Role::Leader)]);
}

#[test]
fn a_raid_that_was_left_is_not_shown_until_it_is_joined_again() {
    let mut stream = Stream::new();
    add(&mut stream, 7, CauseKind::HasRole(Role::Leader));
    let left = PlayerEventData::RaidLeft {
        raid: raid(7),
        reason: LeaveReason::Left,
    };
    assert_eq!(add(&mut stream, 7, LEFT), [left]);
    assert_eq!(shown(&stream), []);
    add(&mut stream, 7, CauseKind::HasRole(Role::Member));
    assert_eq!(shown(&stream), [(7, Role::Member)]);
}

#[test]
fn an_ended_raid_is_played_and_a_completed_one_won() {
    let mut stream = Stream::new();
    for raid_id in [7, 8] {
        add(&mut stream, raid_id, CauseKind::HasRole(Role::Member));
    }
    let ended = |raid_id, outcome, rank, xp, raids_played| PlayerEventData::RaidEnded {
        raid: raid(raid_id),
        outcome,
        rank,
        xp,
        happened_at: time("2026-11-28T12:00Z"),
        raids_played,
        raids_won: 1,
        counters: Vec::new(),
    };
    let won = ended(7, RaidOutcome::Completed, Some(2), 40, 1);
    assert_eq!(add(&mut stream, 7, COMPLETED), [won]);
    assert_eq!(shown(&stream), [(8, Role::Member)]);
    let lost = ended(8, RaidOutcome::Failed, None, 25, 2);
    assert_eq!(add(&mut stream, 8, FAILED), [lost]);
    assert_eq!(shown(&stream), []);
    let state = &stream.fold.state;
    assert_eq!((state.raids_played, state.raids_won), (2, 1));
    assert_eq!(
        state.earned_xp, 0,
        "XP in a raid was earned before it ended"
    );
}

#[test]
fn the_largest_numbers_stay_the_largest() {
    let mut stream = Stream::new();
    let state = &mut stream.fold.state;
    state.xp = u64::MAX;
    state.earned_xp = u64::MAX;
    state.tasks = u64::MAX;
    state.raids_played = u64::MAX;
    state.raids_won = u64::MAX;
    state.coins = u64::MAX;
    let levels = stream.definitions.levels;
    state.level = levels.level_of(u64::MAX);
    state.level_xp = u64::MAX - levels.begin(state.level);
    state.next_level_xp = levels.width(state.level);
    stream.definitions.casual_xp_per_day = u64::MAX;
    let full = stream.fold.state.clone();
    let at = time("2026-11-28T12:00Z");
    stream.contribute(at, u64::MAX);
    stream.complete(at, u64::MAX);
    stream.complete(at, u64::MAX);
    add(&mut stream, 7, COMPLETED);
    assert_eq!(stream.fold.state, full);
}
