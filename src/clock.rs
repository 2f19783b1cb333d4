//! The clock: the database's time, read at each renewal of the lease and advanced by the monotonic
//! clock.
//!
//! Two instances therefore agree on when a deadline is, even if their own wall clocks differ.

use std::sync::atomic::{AtomicI64, Ordering};

use parking_lot::RwLock;
use raidhall_protocol::UnixMillis;
use tokio::time::Instant;

/// The database's time as this process knows it. **`now` never goes back.**
#[derive(Debug)]
pub struct Clock {
    anchor: RwLock<(Instant, UnixMillis)>,
    latest: AtomicI64,
}

impl Clock {
    /// Creates a clock from the database's present time.
    pub fn new(now: UnixMillis) -> Self {
        Self {
            anchor: RwLock::new((Instant::now(), now)),
            latest: AtomicI64::new(now.0),
        }
    }

    /// Sets the clock to the database's present time.
    pub fn synchronize(&self, now: UnixMillis) {
        *self.anchor.write() = (Instant::now(), now);
    }

    /// Returns the current time, which never goes back.
    pub fn now(&self) -> UnixMillis {
        let now = self.database_time().0;
        UnixMillis(self.latest.fetch_max(now, Ordering::Relaxed).max(now))
    }

    /// Returns the time by the last synchronization. It goes back when the database's clock is set
    /// back; a process that starts after that has the same time.
    pub fn database_time(&self) -> UnixMillis {
        let (at, then) = *self.anchor.read();
        let elapsed = i64::try_from(at.elapsed().as_millis()).unwrap_or(i64::MAX);
        UnixMillis(then.0.saturating_add(elapsed))
    }

    /// Returns the instant of the monotonic clock at which the time will be `at`; the present
    /// instant if `at` is past.
    pub fn instant_of(&self, at: UnixMillis) -> Instant {
        let wait = u64::try_from(at.since(self.now())).unwrap_or(0);
        Instant::now() + std::time::Duration::from_millis(wait)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_clock_never_goes_back_when_the_database_clock_does() {
        let clock = Clock::new(UnixMillis(1_000));
        tokio::time::advance(Duration::from_millis(500)).await;
        assert_eq!(clock.now(), UnixMillis(1_500));
        clock.synchronize(UnixMillis(200));
        assert_eq!(
            (clock.now(), clock.database_time()),
            (UnixMillis(1_500), UnixMillis(200))
        );
        tokio::time::advance(Duration::from_millis(2_000)).await;
        assert_eq!(clock.now(), UnixMillis(2_200));
    }
}
