//! What instances tell each other: versioned, bounded, and sealed, for the bus may carry anybody's words.
//!
//! A seal is an HMAC, for one channel, that only instances with the same secret and the same history of the database can
//! make. So a stranger on the bus, or another cluster on the same one, is heard by nobody, and no message is heard where
//! it was not said. A repeated one is harmless by its content: events have a seq, commands an op and a bundle's number,
//! presence a count. What is addressed or soft is of no account when it is old.

mod forward;

use bytes::{BufMut, Bytes, BytesMut};
pub use forward::{ForwardAnswer, Item, Wish};
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

/// The version of envelope and bodies that this release writes, and the newest that it reads.
pub const ENVELOPE_VERSION: u16 = 1;

/// A truncated HMAC-SHA256 (RFC 2104 section 5 allows half of it at least).
const SEAL_BYTES: usize = 16;

/// Nesting in a message; a signal's data is the deepest.
const DEPTH_MAX: usize = 64;

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
    pub note: Note,
}

/// What a message says.
#[derive(Debug, Clone, PartialEq)]
pub enum Note {
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
    Watching(Watching),
    /// To an instance that was not heard for a while: does anybody watch there still?
    WhoWatches,
    /// To one instance: claim the raid if you can. These were online.
    Take(Vec<PlayerId>),
    /// To a raid's owner: carry these out in order and answer under this number, unless you have done so before.
    Forward {
        /// The sender's number for it.
        request: u64,
        /// How long the sender still waits, in milliseconds.
        remaining_ms: u64,
        /// What to do.
        items: Vec<Item>,
    },
    /// In answer to `Forward`: an answer for each, in order.
    Answers {
        /// The number.
        request: u64,
        /// The answers.
        answers: Vec<ForwardAnswer>,
    },
    /// To a raid's owner: how far is it, and who is online?
    Ask {
        /// The sender's number for it.
        request: u64,
    },
    /// In answer to `Ask`; the seq is the envelope's. None: the raid is not live here.
    Seen {
        /// The number.
        request: u64,
        /// Who is online.
        online: Option<Vec<PlayerId>>,
    },
}

/// Who watches a raid at one instance.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Watching {
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
pub enum Unreadable {
    /// Not sealed by an instance of this cluster.
    #[error("not sealed by this cluster")]
    Seal,
    /// Sealed, but of no form that this release knows.
    #[error("malformed")]
    Malformed,
    /// Said too long ago to be of any account.
    #[error("old")]
    Old,
    /// Written by a newer release.
    #[error("of a newer release")]
    Newer {
        /// The raid that it is about.
        raid: RaidId,
    },
}

impl Unreadable {
    /// The cause as a metric's label.
    pub const fn cause(self) -> &'static str {
        match self {
            Self::Seal => "seal",
            Self::Malformed => "malformed",
            Self::Old => "old",
            Self::Newer { .. } => "newer",
        }
    }
}

/// The envelope as it goes over the bus. The body is opened only when kind and version are known.
#[derive(Serialize, Deserialize)]
struct Wire {
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
    items: Vec<Item>,
}

#[derive(Serialize, Deserialize)]
struct AnswersBody {
    request: u64,
    answers: Vec<ForwardAnswer>,
}

#[derive(Serialize, Deserialize)]
struct SeenBody {
    request: u64,
    online: Option<Vec<PlayerId>>,
}

impl Note {
    /// Its name on the bus.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Events(_) => "events",
            Self::Owned => "owned",
            Self::Released => "released",
            Self::Presence { .. } => "presence",
            Self::Signal { .. } => "signal",
            Self::Watching(_) => "watching",
            Self::WhoWatches => "who_watches",
            Self::Take(_) => "take",
            Self::Forward { .. } => "forward",
            Self::Answers { .. } => "answers",
            Self::Ask { .. } => "ask",
            Self::Seen { .. } => "seen",
        }
    }

    fn body(self) -> Vec<u8> {
        match self {
            Self::Events(events) => pack(&events),
            Self::Owned | Self::Released | Self::WhoWatches => Vec::new(),
            Self::Presence { counter, online } => pack(&PresenceBody { counter, online }),
            Self::Signal { from, kind, data } => pack(&SignalBody { from, kind, data }),
            Self::Watching(watching) => pack(&watching),
            Self::Take(online) => pack(&online),
            Self::Forward {
                request,
                remaining_ms,
                items,
            } => pack(&ForwardBody {
                request,
                remaining_ms,
                items,
            }),
            Self::Answers { request, answers } => pack(&AnswersBody { request, answers }),
            Self::Ask { request } => pack(&request),
            Self::Seen { request, online } => pack(&SeenBody { request, online }),
        }
    }

    fn read(kind: &str, body: &[u8]) -> Option<Note> {
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
            "watching" => Self::Watching(unpack(body)?),
            "who_watches" => Self::WhoWatches,
            "take" => Self::Take(unpack(body)?),
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
                let AnswersBody { request, answers } = unpack(body)?;
                Self::Answers { request, answers }
            }
            "ask" => Self::Ask {
                request: unpack(body)?,
            },
            "seen" => {
                let SeenBody { request, online } = unpack(body)?;
                Self::Seen { request, online }
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
    deserializer.set_max_depth(DEPTH_MAX);
    T::deserialize(&mut deserializer).ok()
}

/// Seals and opens the messages of one cluster.
#[derive(Clone)]
pub struct Seal {
    ours: Hmac<Sha256>,
    /// Believed too: instances that have another secret while it is being changed.
    accepted: Option<Hmac<Sha256>>,
}

impl Seal {
    /// The seal of all instances that share this secret and serve this history of the database.
    pub fn new(secret: &AuthSecret, lineage: &str) -> Seal {
        Seal {
            ours: keyed(secret, lineage),
            accepted: None,
        }
    }

    /// The same, believing what is sealed with another secret as well.
    #[must_use]
    pub fn accepting(self, secret: Option<&AuthSecret>, lineage: &str) -> Seal {
        Seal {
            accepted: secret.map(|secret| keyed(secret, lineage)),
            ..self
        }
    }

    /// The message, ready for a channel of the bus, and good for no other.
    pub fn close(&self, channel: Channel, envelope: Envelope) -> Bytes {
        let Envelope {
            from,
            at,
            raid,
            epoch,
            seq,
            note,
        } = envelope;
        let kind = note.kind().to_owned();
        let wire = Wire {
            v: ENVELOPE_VERSION,
            kind,
            from: from.0.as_u128(),
            at,
            raid,
            epoch: epoch.0,
            seq,
            body: note.body().into(),
        };
        let content = pack(&wire);
        let mut sealed = BytesMut::with_capacity(SEAL_BYTES + content.len());
        sealed.put_slice(&self.mark(channel, &content));
        sealed.put_slice(&content);
        sealed.freeze()
    }

    /// The message that was closed for this channel.
    ///
    /// # Errors
    ///
    /// Whatever is not of this cluster, for this channel and of a known form.
    pub fn open(&self, channel: Channel, sealed: &[u8]) -> Result<Envelope, Unreadable> {
        let (mark, content) = sealed
            .split_at_checked(SEAL_BYTES)
            .ok_or(Unreadable::Seal)?;
        let fits = |key: &Hmac<Sha256>| {
            over(key, channel, content)
                .verify_truncated_left(mark)
                .is_ok()
        };
        if !fits(&self.ours) && !self.accepted.as_ref().is_some_and(fits) {
            return Err(Unreadable::Seal);
        }
        let wire: Wire = unpack(content).ok_or(Unreadable::Malformed)?;
        if wire.v > ENVELOPE_VERSION {
            return Err(Unreadable::Newer { raid: wire.raid });
        }
        let note = Note::read(&wire.kind, &wire.body).ok_or(Unreadable::Malformed)?;
        let Wire {
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
            note,
        })
    }

    fn mark(&self, channel: Channel, content: &[u8]) -> [u8; SEAL_BYTES] {
        let whole = over(&self.ours, channel, content).finalize().into_bytes();
        let mut mark = [0; SEAL_BYTES];
        mark.copy_from_slice(&whole[..SEAL_BYTES]);
        mark
    }
}

fn keyed(secret: &AuthSecret, lineage: &str) -> Hmac<Sha256> {
    let key = secret.derive("raidhall bus", lineage);
    Hmac::new_from_slice(&key).expect("HMAC takes keys of any length")
}

fn over(key: &Hmac<Sha256>, channel: Channel, content: &[u8]) -> Hmac<Sha256> {
    // No channel's name begins another's.
    key.clone()
        .chain_update(channel.to_string())
        .chain_update(content)
}

#[cfg(test)]
mod tests;
