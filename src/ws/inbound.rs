//! The receiving half of a connection.
//!
//! tungstenite reads through an adapter that throws away what it writes: the pongs and close replies that it makes by
//! itself could land in the middle of a frame of ours. The connection answers pings and closes, through its one
//! writer.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;
use raidhall_protocol::{CloseCode, Codec};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf, ReadHalf};
use tokio::time::{Instant, Sleep, sleep};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::error::{CapacityError, Error, ProtocolError};
use tokio_tungstenite::tungstenite::protocol::{Message, Role, WebSocketConfig};

use super::receive_meter::{ReadDecision, ReceiveMeter, ReceiveRates};
use crate::net::listener::ClientStream;
use crate::telemetry::ExcessKind;

/// What an idle connection keeps for reading; tungstenite's default is 128 KiB.
const READ_BUFFER_BYTES: usize = 1_024;

/// What is read at most of a client that was told to go.
const DISCARDED_BYTES_MAX: usize = 256 * 1_024;

/// What came in.
pub(super) enum InboundItem {
    /// A message in the connection's codec.
    Message(Bytes),
    /// To be answered with the same payload.
    Ping(Bytes),
    /// A sign of life, and no more.
    Pong,
    /// More than the client may send: nothing is read for so long.
    RateExceeded(ExcessKind, Duration),
    /// The connection must end with this code.
    Violation(CloseCode),
    /// The client says goodbye, or is gone without a word.
    ClientGone,
}

pub(super) struct Inbound {
    socket: WebSocketStream<MeteredReader>,
    codec: Codec,
}

impl Inbound {
    /// Reads `first`, then `half`.
    pub(super) async fn new(
        half: ReadHalf<ClientStream>,
        first: Bytes,
        codec: Codec,
        message_bytes: usize,
        allowance: ReceiveRates,
    ) -> Self {
        let config = WebSocketConfig::default()
            .read_buffer_size(READ_BUFFER_BYTES)
            .write_buffer_size(0)
            .max_write_buffer_size(READ_BUFFER_BYTES)
            .max_message_size(Some(message_bytes))
            .max_frame_size(Some(message_bytes));
        let mut meter = ReceiveMeter::new(allowance);
        let verdict = meter.count(&first, Instant::now());
        let side = MeteredReader {
            half,
            meter,
            pause: ReadPause::from_decision(verdict),
        };
        let socket =
            WebSocketStream::from_partially_read(side, first.to_vec(), Role::Server, Some(config))
                .await;
        Self { socket, codec }
    }

    /// The next thing that comes in. May be dropped at any time without losing anything.
    pub(super) async fn next(&mut self) -> InboundItem {
        let next = poll_fn(|cx| match self.socket.poll_next_unpin(cx) {
            Poll::Ready(next) => Poll::Ready(Ok(next)),
            Poll::Pending => self
                .socket
                .get_mut()
                .pause
                .take_unreported()
                .map_or(Poll::Pending, |excess| Poll::Ready(Err(excess))),
        });
        let next = match next.await {
            Ok(next) => next,
            Err((excess, wait)) => return InboundItem::RateExceeded(excess, wait),
        };
        match (next, self.codec) {
            (Some(Ok(Message::Text(text))), Codec::Json) => InboundItem::Message(text.into()),
            (Some(Ok(Message::Binary(bytes))), Codec::MessagePack) => InboundItem::Message(bytes),
            (Some(Ok(Message::Text(_) | Message::Binary(_) | Message::Frame(_))), _) => {
                InboundItem::Violation(CloseCode::BadMessage)
            }
            (Some(Ok(Message::Ping(payload))), _) => InboundItem::Ping(payload),
            (Some(Ok(Message::Pong(_))), _) => InboundItem::Pong,
            (Some(Ok(Message::Close(_))) | None, _) => InboundItem::ClientGone,
            (Some(Err(error)), _) => classify_error(&error),
        }
    }

    /// How many bytes have come in so far.
    pub(super) fn bytes_received(&self) -> u64 {
        self.socket.get_ref().meter.bytes_received
    }

    /// Reads and drops what the client had under way, until it is gone. One that goes on and on is not read any more, and
    /// waited for as long as the caller likes.
    pub(super) async fn discard(&mut self) {
        let mut sink = vec![0; 2_048]; // not an array, which would be part of every connection's task
        let mut left = DISCARDED_BYTES_MAX;
        while left > 0 {
            match self.socket.get_mut().half.read(&mut sink).await {
                Ok(count @ 1..) => left = left.saturating_sub(count),
                _ => return,
            }
        }
        std::future::pending().await
    }
}

fn classify_error(error: &Error) -> InboundItem {
    match error {
        Error::Capacity(CapacityError::MessageTooLong { .. }) => {
            InboundItem::Violation(CloseCode::MessageTooBig)
        }
        Error::Protocol(ProtocolError::ResetWithoutClosingHandshake) => InboundItem::ClientGone,
        Error::Protocol(_) | Error::Capacity(_) => InboundItem::Violation(CloseCode::ProtocolError),
        Error::Utf8(_) => InboundItem::Violation(CloseCode::InvalidPayload),
        Error::Io(error) if is_flood(error) => InboundItem::Violation(CloseCode::RateLimited),
        _ => InboundItem::ClientGone,
    }
}

/// Meters what is read; drops what is written.
struct MeteredReader {
    half: ReadHalf<ClientStream>,
    meter: ReceiveMeter,
    pause: ReadPause,
}

/// Why and how long the client is not read.
#[derive(Default)]
enum ReadPause {
    #[default]
    None,
    Until {
        sleep: Pin<Box<Sleep>>,
        /// What the client has to be told.
        unreported: Option<(ExcessKind, Duration)>,
    },
    /// For good.
    Flood,
}

impl ReadPause {
    fn from_decision(verdict: ReadDecision) -> ReadPause {
        match verdict {
            ReadDecision::Read => ReadPause::None,
            ReadDecision::Pause(excess, wait) => ReadPause::Until {
                sleep: Box::pin(sleep(wait)),
                unreported: Some((excess, wait)),
            },
            ReadDecision::Flood => ReadPause::Flood,
        }
    }

    fn take_unreported(&mut self) -> Option<(ExcessKind, Duration)> {
        if let ReadPause::Until {
            unreported: untold, ..
        } = self
        {
            untold.take()
        } else {
            None
        }
    }

    fn poll_elapsed(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            ReadPause::None => Poll::Ready(Ok(())),
            ReadPause::Flood => Poll::Ready(Err(io::Error::other(FloodError))),
            ReadPause::Until { sleep, .. } => {
                ready!(sleep.as_mut().poll(cx));
                *self = ReadPause::None;
                Poll::Ready(Ok(()))
            }
        }
    }
}

/// The client never stops.
#[derive(Debug, thiserror::Error)]
#[error("a flood")]
struct FloodError;

fn is_flood(error: &io::Error) -> bool {
    error
        .get_ref()
        .is_some_and(|inner| inner.is::<FloodError>())
}

impl AsyncRead for MeteredReader {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        ready!(self.pause.poll_elapsed(cx))?;
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.half).poll_read(cx, buffer))?;
        let verdict = self.meter.count(&buffer.filled()[before..], Instant::now());
        self.pause = ReadPause::from_decision(verdict);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for MeteredReader {
    fn poll_write(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
