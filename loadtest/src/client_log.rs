//! The client log: everything that one client sent and received in one raid, in that order, for the
//! judge to read after the run.

use std::sync::Arc;
use std::time::Duration;

use raidhall_protocol::rest::RaidView;
use raidhall_protocol::{
    ClientMessage, ErrorBody, Event, OpKey, PlayerId, RaidId, Seq, ServerMessage,
};
use tokio::time::Instant;

/// Time since the run began, in microseconds; all clients of a process share one clock.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment(pub u64);

impl Moment {
    /// Later than every moment of a run.
    pub const MAX: Moment = Moment(u64::MAX);

    /// Returns the microseconds from `earlier` to this moment; 0 when this is earlier.
    pub const fn since(self, earlier: Moment) -> u64 {
        self.0.saturating_sub(earlier.0)
    }

    /// Returns the moment that was this long ago; the run's begin if that is later.
    #[must_use]
    pub fn minus(self, time: Duration) -> Moment {
        let micros = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        Moment(self.0.saturating_sub(micros))
    }

    /// Returns the moment that follows after this time.
    #[must_use]
    pub fn plus(self, time: Duration) -> Moment {
        let micros = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        Moment(self.0.saturating_add(micros))
    }
}

/// The clock of a run, from which every [`Moment`] is read.
#[derive(Debug, Clone, Copy)]
pub struct RunClock {
    began: Instant,
}

impl RunClock {
    /// Starts the clock of a run that begins now.
    pub fn start() -> RunClock {
        RunClock {
            began: Instant::now(),
        }
    }

    pub fn now(&self) -> Moment {
        self.moment_of(Instant::now())
    }

    /// Returns the moment of an instant; the run's begin for an earlier one.
    pub fn moment_of(&self, instant: Instant) -> Moment {
        Moment(0).plus(instant.saturating_duration_since(self.began))
    }

    /// Returns how long the run has lasted.
    pub fn elapsed(&self) -> Duration {
        self.began.elapsed()
    }
}

/// One entry of a client log.
#[derive(Debug, Clone)]
pub struct LogEntry {
    /// When the client recorded the entry.
    pub at: Moment,
    pub observation: Observation,
}

/// What a client can record.
#[derive(Debug, Clone)]
pub enum Observation {
    /// The server sent a `welcome`.
    Connected {
        /// The lineage that the server reported.
        lineage: String,
        /// The index of the server among those that the client knows.
        server: usize,
    },
    /// The connection is gone.
    Disconnected {
        /// The close code, if the server sent one.
        code: Option<u16>,
    },
    /// The player chose to have no connection for a while.
    WentAway {
        /// When the player means to connect again, at the latest.
        until: Moment,
    },
    /// The client sent a `watch`, `unwatch` or `do`. A repeated `do` is recorded every time.
    Sent(ClientMessage),
    /// A message about this raid was received. Signals are not recorded.
    Received(Arc<ServerMessage>),
    /// A frame could not be decoded as a message of the protocol.
    Unreadable {
        /// The decoding error and the beginning of the frame.
        text: String,
        /// Whether the frame's type was `error`.
        error: bool,
    },
    /// The player joined the raid again by REST.
    Joined,
    /// A request by REST succeeded, or a message named the raid, for a player who is no member.
    RequestAnswered {
        /// What the player got.
        request: &'static str,
    },
    /// A request by REST got a typed error, or no answer.
    RequestFailed {
        /// What the client asked for.
        request: &'static str,
        /// The server's error; `None` when there was no answer.
        refusal: Option<ErrorBody>,
    },
    /// A request by REST that the client made beside its connection was answered.
    Read(RestRead),
    /// The client sent a command by REST too, with the same op, to another server.
    RepeatSent { op: OpKey },
    /// That request was answered: the op took effect, with this seq.
    RepeatAcknowledged { op: OpKey, seq: Seq },
    /// A signal came from the connection that received it, or was not newer than one before it from
    /// the same connection.
    SignalWrong { from: PlayerId },
    /// The run has settled: from here on the client must hold everything up to `head`.
    Settled {
        /// The server's newest seq.
        head: Seq,
        /// The players who should be shown online.
        online: Vec<PlayerId>,
    },
}

/// A read by REST: when it was sent and answered, and what the answer was.
#[derive(Debug, Clone)]
pub struct RestRead {
    pub sent: Moment,
    pub answered: Moment,
    pub result: Result<ReadAnswer, ErrorBody>,
}

/// The answer to a [`RestRead`].
#[derive(Debug, Clone)]
pub enum ReadAnswer {
    /// The raid as one server shows it.
    Raid(Box<RaidView>),
    /// The events after a seq: at most `limit`.
    Events {
        after: Seq,
        limit: u64,
        events: Vec<Event>,
    },
    /// The player's newest raids.
    RaidList(Vec<RaidId>),
    /// The raid of a creation that the client had made before with the same key.
    Created(RaidId),
}

/// One client's log of one raid.
#[derive(Debug, Clone)]
pub struct ClientLog {
    /// The client's name in reports.
    pub client: String,
    /// The player that the client plays.
    pub player: PlayerId,
    pub raid: RaidId,
    entries: Vec<LogEntry>,
}

impl ClientLog {
    /// Creates an empty log.
    pub fn new(client: impl Into<String>, player: PlayerId, raid: RaidId) -> ClientLog {
        ClientLog {
            client: client.into(),
            player,
            raid,
            entries: Vec::new(),
        }
    }

    pub fn record(&mut self, at: Moment, entry: Observation) {
        self.entries.push(LogEntry {
            at,
            observation: entry,
        });
    }

    /// Returns all entries, to change them before they are judged.
    pub fn entries_mut(&mut self) -> &mut [LogEntry] {
        &mut self.entries
    }

    /// Returns all entries in the order of recording.
    pub fn entries(&self) -> &[LogEntry] {
        &self.entries
    }
}

/// One device's log of its player's stream. Of the observations, those about raids do not occur.
#[derive(Debug, Clone)]
pub struct StreamLog {
    /// The device's name in reports.
    pub client: String,
    pub player: PlayerId,
    /// All entries in the order of recording.
    pub entries: Vec<LogEntry>,
}
