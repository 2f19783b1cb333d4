//! Decodes the server's frames, once for all clients that receive the same bytes.
//!
//! A server encodes an event once per codec, so a hundred watchers receive a hundred equal frames.
//! Decoding each of them would make the load tester slower than the server that it tests. Equal
//! bytes decode equally, so the cache hides nothing: a frame that differs in one bit is another
//! frame.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use raidhall_protocol::{Codec, ServerMessage};

/// Frames that one generation of the cache holds; there are two generations.
const FRAMES_PER_GENERATION: usize = 256;
const EXCERPT_CHARS: usize = 200;

/// A decoder that caches the latest frames and their messages.
#[derive(Debug, Default)]
pub struct Decoder {
    cache: Mutex<FrameCache>,
}

#[derive(Debug, Default)]
struct FrameCache {
    current: HashMap<Box<[u8]>, Arc<ServerMessage>>,
    previous: HashMap<Box<[u8]>, Arc<ServerMessage>>,
}

/// A frame that is not a message of the protocol.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnreadableFrame {
    /// The decoding error and the beginning of the frame.
    pub text: String,
    /// Whether the frame's type is `error`.
    pub is_error: bool,
}

impl Decoder {
    /// Returns a decoder with an empty cache.
    pub fn new() -> Arc<Decoder> {
        Arc::default()
    }

    /// Decodes a frame, or returns the message decoded from equal bytes before.
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
        // An ack or a welcome is for one client only, so caching it saves nothing.
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
    fn a_frame_of_an_unknown_type_is_reported_as_unreadable() {
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
