//! The task of one raid: it makes the raid live here, as its owner or as an edge of another instance's, and makes it
//! live again after any doubt.
//!
//! Crash-only: a failed commit, a lost raid or a panic ends the incarnation, everything that depended on it is
//! answered `unavailable`, and the next incarnation starts from the store under a new claim. The inbox and who is
//! online outlive it.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use raidhall_protocol::{RaidId, Seq};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, timeout_at};
use tracing::{debug, error, info, warn};

use super::follower::Edge;
use super::load::{self, LoadError};
use super::mailbox::Inbox;
use super::message::Message;
use super::ops::Ops;
use super::owner::{End, Live, Start};
use super::presence::Presence;
use super::remote_watchers::Remotes;
use super::{Owning, Sessions};
use crate::cluster::client::Following;
use crate::error::Error;
use crate::fanout::audience::Audience;
use crate::raid::{Refusal, State};
use crate::store::{ClaimOutcome, Epoch, InstanceId, Month};
use crate::telemetry::{Held as Gauged, metrics};

/// The longest pause between two tries to load a raid that somebody watches.
const RELOAD_PAUSE_MAX: Duration = Duration::from_secs(1);
const RELOAD_PAUSE_MIN: Duration = Duration::from_millis(20);

/// Where a session's raid comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Origin {
    /// It does not exist yet: the first command makes it, under epoch 1.
    New,
    /// It is in the store, if it is anywhere, and somebody asks for it who may have no business with it.
    Asked,
    /// It is in the store.
    Stored,
}

pub(super) struct Actor {
    sessions: Sessions,
    raid: RaidId,
    audience: Arc<Audience>,
    origin: Origin,
    lasting: Lasting,
    /// The edge that ended only to claim the raid: if another was quicker, it goes on.
    edge: Option<Edge>,
    /// Why the raid is claimed.
    cause: &'static str,
    /// A claim that has not been served yet, and the lease's term under which it was made.
    claimed: Option<(Epoch, u64)>,
}

/// What outlives an incarnation.
pub(super) struct Lasting {
    pub(super) inbox: Inbox,
    pub(super) presence: Presence,
    pub(super) remotes: Remotes,
    /// What other instances say to whoever watches here, while we own the raid and somebody watches there.
    pub(super) following: Option<Following>,
}

/// What the raid is here.
enum Role {
    Owner(Box<Live>, Owning),
    Edge(Box<Edge>),
}

/// What came of asking whose the raid is.
enum Found {
    Role(Role),
    /// It is ours, and has to be loaded.
    Ours(Epoch, u64),
}

/// Why a raid could not be made live.
enum Failure {
    /// There is no such raid.
    Missing,
    /// Not now.
    Unavailable,
}

impl Actor {
    pub(super) fn new(
        sessions: Sessions,
        raid: RaidId,
        audience: Arc<Audience>,
        inbox: mpsc::Receiver<Message>,
        origin: Origin,
    ) -> Self {
        let (presence, remotes) = (Presence::default(), Remotes::default());
        let lasting = Lasting {
            inbox: Inbox::new(inbox),
            presence,
            remotes,
            following: None,
        };
        Self {
            sessions,
            raid,
            audience,
            origin,
            lasting,
            edge: None,
            cause: "needed",
            claimed: None,
        }
    }

    pub(super) async fn run(mut self) {
        let _gauge = Gauged::one(&metrics().sessions);
        let (mut pause, mut falls) = (RELOAD_PAUSE_MIN, 0);
        if self.origin == Origin::Asked {
            if !self.let_in().await {
                return;
            }
            self.origin = Origin::Stored;
        }
        loop {
            let began = Instant::now();
            let end = AssertUnwindSafe(self.incarnation())
                .catch_unwind()
                .await
                .unwrap_or_else(|_| {
                    error!("a session panicked; its raid reloads");
                    Ok(End::Reload("panic"))
                });
            self.origin = Origin::Stored;
            if began.elapsed() >= RELOAD_PAUSE_MAX {
                (pause, falls) = (RELOAD_PAUSE_MIN, 0);
            }
            let error = match end {
                Ok(End::Idle) => return,
                Ok(End::Stopped) => break,
                Ok(End::HandOver) => {
                    if self.edge.is_none()
                        && self.sessions.forget_if_idle(self.raid, &self.lasting.inbox)
                    {
                        return;
                    }
                    continue;
                }
                Ok(End::Claim(cause)) => {
                    self.cause = cause;
                    // Claims that lead nowhere must not follow one another without a breath.
                    if began.elapsed() < RELOAD_PAUSE_MIN {
                        sleep(RELOAD_PAUSE_MIN).await;
                    }
                    continue;
                }
                Ok(End::Reload(cause)) => {
                    metrics().session_reloads.increment(cause);
                    warn!(cause, "the raid reloads");
                    (self.edge, self.cause) = (None, "reload");
                    falls += 1;
                    if falls == 1 {
                        // The next incarnation serves those who wait.
                        continue;
                    }
                    Error::Unavailable
                }
                Err(Failure::Missing) => Error::Refused(Refusal::NotFound),
                Err(Failure::Unavailable) => Error::Unavailable,
            };
            // It does not get up, or falls again at once: whoever waits is told, and the store is spared.
            self.lasting.inbox.fail_all(&error);
            let needed = !self.lasting.remotes.is_empty();
            if !needed && self.sessions.forget_if_idle(self.raid, &self.lasting.inbox) {
                return;
            }
            let stop = &self.sessions.0.stop;
            tokio::select! { biased; () = stop.cancelled() => break, () = sleep(pause) => {} }
            pause = (pause * 2).min(RELOAD_PAUSE_MAX);
        }
        self.lasting.inbox.close();
        self.lasting.inbox.fail_all(&Error::Unavailable);
    }

    /// Turns away who was never a member, before anything is claimed or loaded: else whoever counts through the ids would
    /// make every raid live, at the expense of those who play. False if nobody else asks.
    async fn let_in(&mut self) -> bool {
        loop {
            while let Some(message) = self.lasting.inbox.next_now() {
                let knows = match message.player() {
                    Some(player) => self.sessions.knows(self.raid, player).await,
                    None => true,
                };
                if knows {
                    self.lasting.inbox.put_back([message].into_iter());
                    return true;
                }
                message.fail(Error::Refused(Refusal::NotFound));
            }
            if self.sessions.forget_if_idle(self.raid, &self.lasting.inbox) {
                return false;
            }
        }
    }

    async fn incarnation(&mut self) -> Result<End, Failure> {
        let deadline = Instant::now() + self.sessions.0.options.load_patience;
        let (stop, mut pause) = (self.sessions.0.stop.clone(), RELOAD_PAUSE_MIN);
        let role = loop {
            let found = tokio::select! { biased;
                () = stop.cancelled() => return Ok(End::Stopped),
                found = timeout_at(deadline, self.find_owner()) => found.unwrap_or(Err(Failure::Unavailable)),
            };
            let role = match found {
                Ok(Found::Role(role)) => Ok(role),
                // Loading has a patience of its own: after a node's death many wait for their turn.
                Ok(Found::Ours(epoch, term)) => tokio::select! { biased;
                    () = stop.cancelled() => return Ok(End::Stopped),
                    taken = self.take(epoch, term) => taken,
                },
                Err(failure) => Err(failure),
            };
            match role {
                Ok(role) => break role,
                Err(Failure::Missing) => return Err(Failure::Missing),
                Err(Failure::Unavailable) if Instant::now() + pause < deadline => {
                    sleep(pause).await
                }
                Err(Failure::Unavailable) => return Err(Failure::Unavailable),
            }
            pause = (pause * 2).min(RELOAD_PAUSE_MAX);
        };
        self.claimed = None;
        match role {
            Role::Owner(mut live, owning) => {
                if self.origin == Origin::Stored {
                    live.begin(&mut self.lasting, self.edge.take()).await;
                }
                let end = live.run(&mut self.lasting).await;
                if matches!(end, End::HandOver) {
                    self.hand_over(*live, owning).await;
                }
                Ok(end)
            }
            Role::Edge(mut edge) => {
                let end = edge.run(&mut self.lasting).await;
                if matches!(end, End::Claim(_)) {
                    self.edge = Some(*edge);
                }
                Ok(end)
            }
        }
    }

    /// Gives the raid to another instance: to one that has watchers, or else to any that can take it, if it is needed
    /// at all. Whoever is connected here is served as by an edge from now on.
    async fn hand_over(&mut self, live: Live, owning: Owning) {
        let hall = Arc::clone(&self.sessions.0);
        let (epoch, raid) = (live.epoch(), self.raid);
        let state = live.into_state();
        let online: Vec<_> = self.lasting.presence.online().iter().copied().collect();
        let needed = self.audience.is_watched()
            || !self.lasting.remotes.is_empty()
            || !self.lasting.inbox.is_empty();
        if !needed && online.is_empty() {
            if let Err(error) = hall.claims.release(raid, epoch).await {
                warn!(?error, "the raid could not be given up yet");
                hall.idle.lock().push((raid, epoch));
            }
            return;
        }
        let (sessions, audience) = (self.sessions.clone(), Arc::clone(&self.audience));
        // Followed before it is given up, so that nothing falls between the two.
        let mut edge = Edge::of_former_owner(sessions, audience, state, epoch, online).await;
        edge.give(owning);
        let peers = hall.link.peers();
        let watching = self
            .lasting
            .remotes
            .instances()
            .find(|id| peers.is_fit(*id));
        edge.pass_on(watching).await;
        self.edge = Some(edge);
    }

    /// Finds out whose the raid is: ours, by a claim, or another's.
    async fn find_owner(&mut self) -> Result<Found, Failure> {
        let hall = Arc::clone(&self.sessions.0);
        if self.origin == Origin::New {
            let (epoch, born) = (Epoch(1), Month::from_unix_millis(hall.clock.now()));
            let (state, term) = (State::new(self.raid), hall.lease.term());
            let ops = Ops::new(hall.options.op_keys, Vec::new(), true);
            return Ok(Found::Role(self.owner(Start {
                epoch,
                term,
                born,
                state,
                ops,
                since_snapshot: 0,
            })));
        }
        if !self.sessions.may_claim(self.raid) {
            return self.follow().await.map(Found::Role);
        }
        if !hall.lease.holds() {
            debug!("the lease has run out; the raid waits for its renewal");
            return Err(Failure::Unavailable);
        }
        if let Some((epoch, term)) = self.claimed.filter(|(_, term)| hall.lease.serves(*term)) {
            return Ok(Found::Ours(epoch, term));
        }
        let term = hall.lease.term();
        match hall
            .claims
            .claim(self.raid)
            .await
            .map_err(|_| Failure::Unavailable)?
        {
            ClaimOutcome::Acquired(epoch) => {
                self.claimed = Some((epoch, term));
                Ok(Found::Ours(epoch, term))
            }
            ClaimOutcome::Missing => Err(Failure::Missing),
            ClaimOutcome::Contested => Err(Failure::Unavailable),
            ClaimOutcome::Held { ws_url, .. } if hall.link.is_alone() => {
                debug!(ws_url, "another instance owns the raid");
                Err(Failure::Unavailable)
            }
            ClaimOutcome::Held { owner, ws_url } => {
                hall.link.peers().meet(owner, &ws_url);
                Ok(Found::Role(self.edge(Some(owner), Epoch(0))))
            }
        }
    }

    fn owner(&self, start: Start) -> Role {
        let live = Live::new(self.sessions.clone(), Arc::clone(&self.audience), start);
        Role::Owner(Box::new(live), Owning::one(&self.sessions.0.owned))
    }

    fn edge(&mut self, owner: Option<InstanceId>, epoch: Epoch) -> Role {
        let (sessions, audience) = (self.sessions.clone(), Arc::clone(&self.audience));
        let edge = match self.edge.take() {
            Some(mut edge) => {
                edge.go_on_under(owner, epoch);
                edge
            }
            None => Edge::new(sessions, audience, owner, epoch),
        };
        Role::Edge(Box::new(edge))
    }

    /// Follows whoever owns the raid, or nobody yet: we may not own it ourselves. If it is ours all the same, it is given
    /// up, so that somebody else can.
    async fn follow(&mut self) -> Result<Role, Failure> {
        let hall = Arc::clone(&self.sessions.0);
        let head = hall
            .store
            .head(self.raid)
            .await
            .map_err(|_| Failure::Unavailable)?;
        let head = head.ok_or(Failure::Missing)?;
        if head.owner == Some(hall.link.instance()) {
            hall.claims
                .release(self.raid, head.epoch)
                .await
                .map_err(|_| Failure::Unavailable)?;
        }
        let owner = head.owner.filter(|owner| hall.link.peers().lives(*owner));
        Ok(self.edge(owner, head.epoch))
    }

    /// Loads a raid that is ours under `epoch`.
    async fn take(&mut self, epoch: Epoch, term: u64) -> Result<Role, Failure> {
        let hall = Arc::clone(&self.sessions.0);
        let op_keys = hall.options.op_keys as u64;
        let loading = hall.load(self.raid, op_keys);
        let folded = match self
            .lasting
            .inbox
            .expiring(hall.options.inbox, loading)
            .await
        {
            Ok(folded) => folded.ok_or(Failure::Missing)?,
            Err(error) => {
                warn!(?error, "the raid could not be loaded");
                if matches!(error, LoadError::Newer { .. }) {
                    // A newer release can serve it: it must not wait for our lease.
                    self.sessions.never_claim(self.raid);
                    self.claimed = None;
                    let _ = hall.claims.release(self.raid, epoch).await;
                }
                return Err(Failure::Unavailable);
            }
        };
        let load::Folded { state, loaded } = folded;
        if (loaded.head.epoch, loaded.head.owner) != (epoch, Some(hall.link.instance())) {
            self.claimed = None;
            return Err(Failure::Unavailable);
        }
        if !hall.link.is_alone() {
            metrics().takeovers.increment(self.cause);
            info!(
                cause = self.cause,
                epoch = epoch.0,
                seq = state.seq().0,
                "the raid is ours"
            );
        }
        let members = state
            .shown()
            .members
            .iter()
            .map(|member| member.player)
            .collect();
        self.audience.adopt(state.seq(), members, &loaded.tail);
        let whole = state.seq() <= Seq(op_keys);
        let ops = Ops::new(hall.options.op_keys, loaded.ops, whole);
        let since_snapshot = state
            .seq()
            .since(loaded.snapshot.map_or(Seq::ZERO, |(seq, _)| seq));
        Ok(self.owner(Start {
            epoch,
            term,
            born: loaded.created_month,
            state,
            ops,
            since_snapshot,
        }))
    }
}
