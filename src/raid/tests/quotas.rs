//! Limits on what players may add to a raid.

use super::check;

#[test]
fn a_full_day_refuses_players_until_the_next_utc_day() {
    check(
        ". ada create
         . ben join
         quota daily_events 5
         ada say text=fourth
         ben say text=fifth
         ada say text=sixth
         ben join
         cal join
         ada add_task title=_ xp=1 minutes=0
         ada start
         +23h ada say text=sixth
         +1h ada say text=sixth",
        "ada said text=fourth
         ben said text=fifth
         !quota_exceeded
         nothing
         !quota_exceeded
         !invalid title
         !quota_exceeded
         !quota_exceeded
         ada said text=sixth",
    );
}

#[test]
fn a_full_day_lets_members_leave_and_the_server_and_host_app_act() {
    check(
        ". ada create time_limit_secs=3600
         . ben join
         . cal join
         . ada start
         . ada add_task title=One xp=1 minutes=0
         quota daily_events 1
         ben say text=no
         host contribute player=ben xp=5 kind=steps
         ben leave
         ada kick player=cal
         +1h clock deadline",
        "!quota_exceeded
         - contributed current_tasks=1 current_xp=5 kind=steps member_tasks=1 member_xp=5 note=null player=ben xp=5
         ben member_left player=ben reason=left released=[]
         ada member_left player=cal reason=kicked released=[]
         - raid_failed reason=deadline",
    );
}

#[test]
fn a_member_adds_at_most_the_tasks_of_their_quota() {
    check(
        ". ada create
         . ben join
         . ada start
         quota member_tasks 2
         . ada add_task title=One xp=1 minutes=0
         . ada add_task title=Two xp=1 minutes=0
         ada add_task title=Three xp=1 minutes=0
         . ada claim_task task=1
         . ada complete_task task=1
         ada add_task title=Three xp=1 minutes=0
         ben add_task title=Three xp=1 minutes=0",
        "!quota_exceeded
         !quota_exceeded
         ben task_added minutes=0 task=3 title=Three xp=1",
    );
}
