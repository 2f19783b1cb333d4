//! What was found, as lines for an operator.

use std::fmt::Display;
use std::io::{self, ErrorKind, Write};

use raidhall_protocol::PlayerId;

use super::checked_stream::CheckedStream;
use super::difference::{Difference, Place};
use crate::store::FailedCause;

/// Lines that are written; what comes after them is only counted.
const LINES_MAX: u64 = 100;

/// Writer of what was found, and its counts.
pub struct Findings {
    out: Box<dyn Write + Send>,
    lines: u64,
    streams: u64,
    effects: u64,
    differences: u64,
    repaired: u64,
    failed: u64,
}

impl Findings {
    /// Creates an empty report that is written to `out`.
    pub fn new(out: Box<dyn Write + Send>) -> Findings {
        Findings {
            out,
            lines: 0,
            streams: 0,
            effects: 0,
            differences: 0,
            repaired: 0,
            failed: 0,
        }
    }

    pub(super) fn count_checked(&mut self, checked: &CheckedStream) {
        self.streams += 1;
        self.effects += checked.causes().count() as u64;
    }

    /// Reports a cause that the projector retries. It is no difference.
    pub(super) fn report_failed(&mut self, failed: &FailedCause) {
        self.failed += 1;
        let FailedCause { player, error, .. } = failed;
        let place = Place(failed.cause);
        self.write_line(format_args!(
            "player {player}: {place}: failed, and the projector retries it: {error}"
        ));
    }

    /// Reports what is wrong with a stream. `is_repaired` tells whether what an append can mend was
    /// mended.
    pub(super) fn report(&mut self, player: PlayerId, found: &[Difference], is_repaired: bool) {
        for difference in found {
            self.differences += 1;
            let is_repaired = is_repaired && difference.is_repairable();
            self.repaired += u64::from(is_repaired);
            let outcome = if is_repaired { "; repaired" } else { "" };
            self.write_line(format_args!("player {player}: {difference}{outcome}"));
        }
    }

    /// Writes a summary. Returns whether no difference remains.
    ///
    /// # Errors
    ///
    /// Fails if the output does.
    pub fn finish(mut self) -> io::Result<bool> {
        match self.write_summary() {
            // The reader may have closed the pipe because it has seen enough, as `head` does.
            Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(error),
            _ => Ok(self.differences == self.repaired),
        }
    }

    fn write_summary(&mut self) -> io::Result<()> {
        if self.lines > LINES_MAX {
            writeln!(self.out, "and {} more", self.lines - LINES_MAX)?;
        }
        let Findings {
            out,
            streams,
            effects,
            differences,
            repaired,
            failed,
            ..
        } = self;
        writeln!(
            out,
            "streams: {streams}, effects of raids: {effects}, differences: {differences}, \
             repaired: {repaired}, failed and retried by the projector: {failed}"
        )?;
        out.flush()
    }

    fn write_line(&mut self, line: impl Display) {
        self.lines += 1;
        if self.lines <= LINES_MAX {
            // The summary, which is written later, reports an output that fails.
            let _ = writeln!(self.out, "{line}");
        }
    }
}
