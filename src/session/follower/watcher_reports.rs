//! A follower's watcher reports to the raid's owner.

use raidhall_protocol::PlayerId;
use tokio::time::Instant;

use super::Follower;
use crate::cluster::message::{ClusterMessage, WatcherReport};
use crate::session::actor::CarriedState;
use crate::session::presence::Presence;
use crate::session::remote_watchers::REPORT_INTERVAL;

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

    /// Schedules the end of the known presence if the raid is not watched here any more: without
    /// watchers no presence arrives, and outdated presence must not be passed on. It is kept for the
    /// grace, because a watch that begins again may find no owner to ask.
    pub(super) fn schedule_presence_end(&mut self) {
        let ends_at = Instant::now() + self.sessions.options.presence_grace;
        let is_watched = self.audience.is_watched();
        self.presence_ends_at = (!is_watched).then(|| self.presence_ends_at.unwrap_or(ends_at));
    }

    /// Returns when presence is forgotten. It is kept for a watch that has begun since the end was
    /// scheduled, because later changes are told relative to it, and for the successor during a
    /// handover.
    pub(super) fn presence_ends_at(&self) -> Option<Instant> {
        let is_watched = self.audience.is_watched() || self.presence_wait.is_some();
        let is_kept = is_watched || self.handover_guard.is_some();
        self.presence_ends_at.filter(|_| !is_kept)
    }

    pub(super) fn forget_outdated_presence(&mut self, carried: &mut CarriedState) {
        if self
            .presence_ends_at()
            .is_some_and(|at| at <= Instant::now())
        {
            self.presence_ends_at = None;
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
        let watched = watched || self.presence_wait.is_some();
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
