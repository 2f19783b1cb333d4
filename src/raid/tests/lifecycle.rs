//! Creation, start, the two ways to end without a win, and what is allowed after the end.

use super::check;

#[test]
fn a_created_raid_is_recruiting_with_defaults_and_its_leader() {
    check(
        "ada create title=_Ship_it_ target_xp=500 target_tasks=10
         show raid id title description status reason invite_code target_xp target_tasks current_xp current_tasks
         show raid time_limit_secs max_members late_join created_at started_at deadline ended_at leader term ranking
         show ada role xp tasks energy energy_at joined_at",
        "ada raid_created description=null invite_code=K7MQ2XNB late_join=false max_members=4 ranked=false target_tasks=10 target_xp=500 time_limit_secs=86400 title=Ship_it
         ada member_joined energy=100 energy_at=0 joined_at=0 name=ada player=ada role=leader tasks=0 xp=0
         raid id=7 title=Ship_it description=null status=recruiting reason=null invite_code=K7MQ2XNB target_xp=500 target_tasks=10 current_xp=0 current_tasks=0
         raid time_limit_secs=86400 max_members=4 late_join=false created_at=0 started_at=null deadline=null ended_at=null leader=ada term=1 ranking=null
         ada role=leader xp=0 tasks=0 energy=100 energy_at=0 joined_at=0",
    );
}

#[test]
fn creation_accepts_values_at_the_limits() {
    check(
        "ada create title=x description=é*500 target_xp=1 target_tasks=0 time_limit_secs=60 max_members=2 late_join=true
         show raid target_xp target_tasks time_limit_secs max_members late_join",
        &format!(
            "ada raid_created description={} invite_code=K7MQ2XNB late_join=true max_members=2 ranked=false target_tasks=0 target_xp=1 time_limit_secs=60 title=x
             ada member_joined energy=100 energy_at=0 joined_at=0 name=ada player=ada role=leader tasks=0 xp=0
             raid target_xp=1 target_tasks=0 time_limit_secs=60 max_members=2 late_join=true",
            "é".repeat(500)
        ),
    );
    check(
        ". ada create title=🔥*80 target_xp=1000000 target_tasks=10000 time_limit_secs=604800 max_members=100
         show raid target_xp target_tasks time_limit_secs max_members",
        "raid target_xp=1000000 target_tasks=10000 time_limit_secs=604800 max_members=100",
    );
}

#[test]
fn creation_names_every_faulty_field_at_once() {
    check(
        "ada create title=_ description=x*501 target_xp=0 target_tasks=-1 time_limit_secs=59 max_members=1
         ada create title=x*81 target_xp=1000001 target_tasks=10001 time_limit_secs=604801 max_members=101
         ada create title=a\\nb description=a\\0b
         ada create target_xp=-9223372036854775808 target_tasks=9223372036854775807",
        "!invalid title description target_xp target_tasks time_limit_secs max_members
         !invalid title target_xp target_tasks time_limit_secs max_members
         !invalid title description
         !invalid target_xp target_tasks",
    );
}

#[test]
fn titles_need_a_visible_character_and_no_bidirectional_control() {
    check(
        "ada create title=\u{200b}\u{2060}
         ada create title=evil\u{202e}gpj
         . ada create title=e\u{301}\u{200d} description=\u{202e}
         . ada start
         ada add_task title=\u{3164} xp=1 minutes=1
         ada add_task title=\u{2066}x\u{2069} xp=1 minutes=1
         ada say text=\u{200b}
         ada say text=\u{2067}שלום\u{2069}",
        "!invalid title\n!invalid title\n!invalid title\n!invalid title\n!invalid text\nada said text=\u{2067}שלום\u{2069}",
    );
}

#[test]
fn an_empty_description_is_none() {
    check(
        ". ada create description=__\nshow raid description",
        "raid description=null",
    );
}

#[test]
fn a_raid_is_created_once() {
    check(
        ". ada create\nada create\nben create",
        "!wrong_status\n!wrong_status",
    );
}

#[test]
fn commands_before_creation_are_not_found() {
    check(
        "ada start
         ada join
         host contribute player=ada xp=1 kind=bonus
         host start
         clock deadline
         clock leader_offline",
        "!not_found\n!not_found\n!not_found\n!not_found\nnothing\nnothing",
    );
}

#[test]
fn the_leader_starts_the_raid_and_that_sets_its_deadline() {
    check(
        ". ada create time_limit_secs=60
         . ben join
         ben start
         +5s ada start
         show raid status started_at deadline
         ben start
         ada start",
        "!not_leader
         ada raid_started deadline=65000
         raid status=active started_at=5000 deadline=65000
         !not_leader
         !wrong_status",
    );
}

#[test]
fn the_leader_may_cancel_a_recruiting_or_active_raid() {
    check(
        ". ada create
         . ben join
         ben cancel
         +3s ada cancel
         show raid status reason ended_at deadline leader",
        "!not_leader
         ada raid_failed reason=cancelled
         raid status=failed reason=cancelled ended_at=3000 deadline=null leader=ada",
    );
    check(
        ". ada create\n. ada start\nada cancel\nada cancel\nada start",
        "ada raid_failed reason=cancelled\n!wrong_status\n!wrong_status",
    );
}

#[test]
fn the_deadline_fires_once_with_its_own_timestamp() {
    check(
        ". ada create time_limit_secs=60
         clock deadline
         . +1s ada start
         +59999ms clock deadline
         +10m clock deadline
         show raid status reason ended_at deadline
         clock deadline
         ada say text=late",
        "nothing
         nothing
         - raid_failed reason=deadline
         raid status=failed reason=deadline ended_at=61000 deadline=61000
         nothing
         ada said text=late",
    );
}

#[test]
fn the_deadline_fires_at_its_exact_time() {
    check(
        ". ada create time_limit_secs=60\n. ada start\n+60s clock deadline\nshow raid ended_at",
        "- raid_failed reason=deadline\nraid ended_at=60000",
    );
}

#[test]
fn a_passed_deadline_counts_before_its_event_is_recorded() {
    check(
        ". ada create time_limit_secs=60 late_join=true
         . ben join
         . ada add_task title=Fix xp=100 minutes=5
         . ada start
         . ada claim_task task=1
         online ben
         +60s ada complete_task task=1
         ada add_task title=More xp=1 minutes=0
         host contribute player=ada xp=100 kind=bonus
         ada cancel
         ben leave
         ben say text=hi
         cal join
         clock leader_offline
         clock deadline",
        "!wrong_status
         !wrong_status
         !wrong_status
         !wrong_status
         !wrong_status
         !wrong_status
         !raid_closed
         nothing
         - raid_failed reason=deadline",
    );
}

#[test]
fn a_raid_that_has_not_started_has_no_deadline() {
    check(
        ". ada create time_limit_secs=60\n+2h clock deadline\nada start",
        "nothing\nada raid_started deadline=7260000",
    );
}

#[test]
fn an_ended_raid_accepts_only_chat() {
    check(
        ". ada create late_join=true
         . ben join
         . ada add_task title=Fix xp=1 minutes=0
         . ada add_task title=Fix xp=1 minutes=0
         . ada start
         . ben claim_task task=1
         . ada cancel
         ada start
         ben leave
         ada kick player=ben
         ada promote player=ben
         ada cancel
         ben add_task title=x xp=1 minutes=0
         ben claim_task task=2
         ben release_task task=1
         ben complete_task task=1
         ben fail_task task=1
         host contribute player=ben xp=1 kind=bonus
         cal join
         online ben
         clock leader_offline
         clock deadline
         ben join
         ben say text=gg
         show 1 status assignee",
        "!wrong_status
         !wrong_status
         !wrong_status
         !wrong_status
         !wrong_status
         !wrong_status
         !wrong_status
         !wrong_status
         !wrong_status
         !wrong_status
         !wrong_status
         !raid_closed
         nothing
         nothing
         nothing
         ben said text=gg
         1 status=claimed assignee=ben",
    );
}

#[test]
fn event_times_never_go_back_when_the_clock_does() {
    // A script's clock cannot go back, so this test decides its commands itself.
    use raidhall_protocol::{Command as PlayerCommand, PlayerId, RaidId, UnixMillis};

    use crate::raid::{Context, RaidCommand, State, apply, decide};
    let online = std::collections::BTreeSet::new();
    let at = |now| Context {
        now: UnixMillis(now),
        online: &online,
        new_invite_code: "",
        quotas: crate::raid::Quotas::UNLIMITED,
    };
    let ada = PlayerId::try_from(1_u64).expect("an id");
    let mut state = State::new(RaidId::try_from(7_u64).expect("an id"));
    let create = super::script::command("ada", "create", &[]);
    for event in decide(&state, &create, at(50_000)).expect("creation") {
        apply(&mut state, &event);
    }
    let say = RaidCommand::Player {
        by: ada,
        command: PlayerCommand::Say {
            text: "hi".to_owned(),
        },
    };
    let events = decide(&state, &say, at(10)).expect("a chat message");
    assert_eq!(events[0].at, UnixMillis(50_000));
}

#[test]
fn an_operator_can_end_a_raid_that_has_not_ended() {
    check(
        "operator end
         . ada create
         operator end
         show raid status reason
         operator end
         ada say text=bye",
        "!not_found
         - raid_failed reason=cancelled
         raid status=failed reason=cancelled
         !wrong_status
         ada said text=bye",
    );
}
