//! Players who are to be forgotten.

use super::check;

#[test]
fn a_member_leaves_and_their_texts_are_taken_back() {
    check(
        ". ada create description=for_all
         . ben join
         . ben say text=hello
         . ada say text=hi
         . ada start
         . ada add_task title=sweep xp=5 minutes=5
         . ben add_task title=mop xp=5 minutes=5
         . ben claim_task task=1
         forget ben
         show raid title members messages
         show 1 title status
         show 2 title",
        "ben member_left player=ben reason=left released=[1]
         ben player_erased made_raid=false player=ben text=[erased]
         raid title=Raid members=ada messages=ben:[erased],ada:hi
         1 title=sweep status=open
         2 title=[erased]",
    );
}

#[test]
fn who_made_the_raid_takes_its_title_along_and_another_leads() {
    check(
        ". ada create description=for_all
         . ben join
         forget ada
         show raid title description leader members",
        "ada member_left player=ada reason=left released=[]
         ada leader_changed player=ben previous=ada reason=left term=2
         ada player_erased made_raid=true player=ada text=[erased]
         raid title=[erased] description=null leader=ben members=ben",
    );
}

#[test]
fn the_last_member_to_be_forgotten_ends_the_raid() {
    check(
        ". ada create
         forget ada",
        "ada member_left player=ada reason=left released=[]
         ada raid_failed reason=abandoned
         ada player_erased made_raid=true player=ada text=[erased]",
    );
}

#[test]
fn of_a_raid_that_has_ended_one_stays_a_member_without_a_name() {
    check(
        ". ada create target_xp=5 target_tasks=0
         . ben join
         . ada start
         . host contribute player=ben xp=5 kind=bonus
         forget ben
         show ben name xp
         forget ben",
        "ben player_erased made_raid=false player=ben text=[erased]
         ben name=[erased] xp=5
         nothing",
    );
}

#[test]
fn nothing_is_said_of_somebody_whom_the_raid_does_not_show() {
    check(
        ". ada create
         . ben join
         . ben leave
         . cal join
         . ada kick player=cal
         forget ben
         forget cal
         forget dot",
        "nothing\nnothing\nnothing",
    );
}

#[test]
fn a_deadline_that_has_passed_comes_first() {
    check(
        ". ada create time_limit_secs=60
         . ben join
         . ada start
         +2m forget ben
         show ben name",
        "ben player_erased made_raid=false player=ben text=[erased]
         ben name=[erased]",
    );
}

#[test]
fn a_raid_that_is_not_there_forgets_nobody() {
    check("forget ada", "!not_found");
}
