//! What is told depends on what is durable.

use std::time::Duration;

use raidhall_protocol::{Command, RaidId, Seq, ServerMessage};
use tokio::time::{Instant, sleep, timeout};

use super::PANIC_TEXT;
use super::test_instance::{PendingAck, TestInstance, options};
use crate::error::Error;
use crate::raid::Ack;
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

/// Every seq from 1, once.
async fn assert_contiguous_ledger(registry: &TestInstance, raid: RaidId) -> u64 {
    let seqs = registry
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
    let registry = TestInstance::start(options()).await;
    let raid = registry.create_raid(&[2]).await;
    let mut watcher = registry.watch(raid, 2, Some(4));
    watcher.watch_answer().await.expect("watches");
    registry.store.faults().hold_calls(Call::Commit);
    let (mut first, mut second) = (
        registry.submit(raid, "one", None),
        registry.submit(raid, "two", None),
    );
    let mut refused = registry.submit_command(raid, Command::Start, None);
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
    registry.store.faults().release_calls(Call::Commit);
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
    let registry = TestInstance::start(options()).await;
    let raid = registry.create_raid(&[2]).await;
    registry.store.faults().stall_commits(1);
    let command = registry.submit(raid, "never", Some("a"));
    let repeat = registry.submit(raid, "never", Some("a"));
    let refusal = registry.submit_command(raid, Command::Start, None);
    let mut watcher = registry.watch(raid, 2, None);
    let read = tokio::spawn({
        let sessions = registry.sessions.clone();
        async move { sessions.read(raid, Caller::Service).await }
    });
    run_ready_tasks().await;
    registry.store.faults().set_unreachable(true);
    sleep(Duration::from_secs(3)).await;
    registry.store.faults().drop_stalled();
    assert_eq!(command.answer().await, Err(Error::Unavailable));
    assert_eq!(repeat.answer().await, Err(Error::Unavailable));
    assert_eq!(refusal.answer().await, Err(Error::Unavailable));
    assert_eq!(watcher.watch_answer().await.err(), Some(Error::Unavailable));
    assert_eq!(
        read.await.expect("no panic").err(),
        Some(Error::Unavailable)
    );
    registry.store.faults().set_unreachable(false);
    while !registry.lease().is_valid() {
        sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(
        registry.say(raid, "now", Some("a")).await,
        ack_at(5),
        "the op left no trace"
    );
    assert_eq!(assert_contiguous_ledger(&registry, raid).await, 5);
}

#[tokio::test(start_paused = true)]
async fn a_repeated_op_takes_effect_once_before_and_after_a_reload() {
    let registry = TestInstance::start(options()).await;
    let raid = registry.create_raid(&[]).await;
    registry.store.faults().hold_calls(Call::Commit);
    let (first, repeat) = (
        registry.submit(raid, "once", Some("a")),
        registry.submit(raid, "other", Some("a")),
    );
    run_ready_tasks().await;
    registry.store.faults().release_calls(Call::Commit);
    assert_eq!(first.answer().await, ack_at(4));
    assert_eq!(repeat.answer().await, duplicate_ack_at(4));
    assert_eq!(
        registry.say(raid, "again", Some("a")).await,
        duplicate_ack_at(4)
    );
    registry.store.fence(raid);
    assert_eq!(
        registry.say(raid, "b", Some("b")).await,
        Err(Error::Unavailable),
        "fenced"
    );
    assert_eq!(
        registry.say(raid, "again", Some("a")).await,
        duplicate_ack_at(4),
        "known after a reload"
    );
    assert_eq!(registry.say(raid, "b", Some("b")).await, ack_at(5));
}

#[tokio::test(start_paused = true)]
async fn an_op_evicted_from_memory_is_found_in_the_ledger() {
    let registry = TestInstance::start(Options {
        op_keys_max: 2,
        ..options()
    })
    .await;
    let raid = registry.create_raid(&[]).await;
    for op in ["a", "b", "c", "d"] {
        registry.say(raid, op, Some(op)).await.expect("said");
    }
    assert_eq!(
        registry.say(raid, "a", Some("a")).await,
        duplicate_ack_at(4)
    );
    assert_eq!(
        registry.store.faults().call_count(Call::FindOp),
        2,
        "once the memory is full, a new one is looked up too"
    );
}

#[tokio::test(start_paused = true)]
async fn a_commit_with_a_lost_reply_takes_effect_once() {
    let registry = TestInstance::start(options()).await;
    let raid = registry.create_raid(&[]).await;
    registry.store.faults().drop_replies(1);
    assert_eq!(registry.say(raid, "once", None).await, ack_at(4));
    assert_eq!(registry.say(raid, "twice", None).await, ack_at(5));
    assert_eq!(assert_contiguous_ledger(&registry, raid).await, 5);
}

#[tokio::test(start_paused = true)]
async fn a_late_commit_of_a_reloaded_session_is_fenced() {
    let registry = TestInstance::start(options()).await;
    let raid = registry.create_raid(&[2]).await;
    let mut watcher = registry.watch(raid, 2, None);
    watcher.watch_answer().await.expect("watches");
    registry.store.faults().stall_commits(100);
    assert_eq!(
        registry.say(raid, "late", Some("late")).await,
        Err(Error::Unavailable)
    );
    let stalled = registry.store.faults().stalled_count();
    assert!(stalled > 0);
    registry.store.faults().stall_commits(0);
    assert_eq!(registry.say(raid, "next", None).await, ack_at(5));
    registry.store.faults().apply_stalled().await;
    run_ready_tasks().await;
    assert_eq!(
        registry.say(raid, "late", Some("late")).await,
        ack_at(6),
        "the late batch took no effect"
    );
    assert_eq!(watcher.take_events(), [5, 6]);
    assert_eq!(assert_contiguous_ledger(&registry, raid).await, 6);
}

#[tokio::test(start_paused = true)]
async fn a_refused_append_fails_only_its_own_raid() {
    let registry = TestInstance::start(options()).await;
    let (culprit, other) = (
        registry.create_raid(&[]).await,
        registry.create_raid(&[]).await,
    );
    registry.store.faults().refuse_raid(culprit);
    let (bad, good) = (
        registry.submit(culprit, "bad", None),
        registry.submit(other, "good", None),
    );
    assert_eq!(bad.answer().await, Err(Error::Internal));
    assert_eq!(good.answer().await, ack_at(4));
    registry.store.faults().accept_raid(culprit);
    assert_eq!(registry.say(culprit, "better", None).await, ack_at(4));
}

#[tokio::test(start_paused = true)]
async fn a_panic_fails_its_command_and_reloads_only_its_raid() {
    let registry = TestInstance::start(options()).await;
    let (raid, other) = (
        registry.create_raid(&[]).await,
        registry.create_raid(&[]).await,
    );
    registry.store.faults().hold_calls(Call::Commit);
    let (before, elsewhere) = (
        registry.submit(raid, "before", Some("x")),
        registry.submit(other, "fine", None),
    );
    run_ready_tasks().await;
    let (culprit, behind) = (
        registry.submit(raid, PANIC_TEXT, None),
        registry.submit(raid, "behind", None),
    );
    run_ready_tasks().await;
    registry.store.faults().release_calls(Call::Commit);
    assert_eq!(culprit.answer().await, Err(Error::Internal));
    assert_eq!(
        before.answer().await,
        Err(Error::Unavailable),
        "its fate is unknown to a session that died"
    );
    assert_eq!(elsewhere.answer().await, ack_at(4));
    assert!(
        behind.answer().await.is_ok(),
        "who waited in the inbox is served by the next incarnation"
    );
    assert_eq!(
        registry.say(raid, "before", Some("x")).await,
        ack_at(5),
        "its commit was fenced off by the new claim"
    );
    assert_eq!(assert_contiguous_ledger(&registry, raid).await, 5);
}

#[tokio::test(start_paused = true)]
async fn a_superseded_owner_is_fenced_and_publishes_nothing() {
    let registry = TestInstance::start(options()).await;
    let raid = registry.create_raid(&[2]).await;
    let mut watcher = registry.watch(raid, 2, None);
    watcher.watch_answer().await.expect("watches");
    registry.store.faults().hold_calls(Call::Commit);
    let mut zombie = registry.submit(raid, "from the grave", None);
    run_ready_tasks().await;
    let rival = crate::store::InstanceRecord {
        id: crate::store::InstanceId(uuid::Uuid::now_v7()),
        ..registry.record().clone()
    };
    registry.store.force_claim(raid, &rival).expect("the raid");
    registry.store.faults().release_calls(Call::Commit);
    run_ready_tasks().await;
    assert_eq!(zombie.try_answer(), Some(Err(Error::Unavailable)));
    assert_eq!(watcher.take_events(), [] as [u64; 0]);
    let claims = registry
        .store
        .claim(&[raid], registry.record().id)
        .await
        .expect("claim");
    assert!(
        matches!(claims[..], [ClaimOutcome::Held { .. }]),
        "{claims:?}"
    );
    assert_eq!(assert_contiguous_ledger(&registry, raid).await, 3 + 1);
}

#[tokio::test(start_paused = true)]
async fn an_owner_with_an_expired_lease_serves_nothing_from_memory() {
    let registry = TestInstance::start(options()).await;
    let raid = registry.create_raid(&[2]).await;
    registry.store.faults().hold_calls(Call::Renew);
    registry
        .lease()
        .renew(tokio::time::Instant::now(), Duration::ZERO, false);
    let mut asleep = registry.watch(raid, 2, None);
    assert_eq!(asleep.watch_answer().await.err(), Some(Error::Unavailable));
    assert_eq!(
        registry.sessions.read(raid, Caller::Service).await.err(),
        Some(Error::Unavailable)
    );
    assert_eq!(
        registry.say(raid, "hello?", None).await,
        Err(Error::Unavailable)
    );
    registry.lease().renew(
        tokio::time::Instant::now(),
        Duration::from_secs(3_600),
        false,
    );
    assert_eq!(registry.say(raid, "awake", None).await, ack_at(5));
}

#[tokio::test(start_paused = true)]
async fn a_pending_reply_is_given_in_time_when_the_lease_runs_out() {
    let registry = TestInstance::start(options()).await;
    let raid = registry.create_raid(&[2]).await;
    let answered =
        async |command: PendingAck| timeout(Duration::from_secs(10), command.answer()).await;
    registry.store.faults().hold_calls(Call::Renew);
    let out = || {
        registry
            .lease()
            .renew(Instant::now(), Duration::ZERO, false)
    };
    let back = || {
        registry
            .lease()
            .renew(Instant::now(), Duration::from_secs(3_600), false)
    };

    registry.store.faults().stall_commits(100);
    let command = registry.submit(raid, "failed", Some("a"));
    run_ready_tasks().await;
    out();
    assert_eq!(answered(command).await, Ok(Err(Error::Unavailable)));
    registry.store.faults().stall_commits(0);
    registry.store.faults().drop_stalled();
    back();
    assert_eq!(registry.say(raid, "failed", Some("a")).await, ack_at(5));

    registry.store.faults().hold_calls(Call::Commit);
    let command = registry.submit(raid, "durable", Some("b"));
    run_ready_tasks().await;
    out();
    registry.store.faults().release_calls(Call::Commit);
    assert_eq!(
        answered(command).await,
        Ok(Err(Error::Unavailable)),
        "it may be another's raid by now"
    );
    back();
    assert_eq!(
        registry.say(raid, "durable", Some("b")).await,
        duplicate_ack_at(6)
    );
    assert_eq!(assert_contiguous_ledger(&registry, raid).await, 6);
}

#[tokio::test(start_paused = true)]
async fn a_client_ahead_of_a_superseded_session_makes_it_reload() {
    let registry = TestInstance::start(options()).await;
    let raid = registry.create_raid(&[2]).await;
    registry.store.fence(raid);
    let mut watcher = registry.watch(raid, 2, Some(9));
    let answer = loop {
        match watcher.watch_answer().await {
            Err(Error::Unavailable) => watcher = registry.watch(raid, 2, Some(9)),
            answer => break answer,
        }
    };
    assert!(matches!(
        answer,
        Ok(ServerMessage::Snapshot { seq: Seq(4), .. })
    ));
}

#[tokio::test(start_paused = true)]
async fn a_full_mailbox_refuses_requests_at_once() {
    let registry = TestInstance::start(Options {
        mailbox_messages_max: 2,
        ..options()
    })
    .await;
    let raid = registry.create_raid(&[]).await;
    let mut answers = (0..200)
        .map(|n| registry.submit(raid, &n.to_string(), None))
        .collect::<Vec<_>>();
    let overloaded = answers
        .iter_mut()
        .filter_map(super::test_instance::PendingAck::try_answer)
        .collect::<Vec<_>>();
    assert_eq!(overloaded, vec![Err(Error::Overloaded); 198]);
}
