//! Tasks: added, edited, removed, claimed, released, completed and failed.

use super::check;

#[test]
fn any_member_adds_tasks_while_the_raid_has_not_ended() {
    check(
        ". ada create
         . ben join
         ben add_task title=_Fix_the_build_ xp=40 minutes=25
         show 1 id title xp minutes status assignee by claimed_at ended_at
         . ada start
         ben add_task title=é*120 xp=1000 minutes=480
         ben add_task title=x xp=1 minutes=0",
        &format!(
            "ben task_added minutes=25 task=1 title=Fix_the_build xp=40
             1 id=1 title=Fix_the_build xp=40 minutes=25 status=open assignee=null by=ben claimed_at=null ended_at=null
             ben task_added minutes=480 task=2 title={} xp=1000
             ben task_added minutes=0 task=3 title=x xp=1",
            "é".repeat(120)
        ),
    );
}

#[test]
fn a_faulty_task_names_every_faulty_field() {
    check(
        ". ada create
         ada add_task title=_ xp=0 minutes=-1
         ada add_task title=x*121 xp=1001 minutes=481
         ada add_task title=a\\nb xp=1 minutes=1",
        "!invalid title xp minutes\n!invalid title xp minutes\n!invalid title",
    );
}

#[test]
fn a_raid_holds_at_most_five_hundred_tasks() {
    let script = ". ada create\n".to_owned()
        + &". ada add_task title=x xp=1 minutes=0\n".repeat(500)
        + "ada add_task title=x xp=1 minutes=0\nada add_task title=_ xp=1 minutes=0\nshow 500 id";
    check(&script, "!too_many_tasks\n!invalid title\n500 id=500");
}

#[test]
fn a_task_claim_costs_ten_energy() {
    check(
        ". ada create
         . ben join
         . ada add_task title=One xp=1 minutes=0
         ben claim_task task=1
         . ada start
         +7s ben claim_task task=1
         show 1 status assignee claimed_at
         show ben energy energy_at
         ben claim_task task=1
         ada claim_task task=1
         ada claim_task task=2",
        "!wrong_status
         ben task_claimed energy=90 player=ben task=1
         1 status=claimed assignee=ben claimed_at=7000
         ben energy=90 energy_at=7000
         !task_taken
         !task_taken
         !not_found",
    );
}

#[test]
fn the_assignee_or_the_leader_releases_a_task() {
    check(
        ". ada create
         . ben join
         . cal join
         . ada add_task title=One xp=1 minutes=0
         . ada start
         ben release_task task=1
         . ben claim_task task=1
         cal release_task task=1
         ben release_task task=1
         show 1 status assignee claimed_at
         show ben energy
         . ben claim_task task=1
         ada release_task task=1
         ada release_task task=1
         ben release_task task=9",
        "!wrong_status
         !not_yours
         ben task_released player=ben task=1
         1 status=open assignee=null claimed_at=null
         ben energy=90
         ada task_released player=ben task=1
         !wrong_status
         !not_found",
    );
}

#[test]
fn completing_a_task_earns_its_xp_for_member_and_raid() {
    check(
        ". ada create target_xp=1000
         . ben join
         . ada add_task title=One xp=40 minutes=0
         . ada add_task title=Two xp=2 minutes=0
         ben complete_task task=1
         . ada start
         ben complete_task task=1
         . +1s ben claim_task task=1
         ada complete_task task=1
         +1s ben complete_task task=1
         show 1 status assignee claimed_at ended_at
         show ben xp tasks energy energy_at
         show raid current_xp current_tasks
         . ben claim_task task=2
         ben complete_task task=2
         ben complete_task task=1
         ada complete_task task=1
         ada claim_task task=1
         ben release_task task=1
         ben fail_task task=1
         ben complete_task task=3",
        "!wrong_status
         !not_yours
         !not_yours
         ben task_completed current_tasks=1 current_xp=40 energy=95 member_tasks=1 member_xp=40 player=ben task=1 xp=40
         1 status=completed assignee=ben claimed_at=1000 ended_at=2000
         ben xp=40 tasks=1 energy=95 energy_at=2000
         raid current_xp=40 current_tasks=1
         ben task_completed current_tasks=2 current_xp=42 energy=90 member_tasks=2 member_xp=42 player=ben task=2 xp=2
         !wrong_status
         !wrong_status
         !wrong_status
         !wrong_status
         !wrong_status
         !not_found",
    );
}

#[test]
fn failing_a_task_reopens_it_and_costs_fifteen_energy() {
    check(
        ". ada create
         . ben join
         . ada add_task title=One xp=40 minutes=0
         ben fail_task task=1
         . ada start
         ben fail_task task=1
         . ben claim_task task=1
         ada fail_task task=1
         +1s ben fail_task task=1
         show 1 status assignee claimed_at ended_at
         show ben xp tasks energy energy_at
         ada claim_task task=1
         ben fail_task task=2",
        "!wrong_status
         !not_yours
         !not_yours
         ben task_failed energy=75 player=ben task=1
         1 status=open assignee=null claimed_at=null ended_at=null
         ben xp=0 tasks=0 energy=75 energy_at=1000
         ada task_claimed energy=90 player=ada task=1
         !not_found",
    );
}

#[test]
fn the_author_or_the_leader_edits_an_open_task() {
    check(
        ". ada create
         . ben join
         . cal join
         . ben add_task title=One xp=40 minutes=5
         ben edit_task task=1 title=_Uno_
         show 1 title minutes xp by edited_by
         ada edit_task task=1 minutes=0
         show 1 title minutes edited_by
         ada edit_task task=1 title=Eins minutes=480
         show 1 title minutes by edited_by
         cal edit_task task=1 title=Un
         ada edit_task task=1
         ada edit_task task=1 title=_ minutes=481
         ada edit_task task=2 title=Un
         . ada start
         . cal claim_task task=1
         ada edit_task task=1 title=Un
         . cal complete_task task=1
         ben edit_task task=1 title=Un
         . ada cancel
         ada edit_task task=1 title=Un",
        "ben task_edited author=ben minutes=null task=1 title=Uno
         1 title=Uno minutes=5 xp=40 by=ben edited_by=ben
         ada task_edited author=ben minutes=0 task=1 title=null
         1 title=Uno minutes=0 edited_by=ben
         ada task_edited author=ben minutes=480 task=1 title=Eins
         1 title=Eins minutes=480 by=ben edited_by=ada
         !not_yours
         !invalid title
         !invalid title minutes
         !not_found
         !wrong_status
         !wrong_status
         !wrong_status",
    );
}

#[test]
fn the_author_or_the_leader_removes_a_task_that_is_not_completed() {
    check(
        ". ada create target_xp=1000
         . ben join
         . cal join
         . ben add_task title=One xp=40 minutes=0
         . ben add_task title=Two xp=40 minutes=0
         . ben add_task title=Three xp=40 minutes=0
         . ben add_task title=Four xp=40 minutes=0
         cal remove_task task=1
         ben remove_task task=1
         ben remove_task task=1
         ada remove_task task=4
         . ada start
         . cal claim_task task=2
         ben remove_task task=2
         ada remove_task task=2
         show cal energy
         . cal claim_task task=3
         . cal complete_task task=3
         ada remove_task task=3
         ada add_task title=Five xp=1 minutes=0
         show 3 title status
         show raid current_tasks
         . ada cancel
         ada remove_task task=5",
        "!not_yours
         ben task_removed task=1
         !not_found
         ada task_removed task=4
         !wrong_status
         ada task_released player=cal task=2
         ada task_removed task=2
         cal energy=90
         !wrong_status
         ada task_added minutes=0 task=5 title=Five xp=1
         3 title=Three status=completed
         raid current_tasks=1
         !wrong_status",
    );
}

#[test]
fn a_raid_without_its_last_task_goes_on_and_can_be_won() {
    check(
        ". ada create target_xp=1 target_tasks=2
         . ada start
         . ada add_task title=One xp=1 minutes=0
         . ada add_task title=Two xp=1 minutes=0
         . ada claim_task task=1
         . ada complete_task task=1
         ada remove_task task=2
         show raid status current_tasks target_tasks
         . ada add_task title=Three xp=1 minutes=0
         . ada claim_task task=3
         ada complete_task task=3",
        "ada task_removed task=2
         raid status=active current_tasks=1 target_tasks=2
         ada task_completed current_tasks=2 current_xp=2 energy=90 member_tasks=2 member_xp=2 player=ada task=3 xp=1
         ada raid_completed ranking=1.ada:2/2",
    );
}

#[test]
fn the_host_app_adds_tasks_and_removes_those_it_added() {
    check(
        ". ada create
         . ben join
         host add_task title=One xp=40 minutes=5
         host add_task title= xp=0 minutes=5
         . ada add_task title=Two xp=60 minutes=5
         show 1 by status
         ada edit_task task=1 title=Uno
         show 1 by edited_by
         host edit_task task=1 title=Eins
         host remove_task task=2
         host remove_task task=3
         . ada start
         . ben claim_task task=1
         host remove_task task=1
         ada remove_task task=2
         host add_task title=Three xp=100 minutes=5
         . ben claim_task task=3
         . ben complete_task task=3
         host remove_task task=3
         host add_task title=Four xp=1 minutes=5",
        "- task_added minutes=5 task=1 title=One xp=40
         !invalid title xp
         1 by=null status=open
         ada task_edited author=null minutes=null task=1 title=Uno
         1 by=null edited_by=ada
         !forbidden
         !not_yours
         !not_found
         - task_released player=ben task=1
         - task_removed task=1
         ada task_removed task=2
         - task_added minutes=5 task=3 title=Three xp=100
         !wrong_status
         !wrong_status",
    );
}

#[test]
fn only_the_host_app_changes_the_tasks_of_a_ranked_raid() {
    check(
        "ada create ranked=true
         . ben join
         show raid ranked
         ben add_task title= xp=0 minutes=0
         host add_task title=One xp=100 minutes=5
         ada edit_task task=1 title=Uno
         ada remove_task task=1
         . ada start
         . ben claim_task task=1
         ada release_task task=1
         host remove_task task=1
         host add_task title=Two xp=100 minutes=5
         . ben claim_task task=2
         ben complete_task task=2",
        "ada raid_created description=null invite_code=K7MQ2XNB late_join=false max_members=4 ranked=true target_tasks=1 target_xp=100 time_limit_secs=86400 title=Raid
         ada member_joined energy=100 energy_at=0 joined_at=0 name=ada player=ada role=leader tasks=0 xp=0
         raid ranked=true
         !forbidden
         - task_added minutes=5 task=1 title=One xp=100
         !forbidden
         !forbidden
         ada task_released player=ben task=1
         - task_removed task=1
         - task_added minutes=5 task=2 title=Two xp=100
         ben task_completed current_tasks=1 current_xp=100 energy=85 member_tasks=1 member_xp=100 player=ben task=2 xp=100
         ben raid_completed ranking=1.ben:100/1,2.ada:0/0",
    );
}
