//! Whole WebSocket frames, built once and shared: a server's frames are unmasked and alike for every client
//! (RFC 6455 section 5.2).

use bytes::{BufMut, Bytes, BytesMut};
use raidhall_protocol::{CloseCode, Codec};
use serde::Serialize;

const FIN: u8 = 0x80;
const TEXT: u8 = 0x1;
const BINARY: u8 = 0x2;
const CLOSE: u8 = 0x8;
const PING: u8 = 0x9;
const PONG: u8 = 0xA;

/// A message of the contract as one frame.
pub fn message<T: Serialize>(codec: Codec, message: &T) -> Bytes {
    let opcode = match codec {
        Codec::Json => TEXT,
        Codec::MessagePack => BINARY,
    };
    frame(opcode, &codec.encode(message))
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

/// One message, encoded at most once per codec, when somebody needs it.
pub struct Lazy<'a, T> {
    message: &'a T,
    frames: [Option<Bytes>; 2],
}

impl<'a, T: Serialize> Lazy<'a, T> {
    /// A message that is not encoded yet.
    pub const fn new(message: &'a T) -> Self {
        Self { message, frames: [None, None] }
    }

    /// The frame in a codec.
    pub fn get(&mut self, codec: Codec) -> Bytes {
        let frame = &mut self.frames[codec as usize];
        frame.get_or_insert_with(|| self::message(codec, self.message)).clone()
    }
}

/// One message in both codecs.
#[derive(Debug, Clone)]
pub struct Frames {
    json: Bytes,
    msgpack: Bytes,
}

impl Frames {
    /// Encodes a message once for everybody.
    pub fn new<T: Serialize>(message: &T) -> Frames {
        Frames {
            json: self::message(Codec::Json, message),
            msgpack: self::message(Codec::MessagePack, message),
        }
    }

    /// The frame in a codec.
    pub const fn get(&self, codec: Codec) -> &Bytes {
        match codec {
            Codec::Json => &self.json,
            Codec::MessagePack => &self.msgpack,
        }
    }

    /// What the message counts for in limits of bytes: the larger of the two.
    pub fn weight(&self) -> u64 {
        self.json.len().max(self.msgpack.len()) as u64
    }
}
