//! An owner's timers: deadlines, presence, an absent leader, and the end of a raid that is not
//! needed.

use tokio::time::Instant;

use super::super::actor::CarriedState;
use super::super::presence::Presence;
use super::Owner;
use crate::raid;
use crate::telemetry::metrics;

impl Owner {
    /// Decides a due deadline, announces presence changes, replaces an absent leader, and releases
    /// durable replies.
    pub(super) fn advance(&mut self, carried: &mut CarriedState) {
        let registry = self.sessions.clone();
        if self
            .state
            .active_deadline()
            .is_some_and(|due| due <= registry.clock.now())
        {
            // The server's own command; its refusal has no recipient.
            let _ = self.decide(&raid::RaidCommand::Deadline, None, &carried.presence);
        }
        let now = Instant::now();
        self.query_silent_followers(carried, now);
        self.update_presence_certainty(carried, now);
        let is_watched_elsewhere = carried.subscription.is_some();
        let presence = &mut carried.presence;
        let change = presence.advance(now, self.is_presence_uncertain);
        let is_resend_due = self.presence_resend_at.take_if(|at| *at <= now).is_some();
        if is_watched_elsewhere && (change.is_some() || is_resend_due) {
            self.publish_presence(presence, now);
        }
        if let Some(change) = change {
            metrics()
                .presence_changes
                .increment((change.online.len() + change.offline.len()) as u64);
            self.audience
                .publish_presence(change.online, change.offline);
        }
        self.leader_away_since = self
            .is_leader_missed(presence)
            .then(|| self.leader_away_since.unwrap_or(now));
        if self
            .leader_away_since
            .is_some_and(|since| now >= since + registry.options.leader_grace)
        {
            let _ = self.decide(&raid::RaidCommand::LeaderOffline, None, presence);
            self.leader_away_since = None;
        }
        self.release_replies(presence);
    }

    /// Returns whether the leader is offline while another member is online; `false` while presence
    /// is in doubt.
    fn is_leader_missed(&self, presence: &Presence) -> bool {
        let shown = self.state.shown();
        let Some(leader) = shown
            .leader
            .filter(|_| !shown.status.ended() && !self.is_presence_uncertain)
        else {
            return false;
        };
        !presence.online().contains(&leader) && !presence.online().is_empty()
    }

    pub(super) fn next_timer(&self, carried: &CarriedState) -> Instant {
        let presence = &carried.presence;
        let registry = &self.sessions;
        let deadline = self
            .state
            .active_deadline()
            .map(|due| registry.clock.instant_of(due));
        let leader = self
            .leader_away_since
            .map(|since| since + registry.options.leader_grace);
        // While the raid is needed, every turn pushes its idle timer back by the whole timeout.
        let needed_at = if self.is_needed(carried) {
            Instant::now()
        } else {
            self.last_needed_at
        };
        let idle = needed_at + registry.options.idle_timeout;
        let query = carried.remote_watchers.next_query_at();
        let timers = [
            deadline,
            leader,
            presence.next_timer(self.is_presence_uncertain),
            self.presence_resend_at,
            query,
        ];
        timers.into_iter().flatten().fold(idle, Instant::min)
    }

    pub(super) fn is_idle(&self, carried: &CarriedState) -> bool {
        !self.is_needed(carried)
            && carried.remote_watchers.is_empty()
            && (self.is_creation_refused
                || self.last_needed_at.elapsed() >= self.sessions.options.idle_timeout)
    }

    /// Returns whether the raid has watchers, here or elsewhere, or work in progress.
    fn is_needed(&self, carried: &CarriedState) -> bool {
        self.audience.is_watched()
            || !self.inflight_commits.is_empty()
            || !self.pending_replies.is_empty()
            || self.waiting_requests() > 0
            || !carried.presence.is_settled()
            || carried.subscription.is_some()
    }
}
