//! Clients that send without end, below the level of messages too, and what becomes of the polite ones beside them.

use crate::bounded;
use crate::party::{Party, long_raid};
use crate::process::{Server, Site};
use crate::raw::{CLOSE, PING, Raw, TEXT, frame};
use raidhall_protocol::ErrorType;
use serde_json::{Value, json};

/// The default, which other tests raise.
const DEFAULTS: [(&str, &str); 2] =
    [("LIMITS__COMMANDS_PER_SECOND", "20"), ("LIMITS__BYTES_PER_SECOND", "524288")];
/// An empty fragment that goes on with a message and does not end it.
const EMPTY_FRAGMENT: u8 = 0;

async fn greeted(server: &Server, token: &str) -> Raw {
    let mut raw = Raw::open(server.target(), "raidhall.v1.json").await;
    raw.frame(TEXT, json!({"t": "hello", "token": token}).to_string().as_bytes()).await;
    raw
}

/// The errors that came before the Close frame, and its code.
async fn told(raw: &mut Raw) -> (Vec<Value>, u16) {
    let mut errors = Vec::new();
    loop {
        match raw.next().await.expect("a Close frame before the end") {
            (TEXT, payload) => {
                let message: Value = serde_json::from_slice(&payload).expect("JSON");
                if message["t"] == "error" {
                    errors.push(message);
                }
            }
            (CLOSE, payload) => return (errors, u16::from_be_bytes([payload[0], payload[1]])),
            _ => {}
        }
    }
}

#[tokio::test]
async fn pings_and_empty_fragments_without_end_are_told_so_and_closed_with_4101() {
    bounded(async {
        let site = Site::sqlite().await;
        let server = site.start_with(&DEFAULTS).await;
        let party = Party::gather(server.target(), 1, &long_raid(2)).await;
        let token = party.witness().await.access_token;
        let begun = frame(TEXT, Some([1; 4]), b"{");
        let fragments = [begun, frame(EMPTY_FRAGMENT, Some([1; 4]), b"").repeat(100_000)].concat();
        let pings = frame(0x80 | PING, Some([1; 4]), b"").repeat(100_000);
        let flood = async |bytes: Vec<u8>| {
            let mut raw = greeted(&server, &token).await;
            raw.bytes(&bytes).await;
            let (errors, code) = told(&mut raw).await;
            assert_eq!(code, 4101);
            assert!((1..=10).contains(&errors.len()), "{errors:?}");
            for error in errors {
                assert_eq!(error["re"], "frames");
                assert_eq!(error["error"]["type"], json!(ErrorType::RateLimited.as_str()));
                assert!(error["error"]["retry_after_ms"].as_u64().is_some_and(|ms| ms > 0), "{error}");
            }
        };
        tokio::join!(flood(fragments), flood(pings));
    })
    .await;
}
