//! Logs: human-readable on a terminal and JSON lines otherwise, always on standard error, because
//! standard output carries only the server's URL.

use std::io::{self, IsTerminal, Write};
use std::time::Duration;

use tracing::Subscriber;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::{Layer, SubscriberExt};
use tracing_subscriber::{EnvFilter, fmt, registry};

use super::log_writer::{LogGuard, LogWriter};
use super::options::{LogFormat, Options};
use super::repeat_limit::RepeatLimit;

/// Longest time that a panic waits for its line to be written.
const PANIC_FLUSH_TIMEOUT: Duration = Duration::from_millis(100);

/// Starts logging for the whole process, panics included. Returns a guard that writes the last
/// lines when it is dropped. Does nothing if a subscriber is already installed.
///
/// In JSON, `spans` lists the spans in which the line was written, outermost first, with their
/// fields (request, connection, raid), and `span` is the innermost.
pub fn init_logging(config: &Options) -> Option<LogGuard> {
    let terminal = io::stderr().is_terminal();
    let repeats = RepeatLimit::default();
    let writer = LogWriter::start(io::stderr(), repeats.clone())
        .inspect_err(|error| {
            // Nothing is left to do if this cannot be written either.
            let _ = writeln!(io::stderr(), "raidhall: nothing is logged: {error}");
        })
        .ok()?;
    let guard = writer.guard();
    let subscriber = subscriber(config, writer.clone(), repeats, terminal);
    tracing::subscriber::set_global_default(subscriber).ok()?;
    std::panic::set_hook(Box::new(move |info| {
        log_panic(info);
        // The process may abort after this.
        writer.flush_for(PANIC_FLUSH_TIMEOUT);
    }));
    Some(guard)
}

fn log_panic(info: &std::panic::PanicHookInfo<'_>) {
    let message = info.payload_as_str().unwrap_or("not a string");
    let location = info.location().map(ToString::to_string);
    let backtrace = std::backtrace::Backtrace::capture();
    tracing::error!(message, location, %backtrace, "panic");
}

fn subscriber<W>(
    config: &Options,
    writer: W,
    repeats: RepeatLimit,
    terminal: bool,
) -> Box<dyn Subscriber + Send + Sync>
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let filter = EnvFilter::builder()
        .parse(&config.log)
        .expect("loading the configuration parsed it");
    let logs = fmt::layer().with_writer(writer);
    let human = match config.log_format {
        LogFormat::Auto => terminal,
        LogFormat::Human => true,
        LogFormat::Json => false,
    };
    if human {
        let logs = logs.with_ansi(terminal).with_filter(repeats);
        Box::new(registry().with(filter).with(logs))
    } else {
        let logs = logs.json().with_current_span(true).with_span_list(true);
        Box::new(registry().with(filter).with(logs.with_filter(repeats)))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use parking_lot::Mutex;

    use super::*;
    use crate::config::Config;

    #[derive(Clone, Default)]
    struct LogBuffer(Arc<Mutex<Vec<u8>>>);

    impl Write for LogBuffer {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// Returns what is written for one line within two spans.
    fn capture_logs(format: LogFormat, terminal: bool) -> String {
        let page = LogBuffer::default();
        let config = Options {
            log_format: format,
            ..Config::default().telemetry
        };
        let writer = page.clone();
        tracing::subscriber::with_default(
            subscriber(
                &config,
                move || writer.clone(),
                RepeatLimit::default(),
                terminal,
            ),
            || {
                let _connection = tracing::info_span!("connection", connection = "c1").entered();
                let _raid = tracing::info_span!("raid", raid = 7).entered();
                tracing::info!(seq = 3, "committed");
                tracing::debug!("not to be seen");
            },
        );
        let bytes = page.0.lock().clone();
        String::from_utf8(bytes).expect("logs are text")
    }

    #[test]
    fn json_log_lines_hold_every_span_with_its_fields() {
        for text in [
            capture_logs(LogFormat::Json, true),
            capture_logs(LogFormat::Auto, false),
        ] {
            let line: serde_json::Value = serde_json::from_str(&text).expect("one line of JSON");
            assert_eq!(line["fields"]["message"], "committed");
            assert_eq!(line["spans"][0]["connection"], "c1");
            assert_eq!(line["spans"][1]["raid"], 7);
        }
    }

    #[test]
    fn a_terminal_gets_human_readable_log_lines() {
        for text in [
            capture_logs(LogFormat::Auto, true),
            capture_logs(LogFormat::Human, false),
        ] {
            assert!(
                text.contains("committed") && !text.starts_with('{'),
                "{text}"
            );
            assert_eq!(text.lines().count(), 1, "{text}");
        }
    }
}
