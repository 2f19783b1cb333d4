//! Time, presence, and raids that nobody needs.

use std::time::Duration;

use raidhall_protocol::event::{FailReason, LeaderReason};
use raidhall_protocol::rest::NewRaid;
use raidhall_protocol::server::PlayerRef;
use raidhall_protocol::state::RaidStatus;
use raidhall_protocol::{Command, EventData, RaidId, Seq, ServerMessage};
use tokio::time::sleep;

use super::test_instance::{START_TIME, TestInstance, TestWatcher, options, player};
use crate::raid::Refusal;
use crate::session::{Caller, Options};
use crate::store::faulty::Call;
use crate::store::{Ledger, Ownership};

async fn watch(registry: &TestInstance, raid: RaidId, by: u64) -> TestWatcher {
    let mut watcher = registry.watch(raid, by, None);
    watcher.watch_answer().await.expect("watches");
    watcher
}

#[tokio::test(start_paused = true)]
async fn a_deadline_of_a_raid_without_watchers_fires_once_on_time() {
    let registry = TestInstance::start(Options {
        idle_timeout: Duration::from_secs(7_200),
        ..options()
    })
    .await;
    let raid = registry.create_raid(&[]).await;
    sleep(Duration::from_secs(3_601)).await;
    let last = registry.ledger(raid).await.pop().expect("events");
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
        registry
            .execute(raid, 1, Command::Start, None)
            .await
            .is_err()
    );
    assert_eq!(registry.ledger(raid).await.len(), 4);
}

#[tokio::test(start_paused = true)]
async fn a_read_of_an_idle_raid_claims_nothing_unless_its_deadline_is_due() {
    let registry = TestInstance::start(options()).await;
    let raid = registry.create_raid(&[]).await;
    sleep(Duration::from_secs(120)).await;
    assert_eq!(
        (
            registry.sessions.live_count(),
            registry.tasks.sessions.len()
        ),
        (0, 0),
        "idle: no session, no task"
    );
    let claims = registry.store.faults().call_count(Call::Claim);
    let view = registry
        .sessions
        .read(raid, Caller::Player(player(1)))
        .await
        .expect("seen");
    assert_eq!((view.seq, view.state.status), (Seq(3), RaidStatus::Active));
    assert_eq!(registry.store.faults().call_count(Call::Claim), claims);
    assert_eq!(registry.sessions.live_count(), 0);
    sleep(Duration::from_secs(3_600)).await;
    let view = registry
        .sessions
        .read(raid, Caller::Player(player(1)))
        .await
        .expect("seen");
    assert_eq!(view.state.status, RaidStatus::Failed);
    let stranger = registry
        .sessions
        .read(raid, Caller::Player(player(9)))
        .await;
    assert_eq!(stranger.err(), Some(Refusal::NotFound.into()));
}

#[tokio::test(start_paused = true)]
async fn an_idle_raid_is_released_and_a_watched_one_is_not() {
    let registry = TestInstance::start(options()).await;
    let raid = registry.create_raid(&[2]).await;
    let watcher = watch(&registry, raid, 1).await;
    sleep(Duration::from_secs(600)).await;
    assert_eq!(registry.sessions.live_count(), 1);
    watcher.leave();
    sleep(Duration::from_secs(70)).await;
    assert_eq!(
        (
            registry.sessions.live_count(),
            registry.tasks.sessions.len()
        ),
        (0, 0)
    );
    registry.sessions.release_idle().await;
    assert_eq!(
        registry
            .store
            .head(raid)
            .await
            .expect("a head")
            .expect("a raid")
            .owner,
        None
    );
    assert_eq!(
        registry.say(raid, "back", None).await.expect("said").seq,
        Seq(5)
    );
}

#[tokio::test(start_paused = true)]
async fn a_raid_whose_load_failed_after_its_claim_is_found_when_due() {
    let registry = TestInstance::start(options()).await;
    let raid = registry.create_raid(&[]).await;
    sleep(Duration::from_secs(120)).await;
    registry.store.faults().fail_calls(Call::Load, 1_000);
    assert!(registry.say(raid, "hello?", None).await.is_err());
    sleep(Duration::from_secs(5)).await;
    assert_eq!(registry.sessions.live_count(), 0);
    registry.store.faults().fail_calls(Call::Load, 0);
    let due = registry
        .store
        .due_raids(registry.record().id, START_TIME.plus(3_600_000), 10)
        .await;
    assert_eq!(due.expect("due"), [raid]);
}

#[tokio::test(start_paused = true)]
async fn a_failed_raid_creation_leaves_no_session_and_no_task() {
    let registry = TestInstance::start(options()).await;
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
    };
    assert!(registry.sessions.create(leader, new, None).await.is_err());
    sleep(Duration::from_millis(10)).await;
    assert_eq!(
        (
            registry.sessions.live_count(),
            registry.tasks.sessions.len()
        ),
        (0, 0)
    );
}

#[tokio::test(start_paused = true)]
async fn requests_for_a_missing_raid_leave_no_session_and_no_task() {
    let registry = TestInstance::start(options()).await;
    let raid = RaidId::try_from(77_u64).expect("an id");
    assert_eq!(
        registry.say(raid, "hello?", None).await.err(),
        Some(Refusal::NotFound.into())
    );
    let mut watcher = registry.watch(raid, 1, None);
    assert_eq!(
        watcher.watch_answer().await.err(),
        Some(Refusal::NotFound.into())
    );
    sleep(Duration::from_millis(10)).await;
    assert_eq!(
        (
            registry.sessions.live_count(),
            registry.tasks.sessions.len()
        ),
        (0, 0)
    );
}

#[tokio::test(start_paused = true)]
async fn leadership_moves_only_after_the_leader_is_missed_for_a_minute() {
    let registry = TestInstance::start(options()).await;
    let raid = registry.create_raid(&[2]).await;
    let leader = watch(&registry, raid, 1).await;
    let _other = watch(&registry, raid, 2).await;
    leader.leave();
    sleep(Duration::from_secs(40)).await;
    let leader = watch(&registry, raid, 1).await;
    sleep(Duration::from_secs(40)).await;
    assert_eq!(
        registry.ledger(raid).await.len(),
        4,
        "a blink moves nothing"
    );
    leader.leave();
    sleep(Duration::from_secs(64)).await;
    assert_eq!(
        registry.ledger(raid).await.len(),
        4,
        "five seconds of grace come first"
    );
    sleep(Duration::from_secs(2)).await;
    let last = registry.ledger(raid).await.pop().expect("events").data;
    let reason = LeaderReason::LeaderOffline;
    assert_eq!(
        last,
        EventData::LeaderChanged {
            player: player(2),
            previous: player(1),
            reason,
            term: 2
        }
    );
}

#[tokio::test(start_paused = true)]
async fn an_absent_leader_keeps_the_lead_while_no_other_is_online() {
    let registry = TestInstance::start(options()).await;
    let raid = registry.create_raid(&[2]).await;
    watch(&registry, raid, 1).await.leave();
    sleep(Duration::from_secs(1_000)).await;
    assert_eq!(registry.ledger(raid).await.len(), 4);
}

#[tokio::test(start_paused = true)]
async fn watchers_receive_presence_changes() {
    let registry = TestInstance::start(options()).await;
    let raid = registry.create_raid(&[2]).await;
    let first = watch(&registry, raid, 1).await;
    sleep(Duration::from_secs(1)).await;
    first.take_presence();
    let mut second = registry.watch(raid, 2, Some(4));
    let answer = second.watch_answer().await.expect("watches");
    let online = vec![player(1), player(2)];
    assert_eq!(
        answer,
        ServerMessage::Watching {
            raid,
            seq: Seq(4),
            recovered: true,
            online
        }
    );
    sleep(Duration::from_secs(1)).await;
    let came = ServerMessage::Presence {
        raid,
        online: vec![player(2)],
        offline: vec![],
    };
    assert_eq!(first.take_presence(), [came]);
    second.leave();
    sleep(Duration::from_secs(4)).await;
    assert_eq!(first.take_presence(), []);
    sleep(Duration::from_secs(2)).await;
    let went = ServerMessage::Presence {
        raid,
        online: vec![],
        offline: vec![player(2)],
    };
    assert_eq!(first.take_presence(), [went]);
}

#[tokio::test(start_paused = true)]
async fn a_raid_is_rebuilt_from_its_snapshot_and_tail() {
    let registry = TestInstance::start(Options {
        snapshot_min_events: 10,
        ..options()
    })
    .await;
    let raid = registry.create_raid(&[2, 3]).await;
    for n in 0..67 {
        registry
            .say(raid, &format!("message {n}"), None)
            .await
            .expect("said");
    }
    let before = registry
        .sessions
        .read(raid, Caller::Service)
        .await
        .expect("seen");
    sleep(Duration::from_secs(120)).await;
    let loaded = registry
        .store
        .load(raid, 0)
        .await
        .expect("loads")
        .expect("a raid");
    let (seq, _) = loaded.snapshot.expect("a snapshot");
    assert!(seq > Seq(10) && loaded.tail.len() < 72, "snapshot at {seq}");
    let after = registry
        .sessions
        .read(raid, Caller::Service)
        .await
        .expect("seen");
    assert_eq!((after.seq, after.state), (before.seq, before.state));
}

#[tokio::test(start_paused = true)]
async fn a_stop_answers_commands_in_flight_and_leaves_no_task() {
    let registry = TestInstance::start(options()).await;
    let raid = registry.create_raid(&[]).await;
    registry.store.faults().hold_calls(Call::Commit);
    let on_its_way = registry.submit(raid, "last words", None);
    sleep(Duration::from_millis(1)).await;
    registry.tasks.stop_background.cancel();
    assert!(registry.say(raid, "too late", None).await.is_err());
    registry.store.faults().release_calls(Call::Commit);
    assert_eq!(on_its_way.answer().await.expect("committed").seq, Seq(4));
    registry.tasks.sessions.close();
    registry.tasks.sessions.wait().await;
}

#[tokio::test(start_paused = true)]
async fn a_command_at_the_idle_timeout_is_executed() {
    let registry = TestInstance::start(options()).await;
    let raid = registry.create_raid(&[]).await;
    // Both wake at the same moment, and this one speaks first: the session finds its time up and its inbox not empty.
    sleep(options().idle_timeout).await;
    let mut said = registry.submit(raid, "just in time", None);
    for _ in 0..1_000 {
        tokio::task::yield_now().await; // time stands still while a task is busy: nothing else would end this test
    }
    assert!(
        matches!(said.try_answer(), Some(Ok(_))),
        "the session spins and never reads its inbox"
    );
}

#[tokio::test(start_paused = true)]
async fn thousands_of_unwatched_raids_hold_no_session_and_no_task() {
    let registry = TestInstance::start(options()).await;
    for _ in 0..3_000 {
        registry.create_raid(&[]).await;
    }
    sleep(Duration::from_secs(120)).await;
    assert_eq!(
        (
            registry.sessions.live_count(),
            registry.tasks.sessions.len()
        ),
        (0, 0)
    );
    registry.sessions.release_idle().await;
    assert_eq!(registry.sessions.awaiting_release_count(), 0);
    assert_eq!(
        registry.store.faults().call_count(Call::Release),
        1,
        "all are given back in one call"
    );
}

#[tokio::test(start_paused = true)]
async fn requests_of_non_members_start_no_session() {
    let registry = TestInstance::start(options()).await;
    let raid = registry.create_raid(&[2]).await;
    sleep(Duration::from_secs(120)).await;
    let (claims, loads) = (
        registry.store.faults().call_count(Call::Claim),
        registry.store.faults().call_count(Call::Load),
    );
    let stranger = || Caller::Player(player(9));
    for _ in 0..3 {
        let said = registry
            .execute(raid, 9, Command::Say { text: "hi".into() }, None)
            .await;
        assert_eq!(said.err(), Some(Refusal::NotFound.into()));
        let seen = registry.sessions.read(raid, stranger()).await;
        assert_eq!(seen.err(), Some(Refusal::NotFound.into()));
        assert!(registry.watch(raid, 9, None).watch_answer().await.is_err());
    }
    let faults = registry.store.faults();
    assert_eq!(
        (
            faults.call_count(Call::Claim),
            faults.call_count(Call::Load)
        ),
        (claims, loads),
        "nothing was claimed or read"
    );
    assert_eq!(
        (
            registry.sessions.live_count(),
            registry.tasks.sessions.len()
        ),
        (0, 0)
    );
    // A member among them is served, in their turn.
    let crowd: Vec<_> = (0..5).map(|_| registry.watch(raid, 9, None)).collect();
    let member = registry
        .execute(raid, 2, Command::Say { text: "hi".into() }, None)
        .await;
    assert!(member.is_ok(), "{member:?}");
    for mut refused in crowd {
        assert!(refused.watch_answer().await.is_err());
    }
    assert_eq!(registry.sessions.live_count(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_former_member_gets_the_result_of_an_op_in_an_idle_raid() {
    let registry = TestInstance::start(options()).await;
    let raid = registry.create_raid(&[2]).await;
    let left = registry
        .execute(raid, 2, Command::Leave, Some("once"))
        .await
        .expect("left");
    sleep(Duration::from_secs(120)).await;
    let again = registry
        .execute(raid, 2, Command::Leave, Some("once"))
        .await
        .expect("known");
    assert_eq!((again.seq, again.duplicate), (left.seq, true));
}
