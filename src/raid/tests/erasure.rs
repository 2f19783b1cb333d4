//! Erasure of players.

use super::check;

#[test]
fn erasing_a_member_removes_them_and_their_texts() {
    check(
        ". ada create description=for_all
         . ben join
         . ben say text=hello
         . ada say text=hi
         . ada start
         . ada add_task title=sweep xp=5 minutes=5
         . ben add_task title=mop xp=5 minutes=5
         . ben claim_task task=1
         erase ben
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
fn erasing_the_creator_removes_the_title_and_moves_leadership() {
    check(
        ". ada create description=for_all
         . ben join
         erase ada
         show raid title description leader members",
        "ada member_left player=ada reason=left released=[]
         ada leader_changed player=ben previous=ada reason=left term=2
         ada player_erased made_raid=true player=ada text=[erased]
         raid title=[erased] description=null leader=ben members=ben",
    );
}

#[test]
fn erasing_the_last_member_abandons_the_raid() {
    check(
        ". ada create
         erase ada",
        "ada member_left player=ada reason=left released=[]
         ada raid_failed reason=abandoned
         ada player_erased made_raid=true player=ada text=[erased]",
    );
}

#[test]
fn an_erased_member_of_an_ended_raid_stays_without_a_name() {
    check(
        ". ada create target_xp=5 target_tasks=0
         . ben join
         . ada start
         . host contribute player=ben xp=5 kind=bonus
         erase ben
         show ben name xp
         erase ben",
        "ben player_erased made_raid=false player=ben text=[erased]
         ben name=[erased] xp=5
         nothing",
    );
}

#[test]
fn erasing_a_player_not_shown_by_the_raid_causes_no_event() {
    check(
        ". ada create
         . ben join
         . ben leave
         . cal join
         . ada kick player=cal
         erase ben
         erase cal
         erase dot",
        "nothing\nnothing\nnothing",
    );
}

#[test]
fn a_passed_deadline_applies_before_an_erasure() {
    check(
        ". ada create time_limit_secs=60
         . ben join
         . ada start
         +2m erase ben
         show ben name",
        "ben player_erased made_raid=false player=ben text=[erased]
         ben name=[erased]",
    );
}

#[test]
fn erasure_in_a_missing_raid_is_not_found() {
    check("erase ada", "!not_found");
}

#[test]
fn erasing_a_player_removes_titles_that_they_added_or_changed_last() {
    check(
        ". ada create
         . ben join
         . cal join
         . ben add_task title=Bens xp=1 minutes=0
         . ada edit_task task=1 title=Bens,_by_ada
         . cal add_task title=Cals xp=1 minutes=0
         . ada edit_task task=2 title=Cals,_by_ada
         . cal edit_task task=2 title=Cals_again
         . cal add_task title=Cals xp=1 minutes=0
         . ada edit_task task=3 title=Cals,_by_ada
         . ada promote player=ben
         erase ben
         show 1 title
         show 2 title
         show 3 title
         erase ada
         show 2 title
         show 3 title",
        "ben member_left player=ben reason=left released=[]
         ben leader_changed player=ada previous=ben reason=left term=3
         ben player_erased made_raid=false player=ben text=[erased]
         1 title=[erased]
         2 title=Cals_again
         3 title=Cals,_by_ada
         ada member_left player=ada reason=left released=[]
         ada leader_changed player=cal previous=ada reason=left term=4
         ada player_erased made_raid=true player=ada text=[erased]
         2 title=Cals_again
         3 title=[erased]",
    );
}
