//! Progress of a command that takes long, for an operator who waits.

use std::io::{self, IsTerminal, Write};
use std::time::Duration;

use tokio::time::Instant;
use tracing::info;

/// Interval between updates of the line on a terminal.
const TERMINAL_INTERVAL: Duration = Duration::from_millis(200);
/// Interval between lines of the log.
const LOG_INTERVAL: Duration = Duration::from_secs(30);

/// Progress of one phase of a command. On a terminal, standard error shows it in a line that is
/// rewritten, and that is cleared when this is dropped; otherwise the log has it now and then.
pub struct Progress {
    phase: &'static str,
    done: u64,
    total: Option<u64>,
    shown_at: Instant,
    is_terminal: bool,
}

impl Progress {
    /// Begins a phase, of which the total may be unknown.
    pub fn new(phase: &'static str, total: Option<u64>) -> Progress {
        Progress {
            phase,
            done: 0,
            total,
            shown_at: Instant::now(),
            is_terminal: io::stderr().is_terminal(),
        }
    }

    /// Adds to what is done.
    pub fn add(&mut self, count: u64) {
        self.done += count;
        let interval = if self.is_terminal {
            TERMINAL_INTERVAL
        } else {
            LOG_INTERVAL
        };
        if self.shown_at.elapsed() < interval {
            return;
        }
        self.shown_at = Instant::now();
        if self.is_terminal {
            write_over(&self.line());
        } else {
            info!(done = self.done, total = self.total, "{}", self.phase);
        }
    }

    fn line(&self) -> String {
        let Progress { phase, done, .. } = self;
        match self.total {
            Some(total) => format!("{phase}: {done} of {total}"),
            None => format!("{phase}: {done}"),
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if self.is_terminal {
            write_over("");
        }
    }
}

/// Replaces the terminal's current line.
fn write_over(line: &str) {
    let mut terminal = io::stderr().lock();
    // Progress that cannot be shown is no reason to fail.
    let _ = write!(terminal, "\r{line}\x1b[K").and_then(|()| terminal.flush());
}
