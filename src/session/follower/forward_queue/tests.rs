use std::sync::Arc;

use futures_util::FutureExt;
use raidhall_protocol::{Command, ErrorType, PlayerId, RaidId, UnixMillis};
use tokio::sync::oneshot;
use uuid::Uuid;

use super::*;
use crate::clock::Clock;
use crate::cluster::membership::Membership;
use crate::raid;
use crate::store::Epoch;

type AckReceiver = oneshot::Receiver<Result<Ack, Error>>;

fn enqueue_message(forwards: &mut ForwardQueue, bytes: usize) -> AckReceiver {
    let (sender, receiver) = oneshot::channel();
    let by = PlayerId::try_from(1_u64).expect("an id");
    let command = raid::RaidCommand::Player {
        by,
        command: Command::Say {
            text: "x".repeat(bytes),
        },
    };
    let reply = Reply::new(move |result| drop(sender.send(result)));
    let deadline = Instant::now() + Duration::from_secs(5);
    forwards.enqueue(ExecuteRequest {
        command,
        op: None,
        reply,
        deadline,
        forwarded_by: None,
    });
    receiver
}

/// Sends the next batch from a standalone instance, so that it reaches no other.
fn send_batch(forwards: &mut ForwardQueue) {
    let clock = Arc::new(Clock::new(UnixMillis(1_000)));
    let cluster = ClusterClient::standalone(
        InstanceId(Uuid::nil()),
        clock,
        Membership::new(Duration::from_secs(3)),
    );
    let header = MessageHeader {
        raid: RaidId::try_from(7_u64).expect("an id"),
        epoch: Epoch(1),
        seq: Seq::ZERO,
    };
    forwards.send(&cluster, InstanceId(Uuid::from_u128(1)), header);
}

const UNAVAILABLE: ForwardReply = ForwardReply::Error {
    kind: ErrorType::Unavailable,
    fields: Vec::new(),
};
const ACK: ForwardReply = ForwardReply::Ack {
    seq: Seq(9),
    duplicate: false,
};

#[tokio::test]
async fn a_forward_batch_is_bounded_and_an_oversized_command_is_refused() {
    let mut forwards = ForwardQueue::default();
    let mut answers: Vec<_> = (0..10)
        .map(|_| enqueue_message(&mut forwards, BATCH_BYTES_MAX / 4))
        .collect();
    assert_eq!(
        enqueue_message(&mut forwards, BATCH_BYTES_MAX).now_or_never(),
        Some(Ok(Err(Error::TooLarge)))
    );
    for sent in [3, 3, 3, 1] {
        send_batch(&mut forwards);
        assert_eq!(
            forwards.inflight.as_ref().map(|batch| batch.items.len()),
            Some(sent)
        );
        forwards.apply_answers(vec![ACK; sent], true);
    }
    assert!(forwards.is_empty());
    assert!(
        answers
            .iter_mut()
            .all(|answer| answer.try_recv().is_ok_and(|result| result.is_ok()))
    );
}

#[tokio::test]
async fn a_forwarded_command_is_not_resent_behind_a_later_one() {
    let mut forwards = ForwardQueue::default();
    let mut answers: Vec<_> = (0..5).map(|_| enqueue_message(&mut forwards, 1)).collect();
    send_batch(&mut forwards);
    let forward_replies = vec![
        UNAVAILABLE,
        ForwardReply::NotOwner,
        ACK,
        UNAVAILABLE,
        ForwardReply::NotOwner,
    ];
    assert!(forwards.apply_answers(forward_replies, true).has_retries);
    let ack = Ack {
        seq: Seq(9),
        duplicate: false,
    };
    let mut results = answers.iter_mut().map(|answer| answer.try_recv().ok());
    assert!(matches!(
        results.next(),
        Some(Some(Err(Error::Unavailable)))
    ));
    assert!(matches!(
        results.next(),
        Some(Some(Err(Error::Unavailable | Error::NotOwner)))
    ));
    assert_eq!(results.next(), Some(Some(Ok(ack))));
    assert_eq!(
        results.collect::<Vec<_>>(),
        [None, None],
        "commands after the last decided one wait, in their order"
    );
    assert_eq!(forwards.queued.len(), 2);
}

#[tokio::test(start_paused = true)]
async fn an_expired_command_is_answered_while_the_follower_waits() {
    let mut forwards = ForwardQueue::default();
    let answer = enqueue_message(&mut forwards, 1);
    let began = Instant::now();
    let load = async {
        let result = answer.await;
        (result, began.elapsed())
    };
    assert_eq!(
        forwards.expire_while(load).await,
        (Ok(Err(Error::Unavailable)), Duration::from_secs(5))
    );
}
