//! What time brings: deadlines, presence, a leader who is missed, and the end of a raid that nobody needs.

use std::sync::Arc;

use tokio::time::Instant;

use super::super::actor::Lasting;
use super::super::presence::Presence;
use super::Live;
use crate::raid;
use crate::telemetry::metrics;

impl Live {
    /// Decides what is due, shows who came online and went offline, and releases what may go.
    pub(super) fn advance(&mut self, lasting: &mut Lasting) {
        let hall = Arc::clone(&self.sessions.0);
        if self
            .state
            .active_deadline()
            .is_some_and(|due| due <= hall.clock.now())
        {
            // Refused by nobody: the server itself decides.
            let _ = self.decide(&raid::RaidCommand::Deadline, None, &lasting.presence);
        }
        let now = Instant::now();
        self.ask_the_silent(lasting, now);
        self.doubt(lasting, now);
        let (presence, followed) = (&mut lasting.presence, lasting.following.is_some());
        let change = presence.advance(now, self.in_doubt);
        let retold = self.tell_at.take_if(|at| *at <= now).is_some();
        if followed && (change.is_some() || retold) {
            self.tell_presence(presence, now);
        }
        if let Some(change) = change {
            metrics()
                .presence_changes
                .increment((change.online.len() + change.offline.len()) as u64);
            self.audience.announce(change.online, change.offline);
        }
        self.leader_away_since = self
            .leader_is_missed(presence)
            .then(|| self.leader_away_since.unwrap_or(now));
        if self
            .leader_away_since
            .is_some_and(|since| now >= since + hall.options.leader_grace)
        {
            let _ = self.decide(&raid::RaidCommand::LeaderOffline, None, presence);
            self.leader_away_since = None;
        }
        self.release(presence);
    }

    /// Whether the leader is offline while another member is online. In doubt nobody is missed.
    fn leader_is_missed(&self, presence: &Presence) -> bool {
        let shown = self.state.shown();
        let Some(leader) = shown
            .leader
            .filter(|_| !shown.status.ended() && !self.in_doubt)
        else {
            return false;
        };
        !presence.online().contains(&leader) && !presence.online().is_empty()
    }

    pub(super) fn next_timer(&self, lasting: &Lasting) -> Instant {
        let presence = &lasting.presence;
        let hall = &self.sessions.0;
        let deadline = self
            .state
            .active_deadline()
            .map(|due| hall.clock.instant_of(due));
        let leader = self
            .leader_away_since
            .map(|since| since + hall.options.leader_grace);
        // A raid that is needed looks again when what needs it is gone, and spends no time on its idleness until then.
        let since = if self.is_needed(lasting) {
            Instant::now()
        } else {
            self.needed_at
        };
        let idle = since + hall.options.idle_timeout;
        let silent = lasting.remotes.next_silence();
        let others = [
            deadline,
            leader,
            presence.next(self.in_doubt),
            self.tell_at,
            silent,
        ];
        others.into_iter().flatten().fold(idle, Instant::min)
    }

    pub(super) fn is_idle(&self, lasting: &Lasting) -> bool {
        !self.is_needed(lasting)
            && lasting.remotes.is_empty()
            && (self.unmade || self.needed_at.elapsed() >= self.sessions.0.options.idle_timeout)
    }

    /// Whether somebody watches, or something is on its way.
    fn is_needed(&self, lasting: &Lasting) -> bool {
        self.audience.is_watched()
            || !self.flights.is_empty()
            || !self.held.is_empty()
            || !lasting.presence.is_quiet()
            || lasting.following.is_some()
    }
}
