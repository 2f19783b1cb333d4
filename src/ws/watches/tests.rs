//! What one client is sent, and in which order.

use raidhall_protocol::event::LeaveReason;
use raidhall_protocol::{Codec, EventData, PlayerId, UnixMillis};
use serde_json::Value;

use super::*;
use crate::fanout::audience::{Joining, RingOptions};
use crate::fanout::frame::message;
use crate::fanout::outbox::ConnectionId;

const RING: RingOptions = RingOptions {
    events_max: 8,
    bytes_max: 1 << 20,
};
const SLACK: Slack = Slack {
    messages: 4,
    bytes: 1 << 20,
};

/// One client of one raid, whose history begins at seq 1.
struct Client {
    outbox: Arc<Outbox>,
    watches: Watches,
    queue: Queue,
    audience: Arc<Audience>,
}

fn raid() -> RaidId {
    RaidId::try_from(7_u64).expect("an id")
}

fn player(id: u64) -> PlayerId {
    PlayerId::try_from(id).expect("an id")
}

impl Client {
    fn new() -> Self {
        let outbox = Arc::new(Outbox::new(ConnectionId(1), Codec::Json));
        let audience = Arc::new(Audience::new(raid(), RING));
        audience.adopt(Seq::ZERO, [player(1), player(2)].into(), &[]);
        let watches = Watches::new(Arc::clone(&outbox), SLACK);
        Self {
            outbox,
            watches,
            queue: Queue::new(),
            audience,
        }
    }

    /// Watches, as if the session had answered at once.
    fn watch(&mut self, cursor: u64, promised: u64) -> Ticket {
        let ticket = self.watches.ask(raid(), None);
        self.answer(ticket, cursor, promised);
        ticket
    }

    fn answer(&self, ticket: Ticket, cursor: u64, promised: u64) {
        let (cursor, promised) = (Seq(cursor), Seq(promised));
        let watching = ServerMessage::Watching {
            raid: raid(),
            seq: promised,
            recovered: true,
            online: vec![],
        };
        let (outbox, frame) = (Arc::clone(&self.outbox), message(Codec::Json, &watching));
        self.audience.join(Joining {
            outbox,
            ticket,
            player: Some(player(2)),
            cursor,
            promised,
            frame,
        });
    }

    fn publish(&self, count: u64) {
        let next = self.audience.head().0 + 1;
        let events = (next..next + count).map(said).collect::<Vec<_>>();
        self.audience.publish(&events);
    }

    fn ack(&mut self, seq: u64) {
        self.watches.expect_answer();
        let ack = ServerMessage::Ack {
            id: seq,
            raid: raid(),
            seq: Seq(seq),
            duplicate: false,
        };
        let (raid, frame) = (Some(raid()), message(Codec::Json, &ack));
        self.outbox.answer(Answer::Frame {
            raid,
            seq: Seq(seq),
            frame,
        });
    }

    fn resync(&self, ticket: Ticket, seq: u64) {
        let snapshot = include_bytes!("../../../protocol/fixtures/server/snapshot_new.json");
        let mut snapshot = Codec::Json.decode(snapshot).expect("a snapshot");
        if let ServerMessage::Snapshot { seq: at, .. } = &mut snapshot {
            *at = Seq(seq);
        }
        let frame = message(Codec::Json, &snapshot);
        self.outbox.answer(Answer::Resynced {
            ticket,
            seq: Seq(seq),
            frame,
        });
    }

    /// What goes out now, in words, and what is needed.
    fn gathered(&mut self) -> (String, Vec<Need>) {
        let needs = self.watches.gather(&mut self.queue);
        let words = std::iter::from_fn(|| self.queue.pop_front())
            .map(|frame| word(&frame))
            .collect::<Vec<_>>();
        (words.join(" "), needs)
    }

    fn sent(&mut self) -> String {
        let (words, needs) = self.gathered();
        assert!(needs.is_empty(), "after {words}");
        words
    }
}

fn said(seq: u64) -> Event {
    let data = EventData::Said { text: "hi".into() };
    Event {
        seq: Seq(seq),
        at: UnixMillis(0),
        by: Some(player(1)),
        data,
    }
}

/// A frame as `t` and, where there is one, seq.
fn word(frame: &Bytes) -> String {
    let header = if frame[1] == 126 { 4 } else { 2 };
    let message: Value = serde_json::from_slice(&frame[header..]).expect("a message");
    let t = message["t"].as_str().expect("a t");
    message["seq"]
        .as_u64()
        .map_or_else(|| t.to_owned(), |seq| format!("{t}{seq}"))
}

#[test]
fn an_answer_waits_for_its_event_and_not_for_those_of_raids_that_are_not_watched() {
    let mut client = Client::new();
    client.watch(0, 0);
    assert_eq!(client.sent(), "watching0");
    client.ack(2);
    client.publish(1);
    assert_eq!(client.sent(), "event1");
    client.publish(1);
    assert_eq!(client.sent(), "event2 ack2");
    client.watches.remove(raid());
    client.ack(9);
    assert_eq!(client.sent(), "ack9");
}

#[test]
fn the_answer_to_a_watch_comes_before_its_events_and_before_later_acks() {
    let mut client = Client::new();
    client.publish(3);
    let ticket = client.watches.ask(raid(), None);
    client.ack(3);
    assert_eq!(client.sent(), "");
    client.answer(ticket, 1, 3);
    assert_eq!(client.sent(), "watching3 event2 event3 ack3");
}

#[test]
fn a_watch_too_far_behind_collapses_into_one_snapshot_and_goes_on_from_there() {
    let mut client = Client::new();
    let ticket = client.watch(0, 0);
    assert_eq!(client.sent(), "watching0");
    client.publish(5);
    client.ack(5);
    let (words, needs) = client.gathered();
    assert!(words.is_empty() && matches!(needs[..], [Need::Snapshot(of)] if of == ticket));
    assert_eq!(client.sent(), "", "asked once");
    client.publish(2);
    client.resync(ticket, 6);
    assert_eq!(client.sent(), "snapshot6 event7 ack5");
}

#[test]
fn a_refused_snapshot_is_asked_for_again_after_a_pause() {
    let mut client = Client::new();
    let ticket = client.watch(0, 0);
    client.publish(5);
    assert_eq!(client.gathered().1.len(), 1);
    client.outbox.answer(Answer::Refused {
        ticket,
        error: Error::Unavailable,
    });
    assert_eq!(client.sent(), "");
    assert!(
        client
            .watches
            .next_ask()
            .is_some_and(|at| at > Instant::now())
    );
}

#[test]
fn a_promised_replay_comes_whole_however_far_behind() {
    let mut client = Client::new();
    client.publish(20);
    let ticket = client.watch(5, 20);
    let (words, needs) = client.gathered();
    assert_eq!(words, "watching20");
    assert!(matches!(needs[..], [Need::Page(of, Seq(5))] if of == ticket));
    client.publish(3);
    assert!(
        client
            .watches
            .show_page(ticket, (6..=14).map(said).collect(), &mut client.queue)
    );
    let (words, needs) = client.gathered();
    assert!(
        words.starts_with("event6 ") && words.ends_with(" event14"),
        "{words}"
    );
    assert!(
        matches!(needs[..], [Need::Page(_, Seq(14))]),
        "the ring holds 16 to 23"
    );
    assert!(
        !client
            .watches
            .show_page(ticket, vec![said(17)], &mut client.queue),
        "not what comes next"
    );
    assert!(
        client
            .watches
            .show_page(ticket, (15..=23).map(said).collect(), &mut client.queue)
    );
    let (words, needs) = client.gathered();
    assert_eq!(
        words,
        "event15 event16 event17 event18 event19 event20 event21 event22 event23"
    );
    assert!(needs.is_empty());
}

#[test]
fn a_kicked_player_sees_the_kick_and_nothing_after_it() {
    let mut client = Client::new();
    client.watch(0, 0);
    client.publish(1);
    let data = EventData::MemberLeft {
        player: player(2),
        reason: LeaveReason::Kicked,
        released: vec![],
    };
    let kick = Event {
        seq: Seq(2),
        at: UnixMillis(0),
        by: Some(player(1)),
        data,
    };
    client.audience.publish(&[kick, said(3)]);
    assert_eq!(client.sent(), "watching0 event1 event2 unwatched");
    client.publish(1);
    assert_eq!((client.sent().as_str(), client.watches.len()), ("", 0));
}

#[test]
fn presence_that_overflows_is_replaced_by_a_snapshot() {
    let mut client = Client::new();
    let ticket = client.watch(0, 0);
    assert_eq!(client.sent(), "watching0");
    client.audience.announce(vec![player(1)], vec![]);
    assert_eq!(client.sent(), "presence");
    for _ in 0..65 {
        client.audience.announce(vec![player(1)], vec![]);
    }
    let (words, needs) = client.gathered();
    assert!(
        words.is_empty() && matches!(needs[..], [Need::Snapshot(of)] if of == ticket),
        "{words}"
    );
}

#[test]
fn presence_that_overflows_breaks_no_promised_replay() {
    let mut client = Client::new();
    client.publish(6);
    let ticket = client.watches.ask(raid(), None);
    client.answer(ticket, 0, 6);
    for _ in 0..65 {
        client.audience.announce(vec![player(1)], vec![]);
    }
    assert_eq!(
        client.sent(),
        "watching6 event1 event2 event3 event4 event5 event6"
    );
    assert!(matches!(client.gathered().1[..], [Need::Snapshot(of)] if of == ticket));
}

#[test]
fn unwatched_goes_out_before_the_answer_to_a_later_watch() {
    let mut client = Client::new();
    client.watch(0, 0);
    assert_eq!(client.sent(), "watching0");
    client.ack(1);
    client.watches.remove(raid());
    let reason = UnwatchReason::Asked;
    let frame = message(
        Codec::Json,
        &ServerMessage::Unwatched {
            raid: raid(),
            reason,
        },
    );
    client.watches.expect_answer();
    client.outbox.answer(Answer::Frame {
        raid: None,
        seq: Seq::ZERO,
        frame,
    });
    client.watch(0, 0);
    assert_eq!(client.sent(), "unwatched watching0");
    client.publish(1);
    assert_eq!(client.sent(), "event1 ack1");
}

#[test]
fn a_signal_that_was_passed_on_is_answered_by_silence() {
    let mut client = Client::new();
    client.watches.expect_answer();
    client.outbox.answer(Answer::Silence);
    assert_eq!((client.sent().as_str(), client.watches.pending()), ("", 0));
}

#[test]
fn a_watch_that_was_replaced_or_left_before_its_answer_leaves_nothing() {
    let mut client = Client::new();
    let first = client.watches.ask(raid(), None);
    let second = client.watches.ask(raid(), None);
    client.outbox.answer(Answer::Refused {
        ticket: first,
        error: Error::Unavailable,
    });
    client.answer(second, 0, 0);
    assert_eq!(client.sent(), "watching0");
    assert_eq!(client.watches.pending(), 0);
    let third = client.watches.ask(raid(), None);
    client.watches.remove(raid());
    client.answer(third, 0, 0);
    assert_eq!((client.sent().as_str(), client.watches.pending()), ("", 0));
    assert!(!client.audience.is_watched());
}

#[test]
fn who_is_gone_when_the_answer_comes_is_no_watcher() {
    let mut client = Client::new();
    let asked = client.watches.ask(raid(), None);
    client.watches.leave_all();
    client.answer(asked, 0, 0);
    assert!(!client.audience.is_watched());
}

#[test]
fn signals_keep_the_latest_of_each_sender_and_kind() {
    let mut client = Client::new();
    client.watch(0, 0);
    assert_eq!(client.sent(), "watching0");
    for n in 0..3 {
        let signalled = client
            .audience
            .signal(ConnectionId(9), player(1), "emote", Value::from(n));
        assert_eq!(signalled, Ok(()));
    }
    client
        .audience
        .signal(ConnectionId(9), player(1), "cursor", Value::Null)
        .expect("a member");
    assert_eq!(client.sent(), "signal signal");
    assert!(
        client
            .audience
            .signal(ConnectionId(9), player(3), "emote", Value::Null)
            .is_err()
    );
    client
        .audience
        .signal(client.outbox.id, player(2), "emote", Value::Null)
        .expect("a member");
    assert_eq!(client.sent(), "", "not back to where it came from");
}
