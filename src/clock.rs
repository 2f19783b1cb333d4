//! The one clock: the database's time, learned at each renewal of the lease and advanced by the monotonic clock.
//!
//! Two instances thus agree on when a deadline is, whatever their own wall clocks say.

use std::sync::atomic::{AtomicI64, Ordering};

use parking_lot::RwLock;
use raidhall_protocol::UnixMillis;
use tokio::time::Instant;

/// The database's time as this process knows it. Never goes back.
#[derive(Debug)]
pub struct Clock {
    anchor: RwLock<(Instant, UnixMillis)>,
    latest: AtomicI64,
}

impl Clock {
    /// A clock that was told the time this moment.
    pub fn new(now: UnixMillis) -> Self {
        Self {
            anchor: RwLock::new((Instant::now(), now)),
            latest: AtomicI64::new(now.0),
        }
    }

    /// Learns the database's time, as of this moment.
    pub fn synchronize(&self, now: UnixMillis) {
        *self.anchor.write() = (Instant::now(), now);
    }

    /// The time now.
    pub fn now(&self) -> UnixMillis {
        let now = self.database_time().0;
        UnixMillis(self.latest.fetch_max(now, Ordering::Relaxed).max(now))
    }

    /// The time as the database last told it, which goes back where the database's clock is set back: what a process
    /// that has just started takes for now.
    pub fn database_time(&self) -> UnixMillis {
        let (at, then) = *self.anchor.read();
        let elapsed = i64::try_from(at.elapsed().as_millis()).unwrap_or(i64::MAX);
        UnixMillis(then.0.saturating_add(elapsed))
    }

    /// The moment of the monotonic clock at which it will be `at`; this moment, when that is past.
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
