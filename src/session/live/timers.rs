//! What time brings: deadlines, presence, a leader who is missed, and the end of a raid that nobody needs.

use super::super::presence::Presence;
use super::Live;
use crate::raid;
use crate::telemetry::metrics;
use std::sync::Arc;
use tokio::time::Instant;

impl Live {
    /// Decides what is due, shows who came online and went offline, and releases what may go.
    pub(super) fn advance(&mut self, presence: &mut Presence) {
        let hall = Arc::clone(&self.sessions.0);
        if self.state.due().is_some_and(|due| due <= hall.clock.now()) {
            // Refused by nobody: the server itself decides.
            let _ = self.decide(&raid::Command::Deadline, None, presence);
        }
        let now = Instant::now();
        if let Some(change) = presence.advance(now) {
            metrics().presence_changes.increment((change.online.len() + change.offline.len()) as u64);
            self.audience.announce(change.online, change.offline);
        }
        self.leader_away_since =
            self.leader_is_missed(presence).then(|| self.leader_away_since.unwrap_or(now));
        if self.leader_away_since.is_some_and(|since| now >= since + hall.options.leader_grace) {
            let _ = self.decide(&raid::Command::LeaderOffline, None, presence);
            self.leader_away_since = None;
        }
        self.release(presence);
    }

    /// Whether the leader is offline while another member is online.
    fn leader_is_missed(&self, presence: &Presence) -> bool {
        let shown = self.state.shown();
        let Some(leader) = shown.leader.filter(|_| !shown.status.ended()) else { return false };
        !presence.online().contains(&leader) && !presence.online().is_empty()
    }

    pub(super) fn next_timer(&self, presence: &Presence) -> Instant {
        let hall = &self.sessions.0;
        let deadline = self.state.due().map(|due| hall.clock.instant_of(due));
        let leader = self.leader_away_since.map(|since| since + hall.options.leader_grace);
        // A raid that is needed looks again when what needs it is gone, and spends no time on its idleness until then.
        let since = if self.is_needed(presence) { Instant::now() } else { self.needed_at };
        let idle = since + hall.options.idle_timeout;
        [deadline, leader, presence.next()].into_iter().flatten().fold(idle, Instant::min)
    }

    pub(super) fn is_idle(&self, presence: &Presence) -> bool {
        !self.is_needed(presence)
            && (self.unmade || self.needed_at.elapsed() >= self.sessions.0.options.idle_timeout)
    }

    /// Whether somebody watches, or something is on its way.
    fn is_needed(&self, presence: &Presence) -> bool {
        self.audience.is_watched()
            || !self.flights.is_empty()
            || !self.held.is_empty()
            || presence.next().is_some()
    }

    pub(super) fn follow_watchers(&mut self, presence: &mut Presence) {
        self.needed_at = Instant::now();
        presence.follow(&self.audience.watching(), self.needed_at, self.sessions.0.options.presence_grace);
    }
}
