//! Who is online: soft state, neither numbered nor stored.
//!
//! A player is online while any of its connections watches the raid, and for a grace after the last one drops, so
//! that a blink shows nowhere.

use raidhall_protocol::PlayerId;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
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

    /// When something happens next by itself.
    pub(super) fn next(&self) -> Option<Instant> {
        self.leaving.values().copied().chain(self.announce_at).min()
    }

    /// Takes those offline whose grace is over. Gives what is to be announced, when it is time.
    pub(super) fn advance(&mut self, now: Instant) -> Option<Change> {
        let over = self.leaving.extract_if(.., |_, until| *until <= now).map(|(player, _)| player);
        for player in over.collect::<Vec<_>>() {
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

    fn touched(&mut self, now: Instant) {
        self.announce_at.get_or_insert(now + COALESCE);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GRACE: Duration = Duration::from_secs(5);

    fn players(ids: &[u64]) -> BTreeSet<PlayerId> {
        ids.iter().map(|id| PlayerId::try_from(*id).expect("a test's id")).collect()
    }

    fn change(online: &[u64], offline: &[u64]) -> Option<Change> {
        let list = |ids| players(ids).into_iter().collect();
        Some(Change { online: list(online), offline: list(offline) })
    }

    #[test]
    fn a_blink_within_the_grace_shows_nowhere() {
        let (mut presence, start) = (Presence::default(), Instant::now());
        let at = |secs| start + Duration::from_secs(secs);
        presence.follow(&players(&[1, 2]), at(0), GRACE);
        assert_eq!(presence.advance(at(1)), change(&[1, 2], &[]));
        presence.follow(&players(&[1]), at(10), GRACE);
        assert_eq!(presence.advance(at(14)), None);
        presence.follow(&players(&[1, 2]), at(14), GRACE);
        assert_eq!(presence.advance(at(60)), None);
        assert_eq!(presence.online(), &players(&[1, 2]));
    }

    #[test]
    fn who_stays_away_goes_offline_after_the_grace() {
        let (mut presence, start) = (Presence::default(), Instant::now());
        let at = |secs| start + Duration::from_secs(secs);
        presence.follow(&players(&[1, 2]), at(0), GRACE);
        presence.advance(at(1));
        presence.follow(&players(&[1]), at(10), GRACE);
        assert_eq!(presence.next(), Some(at(15)));
        assert_eq!(presence.advance(at(15)), None, "gathered first");
        assert_eq!(presence.online(), &players(&[1]));
        assert_eq!(presence.advance(at(16)), change(&[], &[2]));
        assert_eq!(presence.next(), None);
    }

    #[test]
    fn changes_within_a_moment_are_announced_together() {
        let (mut presence, start) = (Presence::default(), Instant::now());
        presence.follow(&players(&[1]), start, GRACE);
        presence.follow(&players(&[1, 2]), start + COALESCE / 2, GRACE);
        assert_eq!(presence.advance(start + COALESCE / 2), None);
        assert_eq!(presence.advance(start + COALESCE), change(&[1, 2], &[]));
    }

    #[test]
    fn who_comes_to_watch_between_two_announcements_ends_up_knowing_what_all_know() {
        let (mut presence, start) = (Presence::default(), Instant::now());
        let at = |tenths: u32| start + COALESCE * tenths / 2;
        presence.follow(&players(&[1, 2]), at(0), GRACE);
        presence.advance(at(2));
        presence.retain(|player| player.get() != 2, at(3));
        let mut known = presence.announced().clone();
        presence.arrive(players(&[2]).pop_first().expect("two"), at(4));
        if let Some(change) = presence.advance(at(9)) {
            known.extend(change.online);
            known.retain(|player| !change.offline.contains(player));
        }
        assert_eq!(&known, presence.online());
    }

    #[test]
    fn who_is_no_member_is_not_online() {
        let (mut presence, start) = (Presence::default(), Instant::now());
        presence.follow(&players(&[1, 2]), start, GRACE);
        presence.advance(start + COALESCE);
        presence.retain(|player| player.get() == 1, start + GRACE);
        assert_eq!(presence.advance(start + GRACE * 2), change(&[], &[2]));
    }
}
