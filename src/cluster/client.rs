//! An instance's client of the cluster: it publishes messages, subscribes to raids, and sends
//! requests to other instances.
//!
//! A standalone instance has a client too: its messages go nowhere, it receives none, and it never
//! waits.

mod requests;
mod subscription;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use raidhall_protocol::{PlayerId, RaidId, Seq};
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

/// Longest wait for an owner's status.
const OWNER_STATUS_TIMEOUT: Duration = Duration::from_millis(300);

/// Age in milliseconds above which every message but committed events is discarded.
const MESSAGE_AGE_MAX_MS: i64 = 10_000;

/// Header of every cluster message: the raid, its owner's epoch and its newest seq.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MessageHeader {
    pub raid: RaidId,
    /// Epoch of the owner, as far as the sender knows it.
    pub epoch: Epoch,
    /// Newest seq that the message covers.
    pub seq: Seq,
}

/// A handle to the cluster. Cheap to clone.
#[derive(Clone)]
pub struct ClusterClient(Arc<ClusterClientInner>);

struct ClusterClientInner {
    instance: InstanceId,
    clock: Arc<Clock>,
    membership: Membership,
    sealed_bus: Option<SealedBus>,
    subscriptions: Arc<RaidSubscriptions>,
    outstanding_requests: Arc<OutstandingRequests>,
    /// Number of the latest message that was sealed.
    message_number: AtomicU64,
    bus_health: watch::Receiver<bool>,
    /// Keeps `bus_health` open on a standalone instance.
    _standalone_health: watch::Sender<bool>,
}

/// A subscription to notices of new events in the feed, until it is dropped. An instance has one at a
/// time.
pub struct FeedSubscription(ClusterClient);

impl Drop for FeedSubscription {
    fn drop(&mut self) {
        if let Some(sealed_bus) = &self.0.0.sealed_bus {
            sealed_bus.bus.unsubscribe(&[Channel::Feed]);
        }
    }
}

/// The bus and the seal of its messages, which a standalone instance does not have.
struct SealedBus {
    bus: Arc<dyn Bus>,
    seal: EnvelopeSealer,
}

impl ClusterClient {
    /// Creates the client of the only instance on its database.
    pub fn standalone(
        instance: InstanceId,
        clock: Arc<Clock>,
        membership: Membership,
    ) -> ClusterClient {
        Self::new(instance, clock, membership, None)
    }

    /// Creates the client of an instance in a cluster.
    pub fn clustered(
        bus: Arc<dyn Bus>,
        seal: EnvelopeSealer,
        instance: InstanceId,
        clock: Arc<Clock>,
        membership: Membership,
    ) -> ClusterClient {
        Self::new(instance, clock, membership, Some(SealedBus { bus, seal }))
    }

    fn new(
        instance: InstanceId,
        clock: Arc<Clock>,
        membership: Membership,
        sealed_bus: Option<SealedBus>,
    ) -> ClusterClient {
        let standalone_health = watch::Sender::new(true);
        let bus_health = match &sealed_bus {
            Some(sealed_bus) => sealed_bus.bus.watch_health(),
            None => standalone_health.subscribe(),
        };
        ClusterClient(Arc::new(ClusterClientInner {
            instance,
            clock,
            membership,
            sealed_bus,
            subscriptions: Arc::default(),
            outstanding_requests: Arc::default(),
            message_number: AtomicU64::new(0),
            bus_health,
            _standalone_health: standalone_health,
        }))
    }

    /// Returns whether this instance is the only one by configuration.
    pub fn is_standalone(&self) -> bool {
        self.0.sealed_bus.is_none()
    }

    pub fn instance(&self) -> InstanceId {
        self.0.instance
    }

    pub fn membership(&self) -> &Membership {
        &self.0.membership
    }

    /// Returns a receiver of the bus's health; a standalone instance is always healthy.
    pub fn watch_bus_health(&self) -> watch::Receiver<bool> {
        self.0.bus_health.clone()
    }

    /// Returns whether the bus is healthy; a standalone instance always is.
    pub fn is_bus_healthy(&self) -> bool {
        *self.0.bus_health.borrow()
    }

    /// Publishes a message to all instances that follow the raid. Presence and signals are the
    /// first messages to be dropped when the bus is short of room. Never waits. A lost message does
    /// no harm: the instances that miss it recover from the store.
    pub fn broadcast(&self, header: MessageHeader, message: ClusterMessage) {
        let channel = match message {
            ClusterMessage::Presence { .. } | ClusterMessage::Signal { .. } => {
                Channel::Live(header.raid)
            }
            _ => Channel::Events(header.raid),
        };
        self.publish(channel, header, message);
    }

    /// Sends a message to one instance.
    pub fn send(&self, target: InstanceId, header: MessageHeader, message: ClusterMessage) {
        self.publish(Channel::Inbox(target), header, message);
    }

    fn publish(&self, channel: Channel, header: MessageHeader, message: ClusterMessage) {
        if let Some(sealed_bus) = &self.0.sealed_bus {
            sealed_bus
                .bus
                .publish(channel, self.seal(sealed_bus, channel, header, message));
        }
    }

    /// Announces that this instance owns the raid. Returns how many instances follow it, or `None`
    /// if that is unknown.
    pub async fn announce_claim(&self, header: MessageHeader) -> Option<u64> {
        let sealed_bus = self.0.sealed_bus.as_ref()?;
        let channel = Channel::Events(header.raid);
        sealed_bus
            .bus
            .publish_counted(
                channel,
                self.seal(sealed_bus, channel, header, ClusterMessage::Owned),
            )
            .await
    }

    /// Publishes an empty message to an instance's inbox, which ignores it, and returns how many
    /// subscriptions received it; `None` if that is unknown.
    pub async fn count_receivers(&self, target: InstanceId) -> Option<u64> {
        let sealed_bus = self.0.sealed_bus.as_ref()?;
        if !self.is_bus_healthy() {
            return None;
        }
        let inbox = Channel::Inbox(target);
        sealed_bus.bus.publish_counted(inbox, Bytes::new()).await
    }

    /// Opens new connections to the bus, as [`Bus::reconnect`] does.
    pub fn reconnect_bus(&self) {
        if let Some(sealed_bus) = &self.0.sealed_bus {
            sealed_bus.bus.reconnect();
        }
    }

    fn seal(
        &self,
        sealed_bus: &SealedBus,
        channel: Channel,
        header: MessageHeader,
        message: ClusterMessage,
    ) -> Bytes {
        let MessageHeader { raid, epoch, seq } = header;
        let from = self.0.instance;
        let number = 1 + self.0.message_number.fetch_add(1, Ordering::Relaxed);
        let at = self.0.clock.database_time();
        sealed_bus.seal.seal(
            channel,
            Envelope {
                from,
                number,
                at,
                raid,
                epoch,
                seq,
                message,
            },
        )
    }

    /// Opens a message of the bus, and records how long it was under way.
    ///
    /// # Errors
    ///
    /// The message is not of this cluster, of no known form, not for this channel, or too old.
    pub fn open(&self, channel: Channel, message: &[u8]) -> Result<Envelope, EnvelopeError> {
        let sealed_bus = self.0.sealed_bus.as_ref().ok_or(EnvelopeError::BadSeal)?;
        let envelope = sealed_bus.seal.open(channel, message)?;
        let lag = self.0.clock.database_time().since(envelope.at).max(0);
        if lag > MESSAGE_AGE_MAX_MS && !matches!(envelope.message, ClusterMessage::Events(_)) {
            return Err(EnvelopeError::Expired);
        }
        metrics().bus_lag.record(lag as f64 / 1_000.0);
        Ok(envelope)
    }

    /// Subscribes to a raid: to its events, presence and signals, or only to the last two.
    pub fn follow(&self, raid: RaidId, events: bool) -> RaidSubscription {
        let channels: &[Channel] = if events {
            &[Channel::Events(raid), Channel::Live(raid)]
        } else {
            &[Channel::Live(raid)]
        };
        let bus = self
            .0
            .sealed_bus
            .as_ref()
            .map(|sealed_bus| Arc::clone(&sealed_bus.bus));
        RaidSubscription::new(Arc::clone(&self.0.subscriptions), bus, raid, channels)
    }

    /// Subscribes to the heads of a player's stream. While the bus is down, the head poller finds
    /// what it would have carried.
    pub async fn follow_stream(&self, player: PlayerId) {
        if let Some(sealed_bus) = &self.0.sealed_bus {
            let channels = [Channel::Player(player)];
            let _ = sealed_bus.bus.subscribe(&channels).await;
        }
    }

    /// Ends the subscription to a player's stream.
    pub fn unfollow_stream(&self, player: PlayerId) {
        if let Some(sealed_bus) = &self.0.sealed_bus {
            sealed_bus.bus.unsubscribe(&[Channel::Player(player)]);
        }
    }

    /// Tells the instances that follow a player's stream its newest seq.
    pub fn announce_stream_head(&self, player: PlayerId, head: Seq) {
        if let Some(sealed_bus) = &self.0.sealed_bus {
            let channel = Channel::Player(player);
            let message = sealed_bus.seal.seal_head(channel, head);
            sealed_bus.bus.publish(channel, message);
        }
    }

    /// Opens the newest seq of a player's stream from the player's channel.
    ///
    /// # Errors
    ///
    /// The message is not of this cluster, not for this channel, or of no known form.
    pub fn open_stream_head(&self, player: PlayerId, message: &[u8]) -> Result<Seq, EnvelopeError> {
        let sealed_bus = self.0.sealed_bus.as_ref().ok_or(EnvelopeError::BadSeal)?;
        sealed_bus.seal.open_head(Channel::Player(player), message)
    }

    /// Subscribes to notices of new events in the feed. While the bus is down, the reader of the feed
    /// finds by itself what it would have carried.
    pub async fn follow_feed(&self) -> FeedSubscription {
        let subscription = FeedSubscription(self.clone());
        if let Some(sealed_bus) = &self.0.sealed_bus {
            let _ = sealed_bus.bus.subscribe(&[Channel::Feed]).await;
        }
        subscription
    }

    /// Tells the instances that follow the feed that it has new events.
    pub fn announce_feed(&self) {
        if let Some(sealed_bus) = &self.0.sealed_bus {
            let notice = sealed_bus.seal.seal_notice(Channel::Feed);
            sealed_bus.bus.publish(Channel::Feed, notice);
        }
    }

    /// Opens a notice from the feed's channel.
    ///
    /// # Errors
    ///
    /// The message is not of this cluster, not for this channel, or no notice.
    pub fn open_feed_notice(&self, message: &[u8]) -> Result<(), EnvelopeError> {
        let sealed_bus = self.0.sealed_bus.as_ref().ok_or(EnvelopeError::BadSeal)?;
        sealed_bus.seal.open_notice(Channel::Feed, message)
    }

    /// Returns the raids that are followed with their events.
    pub fn followed_raids(&self) -> Vec<RaidId> {
        self.0.subscriptions.raids_with_events()
    }

    /// Delivers an update to the subscription of a raid, if there is one.
    pub fn dispatch(&self, raid: RaidId, update: RaidUpdate) {
        self.0.subscriptions.dispatch(raid, update);
    }

    /// Delivers a raid's head in the store to the raid's subscription, if there is one.
    pub fn dispatch_head(&self, raid: RaidId, head: RaidHead) {
        self.0.subscriptions.dispatch(raid, RaidUpdate::Head(head));
    }

    /// Registers a forward batch to a raid's owner. The batch may be sent several times; its
    /// replies arrive through the returned value.
    pub fn begin_forward(&self, target: InstanceId) -> PendingForward {
        self.0.outstanding_requests.register_forward(target)
    }

    /// Asks a raid's owner for its status: the newest seq and the online players. Returns `None` if
    /// the owner does not reply within `OWNER_STATUS_TIMEOUT`.
    pub async fn query_owner_status(&self, owner: InstanceId, raid: RaidId) -> Option<OwnerStatus> {
        if self.is_standalone() || !self.is_bus_healthy() {
            return None;
        }
        let (request, reply) = self.0.outstanding_requests.register_owner_status(owner);
        let header = MessageHeader {
            raid,
            epoch: Epoch(0),
            seq: Seq::ZERO,
        };
        self.send(
            owner,
            header,
            ClusterMessage::QueryStatus {
                request: request.id(),
            },
        );
        tokio::time::timeout(OWNER_STATUS_TIMEOUT, reply)
            .await
            .ok()?
            .ok()?
    }

    /// Waits until all messages published before have been sent or dropped, but only for a moment.
    pub async fn flush(&self) {
        if let Some(sealed_bus) = &self.0.sealed_bus {
            sealed_bus.bus.flush().await;
        }
    }

    /// Completes one of this client's requests with the reply in `envelope`.
    pub fn complete_request(&self, envelope: Envelope) {
        self.0.outstanding_requests.complete(envelope);
    }
}
