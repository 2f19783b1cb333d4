//! Every way in which a server can be convicted.

use std::fmt;

use raidhall_protocol::{OpKey, PlayerId, RaidId, Seq};

use crate::fold::Contradiction;

/// A broken promise: where, and which.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// The raid.
    pub raid: RaidId,
    /// The client that saw it; `server` for what the server's own ledger shows.
    pub client: String,
    /// What is wrong.
    pub kind: ViolationKind,
}

/// What is wrong. The promise that it breaks is in the comment (P1–P9, or the wire contract).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ViolationKind {
    /// P4: an event was left out.
    #[error("hole: event {got} follows {held}")]
    Gap {
        /// The newest seq held.
        held: Seq,
        /// What came.
        got: Seq,
    },
    /// P3: the same event came twice.
    #[error("duplicate: event {seq} came again")]
    Duplicate {
        /// Its seq.
        seq: Seq,
    },
    /// P3: a snapshot, a resume or a clock that is behind what the client had been told.
    #[error("back in time: told {got} after {held}")]
    SeqWentBack {
        /// The newest seq held.
        held: Seq,
        /// What came.
        got: Seq,
    },
    /// P3: an event bears an earlier time than the one in front of it.
    #[error("event {seq} happened before the event in front of it")]
    ClockWentBack {
        /// Its seq.
        seq: Seq,
    },
    /// P1 on a watching connection: an ack came before its event.
    #[error("ack of {seq} came while the client held {held}")]
    AckBeforeEvent {
        /// What was acknowledged.
        seq: Seq,
        /// The newest seq held.
        held: Seq,
    },
    /// P1: an acknowledged seq that the server's ledger does not have.
    #[error("ack of {seq}, which is not in the server's ledger{}", format_op(.op.as_ref()))]
    AckWithoutEvent {
        /// What was acknowledged.
        seq: Seq,
        /// The command's key.
        op: Option<OpKey>,
    },
    /// P1: what was acknowledged is not what the ledger has there.
    #[error("lost: acknowledged {command} at {seq}{}, where the ledger has {found}", format_op(.op.as_ref()))]
    AckMismatch {
        /// What was acknowledged.
        seq: Seq,
        /// The command's key.
        op: Option<OpKey>,
        /// Its type.
        command: &'static str,
        /// What is there instead.
        found: String,
    },
    /// P2: more effects than commands that can have had one.
    #[error(
        "double effect: {effect} is {found} times in the ledger, at most {allowed} expected (last at {seq})"
    )]
    DoubleEffect {
        /// Who did what.
        effect: String,
        /// How often it is there.
        found: usize,
        /// How many commands can have caused it.
        allowed: usize,
        /// Where it is last.
        seq: Seq,
    },
    /// P1: fewer effects than acknowledged commands.
    #[error(
        "missing effect: {effect} is {found} times in the ledger, {acknowledged} were acknowledged"
    )]
    MissingEffect {
        /// Who did what.
        effect: String,
        /// How often it is there.
        found: usize,
        /// How many commands were acknowledged.
        acknowledged: usize,
    },
    /// P2: a repeat of an op was answered with another seq.
    #[error("op {op:?} acknowledged at {first} and at {then}")]
    AckChanged {
        /// The key.
        op: OpKey,
        /// The first answer.
        first: Seq,
        /// The other.
        then: Seq,
    },
    /// P2: two commands were acknowledged with one event.
    #[error("two commands acknowledged at {seq}")]
    AckShared {
        /// The seq.
        seq: Seq,
    },
    /// P9: a command without any answer.
    #[error("no answer to {command} (id {id})")]
    Unanswered {
        /// The correlation number.
        id: u64,
        /// The command's type.
        command: &'static str,
    },
    /// An answer to nothing that was asked.
    #[error("answer to {what}, which was not asked")]
    UnsolicitedAnswer {
        /// What it answers.
        what: String,
    },
    /// P3: two clients, or a client and the server's ledger, have different events at one seq.
    #[error("event {seq} differs from the one that {other} has")]
    DifferentEvent {
        /// The seq.
        seq: Seq,
        /// Who has the other one.
        other: String,
    },
    /// A state that is not what the events make.
    #[error("state at {seq} is not what the events make: {difference}")]
    StateMismatch {
        /// Its seq.
        seq: Seq,
        /// The first field that differs: told, folded.
        difference: String,
    },
    /// An event that contradicts those before it.
    #[error("event {seq} contradicts those before it: {why}")]
    Contradiction {
        /// Its seq.
        seq: Seq,
        /// How.
        why: Contradiction,
    },
    /// Totals that are not the sum of what was earned.
    #[error("{what} is {told}, the ledger makes {summed}")]
    TotalsWrong {
        /// Which total.
        what: String,
        /// What the server says.
        told: u64,
        /// What the ledger says.
        summed: u64,
    },
    /// P4: the run came to rest and the client never got the newest events.
    #[error("never told of what follows {held}; the server is at {head}")]
    IncompleteAtEnd {
        /// The newest seq held.
        held: Seq,
        /// The server's.
        head: Seq,
    },
    /// Something of a raid that the connection does not watch.
    #[error("{what} of a raid that this connection does not watch")]
    NotWatching {
        /// What came.
        what: &'static str,
    },
    /// Somebody is shown online who is not, or the other way round.
    #[error("presence: shown online {shown:?}, online are {online:?}")]
    PresenceWrong {
        /// Whom the client was told of.
        shown: Vec<PlayerId>,
        /// Who it should be.
        online: Vec<PlayerId>,
    },
    /// A signal that came from the client itself, or not later than one before it.
    #[error("signal of player {from} is the client's own, or repeated, or out of order")]
    SignalWrong {
        /// Who sent it.
        from: PlayerId,
    },
    /// A message that is none of the contract's.
    #[error("unknown message: {text}")]
    UnknownMessage {
        /// Its beginning.
        text: String,
    },
    /// P9: an error that a client cannot act on.
    #[error("error without a proper type: {text}")]
    ErrorNotTyped {
        /// What came.
        text: String,
    },
    /// The server closed a well-behaved client for good.
    #[error("closed with {code}, though the client did nothing wrong")]
    ClosedPermanently {
        /// The close code.
        code: u16,
    },
    /// Another history under the same address.
    #[error("the server changed its lineage")]
    LineageChanged,
    /// P4: too few of those who came back were shown what they missed.
    #[error("only {replays} of {resumes} resumes were replays")]
    TooFewReplays {
        /// Resumes answered by `watching`.
        replays: u64,
        /// All resumes.
        resumes: u64,
    },
    /// P7: somebody was shown gone who was there, or away for less than the grace.
    #[error(
        "player {player} was shown gone {at_ms} ms into the run, without having been away for so long"
    )]
    FalseOffline {
        /// Who.
        player: PlayerId,
        /// When the client was told, in milliseconds of the run.
        at_ms: u64,
    },
    /// P7: the lead was taken from somebody who was there.
    #[error("event {seq} takes the lead from player {leader}, who was not offline for so long")]
    FalseLeaderChange {
        /// The event's seq.
        seq: Seq,
        /// Who led.
        leader: PlayerId,
    },
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "raid {} client {}: {}",
            self.raid, self.client, self.kind
        )
    }
}

fn format_op(op: Option<&OpKey>) -> String {
    op.map(|op| format!(" (op {})", op.as_str()))
        .unwrap_or_default()
}
