//! Malformed input, which no well-behaved client sends, and the server's responses to it.

use raidhall_protocol::{Codec, ErrorType};
use serde_json::{Value, json};

use crate::process::{TestDatabase, TestServer};
use crate::raid_group::{RaidGroup, long_raid};
use crate::raw_socket::{
    BINARY, CLOSE, PING, PONG, RawSocket, TEXT, UPGRADE_HEADERS, encode_frame,
};
use crate::test_socket::TestSocket;
use crate::with_timeout;

const JSON: &str = "raidhall.v1.json";
const MSGPACK: &str = "raidhall.v1.msgpack";

/// Starts a server; returns it with a raid on it and a member's token.
async fn start_raid(
    database: &TestDatabase,
    settings: &[(&str, &str)],
) -> (TestServer, RaidGroup, String) {
    let server = database.start_with(settings).await;
    let group = RaidGroup::create(server.target(), 1, &long_raid(2)).await;
    let token = group.add_member().await.access_token;
    (server, group, token)
}

async fn open_socket(server: &TestServer, token: &str) -> RawSocket {
    let mut raw = RawSocket::open(server.target(), JSON).await;
    raw.send_frame(
        TEXT,
        json!({"t": "hello", "token": token}).to_string().as_bytes(),
    )
    .await;
    assert_eq!(next_message(&mut raw).await["t"], "welcome");
    raw
}

/// Returns the next message of a JSON connection.
async fn next_message(raw: &mut RawSocket) -> Value {
    loop {
        match raw.next_frame().await.expect("a message") {
            (TEXT, payload) => return serde_json::from_slice(&payload).expect("JSON"),
            (CLOSE, payload) => panic!("closed: {payload:?}"),
            _ => {}
        }
    }
}

#[tokio::test]
async fn broken_frames_close_with_the_matching_code() {
    with_timeout(async {
        let database = TestDatabase::sqlite().await;
        let (server, _, token) = start_raid(&database, &[]).await;
        let text = |payload: &[u8]| encode_frame(0x80 | TEXT, Some([1, 2, 3, 4]), payload);
        let huge = json!({"t": "beat", "x": "x".repeat(20 * 1024)}).to_string();
        let cases: [(&str, Vec<u8>, u16); 12] = [
            (
                "an unmasked frame",
                encode_frame(0x80 | TEXT, None, br#"{"t":"beat"}"#),
                1002,
            ),
            (
                "a reserved bit",
                encode_frame(0xc0 | TEXT, Some([1; 4]), b"{}"),
                1002,
            ),
            (
                "a reserved opcode",
                encode_frame(0x80 | 3, Some([1; 4]), b"{}"),
                1002,
            ),
            (
                "a ping in pieces",
                encode_frame(PING, Some([1; 4]), b"x"),
                1002,
            ),
            (
                "a continuation of nothing",
                encode_frame(0x80, Some([1; 4]), b"{}"),
                1002,
            ),
            ("a message of 20 KiB", text(huge.as_bytes()), 1009),
            (
                "a length of 2^62",
                [&[0x81, 0xff, 0x40][..], &[0; 7], &[1; 4]].concat(),
                1009,
            ),
            ("text that is not UTF-8", text(&[b'"', 0xff, b'"']), 1007),
            ("text that is not JSON", text(b"hello?"), 4000),
            ("two maps", text(br#"{"t":"beat"}{"t":"beat"}"#), 4000),
            ("a map without t", text(br#"{"x":1}"#), 4000),
            (
                "a binary frame on a JSON connection",
                encode_frame(0x80 | BINARY, Some([1; 4]), br#"{"t":"beat"}"#),
                4000,
            ),
        ];
        for (what, bytes, code) in &cases {
            let mut raw = open_socket(&server, &token).await;
            raw.send_bytes(bytes).await;
            assert_eq!(raw.close_code().await, *code, "{what}");
            assert!(
                raw.next_frame().await.is_none(),
                "nothing follows a Close frame: {what}"
            );
        }
        for code in [0_u16, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000] {
            let mut raw = open_socket(&server, &token).await;
            raw.send_frame(CLOSE, &code.to_be_bytes()).await;
            assert_eq!(raw.close_code().await, 1002, "a client may not send {code}");
        }
        let mut raw = RawSocket::open(server.target(), MSGPACK).await;
        raw.send_frame(TEXT, br#"{"t":"hello","token":"x"}"#).await;
        assert_eq!(
            raw.close_code().await,
            4000,
            "a text frame on a msgpack connection"
        );
        let mut raw = RawSocket::open(server.target(), MSGPACK).await;
        raw.send_frame(BINARY, &[0xc1]).await;
        assert_eq!(
            raw.close_code().await,
            4000,
            "a frame that is not MessagePack"
        );
    })
    .await;
}

#[tokio::test]
async fn a_first_message_other_than_a_valid_hello_closes_the_connection() {
    with_timeout(async {
        let database = TestDatabase::sqlite().await;
        let (server, group, token) =
            start_raid(&database, &[("LIMITS__HELLO_TIMEOUT_MS", "600")]).await;
        for (first, code) in [
            (json!({"t": "watch", "raid": group.raid}), 4001),
            (json!({"t": "beat"}), 4001),
            (json!({"t": "no_such"}), 4001),
            (json!({"t": "hello", "token": "no.such.token"}), 4001),
            (json!({"t": 5}), 4000),
            (json!([]), 4000),
        ] {
            let mut raw = RawSocket::open(server.target(), JSON).await;
            raw.send_frame(TEXT, first.to_string().as_bytes()).await;
            assert_eq!(raw.close_code().await, code, "{first}");
        }
        let mut silent = RawSocket::open(server.target(), JSON).await;
        assert_eq!(silent.close_code().await, 4001, "no hello in time");
        // A faulty hello is answered with its fault, and may be sent again.
        let mut raw = RawSocket::open(server.target(), JSON).await;
        raw.send_frame(TEXT, br#"{"t":"hello"}"#).await;
        assert_eq!(next_message(&mut raw).await["error"]["type"], "invalid");
        raw.send_frame(
            TEXT,
            json!({"t": "hello", "token": token}).to_string().as_bytes(),
        )
        .await;
        assert_eq!(next_message(&mut raw).await["t"], "welcome");
        let mut raw = RawSocket::open(server.target(), JSON).await;
        for _ in 0..2 {
            raw.send_frame(TEXT, br#"{"t":"hello"}"#).await;
        }
        assert_eq!(next_message(&mut raw).await["error"]["type"], "invalid");
        assert_eq!(raw.close_code().await, 4000, "a second faulty hello");
        let expired = database.token(
            raidhall::auth::Scope::Admin,
            None,
            std::time::Duration::ZERO,
        );
        let mut raw = RawSocket::open(server.target(), JSON).await;
        raw.send_frame(
            TEXT,
            json!({"t": "hello", "token": expired})
                .to_string()
                .as_bytes(),
        )
        .await;
        assert_eq!(raw.close_code().await, 4001, "an expired token");
    })
    .await;
}

#[tokio::test]
async fn invalid_upgrade_requests_are_refused_with_an_http_status() {
    with_timeout(async {
        let database = TestDatabase::sqlite().await;
        let allowed = [
            ("SERVER__ALLOWED_ORIGINS", "https://play.example"),
            ("LIMITS__CONNECTIONS_PER_ADDRESS", "3"),
        ];
        let (server, _, token) = start_raid(&database, &allowed).await;
        let own = format!("http://{}", server.target().address());
        let bearer = format!("Bearer {token}");
        let cases: [(&str, &str, u16); 13] = [
            ("Sec-WebSocket-Protocol", "raidhall.v9.json", 400),
            (
                "Sec-WebSocket-Protocol",
                "raidhall.v9.json, raidhall.v1.json",
                101,
            ),
            ("Origin", "https://evil.example", 403),
            ("Origin", "null", 403),
            ("Origin", "https://play.example", 101),
            ("Origin", &own, 101),
            ("Sec-WebSocket-Key", "short", 400),
            ("Sec-WebSocket-Key", "", 400),
            ("Sec-WebSocket-Version", "8", 400),
            ("Upgrade", "h2c", 400),
            ("Connection", "keep-alive", 400),
            ("Authorization", "Bearer no.such.token", 401),
            ("Authorization", &bearer, 101),
        ];
        for (name, value, status) in cases {
            let headers = [&UPGRADE_HEADERS[..], &[(name, value)]].concat();
            let (head, mut raw) = RawSocket::upgrade(server.target(), &headers).await;
            assert_eq!(head.status, status, "{name}: {value}");
            assert_eq!(head.header("sec-websocket-extensions"), None);
            if name == "Authorization" && status == 101 {
                assert_eq!(
                    next_message(&mut raw).await["t"],
                    "welcome",
                    "a bearer token is welcomed without a hello"
                );
            }
            if status == 101 {
                // Connections one after the other: each gives its permit back.
                raw.send_frame(CLOSE, &1000_u16.to_be_bytes()).await;
                assert_eq!(raw.close_code().await, 1000);
                while raw.next_frame().await.is_some() {}
            }
        }
        let mut open = Vec::new();
        let refused = loop {
            let (head, raw) = RawSocket::upgrade(server.target(), &UPGRADE_HEADERS).await;
            if head.status != 101 {
                break head;
            }
            open.push(raw);
        };
        assert_eq!((refused.status, open.len()), (503, 3));
        let after = refused.header("retry-after").expect("Retry-After");
        assert!(after.parse::<u64>().is_ok_and(|secs| secs > 0), "{after}");
        open.clear();
        while RawSocket::upgrade(server.target(), &UPGRADE_HEADERS)
            .await
            .0
            .status
            != 101
        {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    })
    .await;
}

#[tokio::test]
async fn a_faulty_message_gets_every_fault_and_keeps_the_connection_open() {
    with_timeout(async {
        let database = TestDatabase::sqlite().await;
        let (server, group, token) = start_raid(&database, &[]).await;
        let mut raw = open_socket(&server, &token).await;
        let raid = group.raid;
        let cases = [
            (json!({"t": "no_such", "id": 1}), json!(["t"])),
            (json!({"t": "watch"}), json!(["raid"])),
            (json!({"t": "watch", "raid": -7, "since": "x"}), json!(["raid", "since"])),
            (json!({"t": "do", "id": 5}), json!(["raid", "cmd"])),
            (json!({"t": "do", "op": "a b", "raid": 0, "cmd": {"type": "say"}}), json!(["id", "raid", "op", "text"])),
            (json!({"t": "do", "id": 6, "raid": raid, "cmd": {"type": "fly"}}), json!(["type"])),
            (json!({"t": "do", "id": 7, "raid": raid, "cmd": {"type": "add_task", "title": "", "xp": 0, "minutes": -1}}),
                json!(["title", "xp", "minutes"])),
            (json!({"t": "signal", "raid": raid, "kind": "UPPER", "data": 1}), json!(["kind"])),
            (json!({"t": "signal", "raid": raid, "kind": "emote", "data": "x".repeat(2000)}), json!(["data"])),
        ];
        for (message, named) in cases {
            raw.send_frame(TEXT, message.to_string().as_bytes()).await;
            let answer = next_message(&mut raw).await;
            assert_eq!((&answer["t"], &answer["re"]), (&json!("error"), &message["t"]), "{answer}");
            let error = &answer["error"];
            assert_eq!((&error["type"], &error["retry"]), (&json!("invalid"), &json!(false)), "{answer}");
            let fields: Vec<_> = error["fields"].as_array().expect("fields").iter().map(|f| &f["field"]).collect();
            assert_eq!(json!(fields), named, "{message}");
        }
        raw.send_frame(TEXT, json!({"t": "watch", "raid": 999_999, "id": 8}).to_string().as_bytes()).await;
        let answer = next_message(&mut raw).await;
        assert_eq!((&answer["error"]["type"], &answer["id"]), (&json!("not_found"), &json!(8)));
        raw.send_frame(TEXT, json!({"t": "watch", "raid": raid, "colour": "ignored"}).to_string().as_bytes()).await;
        assert_eq!(next_message(&mut raw).await["t"], "snapshot");
    })
    .await;
}

#[tokio::test]
async fn pings_get_pongs_with_the_same_payload_even_before_hello() {
    with_timeout(async {
        let database = TestDatabase::sqlite().await;
        let (server, _, token) = start_raid(&database, &[]).await;
        for mut raw in [
            RawSocket::open(server.target(), JSON).await,
            open_socket(&server, &token).await,
        ] {
            for payload in [&b""[..], b"here?", &[0xff; 125]] {
                raw.send_frame(PING, payload).await;
                assert_eq!(raw.next_frame().await, Some((PONG, payload.to_vec())));
            }
        }
    })
    .await;
}

#[tokio::test]
async fn two_silent_heartbeats_close_with_4201_unless_a_pong_arrives() {
    with_timeout(async {
        let database = TestDatabase::sqlite().await;
        let (server, _, token) = start_raid(&database, &[("LIMITS__HEARTBEAT_MS", "300")]).await;
        let mut silent = open_socket(&server, &token).await;
        let mut beats =
            TestSocket::connect_authenticated(server.target(), Codec::Json, &token).await;
        let code = async {
            let mut seen = Vec::new();
            loop {
                match silent.next_frame().await.expect("a Close frame at least") {
                    (CLOSE, payload) => break (u16::from_be_bytes([payload[0], payload[1]]), seen),
                    (opcode, _) => seen.push(opcode),
                }
            }
        };
        let alive = async {
            for _ in 0..8 {
                beats.next_message().await; // answers pings by itself
            }
        };
        let ((code, seen), ()) = tokio::join!(code, alive);
        assert_eq!(code, 4201);
        assert!(
            seen.contains(&PING) && seen.contains(&TEXT),
            "a ping and a beat were sent: {seen:?}"
        );
    })
    .await;
}

#[tokio::test]
async fn too_many_messages_are_refused_and_a_flood_is_closed_with_4101() {
    with_timeout(async {
        let database = TestDatabase::sqlite().await;
        let (server, group, token) =
            start_raid(&database, &[("LIMITS__COMMANDS_PER_SECOND", "5")]).await;
        let mut raw = open_socket(&server, &token).await;
        let message = json!({"t": "unwatch", "raid": group.raid}).to_string();
        for _ in 0..40 {
            raw.send_frame(TEXT, message.as_bytes()).await;
        }
        let mut limited = 0;
        for _ in 0..40 {
            let answer = next_message(&mut raw).await;
            if answer["t"] == "error" {
                let error = &answer["error"];
                assert_eq!(error["type"], json!(ErrorType::RateLimited.as_str()));
                assert!(
                    error["retry"] == true
                        && error["retry_after_ms"].as_u64().is_some_and(|ms| ms > 0),
                    "{error}"
                );
                limited += 1;
            }
        }
        assert!((20..40).contains(&limited), "{limited} of 40");
        // On a slow machine a message is accepted now and then, which restarts the count of refused
        // ones; there are enough to exceed the limit on frames instead.
        for _ in 0..2_000 {
            raw.send_frame(TEXT, message.as_bytes()).await;
        }
        assert_eq!(raw.close_code().await, 4101);
    })
    .await;
}

#[tokio::test]
async fn large_messages_are_charged_by_their_bytes_and_are_not_refused() {
    with_timeout(async {
        let database = TestDatabase::sqlite().await;
        let (server, group, token) =
            start_raid(&database, &[("LIMITS__COMMANDS_PER_SECOND", "5")]).await;
        let mut raw = open_socket(&server, &token).await;
        let large = json!({"t": "unwatch", "raid": group.raid, "x": "x".repeat(16_000)});
        let small = json!({"t": "unwatch", "raid": group.raid});
        for message in [&large, &large, &small, &small, &small, &small] {
            raw.send_frame(TEXT, message.to_string().as_bytes()).await;
        }
        let mut answers = Vec::new();
        for _ in 0..6 {
            answers.push(next_message(&mut raw).await);
        }
        assert_eq!(answers[0]["t"], "unwatched");
        assert_eq!(answers[1]["t"], "unwatched");
        let limited = |answer: &Value| answer["error"]["type"] == "rate_limited";
        assert!(answers[2..].iter().any(limited), "{answers:?}");
    })
    .await;
}

#[tokio::test]
async fn a_connection_that_never_finishes_its_request_is_dropped() {
    with_timeout(async {
        let database = TestDatabase::sqlite().await;
        let (server, _, _) = start_raid(&database, &[("LIMITS__HEADER_TIMEOUT_MS", "400")]).await;
        for beginning in ["", "GET /api/v1/ws HTTP/1.1\r\nHost: x\r\n"] {
            let mut raw = RawSocket::connect(server.target()).await;
            raw.send_bytes(beginning.as_bytes()).await;
            raw.read_to_end().await;
        }
    })
    .await;
}

#[tokio::test]
async fn a_hello_sent_together_with_the_upgrade_is_read() {
    with_timeout(async {
        let database = TestDatabase::sqlite().await;
        let (server, group, token) = start_raid(&database, &[]).await;
        let mut raw = RawSocket::connect(server.target()).await;
        let lines: String = UPGRADE_HEADERS
            .iter()
            .map(|(name, value)| format!("{name}: {value}\r\n"))
            .collect();
        let mut bytes = format!("GET /api/v1/ws HTTP/1.1\r\nHost: x\r\n{lines}\r\n").into_bytes();
        for message in [
            json!({"t": "hello", "token": token}),
            json!({"t": "watch", "raid": group.raid}),
        ] {
            bytes.extend(encode_frame(
                0x80 | TEXT,
                Some([9; 4]),
                message.to_string().as_bytes(),
            ));
        }
        raw.send_bytes(&bytes).await;
        assert_eq!(raw.read_upgrade_response().await.status, 101);
        assert_eq!(next_message(&mut raw).await["t"], "welcome");
        assert_eq!(next_message(&mut raw).await["t"], "snapshot");
    })
    .await;
}

#[tokio::test]
async fn fragmented_and_bytewise_messages_are_decoded() {
    with_timeout(async {
        let database = TestDatabase::sqlite().await;
        let (server, group, token) = start_raid(&database, &[]).await;
        let mut raw = open_socket(&server, &token).await;
        let message = json!({"t": "watch", "raid": group.raid}).to_string();
        let (begin, rest) = message.as_bytes().split_at(5);
        let (middle, end) = rest.split_at(3);
        raw.send_bytes(&encode_frame(TEXT, Some([1, 2, 3, 4]), begin))
            .await;
        raw.send_frame(PING, b"between").await;
        assert_eq!(raw.next_frame().await, Some((PONG, b"between".to_vec())));
        raw.send_bytes(&encode_frame(0, Some([5, 6, 7, 8]), middle))
            .await;
        for byte in encode_frame(0x80, Some([0; 4]), end) {
            raw.send_bytes(&[byte]).await;
            tokio::task::yield_now().await;
        }
        assert_eq!(next_message(&mut raw).await["t"], "snapshot");
        // The fragments of a message that grows too large.
        raw.send_bytes(&encode_frame(TEXT, Some([1; 4]), &[b' '; 10_000]))
            .await;
        raw.send_bytes(&encode_frame(0, Some([1; 4]), &[b' '; 10_000]))
            .await;
        assert_eq!(raw.close_code().await, 1009);
    })
    .await;
}

/// Nesting that makes a careless decoder overflow its stack or its memory.
#[tokio::test]
async fn nesting_bombs_close_only_their_own_connection() {
    with_timeout(async {
        let database = TestDatabase::sqlite().await;
        let (mut server, group, token) = start_raid(&database, &[]).await;
        let mut healthy =
            TestSocket::connect_authenticated(server.target(), Codec::Json, &token).await;
        healthy.watch(group.raid, None).await;
        let memory = server.usage().rss_bytes;
        let mut sealed = br#"{"t":"beat","x":"#.to_vec();
        sealed.extend([b'['; 15_000]);
        let text: [&[u8]; 2] = [&[b'['; 16_000], &sealed];
        for bomb in text {
            let mut raw = RawSocket::open(server.target(), JSON).await;
            raw.send_frame(TEXT, bomb).await;
            // Whatever it contains, the message is not a hello.
            assert!(matches!(raw.close_code().await, 4000 | 4001));
        }
        // {"t": "beat", "x": …} with nested arrays, nested maps, and lengths that exceed the
        // message.
        let open = [&[0x82, 0xa1, b't', 0xa4][..], b"beat", &[0xa1, b'x']].concat();
        let binary: [Vec<u8>; 6] = [
            vec![0x91; 16_000],
            [&open[..], &[0x91; 16_000]].concat(),
            [&open[..], &[0x81, 0xa1, b'x'].repeat(5_000)].concat(),
            [&open[..], &[0xdd, 0xff, 0xff, 0xff, 0xff]].concat(),
            [&open[..], &[0xc6, 0xff, 0xff, 0xff, 0xff, 1, 2, 3]].concat(),
            vec![0xdf, 0xff, 0xff, 0xff, 0xff, 0xa1, b't', 0xa1, b'x'],
        ];
        for bomb in binary {
            let mut raw = RawSocket::open(server.target(), MSGPACK).await;
            raw.send_frame(BINARY, &bomb).await;
            assert!(
                matches!(raw.close_code().await, 4000 | 4001),
                "{:x?}",
                &bomb[..12.min(bomb.len())]
            );
        }
        assert!(server.is_running());
        let now = server.usage().rss_bytes;
        assert!(now < memory + (32 << 20), "{now} bytes, before {memory}");
        healthy.say(group.raid, "still served").await;
    })
    .await;
}
