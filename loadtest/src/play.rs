//! Simulated raids: the command generator, the bots that play, and the bot group that shares a
//! raid.

mod absences;
mod backend;
mod bot;
mod bot_group;
mod command_generator;
mod device_bot;
mod device_group;
mod grants;
mod hostile_member;
mod other_players;
mod outsider;
mod reader;
mod visitor;

use std::sync::atomic::{AtomicU64, Ordering};

pub use backend::{Backend, BackendPlan, BackendResult};
pub use bot_group::{BotGroup, BotHabits, BotPace, GroupOutcome, GroupPlan, RaidSetup};
pub use command_generator::CommandGenerator;
pub use device_group::{DeviceGroup, DevicePlan};
pub use grants::{GrantSender, GrantsByPlayer};
pub use other_players::OtherPlayers;
use raidhall_protocol::ServerMessage;
pub use visitor::VisitorRecord;

/// Traffic counters that all bots of a run increment, and that can be read while they play.
#[derive(Debug, Default)]
pub struct TrafficCounters {
    deliveries: AtomicU64,
    acks: AtomicU64,
    signals: AtomicU64,
}

/// The values of [`TrafficCounters`] at one moment.
#[derive(Debug, Clone, Copy, Default)]
pub struct TrafficReading {
    /// Events, signals and presence changes that clients received.
    pub deliveries: u64,
    pub signals: u64,
    pub acks: u64,
}

impl TrafficCounters {
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

    pub fn read(&self) -> TrafficReading {
        TrafficReading {
            deliveries: self.deliveries.load(Ordering::Relaxed),
            signals: self.signals.load(Ordering::Relaxed),
            acks: self.acks.load(Ordering::Relaxed),
        }
    }
}
