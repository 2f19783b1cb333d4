//! What waits to be written to one client, first to last.

use std::collections::VecDeque;

use bytes::Bytes;
use tokio::time::Instant;

/// What an empty queue keeps at most.
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

    /// When the client last took something, or nothing was waiting.
    pub(super) const fn last_progress_at(&self) -> Instant {
        self.last_progress_at
    }

    /// Adds bytes that belong together at the end.
    pub(super) fn push(&mut self, frame: Bytes) {
        if self.frames.is_empty() {
            self.last_progress_at = Instant::now();
        }
        self.frames.push_back(frame);
    }

    /// The first to last that waits.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Bytes> {
        self.frames.iter()
    }

    pub(super) fn front_mut(&mut self) -> Option<&mut Bytes> {
        self.frames.front_mut()
    }

    pub(super) fn pop_front(&mut self) -> Option<Bytes> {
        self.frames.pop_front()
    }

    /// Drops all but the first few.
    pub(super) fn truncate(&mut self, kept: usize) {
        self.frames.truncate(kept);
    }

    /// The client has taken something.
    pub(super) fn record_progress(&mut self) {
        self.last_progress_at = Instant::now();
        if self.frames.is_empty() && self.frames.capacity() > IDLE_CAPACITY_MAX {
            self.frames = VecDeque::new();
        }
    }
}
