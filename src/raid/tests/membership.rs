//! Joining, leaving, kicks, and joining again.

use super::check;
use super::script::run_script;

#[test]
fn a_player_with_the_invite_code_joins_a_recruiting_raid() {
    check(
        ". ada create
         +4s ben join
         show raid members leader
         show ben role joined_at",
        "ben member_joined energy=100 energy_at=4000 joined_at=4000 name=ben player=ben role=member tasks=0 xp=0
         raid members=ada,ben leader=ada
         ben role=member joined_at=4000",
    );
}

#[test]
fn joining_twice_changes_nothing() {
    check(
        ". ada create max_members=2\n. ben join\nben join\nada join\n. ada start\nben join",
        "nothing\nnothing\nnothing",
    );
}

#[test]
fn a_full_raid_refuses_joins_until_a_member_leaves() {
    check(
        ". ada create max_members=2\n. ben join\ncal join\n. ben leave\n. cal join\nben join",
        "!raid_full\n!raid_full",
    );
}

#[test]
fn an_active_raid_accepts_new_members_only_with_late_join() {
    check(". ada create\n. ada start\nben join", "!raid_closed");
    check(
        ". ada create late_join=true\n. ada start\n. ben join\nshow raid members",
        "raid members=ada,ben",
    );
}

#[test]
fn an_ended_raid_refuses_joins() {
    check(
        ". ada create late_join=true\n. ada cancel\nben join",
        "!raid_closed",
    );
}

#[test]
fn a_closed_and_full_raid_is_reported_as_closed() {
    check(
        ". ada create max_members=2\n. ben join\n. ada start\ncal join",
        "!raid_closed",
    );
}

#[test]
fn a_command_of_a_non_member_is_not_found() {
    check(
        ". ada create
         . ben join
         . ada kick player=ben
         . cal join
         . cal leave
         ben say text=hi
         ben contribute player=ben xp=1 kind=bonus
         cal leave
         dot start
         dot add_task title=_ xp=0 minutes=-1",
        "!not_found\n!not_found\n!not_found\n!not_found\n!not_found",
    );
}

#[test]
fn leaving_releases_task_claims_in_the_same_event_in_task_order() {
    check(
        ". ada create
         . ben join
         . ada add_task title=One xp=1 minutes=0
         . ada add_task title=Two xp=1 minutes=0
         . ada add_task title=Three xp=1 minutes=0
         . ada add_task title=Four xp=1 minutes=0
         . ada start
         . ben claim_task task=3
         . ben claim_task task=1
         . ada claim_task task=2
         . ben claim_task task=4
         . ben complete_task task=4
         ben leave
         show 1 status assignee claimed_at
         show 2 status assignee
         show 3 status assignee claimed_at
         show 4 status assignee
         show raid members leader term",
        "ben member_left player=ben reason=left released=[1,3]
         1 status=open assignee=null claimed_at=null
         2 status=claimed assignee=ada
         3 status=open assignee=null claimed_at=null
         4 status=completed assignee=ben
         raid members=ada leader=ada term=1",
    );
}

#[test]
fn the_last_member_to_leave_abandons_the_raid() {
    check(
        ". ada create
         . ben join
         . ben leave
         +2s ada leave
         show raid status reason ended_at leader term members
         ben join
         ada say text=hm",
        "ada member_left player=ada reason=left released=[]
         ada raid_failed reason=abandoned
         raid status=failed reason=abandoned ended_at=2000 leader=null term=1 members=
         !raid_closed
         !not_found",
    );
}

#[test]
fn abandoning_an_active_raid_releases_its_task_claims() {
    check(
        ". ada create
         . ada add_task title=One xp=1 minutes=0
         . ada start
         . ada claim_task task=1
         ada leave
         show 1 status assignee",
        "ada member_left player=ada reason=left released=[1]
         ada raid_failed reason=abandoned
         1 status=open assignee=null",
    );
}

#[test]
fn a_kick_by_the_leader_releases_the_members_task_claims() {
    check(
        ". ada create late_join=true
         . ben join
         . cal join
         . ada add_task title=One xp=1 minutes=0
         . ada start
         . ben claim_task task=1
         cal kick player=ben
         cal kick player=cal
         ada kick player=ada
         ada kick player=dot
         ada kick player=ben
         show raid members leader term
         show 1 status assignee claimed_at
         ben join
         ada kick player=ben",
        "!not_leader
         !invalid player
         !invalid player
         !not_member
         ada member_left player=ben reason=kicked released=[1]
         raid members=ada,cal leader=ada term=1
         1 status=open assignee=null claimed_at=null
         !forbidden
         !not_member",
    );
}

#[test]
fn a_kicked_player_is_forbidden_to_join_even_a_closed_or_full_raid() {
    check(
        ". ada create max_members=2
         . ben join
         . ada kick player=ben
         . cal join
         ben join
         . ada start
         ben join
         . ada cancel
         ben join",
        "!forbidden\n!forbidden\n!forbidden",
    );
}

#[test]
fn a_returning_member_keeps_xp_tasks_and_energy_and_is_listed_last() {
    check(
        ". ada create target_xp=1000 late_join=true
         . ben join
         . cal join
         . ada add_task title=One xp=40 minutes=0
         . ada start
         . +1s ben claim_task task=1
         . +1s ben complete_task task=1
         . ben leave
         show raid current_xp current_tasks members
         +90s ben join
         show raid members
         show ben xp tasks energy energy_at joined_at",
        "raid current_xp=40 current_tasks=1 members=ada,cal
         ben member_joined energy=95 energy_at=2000 joined_at=92000 name=ben player=ben role=member tasks=1 xp=40
         raid members=ada,cal,ben
         ben xp=40 tasks=1 energy=95 energy_at=2000 joined_at=92000",
    );
}

#[test]
fn a_former_leader_rejoins_as_a_plain_member() {
    check(
        ". ada create
         . ben join
         . ada leave
         ada join
         show raid leader term members
         show ben role",
        "ada member_joined energy=100 energy_at=0 joined_at=0 name=ada player=ada role=member tasks=0 xp=0
         raid leader=ben term=2 members=ben,ada
         ben role=leader",
    );
}

#[test]
fn a_returning_member_may_leave_and_be_kicked() {
    check(
        ". ada create
         . ben join
         . ben leave
         . ben join
         . ben leave
         . ben join
         . ada kick player=ben
         ben join",
        "!forbidden",
    );
}

#[test]
fn what_is_kept_of_former_members_counts_in_the_size_of_the_state() {
    let entries = |script: &str| {
        let lines: Vec<_> = script.split(';').map(str::trim).collect();
        run_script(&lines.join("\n")).entry_count()
    };
    assert_eq!(entries("ada create"), 1);
    assert_eq!(entries("ada create; ben join; ben leave"), 2);
    assert_eq!(entries("ada create; ben join; ada kick player=ben"), 2);
    assert_eq!(
        entries("ada create; ben join; ben leave; ben join"),
        2,
        "a member again"
    );
    let earned = "ada create target_xp=1000; ada start; host contribute player=ada xp=5 kind=habit";
    assert_eq!(
        entries(earned),
        2,
        "the member, and when they reached their XP"
    );
}
