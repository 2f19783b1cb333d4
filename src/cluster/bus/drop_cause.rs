//! Why messages are dropped: each cause is counted.

use crate::telemetry::metrics;

/// Why a message went nowhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DropCause {
    /// Too many wait to be published.
    QueueFull,
    /// The bus is down: receivers heal from the store.
    Down,
    /// So many wait to be published that presence and signals must stand back.
    LivePressure,
    /// Too many have arrived and were not taken.
    IncomingFull,
    /// No message may be that large.
    TooLarge,
    /// It came on something that is none of our channels.
    BadChannel,
}

impl DropCause {
    /// Counts messages that were dropped.
    pub fn record(self, messages: usize) {
        let messages = u64::try_from(messages).unwrap_or(u64::MAX);
        metrics()
            .bus_dropped
            .with_label(self.as_str())
            .increment(messages);
    }

    /// The metric's label.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::QueueFull => "queue_full",
            Self::Down => "down",
            Self::LivePressure => "live_pressure",
            Self::IncomingFull => "incoming_full",
            Self::TooLarge => "too_large",
            Self::BadChannel => "bad_channel",
        }
    }
}
