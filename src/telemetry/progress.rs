//! Progress of a command that takes long, for an operator who waits.

use std::io::{self, IsTerminal, Read, Write};
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

/// A reader or a writer whose bytes are the progress.
pub struct WithProgress<T> {
    inner: T,
    progress: Progress,
}

impl<T> WithProgress<T> {
    /// Shows the progress of a reader or a writer.
    pub fn new(inner: T, progress: Progress) -> WithProgress<T> {
        WithProgress { inner, progress }
    }
}

impl<R: Read> Read for WithProgress<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.progress.add(read as u64);
        Ok(read)
    }
}

impl<W: Write> Write for WithProgress<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.inner.write(bytes)?;
        self.progress.add(written as u64);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_that_are_read_or_written_are_progress() {
        let progress = Progress::new("reading bytes of the backup", Some(20));
        let mut input = WithProgress::new([7_u8; 20].as_slice(), progress);
        input.read_exact(&mut [0; 12]).expect("read");
        let line = input.progress.line();
        assert_eq!(line, "reading bytes of the backup: 12 of 20");

        let progress = Progress::new("writing bytes of the backup", None);
        let mut output = WithProgress::new(Vec::new(), progress);
        output.write_all(&[7; 12]).expect("write");
        let line = output.progress.line();
        assert_eq!(line, "writing bytes of the backup: 12");
        assert_eq!(output.inner.len(), 12);
    }
}
