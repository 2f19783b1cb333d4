//! The task of one raid: it makes the raid live, and makes it live again after any doubt.
//!
//! Crash-only: a failed commit, a lost raid or a panic ends the incarnation, everything that depended on it is
//! answered `unavailable`, and the next incarnation starts from the store under a new claim. The inbox and who is
//! online outlive it.

use super::live::{End, Live};
use super::message::Message;
use super::ops::Ops;
use super::presence::Presence;
use super::{Sessions, load};
use crate::audience::Audience;
use crate::error::Error;
use crate::raid::{Refusal, State};
use crate::store::{Claim, Epoch, Month};
use crate::telemetry::{Held as Gauged, metrics};
use futures_util::FutureExt;
use raidhall_protocol::{RaidId, Seq};
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, timeout_at};
use tracing::{debug, error, warn};

/// The longest pause between two tries to load a raid that somebody watches.
const RELOAD_PAUSE_MAX: Duration = Duration::from_secs(1);
const RELOAD_PAUSE_MIN: Duration = Duration::from_millis(20);

/// Where a session's raid comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Origin {
    /// It does not exist yet: the first command makes it, under epoch 1.
    New,
    /// It is in the store.
    Stored,
}

pub(super) struct Actor {
    sessions: Sessions,
    raid: RaidId,
    audience: Arc<Audience>,
    inbox: mpsc::Receiver<Message>,
    origin: Origin,
    presence: Presence,
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
        Self { sessions, raid, audience, inbox, origin, presence: Presence::default() }
    }

    pub(super) async fn run(mut self) {
        let _gauge = Gauged::one(&metrics().sessions);
        let (mut pause, mut falls) = (RELOAD_PAUSE_MIN, 0);
        loop {
            let began = Instant::now();
            let end = AssertUnwindSafe(self.incarnation()).catch_unwind().await.unwrap_or_else(|_| {
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
                Ok(End::Reload(cause)) => {
                    metrics().session_reloads.increment(cause);
                    warn!(cause, "the raid reloads");
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
            self.fail_waiting(&error);
            if self.sessions.forget_if_idle(self.raid, &self.inbox) {
                return;
            }
            let stop = &self.sessions.0.stop;
            tokio::select! { biased; () = stop.cancelled() => break, () = sleep(pause) => {} }
            pause = (pause * 2).min(RELOAD_PAUSE_MAX);
        }
        self.inbox.close();
        self.fail_waiting(&Error::Unavailable);
    }

    fn fail_waiting(&mut self, error: &Error) {
        while let Ok(message) = self.inbox.try_recv() {
            message.fail(error.clone());
        }
    }

    async fn incarnation(&mut self) -> Result<End, Failure> {
        let deadline = Instant::now() + self.sessions.0.options.load_patience;
        let mut pause = RELOAD_PAUSE_MIN;
        let mut live = loop {
            let stop = self.sessions.0.stop.clone();
            let loaded = tokio::select! { biased;
                () = stop.cancelled() => return Ok(End::Stopped),
                loaded = timeout_at(deadline, self.load()) => loaded,
            };
            match loaded {
                Ok(Ok(live)) => break live,
                Ok(Err(Failure::Missing)) => return Err(Failure::Missing),
                Ok(Err(Failure::Unavailable)) if Instant::now() + pause < deadline => sleep(pause).await,
                Ok(Err(Failure::Unavailable)) | Err(_) => return Err(Failure::Unavailable),
            }
            pause = (pause * 2).min(RELOAD_PAUSE_MAX);
        };
        Ok(live.run(&mut self.inbox, &mut self.presence).await)
    }

    async fn load(&self) -> Result<Live, Failure> {
        let (sessions, raid) = (self.sessions.clone(), self.raid);
        let audience = Arc::clone(&self.audience);
        let hall = &sessions.0;
        if self.origin == Origin::New {
            let (epoch, born) = (Epoch(1), Month::of(hall.clock.now()));
            let ops = Ops::new(hall.options.op_keys, Vec::new(), true);
            let state = State::unborn(raid);
            return Ok(Live::new(sessions.clone(), audience, state, epoch, born, ops, 0));
        }
        let unavailable = |error: &dyn std::fmt::Debug| {
            warn!(?error, "the raid could not be loaded");
            Failure::Unavailable
        };
        if !hall.lease.holds() {
            debug!("the lease has run out; the raid waits for its renewal");
            return Err(Failure::Unavailable);
        }
        let claims = hall.store.claim(&[raid], hall.instance).await.map_err(|e| unavailable(&e))?;
        let epoch = match claims.into_iter().next() {
            Some(Claim::Ours(epoch)) => epoch,
            Some(Claim::Missing) => return Err(Failure::Missing),
            other => {
                debug!(claim = ?other, "the raid is not to be had now");
                return Err(Failure::Unavailable);
            }
        };
        let op_keys = hall.options.op_keys as u64;
        let folded = load::fold(&*hall.store, raid, op_keys).await.map_err(|e| unavailable(&e))?;
        let load::Folded { state, loaded } = folded.ok_or(Failure::Missing)?;
        if (loaded.head.epoch, loaded.head.owner) != (epoch, Some(hall.instance)) {
            return Err(Failure::Unavailable);
        }
        let members = state.shown().members.iter().map(|member| member.player).collect();
        audience.adopt(state.seq(), members, &loaded.tail);
        let whole = state.seq() <= Seq(op_keys);
        let ops = Ops::new(hall.options.op_keys, loaded.ops, whole);
        let since_snapshot = state.seq().since(loaded.snapshot.map_or(Seq::ZERO, |(seq, _)| seq));
        Ok(Live::new(sessions.clone(), audience, state, epoch, loaded.born, ops, since_snapshot))
    }
}
