//! Ring of one raid's recent events as frames, bounded in number and bytes.

use std::collections::VecDeque;

use bytes::Bytes;
use raidhall_protocol::Seq;

use crate::fanout::frame::{Encoding, SharedFrames};
use crate::telemetry::metrics;

/// Bounds of a ring.
#[derive(Debug, Clone, Copy)]
pub struct RingOptions {
    /// Maximum number of events.
    pub events_max: usize,
    /// Maximum bytes, by the larger codec. The newest event is kept whatever its size.
    pub bytes_max: u64,
}

/// Result of a pull by a connection's writer.
#[derive(Debug, PartialEq, Eq)]
pub enum PullResult {
    /// The frames after the cursor, as many as fit the budget (at least one), and the new cursor.
    /// Without frames there is nothing newer.
    Frames(Vec<Bytes>, Seq),
    /// The event after the cursor is no longer in the ring.
    Evicted,
    /// The watch has ended.
    Ended,
}

pub(crate) struct Ring {
    options: RingOptions,
    /// Events without a gap, oldest first.
    slots: VecDeque<RingSlot>,
    head: Seq,
    /// Bytes of all events ever pushed.
    pushed_bytes: u64,
}

struct RingSlot {
    seq: Seq,
    frames: SharedFrames,
    /// Bytes of all events pushed up to and including this one.
    pushed_bytes: u64,
}

impl Ring {
    pub(crate) const fn new(options: RingOptions) -> Self {
        Self {
            options,
            slots: VecDeque::new(),
            head: Seq::ZERO,
            pushed_bytes: 0,
        }
    }

    /// Empties the ring; the next event must be the one after `head`.
    pub(crate) fn reset(&mut self, head: Seq) {
        Self::adjust_gauges(-(self.slots.len() as f64), -(self.held_bytes() as f64));
        self.slots.clear();
        self.head = head;
    }

    pub(crate) fn push(&mut self, seq: Seq, frames: SharedFrames) {
        assert!(
            seq == self.head.next(),
            "event {seq} published after {}",
            self.head
        );
        let events_before = self.slots.len() as f64;
        let bytes_before = self.held_bytes() as f64;
        self.head = seq;
        self.pushed_bytes += frames.accounted_bytes();
        self.slots.push_back(RingSlot {
            seq,
            frames,
            pushed_bytes: self.pushed_bytes,
        });
        while self.slots.len() > 1
            && (self.slots.len() > self.options.events_max
                || self.held_bytes() > self.options.bytes_max)
        {
            self.slots.pop_front();
        }
        Self::adjust_gauges(
            self.slots.len() as f64 - events_before,
            self.held_bytes() as f64 - bytes_before,
        );
    }

    /// Evicts all events before `first`. A cursor behind them gets [`PullResult::Evicted`].
    pub(crate) fn evict_before(&mut self, first: Seq) {
        let events_before = self.slots.len() as f64;
        let bytes_before = self.held_bytes() as f64;
        while self.slots.pop_front_if(|slot| slot.seq < first).is_some() {}
        Self::adjust_gauges(
            self.slots.len() as f64 - events_before,
            self.held_bytes() as f64 - bytes_before,
        );
    }

    /// Adds to the gauges that all rings share.
    fn adjust_gauges(events: f64, bytes: f64) {
        metrics().ring_events.increment(events);
        metrics().ring_bytes.increment(bytes);
    }

    fn held_bytes(&self) -> u64 {
        self.slots.front().map_or(0, |first| {
            self.pushed_bytes - first.pushed_bytes + first.frames.accounted_bytes()
        })
    }

    /// Returns the index of the slot after `cursor`; `None` if that event has been evicted.
    fn index_after(&self, cursor: Seq) -> Option<usize> {
        let first = self.slots.front().map_or(self.head.next(), |slot| slot.seq);
        usize::try_from(cursor.next().0.checked_sub(first.0)?).ok()
    }

    pub(crate) fn pull(
        &self,
        cursor: Seq,
        until: Seq,
        encoding: Encoding,
        budget: usize,
    ) -> PullResult {
        let Some(index) = self.index_after(cursor) else {
            return PullResult::Evicted;
        };
        let mut frames = Vec::new();
        let mut bytes = 0;
        let mut reached = cursor;
        for slot in self
            .slots
            .iter()
            .skip(index)
            .take_while(|slot| slot.seq <= until)
        {
            let frame = slot.frames.get(encoding);
            bytes += frame.len();
            if bytes > budget && !frames.is_empty() {
                break;
            }
            frames.push(frame.clone());
            reached = slot.seq;
        }
        PullResult::Frames(frames, reached)
    }

    pub(crate) fn backlog(&self, cursor: Seq) -> (u64, u64) {
        let messages = self.head.since(cursor);
        let bytes = match self.index_after(cursor) {
            Some(0) => self.held_bytes(),
            Some(index) => self
                .slots
                .get(index - 1)
                .map_or(0, |slot| self.pushed_bytes - slot.pushed_bytes),
            None => self.held_bytes(),
        };
        (messages, bytes)
    }
}

impl Drop for Ring {
    fn drop(&mut self) {
        Self::adjust_gauges(-(self.slots.len() as f64), -(self.held_bytes() as f64));
    }
}

#[cfg(test)]
mod tests {
    use raidhall_protocol::{Codec, RaidId, ServerMessage};

    use super::*;

    /// A message that always has the same size.
    fn message() -> SharedFrames {
        let raid = RaidId::try_from(7_u64).expect("an id");
        SharedFrames::new(&ServerMessage::Presence {
            raid,
            online: Vec::new(),
            offline: Vec::new(),
        })
    }

    fn message_bytes() -> u64 {
        message().accounted_bytes()
    }

    fn ring(events_max: usize, bytes_max: u64, count: u64) -> Ring {
        let mut ring = Ring::new(RingOptions {
            events_max,
            bytes_max,
        });
        for n in 1..=count {
            ring.push(Seq(n), message());
        }
        ring
    }

    fn pulled(ring: &Ring, cursor: u64, budget: usize) -> Option<(usize, u64)> {
        match ring.pull(
            Seq(cursor),
            Seq(u64::MAX),
            Encoding::WebSocket(Codec::Json),
            budget,
        ) {
            PullResult::Frames(frames, reached) => Some((frames.len(), reached.0)),
            PullResult::Evicted | PullResult::Ended => None,
        }
    }

    #[test]
    fn a_pull_returns_messages_within_its_budget_but_at_least_one() {
        let ring = ring(8, 1_000, 5);
        assert_eq!(pulled(&ring, 2, 1_000), Some((3, 5)));
        assert_eq!(pulled(&ring, 2, 2 * message_bytes() as usize), Some((2, 4)));
        assert_eq!(pulled(&ring, 2, 0), Some((1, 3)));
        assert_eq!(pulled(&ring, 5, 1_000), Some((0, 5)));
    }

    #[test]
    fn a_cursor_behind_the_ring_is_evicted() {
        let ring = ring(3, 1_000, 9);
        assert_eq!(pulled(&ring, 5, 1_000), None);
        assert_eq!(pulled(&ring, 6, 1_000), Some((3, 9)));
    }

    #[test]
    fn evicted_events_are_missed_only_by_cursors_behind_them() {
        let mut ring = ring(8, 1_000, 5);
        ring.evict_before(Seq(4));
        assert_eq!(pulled(&ring, 2, 1_000), None);
        assert_eq!(pulled(&ring, 3, 1_000), Some((2, 5)));
        assert_eq!(ring.backlog(Seq(4)), (1, message_bytes()));
        ring.evict_before(Seq(9));
        assert_eq!(
            (pulled(&ring, 4, 1_000), pulled(&ring, 5, 1_000)),
            (None, Some((0, 5)))
        );
        ring.push(Seq(6), message());
        assert_eq!(pulled(&ring, 5, 1_000), Some((1, 6)));
    }

    #[test]
    fn the_ring_is_bounded_in_bytes_but_keeps_the_newest_event() {
        assert_eq!(
            pulled(&ring(100, 2 * message_bytes() + 1, 9), 7, 1_000),
            Some((2, 9))
        );
        assert_eq!(pulled(&ring(100, 1, 9), 8, 1_000), Some((1, 9)));
    }

    #[test]
    fn cursor_lag_counts_messages_and_bytes() {
        let ring = ring(8, 1_000, 5);
        assert_eq!(ring.backlog(Seq(5)), (0, 0));
        assert_eq!(ring.backlog(Seq(3)), (2, 2 * message_bytes()));
        assert_eq!(ring.backlog(Seq(0)), (5, 5 * message_bytes()));
    }
}
