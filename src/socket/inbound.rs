//! The receiving half of a connection.
//!
//! tungstenite reads through an adapter that throws away what it writes: the pongs and close replies that it makes by
//! itself could land in the middle of a frame of ours. The connection answers pings and closes, through its one
//! writer.

use crate::listener::Stream;
use bytes::Bytes;
use futures_util::StreamExt;
use raidhall_protocol::{CloseCode, Codec};
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf, ReadHalf};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::error::{CapacityError, Error, ProtocolError};
use tokio_tungstenite::tungstenite::protocol::{Message, Role, WebSocketConfig};

/// What an idle connection keeps for reading; tungstenite's default is 128 KiB.
const READ_BUFFER: usize = 1_024;

/// What came in.
pub(super) enum Received {
    /// A message in the connection's codec.
    Message(Bytes),
    /// To be answered with the same payload.
    Ping(Bytes),
    /// A sign of life, and no more.
    Pong,
    /// The connection must end with this code.
    Fault(CloseCode),
    /// The client says goodbye, or is gone without a word.
    Gone,
}

pub(super) struct Inbound {
    socket: WebSocketStream<ReadSide>,
    codec: Codec,
}

impl Inbound {
    /// Reads `first`, then `half`.
    pub(super) async fn new(
        half: ReadHalf<Stream>,
        first: Bytes,
        codec: Codec,
        message_bytes: usize,
    ) -> Self {
        let config = WebSocketConfig::default()
            .read_buffer_size(READ_BUFFER)
            .write_buffer_size(0)
            .max_write_buffer_size(READ_BUFFER)
            .max_message_size(Some(message_bytes))
            .max_frame_size(Some(message_bytes));
        let side = ReadSide { half, received: first.len() as u64 };
        let socket =
            WebSocketStream::from_partially_read(side, first.to_vec(), Role::Server, Some(config)).await;
        Self { socket, codec }
    }

    /// The next thing that comes in. May be dropped at any time without losing anything.
    pub(super) async fn next(&mut self) -> Received {
        match (self.socket.next().await, self.codec) {
            (Some(Ok(Message::Text(text))), Codec::Json) => Received::Message(text.into()),
            (Some(Ok(Message::Binary(bytes))), Codec::MessagePack) => Received::Message(bytes),
            (Some(Ok(Message::Text(_) | Message::Binary(_) | Message::Frame(_))), _) => {
                Received::Fault(CloseCode::BadMessage)
            }
            (Some(Ok(Message::Ping(payload))), _) => Received::Ping(payload),
            (Some(Ok(Message::Pong(_))), _) => Received::Pong,
            (Some(Ok(Message::Close(_))) | None, _) => Received::Gone,
            (Some(Err(error)), _) => fault(&error),
        }
    }

    /// How many bytes have come in so far.
    pub(super) fn received(&self) -> u64 {
        self.socket.get_ref().received
    }

    /// Reads and drops everything until the client is gone.
    pub(super) async fn discard(&mut self) {
        let mut sink = [0; 512];
        while self.socket.get_mut().half.read(&mut sink).await.is_ok_and(|count| count > 0) {}
    }
}

fn fault(error: &Error) -> Received {
    match error {
        Error::Capacity(CapacityError::MessageTooLong { .. }) => Received::Fault(CloseCode::MessageTooBig),
        Error::Protocol(ProtocolError::ResetWithoutClosingHandshake) => Received::Gone,
        Error::Protocol(_) | Error::Capacity(_) => Received::Fault(CloseCode::ProtocolError),
        Error::Utf8(_) => Received::Fault(CloseCode::InvalidPayload),
        _ => Received::Gone,
    }
}

/// Counts what is read; drops what is written.
struct ReadSide {
    half: ReadHalf<Stream>,
    received: u64,
}

impl AsyncRead for ReadSide {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let polled = Pin::new(&mut self.half).poll_read(cx, buffer);
        self.received += (buffer.filled().len() - before) as u64;
        polled
    }
}

impl AsyncWrite for ReadSide {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
