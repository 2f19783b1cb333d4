//! A follower's replica of the raid: folded from the store, moved on by events from the bus,
//! repaired from the store.

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

/// Events per page when the replica catches up.
const PAGE_EVENTS: u32 = 1_000;
/// How long the store may take to return one page.
const PAGE_TIMEOUT: Duration = Duration::from_secs(2);
/// First pause before the store is read again; each failure doubles it up to the maximum.
const CATCH_UP_BACKOFF_MIN: Duration = Duration::from_millis(200);
const CATCH_UP_BACKOFF_MAX: Duration = Duration::from_secs(1);

pub(super) struct Replica {
    state: State,
    subscription: RaidSubscription,
    /// When the store is read again, if events may be missing.
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

    /// Applies and publishes those events that follow the replica's seq without a gap. Returns
    /// `false` if earlier events are missing.
    pub(super) fn apply_events(&mut self, audience: &Audience, mut events: Vec<Event>) -> bool {
        events.retain(|event| event.seq > self.seq());
        let contiguous = events
            .iter()
            .zip(self.seq().0 + 1..)
            .take_while(|(event, seq)| event.seq.0 == *seq)
            .count();
        let is_complete = contiguous == events.len();
        events.truncate(contiguous);
        for event in &events {
            raid::apply(&mut self.state, event);
        }
        if !events.is_empty() {
            audience.publish(&events);
        }
        is_complete
    }

    /// Reads all events after the replica's seq from the store, page by page.
    async fn catch_up(
        &mut self,
        store: &dyn Store,
        audience: &Audience,
        raid: RaidId,
    ) -> Result<(), LoadError> {
        // Scheduled before the read, so that a failure or a dropped future is retried.
        self.catch_up_at = Some(Instant::now() + self.catch_up_backoff);
        self.catch_up_backoff = (self.catch_up_backoff * 2).min(CATCH_UP_BACKOFF_MAX);
        loop {
            let page = timeout(PAGE_TIMEOUT, store.events(raid, self.seq(), PAGE_EVENTS)).await;
            let events = page.map_err(|_| LoadError::Timeout)??;
            let is_last_page = events.len() < PAGE_EVENTS as usize;
            self.apply_events(audience, events);
            if is_last_page {
                self.catch_up_at = None;
                self.catch_up_backoff = CATCH_UP_BACKOFF_MIN;
                return Ok(());
            }
        }
    }
}

impl Follower {
    /// Subscribes to the raid's messages, and returns a replica that starts from `state`.
    pub(super) async fn subscribe_from(&self, state: State) -> Replica {
        let subscription = self.sessions.cluster.follow(self.raid(), true);
        subscription.subscribe().await;
        Replica::new(state, subscription)
    }

    /// Subscribes to the raid and loads a replica, unless there is one. The subscription comes
    /// first, so that no event falls between it and the load.
    pub(super) async fn ensure_replica(&mut self) -> Result<(), Error> {
        if self.replica.is_some() {
            return Ok(());
        }
        let registry = self.sessions.clone();
        let raid = self.raid();
        let subscription = registry.cluster.follow(raid, true);
        let loading = async {
            subscription.subscribe().await;
            registry.load(raid, 0).await
        };
        let folded = match self.forwards.expire_while(loading).await {
            Ok(folded) => folded.ok_or(Refusal::NotFound)?,
            Err(error) => {
                warn!(%raid, ?error, "loading a replica failed");
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
        self.replica = Some(Replica::new(state, subscription));
        self.audience
            .set_signal_relay(Some((registry.cluster.clone(), self.epoch)));
        self.observe_head(loaded.head);
        Ok(())
    }

    /// Catches up with the store. A failure is retried later.
    pub(super) async fn catch_up(&mut self, cause: RepairCause) {
        // `try_catch_up` is for callers that depend on the outcome.
        let _ = self.try_catch_up(cause).await;
    }

    /// Catches up with the store, and fails with `unavailable` if it cannot: for callers that must
    /// not answer from an outdated state.
    pub(super) async fn try_catch_up(&mut self, cause: RepairCause) -> Result<(), Error> {
        let raid = self.raid();
        let Some(replica) = &mut self.replica else {
            return Ok(());
        };
        let before = replica.seq();
        let catch_up = replica.catch_up(&*self.sessions.store, &self.audience, raid);
        let result = self.forwards.expire_while(catch_up).await;
        if replica.seq() > before {
            metrics().gaps_repaired.increment(cause);
        }
        result.map_err(|error| {
            warn!(%raid, ?error, "reading missed events failed; retrying");
            if matches!(error, LoadError::NewerVersion { .. }) {
                self.sessions.mark_follow_only(raid);
            }
            Error::Unavailable
        })
    }
}
