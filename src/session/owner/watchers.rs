//! Who watches, here and at other instances, and what those are told.

use std::collections::BTreeSet;
use std::time::Duration;

use raidhall_protocol::{PlayerId, Seq, UnixMillis};
use tokio::time::Instant;

use super::super::actor::CarriedState;
use super::super::follower::Follower;
use super::super::presence::Presence;
use super::Owner;
use crate::cluster::message::{ClusterMessage, WatcherReport};
use crate::store::InstanceId;

/// How often other instances are told who is online, though nothing has changed.
const PRESENCE_RESEND_INTERVAL: Duration = Duration::from_secs(15);

/// How long after a raid became ours others are believed who say whom they knew to be online.
const INHERIT_WINDOW: Duration = Duration::from_secs(5);

/// How long a new owner waits for those who follow the raid to say who watches: less than they wait for it to say who is
/// online.
const COLLECT_PRESENCE_TIMEOUT: Duration = Duration::from_millis(500);

impl Owner {
    /// Says that the raid is ours now, and takes over who was known to be online. `former` is the edge that we were until
    /// now: it follows the raid, and is counted, until it is known how many others do.
    pub(in super::super) async fn start_ownership(
        &mut self,
        carried: &mut CarriedState,
        former: Option<Follower>,
    ) {
        let link = self.sessions.cluster.clone();
        let now = Instant::now();
        carried
            .presence
            .take_over(now, self.presence_grace(carried, now));
        if link.is_standalone() {
            return;
        }
        let followers = link
            .announce_claim(self.message_header(self.committed_seq))
            .await
            .unwrap_or(0);
        let ourselves = former.is_some_and(|edge| edge.is_subscribed());
        let followers = followers.saturating_sub(u64::from(ourselves));
        // What we know is what the owner before us told, unless it had no reason to tell us.
        if !self.audience.is_watched() || carried.presence.announced().is_empty() {
            self.collect_presence(followers, carried).await;
        }
    }

    /// Whoever watches first must not be told that nobody is there when others only have not been asked yet, and nobody
    /// is told anything before the call is over.
    async fn collect_presence(&mut self, followers: u64, carried: &mut CarriedState) {
        let until = Instant::now() + COLLECT_PRESENCE_TIMEOUT;
        let (mut answers, mut others) = (BTreeSet::new(), Vec::new());
        let room = self.sessions.options.mailbox_messages_max;
        while (answers.len() as u64) < followers && others.len() < room {
            match tokio::time::timeout_at(until, carried.mailbox.next()).await {
                Ok(Some(super::SessionMessage::WatcherReport {
                    from,
                    at,
                    report: watching,
                })) => {
                    // It may say more than once, as when somebody begins to watch there.
                    answers.insert(from);
                    self.apply_watcher_report(from, at, watching, carried);
                }
                Ok(Some(super::SessionMessage::Handover { online, .. })) => {
                    self.accept_handover(&online, carried)
                }
                Ok(Some(message)) => others.push(message),
                Ok(None) | Err(_) => break,
            }
        }
        carried.mailbox.put_back(others.into_iter());
        if !answers.is_empty() {
            self.publish_presence(&carried.presence, Instant::now());
        }
    }

    /// Follows who watches, here and elsewhere.
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
            (carried.subscription, self.presence_resend_at) = (None, None);
        } else if carried.subscription.is_none() {
            let following = registry.cluster.follow(self.audience.raid(), false);
            // Signals may be lost; nothing waits for them.
            following.start_subscribing();
            carried.subscription = Some(following);
        }
    }

    /// Another instance says who watches there.
    pub(super) fn handle_watcher_report(
        &mut self,
        from: InstanceId,
        at: UnixMillis,
        watching: WatcherReport,
        carried: &mut CarriedState,
    ) {
        if self.apply_watcher_report(from, at, watching, carried) {
            self.publish_presence(&carried.presence, Instant::now());
        }
    }

    /// Takes in who watches at another instance. True if it had not been known to have watchers.
    pub(super) fn apply_watcher_report(
        &mut self,
        from: InstanceId,
        at: UnixMillis,
        watching: WatcherReport,
        carried: &mut CarriedState,
    ) -> bool {
        let known = watching.known.clone();
        let new = carried
            .remote_watchers
            .apply_report(from, at, watching, Instant::now());
        if !known.is_empty() && self.owned_since.elapsed() < INHERIT_WINDOW {
            self.inherit_presence(&known, carried);
        }
        self.update_watchers(carried);
        new
    }

    /// A former owner, which is about to end, names us its heir.
    pub(super) fn accept_handover(&mut self, known: &[PlayerId], carried: &mut CarriedState) {
        carried.remote_watchers.record_drain(Instant::now());
        self.inherit_presence(known, carried);
    }

    /// These were online at a former owner; whoever of them does not come back in time goes offline.
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

    /// How long who stops to watch stays online: longer while an instance lets its clients go, for they are on their
    /// way to another.
    fn presence_grace(&self, carried: &CarriedState, now: Instant) -> Duration {
        let grace = self.sessions.options.presence_grace;
        if carried.remote_watchers.has_recent_drain(now) {
            grace * 2
        } else {
            grace
        }
    }

    /// Tells the other instances everybody who is online.
    pub(super) fn publish_presence(&mut self, presence: &Presence, now: Instant) {
        self.presence_counter += 1;
        self.presence_resend_at = Some(now + PRESENCE_RESEND_INTERVAL);
        let online = presence.online().iter().copied().collect();
        let note = ClusterMessage::Presence {
            counter: self.presence_counter,
            online,
        };
        self.sessions
            .cluster
            .broadcast(self.message_header(self.committed_seq), note);
    }

    /// Looks whether it is sure who watches. When a doubt ends, everybody has the whole grace to be seen.
    pub(super) fn update_presence_certainty(&mut self, carried: &mut CarriedState, now: Instant) {
        let in_doubt = !self.sessions.cluster.is_bus_healthy()
            || carried.remote_watchers.has_stale_report(now);
        if self.is_presence_uncertain && !in_doubt {
            self.restart_grace_periods(carried);
        }
        self.is_presence_uncertain = in_doubt;
    }

    /// For a while it was not known who watches: everybody has the whole grace again, a leader too.
    pub(in super::super) fn restart_grace_periods(&mut self, carried: &mut CarriedState) {
        let now = Instant::now();
        carried
            .presence
            .restart_grace(now, self.presence_grace(carried, now));
        self.leader_away_since = None;
    }

    /// Asks those who have been silent for a while whether anybody still watches there: what they last said may have
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
