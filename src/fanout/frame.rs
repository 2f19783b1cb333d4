//! Messages as the bytes that go out, built once and shared: whole WebSocket frames, which a server sends unmasked and
//! alike to every client (RFC 6455 section 5.2), or events of a stream.

mod event_stream;

use std::sync::OnceLock;

use bytes::{BufMut, Bytes, BytesMut};
use event_stream::Label;
pub use event_stream::{HEARTBEAT, closing};
use raidhall_protocol::{CloseCode, Codec, ServerMessage};

const FIN: u8 = 0x80;
const TEXT: u8 = 0x1;
const BINARY: u8 = 0x2;
const CLOSE: u8 = 0x8;
const PING: u8 = 0x9;
const PONG: u8 = 0xA;

/// How a client gets its messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// As frames of a WebSocket.
    Frames(Codec),
    /// As Server-Sent Events.
    EventStream,
}

impl From<Codec> for Form {
    fn from(codec: Codec) -> Form {
        Form::Frames(codec)
    }
}

/// A message of the contract in a form.
pub fn message(form: impl Into<Form>, message: &ServerMessage) -> Bytes {
    match form.into() {
        Form::Frames(codec) => {
            let opcode = match codec {
                Codec::Json => TEXT,
                Codec::MessagePack => BINARY,
            };
            frame(opcode, &codec.encode(message))
        }
        Form::EventStream => event_stream::event(Label::of(message), &Codec::Json.encode(message)),
    }
}

/// A ping without a payload.
pub const fn ping() -> Bytes {
    Bytes::from_static(&[FIN | PING, 0])
}

/// The answer to a ping; its payload is at most 125 bytes, as every control frame's.
pub fn pong(payload: &[u8]) -> Bytes {
    frame(PONG, payload)
}

/// The end, with the code that tells the client what to do.
pub fn close(code: CloseCode) -> Bytes {
    let mut payload = Vec::with_capacity(32);
    payload.put_u16(code.code());
    payload.extend_from_slice(code.as_str().as_bytes());
    frame(CLOSE, &payload)
}

fn frame(opcode: u8, payload: &[u8]) -> Bytes {
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
fn payload(frame: &[u8]) -> &[u8] {
    let header = match frame[1] {
        126 => 4,
        127 => 10,
        _ => 2,
    };
    &frame[header..]
}

/// One thing for each form.
#[derive(Debug, Default)]
pub struct ByForm<T>([T; 3]);

impl<T> ByForm<T> {
    /// The one for this form.
    pub const fn get_mut(&mut self, form: Form) -> &mut T {
        &mut self.0[match form {
            Form::Frames(codec) => codec as usize,
            Form::EventStream => 2,
        }]
    }
}

/// One message, encoded at most once per form, when somebody needs it.
pub struct Lazy<'a> {
    message: &'a ServerMessage,
    encoded: ByForm<Option<Bytes>>,
}

impl<'a> Lazy<'a> {
    /// A message that is not encoded yet.
    pub fn new(message: &'a ServerMessage) -> Self {
        Self {
            message,
            encoded: ByForm::default(),
        }
    }

    /// The bytes in a form.
    pub fn get(&mut self, form: Form) -> Bytes {
        self.encoded
            .get_mut(form)
            .get_or_insert_with(|| message(form, self.message))
            .clone()
    }
}

/// One message in every form, shared by all who watch. Event streams are few: theirs is made when the first needs it.
#[derive(Debug)]
pub struct Shared {
    json: Bytes,
    msgpack: Bytes,
    label: Label,
    event: OnceLock<Bytes>,
}

impl Shared {
    /// Encodes a message once for everybody.
    pub fn new(message: &ServerMessage) -> Shared {
        Shared {
            json: self::message(Codec::Json, message),
            msgpack: self::message(Codec::MessagePack, message),
            label: Label::of(message),
            event: OnceLock::new(),
        }
    }

    /// The bytes in a form.
    pub fn get(&self, form: Form) -> &Bytes {
        match form {
            Form::Frames(Codec::Json) => &self.json,
            Form::Frames(Codec::MessagePack) => &self.msgpack,
            Form::EventStream => self
                .event
                .get_or_init(|| event_stream::event(self.label, payload(&self.json))),
        }
    }

    /// What the message counts for in limits of bytes: the larger of both codecs.
    pub fn weight(&self) -> u64 {
        self.json.len().max(self.msgpack.len()) as u64
    }
}

#[cfg(test)]
mod tests;
