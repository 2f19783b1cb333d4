//! Presence: which members are online. Soft state, neither numbered nor stored.
//!
//! A player is online while any of its connections watches the raid, and for a grace period after
//! the last watch ends, so that a brief reconnect is not visible.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use raidhall_protocol::PlayerId;
use tokio::time::Instant;

/// How long changes are collected before they are announced together.
pub(super) const COALESCE_INTERVAL: Duration = Duration::from_millis(100);

/// The presence of one raid's members.
#[derive(Debug, Default)]
pub(super) struct Presence {
    online: BTreeSet<PlayerId>,
    /// Online players without a watch, and when each goes offline.
    offline_at: BTreeMap<PlayerId, Instant>,
    announced: BTreeSet<PlayerId>,
    announce_at: Option<Instant>,
}

/// Changes of presence to announce to the watchers.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct PresenceChange {
    /// Players who have come online.
    pub(super) online: Vec<PlayerId>,
    /// Players who have gone offline.
    pub(super) offline: Vec<PlayerId>,
}

impl Presence {
    /// Returns the members who are online.
    pub(super) const fn online(&self) -> &BTreeSet<PlayerId> {
        &self.online
    }

    /// Returns the players who are online as far as the watchers know. A new watcher starts from
    /// this set, because it receives the same changes as the others from then on.
    pub(super) const fn announced(&self) -> &BTreeSet<PlayerId> {
        &self.announced
    }

    /// Updates presence to the members who watch now; the others go offline after `grace`.
    pub(super) fn set_watching(
        &mut self,
        watching: &BTreeSet<PlayerId>,
        now: Instant,
        grace: Duration,
    ) {
        for player in watching {
            self.set_online(*player, now);
        }
        for player in &self.online {
            if !watching.contains(player) {
                self.offline_at.entry(*player).or_insert(now + grace);
            }
        }
    }

    /// Marks a player whose watch begins now as online.
    pub(super) fn set_online(&mut self, player: PlayerId, now: Instant) {
        self.offline_at.remove(&player);
        if self.online.insert(player) {
            self.schedule_announcement(now);
        }
    }

    /// Removes players who are no longer members.
    pub(super) fn retain_members(&mut self, is_member: impl Fn(PlayerId) -> bool, now: Instant) {
        let before = self.online.len();
        self.online.retain(|player| is_member(*player));
        self.offline_at.retain(|player, _| is_member(*player));
        if self.online.len() != before {
            self.schedule_announcement(now);
        }
    }

    /// Returns when [`advance`](Self::advance) has something to do. While presence is in doubt no
    /// player goes offline.
    pub(super) fn next_timer(&self, in_doubt: bool) -> Option<Instant> {
        let leaving = self
            .offline_at
            .values()
            .copied()
            .min()
            .filter(|_| !in_doubt);
        leaving.into_iter().chain(self.announce_at).min()
    }

    /// Returns whether nothing is scheduled: no player is about to go offline, and no announcement
    /// is due.
    pub(super) fn is_settled(&self) -> bool {
        self.offline_at.is_empty() && self.announce_at.is_none()
    }

    /// Takes players offline whose grace is over, unless presence is in doubt. Returns the changes
    /// once their announcement is due.
    pub(super) fn advance(&mut self, now: Instant, in_doubt: bool) -> Option<PresenceChange> {
        let is_over = |_: &PlayerId, until: &mut Instant| !in_doubt && *until <= now;
        for (player, _) in self.offline_at.extract_if(.., is_over).collect::<Vec<_>>() {
            self.online.remove(&player);
            self.schedule_announcement(now);
        }
        self.announce_at.take_if(|at| *at <= now)?;
        let change = PresenceChange {
            online: self.online.difference(&self.announced).copied().collect(),
            offline: self.announced.difference(&self.online).copied().collect(),
        };
        self.announced.clone_from(&self.online);
        (!change.online.is_empty() || !change.offline.is_empty()).then_some(change)
    }

    /// Gives every player without a watch the whole grace again, after a doubt has ended.
    pub(super) fn restart_grace(&mut self, now: Instant, grace: Duration) {
        for until in self.offline_at.values_mut() {
            *until = (*until).max(now + grace);
        }
    }

    /// Takes over the players who were online at a former owner; they stay online for a grace
    /// period. If the raid is watched here, players unknown to the watchers are announced; if not,
    /// the first watcher starts from the inherited set.
    pub(super) fn inherit(
        &mut self,
        known: &[PlayerId],
        now: Instant,
        grace: Duration,
        watched: bool,
    ) {
        for player in known {
            if self.online.insert(*player) {
                self.offline_at.insert(*player, now + grace);
                if watched {
                    self.schedule_announcement(now);
                }
            }
            if !watched {
                self.announced.insert(*player);
            }
        }
    }

    /// Starts presence at a new owner: the players last announced stay online for a grace period,
    /// until the watchers are known.
    pub(super) fn take_over(&mut self, now: Instant, grace: Duration) {
        self.online.clone_from(&self.announced);
        self.offline_at = self
            .online
            .iter()
            .map(|player| (*player, now + grace))
            .collect();
        self.announce_at = None;
    }

    /// Replaces presence by what the raid's owner reports. Returns the changes to announce at this
    /// instance.
    pub(super) fn apply_owner_presence(
        &mut self,
        online: BTreeSet<PlayerId>,
    ) -> Option<PresenceChange> {
        let change = PresenceChange {
            online: online.difference(&self.announced).copied().collect(),
            offline: self.announced.difference(&online).copied().collect(),
        };
        self.online.clone_from(&online);
        self.announced = online;
        self.offline_at.clear();
        self.announce_at = None;
        (!change.online.is_empty() || !change.offline.is_empty()).then_some(change)
    }

    fn schedule_announcement(&mut self, now: Instant) {
        self.announce_at.get_or_insert(now + COALESCE_INTERVAL);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    impl Presence {
        fn advance_certain(&mut self, now: Instant) -> Option<PresenceChange> {
            self.advance(now, false)
        }
    }

    const GRACE: Duration = Duration::from_secs(5);

    fn players(ids: &[u64]) -> BTreeSet<PlayerId> {
        ids.iter()
            .map(|id| PlayerId::try_from(*id).expect("a test's id"))
            .collect()
    }

    fn change(online: &[u64], offline: &[u64]) -> Option<PresenceChange> {
        let list = |ids| players(ids).into_iter().collect();
        Some(PresenceChange {
            online: list(online),
            offline: list(offline),
        })
    }

    #[test]
    fn an_absence_within_the_grace_is_not_announced() {
        let mut presence = Presence::default();
        let start = Instant::now();
        let at = |secs| start + Duration::from_secs(secs);
        presence.set_watching(&players(&[1, 2]), at(0), GRACE);
        assert_eq!(presence.advance_certain(at(1)), change(&[1, 2], &[]));
        presence.set_watching(&players(&[1]), at(10), GRACE);
        assert_eq!(presence.advance_certain(at(14)), None);
        presence.set_watching(&players(&[1, 2]), at(14), GRACE);
        assert_eq!(presence.advance_certain(at(60)), None);
        assert_eq!(presence.online(), &players(&[1, 2]));
    }

    #[test]
    fn a_player_who_stays_away_goes_offline_after_the_grace() {
        let mut presence = Presence::default();
        let start = Instant::now();
        let at = |secs| start + Duration::from_secs(secs);
        presence.set_watching(&players(&[1, 2]), at(0), GRACE);
        presence.advance_certain(at(1));
        presence.set_watching(&players(&[1]), at(10), GRACE);
        assert_eq!(presence.next_timer(false), Some(at(15)));
        assert_eq!(presence.advance_certain(at(15)), None, "collected first");
        assert_eq!(presence.online(), &players(&[1]));
        assert_eq!(presence.advance_certain(at(16)), change(&[], &[2]));
        assert_eq!(presence.next_timer(false), None);
    }

    #[test]
    fn presence_changes_close_together_are_announced_as_one() {
        let mut presence = Presence::default();
        let start = Instant::now();
        presence.set_watching(&players(&[1]), start, GRACE);
        presence.set_watching(&players(&[1, 2]), start + COALESCE_INTERVAL / 2, GRACE);
        assert_eq!(
            presence.advance_certain(start + COALESCE_INTERVAL / 2),
            None
        );
        assert_eq!(
            presence.advance_certain(start + COALESCE_INTERVAL),
            change(&[1, 2], &[])
        );
    }

    #[test]
    fn a_watcher_between_two_announcements_ends_with_current_presence() {
        let mut presence = Presence::default();
        let start = Instant::now();
        let at = |tenths: u32| start + COALESCE_INTERVAL * tenths / 2;
        presence.set_watching(&players(&[1, 2]), at(0), GRACE);
        presence.advance_certain(at(2));
        presence.retain_members(|player| player.get() != 2, at(3));
        let mut known = presence.announced().clone();
        presence.set_online(players(&[2]).pop_first().expect("two"), at(4));
        if let Some(change) = presence.advance_certain(at(9)) {
            known.extend(change.online);
            known.retain(|player| !change.offline.contains(player));
        }
        assert_eq!(&known, presence.online());
    }

    #[test]
    fn a_player_who_is_no_member_is_not_online() {
        let mut presence = Presence::default();
        let start = Instant::now();
        presence.set_watching(&players(&[1, 2]), start, GRACE);
        presence.advance_certain(start + COALESCE_INTERVAL);
        presence.retain_members(|player| player.get() == 1, start + GRACE);
        assert_eq!(
            presence.advance_certain(start + GRACE * 2),
            change(&[], &[2])
        );
    }

    #[test]
    fn presence_in_doubt_shows_no_absence_and_restarts_the_grace() {
        let mut presence = Presence::default();
        let start = Instant::now();
        let at = |secs| start + Duration::from_secs(secs);
        presence.set_watching(&players(&[1, 2]), at(0), GRACE);
        presence.advance_certain(at(1));
        presence.set_watching(&players(&[1]), at(10), GRACE);
        assert_eq!(presence.advance(at(30), true), None);
        assert_eq!(presence.next_timer(true), None, "nothing to wake for");
        presence.restart_grace(at(30), GRACE);
        assert_eq!(presence.next_timer(false), Some(at(35)));
        presence.advance_certain(at(35));
        assert_eq!(presence.advance_certain(at(36)), change(&[], &[2]));
    }

    #[test]
    fn a_new_owner_inherits_presence_and_announces_only_changes() {
        let mut presence = Presence::default();
        let start = Instant::now();
        let at = |secs| start + Duration::from_secs(secs);
        assert_eq!(
            presence.apply_owner_presence(players(&[1, 2])),
            change(&[1, 2], &[])
        );
        assert_eq!(
            presence.apply_owner_presence(players(&[1, 2, 3])),
            change(&[3], &[])
        );
        presence.take_over(at(0), GRACE);
        presence.inherit(
            &[PlayerId::try_from(4_u64).expect("an id")],
            at(0),
            GRACE,
            true,
        );
        presence.set_watching(&players(&[1, 2, 4]), at(1), GRACE);
        assert_eq!(
            presence.advance_certain(at(2)),
            change(&[4], &[]),
            "player 4 has not been announced here"
        );
        assert_eq!(
            presence.advance_certain(at(4)),
            None,
            "player 3 has a grace period to return"
        );
        presence.advance_certain(at(5));
        assert_eq!(presence.advance_certain(at(6)), change(&[], &[3]));
    }
}
