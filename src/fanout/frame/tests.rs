use raidhall_protocol::server::{ByeReason, UnwatchReason};
use raidhall_protocol::{Event, EventData, PlayerId, RaidId, Seq, UnixMillis};

use super::*;

fn chat_event(text: &str) -> ServerMessage {
    let raid = RaidId::try_from(7_u64).expect("an id");
    let data = EventData::Said {
        text: text.to_owned(),
    };
    ServerMessage::Event {
        raid,
        event: Event {
            seq: Seq(124),
            at: UnixMillis(5),
            by: None,
            data,
        },
    }
}

#[test]
fn a_stream_event_carries_the_websocket_json_with_type_and_seq() {
    for length in [1, 200, 70_000] {
        let message = chat_event(&"ж".repeat(length));
        let json = String::from_utf8(Codec::Json.encode(&message)).expect("text");
        let expected = format!("event: said\nid: 124\ndata: {json}\n\n");
        assert_eq!(
            SharedFrames::new(&message).get(Encoding::EventStream),
            expected.as_bytes()
        );
        assert_eq!(
            self::encode(Encoding::EventStream, &message),
            expected.as_bytes()
        );
    }
}

#[test]
fn line_breaks_in_a_text_do_not_split_a_stream_event() {
    let event = encode(
        Encoding::EventStream,
        &chat_event("a\n\nevent: raid_completed\r\rdata: {}\u{2028}"),
    );
    let text = std::str::from_utf8(&event).expect("text");
    assert_eq!(text.lines().count(), 4, "{text}");
    assert!(!text.contains('\r'));
}

#[test]
fn a_stream_end_carries_its_reason_and_the_reconnect_delay() {
    let bye = ServerMessage::Bye {
        reason: ByeReason::Draining,
        reconnect_after_ms: 840,
    };
    assert!(encode(Encoding::EventStream, &bye).starts_with(b"event: bye\nretry: 840\ndata: {"));
    let raid = RaidId::try_from(7_u64).expect("an id");
    let unwatched = ServerMessage::Unwatched {
        id: None,
        raid,
        reason: UnwatchReason::Kicked,
    };
    assert!(encode(Encoding::EventStream, &unwatched).starts_with(b"event: unwatched\ndata: {"));
    let closing = close_event(CloseCode::Unauthenticated);
    assert_eq!(
        closing,
        &b"event: close\ndata: {\"code\":4001,\"name\":\"unauthenticated\"}\n\n"[..]
    );
}

#[test]
fn a_message_is_encoded_once_per_encoding() {
    let message = chat_event("hi");
    let shared = SharedFrames::new(&message);
    let mut lazy = LazyFrames::new(&message);
    for encoding in [
        Encoding::WebSocket(Codec::Json),
        Encoding::WebSocket(Codec::MessagePack),
        Encoding::EventStream,
    ] {
        assert_eq!(shared.get(encoding).as_ptr(), shared.get(encoding).as_ptr());
        assert_eq!(lazy.get(encoding).as_ptr(), lazy.get(encoding).as_ptr());
        assert_eq!(lazy.get(encoding), shared.get(encoding));
    }
}

#[test]
fn an_id_in_a_shared_frame_gives_the_frame_of_a_message_with_that_id() {
    let raid = RaidId::try_from(7_u64).expect("an id");
    let state = crate::raid::State::new(raid).shown().clone();
    let messages = |id, online: usize| {
        let online = vec![PlayerId::try_from(5_u64).expect("an id"); online];
        [
            ServerMessage::Watching {
                id,
                raid,
                seq: Seq(123),
                recovered: true,
                online: online.clone(),
            },
            ServerMessage::Snapshot {
                id,
                raid,
                seq: Seq(123),
                recovered: false,
                online,
                state: Box::new(state.clone()),
            },
        ]
    };
    // The lengths have one, two and eight bytes in a frame's header.
    for online in [1, 50, 40_000] {
        for id in [None, Some(0), Some(127), Some(300), Some((1 << 53) - 1)] {
            let expected = messages(id, online);
            for (without, with) in messages(None, online).iter().zip(&expected) {
                for codec in Codec::ALL {
                    let shared = encode(codec, without);
                    let echoed = with_id(shared, Encoding::WebSocket(codec), id);
                    assert!(
                        echoed == encode(codec, with),
                        "{} {codec:?} {id:?}",
                        with.t()
                    );
                }
                let event = encode(Encoding::EventStream, without);
                assert_eq!(with_id(event.clone(), Encoding::EventStream, id), event);
            }
        }
    }
}
