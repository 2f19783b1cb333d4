//! Frames: messages as the bytes that are sent, encoded once and shared. A frame is either a whole
//! WebSocket frame, which a server sends unmasked and identical to every client (RFC 6455 section
//! 5.2), or a Server-Sent Event.

mod event_stream;

use std::sync::OnceLock;

use bytes::{BufMut, Bytes, BytesMut};
use event_stream::EventHeader;
pub use event_stream::{HEARTBEAT, close_event};
use raidhall_protocol::{CloseCode, Codec, ServerMessage};

const FIN: u8 = 0x80;
const TEXT: u8 = 0x1;
const BINARY: u8 = 0x2;
const CLOSE: u8 = 0x8;
const PING: u8 = 0x9;
const PONG: u8 = 0xA;

/// How a client receives messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    /// WebSocket frames with messages of one codec.
    WebSocket(Codec),
    /// Server-Sent Events with messages in JSON.
    EventStream,
}

impl From<Codec> for Encoding {
    fn from(codec: Codec) -> Encoding {
        Encoding::WebSocket(codec)
    }
}

/// Encodes a message as one frame.
pub fn encode(encoding: impl Into<Encoding>, message: &ServerMessage) -> Bytes {
    match encoding.into() {
        Encoding::WebSocket(codec) => {
            let opcode = match codec {
                Codec::Json => TEXT,
                Codec::MessagePack => BINARY,
            };
            websocket_frame(opcode, &codec.encode(message))
        }
        Encoding::EventStream => event_stream::encode_event(
            EventHeader::from_message(message),
            &Codec::Json.encode(message),
        ),
    }
}

/// Returns a frame that answers a message with this `id`: the same message with the `id` behind its
/// `t`. So a frame without an `id` is encoded once for all clients. An event stream has no requests.
pub fn with_id(frame: Bytes, encoding: Encoding, id: Option<u64>) -> Bytes {
    let (Encoding::WebSocket(codec), Some(id)) = (encoding, id) else {
        return frame;
    };
    let message = frame_payload(&frame);
    let mut echoed = Vec::with_capacity(message.len() + 24);
    // Encoded messages begin with `t`, a short text without a comma, and have more fields.
    match codec {
        Codec::Json => {
            let end_of_t = message.iter().position(|byte| *byte == b',');
            let (t, rest) = message.split_at(end_of_t.expect("more fields"));
            echoed.extend_from_slice(t);
            echoed.extend_from_slice(format!(",\"id\":{id}").as_bytes());
            echoed.extend_from_slice(rest);
        }
        Codec::MessagePack => {
            // A map of fewer than 15 pairs; the first one is "t" and a text of fewer than 32 bytes.
            let text_bytes = usize::from(message[3] & 0x1f);
            let (t, rest) = message.split_at(4 + text_bytes);
            echoed.push(t[0] + 1);
            echoed.extend_from_slice(&t[1..]);
            rmp_serde::encode::write(&mut echoed, "id").expect("a text is encoded");
            rmp_serde::encode::write(&mut echoed, &id).expect("a number is encoded");
            echoed.extend_from_slice(rest);
        }
    }
    websocket_frame(frame[0] & 0x0f, &echoed)
}

/// Returns a ping frame without a payload.
pub const fn ping() -> Bytes {
    Bytes::from_static(&[FIN | PING, 0])
}

/// Returns a pong frame that answers a ping. The payload is at most 125 bytes, like that of every
/// control frame.
pub fn pong(payload: &[u8]) -> Bytes {
    websocket_frame(PONG, payload)
}

/// Returns a close frame whose code says what the client should do.
pub fn close(code: CloseCode) -> Bytes {
    let mut payload = Vec::with_capacity(32);
    payload.put_u16(code.code());
    payload.extend_from_slice(code.as_str().as_bytes());
    websocket_frame(CLOSE, &payload)
}

fn websocket_frame(opcode: u8, payload: &[u8]) -> Bytes {
    let mut frame = BytesMut::with_capacity(payload.len() + 10);
    frame.put_u8(FIN | opcode);
    match payload.len() {
        length @ 0..=125 => frame.put_u8(length as u8),
        length @ 126..=0xFFFF => {
            frame.put_u8(126);
            frame.put_u16(length as u16);
        }
        length => {
            frame.put_u8(127);
            frame.put_u64(length as u64);
        }
    }
    frame.extend_from_slice(payload);
    frame.freeze()
}

/// Returns the payload of a WebSocket frame.
fn frame_payload(frame: &[u8]) -> &[u8] {
    let header = match frame[1] {
        126 => 4,
        127 => 10,
        _ => 2,
    };
    &frame[header..]
}

/// One value for each encoding.
#[derive(Debug, Default)]
pub struct PerEncoding<T>([T; 3]);

impl<T> PerEncoding<T> {
    /// Returns the value for an encoding.
    pub const fn get_mut(&mut self, encoding: Encoding) -> &mut T {
        &mut self.0[match encoding {
            Encoding::WebSocket(codec) => codec as usize,
            Encoding::EventStream => 2,
        }]
    }
}

/// A message that is encoded on demand, at most once per encoding.
pub struct LazyFrames<'a> {
    message: &'a ServerMessage,
    encoded: PerEncoding<Option<Bytes>>,
}

impl<'a> LazyFrames<'a> {
    /// Wraps a message without encoding it.
    pub fn new(message: &'a ServerMessage) -> Self {
        Self {
            message,
            encoded: PerEncoding::default(),
        }
    }

    /// Returns the frame for an encoding, and encodes it on the first request.
    pub fn get(&mut self, encoding: Encoding) -> Bytes {
        self.encoded
            .get_mut(encoding)
            .get_or_insert_with(|| encode(encoding, self.message))
            .clone()
    }
}

/// A message in every encoding, shared by all watches. Event streams are few, so their frame is
/// made on demand.
#[derive(Debug)]
pub struct SharedFrames {
    json: Bytes,
    msgpack: Bytes,
    header: EventHeader,
    stream_event: OnceLock<Bytes>,
}

impl SharedFrames {
    /// Encodes a message in both WebSocket codecs.
    pub fn new(message: &ServerMessage) -> SharedFrames {
        SharedFrames {
            json: self::encode(Codec::Json, message),
            msgpack: self::encode(Codec::MessagePack, message),
            header: EventHeader::from_message(message),
            stream_event: OnceLock::new(),
        }
    }

    /// Returns the frame for an encoding.
    pub fn get(&self, encoding: Encoding) -> &Bytes {
        match encoding {
            Encoding::WebSocket(Codec::Json) => &self.json,
            Encoding::WebSocket(Codec::MessagePack) => &self.msgpack,
            Encoding::EventStream => self
                .stream_event
                .get_or_init(|| event_stream::encode_event(self.header, frame_payload(&self.json))),
        }
    }

    /// Returns the message's size for byte limits: the larger of its two WebSocket frames.
    pub fn accounted_bytes(&self) -> u64 {
        self.json.len().max(self.msgpack.len()) as u64
    }
}

#[cfg(test)]
mod tests;
