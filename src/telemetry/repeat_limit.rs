//! Limits repeated warnings, so that a lasting fault does not fill the disk with its log.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;
use tracing::callsite::Identifier;
use tracing::{Event, Level, Metadata, Subscriber};
use tracing_subscriber::layer::{Context, Filter};

use super::metrics::metrics;

/// Maximum number of warnings and errors from one place in the code per [`PERIOD`].
const LINES_MAX: u32 = 20;
const PERIOD: Duration = Duration::from_secs(10);

/// Counts the lines of each place in the code that logs warnings or errors. Clones share the counts.
#[derive(Clone, Default)]
pub(super) struct RepeatLimit(Arc<Mutex<HashMap<Identifier, Repeats>>>);

struct Repeats {
    /// The place in the code.
    source: &'static str,
    period_began: Instant,
    lines: u32,
    /// Lines left out since the last report.
    left_out: u64,
}

impl RepeatLimit {
    /// Returns the places whose lines were left out since the last call, with their number.
    pub(super) fn take_left_out(&self) -> Vec<(&'static str, u64)> {
        let mut counts = self.0.lock();
        let left_out = counts
            .values_mut()
            .filter(|repeats| repeats.left_out > 0)
            .map(|repeats| (repeats.source, std::mem::take(&mut repeats.left_out)));
        left_out.collect()
    }

    fn admit(&self, metadata: &'static Metadata<'static>, now: Instant) -> bool {
        let mut counts = self.0.lock();
        let repeats = counts.entry(metadata.callsite()).or_insert(Repeats {
            source: metadata.name(),
            period_began: now,
            lines: 0,
            left_out: 0,
        });
        if now.duration_since(repeats.period_began) >= PERIOD {
            repeats.period_began = now;
            repeats.lines = 0;
        }
        repeats.lines = repeats.lines.saturating_add(1);
        let is_admitted = repeats.lines <= LINES_MAX;
        if !is_admitted {
            repeats.left_out += 1;
            metrics().log_lines_repeated.increment(1);
        }
        is_admitted
    }
}

impl<S: Subscriber> Filter<S> for RepeatLimit {
    fn enabled(&self, _: &Metadata<'_>, _: &Context<'_, S>) -> bool {
        true
    }

    fn event_enabled(&self, event: &Event<'_>, _: &Context<'_, S>) -> bool {
        *event.metadata().level() > Level::WARN || self.admit(event.metadata(), Instant::now())
    }
}

#[cfg(test)]
mod tests {
    use tracing_subscriber::layer::{Layer, SubscriberExt};

    use super::*;

    /// Counts the events that reach it.
    #[derive(Clone, Default)]
    struct RepeatCount(Arc<Mutex<u32>>);

    impl<S: Subscriber> Layer<S> for RepeatCount {
        fn on_event(&self, _: &Event<'_>, _: Context<'_, S>) {
            *self.0.lock() += 1;
        }
    }

    #[test]
    fn only_repeated_warnings_of_one_place_are_left_out() {
        let counter = RepeatCount::default();
        let limit = RepeatLimit::default();
        let subscriber =
            tracing_subscriber::registry().with(counter.clone().with_filter(limit.clone()));
        tracing::subscriber::with_default(subscriber, || {
            for _ in 0..LINES_MAX + 7 {
                tracing::warn!("the disk is full");
                tracing::info!("a line of every request");
            }
            tracing::error!("another place");
        });
        assert_eq!(*counter.0.lock(), LINES_MAX + (LINES_MAX + 7) + 1);
        let left_out = limit.take_left_out();
        let [(source, 7)] = left_out[..] else {
            panic!("{left_out:?}");
        };
        assert!(source.contains("repeat_limit.rs"), "{source}");
        assert!(limit.take_left_out().is_empty(), "reported once");
    }

    #[test]
    fn a_new_period_admits_lines_again() {
        let limit = RepeatLimit::default();
        let subscriber = tracing_subscriber::registry().with(RepeatCount::default());
        let metadata = Arc::new(Mutex::new(None));
        struct Capture(Arc<Mutex<Option<&'static Metadata<'static>>>>);
        impl<S: Subscriber> Layer<S> for Capture {
            fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
                *self.0.lock() = Some(event.metadata());
            }
        }
        let subscriber = subscriber.with(Capture(Arc::clone(&metadata)));
        tracing::subscriber::with_default(subscriber, || tracing::warn!("once"));
        let metadata = metadata.lock().expect("an event");
        let now = Instant::now();
        let admitted = |now| {
            (0..LINES_MAX + 5)
                .filter(|_| limit.admit(metadata, now))
                .count()
        };
        assert_eq!(admitted(now), LINES_MAX as usize);
        assert_eq!(admitted(now + PERIOD / 2), 0);
        assert_eq!(admitted(now + PERIOD), LINES_MAX as usize);
    }
}
