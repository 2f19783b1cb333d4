//! Reading what the server sends, once for all clients that get the same bytes.
//!
//! A server encodes an event once per codec, so a hundred watchers get a hundred equal frames. Decoding each would
//! make the tester slower than what it tests. Equal bytes decode equally, so nothing is hidden by this: a frame that
//! differs in one bit is another frame.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use raidhall_protocol::{Codec, ServerMessage};

/// How many frames one generation remembers; there are two.
const FRAMES_PER_GENERATION: usize = 256;
const EXCERPT_CHARS: usize = 200;

/// Decodes frames and remembers the latest.
#[derive(Debug, Default)]
pub struct Decoder {
    cache: Mutex<FrameCache>,
}

#[derive(Debug, Default)]
struct FrameCache {
    current: HashMap<Box<[u8]>, Arc<ServerMessage>>,
    previous: HashMap<Box<[u8]>, Arc<ServerMessage>>,
}

/// A frame that is no message of the contract.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnreadableFrame {
    /// Its beginning and what is wrong.
    pub text: String,
    /// Whether it called itself an `error`.
    pub is_error: bool,
}

impl Decoder {
    /// Remembers nothing yet.
    pub fn new() -> Arc<Decoder> {
        Arc::default()
    }

    /// Reads a frame.
    pub fn decode(
        &self,
        codec: Codec,
        frame: &[u8],
    ) -> Result<Arc<ServerMessage>, UnreadableFrame> {
        if let Some(known) = self.cache.lock().get(frame) {
            return Ok(known);
        }
        let message = codec
            .decode::<ServerMessage>(frame)
            .map_err(|why| unreadable_frame(codec, frame, &why))?;
        let message = Arc::new(message);
        // Answers are for one client each.
        if !matches!(
            *message,
            ServerMessage::Ack { .. } | ServerMessage::Welcome { .. }
        ) {
            self.cache.lock().insert(frame, &message);
        }
        Ok(message)
    }
}

impl FrameCache {
    fn get(&self, frame: &[u8]) -> Option<Arc<ServerMessage>> {
        self.current
            .get(frame)
            .or_else(|| self.previous.get(frame))
            .cloned()
    }

    fn insert(&mut self, frame: &[u8], message: &Arc<ServerMessage>) {
        if self.current.len() >= FRAMES_PER_GENERATION {
            self.previous = std::mem::take(&mut self.current);
        }
        self.current.insert(frame.into(), Arc::clone(message));
    }
}

fn unreadable_frame(codec: Codec, frame: &[u8], why: &dyn std::error::Error) -> UnreadableFrame {
    let map = codec.decode::<serde_json::Value>(frame).unwrap_or_default();
    let shown = match codec {
        Codec::Json => String::from_utf8_lossy(frame).into_owned(),
        Codec::MessagePack => map.to_string(),
    };
    let shown: String = shown.chars().take(EXCERPT_CHARS).collect();
    UnreadableFrame {
        text: format!("{why}: {shown}"),
        is_error: map.get("t").is_some_and(|t| t == "error"),
    }
}

#[cfg(test)]
mod tests {
    use raidhall_protocol::{Event, EventData, RaidId, Seq, UnixMillis};

    use super::*;

    #[test]
    fn equal_frames_share_a_message_in_both_codecs() {
        let data = EventData::Said {
            text: "on it".to_owned(),
        };
        let event = Event {
            seq: Seq(1),
            at: UnixMillis(5),
            by: None,
            data,
        };
        let message = ServerMessage::Event {
            raid: RaidId::try_from(7_u64).unwrap(),
            event,
        };
        for codec in Codec::ALL {
            let decoder = Decoder::new();
            let frame = codec.encode(&message);
            let first = decoder.decode(codec, &frame).unwrap();
            assert_eq!(*first, message);
            assert!(Arc::ptr_eq(&first, &decoder.decode(codec, &frame).unwrap()));
        }
    }

    #[test]
    fn a_frame_that_is_no_known_message_is_reported_as_such() {
        let decoder = Decoder::new();
        let unknown = decoder
            .decode(Codec::Json, br#"{"t":"surprise"}"#)
            .unwrap_err();
        assert!(!unknown.is_error && unknown.text.contains("surprise"));
        let untyped = decoder
            .decode(Codec::Json, br#"{"t":"error","re":"do","error":"no"}"#)
            .unwrap_err();
        assert!(untyped.is_error);
        assert!(decoder.decode(Codec::MessagePack, &[0xc1]).is_err());
    }
}
