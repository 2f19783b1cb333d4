//! A connection that fails when its client reads too slowly.

use std::io::{self, IoSlice};
use std::pin::Pin;
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

/// A connection that fails when its client reads nothing, or next to nothing, for `stall_timeout`.
#[derive(Debug)]
pub struct PacedStream {
    stream: ClientStream,
    permit: Option<ConnectionPermit>,
    stall_timeout: Duration,
    backlog: Option<Backlog>,
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
    /// Creates a connection that fails after the client has read nothing for `stall_timeout`.
    pub const fn new(
        stream: ClientStream,
        permit: Option<ConnectionPermit>,
        stall_timeout: Duration,
    ) -> PacedStream {
        PacedStream {
            stream,
            permit,
            stall_timeout,
            backlog: None,
        }
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
        let stall = self.stall_timeout;
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
        Pin::new(&mut self.stream).poll_read(cx, buffer)
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
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
