//! Cluster messages: versioned, bounded, and sealed, because the bus may carry messages of any
//! origin.
//!
//! A seal is an HMAC for one channel that only instances with the same secret and the same lineage
//! can make. So instances ignore messages of a stranger or of another cluster on the same bus, and
//! messages that were sent on another channel. A message that is repeated, or arrives late, is
//! harmless: events have a seq, commands have an op and a forward batch's number, presence has a
//! counter, and of signals and watcher reports only those count that are newer than the latest of
//! their sender.
//! Every message but committed events is discarded when it is old.

mod forward;

use bytes::{BufMut, Bytes, BytesMut};
pub use forward::{ForwardItem, ForwardReply, ForwardableCommand};
use hmac::{Hmac, KeyInit, Mac};
use raidhall_protocol::{Event, PlayerId, RaidId, Seq, UnixMillis};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::Sha256;
use uuid::Uuid;

use super::bus::Channel;
use crate::auth::AuthSecret;
use crate::store::{Epoch, InstanceId};
use crate::telemetry::BusRejectionCause;

/// Version of the envelope and its bodies that this release writes, and the newest that it reads.
pub const ENVELOPE_VERSION: u16 = 1;

/// Bytes of the truncated HMAC-SHA256 (RFC 2104, section 5, permits half of it or more).
const TAG_BYTES: usize = 16;

/// Deepest nesting in a message; a signal's data is the deepest.
const NESTING_MAX: usize = 64;

/// A cluster message with its sender, time and header.
#[derive(Debug, Clone, PartialEq)]
pub struct Envelope {
    /// The instance that sends the message.
    pub from: InstanceId,
    /// Grows with each message of one sender.
    pub number: u64,
    /// Time of sending, by the database's clock.
    pub at: UnixMillis,
    /// The raid that the message is about.
    pub raid: RaidId,
    /// Epoch of the owner that sends or receives the message, as far as the sender knows.
    pub epoch: Epoch,
    /// Newest seq that the message covers; zero if none.
    pub seq: Seq,
    pub message: ClusterMessage,
}

/// Content of a cluster message.
#[derive(Debug, Clone, PartialEq)]
pub enum ClusterMessage {
    /// To all followers of a raid: these events are committed.
    Events(Vec<Event>),
    /// To all followers of a raid: the sender now owns it and requests watcher reports.
    Owned,
    /// To all followers of a raid: the sender has released it, so any instance may claim it.
    Released,
    /// To all followers of a raid, from its owner: all players who are online.
    Presence {
        /// Grows with each message of one epoch.
        counter: u64,
        /// All players who are online.
        online: Vec<PlayerId>,
    },
    /// To all followers of a raid: a member's signal, from the instance of the member's connection.
    Signal {
        /// Member who sent the signal.
        from: PlayerId,
        kind: String,
        data: Value,
    },
    /// To a raid's owner: which players watch at the sender.
    WatcherReport(WatcherReport),
    /// To an instance that has not reported for a while: does a client still watch there?
    RequestWatcherReport,
    /// To one instance: claim the raid if possible. These players were online.
    Handover(Vec<PlayerId>),
    /// To a raid's owner: execute these commands in order and reply under this number, unless that
    /// has been done before.
    Forward {
        /// The sender's number for the forward batch.
        request: u64,
        /// How long the sender still waits for the replies, in milliseconds.
        remaining_ms: u64,
        /// The commands in their order.
        items: Vec<ForwardItem>,
    },
    /// Reply to `Forward`: one reply for each command, in order.
    ForwardReplies {
        /// The number in `Forward`.
        request: u64,
        /// One reply for each command.
        answers: Vec<ForwardReply>,
    },
    /// To a raid's owner: what is the newest seq, and which players are online?
    QueryStatus {
        /// The sender's number for the request.
        request: u64,
    },
    /// Reply to `QueryStatus`; the seq is the envelope's.
    OwnerStatus {
        /// The number in `QueryStatus`.
        request: u64,
        /// Players who are online; `None` if the raid is not live at the sender.
        online: Option<Vec<PlayerId>>,
    },
}

/// The players who watch a raid at one instance.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct WatcherReport {
    /// Whether any client watches, be it a player's or not.
    pub watched: bool,
    /// The members who watch.
    pub players: Vec<PlayerId>,
    /// Players who were online as far as the sender knew, when it hands the raid over or meets a
    /// new owner.
    pub known: Vec<PlayerId>,
    /// Whether the sender is about to end: players who vanish from it are on the way to another
    /// instance.
    pub draining: bool,
}

/// Reason why a message is dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum EnvelopeError {
    /// The message was not sealed by an instance of this cluster.
    #[error("not sealed by this cluster")]
    BadSeal,
    /// The message is sealed, but of no form that this release knows.
    #[error("malformed")]
    Malformed,
    /// The message is too old to be of use.
    #[error("old")]
    Expired,
    /// The message was written by a newer release.
    #[error("of a newer release")]
    NewerVersion {
        /// The raid that the message is about.
        raid: RaidId,
    },
}

impl EnvelopeError {
    /// Returns the cause as a metric's label.
    pub const fn cause(self) -> BusRejectionCause {
        match self {
            Self::BadSeal => BusRejectionCause::BadSeal,
            Self::Malformed => BusRejectionCause::Malformed,
            Self::Expired => BusRejectionCause::Expired,
            Self::NewerVersion { .. } => BusRejectionCause::NewerVersion,
        }
    }
}

/// The envelope as it is encoded on the bus. The body is decoded only when kind and version are
/// known.
#[derive(Serialize, Deserialize)]
struct EncodedEnvelope {
    v: u16,
    kind: String,
    /// The sender's id as a 128-bit number.
    from: u128,
    number: u64,
    at: UnixMillis,
    raid: RaidId,
    epoch: u64,
    seq: Seq,
    body: Bytes,
}

#[derive(Serialize, Deserialize)]
struct PresenceBody {
    counter: u64,
    online: Vec<PlayerId>,
}

#[derive(Serialize, Deserialize)]
struct SignalBody {
    from: PlayerId,
    kind: String,
    data: Value,
}

#[derive(Serialize, Deserialize)]
struct ForwardBody {
    request: u64,
    remaining_ms: u64,
    items: Vec<ForwardItem>,
}

#[derive(Serialize, Deserialize)]
struct ForwardRepliesBody {
    request: u64,
    answers: Vec<ForwardReply>,
}

#[derive(Serialize, Deserialize)]
struct OwnerStatusBody {
    request: u64,
    online: Option<Vec<PlayerId>>,
}

impl ClusterMessage {
    /// Returns the message's name on the bus.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Events(_) => "events",
            Self::Owned => "owned",
            Self::Released => "released",
            Self::Presence { .. } => "presence",
            Self::Signal { .. } => "signal",
            Self::WatcherReport(_) => "watching",
            Self::RequestWatcherReport => "who_watches",
            Self::Handover(_) => "take",
            Self::Forward { .. } => "forward",
            Self::ForwardReplies { .. } => "answers",
            Self::QueryStatus { .. } => "ask",
            Self::OwnerStatus { .. } => "seen",
        }
    }

    fn encode_body(self) -> Vec<u8> {
        match self {
            Self::Events(events) => pack(&events),
            Self::Owned | Self::Released | Self::RequestWatcherReport => Vec::new(),
            Self::Presence { counter, online } => pack(&PresenceBody { counter, online }),
            Self::Signal { from, kind, data } => pack(&SignalBody { from, kind, data }),
            Self::WatcherReport(watching) => pack(&watching),
            Self::Handover(online) => pack(&online),
            Self::Forward {
                request,
                remaining_ms,
                items,
            } => pack(&ForwardBody {
                request,
                remaining_ms,
                items,
            }),
            Self::ForwardReplies { request, answers } => {
                pack(&ForwardRepliesBody { request, answers })
            }
            Self::QueryStatus { request } => pack(&request),
            Self::OwnerStatus { request, online } => pack(&OwnerStatusBody { request, online }),
        }
    }

    fn decode(kind: &str, body: &[u8]) -> Option<ClusterMessage> {
        Some(match kind {
            "events" => Self::Events(unpack(body)?),
            "owned" => Self::Owned,
            "released" => Self::Released,
            "presence" => {
                let PresenceBody { counter, online } = unpack(body)?;
                Self::Presence { counter, online }
            }
            "signal" => {
                let SignalBody { from, kind, data } = unpack(body)?;
                Self::Signal { from, kind, data }
            }
            "watching" => Self::WatcherReport(unpack(body)?),
            "who_watches" => Self::RequestWatcherReport,
            "take" => Self::Handover(unpack(body)?),
            "forward" => {
                let ForwardBody {
                    request,
                    remaining_ms,
                    items,
                } = unpack(body)?;
                Self::Forward {
                    request,
                    remaining_ms,
                    items,
                }
            }
            "answers" => {
                let ForwardRepliesBody { request, answers } = unpack(body)?;
                Self::ForwardReplies { request, answers }
            }
            "ask" => Self::QueryStatus {
                request: unpack(body)?,
            },
            "seen" => {
                let OwnerStatusBody { request, online } = unpack(body)?;
                Self::OwnerStatus { request, online }
            }
            _ => return None,
        })
    }
}

fn pack<T: Serialize>(body: &T) -> Vec<u8> {
    rmp_serde::to_vec_named(body).expect("plain data is encoded without fail")
}

fn unpack<T: DeserializeOwned>(bytes: &[u8]) -> Option<T> {
    let mut deserializer = rmp_serde::Deserializer::from_read_ref(bytes);
    deserializer.set_max_depth(NESTING_MAX);
    T::deserialize(&mut deserializer).ok()
}

/// Seals and opens the messages of one cluster.
#[derive(Clone)]
pub struct EnvelopeSealer {
    own_key: Hmac<Sha256>,
    /// Key of instances that have another secret while it is being changed; accepted as well.
    accepted_key: Option<Hmac<Sha256>>,
}

impl EnvelopeSealer {
    /// Creates the sealer of all instances that share this secret and serve this lineage.
    pub fn new(secret: &AuthSecret, lineage: &str) -> EnvelopeSealer {
        EnvelopeSealer {
            own_key: keyed_mac(secret, lineage),
            accepted_key: None,
        }
    }

    /// Also accepts messages that are sealed with another secret.
    #[must_use]
    pub fn with_accepted_secret(
        self,
        secret: Option<&AuthSecret>,
        lineage: &str,
    ) -> EnvelopeSealer {
        EnvelopeSealer {
            accepted_key: secret.map(|secret| keyed_mac(secret, lineage)),
            ..self
        }
    }

    /// Seals a message for one channel of the bus; on any other channel it is refused.
    pub fn seal(&self, channel: Channel, envelope: Envelope) -> Bytes {
        let Envelope {
            from,
            number,
            at,
            raid,
            epoch,
            seq,
            message,
        } = envelope;
        let kind = message.kind().to_owned();
        let wire = EncodedEnvelope {
            v: ENVELOPE_VERSION,
            kind,
            from: from.0.as_u128(),
            number,
            at,
            raid,
            epoch: epoch.0,
            seq,
            body: message.encode_body().into(),
        };
        self.seal_content(channel, &pack(&wire))
    }

    /// Seals the newest seq of a player's stream for the player's channel.
    pub fn seal_head(&self, channel: Channel, head: Seq) -> Bytes {
        self.seal_content(channel, &pack(&head))
    }

    /// Seals a notice, which has no content, for this channel.
    pub fn seal_notice(&self, channel: Channel) -> Bytes {
        self.seal_content(channel, &[])
    }

    fn seal_content(&self, channel: Channel, content: &[u8]) -> Bytes {
        let mut sealed = BytesMut::with_capacity(TAG_BYTES + content.len());
        sealed.put_slice(&self.tag(channel, content));
        sealed.put_slice(content);
        sealed.freeze()
    }

    /// Opens a message that was sealed for this channel.
    ///
    /// # Errors
    ///
    /// The message is not of this cluster, not for this channel, or of no known form.
    pub fn open(&self, channel: Channel, sealed: &[u8]) -> Result<Envelope, EnvelopeError> {
        let content = self.open_content(channel, sealed)?;
        let wire: EncodedEnvelope = unpack(content).ok_or(EnvelopeError::Malformed)?;
        if wire.v > ENVELOPE_VERSION {
            return Err(EnvelopeError::NewerVersion { raid: wire.raid });
        }
        let message =
            ClusterMessage::decode(&wire.kind, &wire.body).ok_or(EnvelopeError::Malformed)?;
        let EncodedEnvelope {
            from,
            number,
            at,
            raid,
            epoch,
            seq,
            ..
        } = wire;
        Ok(Envelope {
            from: InstanceId(Uuid::from_u128(from)),
            number,
            at,
            raid,
            epoch: Epoch(epoch),
            seq,
            message,
        })
    }

    /// Opens the newest seq of a player's stream that was sealed for the player's channel.
    ///
    /// # Errors
    ///
    /// The message is not of this cluster, not for this channel, or of no known form.
    pub fn open_head(&self, channel: Channel, sealed: &[u8]) -> Result<Seq, EnvelopeError> {
        unpack(self.open_content(channel, sealed)?).ok_or(EnvelopeError::Malformed)
    }

    /// Opens a notice that was sealed for this channel.
    ///
    /// # Errors
    ///
    /// The message is not of this cluster, not for this channel, or no notice.
    pub fn open_notice(&self, channel: Channel, sealed: &[u8]) -> Result<(), EnvelopeError> {
        let content = self.open_content(channel, sealed)?;
        content
            .is_empty()
            .then_some(())
            .ok_or(EnvelopeError::Malformed)
    }

    fn open_content<'s>(
        &self,
        channel: Channel,
        sealed: &'s [u8],
    ) -> Result<&'s [u8], EnvelopeError> {
        let (tag, content) = sealed
            .split_at_checked(TAG_BYTES)
            .ok_or(EnvelopeError::BadSeal)?;
        let is_sealed_with = |key: &Hmac<Sha256>| {
            channel_mac(key, channel, content)
                .verify_truncated_left(tag)
                .is_ok()
        };
        if is_sealed_with(&self.own_key) || self.accepted_key.as_ref().is_some_and(is_sealed_with) {
            Ok(content)
        } else {
            Err(EnvelopeError::BadSeal)
        }
    }

    fn tag(&self, channel: Channel, content: &[u8]) -> [u8; TAG_BYTES] {
        let full_tag = channel_mac(&self.own_key, channel, content)
            .finalize()
            .into_bytes();
        let mut tag = [0; TAG_BYTES];
        tag.copy_from_slice(&full_tag[..TAG_BYTES]);
        tag
    }
}

fn keyed_mac(secret: &AuthSecret, lineage: &str) -> Hmac<Sha256> {
    let key = secret.derive("raidhall bus", lineage);
    Hmac::new_from_slice(&key).expect("HMAC takes keys of any length")
}

fn channel_mac(key: &Hmac<Sha256>, channel: Channel, content: &[u8]) -> Hmac<Sha256> {
    // No channel's name is a prefix of another's.
    key.clone()
        .chain_update(channel.to_string())
        .chain_update(content)
}

#[cfg(test)]
mod tests;
