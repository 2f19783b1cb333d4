//! The requests that a follower answers from its replica: reads, watches and signals. A request that
//! the replica cannot answer yet waits beside the loop, for a read of the store or for the owner.

use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::ready;
use tokio::time::Instant;

use super::Follower;
use crate::cluster::client::OwnerStatus;
use crate::error::Error;
use crate::raid::Refusal;
use crate::session::actor::CarriedState;
use crate::session::message::{SessionMessage, WatchRequest};
use crate::session::pending_replies::ReadyWatch;
use crate::session::{Caller, RaidSnapshot};
use crate::store::Epoch;
use crate::telemetry::RepairCause;

/// How long the first watcher waits for the owner's presence message.
const PRESENCE_TIMEOUT: Duration = Duration::from_secs(1);

/// A read, watch or signal, and what the owner reported for it.
pub(super) struct ReplicaRequest {
    message: SessionMessage,
    /// For a read: the answer of the owner, if there is one.
    owner_status: Option<OwnerStatus>,
}

impl From<SessionMessage> for ReplicaRequest {
    fn from(message: SessionMessage) -> Self {
        Self {
            message,
            owner_status: None,
        }
    }
}

impl ReplicaRequest {
    pub(super) fn is_watch(&self) -> bool {
        !matches!(self.message, SessionMessage::Read { .. })
    }

    pub(super) fn into_message(self) -> SessionMessage {
        self.message
    }

    pub(super) fn fail(self, error: Error) {
        self.message.fail(error);
    }
}

/// The first watches here, which wait for the owner's presence message. The owner sends one whenever
/// an instance begins to have watchers; presence from before may be outdated, because an instance
/// without watchers receives none.
pub(super) struct PresenceWait {
    watches: Vec<WatchRequest>,
    /// The last presence message that had been applied.
    version_before: (Epoch, u64),
    until: Instant,
}

impl PresenceWait {
    pub(super) const fn until(&self) -> Instant {
        self.until
    }
}

impl Follower {
    /// Answers a request from the replica, or lets it wait. After a read of the store that began
    /// when the request was already here (`is_recent`) it need not wait for another one.
    pub(super) fn serve(
        &mut self,
        request: ReplicaRequest,
        is_recent: bool,
        carried: &mut CarriedState,
    ) {
        let Some(replica) = &self.replica else {
            return self.replica_reads.add(request);
        };
        let is_behind = match &request.message {
            // The player may have joined, or seen more, at another instance a moment ago.
            SessionMessage::Watch(watch) | SessionMessage::Resync(watch) => {
                !watch.caller.can_see(replica.state())
                    || watch.since.is_some_and(|since| since > replica.seq())
            }
            SessionMessage::Read { .. } => request
                .owner_status
                .as_ref()
                .is_none_or(|status| status.seq > replica.seq()),
            _ => false,
        };
        if is_behind && !is_recent {
            return self.replica_reads.add(request);
        }
        match request.message {
            SessionMessage::Watch(watch) => self.prepare_watch(watch, carried),
            SessionMessage::Resync(watch) => self.start_watch(watch, false, carried),
            SessionMessage::Read { caller, reply } => {
                reply.send(self.snapshot(caller, request.owner_status, carried));
            }
            SessionMessage::Signal(signal) => {
                signal.send_to(&self.audience, self.sessions.clock.now());
            }
            other => other.fail(Error::Internal),
        }
    }

    fn snapshot(
        &mut self,
        caller: Caller,
        owner_status: Option<OwnerStatus>,
        carried: &CarriedState,
    ) -> Result<RaidSnapshot, Error> {
        let replica = self.replica.as_ref().ok_or(Error::Unavailable)?;
        if !caller.can_see(replica.state()) {
            return Err(Refusal::NotFound.into());
        }
        let seq = replica.seq();
        let state = self.snapshot_cache.shared_state(replica.state());
        let announced = || carried.presence.announced().iter().copied().collect();
        let online = owner_status.map_or_else(announced, |owner_status| owner_status.online);
        let ws_url = self
            .owner
            .and_then(|owner| self.sessions.cluster.membership().ws_url(owner));
        Ok(RaidSnapshot {
            state,
            seq,
            online,
            ws_url,
        })
    }

    /// Asks the owner for its newest seq and its online players, on behalf of the waiting reads. An
    /// owner does what is due before it answers.
    pub(super) fn begin_status_query(&mut self) {
        if !self.status_queries.is_due() {
            return;
        }
        let query = match self.owner {
            Some(owner) => {
                let raid = self.raid();
                let cluster = self.sessions.cluster.clone();
                async move { cluster.query_owner_status(owner, raid).await }.boxed()
            }
            None => ready(None).boxed(),
        };
        self.status_queries.begin(query);
    }

    pub(super) fn finish_status_query(
        &mut self,
        reads: Vec<SessionMessage>,
        owner_status: Option<OwnerStatus>,
        carried: &mut CarriedState,
    ) {
        for message in reads {
            let request = ReplicaRequest {
                message,
                owner_status: owner_status.clone(),
            };
            self.serve(request, false, carried);
        }
    }

    /// Starts a watch. The first one waits for the owner's presence message.
    fn prepare_watch(&mut self, watch: WatchRequest, carried: &mut CarriedState) {
        if self.presence_wait.is_none() && self.audience.is_watched() {
            return self.start_watch(watch, true, carried);
        }
        self.await_owner_presence();
        if let Some(wait) = &mut self.presence_wait {
            wait.watches.push(watch);
        }
    }

    /// Reports to the owner that there are watchers, and begins to wait for its presence message.
    pub(super) fn await_owner_presence(&mut self) {
        if self.presence_wait.is_some() {
            return;
        }
        self.presence_wait = Some(PresenceWait {
            watches: Vec::new(),
            version_before: self.presence_version,
            until: Instant::now() + PRESENCE_TIMEOUT,
        });
        self.report_watchers();
    }

    /// Starts the watches that waited for the owner's presence message, once it has come or cannot
    /// be expected. Without an owner they go back into the mailbox: the next owner collects presence.
    pub(super) fn end_presence_wait(&mut self, carried: &mut CarriedState) {
        let is_claimable = self.is_claimable();
        let is_over = |wait: &mut PresenceWait| {
            is_claimable
                || self.presence_version > wait.version_before
                || wait.until <= Instant::now()
                || !self.sessions.cluster.is_bus_healthy()
        };
        let Some(wait) = self.presence_wait.take_if(is_over) else {
            return;
        };
        if is_claimable && !wait.watches.is_empty() {
            self.request_claim();
            let watches = wait.watches.into_iter().map(SessionMessage::Watch);
            return carried.mailbox.put_back(watches);
        }
        for watch in wait.watches {
            self.start_watch(watch, true, carried);
        }
        // All watches were refused after all, or their connections are gone: take the expected
        // watchers back.
        if !self.audience.is_watched() {
            self.report_watchers();
        }
    }

    fn start_watch(&mut self, watch: WatchRequest, is_joining: bool, carried: &mut CarriedState) {
        let Some(replica) = &self.replica else { return };
        match self.snapshot_cache.watch_start(replica.state(), &watch) {
            Ok(start) => self.snapshot_cache.answer_watch(
                ReadyWatch {
                    watch,
                    start,
                    is_joining,
                },
                carried.presence.announced(),
            ),
            Err(error) => watch.reply.send(Err(error)),
        }
    }

    /// Returns the number of requests that wait for the store or the owner.
    pub(super) fn waiting_requests(&self) -> usize {
        let watches = self
            .presence_wait
            .as_ref()
            .map_or(0, |wait| wait.watches.len());
        self.replica_reads.requests().count()
            + self.status_queries.requests().count()
            + self.head_reads.requests().count()
            + watches
    }

    /// Removes all waiting requests, and returns them as messages.
    pub(super) fn take_waiting(&mut self) -> Vec<SessionMessage> {
        if self.replica_reads.is_inflight() {
            self.read_cause = self.read_cause.or(Some(RepairCause::Retry));
        }
        let replica = self.replica_reads.take_requests().into_iter();
        let watches = self.presence_wait.take().into_iter();
        let watches = watches
            .flat_map(|wait| wait.watches)
            .map(SessionMessage::Watch);
        let waiting = replica.map(ReplicaRequest::into_message);
        let waiting = waiting.chain(self.status_queries.take_requests());
        let waiting = waiting.chain(self.head_reads.take_requests());
        waiting.chain(watches).collect()
    }
}
