//! The sending half of a connection: whole frames, many in one write.

use crate::listener::Stream;
use crate::telemetry::metrics;
use bytes::{Buf, Bytes};
use std::collections::VecDeque;
use std::io::{self, IoSlice};
use tokio::io::{AsyncWriteExt, WriteHalf};
use tokio::time::Instant;

/// Frames in one write at most.
const SLICES: usize = 32;
/// What an empty queue keeps at most.
const QUEUE_KEPT: usize = 8;

pub(super) struct Outbound {
    half: WriteHalf<Stream>,
    queue: VecDeque<Bytes>,
    /// Whether the first frame has begun to go out, so that nothing may go before it.
    begun: bool,
    progress: Instant,
}

impl Outbound {
    pub(super) fn new(half: WriteHalf<Stream>) -> Self {
        Self { half, queue: VecDeque::new(), begun: false, progress: Instant::now() }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// When something was last written, or the queue was last empty.
    pub(super) const fn progress(&self) -> Instant {
        self.progress
    }

    /// Adds a frame at the end.
    pub(super) fn push(&mut self, frame: Bytes) {
        if self.queue.is_empty() {
            self.progress = Instant::now();
        }
        self.queue.push_back(frame);
    }

    /// Drops every frame that has not begun to go out.
    pub(super) fn truncate(&mut self) {
        self.queue.truncate(usize::from(self.begun));
    }

    /// One write of as much as the socket takes. May be dropped at any time: it has then written nothing.
    pub(super) async fn write(&mut self) -> io::Result<()> {
        let mut slices = [IoSlice::new(&[]); SLICES];
        let frames =
            self.queue.iter().zip(&mut slices).map(|(frame, slice)| *slice = IoSlice::new(frame)).count();
        let written = match frames {
            1 => self.half.write(&slices[0]).await?,
            frames => self.half.write_vectored(&slices[..frames]).await?,
        };
        if written == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
        self.advance(written);
        Ok(())
    }

    fn advance(&mut self, written: usize) {
        self.progress = Instant::now();
        metrics().delivered_bytes.increment(written as u64);
        let (mut left, mut whole) = (written, 0);
        while let Some(frame) = self.queue.front_mut() {
            if left < frame.len() {
                frame.advance(left);
                self.begun |= left > 0;
                break;
            }
            left -= frame.len();
            self.queue.pop_front();
            self.begun = false;
            whole += 1;
        }
        metrics().deliveries.increment(whole);
        if self.queue.is_empty() && self.queue.capacity() > QUEUE_KEPT {
            self.queue = VecDeque::new();
        }
    }

    /// Writes everything and says that no more comes.
    pub(super) async fn finish(&mut self) -> io::Result<()> {
        while !self.is_empty() {
            self.write().await?;
        }
        self.half.shutdown().await
    }
}

#[cfg(test)]
impl Outbound {
    /// Everything queued, as if it had gone out.
    pub(super) fn drain(&mut self) -> Vec<Bytes> {
        self.queue.drain(..).collect()
    }
}
