//! An owner's watchers, here and at other instances, and the presence that it sends to those.

use std::collections::BTreeSet;
use std::time::Duration;

use raidhall_protocol::{PlayerId, Seq};
use tokio::time::Instant;

use super::super::actor::CarriedState;
use super::super::follower::Follower;
use super::super::message::ReceivedReport;
use super::super::presence::{COALESCE_INTERVAL, Presence};
use super::Owner;
use crate::cluster::message::ClusterMessage;

/// Interval between presence messages to other instances when nothing has changed.
const PRESENCE_RESEND_INTERVAL: Duration = Duration::from_secs(15);

/// How long a new owner accepts other instances' reports of players who were online before.
const INHERIT_WINDOW: Duration = Duration::from_secs(5);

/// How long a new owner waits for its followers' watcher reports. Shorter than followers wait for
/// its presence message.
const COLLECT_PRESENCE_TIMEOUT: Duration = Duration::from_millis(500);

impl Owner {
    /// Announces the claim to the followers, and takes over the players who were known to be
    /// online. `former` is the follower that this instance was until now: its subscription is still
    /// among those that the announcement counts.
    pub(in super::super) async fn start_ownership(
        &mut self,
        carried: &mut CarriedState,
        former: Option<Follower>,
    ) {
        let cluster = self.sessions.cluster.clone();
        let now = Instant::now();
        carried.remote_watchers.begin_ownership();
        carried
            .presence
            .take_over(now, self.presence_grace(carried, now));
        if cluster.is_standalone() {
            return;
        }
        let followers = cluster
            .announce_claim(self.message_header(self.committed_seq))
            .await
            .unwrap_or(0);
        let is_own_counted = former.is_some_and(|follower| follower.is_subscribed());
        let followers = followers.saturating_sub(u64::from(is_own_counted));
        // A watched follower already has the former owner's presence; without watchers it got none.
        if !self.audience.is_watched() || carried.presence.announced().is_empty() {
            self.collect_presence(followers, carried).await;
        }
    }

    /// Collects the watcher reports of `followers` other instances before any watch is answered.
    /// Otherwise the first watcher could be shown an empty presence, only because the other
    /// instances have not reported yet. Other requests wait, and are put back afterwards.
    async fn collect_presence(&mut self, followers: u64, carried: &mut CarriedState) {
        let until = Instant::now() + COLLECT_PRESENCE_TIMEOUT;
        let mut reporters = BTreeSet::new();
        let mut others = Vec::new();
        let room = self.sessions.options.mailbox_messages_max;
        while (reporters.len() as u64) < followers && others.len() < room {
            match tokio::time::timeout_at(until, carried.mailbox.next()).await {
                Ok(Some(super::SessionMessage::WatcherReport(received))) => {
                    // An instance may report more than once, for example when a watch begins there.
                    reporters.insert(received.from);
                    self.apply_watcher_report(received, carried);
                }
                Ok(Some(super::SessionMessage::Handover { online, .. })) => {
                    self.accept_handover(&online, carried)
                }
                Ok(Some(message)) => others.push(message),
                Ok(None) | Err(_) => break,
            }
        }
        carried.mailbox.put_back(others.into_iter());
    }

    /// Recomputes presence, the signal relay and the subscription from the watchers here and
    /// elsewhere.
    pub(super) fn update_watchers(&mut self, carried: &mut CarriedState) {
        let registry = self.sessions.clone();
        let now = Instant::now();
        self.last_needed_at = now;
        carried
            .remote_watchers
            .remove_dead(registry.cluster.membership(), now);
        let mut watching = self.audience.watching_players();
        watching.extend(
            carried
                .remote_watchers
                .players()
                .into_iter()
                .filter(|player| self.audience.is_member(*player)),
        );
        let grace = self.presence_grace(carried, now);
        carried.presence.set_watching(&watching, now, grace);
        let elsewhere = !carried.remote_watchers.is_empty();
        self.audience
            .set_signal_relay(elsewhere.then(|| (registry.cluster.clone(), self.epoch)));
        if !elsewhere {
            carried.subscription = None;
            self.presence_resend_at = None;
        } else if carried.subscription.is_none() {
            let subscription = registry.cluster.follow(self.audience.raid(), false);
            // Signals may be lost, so nothing waits for the subscription.
            subscription.start_subscribing();
            carried.subscription = Some(subscription);
        }
    }

    /// Applies another instance's watcher report. If it has just begun to have watchers, presence
    /// is sent to it in the next turn.
    pub(super) fn apply_watcher_report(
        &mut self,
        received: ReceivedReport,
        carried: &mut CarriedState,
    ) {
        let now = Instant::now();
        let known = received.report.known.clone();
        let is_new = carried.remote_watchers.apply_report(received, now);
        if !known.is_empty() && self.owned_since.elapsed() < INHERIT_WINDOW {
            self.inherit_presence(&known, carried);
        }
        self.update_watchers(carried);
        if is_new {
            self.presence_resend_at = Some(now);
        }
    }

    /// Accepts presence from a former owner that has handed over the raid and named this instance its successor.
    pub(super) fn accept_handover(&mut self, known: &[PlayerId], carried: &mut CarriedState) {
        carried.remote_watchers.record_drain(Instant::now());
        self.inherit_presence(known, carried);
    }

    /// Takes over the members who were online at a former owner. Those who do not watch again
    /// within the grace go offline.
    fn inherit_presence(&mut self, known: &[PlayerId], carried: &mut CarriedState) {
        let now = Instant::now();
        let members: Vec<_> = known
            .iter()
            .copied()
            .filter(|player| self.audience.is_member(*player))
            .collect();
        let watched = self.audience.is_watched();
        carried
            .presence
            .inherit(&members, now, self.presence_grace(carried, now), watched);
    }

    /// Returns how long a player stays online after its last watch ends. Doubled while an instance
    /// drains, because its clients are on their way to another one.
    fn presence_grace(&self, carried: &CarriedState, now: Instant) -> Duration {
        let grace = self.sessions.options.presence_grace;
        if carried.remote_watchers.has_recent_drain(now) {
            grace * 2
        } else {
            grace
        }
    }

    /// Sends the whole set of online players to the other instances, and again until these players
    /// have been announced: a change that is undone before is not announced.
    pub(super) fn publish_presence(&mut self, presence: &Presence, now: Instant) {
        self.presence_counter += 1;
        let resend_after = if presence.online() == presence.announced() {
            PRESENCE_RESEND_INTERVAL
        } else {
            COALESCE_INTERVAL
        };
        self.presence_resend_at = Some(now + resend_after);
        let online = presence.online().iter().copied().collect();
        let presence_message = ClusterMessage::Presence {
            counter: self.presence_counter,
            online,
        };
        self.sessions
            .cluster
            .broadcast(self.message_header(self.committed_seq), presence_message);
    }

    /// Updates whether the set of watchers is in doubt. When a doubt ends, every player gets the
    /// whole grace again.
    pub(super) fn update_presence_certainty(&mut self, carried: &mut CarriedState, now: Instant) {
        let in_doubt = !self.sessions.cluster.is_bus_healthy()
            || carried.remote_watchers.has_stale_report(now);
        if self.is_presence_uncertain && !in_doubt {
            self.restart_grace_periods(carried);
        }
        self.is_presence_uncertain = in_doubt;
    }

    /// Restarts all grace periods, the leader's too, after a time in which the watchers were not
    /// known.
    pub(in super::super) fn restart_grace_periods(&mut self, carried: &mut CarriedState) {
        let now = Instant::now();
        carried
            .presence
            .restart_grace(now, self.presence_grace(carried, now));
        self.leader_away_since = None;
    }

    /// Asks instances that have been silent for a while for a new report: the last one may have
    /// been lost.
    pub(super) fn query_silent_followers(&self, carried: &mut CarriedState, now: Instant) {
        for silent in carried.remote_watchers.take_due_queries(now) {
            self.sessions.cluster.send(
                silent,
                self.message_header(Seq::ZERO),
                ClusterMessage::RequestWatcherReport,
            );
        }
    }
}
