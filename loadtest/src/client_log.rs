//! What one client saw of one raid: everything it sent and heard, in that order, for the judge to read afterwards.

use std::sync::Arc;
use std::time::Duration;

use raidhall_protocol::{ClientMessage, PlayerId, RaidId, Seq, ServerMessage};
use tokio::time::Instant;

/// Time since the run began, in microseconds; one clock for every client of a process.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment(pub u64);

impl Moment {
    /// Microseconds from `earlier` to this moment; 0 when this is earlier.
    pub const fn since(self, earlier: Moment) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

/// The clock of a run.
#[derive(Debug, Clone, Copy)]
pub struct RunClock {
    began: Instant,
}

impl RunClock {
    /// A run that begins now.
    pub fn start() -> RunClock {
        RunClock {
            began: Instant::now(),
        }
    }

    /// Now.
    pub fn now(&self) -> Moment {
        let micros = self.began.elapsed().as_micros();
        Moment(u64::try_from(micros).unwrap_or(u64::MAX))
    }

    /// How long the run has lasted.
    pub fn elapsed(&self) -> Duration {
        self.began.elapsed()
    }
}

/// One line of a ledger.
#[derive(Debug, Clone)]
pub struct LogEntry {
    /// When the client wrote it down.
    pub at: Moment,
    /// What happened.
    pub observation: Observation,
}

/// What can happen to a client.
#[derive(Debug, Clone)]
pub enum Observation {
    /// A connection was welcomed.
    Connected {
        /// The history that the server says it holds.
        lineage: String,
        /// Which of the servers that the client knows.
        server: usize,
    },
    /// The connection is gone.
    Disconnected {
        /// The close code, if the server sent one.
        code: Option<u16>,
    },
    /// The client sent a `watch`, `unwatch` or `do`. A `do` that is sent again is here again.
    Sent(ClientMessage),
    /// A message about this raid came. Signals are not kept.
    Received(Arc<ServerMessage>),
    /// A message came that is none of the contract's.
    Unreadable {
        /// Its beginning.
        text: String,
        /// Whether it called itself an `error`.
        error: bool,
    },
    /// A signal came from the client itself, or older than one before it.
    SignalWrong {
        /// Who sent it.
        from: PlayerId,
    },
    /// The run came to rest: from here on the client must hold all of it.
    Settled {
        /// The server's newest seq.
        head: Seq,
        /// Who should be shown online.
        online: Vec<PlayerId>,
    },
}

/// One client's ledger of one raid.
#[derive(Debug, Clone)]
pub struct ClientLog {
    /// What the report calls the client.
    pub client: String,
    /// Who it plays.
    pub player: PlayerId,
    /// The raid.
    pub raid: RaidId,
    entries: Vec<LogEntry>,
}

impl ClientLog {
    /// An empty ledger.
    pub fn new(client: impl Into<String>, player: PlayerId, raid: RaidId) -> ClientLog {
        ClientLog {
            client: client.into(),
            player,
            raid,
            entries: Vec::new(),
        }
    }

    /// Writes a line.
    pub fn record(&mut self, at: Moment, entry: Observation) {
        self.entries.push(LogEntry {
            at,
            observation: entry,
        });
    }

    /// All lines, in the order written.
    pub fn entries(&self) -> &[LogEntry] {
        &self.entries
    }
}
