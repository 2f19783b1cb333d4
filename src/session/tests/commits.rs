//! What is told depends on what is durable.

use std::time::Duration;

use raidhall_protocol::{Command, RaidId, Seq, ServerMessage};
use tokio::time::{Instant, sleep, timeout};

use super::PANIC;
use super::registry::{Hall, Pending, options};
use crate::error::Error;
use crate::session::{Ack, Caller, Options};
use crate::store::memory::Call;
use crate::store::{ClaimOutcome, Store};

fn ack(seq: u64) -> Result<Ack, Error> {
    Ok(Ack {
        seq: Seq(seq),
        duplicate: false,
    })
}

fn duplicate(seq: u64) -> Result<Ack, Error> {
    Ok(Ack {
        seq: Seq(seq),
        duplicate: true,
    })
}

/// Lets every task run until it waits for time or for the store.
async fn settle() {
    sleep(Duration::from_millis(1)).await;
}

/// Every seq from 1, once.
async fn assert_contiguous(hall: &Hall, raid: RaidId) -> u64 {
    let seqs = hall
        .ledger(raid)
        .await
        .iter()
        .map(|event| event.seq.0)
        .collect::<Vec<_>>();
    assert_eq!(seqs, (1..=seqs.len() as u64).collect::<Vec<_>>());
    seqs.len() as u64
}

#[tokio::test(start_paused = true)]
async fn nothing_is_told_before_its_commit_and_then_in_order() {
    let hall = Hall::open(options()).await;
    let raid = hall.raid(&[2]).await;
    let mut watcher = hall.watch(raid, 2, Some(4));
    watcher.answer().await.expect("watches");
    hall.store.faults().hold_calls(Call::Commit);
    let (mut first, mut second) = (
        hall.submit(raid, "one", None),
        hall.submit(raid, "two", None),
    );
    let mut refused = hall.submit_command(raid, Command::Start, None);
    settle().await;
    assert_eq!(
        (first.now(), second.now(), refused.now()),
        (None, None, None)
    );
    assert_eq!(watcher.events(), [] as [u64; 0]);
    hall.store.faults().release_calls(Call::Commit);
    assert_eq!(first.answer().await, ack(5));
    assert_eq!(
        watcher.events(),
        [5, 6],
        "events are published before they are acknowledged"
    );
    assert_eq!(second.answer().await, ack(6));
    assert!(matches!(refused.answer().await, Err(Error::Refused(_))));
}

#[tokio::test(start_paused = true)]
async fn refusal_read_duplicate_and_snapshot_fail_with_the_commit_they_wait_for() {
    let hall = Hall::open(options()).await;
    let raid = hall.raid(&[2]).await;
    hall.store.faults().stall_commits(1);
    let command = hall.submit(raid, "never", Some("a"));
    let repeat = hall.submit(raid, "never", Some("a"));
    let refusal = hall.submit_command(raid, Command::Start, None);
    let mut watcher = hall.watch(raid, 2, None);
    let read = tokio::spawn({
        let sessions = hall.sessions.clone();
        async move { sessions.read(raid, Caller::Service).await }
    });
    settle().await;
    hall.store.faults().set_unreachable(true);
    sleep(Duration::from_secs(3)).await;
    hall.store.faults().drop_stalled();
    assert_eq!(command.answer().await, Err(Error::Unavailable));
    assert_eq!(repeat.answer().await, Err(Error::Unavailable));
    assert_eq!(refusal.answer().await, Err(Error::Unavailable));
    assert_eq!(watcher.answer().await.err(), Some(Error::Unavailable));
    assert_eq!(
        read.await.expect("no panic").err(),
        Some(Error::Unavailable)
    );
    hall.store.faults().set_unreachable(false);
    assert_eq!(
        hall.say(raid, "now", Some("a")).await,
        ack(5),
        "the op left no trace"
    );
    assert_eq!(assert_contiguous(&hall, raid).await, 5);
}

#[tokio::test(start_paused = true)]
async fn an_op_takes_effect_once_whoever_repeats_it_and_when() {
    let hall = Hall::open(options()).await;
    let raid = hall.raid(&[]).await;
    hall.store.faults().hold_calls(Call::Commit);
    let (first, repeat) = (
        hall.submit(raid, "once", Some("a")),
        hall.submit(raid, "other", Some("a")),
    );
    settle().await;
    hall.store.faults().release_calls(Call::Commit);
    assert_eq!(first.answer().await, ack(4));
    assert_eq!(repeat.answer().await, duplicate(4));
    assert_eq!(hall.say(raid, "again", Some("a")).await, duplicate(4));
    hall.store.fence(raid);
    assert_eq!(
        hall.say(raid, "b", Some("b")).await,
        Err(Error::Unavailable),
        "fenced"
    );
    assert_eq!(
        hall.say(raid, "again", Some("a")).await,
        duplicate(4),
        "known after a reload"
    );
    assert_eq!(hall.say(raid, "b", Some("b")).await, ack(5));
}

#[tokio::test(start_paused = true)]
async fn an_op_that_memory_has_forgotten_is_found_in_the_ledger() {
    let hall = Hall::open(Options {
        op_keys: 2,
        ..options()
    })
    .await;
    let raid = hall.raid(&[]).await;
    for op in ["a", "b", "c", "d"] {
        hall.say(raid, op, Some(op)).await.expect("said");
    }
    assert_eq!(hall.say(raid, "a", Some("a")).await, duplicate(4));
    assert_eq!(
        hall.store.faults().call_count(Call::FindOp),
        2,
        "once the memory is full, a new one is looked up too"
    );
}

#[tokio::test(start_paused = true)]
async fn a_commit_whose_answer_was_lost_counts_once() {
    let hall = Hall::open(options()).await;
    let raid = hall.raid(&[]).await;
    hall.store.faults().drop_replies(1);
    assert_eq!(hall.say(raid, "once", None).await, ack(4));
    assert_eq!(hall.say(raid, "twice", None).await, ack(5));
    assert_eq!(assert_contiguous(&hall, raid).await, 5);
}

#[tokio::test(start_paused = true)]
async fn a_batch_that_lands_after_its_session_reloaded_is_fenced_off() {
    let hall = Hall::open(options()).await;
    let raid = hall.raid(&[2]).await;
    let mut watcher = hall.watch(raid, 2, None);
    watcher.answer().await.expect("watches");
    hall.store.faults().stall_commits(100);
    assert_eq!(
        hall.say(raid, "late", Some("late")).await,
        Err(Error::Unavailable)
    );
    let stalled = hall.store.faults().stalled_count();
    assert!(stalled > 0);
    hall.store.faults().stall_commits(0);
    assert_eq!(hall.say(raid, "next", None).await, ack(5));
    hall.store.faults().apply_stalled();
    settle().await;
    assert_eq!(
        hall.say(raid, "late", Some("late")).await,
        ack(6),
        "the late batch took no effect"
    );
    assert_eq!(watcher.events(), [5, 6]);
    assert_eq!(assert_contiguous(&hall, raid).await, 6);
}

#[tokio::test(start_paused = true)]
async fn a_refused_append_is_the_culprits_alone() {
    let hall = Hall::open(options()).await;
    let (culprit, other) = (hall.raid(&[]).await, hall.raid(&[]).await);
    hall.store.faults().refuse_raid(culprit);
    let (bad, good) = (
        hall.submit(culprit, "bad", None),
        hall.submit(other, "good", None),
    );
    assert_eq!(bad.answer().await, Err(Error::Internal));
    assert_eq!(good.answer().await, ack(4));
    hall.store.faults().accept_raid(culprit);
    assert_eq!(hall.say(culprit, "better", None).await, ack(4));
}

#[tokio::test(start_paused = true)]
async fn a_panic_reloads_that_raid_alone_and_names_its_culprit() {
    let hall = Hall::open(options()).await;
    let (raid, other) = (hall.raid(&[]).await, hall.raid(&[]).await);
    hall.store.faults().hold_calls(Call::Commit);
    let (before, elsewhere) = (
        hall.submit(raid, "before", Some("x")),
        hall.submit(other, "fine", None),
    );
    settle().await;
    let (culprit, behind) = (
        hall.submit(raid, PANIC, None),
        hall.submit(raid, "behind", None),
    );
    settle().await;
    hall.store.faults().release_calls(Call::Commit);
    assert_eq!(culprit.answer().await, Err(Error::Internal));
    assert_eq!(
        before.answer().await,
        Err(Error::Unavailable),
        "its fate is unknown to a session that died"
    );
    assert_eq!(elsewhere.answer().await, ack(4));
    assert!(
        behind.answer().await.is_ok(),
        "who waited in the inbox is served by the next incarnation"
    );
    assert_eq!(
        hall.say(raid, "before", Some("x")).await,
        ack(5),
        "its commit was fenced off by the new claim"
    );
    assert_eq!(assert_contiguous(&hall, raid).await, 5);
}

#[tokio::test(start_paused = true)]
async fn a_zombie_owner_is_refused_by_the_fence_and_tells_nobody() {
    let hall = Hall::open(options()).await;
    let raid = hall.raid(&[2]).await;
    let mut watcher = hall.watch(raid, 2, None);
    watcher.answer().await.expect("watches");
    hall.store.faults().hold_calls(Call::Commit);
    let mut zombie = hall.submit(raid, "from the grave", None);
    settle().await;
    let rival = crate::store::Instance {
        id: crate::store::InstanceId(uuid::Uuid::now_v7()),
        ..hall.instance.clone()
    };
    hall.store.force_claim(raid, &rival).expect("the raid");
    hall.store.faults().release_calls(Call::Commit);
    settle().await;
    assert_eq!(zombie.now(), Some(Err(Error::Unavailable)));
    assert_eq!(watcher.events(), [] as [u64; 0]);
    let claims = hall
        .store
        .claim(&[raid], hall.instance.id)
        .await
        .expect("claim");
    assert!(
        matches!(claims[..], [ClaimOutcome::Held { .. }]),
        "{claims:?}"
    );
    assert_eq!(assert_contiguous(&hall, raid).await, 3 + 1);
}

#[tokio::test(start_paused = true)]
async fn an_owner_whose_lease_ran_out_while_it_slept_shows_nothing_that_it_remembers() {
    let hall = Hall::open(options()).await;
    let raid = hall.raid(&[2]).await;
    hall.lease
        .renew(tokio::time::Instant::now(), Duration::ZERO, false);
    let mut asleep = hall.watch(raid, 2, None);
    assert_eq!(asleep.answer().await.err(), Some(Error::Unavailable));
    assert_eq!(
        hall.sessions.read(raid, Caller::Service).await.err(),
        Some(Error::Unavailable)
    );
    assert_eq!(
        hall.say(raid, "hello?", None).await,
        Err(Error::Unavailable)
    );
    hall.lease.renew(
        tokio::time::Instant::now(),
        Duration::from_secs(3_600),
        false,
    );
    assert_eq!(hall.say(raid, "awake", None).await, ack(5));
}

#[tokio::test(start_paused = true)]
async fn whoever_waits_for_a_commit_while_the_lease_is_out_is_answered_in_time() {
    let hall = Hall::open(options()).await;
    let raid = hall.raid(&[2]).await;
    let answered =
        async |command: Pending| timeout(Duration::from_secs(10), command.answer()).await;
    let out = || hall.lease.renew(Instant::now(), Duration::ZERO, false);
    let back = || {
        hall.lease
            .renew(Instant::now(), Duration::from_secs(3_600), false)
    };

    hall.store.faults().stall_commits(100);
    let command = hall.submit(raid, "failed", Some("a"));
    settle().await;
    out();
    assert_eq!(answered(command).await, Ok(Err(Error::Unavailable)));
    hall.store.faults().stall_commits(0);
    hall.store.faults().drop_stalled();
    back();
    assert_eq!(hall.say(raid, "failed", Some("a")).await, ack(5));

    hall.store.faults().hold_calls(Call::Commit);
    let command = hall.submit(raid, "durable", Some("b"));
    settle().await;
    out();
    hall.store.faults().release_calls(Call::Commit);
    assert_eq!(
        answered(command).await,
        Ok(Err(Error::Unavailable)),
        "it may be another's raid by now"
    );
    back();
    assert_eq!(hall.say(raid, "durable", Some("b")).await, duplicate(6));
    assert_eq!(assert_contiguous(&hall, raid).await, 6);
}

#[tokio::test(start_paused = true)]
async fn a_client_ahead_of_a_superseded_session_makes_it_reload() {
    let hall = Hall::open(options()).await;
    let raid = hall.raid(&[2]).await;
    hall.store.fence(raid);
    let mut watcher = hall.watch(raid, 2, Some(9));
    let answer = loop {
        match watcher.answer().await {
            Err(Error::Unavailable) => watcher = hall.watch(raid, 2, Some(9)),
            answer => break answer,
        }
    };
    assert!(matches!(
        answer,
        Ok(ServerMessage::Snapshot { seq: Seq(4), .. })
    ));
}

#[tokio::test(start_paused = true)]
async fn a_full_inbox_is_told_at_once() {
    let hall = Hall::open(Options {
        inbox: 2,
        ..options()
    })
    .await;
    let raid = hall.raid(&[]).await;
    let mut answers = (0..200)
        .map(|n| hall.submit(raid, &n.to_string(), None))
        .collect::<Vec<_>>();
    let overloaded = answers
        .iter_mut()
        .filter_map(super::registry::Pending::now)
        .collect::<Vec<_>>();
    assert_eq!(overloaded, vec![Err(Error::Overloaded); 198]);
}
