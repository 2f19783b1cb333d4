//! A meter of the messages of one connection, charged by their bytes **before they are decoded**,
//! so that what decoding costs is within the limit on messages.

use std::time::Duration;

use tokio::time::Instant;

use crate::limits::rate::{Rate, RateLimitExceeded};

/// The period whose allowance a client may use in one burst.
const BURST_SECS: u32 = 2;
/// The fewest bytes that are charged as a message more. A command and its text fit into them.
const UNIT_BYTES_MIN: usize = 2_048;
/// The largest message is charged as one, and this many more.
const UNITS_MAX: usize = 8;

/// The charges of one connection's messages.
#[derive(Clone, Copy)]
pub(super) struct MessageMeter {
    rate: Rate,
    full_at: Instant,
    unit_bytes: usize,
}

impl MessageMeter {
    /// Takes the sustained rate of messages, and the bytes of the largest message.
    pub(super) fn new(per_second: u32, message_bytes_max: usize) -> Self {
        let burst = per_second.saturating_mul(BURST_SECS);
        Self {
            rate: Rate::new(burst, Duration::from_secs(BURST_SECS.into())),
            full_at: Instant::now(),
            unit_bytes: UNIT_BYTES_MIN.max(message_bytes_max / UNITS_MAX),
        }
    }

    /// Charges a message of this many bytes: as one, and as one more for each unit that it fills.
    /// Returns how long it must wait for its turn. A message that fills no unit never waits: it
    /// fails if the allowance is exhausted, and is not charged then.
    pub(super) fn charge(&mut self, bytes: usize) -> Result<Duration, RateLimitExceeded> {
        let units = u32::try_from(bytes / self.unit_bytes).unwrap_or(u32::MAX);
        let wait_max = if units == 0 {
            Duration::ZERO
        } else {
            Duration::MAX
        };
        let now = Instant::now();
        let (full_at, wait) =
            (self.rate).reserve(self.full_at, now, units.saturating_add(1), wait_max)?;
        self.full_at = full_at;
        Ok(wait)
    }

    /// Refunds the charge of a message that turned out to be a `beat`, but not that of its bytes.
    pub(super) fn refund(&mut self) {
        self.full_at = self.rate.refund(self.full_at);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn small_messages_beyond_the_allowance_are_refused() {
        let mut meter = MessageMeter::new(20, 16_384);
        for _ in 0..40 {
            assert_eq!(meter.charge(UNIT_BYTES_MIN - 1), Ok(Duration::ZERO));
        }
        let exceeded = meter.charge(10).expect_err("an exhausted allowance");
        assert_eq!(exceeded.retry_after, Duration::from_millis(50));
        meter.refund();
        assert_eq!(meter.charge(10), Ok(Duration::ZERO));
    }

    #[tokio::test(start_paused = true)]
    async fn large_messages_are_charged_by_their_bytes_and_wait_for_their_turn() {
        let mut meter = MessageMeter::new(20, 16_384);
        for _ in 0..4 {
            assert_eq!(meter.charge(16_384), Ok(Duration::ZERO));
        }
        assert_eq!(meter.charge(16_384), Ok(Duration::from_millis(250)));
        assert_eq!(meter.charge(2_048), Ok(Duration::from_millis(350)));
        assert!(meter.charge(10).is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn a_unit_grows_with_the_largest_message() {
        let mut meter = MessageMeter::new(20, 1_048_576);
        for _ in 0..4 {
            assert_eq!(meter.charge(1_048_576), Ok(Duration::ZERO));
        }
        assert_eq!(meter.charge(131_071).map_err(|_| ()), Ok(Duration::ZERO));
    }
}
