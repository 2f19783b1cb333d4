//! The receiving half of a WebSocket connection.
//!
//! tungstenite reads through an adapter that discards its writes: the pongs and close replies that
//! it sends by itself could land in the middle of another frame. The connection answers pings and
//! closes through its one writer, [`Outbound`](super::outbound::Outbound).

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
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode as FrameCloseCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Message, Role, WebSocketConfig};

use super::receive_meter::{ReadDecision, ReceiveMeter, ReceiveRates};
use crate::net::listener::ClientStream;
use crate::telemetry::ExcessKind;

/// The read buffer that even an idle connection keeps; tungstenite's default is 128 KiB.
const READ_BUFFER_BYTES: usize = 1_024;

/// The most bytes that are read and discarded after the server has closed the connection.
const DISCARDED_BYTES_MAX: usize = 256 * 1_024;

/// An item received from the client.
pub(super) enum InboundItem {
    /// A message in the connection's codec.
    Message(Bytes),
    /// A ping, to be answered with the same payload.
    Ping(Bytes),
    /// A pong: shows that the client is alive.
    Pong,
    /// The client exceeded a receive limit; nothing is read for this long.
    RateExceeded(ExcessKind, Duration),
    /// A violation of the protocol or of a limit; the connection must be closed with this code.
    Violation(CloseCode),
    /// The client sent a Close frame, or the transport ended or failed.
    ClientGone,
}

pub(super) struct Inbound {
    socket: WebSocketStream<MeteredReader>,
    codec: Codec,
}

impl Inbound {
    /// Creates the receiving half. It reads `first`, the bytes that arrived with the upgrade
    /// request, then `half`.
    pub(super) async fn new(
        half: ReadHalf<ClientStream>,
        first: Bytes,
        codec: Codec,
        message_bytes: usize,
        rates: ReceiveRates,
    ) -> Self {
        let config = WebSocketConfig::default()
            .read_buffer_size(READ_BUFFER_BYTES)
            .write_buffer_size(0)
            .max_write_buffer_size(READ_BUFFER_BYTES)
            .max_message_size(Some(message_bytes))
            .max_frame_size(Some(message_bytes));
        let mut meter = ReceiveMeter::new(rates);
        let decision = meter.count(&first, Instant::now());
        let reader = MeteredReader {
            half,
            meter,
            pause: ReadPause::from_decision(decision),
        };
        let socket = WebSocketStream::from_partially_read(
            reader,
            first.to_vec(),
            Role::Server,
            Some(config),
        )
        .await;
        Self { socket, codec }
    }

    /// Waits for the next item. Cancel safe: a dropped call loses nothing.
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
            // tungstenite has replaced a code that no client may send, such as 1006.
            (
                Some(Ok(Message::Close(Some(CloseFrame {
                    code: FrameCloseCode::Protocol,
                    ..
                })))),
                _,
            ) => InboundItem::Violation(CloseCode::ProtocolError),
            (Some(Ok(Message::Close(_))) | None, _) => InboundItem::ClientGone,
            (Some(Err(error)), _) => classify_error(&error),
        }
    }

    /// Returns how many bytes have been received so far.
    pub(super) fn bytes_received(&self) -> u64 {
        self.socket.get_ref().meter.bytes_received
    }

    /// Reads and discards what the client still sends, until it is gone. After
    /// [`DISCARDED_BYTES_MAX`] it stops reading and pends forever; the caller must set a timeout.
    pub(super) async fn discard(&mut self) {
        // On the heap: an array would be part of every connection's task.
        let mut sink = vec![0; 2_048];
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

/// An adapter between tungstenite and the transport: meters what is read and discards what is
/// written.
struct MeteredReader {
    half: ReadHalf<ClientStream>,
    meter: ReceiveMeter,
    pause: ReadPause,
}

/// The pause in reading from a client that exceeded a receive limit.
#[derive(Default)]
enum ReadPause {
    #[default]
    None,
    Until {
        sleep: Pin<Box<Sleep>>,
        /// The limit and the pause, until they have been reported to the client.
        unreported: Option<(ExcessKind, Duration)>,
    },
    /// The client never stops exceeding its limits; every read fails.
    Flood,
}

impl ReadPause {
    fn from_decision(decision: ReadDecision) -> ReadPause {
        match decision {
            ReadDecision::Read => ReadPause::None,
            ReadDecision::Pause(excess, wait) => ReadPause::Until {
                sleep: Box::pin(sleep(wait)),
                unreported: Some((excess, wait)),
            },
            ReadDecision::Flood => ReadPause::Flood,
        }
    }

    fn take_unreported(&mut self) -> Option<(ExcessKind, Duration)> {
        if let ReadPause::Until { unreported, .. } = self {
            unreported.take()
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

/// The read error of a client that never stops exceeding its limits.
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
        let decision = self.meter.count(&buffer.filled()[before..], Instant::now());
        self.pause = ReadPause::from_decision(decision);
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
