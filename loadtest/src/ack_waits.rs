//! How long commands waited for their ack while servers came and went, by what became of their connection.

use raidhall_protocol::{RaidId, Seq};
use serde::Serialize;

use crate::client_log::{ClientLog, Moment};
use crate::judge;
use crate::judge::SentCommand;
use crate::latency::{Latency, Percentiles};

/// A stretch in which a server was stopped but not dead, so that its connections stood and nothing came over them.
#[derive(Debug, Clone, Copy)]
pub struct FreezePeriod {
    /// Its place among the servers.
    pub server: usize,
    /// From.
    pub from: Moment,
    /// To.
    pub to: Moment,
}

/// The acknowledged commands of a run, from first sending each to its ack, whatever was retried between.
#[derive(Debug, Default)]
pub struct AckWaits {
    /// Their connection stood all the time.
    pub connected: WaitStats,
    /// So it did, but the server at its other end was frozen for a part of it.
    pub server_frozen: WaitStats,
    /// Their connection was lost, and they were sent again on another.
    pub reconnected: WaitStats,
}

/// Some of them.
#[derive(Debug, Default)]
pub struct WaitStats {
    latency: Latency,
    longest: Option<(u64, String)>,
}

/// What a report shows of them.
#[derive(Debug, Clone, Default, Serialize)]
pub struct WaitFigures {
    /// How long.
    #[serde(flatten)]
    pub wait: Percentiles,
    /// Where the longest was, for somebody who looks for it in the ledgers.
    pub longest: Option<String>,
}

impl AckWaits {
    /// Adds the commands of a raid.
    pub fn add(&mut self, raid: RaidId, ledgers: &[ClientLog], frozen: &[FreezePeriod]) {
        for ledger in ledgers {
            for deed in judge::read_client_log(ledger).commands.values() {
                let Some((at, seq, _)) = deed.ack else {
                    continue;
                };
                let overlaps = |frozen: &FreezePeriod| {
                    frozen.server == deed.server
                        && frozen.from <= at
                        && deed.first_sent <= frozen.to
                };
                let wait = match deed.connection_lost {
                    true => &mut self.reconnected,
                    false if frozen.iter().any(overlaps) => &mut self.server_frozen,
                    false => &mut self.connected,
                };
                wait.add(at.since(deed.first_sent), || {
                    describe(raid, ledger, deed, seq)
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

    /// What to show.
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

fn describe(raid: RaidId, ledger: &ClientLog, deed: &SentCommand, seq: Seq) -> String {
    let (id, kind, sent) = (deed.id, deed.command.kind(), deed.first_sent.0 as f64 / 1e6);
    let (client, server, tries) = (&ledger.client, deed.server, deed.attempts);
    format!(
        "{kind} {id} of client {client} on server {server}, raid {raid}, sent at {sent:.3} s, {tries} times, became {seq}"
    )
}
