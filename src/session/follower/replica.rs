//! The raid as an edge has it: folded from the store, moved on by what is heard, mended from the store.

use std::sync::Arc;
use std::time::Duration;

use raidhall_protocol::{Event, RaidId, Seq};
use tokio::time::{Instant, timeout};
use tracing::warn;

use super::Edge;
use crate::cluster::client::{Following, Heard};
use crate::error::Error;
use crate::fanout::audience::Audience;
use crate::raid::{self, Refusal, State};
use crate::session::load::{self, LoadError};
use crate::store::Store;
use crate::telemetry::metrics;

/// Events read at once.
const PAGE: u32 = 1_000;
/// How long reading a page may take.
const PAGE_PATIENCE: Duration = Duration::from_secs(2);
/// The pause before the store is asked again; each failure doubles it up to the longest.
const MEND_PAUSE: Duration = Duration::from_millis(200);
const MEND_PAUSE_MAX: Duration = Duration::from_secs(1);

pub(super) struct Replica {
    state: State,
    following: Following,
    /// Something is missing, and the store is read at this moment.
    mend_at: Option<Instant>,
    mend_pause: Duration,
}

impl Replica {
    const fn new(state: State, following: Following) -> Self {
        Self {
            state,
            following,
            mend_at: None,
            mend_pause: MEND_PAUSE,
        }
    }

    pub(super) const fn state(&self) -> &State {
        &self.state
    }

    pub(super) fn seq(&self) -> Seq {
        self.state.seq()
    }

    pub(super) const fn mend_at(&self) -> Option<Instant> {
        self.mend_at
    }

    pub(super) async fn next(&mut self) -> Heard {
        self.following.next().await
    }

    /// Shows those of the events that come next. False if some are missing before them.
    pub(super) fn take(&mut self, audience: &Audience, mut events: Vec<Event>) -> bool {
        events.retain(|event| event.seq > self.seq());
        let next = events
            .iter()
            .zip(self.seq().0 + 1..)
            .take_while(|(event, seq)| event.seq.0 == *seq)
            .count();
        let whole = next == events.len();
        events.truncate(next);
        for event in &events {
            raid::apply(&mut self.state, event);
        }
        if !events.is_empty() {
            audience.publish(&events);
        }
        whole
    }

    /// Reads what the store has and we have not.
    async fn mend(
        &mut self,
        store: &dyn Store,
        audience: &Audience,
        raid: RaidId,
    ) -> Result<(), LoadError> {
        // Whatever ends it early, it is tried again.
        self.mend_at = Some(Instant::now() + self.mend_pause);
        self.mend_pause = (self.mend_pause * 2).min(MEND_PAUSE_MAX);
        loop {
            let page = timeout(PAGE_PATIENCE, store.events(raid, self.seq(), PAGE)).await;
            let events = page.map_err(|_| LoadError::Late)??;
            let last = events.len() < PAGE as usize;
            self.take(audience, events);
            if last {
                (self.mend_at, self.mend_pause) = (None, MEND_PAUSE);
                return Ok(());
            }
        }
    }
}

impl Edge {
    /// Follows the raid with a state to start from.
    pub(super) async fn followed(&self, state: State) -> Replica {
        let following = self.sessions.0.link.follow(self.raid(), true);
        following.confirm().await;
        Replica::new(state, following)
    }

    /// Follows the raid, if it is not followed yet: first the subscription, then the store, so that nothing falls
    /// between the two.
    pub(super) async fn attach(&mut self) -> Result<(), Error> {
        if self.replica.is_some() {
            return Ok(());
        }
        let hall = Arc::clone(&self.sessions.0);
        let raid = self.raid();
        let following = hall.link.follow(raid, true);
        let loading = async {
            following.confirm().await;
            hall.load(raid, 0).await
        };
        let folded = match self.forwards.expiring(loading).await {
            Ok(folded) => folded.ok_or(Refusal::NotFound)?,
            Err(error) => {
                warn!(%raid, ?error, "an edge could not load the raid");
                if matches!(error, LoadError::Newer { .. }) {
                    self.sessions.never_claim(raid);
                }
                return Err(Error::Unavailable);
            }
        };
        let load::Folded { state, loaded } = folded;
        let members = state
            .shown()
            .members
            .iter()
            .map(|member| member.player)
            .collect();
        self.audience.adopt(state.seq(), members, &loaded.tail);
        self.replica = Some(Replica::new(state, following));
        self.audience.relay(Some((hall.link.clone(), self.epoch)));
        self.meet(loaded.head);
        Ok(())
    }

    /// Reads from the store what is missing, whatever it was that told. What fails is tried again by itself.
    pub(super) async fn mend(&mut self, cause: &'static str) {
        // Whoever has to know whether it worked asks by `catch_up`.
        let _ = self.catch_up(cause).await;
    }

    /// The same for somebody who must not be answered from a state that is behind.
    pub(super) async fn catch_up(&mut self, cause: &'static str) -> Result<(), Error> {
        let raid = self.raid();
        let Some(replica) = &mut self.replica else {
            return Ok(());
        };
        let before = replica.seq();
        let mending = replica.mend(&*self.sessions.0.store, &self.audience, raid);
        let mended = self.forwards.expiring(mending).await;
        if replica.seq() > before {
            metrics().gaps_repaired.increment(cause);
        }
        mended.map_err(|error| {
            warn!(%raid, ?error, "what an edge has missed could not be read");
            if matches!(error, LoadError::Newer { .. }) {
                self.sessions.never_claim(raid);
            }
            Error::Unavailable
        })
    }
}
