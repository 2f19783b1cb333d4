//! The sending half of a connection: whole frames, many in one write.

use std::io::{self, IoSlice};

use bytes::{Buf, Bytes};
use tokio::io::{AsyncWriteExt, WriteHalf};

use super::send_queue::SendQueue;
use crate::net::listener::ClientStream;
use crate::telemetry::metrics;

/// Frames in one write at most.
const SLICES_MAX: usize = 32;

pub(super) struct Outbound {
    half: WriteHalf<ClientStream>,
    queue: SendQueue,
    /// Whether the first frame has begun to go out, so that nothing may go before it.
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

    /// What waits to be written.
    pub(super) const fn queue(&mut self) -> &mut SendQueue {
        &mut self.queue
    }

    pub(super) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// Adds a frame at the end.
    pub(super) fn push(&mut self, frame: Bytes) {
        self.queue.push(frame);
    }

    /// Drops every frame that has not begun to go out.
    pub(super) fn drop_unsent(&mut self) {
        self.queue.truncate(usize::from(self.is_front_started));
    }

    /// One write of as much as the socket takes. May be dropped at any time: it has then written nothing.
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
        let (mut left, mut whole) = (written, 0);
        while let Some(frame) = self.queue.front_mut() {
            if left < frame.len() {
                frame.advance(left);
                self.is_front_started |= left > 0;
                break;
            }
            left -= frame.len();
            self.queue.pop_front();
            self.is_front_started = false;
            whole += 1;
        }
        metrics().deliveries.increment(whole);
        self.queue.record_progress();
    }

    /// Writes everything and says that no more comes.
    pub(super) async fn finish(&mut self) -> io::Result<()> {
        while !self.is_empty() {
            self.write().await?;
        }
        self.half.shutdown().await
    }
}
