//! What instances tell each other: versioned, bounded, and sealed, for the bus may carry anybody's words.
//!
//! A seal is an HMAC, for one channel, that only instances with the same secret and the same history of the database can
//! make. So a stranger on the bus, or another cluster on the same one, is heard by nobody, and no message is heard where
//! it was not said. A repeated one is harmless by its content: events have a seq, commands an op and a bundle's number,
//! presence a count. What is addressed or soft is of no account when it is old.

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

/// The version of envelope and bodies that this release writes, and the newest that it reads.
pub const ENVELOPE_VERSION: u16 = 1;

/// A truncated HMAC-SHA256 (RFC 2104 section 5 allows half of it at least).
const TAG_BYTES: usize = 16;

/// Nesting in a message; a signal's data is the deepest.
const NESTING_MAX: usize = 64;

/// One message.
#[derive(Debug, Clone, PartialEq)]
pub struct Envelope {
    /// Who says it.
    pub from: InstanceId,
    /// When, by the database's clock.
    pub at: UnixMillis,
    /// About which raid.
    pub raid: RaidId,
    /// The epoch of the owner that speaks or is spoken to, as far as the sender knows.
    pub epoch: Epoch,
    /// The newest seq that the message speaks of; zero if none.
    pub seq: Seq,
    /// What.
    pub message: ClusterMessage,
}

/// What a message says.
#[derive(Debug, Clone, PartialEq)]
pub enum ClusterMessage {
    /// To all who follow a raid: these events are committed.
    Events(Vec<Event>),
    /// To all who follow a raid: the sender owns it now. Who watches?
    Owned,
    /// To all who follow a raid: the sender gave it up. Whoever needs it may claim it.
    Released,
    /// To all who follow a raid: everybody who is online, from its owner.
    Presence {
        /// Grows under one epoch.
        counter: u64,
        /// Everybody.
        online: Vec<PlayerId>,
    },
    /// To all who follow a raid: a member's signal, from where they are connected.
    Signal {
        /// Who sent it.
        from: PlayerId,
        /// Its kind.
        kind: String,
        /// Its content.
        data: Value,
    },
    /// To a raid's owner: who watches at the sender.
    WatcherReport(WatcherReport),
    /// To an instance that was not heard for a while: does anybody watch there still?
    RequestWatcherReport,
    /// To one instance: claim the raid if you can. These were online.
    Handover(Vec<PlayerId>),
    /// To a raid's owner: carry these out in order and answer under this number, unless you have done so before.
    Forward {
        /// The sender's number for it.
        request: u64,
        /// How long the sender still waits, in milliseconds.
        remaining_ms: u64,
        /// What to do.
        items: Vec<ForwardItem>,
    },
    /// In answer to `Forward`: an answer for each, in order.
    ForwardReplies {
        /// The number.
        request: u64,
        /// The answers.
        answers: Vec<ForwardReply>,
    },
    /// To a raid's owner: how far is it, and who is online?
    QueryStatus {
        /// The sender's number for it.
        request: u64,
    },
    /// In answer to `QueryStatus`; the seq is the envelope's. None: the raid is not live here.
    OwnerStatus {
        /// The number.
        request: u64,
        /// Who is online.
        online: Option<Vec<PlayerId>>,
    },
}

/// Who watches a raid at one instance.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct WatcherReport {
    /// Whether anybody does, be it a player or not.
    pub watched: bool,
    /// The members who do.
    pub players: Vec<PlayerId>,
    /// Who was online as the sender last knew, when it hands the raid over or has met a new owner.
    pub known: Vec<PlayerId>,
    /// The sender is about to end: whoever vanishes from it is on the way to another instance.
    pub draining: bool,
}

/// Why a message is dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum EnvelopeError {
    /// Not sealed by an instance of this cluster.
    #[error("not sealed by this cluster")]
    BadSeal,
    /// Sealed, but of no form that this release knows.
    #[error("malformed")]
    Malformed,
    /// Said too long ago to be of any account.
    #[error("old")]
    Expired,
    /// Written by a newer release.
    #[error("of a newer release")]
    NewerVersion {
        /// The raid that it is about.
        raid: RaidId,
    },
}

impl EnvelopeError {
    /// The cause as a metric's label.
    pub const fn cause(self) -> BusRejectionCause {
        match self {
            Self::BadSeal => BusRejectionCause::BadSeal,
            Self::Malformed => BusRejectionCause::Malformed,
            Self::Expired => BusRejectionCause::Expired,
            Self::NewerVersion { .. } => BusRejectionCause::NewerVersion,
        }
    }
}

/// The envelope as it goes over the bus. The body is opened only when kind and version are known.
#[derive(Serialize, Deserialize)]
struct EncodedEnvelope {
    v: u16,
    kind: String,
    /// The sender's 128 bits.
    from: u128,
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
    /// Its name on the bus.
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
    /// Believed too: instances that have another secret while it is being changed.
    accepted_key: Option<Hmac<Sha256>>,
}

impl EnvelopeSealer {
    /// The seal of all instances that share this secret and serve this history of the database.
    pub fn new(secret: &AuthSecret, lineage: &str) -> EnvelopeSealer {
        EnvelopeSealer {
            own_key: keyed_mac(secret, lineage),
            accepted_key: None,
        }
    }

    /// The same, believing what is sealed with another secret as well.
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

    /// The message, ready for a channel of the bus, and good for no other.
    pub fn seal(&self, channel: Channel, envelope: Envelope) -> Bytes {
        let Envelope {
            from,
            at,
            raid,
            epoch,
            seq,
            message: note,
        } = envelope;
        let kind = note.kind().to_owned();
        let wire = EncodedEnvelope {
            v: ENVELOPE_VERSION,
            kind,
            from: from.0.as_u128(),
            at,
            raid,
            epoch: epoch.0,
            seq,
            body: note.encode_body().into(),
        };
        let content = pack(&wire);
        let mut sealed = BytesMut::with_capacity(TAG_BYTES + content.len());
        sealed.put_slice(&self.tag(channel, &content));
        sealed.put_slice(&content);
        sealed.freeze()
    }

    /// The message that was closed for this channel.
    ///
    /// # Errors
    ///
    /// Whatever is not of this cluster, for this channel and of a known form.
    pub fn open(&self, channel: Channel, sealed: &[u8]) -> Result<Envelope, EnvelopeError> {
        let (mark, content) = sealed
            .split_at_checked(TAG_BYTES)
            .ok_or(EnvelopeError::BadSeal)?;
        let fits = |key: &Hmac<Sha256>| {
            channel_mac(key, channel, content)
                .verify_truncated_left(mark)
                .is_ok()
        };
        if !fits(&self.own_key) && !self.accepted_key.as_ref().is_some_and(fits) {
            return Err(EnvelopeError::BadSeal);
        }
        let wire: EncodedEnvelope = unpack(content).ok_or(EnvelopeError::Malformed)?;
        if wire.v > ENVELOPE_VERSION {
            return Err(EnvelopeError::NewerVersion { raid: wire.raid });
        }
        let note =
            ClusterMessage::decode(&wire.kind, &wire.body).ok_or(EnvelopeError::Malformed)?;
        let EncodedEnvelope {
            from,
            at,
            raid,
            epoch,
            seq,
            ..
        } = wire;
        Ok(Envelope {
            from: InstanceId(Uuid::from_u128(from)),
            at,
            raid,
            epoch: Epoch(epoch),
            seq,
            message: note,
        })
    }

    fn tag(&self, channel: Channel, content: &[u8]) -> [u8; TAG_BYTES] {
        let whole = channel_mac(&self.own_key, channel, content)
            .finalize()
            .into_bytes();
        let mut mark = [0; TAG_BYTES];
        mark.copy_from_slice(&whole[..TAG_BYTES]);
        mark
    }
}

fn keyed_mac(secret: &AuthSecret, lineage: &str) -> Hmac<Sha256> {
    let key = secret.derive("raidhall bus", lineage);
    Hmac::new_from_slice(&key).expect("HMAC takes keys of any length")
}

fn channel_mac(key: &Hmac<Sha256>, channel: Channel, content: &[u8]) -> Hmac<Sha256> {
    // No channel's name begins another's.
    key.clone()
        .chain_update(channel.to_string())
        .chain_update(content)
}

#[cfg(test)]
mod tests;
