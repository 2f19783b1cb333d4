//! One instance's end of the bus: what it says, what it follows, and the questions that it waits to have answered.
//!
//! An instance that is alone has a link too: nobody hears it, it hears nobody, and it never waits.

mod requests;
mod subscription;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use raidhall_protocol::{RaidId, Seq};
use requests::OutstandingRequests;
pub use requests::{OwnerStatus, PendingForward};
use subscription::RaidSubscriptions;
pub use subscription::{RaidSubscription, RaidUpdate};
use tokio::sync::watch;

use super::bus::{Bus, Channel};
use super::membership::Membership;
use super::message::{ClusterMessage, Envelope, EnvelopeError, EnvelopeSealer};
use crate::clock::Clock;
use crate::store::{Epoch, InstanceId, RaidHead};
use crate::telemetry::metrics;

/// How long a statement of the bus may take before we go on without it.
const OWNER_STATUS_TIMEOUT: Duration = Duration::from_millis(300);

/// From this age on, in milliseconds, nothing but committed events is of any account.
const MESSAGE_AGE_MAX_MS: i64 = 10_000;

/// Which raid, under which owner's epoch, up to which event: what every message names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MessageHeader {
    /// The raid.
    pub raid: RaidId,
    /// The owner's epoch, as far as it is known.
    pub epoch: Epoch,
    /// The newest seq that the message speaks of.
    pub seq: Seq,
}

/// A handle to the link. Cheap to clone.
#[derive(Clone)]
pub struct ClusterClient(Arc<ClusterClientInner>);

struct ClusterClientInner {
    instance: InstanceId,
    clock: Arc<Clock>,
    membership: Membership,
    sealed_bus: Option<SealedBus>,
    subscriptions: Arc<RaidSubscriptions>,
    outstanding_requests: Arc<OutstandingRequests>,
    bus_health: watch::Receiver<bool>,
    /// Keeps `proven` open for whoever is alone.
    _standalone_health: watch::Sender<bool>,
}

/// What an instance in a cluster has and one that is alone has not.
struct SealedBus {
    bus: Arc<dyn Bus>,
    seal: EnvelopeSealer,
}

impl ClusterClient {
    /// The link of an instance that is the only one on its database.
    pub fn standalone(instance: InstanceId, clock: Arc<Clock>, peers: Membership) -> ClusterClient {
        Self::new(instance, clock, peers, None)
    }

    /// The link of an instance in a cluster.
    pub fn clustered(
        bus: Arc<dyn Bus>,
        seal: EnvelopeSealer,
        instance: InstanceId,
        clock: Arc<Clock>,
        peers: Membership,
    ) -> ClusterClient {
        Self::new(instance, clock, peers, Some(SealedBus { bus, seal }))
    }

    fn new(
        instance: InstanceId,
        clock: Arc<Clock>,
        peers: Membership,
        line: Option<SealedBus>,
    ) -> ClusterClient {
        let (follows, questions) = (Arc::default(), Arc::default());
        let _alone = watch::Sender::new(true);
        let proven = line
            .as_ref()
            .map_or_else(|| _alone.subscribe(), |line| line.bus.watch_health());
        ClusterClient(Arc::new(ClusterClientInner {
            instance,
            clock,
            membership: peers,
            sealed_bus: line,
            subscriptions: follows,
            outstanding_requests: questions,
            bus_health: proven,
            _standalone_health: _alone,
        }))
    }

    /// Whether this instance is the only one by configuration.
    pub fn is_standalone(&self) -> bool {
        self.0.sealed_bus.is_none()
    }

    /// Who we are.
    pub fn instance(&self) -> InstanceId {
        self.0.instance
    }

    /// Who else lives.
    pub fn membership(&self) -> &Membership {
        &self.0.membership
    }

    /// Whether the bus is proven to work, now and at each change.
    pub fn watch_bus_health(&self) -> watch::Receiver<bool> {
        self.0.bus_health.clone()
    }

    /// Whether the bus is proven to work now; for whoever is alone it always is.
    pub fn is_bus_healthy(&self) -> bool {
        *self.0.bus_health.borrow()
    }

    /// Says something to all who follow the raid. Soft notes (presence, signals) are the first to be dropped when the
    /// bus is short of room. Never waits, and never fails in a way that matters: whoever misses it heals from the
    /// store.
    pub fn broadcast(&self, about: MessageHeader, note: ClusterMessage) {
        let channel = match note {
            ClusterMessage::Presence { .. } | ClusterMessage::Signal { .. } => {
                Channel::Live(about.raid)
            }
            _ => Channel::Events(about.raid),
        };
        self.publish(channel, about, note);
    }

    /// Says something to one instance.
    pub fn send(&self, to: InstanceId, about: MessageHeader, note: ClusterMessage) {
        self.publish(Channel::Inbox(to), about, note);
    }

    fn publish(&self, channel: Channel, about: MessageHeader, note: ClusterMessage) {
        if let Some(line) = &self.0.sealed_bus {
            line.bus
                .publish(channel, self.seal(line, channel, about, note));
        }
    }

    /// Says that the raid is ours, and learns how many follow it. None: unknown.
    pub async fn announce_claim(&self, about: MessageHeader) -> Option<u64> {
        let line = self.0.sealed_bus.as_ref()?;
        let channel = Channel::Events(about.raid);
        line.bus
            .publish_counted(
                channel,
                self.seal(line, channel, about, ClusterMessage::Owned),
            )
            .await
    }

    fn seal(
        &self,
        line: &SealedBus,
        channel: Channel,
        about: MessageHeader,
        note: ClusterMessage,
    ) -> Bytes {
        let MessageHeader { raid, epoch, seq } = about;
        let (from, at) = (self.0.instance, self.0.clock.now());
        line.seal.seal(
            channel,
            Envelope {
                from,
                at,
                raid,
                epoch,
                seq,
                message: note,
            },
        )
    }

    /// Opens a message of the bus, and notes how long it was under way.
    ///
    /// # Errors
    ///
    /// Whatever is not of this cluster, not of a known form, not for this channel, or old.
    pub fn open(&self, channel: Channel, message: &[u8]) -> Result<Envelope, EnvelopeError> {
        let line = self.0.sealed_bus.as_ref().ok_or(EnvelopeError::BadSeal)?;
        let envelope = line.seal.open(channel, message)?;
        let lag = self.0.clock.database_time().since(envelope.at).max(0);
        if lag > MESSAGE_AGE_MAX_MS && !matches!(envelope.message, ClusterMessage::Events(_)) {
            return Err(EnvelopeError::Expired);
        }
        metrics().bus_lag.record(lag as f64 / 1_000.0);
        Ok(envelope)
    }

    /// Follows a raid: its events, presence and signals, or the last two only.
    pub fn follow(&self, raid: RaidId, events: bool) -> RaidSubscription {
        let channels: &[Channel] = if events {
            &[Channel::Events(raid), Channel::Live(raid)]
        } else {
            &[Channel::Live(raid)]
        };
        let bus = self.0.sealed_bus.as_ref().map(|line| Arc::clone(&line.bus));
        RaidSubscription::new(Arc::clone(&self.0.subscriptions), bus, raid, channels)
    }

    /// The raids that are followed whole.
    pub fn followed_raids(&self) -> Vec<RaidId> {
        self.0.subscriptions.raids_with_events()
    }

    /// Hands what was heard about a raid to whoever follows it.
    pub fn dispatch(&self, raid: RaidId, heard: RaidUpdate) {
        self.0.subscriptions.dispatch(raid, heard);
    }

    /// The store's word on a raid, for whoever follows it.
    pub fn dispatch_head(&self, raid: RaidId, head: RaidHead) {
        self.0.subscriptions.dispatch(raid, RaidUpdate::Head(head));
    }

    /// Forwards commands to a raid's owner. Keep what comes back: answers come through it, and it can be sent again.
    pub fn begin_forward(&self, to: InstanceId) -> PendingForward {
        self.0.outstanding_requests.register_forward(to)
    }

    /// Asks a raid's owner how far it is and who is online; none if it does not say within a moment.
    pub async fn query_owner_status(&self, owner: InstanceId, raid: RaidId) -> Option<OwnerStatus> {
        if self.is_standalone() || !self.is_bus_healthy() {
            return None;
        }
        let (request, answer) = self.0.outstanding_requests.register_owner_status(owner);
        let about = MessageHeader {
            raid,
            epoch: Epoch(0),
            seq: Seq::ZERO,
        };
        self.send(
            owner,
            about,
            ClusterMessage::QueryStatus {
                request: request.id(),
            },
        );
        tokio::time::timeout(OWNER_STATUS_TIMEOUT, answer)
            .await
            .ok()?
            .ok()?
    }

    /// Waits until everything that was said has gone out, or cannot.
    pub async fn flush(&self) {
        if let Some(line) = &self.0.sealed_bus {
            line.bus.flush().await;
        }
    }

    /// Takes an answer to one of our questions.
    pub fn complete_request(&self, envelope: Envelope) {
        self.0.outstanding_requests.complete(envelope);
    }
}
