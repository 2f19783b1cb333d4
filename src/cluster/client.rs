//! One instance's end of the bus: what it says, what it follows, and the questions that it waits to have answered.
//!
//! An instance that is alone has a link too: nobody hears it, it hears nobody, and it never waits.

mod requests;
mod subscription;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use raidhall_protocol::{RaidId, Seq};
use requests::Questions;
pub use requests::{Forwarding, Sight};
use subscription::Follows;
pub use subscription::{Following, Heard};
use tokio::sync::watch;

use super::bus::{Bus, Channel};
use super::membership::Peers;
use super::message::{Envelope, Note, Seal, Unreadable};
use crate::clock::Clock;
use crate::store::{Epoch, InstanceId, RaidHead};
use crate::telemetry::metrics;

/// How long a statement of the bus may take before we go on without it.
const BUS_PATIENCE: Duration = Duration::from_millis(300);

/// From this age on, in milliseconds, nothing but committed events is of any account.
const OLD_MS: i64 = 10_000;

/// Which raid, under which owner's epoch, up to which event: what every message names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct About {
    /// The raid.
    pub raid: RaidId,
    /// The owner's epoch, as far as it is known.
    pub epoch: Epoch,
    /// The newest seq that the message speaks of.
    pub seq: Seq,
}

/// A handle to the link. Cheap to clone.
#[derive(Clone)]
pub struct Link(Arc<Inner>);

struct Inner {
    instance: InstanceId,
    clock: Arc<Clock>,
    peers: Peers,
    line: Option<Line>,
    follows: Arc<Follows>,
    questions: Arc<Questions>,
    proven: watch::Receiver<bool>,
    /// Keeps `proven` open for whoever is alone.
    _alone: watch::Sender<bool>,
}

/// What an instance in a cluster has and one that is alone has not.
struct Line {
    bus: Arc<dyn Bus>,
    seal: Seal,
}

impl Link {
    /// The link of an instance that is the only one on its database.
    pub fn alone(instance: InstanceId, clock: Arc<Clock>, peers: Peers) -> Link {
        Self::new(instance, clock, peers, None)
    }

    /// The link of an instance in a cluster.
    pub fn over(
        bus: Arc<dyn Bus>,
        seal: Seal,
        instance: InstanceId,
        clock: Arc<Clock>,
        peers: Peers,
    ) -> Link {
        Self::new(instance, clock, peers, Some(Line { bus, seal }))
    }

    fn new(instance: InstanceId, clock: Arc<Clock>, peers: Peers, line: Option<Line>) -> Link {
        let (follows, questions) = (Arc::default(), Arc::default());
        let _alone = watch::Sender::new(true);
        let proven = line
            .as_ref()
            .map_or_else(|| _alone.subscribe(), |line| line.bus.proven());
        Link(Arc::new(Inner {
            instance,
            clock,
            peers,
            line,
            follows,
            questions,
            proven,
            _alone,
        }))
    }

    /// Whether this instance is the only one by configuration.
    pub fn is_alone(&self) -> bool {
        self.0.line.is_none()
    }

    /// Who we are.
    pub fn instance(&self) -> InstanceId {
        self.0.instance
    }

    /// Who else lives.
    pub fn peers(&self) -> &Peers {
        &self.0.peers
    }

    /// Whether the bus is proven to work, now and at each change.
    pub fn proven(&self) -> watch::Receiver<bool> {
        self.0.proven.clone()
    }

    /// Whether the bus is proven to work now; for whoever is alone it always is.
    pub fn is_proven(&self) -> bool {
        *self.0.proven.borrow()
    }

    /// Says something to all who follow the raid. Soft notes (presence, signals) are the first to be dropped when the
    /// bus is short of room. Never waits, and never fails in a way that matters: whoever misses it heals from the
    /// store.
    pub fn say(&self, about: About, note: Note) {
        let channel = match note {
            Note::Presence { .. } | Note::Signal { .. } => Channel::Live(about.raid),
            _ => Channel::Events(about.raid),
        };
        self.publish(channel, about, note);
    }

    /// Says something to one instance.
    pub fn tell(&self, to: InstanceId, about: About, note: Note) {
        self.publish(Channel::Inbox(to), about, note);
    }

    fn publish(&self, channel: Channel, about: About, note: Note) {
        if let Some(line) = &self.0.line {
            line.bus
                .publish(channel, self.sealed(line, channel, about, note));
        }
    }

    /// Says that the raid is ours, and learns how many follow it. None: unknown.
    pub async fn claim_aloud(&self, about: About) -> Option<u64> {
        let line = self.0.line.as_ref()?;
        let channel = Channel::Events(about.raid);
        line.bus
            .publish_counted(channel, self.sealed(line, channel, about, Note::Owned))
            .await
    }

    fn sealed(&self, line: &Line, channel: Channel, about: About, note: Note) -> Bytes {
        let About { raid, epoch, seq } = about;
        let (from, at) = (self.0.instance, self.0.clock.now());
        line.seal.close(
            channel,
            Envelope {
                from,
                at,
                raid,
                epoch,
                seq,
                note,
            },
        )
    }

    /// Opens a message of the bus, and notes how long it was under way.
    ///
    /// # Errors
    ///
    /// Whatever is not of this cluster, not of a known form, not for this channel, or old.
    pub fn open(&self, channel: Channel, message: &[u8]) -> Result<Envelope, Unreadable> {
        let line = self.0.line.as_ref().ok_or(Unreadable::Seal)?;
        let envelope = line.seal.open(channel, message)?;
        let lag = self.0.clock.told().since(envelope.at).max(0);
        if lag > OLD_MS && !matches!(envelope.note, Note::Events(_)) {
            return Err(Unreadable::Old);
        }
        metrics().bus_lag.record(lag as f64 / 1_000.0);
        Ok(envelope)
    }

    /// Follows a raid: its events, presence and signals, or the last two only.
    pub fn follow(&self, raid: RaidId, events: bool) -> Following {
        let channels: &[Channel] = if events {
            &[Channel::Events(raid), Channel::Live(raid)]
        } else {
            &[Channel::Live(raid)]
        };
        let bus = self.0.line.as_ref().map(|line| Arc::clone(&line.bus));
        Following::new(Arc::clone(&self.0.follows), bus, raid, channels)
    }

    /// The raids that are followed whole.
    pub fn followed(&self) -> Vec<RaidId> {
        self.0.follows.whole()
    }

    /// Hands what was heard about a raid to whoever follows it.
    pub fn hand(&self, raid: RaidId, heard: Heard) {
        self.0.follows.hand(raid, heard);
    }

    /// The store's word on a raid, for whoever follows it.
    pub fn hand_head(&self, raid: RaidId, head: RaidHead) {
        self.0.follows.hand(raid, Heard::Head(head));
    }

    /// Forwards commands to a raid's owner. Keep what comes back: answers come through it, and it can be sent again.
    pub fn forward(&self, to: InstanceId) -> Forwarding {
        self.0.questions.forward(to)
    }

    /// Asks a raid's owner how far it is and who is online; none if it does not say within a moment.
    pub async fn ask(&self, owner: InstanceId, raid: RaidId) -> Option<Sight> {
        if self.is_alone() || !self.is_proven() {
            return None;
        }
        let (request, answer) = self.0.questions.ask(owner);
        let about = About {
            raid,
            epoch: Epoch(0),
            seq: Seq::ZERO,
        };
        self.tell(
            owner,
            about,
            Note::Ask {
                request: request.number(),
            },
        );
        tokio::time::timeout(BUS_PATIENCE, answer)
            .await
            .ok()?
            .ok()?
    }

    /// Waits until everything that was said has gone out, or cannot.
    pub async fn flush(&self) {
        if let Some(line) = &self.0.line {
            line.bus.flush().await;
        }
    }

    /// Takes an answer to one of our questions.
    pub fn answered(&self, envelope: Envelope) {
        self.0.questions.answered(envelope);
    }
}
