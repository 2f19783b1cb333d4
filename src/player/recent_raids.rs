//! The raids of a player that ended lately, by which players are companions.

use raidhall_protocol::{RaidId, UnixMillis};
use serde::{Deserialize, Serialize};

/// Maximum number of raids; beyond it the oldest goes.
const RECENT_RAIDS_MAX: usize = 200;
/// How long after its end a raid is recent: 90 days.
const RECENT_MS: i64 = 90 * 86_400_000;

/// The recent raids in which the player earned XP, in the order of their ends.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct RecentRaids(Vec<EndedRaid>);

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct EndedRaid {
    raid: RaidId,
    ended_at: UnixMillis,
}

impl RecentRaids {
    /// Adds a raid, and drops those that were no longer recent when it ended.
    pub(super) fn add(&mut self, raid: RaidId, ended_at: UnixMillis) {
        self.0.retain(|ended| ended.is_recent(ended_at));
        // An effect that was tried again may come after those of later raids.
        let place = self.0.partition_point(|it| it.ended_at <= ended_at);
        self.0.insert(place, EndedRaid { raid, ended_at });
        let surplus = self.0.len().saturating_sub(RECENT_RAIDS_MAX);
        self.0.drain(..surplus);
    }

    /// Returns the recent raids, the latest first.
    pub(super) fn latest(&self, now: UnixMillis) -> Vec<RaidId> {
        let recent = self.0.iter().rev().filter(|it| it.is_recent(now));
        recent.map(|it| it.raid).collect()
    }

    /// Returns whether a raid is among those of both players and recent.
    pub(super) fn has_common(&self, other: &RecentRaids, now: UnixMillis) -> bool {
        let is_common = |ended: &EndedRaid| {
            let mut others = other.0.iter();
            others.any(|it| it.raid == ended.raid && it.is_recent(now))
        };
        self.0.iter().any(|it| it.is_recent(now) && is_common(it))
    }
}

impl EndedRaid {
    const fn is_recent(&self, now: UnixMillis) -> bool {
        now.since(self.ended_at) <= RECENT_MS
    }
}
