//! What an event of a raid means, and for which players.

use std::fs;
use std::path::Path;

use raidhall_protocol::event::LeaveReason;
use raidhall_protocol::player::event::{RaidOutcome, RaidPlace};
use raidhall_protocol::state::Role;
use raidhall_protocol::{Event, Seq, ServerMessage, UnixMillis};
use serde_json::{Value, json};

use super::{player, raid};
use crate::progression::{Cause, CauseKind, DefinitionsNumber, RaidContext, causes};

const AT: UnixMillis = UnixMillis(1_767_225_600_000);

fn event(kind: &str, data: Value) -> Event {
    let event = json!({"seq": 124, "at": AT, "by": 5, "type": kind, "data": data});
    serde_json::from_value(event).expect("an event")
}

/// Returns the players that an event concerns, and what it means for each.
fn meanings(event: &Event, context: &RaidContext) -> Vec<(u64, CauseKind)> {
    let short = |(player, cause): (raidhall_protocol::PlayerId, Cause)| (player.get(), cause.kind);
    causes(raid(7), event, context)
        .into_iter()
        .map(short)
        .collect()
}

#[track_caller]
fn check(kind: &str, data: Value, expected: &[(u64, CauseKind)]) {
    let context = RaidContext::default();
    assert_eq!(meanings(&event(kind, data), &context), expected, "{kind}");
}

#[test]
fn a_cause_has_the_place_time_and_definitions_of_its_event() {
    let left = event(
        "member_left",
        json!({"player": 6, "reason": "left", "released": []}),
    );
    let cause = Cause {
        place: RaidPlace {
            raid: raid(7),
            seq: Seq(124),
        },
        at: AT,
        definitions: DefinitionsNumber(3),
        kind: CauseKind::Left(LeaveReason::Left),
    };
    let context = RaidContext {
        definitions: DefinitionsNumber(3),
        ..RaidContext::default()
    };
    let found = causes(raid(7), &left, &context);
    assert_eq!(found, [(player(6), cause)]);
}

#[test]
fn joining_and_leaving_concern_the_member() {
    for (name, role) in [("leader", Role::Leader), ("member", Role::Member)] {
        let data = json!({
            "player": 6, "name": "Ben", "role": name, "xp": 80, "tasks": 2, "energy": 70,
            "energy_at": AT, "joined_at": AT,
        });
        check("member_joined", data, &[(6, CauseKind::HasRole(role))]);
    }
    for (name, reason) in [("left", LeaveReason::Left), ("kicked", LeaveReason::Kicked)] {
        let data = json!({"player": 6, "reason": name, "released": [3]});
        check("member_left", data, &[(6, CauseKind::Left(reason))]);
    }
}

#[test]
fn a_change_of_the_leader_concerns_both_unless_one_has_left() {
    let follows = || (5, CauseKind::HasRole(Role::Member));
    let leads = || (6, CauseKind::HasRole(Role::Leader));
    for reason in ["promoted", "leader_offline"] {
        let data = json!({"player": 6, "previous": 5, "reason": reason, "term": 2});
        check("leader_changed", data, &[follows(), leads()]);
    }
    let data = json!({"player": 6, "previous": 5, "reason": "left", "term": 2});
    check("leader_changed", data, &[leads()]);
}

#[test]
fn xp_of_a_task_is_that_of_a_ranked_raid_or_not() {
    let completed = event(
        "task_completed",
        json!({
            "task": 3, "player": 6, "xp": 40, "energy": 95, "member_xp": 80, "member_tasks": 2,
            "current_xp": 120, "current_tasks": 3,
        }),
    );
    for is_ranked in [false, true] {
        let context = RaidContext {
            is_ranked,
            ..RaidContext::default()
        };
        let expected = CauseKind::TaskCompleted { xp: 40, is_ranked };
        assert_eq!(meanings(&completed, &context), [(6, expected)]);
    }
    let contributed = json!({
        "player": 6, "xp": 25, "kind": "habit", "note": null, "member_xp": 105, "member_tasks": 3,
        "current_xp": 145, "current_tasks": 4,
    });
    check(
        "contributed",
        contributed,
        &[(
            6,
            CauseKind::Contributed {
                xp: 25,
                kind: "habit".to_owned(),
            },
        )],
    );
}

#[test]
fn a_completed_raid_concerns_the_members_in_its_ranking() {
    let ranking = json!([
        {"player": 6, "name": "Ben", "xp": 400, "tasks": 7, "rank": 1},
        {"player": 5, "name": "Ada", "xp": 0, "tasks": 0, "rank": 2},
    ]);
    let ended = |rank, xp| CauseKind::Ended {
        outcome: RaidOutcome::Completed,
        rank: Some(rank),
        xp,
    };
    let context = RaidContext {
        last_members: vec![(player(9), 1)],
        ..RaidContext::default()
    };
    let completed = event("raid_completed", json!({"ranking": ranking}));
    let expected = [(6, ended(1, 400)), (5, ended(2, 0))];
    assert_eq!(meanings(&completed, &context), expected);
}

#[test]
fn a_failed_raid_concerns_its_last_members() {
    let ended = |xp| CauseKind::Ended {
        outcome: RaidOutcome::Failed,
        rank: None,
        xp,
    };
    let context = RaidContext {
        last_members: vec![(player(6), 400), (player(5), 0)],
        ..RaidContext::default()
    };
    for reason in ["deadline", "cancelled", "abandoned"] {
        let failed = event("raid_failed", json!({"reason": reason}));
        let expected = [(6, ended(400)), (5, ended(0))];
        assert_eq!(meanings(&failed, &context), expected);
        assert_eq!(meanings(&failed, &RaidContext::default()), []);
    }
}

#[test]
fn all_other_events_of_a_raid_mean_nothing_for_players() {
    let meaningful = [
        "member_joined",
        "member_left",
        "leader_changed",
        "task_completed",
        "contributed",
        "raid_completed",
        "raid_failed",
    ];
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("protocol/fixtures/server");
    let mut checked = 0;
    for file in fs::read_dir(folder).expect("fixtures") {
        let path = file.expect("a file").path();
        if path.extension().is_none_or(|extension| extension != "json") {
            continue;
        }
        let message = fs::read(&path).expect("read");
        let Ok(ServerMessage::Event { event, .. }) = serde_json::from_slice(&message) else {
            continue;
        };
        if !meaningful.contains(&event.data.kind()) {
            assert_eq!(meanings(&event, &RaidContext::default()), [], "{path:?}");
            checked += 1;
        }
    }
    assert!(checked >= 12, "{checked} fixtures");
}
