//! The commands that wait for an answer, and when to send them again.

use std::collections::BTreeMap;
use std::time::Duration;

use raidhall_protocol::{ClientMessage, ErrorBody};
use rand::Rng;
use tokio::time::Instant;

const RETRY_BASE: Duration = Duration::from_millis(100);
const RETRY_MAX: Duration = Duration::from_secs(5);

/// Commands without an answer, by correlation number. Each keeps its op for as long as it takes.
#[derive(Debug, Default)]
pub(super) struct Pending {
    waiting: BTreeMap<u64, Waiting>,
}

#[derive(Debug)]
struct Waiting {
    message: ClientMessage,
    failures: u32,
    /// When to send it again; none while an answer is on its way.
    again: Option<Instant>,
}

impl Pending {
    pub(super) fn len(&self) -> usize {
        self.waiting.len()
    }

    pub(super) fn add(&mut self, id: u64, message: ClientMessage) {
        self.waiting.insert(
            id,
            Waiting {
                message,
                failures: 0,
                again: None,
            },
        );
    }

    /// An answer that ends it.
    pub(super) fn done(&mut self, id: u64) {
        self.waiting.remove(&id);
    }

    /// A refusal: final, or to be tried again no earlier than it says.
    pub(super) fn refused(&mut self, id: u64, error: &ErrorBody, now: Instant, rng: &mut impl Rng) {
        if !error.retry {
            return self.done(id);
        }
        let Some(waiting) = self.waiting.get_mut(&id) else {
            return;
        };
        let ceiling = RETRY_BASE
            .saturating_mul(1 << waiting.failures.min(8))
            .min(RETRY_MAX);
        waiting.failures += 1;
        let told = Duration::from_millis(error.retry_after_ms.unwrap_or(0));
        waiting.again = Some(now + told + ceiling.mul_f64(rng.random()));
    }

    /// The connection is gone: everything is to be sent again on the next one.
    pub(super) fn lost(&mut self, now: Instant) {
        for waiting in self.waiting.values_mut() {
            waiting.again = Some(now);
        }
    }

    /// When the next one is due.
    pub(super) fn next_due(&self) -> Option<Instant> {
        self.waiting
            .values()
            .filter_map(|waiting| waiting.again)
            .min()
    }

    /// One that is due now, in the order first sent; it counts as sent.
    pub(super) fn take_due(&mut self, now: Instant) -> Option<ClientMessage> {
        let due = self
            .waiting
            .values_mut()
            .find(|waiting| waiting.again.is_some_and(|again| again <= now))?;
        due.again = None;
        Some(due.message.clone())
    }
}

#[cfg(test)]
mod tests {
    use raidhall_protocol::{Command, ErrorType, RaidId};
    use rand::SeedableRng;
    use rand::rngs::SmallRng;

    use super::*;

    fn command(id: u64) -> ClientMessage {
        let raid = RaidId::try_from(7_u64).unwrap();
        ClientMessage::Do {
            id,
            raid,
            op: None,
            cmd: Command::Start,
        }
    }

    #[test]
    fn a_retryable_refusal_waits_and_a_final_one_ends_it() {
        let (now, mut rng) = (Instant::now(), SmallRng::seed_from_u64(1));
        let mut pending = Pending::default();
        pending.add(1, command(1));
        pending.add(2, command(2));
        assert!(
            pending.take_due(now).is_none(),
            "nothing is sent twice while an answer is on its way"
        );
        let mut busy = ErrorBody::new(ErrorType::Overloaded, "full");
        busy.retry_after_ms = Some(500);
        pending.refused(1, &busy, now, &mut rng);
        pending.refused(
            2,
            &ErrorBody::new(ErrorType::TaskTaken, "taken"),
            now,
            &mut rng,
        );
        assert_eq!(pending.len(), 1);
        assert!(pending.take_due(now + Duration::from_millis(499)).is_none());
        let later = now + Duration::from_millis(700);
        assert_eq!(pending.take_due(later), Some(command(1)));
        assert!(pending.take_due(later).is_none());
    }

    #[test]
    fn a_lost_connection_makes_all_due_in_order() {
        let (now, mut pending) = (Instant::now(), Pending::default());
        pending.add(1, command(1));
        pending.add(2, command(2));
        pending.lost(now);
        assert_eq!(
            [pending.take_due(now), pending.take_due(now)],
            [Some(command(1)), Some(command(2))]
        );
        assert_eq!(pending.take_due(now), None);
    }
}
