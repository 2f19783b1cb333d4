//! Saying to a raid's owner who watches here.

use std::time::Duration;

use raidhall_protocol::PlayerId;
use tokio::time::{Instant, timeout_at};

use super::Edge;
use crate::cluster::message::{Note, Watching};
use crate::session::actor::Lasting;
use crate::session::presence::Presence;
use crate::session::remote_watchers::ANNOUNCE_EVERY;

/// How long the first watcher waits for the owner to say who is online.
const PRESENCE_PATIENCE: Duration = Duration::from_secs(1);

impl Edge {
    /// Says who watches here now.
    pub(super) fn announce(&mut self) {
        self.say_watching(self.audience.is_watched(), Vec::new());
    }

    /// Makes ourselves known to a new owner: it learns whom we last knew to be online as well.
    pub(super) fn introduce(&mut self) {
        let memories = self.memories.clone();
        self.say_watching(self.audience.is_watched(), memories);
    }

    /// Says before the first watcher is answered that one is coming, and waits a moment for the owner to tell who is
    /// online: it does so whenever an instance begins to have watchers. What was said before may be of no account: who
    /// has no watchers is told nothing. If the raid turns out to be free, there is nobody to wait for.
    pub(super) async fn expect_watcher(&mut self, lasting: &mut Lasting) {
        self.expecting = true;
        self.announce();
        let (before, until) = (self.presence_told, Instant::now() + PRESENCE_PATIENCE);
        while self.sessions.0.link.is_proven() && self.presence_told <= before && !self.is_free() {
            let Some(replica) = &mut self.replica else {
                break;
            };
            match self
                .forwards
                .expiring(timeout_at(until, replica.next()))
                .await
            {
                Ok(heard) => self.hear(heard, lasting).await,
                Err(_) => break,
            }
        }
        self.expecting = false;
    }

    /// Where nobody watches nothing is told: what was known of who is online grows old, and must not be passed on.
    pub(super) fn forget_presence(&mut self, lasting: &mut Lasting) {
        if !self.audience.is_watched() && !self.expecting && self.giving.is_none() {
            (self.memories, lasting.presence) = (Vec::new(), Presence::default());
        }
    }

    /// Says that nobody watches here any more.
    pub(super) fn say_goodbye(&mut self) {
        if self.replica.is_some() {
            self.say_watching(false, Vec::new());
        }
    }

    fn say_watching(&mut self, watched: bool, known: Vec<PlayerId>) {
        self.announce_at = Instant::now() + ANNOUNCE_EVERY;
        let hall = &self.sessions.0;
        let Some(owner) = self.owner else { return };
        let watched = watched || self.expecting;
        let players = self.audience.watching().into_iter().collect();
        let draining = hall.handing_over.is_cancelled();
        let watching = Watching {
            watched,
            players,
            known,
            draining,
        };
        hall.link
            .tell(owner, self.about(), Note::Watching(watching));
    }

    /// Who was online at a former owner, for the present one.
    pub(super) fn remember(&mut self, online: Vec<PlayerId>) {
        self.memories = online;
        if self.owner.is_some() {
            self.introduce();
        }
    }
}
