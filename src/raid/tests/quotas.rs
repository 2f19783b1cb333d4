//! Limits on what players may add to a raid.

use super::check;

#[test]
fn a_full_day_refuses_chat_and_tasks_until_the_next_utc_day() {
    check(
        ". ada create
         . ben join
         . ada add_task title=One xp=1 minutes=0
         quota daily_events 6
         ada say text=fifth
         ben say text=sixth
         ada say text=seventh
         ada add_task title=_ xp=1 minutes=0
         ada add_task title=Two xp=1 minutes=0
         ada edit_task task=1 title=Uno
         +23h ada say text=seventh
         +1h ada say text=seventh",
        "ada said text=fifth
         ben said text=sixth
         !quota_exceeded
         !invalid title
         !quota_exceeded
         !quota_exceeded
         !quota_exceeded
         ada said text=seventh",
    );
}

#[test]
fn other_commands_are_refused_after_twice_as_many_events() {
    check(
        ". ada create
         . ben join
         . ada add_task title=One xp=1 minutes=0
         . ada add_task title=Two xp=1 minutes=0
         . ada start
         . ben claim_task task=2
         quota daily_events 4
         ada say text=no
         ada claim_task task=1
         ben join
         ada mute player=ben
         ada release_task task=1
         ada release_task task=2
         ben complete_task task=2
         ada mute player=ben until=9000
         ada promote player=ben
         ada rotate_invite
         cal join
         ben join
         ada mute player=ben
         ada edit_task task=1 title=_",
        "!quota_exceeded
         ada task_claimed energy=90 player=ada task=1
         nothing
         nothing
         !quota_exceeded
         !quota_exceeded
         !quota_exceeded
         !quota_exceeded
         !quota_exceeded
         !quota_exceeded
         !raid_closed
         nothing
         nothing
         !invalid title",
    );
}

#[test]
fn a_full_day_lets_members_leave_and_the_server_and_host_app_act() {
    check(
        ". ada create time_limit_secs=3600 late_join=true max_members=5
         . ben join
         . cal join
         . dot join
         . ada start
         . ada add_task title=One xp=1 minutes=0
         . ada add_task title=Two xp=1 minutes=0
         . ben claim_task task=1
         . cal say text=hi
         quota daily_events 1
         eve join
         ben complete_task task=1
         host contribute player=ben xp=5 kind=steps
         ada remove_task task=2
         ben leave
         ada kick player=cal
         online dot
         clock leader_offline
         erase cal
         +1h clock deadline",
        "!quota_exceeded
         !quota_exceeded
         - contributed current_tasks=1 current_xp=5 kind=steps member_tasks=1 member_xp=5 note=null player=ben xp=5
         ada task_removed task=2
         ben member_left player=ben reason=left released=[1]
         ada member_left player=cal reason=kicked released=[]
         - leader_changed player=dot previous=ada reason=leader_offline term=2
         cal player_erased made_raid=false player=cal text=[erased]
         - raid_failed reason=deadline",
    );
    check(
        ". ada create
         quota daily_events 1
         ada rotate_invite
         ada start
         ada cancel",
        "!quota_exceeded
         !quota_exceeded
         ada raid_failed reason=cancelled",
    );
    check(
        ". ada create
         quota daily_events 1
         operator end",
        "- raid_failed reason=cancelled",
    );
}

#[test]
fn a_raid_goes_on_after_a_flooder_is_kicked() {
    check(
        ". ada create
         . ben join
         . cal join
         . ada add_task title=One xp=1 minutes=0
         quota daily_events 10
         . ben say text=no_1
         . ben say text=no_2
         . ben say text=no_3
         . ben say text=no_4
         . ben say text=no_5
         ben say text=no_6
         ada kick player=ben
         ada start
         cal claim_task task=1
         cal complete_task task=1",
        "!quota_exceeded
         ada member_left player=ben reason=kicked released=[]
         ada raid_started deadline=86400000
         cal task_claimed energy=90 player=cal task=1
         cal task_completed current_tasks=1 current_xp=1 energy=95 member_tasks=1 member_xp=1 player=cal task=1 xp=1",
    );
}

#[test]
fn a_day_that_a_clock_reached_too_early_is_not_limited() {
    check(
        "quota daily_events 2
         . ada create
         +48h ada say text=fills
         ada say text=the_day
         ada say text=too_much
         clock_back 24h
         ada say text=goes_on
         +24h ada say text=too_much",
        "ada said text=fills
         ada said text=the_day
         !quota_exceeded
         ada said text=goes_on
         !quota_exceeded",
    );
}

#[test]
fn a_member_has_at_most_the_tasks_of_their_quota() {
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
         ben add_task title=Three xp=1 minutes=0
         . ada remove_task task=2
         ada add_task title=Four xp=1 minutes=0
         ada add_task title=Five xp=1 minutes=0",
        "!quota_exceeded
         !quota_exceeded
         ben task_added minutes=0 task=3 title=Three xp=1
         ada task_added minutes=0 task=4 title=Four xp=1
         !quota_exceeded",
    );
}
