//! The sending half of a WebSocket connection: writes whole frames, several in one system call.

use std::io::{self, IoSlice};

use bytes::{Buf, Bytes};
use tokio::io::{AsyncWriteExt, WriteHalf};

use super::send_queue::SendQueue;
use crate::net::listener::ClientStream;
use crate::telemetry::metrics;

/// The most frames in one vectored write.
const SLICES_MAX: usize = 32;

pub(super) struct Outbound {
    half: WriteHalf<ClientStream>,
    queue: SendQueue,
    /// Whether a part of the first frame has been written, so that the frame must be finished
    /// before any other.
    is_front_started: bool,
}

impl Outbound {
    pub(super) fn new(half: WriteHalf<ClientStream>) -> Self {
        Self {
            half,
            queue: SendQueue::new(),
            is_front_started: false,
        }
    }

    /// The frames that wait to be written.
    pub(super) const fn queue(&mut self) -> &mut SendQueue {
        &mut self.queue
    }

    pub(super) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    pub(super) fn push(&mut self, frame: Bytes) {
        self.queue.push(frame);
    }

    /// Drops every frame of which nothing has been written.
    pub(super) fn drop_unsent(&mut self) {
        self.queue.truncate(usize::from(self.is_front_started));
    }

    /// Makes one write of as much as the socket accepts. Cancel safe: a dropped call has written
    /// nothing.
    pub(super) async fn write(&mut self) -> io::Result<()> {
        let mut slices = [IoSlice::new(&[]); SLICES_MAX];
        let frames = self
            .queue
            .iter()
            .zip(&mut slices)
            .map(|(frame, slice)| *slice = IoSlice::new(frame))
            .count();
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
        metrics().delivered_bytes.increment(written as u64);
        let mut left = written;
        let mut whole_frames = 0;
        while let Some(frame) = self.queue.front_mut() {
            if left < frame.len() {
                frame.advance(left);
                self.is_front_started |= left > 0;
                break;
            }
            left -= frame.len();
            self.queue.pop_front();
            self.is_front_started = false;
            whole_frames += 1;
        }
        metrics().deliveries.increment(whole_frames);
        self.queue.record_progress();
    }

    /// Writes every queued frame, then shuts down the sending side.
    pub(super) async fn finish(&mut self) -> io::Result<()> {
        while !self.is_empty() {
            self.write().await?;
        }
        self.half.shutdown().await
    }
}
