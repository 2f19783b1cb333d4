//! The clock: the database's time, read at each renewal of the lease and advanced by this machine's
//! own clock in between. Two instances therefore agree on when a deadline is, even if the clocks of
//! their machines differ.
//!
//! The database's clock may jump: it may be set, or its machine may have been suspended. **A jump
//! counts only once several renewals over ten seconds agree.** Until then time goes on as before.
//! After a jump ahead time is right at once. After a jump back it runs at half speed until it is
//! right: it never goes back and never stands still.
//!
//! Deadlines, energy, tokens and delays use [`Clock::now`]. Leases use the database's own clock.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::RwLock;
use raidhall_protocol::UnixMillis;
use rustix::time::{ClockId, clock_gettime};
use tokio::time::Instant;
use tracing::{info, warn};

use crate::telemetry::metrics;

/// Largest difference from the expected time that is not a jump but the drift of clocks.
const JUMP_MIN_MS: i64 = 500;

/// How long the readings after a jump must agree, in milliseconds.
const CONFIRMATION_TIME_MS: i64 = 10_000;

/// Number of readings after a jump that must agree.
const CONFIRMATIONS_MIN: u32 = 3;

/// Longest suspension that may be due to rounding.
const ROUNDING_MS: u64 = 10;

/// The time as this process knows it.
#[derive(Debug)]
pub struct Clock(RwLock<Times>);

#[derive(Debug)]
struct Times {
    /// The latest reading of the database's clock.
    reading: Reading,
    /// The latest reading that counts.
    accepted: Reading,
    /// How far time was ahead at the accepted reading, in milliseconds.
    ahead: i64,
    /// The first reading after a jump that does not count yet, and the number of later readings
    /// that agree with it.
    jump: Option<(Reading, u32)>,
}

/// A reading of the database's clock.
#[derive(Debug, Clone, Copy)]
struct Reading {
    at: BootInstant,
    time: UnixMillis,
}

impl Reading {
    fn new(time: UnixMillis) -> Self {
        Self {
            at: BootInstant::now(),
            time,
        }
    }

    /// Returns the milliseconds since the reading.
    fn age(self) -> i64 {
        millis(self.at.elapsed())
    }

    /// Returns the database's present time, if its clock has not jumped since the reading.
    fn now(self) -> UnixMillis {
        self.time.plus(self.age())
    }
}

impl Times {
    fn now(&self) -> UnixMillis {
        let age = self.accepted.age();
        self.accepted
            .time
            .plus(age)
            .plus((self.ahead - age / 2).max(0))
    }

    fn accept(&mut self, reading: Reading) {
        self.ahead = self.now().since(reading.time).max(0);
        self.accepted = reading;
        self.jump = None;
    }
}

impl Clock {
    /// Creates a clock from the database's present time.
    pub fn new(now: UnixMillis) -> Self {
        let reading = Reading::new(now);
        Self(RwLock::new(Times {
            reading,
            accepted: reading,
            ahead: 0,
            jump: None,
        }))
    }

    /// Takes note of the database's time in the reply to a request that was sent at `sent`. The
    /// clock was read at some moment since then: of the times that are therefore possible, the one
    /// closest to the expected time counts.
    pub fn synchronize(&self, now: UnixMillis, sent: BootInstant) {
        let mut times = self.0.write();
        let (earliest, latest) = (now, now.plus(millis(sent.elapsed())));
        let now = times.accepted.now().clamp(earliest, latest);
        let reading = Reading::new(now);
        times.reading = reading;
        let is_close = |expected: UnixMillis| {
            earliest.since(expected).max(expected.since(latest)) <= JUMP_MIN_MS
        };
        let by_ms = now.since(times.accepted.now());
        match times.jump {
            _ if is_close(times.accepted.now()) => times.accept(reading),
            Some((first, agreeing)) if is_close(first.now()) => {
                let agreeing = agreeing + 1;
                times.jump = Some((first, agreeing));
                if agreeing >= CONFIRMATIONS_MIN && first.age() >= CONFIRMATION_TIME_MS {
                    times.accept(reading);
                    info!(by_ms, "the jump of the database's clock counts from now on");
                }
            }
            _ => {
                warn!(
                    by_ms,
                    "the database's clock jumped; this counts if it lasts"
                );
                times.jump = Some((reading, 0));
            }
        }
        let difference = now.since(times.now());
        metrics()
            .database_clock_difference
            .set(difference as f64 / 1_000.0);
    }

    /// Returns the current time, which never goes back and never stands still.
    pub fn now(&self) -> UnixMillis {
        self.0.read().now()
    }

    /// Returns the time by the latest reading of the database's clock, which may have jumped. All
    /// instances have the same, but for the time between two readings.
    pub fn database_time(&self) -> UnixMillis {
        self.0.read().reading.now()
    }

    /// Returns the instant of the monotonic clock at which the time will be `at`; the present
    /// instant if `at` is past.
    pub fn instant_of(&self, at: UnixMillis) -> Instant {
        let times = self.0.read();
        let wait = at.since(times.now());
        let ahead = (times.ahead - times.accepted.age() / 2).max(0);
        // Time runs at half speed for as long as it is ahead: it advances by `ahead` meanwhile.
        let wait = u64::try_from(wait.saturating_add(wait.min(ahead))).unwrap_or(0);
        Instant::now() + Duration::from_millis(wait)
    }
}

/// An instant from which time is measured as it passes outside of this machine. The clock behind
/// [`Instant`] stands still while the machine is suspended (clock_gettime(2)).
#[derive(Debug, Clone, Copy)]
pub struct BootInstant {
    at: Instant,
    suspended: Duration,
}

impl BootInstant {
    /// Returns the present instant.
    pub fn now() -> Self {
        Self {
            at: Instant::now(),
            suspended: time_suspended(),
        }
    }

    /// Returns the time since this instant, including that in which the machine was suspended.
    pub fn elapsed(self) -> Duration {
        self.at.elapsed() + time_suspended().saturating_sub(self.suspended)
    }
}

/// Returns how long this machine has been suspended since it was started. Constant while it is not.
fn time_suspended() -> Duration {
    /// The greatest value so far, in milliseconds.
    static SUSPENDED_MS: AtomicU64 = AtomicU64::new(0);
    let since_start = |clock| {
        let time = clock_gettime(clock);
        time.tv_sec * 1_000 + time.tv_nsec / 1_000_000
    };
    // In this order, a pause between the two readings makes the result smaller, and the former one
    // stays.
    let in_total = since_start(ClockId::Boottime);
    let awake = since_start(ClockId::Monotonic);
    let suspended_ms = u64::try_from(in_total - awake).unwrap_or(0);
    let known_ms = SUSPENDED_MS.load(Ordering::Relaxed);
    let suspended_ms = if suspended_ms > known_ms + ROUNDING_MS {
        SUSPENDED_MS
            .fetch_max(suspended_ms, Ordering::Relaxed)
            .max(suspended_ms)
    } else {
        known_ms
    };
    let suspended = Duration::from_millis(suspended_ms);
    #[cfg(test)]
    let suspended = suspended + suspension::SIMULATED.get();
    suspended
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

/// Simulated suspensions of the machine.
#[cfg(test)]
pub(crate) mod suspension {
    use std::cell::Cell;
    use std::time::Duration;

    thread_local! {
        pub(super) static SIMULATED: Cell<Duration> = const { Cell::new(Duration::ZERO) };
    }

    /// Suspends the machine, as this thread sees it: [`Instant`](tokio::time::Instant) stands
    /// still.
    pub(crate) fn suspend(duration: Duration) {
        SIMULATED.set(SIMULATED.get() + duration);
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    const HOUR_MS: i64 = 3_600_000;

    /// Reads the database's clock once a second for so many seconds, and checks that time never
    /// goes back and never stands still.
    async fn run(clock: &Clock, database: &mut i64, seconds: u32) {
        for _ in 0..seconds {
            let before = clock.now();
            advance(Duration::from_secs(1)).await;
            *database += 1_000;
            let passed = clock.now().since(before);
            assert!(passed >= 500, "{passed} ms in a second");
            let before = clock.now();
            clock.synchronize(UnixMillis(*database), BootInstant::now());
            assert!(clock.now() >= before);
        }
    }

    fn start() -> (Clock, i64) {
        (Clock::new(UnixMillis(HOUR_MS)), HOUR_MS)
    }

    #[tokio::test(start_paused = true)]
    async fn a_short_jump_of_the_database_clock_changes_nothing() {
        for by in [600_000, -600_000, 36 * HOUR_MS] {
            let (clock, mut database) = start();
            database += by;
            run(&clock, &mut database, 9).await;
            assert_eq!(clock.now().0, database - by);
            assert_eq!(clock.database_time().0, database);
            database -= by;
            run(&clock, &mut database, 30).await;
            assert_eq!(clock.now().0, database);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_reply_is_no_jump() {
        // The database read its clock at the beginning, or at the end, of three seconds.
        for read_after in [0, 3_000] {
            let (clock, database) = start();
            let sent = BootInstant::now();
            advance(Duration::from_secs(3)).await;
            clock.synchronize(UnixMillis(database + read_after), sent);
            assert!(clock.0.read().jump.is_none());
            assert_eq!(clock.now().0, database + 3_000);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn time_goes_on_while_the_machine_is_suspended() {
        let (clock, mut database) = start();
        suspension::suspend(Duration::from_secs(3_600));
        database += HOUR_MS;
        assert_eq!(clock.now().0, database);
        run(&clock, &mut database, 1).await;
        assert!(clock.0.read().jump.is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn two_short_jumps_do_not_confirm_each_other() {
        let (clock, mut database) = start();
        for by in [600_000, 0, 600_000, 900_000] {
            database += by;
            run(&clock, &mut database, 6).await;
            database -= by;
        }
        assert_eq!(clock.now().0, database);
    }

    #[tokio::test(start_paused = true)]
    async fn a_lasting_jump_ahead_counts_once_readings_agree() {
        let (clock, mut database) = start();
        database += 600_000;
        run(&clock, &mut database, 10).await;
        assert_eq!(clock.now().0, database - 600_000);
        run(&clock, &mut database, 1).await;
        assert_eq!(clock.now().0, database);
    }

    #[tokio::test(start_paused = true)]
    async fn after_a_lasting_jump_back_time_runs_at_half_speed() {
        let (clock, mut database) = start();
        database -= 60_000;
        run(&clock, &mut database, 11).await;
        assert_eq!(clock.now().0, database + 60_000);
        let later = UnixMillis(clock.now().0 + 90_000);
        let wait = clock.instant_of(later) - Instant::now();
        assert_eq!(wait, Duration::from_millis(150_000), "60 s at half speed");
        run(&clock, &mut database, 119).await;
        assert_eq!(clock.now().0, database + 500);
        run(&clock, &mut database, 31).await;
        assert_eq!((clock.now().0, clock.now()), (database, later));
    }
}
