//! Simulated raids: what a player wants, one player's task, and the party that shares a raid.

mod bot;
mod mind;
mod party;

use std::sync::atomic::{AtomicU64, Ordering};

pub use mind::Mind;
pub use party::{Outcome, Pace, Party, Plan};
use raidhall_protocol::ServerMessage;

/// Counters that all bots of a run add to, read while they play.
#[derive(Debug, Default)]
pub struct Meter {
    deliveries: AtomicU64,
    acks: AtomicU64,
    signals: AtomicU64,
}

/// What a meter showed at one moment.
#[derive(Debug, Clone, Copy, Default)]
pub struct Reading {
    /// Events, signals and presence changes that clients got.
    pub deliveries: u64,
    /// Of them, signals.
    pub signals: u64,
    /// Acknowledged commands.
    pub acks: u64,
}

impl Meter {
    fn count(&self, message: &ServerMessage) {
        let counters: &[&AtomicU64] = match message {
            ServerMessage::Event { .. } | ServerMessage::Presence { .. } => &[&self.deliveries],
            ServerMessage::Signal { .. } => &[&self.deliveries, &self.signals],
            ServerMessage::Ack { .. } => &[&self.acks],
            _ => &[],
        };
        for counter in counters {
            counter.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Now.
    pub fn read(&self) -> Reading {
        Reading {
            deliveries: self.deliveries.load(Ordering::Relaxed),
            signals: self.signals.load(Ordering::Relaxed),
            acks: self.acks.load(Ordering::Relaxed),
        }
    }
}
