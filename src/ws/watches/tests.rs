//! Tests of the frames that one client is sent, and of their order.

use raidhall_protocol::event::LeaveReason;
use raidhall_protocol::state::{Member, Role};
use raidhall_protocol::{Codec, Event, EventData, PlayerId, UnixMillis};
use serde_json::Value;
use uuid::Uuid;

use super::*;
use crate::fanout::audience::{NewWatch, RingOptions};
use crate::fanout::frame::encode;
use crate::fanout::outbox::ConnectionId;
use crate::raid::Refusal;
use crate::store::InstanceId;

const RING: RingOptions = RingOptions {
    events_max: 8,
    bytes_max: 1 << 20,
};
const LAG_LIMIT: WatchLagLimit = WatchLagLimit {
    messages_max: 4,
    bytes_max: 1 << 20,
};

/// A client that watches one raid, whose history begins at seq 1.
struct TestClient {
    outbox: Arc<Outbox>,
    watches: Watches,
    queue: SendQueue,
    audience: Arc<Audience>,
}

fn raid() -> RaidId {
    RaidId::try_from(7_u64).expect("an id")
}

fn player(id: u64) -> PlayerId {
    PlayerId::try_from(id).expect("an id")
}

fn member(id: u64) -> Member {
    Member {
        player: player(id),
        name: id.to_string(),
        role: Role::Member,
        xp: 0,
        tasks: 0,
        energy: 100,
        energy_at: UnixMillis(0),
        joined_at: UnixMillis(0),
        muted_until: None,
    }
}

impl TestClient {
    fn new() -> Self {
        let outbox = Arc::new(Outbox::new(ConnectionId(1), Codec::Json));
        let audience = Arc::new(Audience::new(raid(), RING));
        audience.sync_from_store(Seq::ZERO, &[1, 2].map(member), &[]);
        let watches = Watches::new(Arc::clone(&outbox), LAG_LIMIT);
        Self {
            outbox,
            watches,
            queue: SendQueue::new(),
            audience,
        }
    }

    /// Sends a signal of a player from a connection at a time.
    fn signal(
        &self,
        connection: u64,
        from: u64,
        now: i64,
        kind: &str,
        data: Value,
    ) -> Result<(), Refusal> {
        let sender = ConnectionId(connection);
        self.audience
            .send_signal(sender, player(from), UnixMillis(now), kind, data)
    }

    /// Delivers a signal of a player from another instance's message of this number.
    fn relay(&self, number: u64, from: u64, now: i64) {
        let (instance, now) = (InstanceId(Uuid::from_u128(1)), UnixMillis(now));
        self.audience
            .deliver_signal(instance, number, player(from), now, "wave", Value::Null);
    }

    /// Begins a watch that the session answers at once.
    fn watch_from(&mut self, cursor: u64, replay_until: u64) -> WatchId {
        let ticket = self.watches.begin(raid(), None);
        self.join(ticket, cursor, replay_until);
        ticket
    }

    fn join(&self, ticket: WatchId, cursor: u64, replay_until: u64) {
        let watching = ServerMessage::Watching {
            id: None,
            raid: raid(),
            seq: Seq(replay_until),
            recovered: true,
            online: vec![],
        };
        self.audience.join(NewWatch {
            outbox: Arc::clone(&self.outbox),
            watch_id: ticket,
            player: Some(player(2)),
            cursor: Seq(cursor),
            replay_until: Seq(replay_until),
            frame: encode(Codec::Json, &watching),
        });
    }

    fn publish(&self, count: u64) {
        let next = self.audience.head().0 + 1;
        let events = (next..next + count).map(chat_event).collect::<Vec<_>>();
        self.audience.publish(&events);
    }

    fn publish_event(&self, data: EventData) {
        let seq = self.audience.head().next();
        let event = Event {
            data,
            ..chat_event(seq.0)
        };
        self.audience.publish(&[event]);
    }

    fn ack(&mut self, seq: u64) {
        self.watches.expect_reply();
        let ack = ServerMessage::Ack {
            id: seq,
            raid: raid(),
            seq: Seq(seq),
            duplicate: false,
        };
        self.outbox.push_reply(OutboxReply::Frame {
            raid: Some(raid()),
            seq: Seq(seq),
            frame: encode(Codec::Json, &ack),
        });
    }

    fn resync(&self, ticket: WatchId, seq: u64) {
        let snapshot = include_bytes!("../../../protocol/fixtures/server/snapshot_new.json");
        let mut snapshot = Codec::Json.decode(snapshot).expect("a snapshot");
        if let ServerMessage::Snapshot { seq: at, .. } = &mut snapshot {
            *at = Seq(seq);
        }
        let frame = encode(Codec::Json, &snapshot);
        self.outbox.push_reply(OutboxReply::Resynced {
            ticket,
            seq: Seq(seq),
            frame,
        });
    }

    /// Returns the frames that are sent now, described in words, and the fetches that the watches
    /// need.
    fn take_queued(&mut self) -> (String, Vec<FetchRequest>) {
        let requests = self.watches.queue_ready_frames(&mut self.queue);
        let words = std::iter::from_fn(|| self.queue.pop_front())
            .map(|frame| describe_frame(&frame))
            .collect::<Vec<_>>();
        (words.join(" "), requests)
    }

    fn take_sent(&mut self) -> String {
        let (words, requests) = self.take_queued();
        assert!(requests.is_empty(), "after {words}");
        words
    }
}

fn chat_event(seq: u64) -> Event {
    let data = EventData::Said { text: "hi".into() };
    Event {
        seq: Seq(seq),
        at: UnixMillis(0),
        by: Some(player(1)),
        data,
    }
}

/// Describes a frame by its `t` and, if it has one, its `seq`.
fn describe_frame(frame: &Bytes) -> String {
    let header = if frame[1] == 126 { 4 } else { 2 };
    let message: Value = serde_json::from_slice(&frame[header..]).expect("a message");
    let t = message["t"].as_str().expect("a t");
    message["seq"]
        .as_u64()
        .map_or_else(|| t.to_owned(), |seq| format!("{t}{seq}"))
}

#[test]
fn an_ack_waits_for_its_event_only_while_the_raid_is_watched() {
    let mut client = TestClient::new();
    client.watch_from(0, 0);
    assert_eq!(client.take_sent(), "watching0");
    client.ack(2);
    client.publish(1);
    assert_eq!(client.take_sent(), "event1");
    client.publish(1);
    assert_eq!(client.take_sent(), "event2 ack2");
    client.watches.remove(raid());
    client.ack(9);
    assert_eq!(client.take_sent(), "ack9");
}

#[test]
fn the_reply_to_a_watch_precedes_its_events_and_later_acks() {
    let mut client = TestClient::new();
    client.publish(3);
    let ticket = client.watches.begin(raid(), None);
    client.ack(3);
    assert_eq!(client.take_sent(), "");
    client.join(ticket, 1, 3);
    assert_eq!(client.take_sent(), "watching3 event2 event3 ack3");
}

#[test]
fn a_watch_too_far_behind_collapses_into_one_snapshot() {
    let mut client = TestClient::new();
    let ticket = client.watch_from(0, 0);
    assert_eq!(client.take_sent(), "watching0");
    client.publish(5);
    client.ack(5);
    let (words, requests) = client.take_queued();
    assert!(
        words.is_empty() && matches!(requests[..], [FetchRequest::Snapshot(of)] if of == ticket)
    );
    assert_eq!(client.take_sent(), "", "requested once");
    client.publish(2);
    client.resync(ticket, 6);
    assert_eq!(client.take_sent(), "snapshot6 event7 ack5");
}

#[test]
fn a_refused_snapshot_is_requested_again_after_a_pause() {
    let mut client = TestClient::new();
    let ticket = client.watch_from(0, 0);
    client.publish(5);
    assert_eq!(client.take_queued().1.len(), 1);
    client.outbox.push_reply(OutboxReply::Refused {
        ticket,
        error: Error::Unavailable,
    });
    assert_eq!(client.take_sent(), "");
    assert!(
        client
            .watches
            .next_snapshot_request_at()
            .is_some_and(|at| at > Instant::now())
    );
}

#[test]
fn a_promised_replay_is_sent_whole_however_far_behind() {
    let mut client = TestClient::new();
    client.publish(20);
    let ticket = client.watch_from(5, 20);
    let (words, requests) = client.take_queued();
    assert_eq!(words, "watching20");
    assert!(matches!(requests[..], [FetchRequest::ReplayPage(of, Seq(5))] if of == ticket));
    client.publish(3);
    assert!(client.watches.queue_replay_page(
        ticket,
        (6..=14).map(chat_event).collect(),
        &mut client.queue
    ));
    let (words, requests) = client.take_queued();
    assert!(
        words.starts_with("event6 ") && words.ends_with(" event14"),
        "{words}"
    );
    assert!(
        matches!(requests[..], [FetchRequest::ReplayPage(_, Seq(14))]),
        "the ring holds 16 to 23"
    );
    assert!(
        !client
            .watches
            .queue_replay_page(ticket, vec![chat_event(17)], &mut client.queue),
        "does not continue the replay"
    );
    assert!(client.watches.queue_replay_page(
        ticket,
        (15..=23).map(chat_event).collect(),
        &mut client.queue
    ));
    let (words, requests) = client.take_queued();
    assert_eq!(
        words,
        "event15 event16 event17 event18 event19 event20 event21 event22 event23"
    );
    assert!(requests.is_empty());
}

#[test]
fn a_kicked_player_sees_the_kick_and_nothing_after_it() {
    let mut client = TestClient::new();
    client.watch_from(0, 0);
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
    client.audience.publish(&[kick, chat_event(3)]);
    assert_eq!(client.take_sent(), "watching0 event1 event2 unwatched");
    client.publish(1);
    assert_eq!((client.take_sent().as_str(), client.watches.len()), ("", 0));
}

#[test]
fn presence_that_overflows_is_replaced_by_a_snapshot() {
    let mut client = TestClient::new();
    let ticket = client.watch_from(0, 0);
    assert_eq!(client.take_sent(), "watching0");
    client.audience.publish_presence(vec![player(1)], vec![]);
    assert_eq!(client.take_sent(), "presence");
    for _ in 0..65 {
        client.audience.publish_presence(vec![player(1)], vec![]);
    }
    let (words, requests) = client.take_queued();
    assert!(
        words.is_empty() && matches!(requests[..], [FetchRequest::Snapshot(of)] if of == ticket),
        "{words}"
    );
}

#[test]
fn presence_that_overflows_does_not_interrupt_a_promised_replay() {
    let mut client = TestClient::new();
    client.publish(6);
    let ticket = client.watches.begin(raid(), None);
    client.join(ticket, 0, 6);
    for _ in 0..65 {
        client.audience.publish_presence(vec![player(1)], vec![]);
    }
    assert_eq!(
        client.take_sent(),
        "watching6 event1 event2 event3 event4 event5 event6"
    );
    assert!(matches!(client.take_queued().1[..], [FetchRequest::Snapshot(of)] if of == ticket));
}

#[test]
fn unwatched_is_sent_before_the_reply_to_a_later_watch() {
    let mut client = TestClient::new();
    client.watch_from(0, 0);
    assert_eq!(client.take_sent(), "watching0");
    client.ack(1);
    client.watches.remove(raid());
    let reason = UnwatchReason::Asked;
    let frame = encode(
        Codec::Json,
        &ServerMessage::Unwatched {
            id: None,
            raid: raid(),
            reason,
        },
    );
    client.watches.expect_reply();
    client.outbox.push_reply(OutboxReply::Frame {
        raid: None,
        seq: Seq::ZERO,
        frame,
    });
    client.watch_from(0, 0);
    assert_eq!(client.take_sent(), "unwatched watching0");
    client.publish(1);
    assert_eq!(client.take_sent(), "event1 ack1");
}

#[test]
fn a_delivered_signal_gets_no_reply() {
    let mut client = TestClient::new();
    client.watches.expect_reply();
    client.outbox.push_reply(OutboxReply::Done);
    assert_eq!(
        (
            client.take_sent().as_str(),
            client.watches.unanswered_requests()
        ),
        ("", 0)
    );
}

#[test]
fn a_watch_replaced_or_removed_before_its_reply_leaves_no_trace() {
    let mut client = TestClient::new();
    let first = client.watches.begin(raid(), None);
    let second = client.watches.begin(raid(), None);
    client.outbox.push_reply(OutboxReply::Refused {
        ticket: first,
        error: Error::Unavailable,
    });
    client.join(second, 0, 0);
    assert_eq!(client.take_sent(), "watching0");
    assert_eq!(client.watches.unanswered_requests(), 0);
    let third = client.watches.begin(raid(), None);
    client.watches.remove(raid());
    client.join(third, 0, 0);
    assert_eq!(
        (
            client.take_sent().as_str(),
            client.watches.unanswered_requests()
        ),
        ("", 0)
    );
    assert!(!client.audience.is_watched());
}

#[test]
fn a_client_gone_before_the_reply_is_not_a_watcher() {
    let mut client = TestClient::new();
    let ticket = client.watches.begin(raid(), None);
    client.watches.remove_all();
    client.join(ticket, 0, 0);
    assert!(!client.audience.is_watched());
}

#[test]
fn queued_signals_keep_the_latest_of_each_sender_and_kind() {
    let mut client = TestClient::new();
    client.watch_from(0, 0);
    assert_eq!(client.take_sent(), "watching0");
    for n in 0..3 {
        assert_eq!(client.signal(9, 1, 0, "emote", Value::from(n)), Ok(()));
    }
    assert_eq!(client.signal(9, 1, 0, "cursor", Value::Null), Ok(()));
    assert_eq!(client.take_sent(), "signal signal");
    assert_eq!(
        client.signal(9, 3, 0, "emote", Value::Null),
        Err(Refusal::NotMember)
    );
    assert_eq!(client.signal(1, 2, 0, "emote", Value::Null), Ok(()));
    assert_eq!(client.take_sent(), "", "not to the connection that sent it");
}

#[test]
fn a_muted_members_signals_are_refused_until_the_time() {
    let mut client = TestClient::new();
    client.watch_from(0, 0);
    let muted = |until: Option<i64>| EventData::MemberMuted {
        player: player(2),
        until: until.map(UnixMillis),
    };
    client.publish_event(muted(Some(5_000)));
    client.take_sent();
    let wave = |client: &TestClient, now| client.signal(9, 2, now, "wave", Value::Null);
    assert_eq!(wave(&client, 4_999), Err(Refusal::Forbidden));
    client.relay(1, 2, 4_999);
    assert_eq!(client.take_sent(), "");
    assert_eq!(wave(&client, 5_000), Ok(()));
    assert_eq!(client.take_sent(), "signal");
    client.publish_event(muted(None));
    assert_eq!(wave(&client, 4_999), Ok(()));
}

#[test]
fn a_signal_that_the_bus_repeats_or_delivers_late_is_dropped() {
    let mut client = TestClient::new();
    client.watch_from(0, 0);
    client.take_sent();
    client.relay(4, 2, 0);
    assert_eq!(client.take_sent(), "signal");
    client.relay(4, 2, 0);
    client.relay(3, 2, 0);
    assert_eq!(client.take_sent(), "");
    client.relay(5, 2, 0);
    assert_eq!(client.take_sent(), "signal");
}

#[test]
fn heads_name_events_that_are_only_in_the_store() {
    let mut client = TestClient::new();
    client.watch_from(0, 0);
    client.take_sent();
    client.publish(2);
    client.audience.record_stored_seq(Seq(5));
    let heads = client.watches.heads();
    assert_eq!(heads, BTreeMap::from([(raid().to_string(), Seq(5))]));
}
