//! A connection that fails when its client reads too slowly or begins a request and does not
//! continue, and that tells the end of the client's sending only when its request is answered.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep};

use super::ClientStream;
use super::permits::ConnectionPermit;

/// Lowest rate, in bytes per second, at which a client must read while data waits for it.
const BYTES_PER_SECOND_MIN: u64 = 1024;

/// How long a request's body, which has arrived, may take to be passed on to the handler.
const END_GRACE: Duration = Duration::from_secs(1);

/// The pace that a client must keep.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    /// How long the client may read nothing, or next to nothing, of what is written.
    pub stall_timeout: Duration,
    /// How long a request's head may take to arrive, from its first byte or from the start of the
    /// connection.
    pub head_timeout: Duration,
}

/// A connection that fails when its client does not keep the [`Pace`].
#[derive(Debug)]
pub struct PacedStream {
    stream: ClientStream,
    permit: Option<ConnectionPermit>,
    pace: Pace,
    backlog: Option<Backlog>,
    exchange: Exchange,
    /// When the head of a request must have arrived, while one is arriving.
    head_deadline: Option<Pin<Box<Sleep>>>,
    /// Set when the client has ended its sending; then a request whose body is not passed on yet
    /// counts as cut off.
    end: Option<Pin<Box<Sleep>>>,
}

/// How far a connection's present request is. Cheap to clone: the server and the [`PacedStream`]
/// share it.
#[derive(Debug, Clone, Default)]
pub struct Exchange(Arc<AtomicU8>);

impl Exchange {
    const READING_HEAD: u8 = 0;
    const READING_BODY: u8 = 1;
    const HANDLING: u8 = 2;
    const WRITING: u8 = 3;

    /// Records that a request's head has arrived.
    pub fn end_head(&self) {
        self.0.store(Self::READING_BODY, Ordering::Relaxed);
    }

    /// Records that the whole request has arrived.
    pub fn end_request(&self) {
        self.0.store(Self::HANDLING, Ordering::Relaxed);
    }

    /// Records that the response is ready as a whole, or is a stream without an end.
    pub fn begin_response(&self) {
        self.0.store(Self::WRITING, Ordering::Relaxed);
    }

    /// Records that what there is of a response has been written. Returns whether there was any.
    fn end_response(&self) -> bool {
        let (from, to) = (Self::WRITING, Self::READING_HEAD);
        self.0
            .compare_exchange(from, to, Ordering::Relaxed, Ordering::Relaxed)
            .is_ok()
    }

    fn is_reading_head(&self) -> bool {
        self.0.load(Ordering::Relaxed) == Self::READING_HEAD
    }

    fn is_reading_body(&self) -> bool {
        self.0.load(Ordering::Relaxed) == Self::READING_BODY
    }

    /// Returns whether a request has arrived whose response is not written.
    fn is_answer_due(&self) -> bool {
        self.0.load(Ordering::Relaxed) >= Self::HANDLING
    }
}

/// State while data waits for the client because the system's send buffer is full.
#[derive(Debug)]
struct Backlog {
    taken_bytes: u64,
    next_check: Pin<Box<Sleep>>,
}

/// A connection that was taken back from its [`PacedStream`] after an upgrade.
pub struct ReclaimedStream {
    pub stream: ClientStream,
    /// Permit of the connection, to be held as long as the connection.
    pub permit: Option<ConnectionPermit>,
    /// Bytes that were already read from the connection.
    pub read_ahead: Bytes,
}

impl PacedStream {
    /// Creates a connection whose client has begun to send a request.
    pub fn new(stream: ClientStream, permit: Option<ConnectionPermit>, pace: Pace) -> PacedStream {
        PacedStream {
            stream,
            permit,
            pace,
            backlog: None,
            exchange: Exchange::default(),
            head_deadline: Some(Box::pin(sleep(pace.head_timeout))),
            end: None,
        }
    }

    /// Returns the exchange, for the server to record how far a request is.
    pub fn exchange(&self) -> Exchange {
        self.exchange.clone()
    }

    /// Takes the connection back after an upgrade; `None` if Raidhall's HTTP server did not accept
    /// it.
    pub fn reclaim(upgraded: Upgraded) -> Option<ReclaimedStream> {
        let parts = upgraded.downcast::<TokioIo<PacedStream>>().ok()?;
        let PacedStream { stream, permit, .. } = parts.io.into_inner();
        Some(ReclaimedStream {
            stream,
            permit,
            read_ahead: parts.read_buf,
        })
    }

    fn record_write(
        &mut self,
        polled: Poll<io::Result<usize>>,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        match (polled, &mut self.backlog) {
            (Poll::Pending, _) => self.poll_stall(cx),
            (Poll::Ready(Ok(count)), Some(backlog)) => {
                backlog.taken_bytes += count as u64;
                Poll::Ready(Ok(count))
            }
            (ready, _) => ready,
        }
    }

    /// Returns pending as long as the client reads fast enough.
    fn poll_stall<T>(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<T>> {
        let stall = self.pace.stall_timeout;
        let backlog = self.backlog.get_or_insert_with(|| Backlog {
            taken_bytes: 0,
            next_check: Box::pin(sleep(stall)),
        });
        loop {
            ready!(backlog.next_check.as_mut().poll(cx));
            if backlog.taken_bytes < BYTES_PER_SECOND_MIN * stall.as_secs().max(1) {
                return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
            }
            backlog.taken_bytes = 0;
            backlog.next_check.as_mut().reset(Instant::now() + stall);
        }
    }
}

impl AsyncRead for PacedStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let is_reading_head = self.exchange.is_reading_head();
        if !is_reading_head {
            self.head_deadline = None;
        }
        if self.end.is_none() {
            let filled = buffer.filled().len();
            let polled = Pin::new(&mut self.stream).poll_read(cx, buffer);
            match (polled, &mut self.head_deadline) {
                (Poll::Ready(Ok(())), _) if buffer.filled().len() == filled => {
                    self.end = Some(Box::pin(sleep(END_GRACE)));
                }
                (Poll::Ready(Ok(())), None) if is_reading_head => {
                    self.head_deadline = Some(Box::pin(sleep(self.pace.head_timeout)));
                    return Poll::Ready(Ok(()));
                }
                (Poll::Pending, Some(deadline)) => {
                    ready!(deadline.as_mut().poll(cx));
                    return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
                }
                (other, _) => return other,
            }
        }
        // A client may end its sending after its last request. The server would give that request
        // up, so it learns of the end only once the response is written.
        if self.exchange.is_answer_due() {
            return Poll::Pending;
        }
        let is_reading_body = self.exchange.is_reading_body();
        match &mut self.end {
            Some(end) if is_reading_body => end.as_mut().poll(cx).map(Ok),
            _ => Poll::Ready(Ok(())),
        }
    }
}

impl AsyncWrite for PacedStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.record_write(polled, cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write_vectored(cx, slices);
        self.record_write(polled, cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    /// Called when everything is written: no data waits for the client any more.
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.backlog = None;
        if self.exchange.end_response() && self.end.is_some() {
            cx.waker().wake_by_ref();
        }
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
