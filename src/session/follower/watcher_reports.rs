//! A follower's watcher reports to the raid's owner.

use std::time::Duration;

use raidhall_protocol::PlayerId;
use tokio::time::{Instant, timeout_at};

use super::Follower;
use crate::cluster::message::{ClusterMessage, WatcherReport};
use crate::session::actor::CarriedState;
use crate::session::presence::Presence;
use crate::session::remote_watchers::REPORT_INTERVAL;

/// How long the first watcher waits for the owner's presence message.
const PRESENCE_TIMEOUT: Duration = Duration::from_secs(1);

impl Follower {
    /// Reports to the owner which players watch here now.
    pub(super) fn report_watchers(&mut self) {
        self.send_watcher_report(self.audience.is_watched(), Vec::new());
    }

    /// Reports the watchers to a new owner, and with them the players last known to be online.
    pub(super) fn report_to_new_owner(&mut self) {
        let known = self.last_known_online.clone();
        self.send_watcher_report(self.audience.is_watched(), known);
    }

    /// Reports the first watcher before it is answered, and waits a moment for the owner's presence
    /// message, which the owner sends whenever an instance begins to have watchers. Presence from
    /// before may be outdated, because an instance without watchers receives none. Returns early if
    /// the raid turns out to have no owner.
    pub(super) async fn await_owner_presence(&mut self, carried: &mut CarriedState) {
        self.is_watcher_expected = true;
        self.report_watchers();
        let before = self.presence_version;
        let deadline = Instant::now() + PRESENCE_TIMEOUT;
        while self.sessions.cluster.is_bus_healthy()
            && self.presence_version <= before
            && !self.is_claimable()
        {
            let Some(replica) = &mut self.replica else {
                break;
            };
            match self
                .forwards
                .expire_while(timeout_at(deadline, replica.next_update()))
                .await
            {
                Ok(update) => self.handle_update(update, carried).await,
                Err(_) => break,
            }
        }
        self.is_watcher_expected = false;
    }

    /// Forgets presence if the raid is not watched here: without watchers no presence arrives, and
    /// outdated presence must not be passed on. During a handover it is kept for the successor.
    pub(super) fn clear_unwatched_presence(&mut self, carried: &mut CarriedState) {
        if !self.audience.is_watched() && !self.is_watcher_expected && self.handover_guard.is_none()
        {
            self.last_known_online = Vec::new();
            carried.presence = Presence::default();
        }
    }

    /// Reports to the owner that this instance has no watchers any more.
    pub(super) fn report_no_watchers(&mut self) {
        if self.replica.is_some() {
            self.send_watcher_report(false, Vec::new());
        }
    }

    fn send_watcher_report(&mut self, watched: bool, known: Vec<PlayerId>) {
        self.next_report_at = Instant::now() + REPORT_INTERVAL;
        let registry = &self.sessions;
        let Some(owner) = self.owner else { return };
        let watched = watched || self.is_watcher_expected;
        let players = self.audience.watching_players().into_iter().collect();
        let draining = registry.handing_over.is_cancelled();
        let report = WatcherReport {
            watched,
            players,
            known,
            draining,
        };
        registry.cluster.send(
            owner,
            self.message_header(),
            ClusterMessage::WatcherReport(report),
        );
    }

    /// Records the players who were online at a former owner, and reports them to the present one.
    pub(super) fn record_last_known_online(&mut self, online: Vec<PlayerId>) {
        self.last_known_online = online;
        if self.owner.is_some() {
            self.report_to_new_owner();
        }
    }
}
