//! The XP at which levels begin.

/// The XP at which each level begins: level n at `xp_factor` · n · (n − 1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LevelCurve {
    pub(super) xp_factor: u64,
}

impl LevelCurve {
    /// Returns the curve with a factor, which is at least 1.
    pub const fn new(xp_factor: u64) -> LevelCurve {
        LevelCurve { xp_factor }
    }

    /// Returns the level that XP reaches, from 1.
    pub fn level_of(self, xp: u64) -> u64 {
        // The largest n with n · (n − 1) ≤ xp / xp_factor.
        let product = u128::from(xp / self.xp_factor);
        let level = u128::midpoint(1, (1 + 4 * product).isqrt());
        u64::try_from(level).unwrap_or(u64::MAX)
    }

    /// Returns the XP at which a level begins.
    pub const fn begin(self, level: u64) -> u64 {
        self.xp_factor
            .saturating_mul(level)
            .saturating_mul(level.saturating_sub(1))
    }

    /// Returns the XP from the beginning of a level to the next one.
    pub const fn width(self, level: u64) -> u64 {
        self.begin(level.saturating_add(1)) - self.begin(level)
    }
}
