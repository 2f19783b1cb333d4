//! Saying to a raid's owner who watches here.

use std::time::Duration;

use raidhall_protocol::PlayerId;
use tokio::time::{Instant, timeout_at};

use super::Follower;
use crate::cluster::message::{ClusterMessage, WatcherReport};
use crate::session::actor::CarriedState;
use crate::session::presence::Presence;
use crate::session::remote_watchers::REPORT_INTERVAL;

/// How long the first watcher waits for the owner to say who is online.
const PRESENCE_TIMEOUT: Duration = Duration::from_secs(1);

impl Follower {
    /// Says who watches here now.
    pub(super) fn report_watchers(&mut self) {
        self.send_watcher_report(self.audience.is_watched(), Vec::new());
    }

    /// Makes ourselves known to a new owner: it learns whom we last knew to be online as well.
    pub(super) fn report_to_new_owner(&mut self) {
        let memories = self.last_known_online.clone();
        self.send_watcher_report(self.audience.is_watched(), memories);
    }

    /// Says before the first watcher is answered that one is coming, and waits a moment for the owner to tell who is
    /// online: it does so whenever an instance begins to have watchers. What was said before may be of no account: who
    /// has no watchers is told nothing. If the raid turns out to be free, there is nobody to wait for.
    pub(super) async fn await_owner_presence(&mut self, carried: &mut CarriedState) {
        self.is_watcher_expected = true;
        self.report_watchers();
        let (before, until) = (self.presence_version, Instant::now() + PRESENCE_TIMEOUT);
        while self.sessions.cluster.is_bus_healthy()
            && self.presence_version <= before
            && !self.is_claimable()
        {
            let Some(replica) = &mut self.replica else {
                break;
            };
            match self
                .forwards
                .expire_while(timeout_at(until, replica.next_update()))
                .await
            {
                Ok(heard) => self.handle_update(heard, carried).await,
                Err(_) => break,
            }
        }
        self.is_watcher_expected = false;
    }

    /// Where nobody watches nothing is told: what was known of who is online grows old, and must not be passed on.
    pub(super) fn clear_unwatched_presence(&mut self, carried: &mut CarriedState) {
        if !self.audience.is_watched() && !self.is_watcher_expected && self.handover_guard.is_none()
        {
            (self.last_known_online, carried.presence) = (Vec::new(), Presence::default());
        }
    }

    /// Says that nobody watches here any more.
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
        let watching = WatcherReport {
            watched,
            players,
            known,
            draining,
        };
        registry.cluster.send(
            owner,
            self.message_header(),
            ClusterMessage::WatcherReport(watching),
        );
    }

    /// Who was online at a former owner, for the present one.
    pub(super) fn record_last_known_online(&mut self, online: Vec<PlayerId>) {
        self.last_known_online = online;
        if self.owner.is_some() {
            self.report_to_new_owner();
        }
    }
}
