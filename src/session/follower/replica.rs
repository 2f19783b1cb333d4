//! The raid as an edge has it: folded from the store, moved on by what is heard, mended from the store.

use std::time::Duration;

use raidhall_protocol::{Event, RaidId, Seq};
use tokio::time::{Instant, timeout};
use tracing::warn;

use super::Follower;
use crate::cluster::client::{RaidSubscription, RaidUpdate};
use crate::error::Error;
use crate::fanout::audience::Audience;
use crate::raid::{self, Refusal, State};
use crate::session::load::{self, LoadError};
use crate::store::Store;
use crate::telemetry::{RepairCause, metrics};

/// Events read at once.
const PAGE_EVENTS: u32 = 1_000;
/// How long reading a page may take.
const PAGE_TIMEOUT: Duration = Duration::from_secs(2);
/// The pause before the store is asked again; each failure doubles it up to the longest.
const CATCH_UP_BACKOFF_MIN: Duration = Duration::from_millis(200);
const CATCH_UP_BACKOFF_MAX: Duration = Duration::from_secs(1);

pub(super) struct Replica {
    state: State,
    subscription: RaidSubscription,
    /// Something is missing, and the store is read at this moment.
    catch_up_at: Option<Instant>,
    catch_up_backoff: Duration,
}

impl Replica {
    const fn new(state: State, subscription: RaidSubscription) -> Self {
        Self {
            state,
            subscription,
            catch_up_at: None,
            catch_up_backoff: CATCH_UP_BACKOFF_MIN,
        }
    }

    pub(super) const fn state(&self) -> &State {
        &self.state
    }

    pub(super) fn seq(&self) -> Seq {
        self.state.seq()
    }

    pub(super) const fn catch_up_at(&self) -> Option<Instant> {
        self.catch_up_at
    }

    pub(super) async fn next_update(&mut self) -> RaidUpdate {
        self.subscription.next().await
    }

    /// Shows those of the events that come next. False if some are missing before them.
    pub(super) fn apply_events(&mut self, audience: &Audience, mut events: Vec<Event>) -> bool {
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
    async fn catch_up(
        &mut self,
        store: &dyn Store,
        audience: &Audience,
        raid: RaidId,
    ) -> Result<(), LoadError> {
        // Whatever ends it early, it is tried again.
        self.catch_up_at = Some(Instant::now() + self.catch_up_backoff);
        self.catch_up_backoff = (self.catch_up_backoff * 2).min(CATCH_UP_BACKOFF_MAX);
        loop {
            let page = timeout(PAGE_TIMEOUT, store.events(raid, self.seq(), PAGE_EVENTS)).await;
            let events = page.map_err(|_| LoadError::Timeout)??;
            let last = events.len() < PAGE_EVENTS as usize;
            self.apply_events(audience, events);
            if last {
                (self.catch_up_at, self.catch_up_backoff) = (None, CATCH_UP_BACKOFF_MIN);
                return Ok(());
            }
        }
    }
}

impl Follower {
    /// Follows the raid with a state to start from.
    pub(super) async fn subscribe_from(&self, state: State) -> Replica {
        let following = self.sessions.cluster.follow(self.raid(), true);
        following.subscribe().await;
        Replica::new(state, following)
    }

    /// Follows the raid, if it is not followed yet: first the subscription, then the store, so that nothing falls
    /// between the two.
    pub(super) async fn ensure_replica(&mut self) -> Result<(), Error> {
        if self.replica.is_some() {
            return Ok(());
        }
        let registry = self.sessions.clone();
        let raid = self.raid();
        let following = registry.cluster.follow(raid, true);
        let loading = async {
            following.subscribe().await;
            registry.load(raid, 0).await
        };
        let folded = match self.forwards.expire_while(loading).await {
            Ok(folded) => folded.ok_or(Refusal::NotFound)?,
            Err(error) => {
                warn!(%raid, ?error, "an edge could not load the raid");
                if matches!(error, LoadError::NewerVersion { .. }) {
                    self.sessions.mark_follow_only(raid);
                }
                return Err(Error::Unavailable);
            }
        };
        let load::FoldedRaid { state, loaded } = folded;
        let members = state
            .shown()
            .members
            .iter()
            .map(|member| member.player)
            .collect();
        self.audience
            .sync_from_store(state.seq(), members, &loaded.tail);
        self.replica = Some(Replica::new(state, following));
        self.audience
            .set_signal_relay(Some((registry.cluster.clone(), self.epoch)));
        self.observe_head(loaded.head);
        Ok(())
    }

    /// Reads from the store what is missing, whatever it was that told. What fails is tried again by itself.
    pub(super) async fn catch_up(&mut self, cause: RepairCause) {
        // Whoever has to know whether it worked asks by `catch_up`.
        let _ = self.try_catch_up(cause).await;
    }

    /// The same for somebody who must not be answered from a state that is behind.
    pub(super) async fn try_catch_up(&mut self, cause: RepairCause) -> Result<(), Error> {
        let raid = self.raid();
        let Some(replica) = &mut self.replica else {
            return Ok(());
        };
        let before = replica.seq();
        let mending = replica.catch_up(&*self.sessions.store, &self.audience, raid);
        let mended = self.forwards.expire_while(mending).await;
        if replica.seq() > before {
            metrics().gaps_repaired.increment(cause);
        }
        mended.map_err(|error| {
            warn!(%raid, ?error, "what an edge has missed could not be read");
            if matches!(error, LoadError::NewerVersion { .. }) {
                self.sessions.mark_follow_only(raid);
            }
            Error::Unavailable
        })
    }
}
