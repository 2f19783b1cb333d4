//! Who is online: soft state, neither numbered nor stored.
//!
//! A player is online while any of its connections watches the raid, and for a grace after the last one drops, so
//! that a blink shows nowhere.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use raidhall_protocol::PlayerId;
use tokio::time::Instant;

/// How long changes are gathered before they are announced together.
const COALESCE: Duration = Duration::from_millis(100);

/// The presence of one raid's members.
#[derive(Debug, Default)]
pub(super) struct Presence {
    online: BTreeSet<PlayerId>,
    /// Online, but no connection watches: until when they stay so.
    leaving: BTreeMap<PlayerId, Instant>,
    announced: BTreeSet<PlayerId>,
    announce_at: Option<Instant>,
}

/// What to tell the watchers.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Change {
    /// Who is online now and was not.
    pub(super) online: Vec<PlayerId>,
    /// Who was online and is not.
    pub(super) offline: Vec<PlayerId>,
}

impl Presence {
    /// The members who are online.
    pub(super) const fn online(&self) -> &BTreeSet<PlayerId> {
        &self.online
    }

    /// Who is online as the watchers know it: what a new watcher starts from, since it is told the same changes as
    /// they from then on.
    pub(super) const fn announced(&self) -> &BTreeSet<PlayerId> {
        &self.announced
    }

    /// Follows the set of members who watch.
    pub(super) fn follow(&mut self, watching: &BTreeSet<PlayerId>, now: Instant, grace: Duration) {
        watching.iter().for_each(|player| self.arrive(*player, now));
        for player in &self.online {
            if !watching.contains(player) {
                self.leaving.entry(*player).or_insert(now + grace);
            }
        }
    }

    /// Takes a player online whose watch begins this moment.
    pub(super) fn arrive(&mut self, player: PlayerId, now: Instant) {
        self.leaving.remove(&player);
        if self.online.insert(player) {
            self.touched(now);
        }
    }

    /// Forgets everybody who is no member any more.
    pub(super) fn retain(&mut self, is_member: impl Fn(PlayerId) -> bool, now: Instant) {
        let before = self.online.len();
        self.online.retain(|player| is_member(*player));
        self.leaving.retain(|player, _| is_member(*player));
        if self.online.len() != before {
            self.touched(now);
        }
    }

    /// When something happens next by itself. Nobody goes offline in doubt.
    pub(super) fn next(&self, in_doubt: bool) -> Option<Instant> {
        let leaving = self.leaving.values().copied().min().filter(|_| !in_doubt);
        leaving.into_iter().chain(self.announce_at).min()
    }

    /// Whether nothing happens by itself: nobody is leaving, and nothing is about to be told.
    pub(super) fn is_quiet(&self) -> bool {
        self.leaving.is_empty() && self.announce_at.is_none()
    }

    /// Takes those offline whose grace is over, unless who watches is in doubt. Gives what is to be announced, when it
    /// is time.
    pub(super) fn advance(&mut self, now: Instant, in_doubt: bool) -> Option<Change> {
        let over = |_: &PlayerId, until: &mut Instant| !in_doubt && *until <= now;
        for (player, _) in self.leaving.extract_if(.., over).collect::<Vec<_>>() {
            self.online.remove(&player);
            self.touched(now);
        }
        self.announce_at.take_if(|at| *at <= now)?;
        let change = Change {
            online: self.online.difference(&self.announced).copied().collect(),
            offline: self.announced.difference(&self.online).copied().collect(),
        };
        self.announced.clone_from(&self.online);
        (!change.online.is_empty() || !change.offline.is_empty()).then_some(change)
    }

    /// A doubt is over: everybody who does not watch gets the whole grace again.
    pub(super) fn begin_anew(&mut self, now: Instant, grace: Duration) {
        self.leaving
            .values_mut()
            .for_each(|until| *until = (*until).max(now + grace));
    }

    /// Takes over who was online at a former owner: all stay so for a grace. Whoever watches here is told whom it did not
    /// know; if nobody does, they just start from it.
    pub(super) fn inherit(
        &mut self,
        known: &[PlayerId],
        now: Instant,
        grace: Duration,
        watched: bool,
    ) {
        for player in known {
            if self.online.insert(*player) {
                self.leaving.insert(*player, now + grace);
                if watched {
                    self.touched(now);
                }
            }
            if !watched {
                self.announced.insert(*player);
            }
        }
    }

    /// The raid is ours now: who was known to be online is so for a grace, until it is known who watches.
    pub(super) fn take_over(&mut self, now: Instant, grace: Duration) {
        self.online.clone_from(&self.announced);
        self.leaving = self
            .online
            .iter()
            .map(|player| (*player, now + grace))
            .collect();
        self.announce_at = None;
    }

    /// Follows what the raid's owner at another instance says. Gives what is to be told here.
    pub(super) fn adopt(&mut self, online: BTreeSet<PlayerId>) -> Option<Change> {
        let change = Change {
            online: online.difference(&self.announced).copied().collect(),
            offline: self.announced.difference(&online).copied().collect(),
        };
        self.online.clone_from(&online);
        self.announced = online;
        self.leaving.clear();
        self.announce_at = None;
        (!change.online.is_empty() || !change.offline.is_empty()).then_some(change)
    }

    fn touched(&mut self, now: Instant) {
        self.announce_at.get_or_insert(now + COALESCE);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    impl Presence {
        fn passes(&mut self, now: Instant) -> Option<Change> {
            self.advance(now, false)
        }
    }

    const GRACE: Duration = Duration::from_secs(5);

    fn players(ids: &[u64]) -> BTreeSet<PlayerId> {
        ids.iter()
            .map(|id| PlayerId::try_from(*id).expect("a test's id"))
            .collect()
    }

    fn change(online: &[u64], offline: &[u64]) -> Option<Change> {
        let list = |ids| players(ids).into_iter().collect();
        Some(Change {
            online: list(online),
            offline: list(offline),
        })
    }

    #[test]
    fn a_blink_within_the_grace_shows_nowhere() {
        let (mut presence, start) = (Presence::default(), Instant::now());
        let at = |secs| start + Duration::from_secs(secs);
        presence.follow(&players(&[1, 2]), at(0), GRACE);
        assert_eq!(presence.passes(at(1)), change(&[1, 2], &[]));
        presence.follow(&players(&[1]), at(10), GRACE);
        assert_eq!(presence.passes(at(14)), None);
        presence.follow(&players(&[1, 2]), at(14), GRACE);
        assert_eq!(presence.passes(at(60)), None);
        assert_eq!(presence.online(), &players(&[1, 2]));
    }

    #[test]
    fn who_stays_away_goes_offline_after_the_grace() {
        let (mut presence, start) = (Presence::default(), Instant::now());
        let at = |secs| start + Duration::from_secs(secs);
        presence.follow(&players(&[1, 2]), at(0), GRACE);
        presence.passes(at(1));
        presence.follow(&players(&[1]), at(10), GRACE);
        assert_eq!(presence.next(false), Some(at(15)));
        assert_eq!(presence.passes(at(15)), None, "gathered first");
        assert_eq!(presence.online(), &players(&[1]));
        assert_eq!(presence.passes(at(16)), change(&[], &[2]));
        assert_eq!(presence.next(false), None);
    }

    #[test]
    fn changes_within_a_moment_are_announced_together() {
        let (mut presence, start) = (Presence::default(), Instant::now());
        presence.follow(&players(&[1]), start, GRACE);
        presence.follow(&players(&[1, 2]), start + COALESCE / 2, GRACE);
        assert_eq!(presence.passes(start + COALESCE / 2), None);
        assert_eq!(presence.passes(start + COALESCE), change(&[1, 2], &[]));
    }

    #[test]
    fn who_comes_to_watch_between_two_announcements_ends_up_knowing_what_all_know() {
        let (mut presence, start) = (Presence::default(), Instant::now());
        let at = |tenths: u32| start + COALESCE * tenths / 2;
        presence.follow(&players(&[1, 2]), at(0), GRACE);
        presence.passes(at(2));
        presence.retain(|player| player.get() != 2, at(3));
        let mut known = presence.announced().clone();
        presence.arrive(players(&[2]).pop_first().expect("two"), at(4));
        if let Some(change) = presence.passes(at(9)) {
            known.extend(change.online);
            known.retain(|player| !change.offline.contains(player));
        }
        assert_eq!(&known, presence.online());
    }

    #[test]
    fn who_is_no_member_is_not_online() {
        let (mut presence, start) = (Presence::default(), Instant::now());
        presence.follow(&players(&[1, 2]), start, GRACE);
        presence.passes(start + COALESCE);
        presence.retain(|player| player.get() == 1, start + GRACE);
        assert_eq!(presence.passes(start + GRACE * 2), change(&[], &[2]));
    }

    #[test]
    fn in_doubt_nobody_goes_offline_and_after_it_the_grace_begins_anew() {
        let (mut presence, start) = (Presence::default(), Instant::now());
        let at = |secs| start + Duration::from_secs(secs);
        presence.follow(&players(&[1, 2]), at(0), GRACE);
        presence.passes(at(1));
        presence.follow(&players(&[1]), at(10), GRACE);
        assert_eq!(presence.advance(at(30), true), None);
        assert_eq!(presence.next(true), None, "nothing to wake for");
        presence.begin_anew(at(30), GRACE);
        assert_eq!(presence.next(false), Some(at(35)));
        presence.passes(at(35));
        assert_eq!(presence.passes(at(36)), change(&[], &[2]));
    }

    #[test]
    fn a_new_owner_starts_from_whom_it_knew_and_tells_nobody_what_has_not_changed() {
        let (mut presence, start) = (Presence::default(), Instant::now());
        let at = |secs| start + Duration::from_secs(secs);
        assert_eq!(presence.adopt(players(&[1, 2])), change(&[1, 2], &[]));
        assert_eq!(presence.adopt(players(&[1, 2, 3])), change(&[3], &[]));
        presence.take_over(at(0), GRACE);
        presence.inherit(
            &[PlayerId::try_from(4_u64).expect("an id")],
            at(0),
            GRACE,
            true,
        );
        presence.follow(&players(&[1, 2, 4]), at(1), GRACE);
        assert_eq!(
            presence.passes(at(2)),
            change(&[4], &[]),
            "who watches here has not heard of four"
        );
        assert_eq!(presence.passes(at(4)), None, "three has time to come back");
        presence.passes(at(5));
        assert_eq!(presence.passes(at(6)), change(&[], &[3]));
    }
}
