//! The values that metric labels take: causes, outcomes and pools, as closed sets.
//!
//! A value is defined once, here. The code that counts names it by its enum, the series exists from the start at 0, and
//! its meaning goes to `docs/METRICS.md`.

use raidhall_protocol::{CloseCode, ErrorType};

use crate::error::Error;
use crate::raid::Ack;

/// A closed set of values of one metric label.
pub trait Label: Copy + Eq {
    /// Returns all values of the set.
    fn all() -> Vec<Self>;

    /// The value in metrics and logs.
    fn as_str(self) -> &'static str;

    /// The value's meaning in `docs/METRICS.md`.
    fn meaning(self) -> &'static str;
}

/// Defines labels as enums. The doc of a variant is its [`Label::meaning`].
macro_rules! labels {
    ($(
        $(#[doc = $doc:literal])+
        $label:ident {
            $( $(#[doc = $meaning:literal])+ $variant:ident = $value:literal, )+
        }
    )+) => { $(
        $(#[doc = $doc])+
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum $label {
            $( $(#[doc = $meaning])+ $variant, )+
        }

        impl Label for $label {
            fn all() -> Vec<Self> {
                vec![$(Self::$variant,)+]
            }

            fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $value,)+
                }
            }

            fn meaning(self) -> &'static str {
                match self {
                    $(Self::$variant => concat!($($meaning),+).trim_ascii_start(),)+
                }
            }
        }
    )+ };
}

labels! {
    /// Cause of a pause in accepting connections.
    AcceptPauseCause {
        /// As many connections are open as the limit of open files allows.
        PermitsExhausted = "seats",
        /// The system refused to accept a connection.
        AcceptFailed = "failed",
    }

    /// Cause of a bus message that was not sent or not taken in.
    BusDropCause {
        /// More messages wait to be published than the queue holds.
        QueueFull = "queue_full",
        /// There is no connection to Redis. Receivers read what they miss from the store.
        Down = "down",
        /// So many messages wait to be published that presence and signals are left out.
        LivePressure = "live_pressure",
        /// More messages have arrived than this instance can process.
        IncomingFull = "incoming_full",
        /// The message exceeds the size limit: a defect, or a foreign publisher on the channels.
        TooLarge = "too_large",
        /// The message came on a channel that the server does not use: a defect, or a foreign publisher.
        BadChannel = "bad_channel",
    }

    /// Cause of a bus message that was received and rejected.
    BusRejectionCause {
        /// The message is not signed with this cluster's secret.
        BadSeal = "seal",
        /// The message is signed but cannot be decoded: a defect.
        Malformed = "malformed",
        /// The message was sent too long ago to count.
        Expired = "old",
        /// The message is of a newer release. Normal during a rolling deploy.
        NewerVersion = "newer",
    }

    /// Outcome of one pass over the raids of a player who is being erased.
    ErasureOutcome {
        /// Every raid is done; one more pass follows after the settling time.
        Settling = "settling",
        /// The erasure is complete.
        Ended = "ended",
        /// A raid or the store failed; the next pass follows after a minute.
        Incomplete = "incomplete",
    }

    /// What a client sent too much of.
    ExcessKind {
        /// More WebSocket frames per second than allowed.
        Frames = "frames",
        /// More bytes per second than allowed.
        Bytes = "bytes",
    }

    /// Outcome of a command that arrived at an instance that does not own the raid.
    ForwardOutcome {
        /// The owner committed the command.
        Acknowledged = "ack",
        /// The owner answered with an error.
        Refused = "refused",
        /// The owner had changed; the command is sent again.
        Retried = "again",
        /// No owner answered within 5 s; the client was told `unavailable`.
        Expired = "expired",
    }

    /// Outcome of a request for an issuer's keys.
    JwksFetchOutcome {
        /// The keys were loaded.
        Loaded = "ok",
        /// The keys could not be loaded; those known before stay in use.
        Failed = "failed",
    }

    /// Cause of a rate limit that was counted without Redis.
    LocalLimitCause {
        /// There is no connection to Redis.
        Down = "down",
        /// Redis did not answer within 50 ms.
        Failed = "failed",
        /// The Redis user may not run the rate limit script.
        Forbidden = "forbidden",
    }

    /// Cause of a raid's reload from the store.
    ReloadCause {
        /// The session's code panicked: a defect.
        Panic = "panic",
        /// The lease ran out, and the store did not confirm the ownership afterwards.
        LeaseLost = "lease",
        /// The store refused a commit because another instance owns the raid.
        Fenced = "fenced",
        /// The raid's first commit found a raid with the same id or creation key.
        Exists = "exists",
        /// The raid's first commit was refused because its leader leads too many open raids.
        OverQuota = "over_quota",
        /// The outcome of a commit stayed unknown after all retries.
        GaveUp = "gave_up",
        /// The store refused a commit's content: a defect.
        Refused = "refused",
        /// The store names a later owner than this instance.
        Superseded = "superseded",
    }

    /// What told a follower that the bus had not brought an event.
    RepairCause {
        /// A sequence number was missing, or the owner announced a later one.
        Gap = "gap",
        /// The poll of the raid's head found a later sequence number.
        Head = "head",
        /// The bus reconnected or its queue overflowed.
        Lost = "lost",
        /// A command was acknowledged and its event did not arrive.
        Ack = "ack",
        /// An earlier repair had failed and was repeated.
        Retry = "again",
        /// A reader asked for a later sequence number.
        Read = "read",
        /// A client began to watch from a later sequence number.
        Watch = "watch",
    }

    /// Cause of a signal that did not reach a watcher.
    SignalDropCause {
        /// A newer signal of the same sender and kind took its place.
        Replaced = "replaced",
        /// Too many signals waited for the client; the oldest was dropped.
        Overflow = "overflow",
        /// The client's watch was not live yet, or had collapsed to a snapshot.
        NotLive = "not_live",
    }

    /// Pool of database connections.
    StorePool {
        /// Postgres connections for commits.
        Commits = "commits",
        /// Postgres connections for what sessions wait for: loads, claims, access checks.
        Sessions = "sessions",
        /// Postgres connections for everything else.
        General = "rest",
        /// The one connection that writes to SQLite.
        Writer = "writer",
    }

    /// Cause of a raid's claim by this instance.
    TakeoverCause {
        /// A client needed the raid, and no instance owned it.
        Needed = "needed",
        /// The owner released the raid, as in a rolling deploy.
        Released = "released",
        /// The owner's lease ran out: its node died or stalled.
        Lapsed = "lapsed",
        /// An instance that may not own raids handed this one over, or sent a command for it.
        HandedOver = "handed_over",
        /// This instance owned the raid before and read it again.
        Reload = "reload",
    }

    /// Cause of a refused access token.
    TokenRefusal {
        /// The token's signature, issuer or claims are not valid.
        NotValid = "not_valid",
        /// The token has expired. Normal.
        Expired = "expired",
        /// The player is banned.
        Banned = "banned",
        /// The session was signed out.
        SignedOut = "signed_out",
        /// The issuer's keys or the store were not available.
        Unavailable = "unavailable",
    }

    /// Outcome of an export of traces to the collector.
    TraceExportOutcome {
        /// The collector accepted the batch.
        Accepted = "accepted",
        /// The collector refused the batch or was not reachable.
        Failed = "failed",
    }

    /// Outcome of a webhook delivery.
    WebhookOutcome {
        /// The endpoint accepted the webhook.
        Delivered = "delivered",
        /// The attempt failed and is repeated later.
        Failed = "failed",
        /// The endpoint answered 410 and is paused.
        Gone = "gone",
        /// The delivery was given up after its last attempt.
        Dead = "dead",
    }
}

/// Cause of a connection's end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CloseCause {
    /// The server closed the connection with this code.
    Code(CloseCode),
    /// The client closed the connection, or its connection broke.
    ClientGone,
}

impl Label for CloseCause {
    fn all() -> Vec<Self> {
        let codes = CloseCode::ALL.into_iter().map(Self::Code);
        codes.chain([Self::ClientGone]).collect()
    }

    fn as_str(self) -> &'static str {
        match self {
            Self::Code(code) => code.as_str(),
            Self::ClientGone => "gone",
        }
    }

    fn meaning(self) -> &'static str {
        match self {
            Self::Code(_) => "The server closed the connection with this code.",
            Self::ClientGone => "The client closed the connection, or its connection broke.",
        }
    }
}

/// Outcome of a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CommandOutcome {
    /// The command took effect now.
    Committed,
    /// The command had taken effect before.
    Duplicate,
    /// The command was answered with this error.
    Failed(ErrorType),
}

impl CommandOutcome {
    /// Returns the outcome of a command with this answer.
    pub fn of(answer: &Result<Ack, Error>) -> CommandOutcome {
        match answer {
            Ok(ack) if ack.duplicate => Self::Duplicate,
            Ok(_) => Self::Committed,
            Err(error) => Self::Failed(error.error_type()),
        }
    }
}

impl Label for CommandOutcome {
    fn all() -> Vec<Self> {
        let errors = ErrorType::ALL.into_iter().map(Self::Failed);
        [Self::Committed, Self::Duplicate]
            .into_iter()
            .chain(errors)
            .collect()
    }

    fn as_str(self) -> &'static str {
        match self {
            Self::Committed => "committed",
            Self::Duplicate => "duplicate",
            Self::Failed(error) => error.as_str(),
        }
    }

    fn meaning(self) -> &'static str {
        match self {
            Self::Committed => "The command took effect now.",
            Self::Duplicate => {
                "The command had taken effect before; the client got the first answer."
            }
            Self::Failed(_) => "The command was answered with this error.",
        }
    }
}
