//! Messages as the bytes that go out, built once and shared: whole WebSocket frames, which a server sends unmasked and
//! alike to every client (RFC 6455 section 5.2), or events of a stream.

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

/// How a client gets its messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    /// As frames of a WebSocket.
    WebSocket(Codec),
    /// As Server-Sent Events.
    EventStream,
}

impl From<Codec> for Encoding {
    fn from(codec: Codec) -> Encoding {
        Encoding::WebSocket(codec)
    }
}

/// A message of the contract in a form.
pub fn encode(form: impl Into<Encoding>, message: &ServerMessage) -> Bytes {
    match form.into() {
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

/// A ping without a payload.
pub const fn ping() -> Bytes {
    Bytes::from_static(&[FIN | PING, 0])
}

/// The answer to a ping; its payload is at most 125 bytes, as every control frame's.
pub fn pong(payload: &[u8]) -> Bytes {
    websocket_frame(PONG, payload)
}

/// The end, with the code that tells the client what to do.
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

/// What a frame carries.
fn frame_payload(frame: &[u8]) -> &[u8] {
    let header = match frame[1] {
        126 => 4,
        127 => 10,
        _ => 2,
    };
    &frame[header..]
}

/// One thing for each form.
#[derive(Debug, Default)]
pub struct PerEncoding<T>([T; 3]);

impl<T> PerEncoding<T> {
    /// The one for this form.
    pub const fn get_mut(&mut self, form: Encoding) -> &mut T {
        &mut self.0[match form {
            Encoding::WebSocket(codec) => codec as usize,
            Encoding::EventStream => 2,
        }]
    }
}

/// One message, encoded at most once per form, when somebody needs it.
pub struct LazyFrames<'a> {
    message: &'a ServerMessage,
    encoded: PerEncoding<Option<Bytes>>,
}

impl<'a> LazyFrames<'a> {
    /// A message that is not encoded yet.
    pub fn new(message: &'a ServerMessage) -> Self {
        Self {
            message,
            encoded: PerEncoding::default(),
        }
    }

    /// The bytes in a form.
    pub fn get(&mut self, form: Encoding) -> Bytes {
        self.encoded
            .get_mut(form)
            .get_or_insert_with(|| encode(form, self.message))
            .clone()
    }
}

/// One message in every form, shared by all who watch. Event streams are few: theirs is made when the first needs it.
#[derive(Debug)]
pub struct SharedFrames {
    json: Bytes,
    msgpack: Bytes,
    header: EventHeader,
    stream_event: OnceLock<Bytes>,
}

impl SharedFrames {
    /// Encodes a message once for everybody.
    pub fn new(message: &ServerMessage) -> SharedFrames {
        SharedFrames {
            json: self::encode(Codec::Json, message),
            msgpack: self::encode(Codec::MessagePack, message),
            header: EventHeader::from_message(message),
            stream_event: OnceLock::new(),
        }
    }

    /// The bytes in a form.
    pub fn get(&self, form: Encoding) -> &Bytes {
        match form {
            Encoding::WebSocket(Codec::Json) => &self.json,
            Encoding::WebSocket(Codec::MessagePack) => &self.msgpack,
            Encoding::EventStream => self
                .stream_event
                .get_or_init(|| event_stream::encode_event(self.header, frame_payload(&self.json))),
        }
    }

    /// What the message counts for in limits of bytes: the larger of both codecs.
    pub fn accounted_bytes(&self) -> u64 {
        self.json.len().max(self.msgpack.len()) as u64
    }
}

#[cfg(test)]
mod tests;
