//! The queue of frames that wait to be written to one client.

use std::collections::VecDeque;

use bytes::Bytes;
use tokio::time::Instant;

/// The capacity, in frames, that an empty queue keeps at most.
const IDLE_CAPACITY_MAX: usize = 8;

pub(super) struct SendQueue {
    frames: VecDeque<Bytes>,
    last_progress_at: Instant,
}

impl SendQueue {
    pub(super) fn new() -> Self {
        Self {
            frames: VecDeque::new(),
            last_progress_at: Instant::now(),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.frames.is_empty()
    }

    /// When the client last took something, or the queue was last empty.
    pub(super) const fn last_progress_at(&self) -> Instant {
        self.last_progress_at
    }

    /// Adds a frame at the end.
    pub(super) fn push(&mut self, frame: Bytes) {
        if self.frames.is_empty() {
            self.last_progress_at = Instant::now();
        }
        self.frames.push_back(frame);
    }

    /// The frames in the order in which they will be written.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Bytes> {
        self.frames.iter()
    }

    pub(super) fn front_mut(&mut self) -> Option<&mut Bytes> {
        self.frames.front_mut()
    }

    pub(super) fn pop_front(&mut self) -> Option<Bytes> {
        self.frames.pop_front()
    }

    /// Drops all frames but the first `kept`.
    pub(super) fn truncate(&mut self, kept: usize) {
        self.frames.truncate(kept);
    }

    /// Records that the client has taken something, and frees the memory of a queue that has become
    /// empty.
    pub(super) fn record_progress(&mut self) {
        self.last_progress_at = Instant::now();
        if self.frames.is_empty() && self.frames.capacity() > IDLE_CAPACITY_MAX {
            self.frames = VecDeque::new();
        }
    }
}
