//! Deadlines, presence, leadership, and the end of sessions that are not needed.

use std::time::Duration;

use raidhall_protocol::event::{FailReason, LeaderReason};
use raidhall_protocol::rest::NewRaid;
use raidhall_protocol::server::PlayerRef;
use raidhall_protocol::state::RaidStatus;
use raidhall_protocol::{Command, EventData, RaidId, Seq, ServerMessage};
use tokio::time::sleep;

use super::test_instance::{START_TIME, TestInstance, TestWatcher, options, player};
use crate::raid::Refusal;
use crate::session::{Caller, Options, RaidCreator};
use crate::store::faulty::Call;
use crate::store::{Ledger, Ownership};

async fn watch(instance: &TestInstance, raid: RaidId, by: u64) -> TestWatcher {
    let mut watcher = instance.watch(raid, by, None);
    watcher.watch_answer().await.expect("watches");
    watcher
}

#[tokio::test(start_paused = true)]
async fn a_deadline_of_a_raid_without_watchers_fires_once_on_time() {
    let instance = TestInstance::start(Options {
        idle_timeout: Duration::from_secs(7_200),
        ..options()
    })
    .await;
    let raid = instance.create_raid(&[]).await;
    sleep(Duration::from_secs(3_601)).await;
    let last = instance.ledger(raid).await.pop().expect("events");
    assert_eq!(
        last.data,
        EventData::RaidFailed {
            reason: FailReason::Deadline
        }
    );
    assert_eq!(
        last.at,
        START_TIME.plus(3_600_000),
        "stamped with the deadline"
    );
    assert!(
        instance
            .execute(raid, 1, Command::Start, None)
            .await
            .is_err()
    );
    assert_eq!(instance.ledger(raid).await.len(), 4);
}

#[tokio::test(start_paused = true)]
async fn a_deadline_takes_effect_when_the_database_clock_jumps_past_it() {
    let instance = TestInstance::start(Options {
        idle_timeout: Duration::from_secs(7_200),
        ..options()
    })
    .await;
    let raid = instance.create_raid(&[]).await;
    instance.store.set_now(START_TIME.plus(7_200_000));
    sleep(Duration::from_secs(13)).await;
    let last = instance.ledger(raid).await.pop().expect("events");
    assert!(
        matches!(last.data, EventData::RaidFailed { .. }),
        "{last:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_read_of_an_idle_raid_claims_nothing_unless_its_deadline_is_due() {
    let instance = TestInstance::start(options()).await;
    let raid = instance.create_raid(&[]).await;
    sleep(Duration::from_secs(120)).await;
    assert_eq!(
        (
            instance.sessions.live_count(),
            instance.tasks.sessions.task_count()
        ),
        (0, 0),
        "idle: no session, no task"
    );
    let claims = instance.store.faults().call_count(Call::Claim);
    let snapshot = instance
        .sessions
        .read(raid, Caller::Player(player(1)))
        .await
        .expect("seen");
    assert_eq!(
        (snapshot.seq, snapshot.state.status),
        (Seq(3), RaidStatus::Active)
    );
    assert_eq!(instance.store.faults().call_count(Call::Claim), claims);
    assert_eq!(instance.sessions.live_count(), 0);
    sleep(Duration::from_secs(3_600)).await;
    let snapshot = instance
        .sessions
        .read(raid, Caller::Player(player(1)))
        .await
        .expect("seen");
    assert_eq!(snapshot.state.status, RaidStatus::Failed);
    let stranger = instance
        .sessions
        .read(raid, Caller::Player(player(9)))
        .await;
    assert_eq!(stranger.err(), Some(Refusal::NotFound.into()));
}

#[tokio::test(start_paused = true)]
async fn an_idle_raid_is_released_and_a_watched_one_is_not() {
    let instance = TestInstance::start(options()).await;
    let raid = instance.create_raid(&[2]).await;
    let watcher = watch(&instance, raid, 1).await;
    sleep(Duration::from_secs(600)).await;
    assert_eq!(instance.sessions.live_count(), 1);
    watcher.leave();
    sleep(Duration::from_secs(70)).await;
    assert_eq!(
        (
            instance.sessions.live_count(),
            instance.tasks.sessions.task_count()
        ),
        (0, 0)
    );
    instance.sessions.release_idle().await;
    assert_eq!(
        instance
            .store
            .head(raid)
            .await
            .expect("a head")
            .expect("a raid")
            .owner,
        None
    );
    assert_eq!(
        instance.say(raid, "back", None).await.expect("said").seq,
        Seq(5)
    );
}

#[tokio::test(start_paused = true)]
async fn a_raid_whose_load_failed_after_its_claim_is_found_when_due() {
    let instance = TestInstance::start(options()).await;
    let raid = instance.create_raid(&[]).await;
    sleep(Duration::from_secs(120)).await;
    instance.store.faults().fail_calls(Call::Load, 1_000);
    assert!(instance.say(raid, "hello?", None).await.is_err());
    sleep(Duration::from_secs(5)).await;
    assert_eq!(instance.sessions.live_count(), 0);
    instance.store.faults().fail_calls(Call::Load, 0);
    let due = instance
        .store
        .due_raids(instance.record().id, None, START_TIME.plus(3_600_000), 10)
        .await
        .expect("due");
    assert_eq!(due.iter().map(|due| due.raid).collect::<Vec<_>>(), [raid]);
}

#[tokio::test(start_paused = true)]
async fn due_raids_that_cannot_be_served_do_not_hold_up_others() {
    let instance = TestInstance::start(options()).await;
    let mut last = None;
    // One more than a scan makes live.
    for _ in 0..=200 {
        last = Some(instance.create_raid(&[]).await);
        sleep(Duration::from_millis(1)).await;
    }
    sleep(Duration::from_secs(120)).await;
    assert_eq!(instance.sessions.live_count(), 0);
    instance.store.faults().fail_calls(Call::Load, u64::MAX);
    sleep(Duration::from_secs(3_600)).await;
    let head = instance.store.head(last.expect("a raid")).await;
    assert_eq!(
        head.expect("a head").expect("a raid").owner,
        Some(instance.record().id),
        "claimed when it was due"
    );
}

#[tokio::test(start_paused = true)]
async fn a_failed_raid_creation_leaves_no_session_and_no_task() {
    let instance = TestInstance::start(options()).await;
    let leader = PlayerRef {
        id: player(1),
        name: "Ada".into(),
    };
    let new = NewRaid {
        title: String::new(),
        description: None,
        target_xp: 1,
        target_tasks: 0,
        time_limit_secs: None,
        max_members: None,
        late_join: None,
        ranked: None,
    };
    assert!(
        instance
            .sessions
            .create(leader, new, None, RaidCreator::Leader)
            .await
            .is_err()
    );
    sleep(Duration::from_millis(10)).await;
    assert_eq!(
        (
            instance.sessions.live_count(),
            instance.tasks.sessions.task_count()
        ),
        (0, 0)
    );
}

#[tokio::test(start_paused = true)]
async fn requests_for_a_missing_raid_leave_no_session_and_no_task() {
    let instance = TestInstance::start(options()).await;
    let raid = RaidId::try_from(77_u64).expect("an id");
    assert_eq!(
        instance.say(raid, "hello?", None).await.err(),
        Some(Refusal::NotFound.into())
    );
    let mut watcher = instance.watch(raid, 1, None);
    assert_eq!(
        watcher.watch_answer().await.err(),
        Some(Refusal::NotFound.into())
    );
    sleep(Duration::from_millis(10)).await;
    assert_eq!(
        (
            instance.sessions.live_count(),
            instance.tasks.sessions.task_count()
        ),
        (0, 0)
    );
}

#[tokio::test(start_paused = true)]
async fn leadership_moves_only_after_the_leader_is_missed_for_a_minute() {
    let instance = TestInstance::start(options()).await;
    let raid = instance.create_raid(&[2]).await;
    let leader = watch(&instance, raid, 1).await;
    let _other = watch(&instance, raid, 2).await;
    leader.leave();
    sleep(Duration::from_secs(40)).await;
    let leader = watch(&instance, raid, 1).await;
    sleep(Duration::from_secs(40)).await;
    assert_eq!(
        instance.ledger(raid).await.len(),
        4,
        "a short absence does not move the lead"
    );
    leader.leave();
    sleep(Duration::from_secs(64)).await;
    assert_eq!(
        instance.ledger(raid).await.len(),
        4,
        "the minute begins after the presence grace of 5 s"
    );
    sleep(Duration::from_secs(2)).await;
    let last = instance.ledger(raid).await.pop().expect("events").data;
    assert_eq!(
        last,
        EventData::LeaderChanged {
            player: player(2),
            previous: player(1),
            reason: LeaderReason::LeaderOffline,
            term: 2
        }
    );
}

#[tokio::test(start_paused = true)]
async fn an_absent_leader_keeps_the_lead_while_no_other_is_online() {
    let instance = TestInstance::start(options()).await;
    let raid = instance.create_raid(&[2]).await;
    watch(&instance, raid, 1).await.leave();
    sleep(Duration::from_secs(1_000)).await;
    assert_eq!(instance.ledger(raid).await.len(), 4);
}

#[tokio::test(start_paused = true)]
async fn watchers_receive_presence_changes() {
    let instance = TestInstance::start(options()).await;
    let raid = instance.create_raid(&[2]).await;
    let first = watch(&instance, raid, 1).await;
    sleep(Duration::from_secs(1)).await;
    first.take_presence();
    let mut second = instance.watch(raid, 2, Some(4));
    let answer = second.watch_answer().await.expect("watches");
    let online = vec![player(1), player(2)];
    assert_eq!(
        answer,
        ServerMessage::Watching {
            id: None,
            raid,
            seq: Seq(4),
            recovered: true,
            online
        }
    );
    sleep(Duration::from_secs(1)).await;
    let joined = ServerMessage::Presence {
        raid,
        online: vec![player(2)],
        offline: vec![],
    };
    assert_eq!(first.take_presence(), [joined]);
    second.leave();
    sleep(Duration::from_secs(4)).await;
    assert_eq!(first.take_presence(), []);
    sleep(Duration::from_secs(2)).await;
    let left = ServerMessage::Presence {
        raid,
        online: vec![],
        offline: vec![player(2)],
    };
    assert_eq!(first.take_presence(), [left]);
}

#[tokio::test(start_paused = true)]
async fn a_raid_is_rebuilt_from_its_snapshot_and_tail() {
    let instance = TestInstance::start(Options {
        snapshot_min_events: 10,
        ..options()
    })
    .await;
    let raid = instance.create_raid(&[2, 3]).await;
    for n in 0..67 {
        instance
            .say(raid, &format!("message {n}"), None)
            .await
            .expect("said");
    }
    let before = instance
        .sessions
        .read(raid, Caller::Service)
        .await
        .expect("seen");
    sleep(Duration::from_secs(120)).await;
    let loaded = instance
        .store
        .load(raid, 0)
        .await
        .expect("loads")
        .expect("a raid");
    let (seq, _) = loaded.snapshot.expect("a snapshot");
    assert!(seq > Seq(10) && loaded.tail.len() < 72, "snapshot at {seq}");
    let after = instance
        .sessions
        .read(raid, Caller::Service)
        .await
        .expect("seen");
    assert_eq!((after.seq, after.state), (before.seq, before.state));
}

#[tokio::test(start_paused = true)]
async fn a_stop_answers_commands_in_flight_and_leaves_no_task() {
    let instance = TestInstance::start(options()).await;
    let raid = instance.create_raid(&[]).await;
    instance.store.faults().hold_calls(Call::Commit);
    let in_flight = instance.submit(raid, "last words", None);
    sleep(Duration::from_millis(1)).await;
    instance.tasks.stop_background.cancel();
    assert!(instance.say(raid, "too late", None).await.is_err());
    instance.store.faults().release_calls(Call::Commit);
    assert_eq!(in_flight.answer().await.expect("committed").seq, Seq(4));
    instance.tasks.sessions.close_and_wait().await;
}

#[tokio::test(start_paused = true)]
async fn a_command_at_the_idle_timeout_is_executed() {
    let instance = TestInstance::start(options()).await;
    let raid = instance.create_raid(&[]).await;
    // Test and session wake at the same moment, and the test runs first: the session's idle timeout
    // is over, but its mailbox is not empty.
    sleep(options().idle_timeout).await;
    let mut said = instance.submit(raid, "just in time", None);
    for _ in 0..1_000 {
        // Paused time stands still while a task is busy, so a timeout could not end this test.
        tokio::task::yield_now().await;
    }
    assert!(
        matches!(said.try_answer(), Some(Ok(_))),
        "the session must not spin without reading its mailbox"
    );
}

#[tokio::test(start_paused = true)]
async fn thousands_of_unwatched_raids_hold_no_session_and_no_task() {
    let instance = TestInstance::start(options()).await;
    for _ in 0..3_000 {
        instance.create_raid(&[]).await;
    }
    sleep(Duration::from_secs(120)).await;
    assert_eq!(
        (
            instance.sessions.live_count(),
            instance.tasks.sessions.task_count()
        ),
        (0, 0)
    );
    instance.sessions.release_idle().await;
    assert_eq!(instance.sessions.awaiting_release_count(), 0);
    assert_eq!(
        instance.store.faults().call_count(Call::Release),
        1,
        "all are released in one call"
    );
}

#[tokio::test(start_paused = true)]
async fn requests_of_non_members_start_no_session() {
    let instance = TestInstance::start(options()).await;
    let raid = instance.create_raid(&[2]).await;
    sleep(Duration::from_secs(120)).await;
    let claims = instance.store.faults().call_count(Call::Claim);
    let loads = instance.store.faults().call_count(Call::Load);
    let stranger = || Caller::Player(player(9));
    for _ in 0..3 {
        let said = instance
            .execute(raid, 9, Command::Say { text: "hi".into() }, None)
            .await;
        assert_eq!(said.err(), Some(Refusal::NotFound.into()));
        let seen = instance.sessions.read(raid, stranger()).await;
        assert_eq!(seen.err(), Some(Refusal::NotFound.into()));
        assert!(instance.watch(raid, 9, None).watch_answer().await.is_err());
    }
    let faults = instance.store.faults();
    assert_eq!(
        (
            faults.call_count(Call::Claim),
            faults.call_count(Call::Load)
        ),
        (claims, loads),
        "nothing was claimed or loaded"
    );
    assert_eq!(
        (
            instance.sessions.live_count(),
            instance.tasks.sessions.task_count()
        ),
        (0, 0)
    );
    // A member among the strangers is served in turn.
    let crowd: Vec<_> = (0..5).map(|_| instance.watch(raid, 9, None)).collect();
    let member = instance
        .execute(raid, 2, Command::Say { text: "hi".into() }, None)
        .await;
    assert!(member.is_ok(), "{member:?}");
    for mut refused in crowd {
        assert!(refused.watch_answer().await.is_err());
    }
    assert_eq!(instance.sessions.live_count(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_former_member_gets_the_result_of_an_op_in_an_idle_raid() {
    let instance = TestInstance::start(options()).await;
    let raid = instance.create_raid(&[2]).await;
    let left = instance
        .execute(raid, 2, Command::Leave, Some("once"))
        .await
        .expect("left");
    sleep(Duration::from_secs(120)).await;
    let again = instance
        .execute(raid, 2, Command::Leave, Some("once"))
        .await
        .expect("known");
    assert_eq!((again.seq, again.duplicate), (left.seq, true));
}
