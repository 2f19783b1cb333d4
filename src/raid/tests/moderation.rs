//! What a leader does about a member who disturbs: kicks, mutes, and a new invite code.

use super::check;

#[test]
fn a_kick_removes_the_uncompleted_tasks_of_the_member() {
    check(
        ". ada create target_xp=1000
         . ben join
         . cal join
         . ada start
         . ada add_task title=Ours xp=1 minutes=0
         . ben add_task title=Done xp=2 minutes=0
         . ben add_task title=Open xp=3 minutes=0
         . ben add_task title=Held_by_cal xp=4 minutes=0
         . ben add_task title=Held_by_ben xp=5 minutes=0
         . ben claim_task task=1
         . cal claim_task task=2
         . cal complete_task task=2
         . cal claim_task task=4
         . ben claim_task task=5
         ada kick player=ben
         show raid members current_xp current_tasks
         show 1 status
         show 2 status assignee by
         cal complete_task task=4
         ada claim_task task=5
         ben join
         cal add_task title=Next xp=1 minutes=0",
        "ada member_left player=ben reason=kicked released=[1,5]
         ada task_removed task=3
         ada task_released player=cal task=4
         ada task_removed task=4
         ada task_removed task=5
         raid members=ada,cal current_xp=2 current_tasks=1
         1 status=open
         2 status=completed assignee=cal by=ben
         !not_found
         !not_found
         !forbidden
         cal task_added minutes=0 task=6 title=Next xp=1",
    );
}

#[test]
fn a_kick_removes_five_hundred_tasks_and_makes_room_for_as_many() {
    let junk = ". ben add_task title=junk xp=1 minutes=0\n".repeat(500);
    let script = format!(
        ". ada create\n. ben join\n{junk}ada add_task title=x xp=1 minutes=0
         . ada kick player=ben\nshow raid tasks\nada add_task title=x xp=1 minutes=0"
    );
    check(
        &script,
        "!too_many_tasks\nraid tasks=[]\nada task_added minutes=0 task=501 title=x xp=1",
    );
}

#[test]
fn leaving_keeps_the_tasks_that_the_member_added() {
    check(
        ". ada create
         . ben join
         . ben add_task title=One xp=1 minutes=0
         ben leave
         show 1 status by",
        "ben member_left player=ben reason=left released=[]
         1 status=open by=ben",
    );
}

#[test]
fn a_muted_member_cannot_chat_until_the_time() {
    check(
        ". ada create
         . ben join
         show ben muted_until
         +1s ada mute player=ben until=61000
         show ben muted_until
         ben say text=hi
         ben say text=
         ben add_task title=One xp=1 minutes=0
         +59999ms ben say text=hi
         +1ms ben say text=hi",
        "ben muted_until=null
         ada member_muted player=ben until=61000
         ben muted_until=61000
         !forbidden
         !forbidden
         ben task_added minutes=0 task=1 title=One xp=1
         !forbidden
         ben said text=hi",
    );
}

#[test]
fn an_absent_or_past_time_lifts_a_mute() {
    check(
        ". ada create
         . ben join
         . ada mute player=ben until=9000
         ada mute player=ben
         ben say text=a
         . ada mute player=ben until=9000
         +1s ada mute player=ben until=1000
         ben say text=b
         ada mute player=ben until=253402300799999
         ben say text=c",
        "ada member_muted player=ben until=null
         ben said text=a
         ada member_muted player=ben until=null
         ben said text=b
         ada member_muted player=ben until=253402300799999
         !forbidden",
    );
}

#[test]
fn a_mute_that_is_in_effect_causes_no_event() {
    check(
        ". ada create
         . ben join
         ada mute player=ben
         ada mute player=ben until=9000
         ada mute player=ben until=9000
         ada mute player=ben until=8000
         +8s ada mute player=ben
         show ben muted_until",
        "nothing
         ada member_muted player=ben until=9000
         nothing
         ada member_muted player=ben until=8000
         nothing
         ben muted_until=8000",
    );
}

#[test]
fn only_the_leader_mutes_another_member_while_chat_is_open() {
    check(
        ". ada create
         . ben join
         . cal join
         ben mute player=cal until=9000
         ada mute player=ada until=-1
         ada mute player=ben until=253402300800000
         ada mute player=dot until=9000
         dot mute player=ben until=9000
         host mute player=ben until=9000
         . ada cancel
         ada mute player=ben until=9000000
         ben say text=gg
         +1h ada mute player=ben
         +1ms ada mute player=ben",
        "!not_leader
         !invalid until player
         !invalid until
         !not_member
         !not_found
         !forbidden
         ada member_muted player=ben until=9000000
         !forbidden
         ada member_muted player=ben until=null
         !wrong_status",
    );
}

#[test]
fn a_mute_outlasts_leaving_and_joining_again() {
    check(
        ". ada create
         . ben join
         . cal join
         . ada mute player=ben until=9000
         . ada mute player=cal until=2000
         . ben leave
         . cal leave
         +2s ben join
         ben say text=hi
         cal join
         show ben muted_until
         show cal muted_until",
        "ben member_joined energy=100 energy_at=0 joined_at=2000 name=ben player=ben role=member tasks=0 xp=0
         ben member_muted player=ben until=9000
         !forbidden
         cal member_joined energy=100 energy_at=0 joined_at=2000 name=cal player=cal role=member tasks=0 xp=0
         ben muted_until=9000
         cal muted_until=null",
    );
}

#[test]
fn a_new_leader_is_not_muted_any_more() {
    check(
        ". ada create
         . ben join
         . ada mute player=ben until=9000
         . ada promote player=ben
         show ben muted_until
         ben say text=hi",
        "ben muted_until=null
         ben said text=hi",
    );
}

#[test]
fn the_leader_replaces_the_invite_code_before_the_end() {
    check(
        ". ada create
         . ben join
         show raid invite_code
         ada rotate_invite
         show raid invite_code
         ben rotate_invite
         host rotate_invite
         cal rotate_invite
         . ada cancel
         ada rotate_invite",
        "raid invite_code=K7MQ2XNB
         ada invite_rotated invite_code=7XNBK2QM
         raid invite_code=7XNBK2QM
         !not_leader
         !forbidden
         !not_found
         !wrong_status",
    );
}
