//! Contributions by the host app's backend, winning and the ranking.

use super::check;

#[test]
fn the_backend_credits_a_member() {
    check(
        ". ada create target_xp=1000
         . ben join
         host contribute player=ben xp=5 kind=habit
         . ada start
         host contribute player=ben xp=10000 kind=habit note=_well_done_
         show ben xp tasks energy energy_at
         show raid current_xp current_tasks status",
        "!wrong_status
         - contributed current_tasks=1 current_xp=10000 kind=habit member_tasks=1 member_xp=10000 note=well_done player=ben xp=10000
         - raid_completed ranking=1.ben:10000/1,2.ada:0/0
         ben xp=10000 tasks=1 energy=100 energy_at=0
         raid current_xp=10000 current_tasks=1 status=completed",
    );
}

#[test]
fn a_faulty_contribution_names_every_faulty_field() {
    let kind_50 = "k".repeat(50);
    check(
        &format!(
            ". ada create target_xp=1000
             . ada start
             host contribute player=ada xp=0 kind=Habit note=x*201
             host contribute player=ada xp=10001 kind=k*51 note=a\\nb
             host contribute player=dot xp=1 kind=x9
             host contribute player=dot xp=1 kind=
             host contribute player=ada xp=1 kind={kind_50} note=é*200
             host contribute player=ada xp=1 kind=bonus note=__"
        ),
        &format!(
            "!invalid xp kind note
             !invalid xp kind note
             !invalid kind
             !invalid kind
             - contributed current_tasks=1 current_xp=1 kind={kind_50} member_tasks=1 member_xp=1 note={} player=ada xp=1
             - contributed current_tasks=2 current_xp=2 kind=bonus member_tasks=2 member_xp=2 note=null player=ada xp=1",
            "é".repeat(200)
        ),
    );
}

#[test]
fn only_members_are_credited() {
    check(
        ". ada create late_join=true
         . ben join
         . ada start
         . ben leave
         host contribute player=ben xp=1 kind=bonus
         host contribute player=dot xp=1 kind=bonus",
        "!not_member\n!not_member",
    );
}

#[test]
fn a_player_cannot_contribute_an_amount() {
    check(
        ". ada create
         . ada start
         ada contribute player=ada xp=1 kind=bonus
         ada contribute player=ada xp=0 kind=B",
        "!forbidden\n!forbidden",
    );
}

#[test]
fn the_backend_does_nothing_that_is_up_to_the_members() {
    check(
        ". ada create
         . ben join
         host start
         host cancel
         host leave
         host kick player=ben
         host promote player=ben
         host mute player=ben
         host rotate_invite
         host edit_task task=1 title=x
         host claim_task task=1
         host release_task task=1
         host complete_task task=1
         host fail_task task=1
         host say text=hi",
        &"!forbidden\n".repeat(13),
    );
}

#[test]
fn a_raid_completes_in_the_decision_that_meets_both_goals() {
    check(
        ". ada create target_xp=10 target_tasks=2
         . ada add_task title=One xp=10 minutes=0
         . ada start
         . ada claim_task task=1
         ada complete_task task=1
         +9s host contribute player=ada xp=1 kind=bonus
         show raid status reason ended_at ranking",
        "ada task_completed current_tasks=1 current_xp=10 energy=95 member_tasks=1 member_xp=10 player=ada task=1 xp=10
         - contributed current_tasks=2 current_xp=11 kind=bonus member_tasks=2 member_xp=11 note=null player=ada xp=1
         - raid_completed ranking=1.ada:11/2
         raid status=completed reason=null ended_at=9000 ranking=1.ada:11/2",
    );
    check(
        ". ada create target_xp=10 target_tasks=1
         . ada add_task title=One xp=9 minutes=0
         . ada add_task title=Two xp=1 minutes=0
         . ada start
         . ada claim_task task=1
         . ada claim_task task=2
         . ada complete_task task=1
         ada complete_task task=2",
        "ada task_completed current_tasks=2 current_xp=10 energy=90 member_tasks=2 member_xp=10 player=ada task=2 xp=1
         ada raid_completed ranking=1.ada:10/2",
    );
}

#[test]
fn a_raid_without_a_task_goal_is_won_by_xp_alone() {
    check(
        ". ada create target_xp=1 target_tasks=0
         ada start
         host contribute player=ada xp=1 kind=bonus",
        "ada raid_started deadline=86400000
         - contributed current_tasks=1 current_xp=1 kind=bonus member_tasks=1 member_xp=1 note=null player=ada xp=1
         - raid_completed ranking=1.ada:1/1",
    );
}

#[test]
fn equal_xp_ranks_by_first_reached_and_zero_xp_by_join_order() {
    check(
        ". ada create target_xp=100 max_members=6
         . ben join
         . cal join
         . dot join
         . eve join
         . ada start
         . host contribute player=dot xp=20 kind=bonus
         . host contribute player=cal xp=10 kind=bonus
         . host contribute player=ada xp=20 kind=bonus
         . host contribute player=cal xp=10 kind=bonus
         host contribute player=dot xp=40 kind=bonus",
        "- contributed current_tasks=5 current_xp=100 kind=bonus member_tasks=2 member_xp=60 note=null player=dot xp=40
         - raid_completed ranking=1.dot:60/2,2.ada:20/1,3.cal:20/2,4.ben:0/0,5.eve:0/0",
    );
    check(
        ". ada create target_xp=40
         . ben join
         . ada start
         . host contribute player=ben xp=20 kind=bonus
         . host contribute player=ada xp=10 kind=bonus
         . host contribute player=ada xp=10 kind=bonus
         show raid ranking",
        "raid ranking=1.ben:20/1,2.ada:20/2",
    );
}

#[test]
fn a_member_who_left_is_unranked_but_their_xp_still_counts() {
    check(
        ". ada create target_xp=30 late_join=true
         . ben join
         . cal join
         . ada start
         . host contribute player=ben xp=15 kind=bonus
         . host contribute player=cal xp=5 kind=bonus
         . ben leave
         . host contribute player=ada xp=5 kind=bonus
         host contribute player=ada xp=5 kind=bonus",
        "- contributed current_tasks=4 current_xp=30 kind=bonus member_tasks=2 member_xp=10 note=null player=ada xp=5
         - raid_completed ranking=1.ada:10/2,2.cal:5/1",
    );
}

#[test]
fn a_returning_member_ranks_by_when_the_xp_was_earned() {
    check(
        ". ada create target_xp=30 late_join=true
         . ben join
         . ada start
         . host contribute player=ben xp=10 kind=bonus
         . ben leave
         . host contribute player=ada xp=10 kind=bonus
         . cal join
         . ben join
         . host contribute player=cal xp=10 kind=bonus
         show raid ranking",
        "raid ranking=1.ben:10/1,2.ada:10/1,3.cal:10/1",
    );
}
