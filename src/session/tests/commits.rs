//! Replies and events depend on what is durable.

use std::time::Duration;

use raidhall_protocol::{Command, RaidId, Seq, TaskId};
use tokio::time::{sleep, timeout};

use super::PANIC_TEXT;
use super::test_instance::{PendingAck, TestInstance, TestWatcher, options, player};
use crate::clock::BootInstant;
use crate::error::Error;
use crate::raid::{Ack, RaidCommand};
use crate::session::{Caller, Options};
use crate::store::faulty::Call;
use crate::store::{ClaimOutcome, Ownership};

fn ack_at(seq: u64) -> Result<Ack, Error> {
    Ok(Ack {
        seq: Seq(seq),
        duplicate: false,
    })
}

fn duplicate_ack_at(seq: u64) -> Result<Ack, Error> {
    Ok(Ack {
        seq: Seq(seq),
        duplicate: true,
    })
}

/// Lets every task run until it waits for time or for the store.
async fn run_ready_tasks() {
    sleep(Duration::from_millis(1)).await;
}

/// Asserts that the ledger has every seq from 1 once, and returns the number of events.
async fn assert_contiguous_ledger(instance: &TestInstance, raid: RaidId) -> u64 {
    let seqs = instance
        .ledger(raid)
        .await
        .iter()
        .map(|event| event.seq.0)
        .collect::<Vec<_>>();
    assert_eq!(seqs, (1..=seqs.len() as u64).collect::<Vec<_>>());
    seqs.len() as u64
}

#[tokio::test(start_paused = true)]
async fn replies_and_events_follow_their_commit_in_order() {
    let instance = TestInstance::start(options()).await;
    let raid = instance.create_raid(&[2]).await;
    let mut watcher = instance.watch(raid, 2, Some(4));
    watcher.watch_answer().await.expect("watches");
    instance.store.faults().hold_calls(Call::Commit);
    let mut first = instance.submit(raid, "one", None);
    let mut second = instance.submit(raid, "two", None);
    let mut refused = instance.submit_command(raid, Command::Start, None);
    run_ready_tasks().await;
    assert_eq!(
        (
            first.try_answer(),
            second.try_answer(),
            refused.try_answer()
        ),
        (None, None, None)
    );
    assert_eq!(watcher.take_events(), [] as [u64; 0]);
    instance.store.faults().release_calls(Call::Commit);
    assert_eq!(first.answer().await, ack_at(5));
    assert_eq!(
        watcher.take_events(),
        [5, 6],
        "events are published before they are acknowledged"
    );
    assert_eq!(second.answer().await, ack_at(6));
    assert!(matches!(refused.answer().await, Err(Error::Refused(_))));
}

#[tokio::test(start_paused = true)]
async fn every_pending_reply_fails_with_the_commit_it_waits_for() {
    let instance = TestInstance::start(options()).await;
    let raid = instance.create_raid(&[2]).await;
    instance.store.faults().stall_calls(Call::Commit, 1);
    let command = instance.submit(raid, "never", Some("a"));
    let repeat = instance.submit(raid, "never", Some("a"));
    let refusal = instance.submit_command(raid, Command::Start, None);
    let mut watcher = instance.watch(raid, 2, None);
    let read = tokio::spawn({
        let sessions = instance.sessions.clone();
        async move { sessions.read(raid, Caller::Service).await }
    });
    run_ready_tasks().await;
    instance.store.faults().set_unreachable(true);
    sleep(Duration::from_secs(3)).await;
    instance.store.faults().drop_stalled();
    assert_eq!(command.answer().await, Err(Error::Unavailable));
    assert_eq!(repeat.answer().await, Err(Error::Unavailable));
    assert_eq!(refusal.answer().await, Err(Error::Unavailable));
    assert_eq!(watcher.watch_answer().await.err(), Some(Error::Unavailable));
    assert_eq!(
        read.await.expect("no panic").err(),
        Some(Error::Unavailable)
    );
    instance.store.faults().set_unreachable(false);
    instance.wait_for_lease().await;
    assert_eq!(
        instance.say(raid, "now", Some("a")).await,
        ack_at(5),
        "the op left no trace"
    );
    assert_eq!(assert_contiguous_ledger(&instance, raid).await, 5);
}

#[tokio::test(start_paused = true)]
async fn a_repeated_op_takes_effect_once_before_and_after_a_reload() {
    let instance = TestInstance::start(options()).await;
    let raid = instance.create_raid(&[]).await;
    instance.store.faults().hold_calls(Call::Commit);
    let first = instance.submit(raid, "once", Some("a"));
    let repeat = instance.submit(raid, "other", Some("a"));
    run_ready_tasks().await;
    instance.store.faults().release_calls(Call::Commit);
    assert_eq!(first.answer().await, ack_at(4));
    assert_eq!(repeat.answer().await, duplicate_ack_at(4));
    assert_eq!(
        instance.say(raid, "again", Some("a")).await,
        duplicate_ack_at(4)
    );
    instance.store.fence(raid);
    assert_eq!(
        instance.say(raid, "b", Some("b")).await,
        Err(Error::Unavailable),
        "fenced"
    );
    assert_eq!(
        instance.say(raid, "again", Some("a")).await,
        duplicate_ack_at(4),
        "known after a reload"
    );
    assert_eq!(instance.say(raid, "b", Some("b")).await, ack_at(5));
}

#[tokio::test(start_paused = true)]
async fn an_op_evicted_from_memory_is_found_in_the_ledger() {
    let instance = TestInstance::start(Options {
        op_keys_max: 2,
        ..options()
    })
    .await;
    let raid = instance.create_raid(&[]).await;
    for op in ["a", "b", "c", "d"] {
        instance.say(raid, op, Some(op)).await.expect("said");
    }
    assert_eq!(
        instance.say(raid, "a", Some("a")).await,
        duplicate_ack_at(4)
    );
    assert_eq!(
        instance.store.faults().call_count(Call::FindOps),
        2,
        "once the cache is full, a new op is looked up too"
    );
}

#[tokio::test(start_paused = true)]
async fn a_commit_with_a_lost_reply_takes_effect_once() {
    let instance = TestInstance::start(options()).await;
    let raid = instance.create_raid(&[]).await;
    instance.store.faults().drop_replies(Call::Commit, 1);
    assert_eq!(instance.say(raid, "once", None).await, ack_at(4));
    assert_eq!(instance.say(raid, "twice", None).await, ack_at(5));
    assert_eq!(assert_contiguous_ledger(&instance, raid).await, 5);
}

#[tokio::test(start_paused = true)]
async fn a_late_commit_of_a_reloaded_session_is_fenced() {
    let instance = TestInstance::start(options()).await;
    let raid = instance.create_raid(&[2]).await;
    let mut watcher = instance.watch(raid, 2, None);
    watcher.watch_answer().await.expect("watches");
    instance.store.faults().stall_calls(Call::Commit, 100);
    assert_eq!(
        instance.say(raid, "late", Some("late")).await,
        Err(Error::Unavailable)
    );
    let stalled = instance.store.faults().stalled_count();
    assert!(stalled > 0);
    instance.store.faults().end_stall();
    assert_eq!(instance.say(raid, "next", None).await, ack_at(5));
    instance.store.faults().apply_stalled().await;
    run_ready_tasks().await;
    assert_eq!(
        instance.say(raid, "late", Some("late")).await,
        ack_at(6),
        "the late batch took no effect"
    );
    assert_eq!(watcher.take_events(), [5, 6]);
    assert_eq!(assert_contiguous_ledger(&instance, raid).await, 6);
}

#[tokio::test(start_paused = true)]
async fn a_refused_append_fails_only_its_own_raid() {
    let instance = TestInstance::start(options()).await;
    let culprit = instance.create_raid(&[]).await;
    let other = instance.create_raid(&[]).await;
    instance.store.faults().refuse_raid(culprit);
    let bad = instance.submit(culprit, "bad", None);
    let good = instance.submit(other, "good", None);
    assert_eq!(bad.answer().await, Err(Error::Internal));
    assert_eq!(good.answer().await, ack_at(4));
    instance.store.faults().accept_raid(culprit);
    assert_eq!(instance.say(culprit, "better", None).await, ack_at(4));
}

#[tokio::test(start_paused = true)]
async fn a_panic_fails_its_command_and_reloads_only_its_raid() {
    let instance = TestInstance::start(options()).await;
    let raid = instance.create_raid(&[]).await;
    let other = instance.create_raid(&[]).await;
    instance.store.faults().hold_calls(Call::Commit);
    let before = instance.submit(raid, "before", Some("x"));
    let elsewhere = instance.submit(other, "fine", None);
    run_ready_tasks().await;
    let culprit = instance.submit(raid, PANIC_TEXT, None);
    let behind = instance.submit(raid, "behind", None);
    run_ready_tasks().await;
    instance.store.faults().release_calls(Call::Commit);
    assert_eq!(culprit.answer().await, Err(Error::Internal));
    assert_eq!(
        before.answer().await,
        Err(Error::Unavailable),
        "the outcome is unknown to a session that panicked"
    );
    assert_eq!(elsewhere.answer().await, ack_at(4));
    assert!(
        behind.answer().await.is_ok(),
        "requests in the mailbox are served by the next incarnation"
    );
    assert_eq!(
        instance.say(raid, "before", Some("x")).await,
        ack_at(5),
        "its commit was fenced by the new claim"
    );
    assert_eq!(assert_contiguous_ledger(&instance, raid).await, 5);
}

#[tokio::test(start_paused = true)]
async fn a_superseded_owner_is_fenced_and_publishes_nothing() {
    let instance = TestInstance::start(options()).await;
    let raid = instance.create_raid(&[2]).await;
    let mut watcher = instance.watch(raid, 2, None);
    watcher.watch_answer().await.expect("watches");
    instance.store.faults().hold_calls(Call::Commit);
    let mut pending = instance.submit(raid, "from the grave", None);
    run_ready_tasks().await;
    let new_owner = crate::store::InstanceRecord {
        id: crate::store::InstanceId(uuid::Uuid::now_v7()),
        ..instance.record().clone()
    };
    instance
        .store
        .force_claim(raid, &new_owner)
        .expect("the raid");
    instance.store.faults().release_calls(Call::Commit);
    run_ready_tasks().await;
    assert_eq!(pending.try_answer(), Some(Err(Error::Unavailable)));
    assert_eq!(watcher.take_events(), [] as [u64; 0]);
    let claims = instance
        .store
        .claim(&[raid], instance.record().id)
        .await
        .expect("claim");
    assert!(
        matches!(claims[..], [ClaimOutcome::Held { .. }]),
        "{claims:?}"
    );
    assert_eq!(assert_contiguous_ledger(&instance, raid).await, 3 + 1);
}

#[tokio::test(start_paused = true)]
async fn an_owner_with_an_expired_lease_serves_nothing_from_memory() {
    let instance = TestInstance::start(options()).await;
    let raid = instance.create_raid(&[2]).await;
    instance.store.faults().hold_calls(Call::Renew);
    instance
        .lease()
        .renew(BootInstant::now(), Duration::ZERO, false);
    let mut watcher = instance.watch(raid, 2, None);
    assert_eq!(watcher.watch_answer().await.err(), Some(Error::Unavailable));
    assert_eq!(
        instance.sessions.read(raid, Caller::Service).await.err(),
        Some(Error::Unavailable)
    );
    assert_eq!(
        instance.say(raid, "hello?", None).await,
        Err(Error::Unavailable)
    );
    instance
        .lease()
        .renew(BootInstant::now(), Duration::from_secs(3_600), false);
    assert_eq!(instance.say(raid, "awake", None).await, ack_at(5));
}

#[tokio::test(start_paused = true)]
async fn a_pending_reply_is_given_in_time_when_the_lease_runs_out() {
    let instance = TestInstance::start(options()).await;
    let raid = instance.create_raid(&[2]).await;
    let answered =
        async |command: PendingAck| timeout(Duration::from_secs(10), command.answer()).await;
    instance.store.faults().hold_calls(Call::Renew);
    let expire_lease = || {
        instance
            .lease()
            .renew(BootInstant::now(), Duration::ZERO, false)
    };
    let renew_lease = || {
        instance
            .lease()
            .renew(BootInstant::now(), Duration::from_secs(3_600), false)
    };

    instance.store.faults().stall_calls(Call::Commit, 100);
    let command = instance.submit(raid, "failed", Some("a"));
    run_ready_tasks().await;
    expire_lease();
    assert_eq!(answered(command).await, Ok(Err(Error::Unavailable)));
    instance.store.faults().end_stall();
    instance.store.faults().drop_stalled();
    renew_lease();
    assert_eq!(instance.say(raid, "failed", Some("a")).await, ack_at(5));

    instance.store.faults().hold_calls(Call::Commit);
    let command = instance.submit(raid, "durable", Some("b"));
    run_ready_tasks().await;
    expire_lease();
    instance.store.faults().release_calls(Call::Commit);
    assert_eq!(
        answered(command).await,
        Ok(Err(Error::Unavailable)),
        "the raid may have another owner by now"
    );
    renew_lease();
    assert_eq!(
        instance.say(raid, "durable", Some("b")).await,
        duplicate_ack_at(6)
    );
    assert_eq!(assert_contiguous_ledger(&instance, raid).await, 6);
}

#[tokio::test(start_paused = true)]
async fn a_full_mailbox_refuses_requests_at_once() {
    let instance = TestInstance::start(Options {
        mailbox_messages_max: 2,
        ..options()
    })
    .await;
    let raid = instance.create_raid(&[]).await;
    let mut answers = (0..200)
        .map(|n| instance.submit(raid, &n.to_string(), None))
        .collect::<Vec<_>>();
    let overloaded = answers
        .iter_mut()
        .filter_map(super::test_instance::PendingAck::try_answer)
        .collect::<Vec<_>>();
    assert_eq!(overloaded, vec![Err(Error::Overloaded); 198]);
}

#[tokio::test(start_paused = true)]
async fn reads_and_watches_wait_for_an_end_that_is_not_committed() {
    let instance = TestInstance::start(options()).await;
    let raid = instance.create_raid(&[2]).await;
    let _present = watch(&instance, raid, 1).await;
    let faults = instance.store.faults();
    faults.hold_calls(Call::Commit);
    let commits = faults.call_count(Call::Commit);
    // The deadline ends the raid, so no command waits for this commit.
    while faults.call_count(Call::Commit) == commits {
        sleep(Duration::from_millis(10)).await;
    }
    let sessions = instance.sessions.clone();
    let read = tokio::spawn(async move { sessions.read(raid, Caller::Player(player(2))).await });
    sleep(Duration::from_millis(100)).await;
    assert!(!read.is_finished(), "it would show what is not committed");
    let mut watcher = instance.watch(raid, 2, None);
    let answer = timeout(Duration::from_millis(100), watcher.watch_answer()).await;
    assert!(answer.is_err(), "{answer:?} shows what is not committed");
    faults.release_calls(Call::Commit);
    assert_eq!(read.await.expect("no panic").expect("seen").seq, Seq(5));
    watcher.watch_answer().await.expect("watches");
}

#[tokio::test(start_paused = true)]
async fn a_snapshot_is_stored_only_once_its_seq_is_committed() {
    let instance = TestInstance::start(Options {
        snapshot_min_events: 6,
        ..options()
    })
    .await;
    let raid = instance.create_raid(&[2]).await;
    let faults = instance.store.faults();
    let snapshots = || faults.call_count(Call::SaveSnapshot);
    let task = TaskId::try_from(1_u64).expect("an id");
    let add = Command::AddTask {
        title: "Task".into(),
        xp: 10,
        minutes: 10,
    };
    let submit = |command| instance.submit_command(raid, command, None);
    faults.stall_calls(Call::Commit, 1);
    let sixth = [add, Command::ClaimTask { task }].map(submit);
    run_ready_tasks().await;
    let seventh = submit(Command::ReleaseTask { task });
    run_ready_tasks().await;
    faults.stall_calls(Call::Commit, 1);
    faults.apply_stalled().await;
    for (pending, seq) in sixth.into_iter().zip(5..) {
        assert_eq!(pending.answer().await, ack_at(seq));
    }
    run_ready_tasks().await;
    assert_eq!(snapshots(), 0, "it would hold an event that may be refused");
    faults.apply_stalled().await;
    assert_eq!(seventh.answer().await, ack_at(7));
    run_ready_tasks().await;
    assert_eq!(snapshots(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_watch_does_not_open_behind_its_players_leave() {
    let instance = TestInstance::start(options()).await;
    let raid = instance.create_raid(&[2]).await;
    let _said = instance.submit(raid, "in the same commit", None);
    let mut watcher = instance.watch(raid, 2, None);
    let leave = RaidCommand::Player {
        by: player(2),
        command: Command::Leave,
    };
    let left = instance.sessions.execute(raid, leave, None);
    assert_eq!(left.await, ack_at(6));
    let answer = watcher.watch_answer().await;
    assert!(matches!(answer, Err(Error::Refused(_))), "{answer:?}");
}

async fn watch(instance: &TestInstance, raid: RaidId, by: u64) -> TestWatcher {
    let mut watcher = instance.watch(raid, by, None);
    watcher.watch_answer().await.expect("watches");
    watcher
}
