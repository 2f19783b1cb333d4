//! When a bot goes away from its raid, and for how long.

use std::ops::Range;
use std::time::Duration;

use rand::Rng;
use rand::rngs::SmallRng;
use tokio::time::Instant;

/// Milliseconds between two absences.
const PRESENT_MS: Range<u64> = 3_000..25_000;
/// Milliseconds of an absence: within the grace for presence, within twice that grace (a drain
/// doubles it), and beyond the grace for leaders if that is a short one.
const AWAY_MS: [Range<u64>; 3] = [500..4_000, 5_500..9_000, 18_000..32_000];
/// The share of lost connections after which the player does not reconnect at once.
const SLOW_RECONNECT_SHARE: f64 = 0.25;

/// The absences of one bot, drawn from its seed.
#[derive(Debug)]
pub(super) struct AbsenceSchedule {
    rng: SmallRng,
    next_at: Instant,
}

impl AbsenceSchedule {
    /// Creates a schedule whose first absence is at least one pause from now.
    pub(super) fn new(mut rng: SmallRng) -> AbsenceSchedule {
        let next_at = Instant::now() + draw(&mut rng, PRESENT_MS);
        AbsenceSchedule { rng, next_at }
    }

    /// Returns how long to be away if an absence is due.
    pub(super) fn take_due(&mut self) -> Option<Duration> {
        (self.next_at <= Instant::now()).then(|| self.draw_absence())
    }

    /// Returns how long to be away after a lost connection, if not to reconnect at once.
    pub(super) fn draw_after_loss(&mut self) -> Option<Duration> {
        let is_slow = self.rng.random_bool(SLOW_RECONNECT_SHARE);
        is_slow.then(|| self.draw_absence())
    }

    /// Returns whether the client tells the server that it goes.
    pub(super) fn draw_farewell(&mut self) -> bool {
        self.rng.random()
    }

    fn draw_absence(&mut self) -> Duration {
        let range = AWAY_MS[self.rng.random_range(0..AWAY_MS.len())].clone();
        let time = draw(&mut self.rng, range);
        self.next_at = Instant::now() + time + draw(&mut self.rng, PRESENT_MS);
        time
    }
}

fn draw(rng: &mut SmallRng, milliseconds: Range<u64>) -> Duration {
    Duration::from_millis(rng.random_range(milliseconds))
}
