//! What the ledger of a raid must give its players.

use raidhall_loadtest::judge::{Gain, expected_effects};
use raidhall_protocol::event::{FailReason, LeaderReason, LeaveReason};
use raidhall_protocol::player::event::RaidOutcome;
use raidhall_protocol::state::Role;
use raidhall_protocol::{Event, EventData};

use super::sample_stream::ledger;
use crate::sample_case::{created, event, joined, player, raid};

/// Returns the gains of a ledger, each with the seq of its cause and the player.
fn gains(events: &[Event]) -> Vec<(u64, u64, Gain)> {
    expected_effects(raid(), events)
        .into_iter()
        .map(|it| (it.cause.seq.0, u64::from(it.player), it.gain))
        .collect()
}

#[test]
fn a_won_raid_gives_roles_xp_and_its_end() {
    let ended = |rank, xp| Gain::Ended {
        outcome: RaidOutcome::Completed,
        rank: Some(rank),
        xp,
    };
    let task = Gain::Task {
        xp: 400,
        ranked: false,
    };
    let credited = Gain::Contribution {
        xp: 30,
        kind: "focus".to_owned(),
    };
    assert_eq!(
        gains(&ledger()),
        [
            (2, 5, Gain::Role(Role::Leader)),
            (3, 6, Gain::Role(Role::Member)),
            (5, 6, credited),
            (8, 6, task),
            (9, 6, Gain::Role(Role::Leader)),
            (9, 5, Gain::Role(Role::Member)),
            (10, 5, ended(2, 0)),
            (10, 6, ended(1, 430)),
        ]
    );
}

#[test]
fn a_player_who_left_gets_neither_a_role_nor_the_end() {
    let left = EventData::MemberLeft {
        player: player(5),
        reason: LeaveReason::Left,
        released: Vec::new(),
    };
    let succeeded = EventData::LeaderChanged {
        player: player(6),
        previous: player(5),
        reason: LeaderReason::Left,
        term: 2,
    };
    let failed = EventData::RaidFailed {
        reason: FailReason::Cancelled,
    };
    let mut history = ledger();
    history.truncate(8);
    if let EventData::RaidCreated { ranked, .. } = &mut history[0].data {
        *ranked = true;
    }
    history.push(event(9, 5, left));
    history.push(event(10, 5, succeeded));
    history.push(event(11, 6, failed));
    let ended = Gain::Ended {
        outcome: RaidOutcome::Failed,
        rank: None,
        xp: 430,
    };
    let task = Gain::Task {
        xp: 400,
        ranked: true,
    };
    assert_eq!(
        gains(&history)[3..],
        [
            (8, 6, task),
            (9, 5, Gain::Left(LeaveReason::Left)),
            (10, 6, Gain::Role(Role::Leader)),
            (11, 6, ended),
        ]
    );
}

#[test]
fn a_player_who_joined_again_ends_with_their_former_xp() {
    let mut again = joined(6, "Ben", Role::Member, 2);
    if let EventData::MemberJoined { xp, .. } = &mut again {
        *xp = 25;
    }
    let failed = EventData::RaidFailed {
        reason: FailReason::Cancelled,
    };
    let history = [
        event(1, 5, created()),
        event(2, 6, again),
        event(3, 6, failed),
    ];
    let ended = Gain::Ended {
        outcome: RaidOutcome::Failed,
        rank: None,
        xp: 25,
    };
    assert_eq!(gains(&history)[1], (3, 6, ended));
}
