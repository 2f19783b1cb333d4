//! A follower's replica of the raid: folded from the store, moved on by events from the bus,
//! repaired from the store.

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use raidhall_protocol::{Event, Seq};
use tokio::time::{Instant, timeout};
use tracing::warn;

use super::requests::ReplicaRequest;
use super::{Follower, RESOLVE_RETRY_DELAY};
use crate::cluster::client::{RaidSubscription, RaidUpdate};
use crate::error::Error;
use crate::fanout::audience::Audience;
use crate::raid::{self, Refusal, State};
use crate::session::actor::CarriedState;
use crate::session::load::{self, LoadError};
use crate::telemetry::{RepairCause, metrics};

/// Events per page when the replica catches up.
const PAGE_EVENTS: u32 = 1_000;
/// How long the store may take to return one page.
const PAGE_TIMEOUT: Duration = Duration::from_secs(2);
/// First pause before the store is read again; each failure doubles it up to the maximum.
const CATCH_UP_BACKOFF_MIN: Duration = Duration::from_millis(200);
const CATCH_UP_BACKOFF_MAX: Duration = Duration::from_secs(1);
/// Pause before a raid is loaded again whose committed events the store lacks.
const HISTORY_RETRY_DELAY: Duration = Duration::from_secs(1);

pub(super) struct Replica {
    state: State,
    subscription: RaidSubscription,
    /// When the store is read again after a failure.
    catch_up_at: Option<Instant>,
    catch_up_backoff: Duration,
}

impl Replica {
    pub(super) const fn new(state: State, subscription: RaidSubscription) -> Self {
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

    /// Returns whether the retry of a failed read is due, and then clears it.
    pub(super) fn take_due_catch_up(&mut self, now: Instant) -> bool {
        self.catch_up_at.take_if(|at| *at <= now).is_some()
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

    fn schedule_retry(&mut self) {
        self.catch_up_at = Some(Instant::now() + self.catch_up_backoff);
        self.catch_up_backoff = (self.catch_up_backoff * 2).min(CATCH_UP_BACKOFF_MAX);
    }
}

/// The result of a read of the store for the replica.
pub(super) enum ReplicaRead {
    /// The raid as loaded after the subscription to its messages, so that no event falls between.
    Loaded(
        RaidSubscription,
        Box<Result<Option<load::FoldedRaid>, LoadError>>,
    ),
    /// The events after the replica's seq, at most one page.
    Page(Result<Vec<Event>, LoadError>),
}

impl Follower {
    /// Requests that the replica is loaded, or catches up with the store. The read that does it begins
    /// after this call.
    pub(super) fn request_read(&mut self, cause: RepairCause) {
        self.read_cause.get_or_insert(cause);
    }

    /// Begins a read of the store if one is requested or requests wait for one.
    pub(super) fn begin_replica_read(&mut self) {
        if self.replica_reads.is_inflight()
            || (self.read_cause.is_none() && !self.replica_reads.is_due())
        {
            return;
        }
        let first = self.replica_reads.requests().next();
        let cause = self.read_cause.take().unwrap_or(match first {
            Some(request) if request.is_watch() => RepairCause::Watch,
            _ => RepairCause::Read,
        });
        let seq = self.replica.as_ref().map_or(Seq::ZERO, Replica::seq);
        self.read_in_progress = (cause, seq);
        let read = self.next_page_or_load();
        self.replica_reads.begin(read);
    }

    fn next_page_or_load(&self) -> BoxFuture<'static, ReplicaRead> {
        let audience = Arc::clone(&self.audience);
        let raid = audience.raid();
        let registry = self.sessions.clone();
        match self.replica.as_ref().map(Replica::seq) {
            Some(after) => async move {
                let page = timeout(
                    PAGE_TIMEOUT,
                    registry.store.events(raid, after, PAGE_EVENTS),
                );
                let page = page.await.map_err(|_| LoadError::Timeout);
                ReplicaRead::Page(page.and_then(|events| Ok(events?)))
            }
            .boxed(),
            None => async move {
                let subscription = registry.cluster.follow(raid, true);
                subscription.subscribe().await;
                let loaded = registry.load(&audience, 0).await;
                ReplicaRead::Loaded(subscription, Box::new(loaded))
            }
            .boxed(),
        }
    }

    /// Applies what was read from the store, and serves the requests that waited for it.
    pub(super) fn finish_replica_read(
        &mut self,
        requests: Vec<ReplicaRequest>,
        read: ReplicaRead,
        carried: &mut CarriedState,
    ) {
        let result = match read {
            ReplicaRead::Loaded(subscription, loaded) => {
                self.finish_load(subscription, *loaded, carried)
            }
            ReplicaRead::Page(page) => match self.finish_page(page) {
                Ok(is_last_page) if !is_last_page => {
                    let next = self.next_page_or_load();
                    return self.replica_reads.resume(requests, next);
                }
                result => result.map(drop),
            },
        };
        for request in requests {
            match &result {
                Ok(()) => self.serve(request, true, carried),
                Err(error) => request.fail(error.clone()),
            }
        }
    }

    fn finish_load(
        &mut self,
        subscription: RaidSubscription,
        loaded: Result<Option<load::FoldedRaid>, LoadError>,
        carried: &mut CarriedState,
    ) -> Result<(), Error> {
        let folded = match loaded {
            Ok(folded) => folded.ok_or(Refusal::NotFound)?,
            Err(error) => {
                if self.audience.is_watched() {
                    let pause = match error {
                        LoadError::HistoryLost { .. } => HISTORY_RETRY_DELAY,
                        _ => RESOLVE_RETRY_DELAY,
                    };
                    self.resolve_at = Some(Instant::now() + pause);
                }
                return Err(self.record_read_failure(&error));
            }
        };
        let load::FoldedRaid { state, loaded } = folded;
        self.audience
            .sync_from_store(state.seq(), &state.shown().members, &loaded.tail);
        self.replica = Some(Replica::new(state, subscription));
        // The replica has a subscription of its own.
        carried.subscription = None;
        self.audience
            .set_signal_relay(Some((self.sessions.cluster.clone(), self.epoch)));
        self.observe_head(loaded.head);
        if self.audience.is_watched() {
            self.await_owner_presence();
        }
        Ok(())
    }

    /// Applies a page of events. Returns whether it was the last one; a failure is retried later.
    fn finish_page(&mut self, page: Result<Vec<Event>, LoadError>) -> Result<bool, Error> {
        let Some(replica) = &mut self.replica else {
            return Ok(true);
        };
        match page {
            Ok(events) => {
                let is_last_page = events.len() < PAGE_EVENTS as usize;
                replica.apply_events(&self.audience, events);
                let (cause, before) = self.read_in_progress;
                if is_last_page && replica.seq() > before {
                    metrics().gaps_repaired.increment(cause);
                }
                replica.catch_up_at = None;
                replica.catch_up_backoff = CATCH_UP_BACKOFF_MIN;
                Ok(is_last_page)
            }
            Err(error) => {
                replica.schedule_retry();
                Err(self.record_read_failure(&error))
            }
        }
    }

    fn record_read_failure(&self, error: &LoadError) -> Error {
        let raid = self.raid();
        warn!(%raid, ?error, "reading the raid for its replica failed");
        if matches!(error, LoadError::NewerVersion { .. }) {
            self.sessions.mark_follow_only(raid);
        }
        Error::Unavailable
    }
}
