//! Ack waits: how long commands waited for their ack while servers came and went, by what became of
//! their connection.

use raidhall_protocol::{RaidId, Seq};
use serde::Serialize;

use crate::client_log::{ClientLog, Moment};
use crate::judge;
use crate::judge::SentCommand;
use crate::latency::{Latency, Percentiles};

/// A period in which a server was stopped but not dead: its connections stayed open, but nothing
/// came over them.
#[derive(Debug, Clone, Copy)]
pub struct FreezePeriod {
    /// The index of the server in the run's `Targets`.
    pub server: usize,
    pub from: Moment,
    pub to: Moment,
}

/// Waits of a run's acknowledged commands, from the first sending to the ack, including retries in
/// between.
#[derive(Debug, Default)]
pub struct AckWaits {
    /// The connection stayed open for the whole wait.
    pub connected: WaitStats,
    /// The connection stayed open, but its server was frozen for part of the wait.
    pub server_frozen: WaitStats,
    /// The connection was lost, and the command was sent again on another one.
    pub reconnected: WaitStats,
}

/// The waits of one group of commands, and a description of the longest.
#[derive(Debug, Default)]
pub struct WaitStats {
    latency: Latency,
    longest: Option<(u64, String)>,
}

/// The figures of a [`WaitStats`] as a report shows them.
#[derive(Debug, Clone, Default, Serialize)]
pub struct WaitFigures {
    #[serde(flatten)]
    pub wait: Percentiles,
    /// A description of the longest wait, so that it can be found in the client logs.
    pub longest: Option<String>,
}

impl AckWaits {
    /// Adds the acknowledged commands in the client logs of one raid.
    pub fn add(&mut self, raid: RaidId, logs: &[ClientLog], frozen: &[FreezePeriod]) {
        for log in logs {
            for command in judge::read_client_log(log).commands.values() {
                let Some((at, seq, _)) = command.ack else {
                    continue;
                };
                let overlaps = |frozen: &FreezePeriod| {
                    frozen.server == command.server
                        && frozen.from <= at
                        && command.first_sent <= frozen.to
                };
                let wait = match command.connection_lost {
                    true => &mut self.reconnected,
                    false if frozen.iter().any(overlaps) => &mut self.server_frozen,
                    false => &mut self.connected,
                };
                wait.add(at.since(command.first_sent), || {
                    describe(raid, log, command, seq)
                });
            }
        }
    }
}

impl WaitStats {
    fn add(&mut self, micros: u64, description: impl FnOnce() -> String) {
        self.latency.add(micros);
        if self
            .longest
            .as_ref()
            .is_none_or(|(longest, _)| micros > *longest)
        {
            self.longest = Some((micros, description()));
        }
    }

    pub fn figures(&self) -> WaitFigures {
        let longest = self
            .longest
            .as_ref()
            .map(|(_, description)| description.clone());
        WaitFigures {
            wait: self.latency.percentiles(),
            longest,
        }
    }
}

fn describe(raid: RaidId, log: &ClientLog, command: &SentCommand, seq: Seq) -> String {
    let id = command.id;
    let kind = command.command.kind();
    let sent = command.first_sent.0 as f64 / 1e6;
    let client = &log.client;
    let server = command.server;
    let tries = command.attempts;
    format!(
        "{kind} {id} of client {client} on server {server}, raid {raid}, sent at {sent:.3} s, {tries} times, became {seq}"
    )
}
