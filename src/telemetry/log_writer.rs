//! Writes log lines on a thread of its own. **Logging never blocks or ends the process**: a line
//! that cannot be written, or that arrives while too many wait, is lost and counted.

use std::collections::VecDeque;
use std::io::{self, Write};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};
use tokio::time::Instant;
use tracing::warn;
use tracing_subscriber::fmt::MakeWriter;

use super::metrics::metrics;
use super::repeat_limit::RepeatLimit;

/// Maximum number of lines that wait to be written.
const WAITING_LINES_MAX: usize = 8_192;
/// Interval between reports of lines that are missing from the log.
const REPORT_INTERVAL: Duration = Duration::from_secs(10);
/// Longest time to write the lines that wait when the process ends.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(1);

/// Handle to the thread that writes log lines.
#[derive(Clone, Default)]
pub(super) struct LogWriter(Arc<Shared>);

#[derive(Default)]
struct Shared {
    queue: Mutex<LineQueue>,
    /// Notified when a line was queued or written.
    changed: Condvar,
}

#[derive(Default)]
struct LineQueue {
    waiting: VecDeque<Vec<u8>>,
    /// Whether the thread is writing a line.
    is_writing: bool,
    /// Lines lost since the last report.
    lost: u64,
}

impl LineQueue {
    fn count_lost(&mut self) {
        self.lost += 1;
        metrics().log_lines_lost.increment(1);
    }
}

/// Writes what waits when it is dropped, for at most a second.
pub struct LogGuard(LogWriter);

impl Drop for LogGuard {
    fn drop(&mut self) {
        self.0.flush_for(FLUSH_TIMEOUT);
    }
}

impl LogWriter {
    /// Starts the thread, which writes to `out` until the process ends.
    pub(super) fn start(
        out: impl Write + Send + 'static,
        repeats: RepeatLimit,
    ) -> io::Result<LogWriter> {
        let writer = LogWriter::default();
        let shared = Arc::clone(&writer.0);
        std::thread::Builder::new()
            .name("log".to_owned())
            .spawn(move || shared.write_lines(out, &repeats))?;
        Ok(writer)
    }

    /// Waits until the lines that wait have been written, for at most `timeout`.
    pub(super) fn flush_for(&self, timeout: Duration) {
        let Shared { queue, changed } = &*self.0;
        let is_unwritten = |queue: &mut LineQueue| queue.is_writing || !queue.waiting.is_empty();
        changed.wait_while_for(&mut queue.lock(), is_unwritten, timeout);
    }

    pub(super) fn guard(&self) -> LogGuard {
        LogGuard(self.clone())
    }
}

impl Write for LogWriter {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let mut queue = self.0.queue.lock();
        if queue.waiting.len() < WAITING_LINES_MAX {
            queue.waiting.push_back(line.to_vec());
            self.0.changed.notify_all();
        } else {
            queue.count_lost();
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for LogWriter {
    type Writer = LogWriter;

    fn make_writer(&self) -> LogWriter {
        self.clone()
    }
}

impl Shared {
    fn write_lines(&self, mut out: impl Write, repeats: &RepeatLimit) {
        let mut is_writable = true;
        let mut reported_at = Instant::now();
        loop {
            if let Some(line) = self.next_line() {
                is_writable = out.write_all(&line).is_ok();
                let mut queue = self.queue.lock();
                queue.is_writing = false;
                if !is_writable {
                    queue.count_lost();
                }
                self.changed.notify_all();
            }
            if is_writable && reported_at.elapsed() >= REPORT_INTERVAL {
                reported_at = Instant::now();
                self.report(repeats);
            }
        }
    }

    /// Waits for the next line; returns `None` if none came for a while.
    fn next_line(&self) -> Option<Vec<u8>> {
        let mut queue = self.queue.lock();
        self.changed.wait_while_for(
            &mut queue,
            |queue| queue.waiting.is_empty(),
            REPORT_INTERVAL,
        );
        let line = queue.waiting.pop_front();
        queue.is_writing = line.is_some();
        line
    }

    /// Logs how many lines are missing from the log.
    fn report(&self, repeats: &RepeatLimit) {
        let lines = std::mem::take(&mut self.queue.lock().lost);
        if lines > 0 {
            warn!(
                lines,
                "log lines were lost: standard error could not be written, or not fast enough"
            );
        }
        for (source, lines) in repeats.take_left_out() {
            warn!(lines, source, "repeated log lines were left out");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::sync::mpsc;

    use super::*;

    /// An output that can fail.
    #[derive(Clone, Default)]
    struct Output {
        text: Arc<Mutex<String>>,
        fails: Arc<AtomicBool>,
    }

    impl Write for Output {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            if self.fails.load(Ordering::Relaxed) {
                return Err(io::ErrorKind::StorageFull.into());
            }
            self.text.lock().push_str(&String::from_utf8_lossy(bytes));
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn lines_that_cannot_be_written_are_counted_and_the_next_ones_are_written() {
        let output = Output::default();
        let mut writer =
            LogWriter::start(output.clone(), RepeatLimit::default()).expect("a thread");
        output.fails.store(true, Ordering::Relaxed);
        writer.write_all(b"one\n").expect("never fails");
        writer.write_all(b"two\n").expect("never fails");
        drop(writer.guard());
        output.fails.store(false, Ordering::Relaxed);
        writer.write_all(b"three\n").expect("never fails");
        drop(writer.guard());
        assert_eq!(*output.text.lock(), "three\n");
        assert_eq!(writer.0.queue.lock().lost, 2);
    }

    #[test]
    fn an_output_that_takes_nothing_neither_blocks_the_writers_nor_the_end() {
        struct Stuck(mpsc::Receiver<()>);
        impl Write for Stuck {
            fn write(&mut self, _: &[u8]) -> io::Result<usize> {
                let _ = self.0.recv();
                Ok(1)
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let (_keep, stuck) = mpsc::channel();
        let mut writer = LogWriter::start(Stuck(stuck), RepeatLimit::default()).expect("a thread");
        for _ in 0..WAITING_LINES_MAX + 100 {
            writer.write_all(b"line\n").expect("never fails");
        }
        assert!(writer.0.queue.lock().lost >= 99);
        let began = Instant::now();
        drop(writer.guard());
        assert!(began.elapsed() < FLUSH_TIMEOUT * 3);
    }
}
