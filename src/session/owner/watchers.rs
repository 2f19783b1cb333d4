//! Who watches, here and at other instances, and what those are told.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use raidhall_protocol::{PlayerId, Seq, UnixMillis};
use tokio::time::Instant;

use super::super::actor::Lasting;
use super::super::follower::Edge;
use super::super::presence::Presence;
use super::Live;
use crate::cluster::message::{Note, Watching};
use crate::store::InstanceId;

/// How often other instances are told who is online, though nothing has changed.
const TELL_EVERY: Duration = Duration::from_secs(15);

/// How long after a raid became ours others are believed who say whom they knew to be online.
const MEMORIES: Duration = Duration::from_secs(5);

/// How long a new owner waits for those who follow the raid to say who watches: less than they wait for it to say who is
/// online.
const ROLL_CALL: Duration = Duration::from_millis(500);

impl Live {
    /// Says that the raid is ours now, and takes over who was known to be online. `former` is the edge that we were until
    /// now: it follows the raid, and is counted, until it is known how many others do.
    pub(in super::super) async fn begin(&mut self, lasting: &mut Lasting, former: Option<Edge>) {
        let link = self.sessions.0.link.clone();
        let now = Instant::now();
        lasting.presence.take_over(now, self.grace(lasting, now));
        if link.is_alone() {
            return;
        }
        let followers = link
            .claim_aloud(self.about(self.committed))
            .await
            .unwrap_or(0);
        let ourselves = former.is_some_and(|edge| edge.follows());
        let followers = followers.saturating_sub(u64::from(ourselves));
        // What we know is what the owner before us told, unless it had no reason to tell us.
        if !self.audience.is_watched() || lasting.presence.announced().is_empty() {
            self.call_the_roll(followers, lasting).await;
        }
    }

    /// Whoever watches first must not be told that nobody is there when others only have not been asked yet, and nobody
    /// is told anything before the call is over.
    async fn call_the_roll(&mut self, followers: u64, lasting: &mut Lasting) {
        let until = Instant::now() + ROLL_CALL;
        let (mut answers, mut others) = (BTreeSet::new(), Vec::new());
        let room = self.sessions.0.options.inbox;
        while (answers.len() as u64) < followers && others.len() < room {
            match tokio::time::timeout_at(until, lasting.inbox.next()).await {
                Ok(Some(super::Message::Watching { from, at, watching })) => {
                    // It may say more than once, as when somebody begins to watch there.
                    answers.insert(from);
                    self.learn_watching(from, at, watching, lasting);
                }
                Ok(Some(super::Message::Take { online, .. })) => self.take(&online, lasting),
                Ok(Some(message)) => others.push(message),
                Ok(None) | Err(_) => break,
            }
        }
        lasting.inbox.put_back(others.into_iter());
        if !answers.is_empty() {
            self.tell_presence(&lasting.presence, Instant::now());
        }
    }

    /// Follows who watches, here and elsewhere.
    pub(super) fn follow_watchers(&mut self, lasting: &mut Lasting) {
        let hall = Arc::clone(&self.sessions.0);
        let now = Instant::now();
        self.needed_at = now;
        lasting.remotes.forget_dead(hall.link.peers(), now);
        let mut watching = self.audience.watching();
        watching.extend(
            lasting
                .remotes
                .players()
                .into_iter()
                .filter(|player| self.audience.is_member(*player)),
        );
        let grace = self.grace(lasting, now);
        lasting.presence.follow(&watching, now, grace);
        let elsewhere = !lasting.remotes.is_empty();
        self.audience
            .relay(elsewhere.then(|| (hall.link.clone(), self.epoch)));
        if !elsewhere {
            (lasting.following, self.tell_at) = (None, None);
        } else if lasting.following.is_none() {
            let following = hall.link.follow(self.audience.raid(), false);
            // Signals may be lost; nothing waits for them.
            following.begin();
            lasting.following = Some(following);
        }
    }

    /// Another instance says who watches there.
    pub(super) fn hear_watching(
        &mut self,
        from: InstanceId,
        at: UnixMillis,
        watching: Watching,
        lasting: &mut Lasting,
    ) {
        if self.learn_watching(from, at, watching, lasting) {
            self.tell_presence(&lasting.presence, Instant::now());
        }
    }

    /// Takes in who watches at another instance. True if it had not been known to have watchers.
    pub(super) fn learn_watching(
        &mut self,
        from: InstanceId,
        at: UnixMillis,
        watching: Watching,
        lasting: &mut Lasting,
    ) -> bool {
        let known = watching.known.clone();
        let new = lasting.remotes.hear(from, at, watching, Instant::now());
        if !known.is_empty() && self.since.elapsed() < MEMORIES {
            self.inherit(&known, lasting);
        }
        self.follow_watchers(lasting);
        new
    }

    /// A former owner, which is about to end, names us its heir.
    pub(super) fn take(&mut self, known: &[PlayerId], lasting: &mut Lasting) {
        lasting.remotes.drained(Instant::now());
        self.inherit(known, lasting);
    }

    /// These were online at a former owner; whoever of them does not come back in time goes offline.
    fn inherit(&mut self, known: &[PlayerId], lasting: &mut Lasting) {
        let now = Instant::now();
        let members: Vec<_> = known
            .iter()
            .copied()
            .filter(|player| self.audience.is_member(*player))
            .collect();
        let watched = self.audience.is_watched();
        lasting
            .presence
            .inherit(&members, now, self.grace(lasting, now), watched);
    }

    /// How long who stops to watch stays online: longer while an instance lets its clients go, for they are on their
    /// way to another.
    fn grace(&self, lasting: &Lasting, now: Instant) -> Duration {
        let grace = self.sessions.0.options.presence_grace;
        if lasting.remotes.drains(now) {
            grace * 2
        } else {
            grace
        }
    }

    /// Tells the other instances everybody who is online.
    pub(super) fn tell_presence(&mut self, presence: &Presence, now: Instant) {
        self.told += 1;
        self.tell_at = Some(now + TELL_EVERY);
        let online = presence.online().iter().copied().collect();
        let note = Note::Presence {
            counter: self.told,
            online,
        };
        self.sessions.0.link.say(self.about(self.committed), note);
    }

    /// Looks whether it is sure who watches. When a doubt ends, everybody has the whole grace to be seen.
    pub(super) fn doubt(&mut self, lasting: &mut Lasting, now: Instant) {
        let in_doubt = !self.sessions.0.link.is_proven() || lasting.remotes.in_doubt(now);
        if self.in_doubt && !in_doubt {
            self.begin_anew(lasting);
        }
        self.in_doubt = in_doubt;
    }

    /// For a while it was not known who watches: everybody has the whole grace again, a leader too.
    pub(in super::super) fn begin_anew(&mut self, lasting: &mut Lasting) {
        let now = Instant::now();
        lasting.presence.begin_anew(now, self.grace(lasting, now));
        self.leader_away_since = None;
    }

    /// Asks those who have been silent for a while whether anybody still watches there: what they last said may have
    /// been lost.
    pub(super) fn ask_the_silent(&self, lasting: &mut Lasting, now: Instant) {
        for silent in lasting.remotes.silent(now) {
            self.sessions
                .0
                .link
                .tell(silent, self.about(Seq::ZERO), Note::WhoWatches);
        }
    }
}
