//! The violations that the judge can report.

use std::fmt;

use raidhall_protocol::{OpKey, PlayerId, RaidId, Seq};

use crate::client_log::ClientLog;
use crate::fold::Contradiction;

/// A broken promise: where it was seen, and which one it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    pub raid: RaidId,
    /// The client that saw it; `server` for what the ledger itself shows.
    pub client: String,
    pub kind: ViolationKind,
}

/// A kind of violation. Each variant's doc names the promise that it breaks (P1–P9, or the wire
/// contract).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ViolationKind {
    /// P4: an event was left out.
    #[error("hole: event {got} follows {held}")]
    Gap { held: Seq, got: Seq },
    /// P4: a snapshot came in place of events that the answer to a watch had promised.
    #[error("a snapshot came after {held}, events up to {promised} were promised")]
    ReplayBroken {
        held: Seq,
        /// The seq of the answer to the watch.
        promised: Seq,
    },
    /// P3: the same event was received twice.
    #[error("duplicate: event {seq} came again")]
    Duplicate { seq: Seq },
    /// P3: a snapshot or a resume is behind what the client had received before.
    #[error("back in time: received {got} after {held}")]
    SeqWentBack { held: Seq, got: Seq },
    /// P3: an event has an earlier time than the one before it.
    #[error("event {seq} has an earlier time than the event before it")]
    ClockWentBack { seq: Seq },
    /// P1: on a watching connection, an ack came before its event.
    #[error("ack of {seq} came while the client held {held}")]
    AckBeforeEvent {
        seq: Seq,
        /// The newest seq that the client held.
        held: Seq,
    },
    /// P1: the server's ledger has no event at an acknowledged seq.
    #[error("ack of {seq}, which is not in the server's ledger{}", format_op(.op.as_ref()))]
    AckWithoutEvent { seq: Seq, op: Option<OpKey> },
    /// P1: the event at an acknowledged seq is not the effect of the command.
    #[error("lost: acknowledged {command} at {seq}{}, where the ledger has {found}", format_op(.op.as_ref()))]
    AckMismatch {
        seq: Seq,
        op: Option<OpKey>,
        /// The type of the acknowledged command.
        command: &'static str,
        /// The type of the event at that seq.
        found: String,
    },
    /// P2: the ledger has more effects than commands that can have caused one.
    #[error(
        "double effect: {effect} is {found} times in the ledger, at most {allowed} expected (last at {seq})"
    )]
    DoubleEffect {
        effect: String,
        /// How often the effect is in the ledger.
        found: usize,
        /// How many commands can have caused the effect.
        allowed: usize,
        /// The seq of the effect's last occurrence.
        seq: Seq,
    },
    /// P1: the ledger has fewer effects than acknowledged commands.
    #[error(
        "missing effect: {effect} is {found} times in the ledger, {acknowledged} were acknowledged"
    )]
    MissingEffect {
        effect: String,
        /// How often the effect is in the ledger.
        found: usize,
        acknowledged: usize,
    },
    /// P2: a repeat of an op was acknowledged with another seq.
    #[error("op {op:?} acknowledged at {first} and at {then}")]
    AckChanged { op: OpKey, first: Seq, then: Seq },
    /// P2: the repeat of a creation with its key created another raid.
    #[error("a repeated creation returned raid {other}")]
    CreatedTwice { other: RaidId },
    /// P2: two commands were acknowledged with one event.
    #[error("two commands acknowledged at {seq}")]
    AckShared { seq: Seq },
    /// P9: a command was never answered.
    #[error("no answer to {command} (id {id})")]
    Unanswered { id: u64, command: &'static str },
    /// P9: the servers were healthy, and the final answer to a command took too long.
    #[error("the answer to {command} (id {id}) took {after_ms} ms of servers that had recovered")]
    AnsweredLate {
        id: u64,
        command: &'static str,
        /// How long the client waited while the servers were healthy.
        after_ms: u64,
    },
    /// P9: the servers were healthy, and acknowledged no command that the client sent then.
    #[error("no command was acknowledged after the servers had recovered")]
    NothingAcknowledged,
    /// A reply to a request that the client did not send.
    #[error("answer to {what}, which the client did not send")]
    UnsolicitedAnswer {
        /// The request that the reply names.
        what: String,
    },
    /// P1: a message tells of an event that is not committed.
    #[error("{what} tells of event {seq} before it is committed")]
    ToldEarly {
        seq: Seq,
        /// The type of the message.
        what: String,
    },
    /// P3: two commands of one connection took effect in another order than they were sent.
    #[error(
        "command {id} is event {seq}, out of the order in which the connection sent its commands"
    )]
    CommandsReordered { id: u64, seq: Seq },
    /// P3: two clients, or a client and the server's ledger, have different events at one seq.
    #[error("event {seq} differs from the one that {other} has")]
    DifferentEvent {
        seq: Seq,
        /// The client or ledger that has the other event.
        other: String,
    },
    /// A state differs from what the events up to its seq fold to.
    #[error("state at {seq} is not what the events fold to: {difference}")]
    StateMismatch {
        seq: Seq,
        /// The first field that differs, as received and as folded.
        difference: String,
    },
    /// An event contradicts the events before it.
    #[error("event {seq} contradicts those before it: {why}")]
    Contradiction { seq: Seq, why: Contradiction },
    /// A total is not the sum of what was earned.
    #[error("{what} is {told}, the events add up to {summed}")]
    TotalsWrong {
        what: String,
        /// The total that the server reports.
        told: u64,
        /// The sum over the events of the ledger.
        summed: u64,
    },
    /// P4: the run settled, and the client never received the newest events.
    #[error("never received the events after {held}; the server is at {head}")]
    IncompleteAtEnd {
        held: Seq,
        /// The server's newest seq.
        head: Seq,
    },
    /// P9: the run settled, and the client's newest `watch` was never answered.
    #[error("no answer to the newest watch")]
    WatchUnanswered,
    /// P9: the run settled, and a member does not watch the raid, for no reason in the log.
    #[error("does not watch the raid at the end, though nothing in the log forbids it")]
    WatchLost,
    /// P9: other clients settled at the end of the run, and this one never did.
    #[error("never settled, as other clients did")]
    NeverSettled,
    /// P9: a request that has to succeed was refused for good.
    #[error("asked for {request}, the refusal was {error}")]
    RequestRefused {
        /// What the client asked for.
        request: &'static str,
        /// The type of the server's error.
        error: &'static str,
    },
    /// P3: an answer treats a member as a stranger.
    #[error("{what}, though the player is a member")]
    MembershipDenied { what: &'static str },
    /// A player who is no member was told of the raid.
    #[error("told a player who is no member: {what}")]
    ToldOutsider {
        /// What the player received.
        what: String,
    },
    /// A player who had been banned or erased was answered.
    #[error("told a player who is shut out: {what}")]
    ToldShutOut {
        /// What the player received.
        what: String,
    },
    /// A message about a raid that the connection does not watch.
    #[error("{what} of a raid that this connection does not watch")]
    NotWatching { what: &'static str },
    /// A player is shown online who is not, or the other way round.
    #[error("presence: shown online {shown:?}, online are {online:?}")]
    PresenceWrong {
        /// The players who were shown online.
        shown: Vec<PlayerId>,
        /// The players who were online.
        online: Vec<PlayerId>,
    },
    /// A signal came from the connection that received it, or was not newer than one before it from
    /// the same connection.
    #[error("signal from player {from} is the connection's own, repeated, or out of order")]
    SignalWrong { from: PlayerId },
    /// A frame is not a message of the protocol.
    #[error("unknown message: {text}")]
    UnknownMessage {
        /// The decoding error and the beginning of the frame.
        text: String,
    },
    /// P9: an error on which a client cannot act.
    #[error("error without a proper type: {text}")]
    ErrorNotTyped {
        /// The frame, or the error's type and its wrong `retry`.
        text: String,
    },
    /// The server closed a well-behaved client with a code that forbids reconnecting.
    #[error("closed with {code}, though the client did nothing wrong")]
    ClosedPermanently { code: u16 },
    /// The server changed its lineage, so that it serves another history.
    #[error("the server changed its lineage")]
    LineageChanged,
    /// P6: an instance did not answer a read after the run.
    #[error("does not show the raid: {error}")]
    InstanceUnreadable { error: String },
    /// P4: too few resumes were answered by a replay.
    #[error("only {replays} of {resumes} resumes were replays")]
    TooFewReplays {
        /// Resumes answered by `watching`.
        replays: u64,
        resumes: u64,
    },
    /// P7: a player was shown offline who was online, or away for less than the grace.
    #[error(
        "player {player} was shown offline {at_ms} ms into the run without having been away that long"
    )]
    FalseOffline {
        player: PlayerId,
        /// When the client received it, in milliseconds since the run began.
        at_ms: u64,
    },
    /// P7: the lead moved away from a leader who was online, or away for less than the leader's
    /// grace.
    #[error("event {seq} takes the lead from player {leader}, who was not offline that long")]
    FalseLeaderChange {
        seq: Seq,
        /// The leader before the event.
        leader: PlayerId,
    },
    /// P9: nothing disturbed the servers, and a player who had been away for long was still shown
    /// online.
    #[error("still shown online: player {player}, {at_ms} ms into the run, long after going away")]
    StillShownOnline {
        player: PlayerId,
        /// When it was too late, in milliseconds since the run began.
        at_ms: u64,
    },
    /// P9: nothing disturbed the servers, and a player who watched was not shown online.
    #[error("not shown online: player {player}, {at_ms} ms into the run, while watching")]
    NotShownOnline {
        player: PlayerId,
        /// When it was too late, in milliseconds since the run began.
        at_ms: u64,
    },
    /// P9: nothing disturbed the servers, and a leader who had been away for long still led, while
    /// another member was online.
    #[error("leader not replaced: player {leader}, {at_ms} ms into the run, long after going away")]
    LeaderNotReplaced {
        leader: PlayerId,
        /// When it was too late, in milliseconds since the run began.
        at_ms: u64,
    },
}

impl Violation {
    /// Returns what is wrong with what a client sent or was told.
    pub fn of(log: &ClientLog, kind: ViolationKind) -> Violation {
        Violation {
            raid: log.raid,
            client: log.client.clone(),
            kind,
        }
    }

    /// Returns what is wrong with the server's own record of a raid.
    pub fn of_server(raid: RaidId, kind: ViolationKind) -> Violation {
        Violation {
            raid,
            client: "server".to_owned(),
            kind,
        }
    }
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
