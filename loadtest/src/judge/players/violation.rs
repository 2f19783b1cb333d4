//! The violations that the judge of players' streams can report.

use std::fmt;

use raidhall_protocol::player::event::RaidPlace;
use raidhall_protocol::player::state::Counter;
use raidhall_protocol::player::{PlayerEvent, PlayerEventData};
use raidhall_protocol::{OpKey, PlayerId, Seq};

/// A broken promise of a player's stream: where it was seen, and which one it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamViolation {
    pub player: PlayerId,
    /// The device that saw it; `server` for what the stream itself shows.
    pub client: String,
    pub kind: StreamViolationKind,
}

/// A kind of violation of a player's stream.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StreamViolationKind {
    /// An event was left out.
    #[error("hole: event {got} follows {held}")]
    Gap { held: Seq, got: Seq },
    /// The same event was received twice.
    #[error("duplicate: event {seq} came again")]
    Duplicate { seq: Seq },
    /// A snapshot or a resume is behind what the device had received before.
    #[error("back in time: received {got} after {held}")]
    SeqWentBack { held: Seq, got: Seq },
    /// An event has an earlier time than the one before it.
    #[error("event {seq} has an earlier time than the event before it")]
    ClockWentBack { seq: Seq },
    /// A message that nothing asked for, or of another player.
    #[error("{what} came unasked")]
    Unsolicited { what: &'static str },
    /// A frame is no message of the protocol.
    #[error("unreadable: {text}")]
    Unreadable { text: String },
    /// A device and the server's stream have different events at one seq.
    #[error("event {seq} is {told}, and {recorded} in the server's stream")]
    DifferentEvent {
        seq: Seq,
        told: String,
        recorded: String,
    },
    /// A state is not what the stream's events fold to.
    #[error("the state at {seq} is not the fold of the stream: {difference}")]
    StateMismatch { seq: Seq, difference: String },
    /// The state by REST belongs to a seq that the stream by REST does not have.
    #[error("the state by REST is at {at}, the stream ends at {end}")]
    StateBeyondStream { at: Seq, end: Seq },
    /// On a watching connection, an ack came before its event.
    #[error("ack of {seq} came while the device held {held}")]
    AckBeforeEvent { seq: Seq, held: Seq },
    /// A repeat of an op was acknowledged with another seq.
    #[error("op {op:?} acknowledged at {first} and at {then}")]
    AckChanged { op: OpKey, first: Seq, then: Seq },
    /// The event at an acknowledged seq is not the effect of the command.
    #[error("lost: acknowledged {effect} at {seq}, where the stream has {found}")]
    AckWithoutEvent {
        seq: Seq,
        effect: String,
        found: String,
    },
    /// The stream has an effect more often than commands can have caused it.
    #[error("double effect: {effect} is {found} times in the stream, at most {allowed} expected")]
    DoubleCommand {
        effect: String,
        found: usize,
        allowed: usize,
    },
    /// A setting's version does not count how often it was set, or the command named another one.
    #[error("event {seq} sets version {told} of a setting, expected {expected}")]
    VersionWrong { seq: Seq, told: u64, expected: u64 },
    /// A command was never answered.
    #[error("no answer to command {id}")]
    Unanswered { id: u64 },
    /// The device did not hold the whole stream when the run had settled.
    #[error("the device held {held} when the run had settled at {head}")]
    IncompleteAtEnd { held: Seq, head: Seq },
    /// The log of the device has no end.
    #[error("the device never settled")]
    NeverSettled,
    /// An event's cause cannot have caused it, or it has none and needs one.
    #[error("effect without cause: {kind} at {seq}, {}", format_cause(.cause.as_ref()))]
    EffectWithoutCause {
        seq: Seq,
        kind: &'static str,
        cause: Option<RaidPlace>,
    },
    /// An event of a raid has no effect in the player's stream.
    #[error("missing effect: {kind} of {}", format_cause(Some(.cause)))]
    CauseWithoutEffect {
        kind: &'static str,
        cause: RaidPlace,
    },
    /// An event of a raid has two effects in the player's stream.
    #[error("double effect: {kind} at {seq} after {first}, {}", format_cause(Some(.cause)))]
    DoubleEffect {
        seq: Seq,
        first: Seq,
        kind: &'static str,
        cause: RaidPlace,
    },
    /// An effect is not what its cause and the rules give.
    #[error("wrong effect at {seq}: {found}, expected {expected}")]
    EffectWrong {
        seq: Seq,
        found: String,
        expected: String,
    },
    /// An effect has another time than its cause, or than the event before it if that is later.
    #[error("the time of the effect at {seq} is {told}, expected {expected}")]
    EffectTimeWrong { seq: Seq, told: i64, expected: i64 },
    /// Effects of one raid came in another order than their causes.
    #[error("the effect at {seq} has an older cause in its raid than one before it")]
    CausesReordered { seq: Seq },
    /// An event that only another event brings, where none has brought it.
    #[error("{kind} at {seq} follows from no event")]
    FollowUpUnexpected { seq: Seq, kind: &'static str },
    /// An event did not bring what it must.
    #[error("the event at {seq} is not followed by {expected}")]
    FollowUpMissing { seq: Seq, expected: String },
    /// A counter of an achievement moved back, or was told although it did not move.
    #[error("counter {id} moves from {from} to {to} at {seq}")]
    CounterWentBack {
        seq: Seq,
        id: String,
        from: u64,
        to: u64,
    },
    /// A counter moved after the last goal of its achievement.
    #[error("counter {id} moves at {seq} after its last goal")]
    CounterPastLastGoal { seq: Seq, id: String },
    /// A counter does not have the number that it counts.
    #[error("counter {id} is {told} at {seq}, expected {expected}")]
    CounterWrong {
        seq: Seq,
        id: String,
        told: u64,
        expected: u64,
    },
    /// The goal of a counter is not the next one, or another one than that of other streams.
    #[error(
        "counter {id} at {seq} has the value {value} and the goal {goal:?}, which is not the next"
    )]
    GoalWrong {
        seq: Seq,
        id: String,
        value: u64,
        goal: Option<u64>,
    },
    /// A streak was lost before it lapsed.
    #[error("the streak is lost at {seq} and has not lapsed")]
    StreakLostEarly { seq: Seq },
    /// A player got an item that they have.
    #[error("double effect: item {item} comes again at {seq}")]
    ItemTwice { seq: Seq, item: String },
    /// A player put on an item that they do not have.
    #[error("item {item} is equipped at {seq}, and the player does not have it")]
    ItemNotHad { seq: Seq, item: String },
    /// A balance is not the sum of the effects.
    #[error("{what} is {told}, and the effects sum up to {summed}")]
    BalanceWrong {
        what: &'static str,
        told: u64,
        summed: u64,
    },
    /// Effects came late although no node was disturbed.
    #[error("{count} effects came late; that at {seq} came {after_ms} ms after its raid's event")]
    EffectLate {
        seq: Seq,
        after_ms: u64,
        /// How many effects came late to the device.
        count: usize,
    },
}

impl StreamViolation {
    /// Creates a violation that the stream itself shows.
    pub(super) fn of_server(player: PlayerId, kind: StreamViolationKind) -> StreamViolation {
        StreamViolation {
            player,
            client: "server".to_owned(),
            kind,
        }
    }
}

impl StreamViolationKind {
    /// Compares the data of an event with what it must be.
    pub(super) fn of_data(
        event: &PlayerEvent,
        expected: &PlayerEventData,
    ) -> Option<StreamViolationKind> {
        (event.data != *expected).then(|| Self::EffectWrong {
            seq: event.seq,
            found: format!("{:?}", event.data),
            expected: format!("{expected:?}"),
        })
    }

    /// Creates the violation of a wrong goal.
    pub(super) fn of_goal(seq: Seq, counter: &Counter) -> StreamViolationKind {
        Self::GoalWrong {
            seq,
            id: counter.id.clone(),
            value: counter.value,
            goal: counter.goal,
        }
    }
}

impl fmt::Display for StreamViolation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let StreamViolation {
            player,
            client,
            kind,
        } = self;
        write!(f, "player {player}, {client}: {kind}")
    }
}

fn format_cause(cause: Option<&RaidPlace>) -> String {
    cause.map_or_else(
        || "no cause".to_owned(),
        |place| format!("event {} of raid {}", place.seq, place.raid),
    )
}
