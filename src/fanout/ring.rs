//! The recent events of one raid as frames, bounded in number and bytes.

use std::collections::VecDeque;

use bytes::Bytes;
use raidhall_protocol::Seq;

use crate::fanout::frame::{Form, Shared};
use crate::telemetry::metrics;

/// How much a ring holds.
#[derive(Debug, Clone, Copy)]
pub struct RingOptions {
    /// Events at most.
    pub events_max: usize,
    /// Bytes at most, by the larger codec. The newest event is held whatever its size.
    pub bytes_max: u64,
}

/// What a writer got from the ring.
#[derive(Debug, PartialEq, Eq)]
pub enum Pulled {
    /// The frames after the cursor, as many as fit the budget (one at least), and the new cursor. None: nothing is
    /// newer.
    Frames(Vec<Bytes>, Seq),
    /// The event after the cursor is not in the ring any more.
    Lost,
    /// The watch has ended.
    Ended,
}

pub(crate) struct Ring {
    options: RingOptions,
    /// Contiguous, oldest first.
    slots: VecDeque<Slot>,
    head: Seq,
    /// The weight of everything ever pushed.
    total: u64,
}

struct Slot {
    seq: Seq,
    frames: Shared,
    /// The weight of everything pushed up to and with this one.
    end: u64,
}

impl Ring {
    pub(crate) const fn new(options: RingOptions) -> Self {
        Self {
            options,
            slots: VecDeque::new(),
            head: Seq::ZERO,
            total: 0,
        }
    }

    /// Forgets everything; the next event is the one after `head`.
    pub(crate) fn restart(&mut self, head: Seq) {
        Self::gauge(-(self.slots.len() as f64), -(self.weight() as f64));
        self.slots.clear();
        self.head = head;
    }

    pub(crate) fn push(&mut self, seq: Seq, frames: Shared) {
        assert!(
            seq == self.head.next(),
            "event {seq} published after {}",
            self.head
        );
        let (events, bytes) = (self.slots.len() as f64, self.weight() as f64);
        self.head = seq;
        self.total += frames.weight();
        self.slots.push_back(Slot {
            seq,
            frames,
            end: self.total,
        });
        while self.slots.len() > 1
            && (self.slots.len() > self.options.events_max
                || self.weight() > self.options.bytes_max)
        {
            self.slots.pop_front();
        }
        Self::gauge(
            self.slots.len() as f64 - events,
            self.weight() as f64 - bytes,
        );
    }

    /// Holds nothing older than `first` any more. Who has not had it yet is told that it is lost here.
    pub(crate) fn forget_before(&mut self, first: Seq) {
        let (events, bytes) = (self.slots.len() as f64, self.weight() as f64);
        while self.slots.pop_front_if(|slot| slot.seq < first).is_some() {}
        Self::gauge(
            self.slots.len() as f64 - events,
            self.weight() as f64 - bytes,
        );
    }

    /// So much more is held now, by all rings together.
    fn gauge(events: f64, bytes: f64) {
        metrics().ring_events.increment(events);
        metrics().ring_bytes.increment(bytes);
    }

    fn weight(&self) -> u64 {
        self.slots
            .front()
            .map_or(0, |first| self.total - first.end + first.frames.weight())
    }

    /// The index of the slot after `cursor`; none when it is not held.
    fn after(&self, cursor: Seq) -> Option<usize> {
        let first = self.slots.front().map_or(self.head.next(), |slot| slot.seq);
        usize::try_from(cursor.next().0.checked_sub(first.0)?).ok()
    }

    pub(crate) fn pull(&self, cursor: Seq, until: Seq, form: Form, budget: usize) -> Pulled {
        let Some(index) = self.after(cursor) else {
            return Pulled::Lost;
        };
        let (mut frames, mut bytes, mut reached) = (Vec::new(), 0, cursor);
        for slot in self
            .slots
            .iter()
            .skip(index)
            .take_while(|slot| slot.seq <= until)
        {
            let frame = slot.frames.get(form);
            bytes += frame.len();
            if bytes > budget && !frames.is_empty() {
                break;
            }
            frames.push(frame.clone());
            reached = slot.seq;
        }
        Pulled::Frames(frames, reached)
    }

    pub(crate) fn behind(&self, cursor: Seq) -> (u64, u64) {
        let messages = self.head.since(cursor);
        let bytes = match self.after(cursor) {
            Some(0) => self.weight(),
            Some(index) => self
                .slots
                .get(index - 1)
                .map_or(0, |slot| self.total - slot.end),
            None => self.weight(),
        };
        (messages, bytes)
    }
}

impl Drop for Ring {
    fn drop(&mut self) {
        Self::gauge(-(self.slots.len() as f64), -(self.weight() as f64));
    }
}

#[cfg(test)]
mod tests {
    use raidhall_protocol::{Codec, RaidId, ServerMessage};

    use super::*;

    /// One that weighs the same each time.
    fn message() -> Shared {
        let raid = RaidId::try_from(7_u64).expect("an id");
        Shared::new(&ServerMessage::Presence {
            raid,
            online: Vec::new(),
            offline: Vec::new(),
        })
    }

    fn weight() -> u64 {
        message().weight()
    }

    fn ring(events_max: usize, bytes_max: u64, count: u64) -> Ring {
        let mut ring = Ring::new(RingOptions {
            events_max,
            bytes_max,
        });
        (1..=count).for_each(|n| ring.push(Seq(n), message()));
        ring
    }

    fn pulled(ring: &Ring, cursor: u64, budget: usize) -> Option<(usize, u64)> {
        match ring.pull(
            Seq(cursor),
            Seq(u64::MAX),
            Form::Frames(Codec::Json),
            budget,
        ) {
            Pulled::Frames(frames, reached) => Some((frames.len(), reached.0)),
            Pulled::Lost | Pulled::Ended => None,
        }
    }

    #[test]
    fn a_cursor_gets_what_is_after_it_within_its_budget_and_one_at_least() {
        let ring = ring(8, 1_000, 5);
        assert_eq!(pulled(&ring, 2, 1_000), Some((3, 5)));
        assert_eq!(pulled(&ring, 2, 2 * weight() as usize), Some((2, 4)));
        assert_eq!(pulled(&ring, 2, 0), Some((1, 3)));
        assert_eq!(pulled(&ring, 5, 1_000), Some((0, 5)));
    }

    #[test]
    fn a_cursor_that_fell_off_is_told_so() {
        let ring = ring(3, 1_000, 9);
        assert_eq!(pulled(&ring, 5, 1_000), None);
        assert_eq!(pulled(&ring, 6, 1_000), Some((3, 9)));
    }

    #[test]
    fn what_is_forgotten_is_lost_to_those_behind_and_to_nobody_else() {
        let mut ring = ring(8, 1_000, 5);
        ring.forget_before(Seq(4));
        assert_eq!(pulled(&ring, 2, 1_000), None);
        assert_eq!(pulled(&ring, 3, 1_000), Some((2, 5)));
        assert_eq!(ring.behind(Seq(4)), (1, weight()));
        ring.forget_before(Seq(9));
        assert_eq!(
            (pulled(&ring, 4, 1_000), pulled(&ring, 5, 1_000)),
            (None, Some((0, 5)))
        );
        ring.push(Seq(6), message());
        assert_eq!(pulled(&ring, 5, 1_000), Some((1, 6)));
    }

    #[test]
    fn bytes_bound_it_too_but_the_newest_stays() {
        assert_eq!(
            pulled(&ring(100, 2 * weight() + 1, 9), 7, 1_000),
            Some((2, 9))
        );
        assert_eq!(pulled(&ring(100, 1, 9), 8, 1_000), Some((1, 9)));
    }

    #[test]
    fn behind_counts_messages_and_bytes() {
        let ring = ring(8, 1_000, 5);
        assert_eq!(ring.behind(Seq(5)), (0, 0));
        assert_eq!(ring.behind(Seq(3)), (2, 2 * weight()));
        assert_eq!(ring.behind(Seq(0)), (5, 5 * weight()));
    }
}
