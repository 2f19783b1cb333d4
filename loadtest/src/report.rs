//! What a run says at its end: figures for people and, as JSON, for programs.

mod cluster;

use std::collections::BTreeMap;
use std::fmt;

pub use cluster::{ClusterFigures, LagFigures};
use raidhall_protocol::RaidId;
use serde::Serialize;

use crate::client::ClientCounts;
use crate::client_log::ClientLog;
use crate::judge::{Verdict, ViolationKind};
use crate::latency::Percentiles;

/// Violations printed in full; the rest is counted by kind.
const VIOLATIONS_SHOWN_MAX: usize = 40;

/// The figures of a run.
#[derive(Debug, Default, Serialize)]
pub struct Report {
    /// What was run.
    pub run: String,
    /// Raids played.
    pub raids: usize,
    /// Players, one connection each.
    pub connections: usize,
    /// How long they played, in seconds.
    pub seconds: f64,
    /// Messages received by clients per second: events, signals, presence changes.
    pub deliveries_per_second: f64,
    /// Of them, signals.
    pub signals_per_second: f64,
    /// Commands acknowledged per second.
    pub acks_per_second: f64,
    /// From first sending a command to its ack.
    pub ack_latency: Percentiles,
    /// From sending a command to its event at every other member.
    pub event_latency: Percentiles,
    /// From sending a signal to receiving it.
    pub signal_latency: Percentiles,
    /// The server, where it could be measured.
    pub server: Option<ServerFigures>,
    /// What was done to a cluster, and what of it was noticed.
    pub cluster: Option<ClusterFigures>,
    /// How long events took from node to node.
    pub lag: Option<LagFigures>,
    /// What the judge read.
    pub judged: JudgedCounts,
    /// What the clients counted.
    pub counted: ClientTotals,
    /// This program's own share in the latencies.
    pub tester: TesterLoad,
    /// Every violation.
    pub violations: Vec<String>,
    /// The ledgers of those who saw them.
    #[serde(skip)]
    pub evidence: Vec<ClientLogDump>,
}

/// One client's ledger as text, a line per entry.
#[derive(Debug)]
pub struct ClientLogDump {
    /// A name for its file.
    pub name: String,
    /// The lines.
    pub text: String,
}

impl ClientLogDump {
    /// Writes a ledger out, with times in milliseconds since the run began.
    pub fn from_log(ledger: &ClientLog) -> ClientLogDump {
        let mut text = format!(
            "raid {} client {} player {}\n",
            ledger.raid, ledger.client, ledger.player
        );
        for record in ledger.entries() {
            text.push_str(&format!(
                "{:>12.3} {:?}\n",
                record.at.0 as f64 / 1000.0,
                record.observation
            ));
        }
        ClientLogDump {
            name: Self::file_name(ledger.raid, &ledger.client),
            text,
        }
    }

    /// The name of the file for a client's ledger of a raid.
    pub fn file_name(raid: RaidId, client: &str) -> String {
        let seat = client.split(' ').next().unwrap_or_default();
        format!("raid-{raid}-client-{seat}.txt")
    }
}

/// What the server's process used.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub struct ServerFigures {
    /// CPU time per message delivered while playing, in microseconds.
    pub cpu_micros_per_delivery: f64,
    /// CPU used while playing, of one core.
    pub cpu_cores: f64,
    /// Resident memory before anybody connected.
    pub rss_before_bytes: u64,
    /// With everybody connected and watching, and nobody acting.
    pub rss_idle_bytes: u64,
    /// After playing, still connected.
    pub rss_played_bytes: u64,
    /// Memory that an idle watching connection adds.
    pub bytes_per_idle_connection: f64,
    /// Memory per connection after playing, all that the raids hold included.
    pub bytes_per_connection: f64,
    /// Times its threads went to sleep per second while idle: its wake-ups.
    pub idle_wakes_per_second: f64,
    /// CPU used while idle, of one core.
    pub idle_cpu_cores: f64,
}

/// What the judge read.
#[derive(Debug, Default, Serialize)]
pub struct JudgedCounts {
    /// Events in the raids' histories.
    pub history: u64,
    /// Events that clients were told.
    pub told: u64,
    /// Acknowledged commands.
    pub acks: u64,
    /// Those answered as repeats.
    pub repeats: u64,
    /// Snapshots.
    pub snapshots: u64,
    /// Returns with `since`.
    pub resumes: u64,
    /// Those answered by a replay.
    pub replays: u64,
}

/// What the clients counted.
#[derive(Debug, Default, Serialize)]
pub struct ClientTotals {
    /// Refusals by type; those that may be retried were.
    pub refusals: BTreeMap<&'static str, u64>,
    /// Ends of connections, by close code or cause.
    pub ends: BTreeMap<String, u64>,
    /// Connections after a client's first.
    pub reconnects: u64,
    /// Watches repeated because the heads were ahead.
    pub repairs: u64,
    /// Commands not sent because too many were unanswered.
    pub held_back: u64,
    /// How often the server was killed.
    pub kills: u64,
}

/// What this program did to the figures.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub struct TesterLoad {
    /// How late its own timers were.
    pub lag: Percentiles,
    /// CPU it used, of one core.
    pub cpu_cores: f64,
    /// CPU it may use, of one core.
    pub cpu_cores_max: f64,
}

impl TesterLoad {
    /// Whether the latencies say more about this program than about the server.
    pub fn is_bottleneck(&self) -> bool {
        self.lag.p99_ms > 10.0 || self.cpu_cores > 0.85 * self.cpu_cores_max
    }
}

impl ClientTotals {
    /// Adds what one client counted.
    pub fn add(&mut self, tally: &ClientCounts) {
        self.reconnects += tally.reconnects;
        self.repairs += tally.repairs;
        for (kind, count) in &tally.refusals {
            *self.refusals.entry(kind).or_default() += count;
        }
        for (end, count) in &tally.ends {
            *self.ends.entry(end.clone()).or_default() += count;
        }
    }
}

impl Report {
    /// Takes the verdict in, and convicts of too few replays where many came back.
    pub fn add_verdict(&mut self, verdict: &Verdict) {
        self.judged = JudgedCounts {
            history: verdict.history_events,
            told: verdict.received_events,
            acks: verdict.acks,
            repeats: verdict.repeats,
            snapshots: verdict.snapshots,
            resumes: verdict.resumes,
            replays: verdict.replays,
        };
        self.violations = verdict.violations.iter().map(ToString::to_string).collect();
        let (replays, resumes) = (verdict.replays, verdict.resumes);
        if replays * 10 < resumes * 9 {
            self.violations.push(format!(
                "all raids: {}",
                ViolationKind::TooFewReplays { replays, resumes }
            ));
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{}: {} raids, {} connections, {:.0} s",
            self.run, self.raids, self.connections, self.seconds
        )?;
        if self.deliveries_per_second > 0.0 {
            writeln!(
                f,
                "  delivered   {:.0}/s ({:.0} signals/s), {:.1} acks/s",
                self.deliveries_per_second, self.signals_per_second, self.acks_per_second
            )?;
        }
        let latencies = [
            ("ack", self.ack_latency),
            ("event", self.event_latency),
            ("signal", self.signal_latency),
        ];
        for (name, latency) in latencies
            .into_iter()
            .filter(|(_, latency)| latency.count > 0)
        {
            writeln!(f, "  {name:<11} {latency}")?;
        }
        if let Some(server) = &self.server {
            write!(f, "{server}")?;
        }
        if let Some(cluster) = &self.cluster {
            write!(f, "{cluster}")?;
        }
        if let Some(lag) = &self.lag {
            write!(f, "{lag}")?;
        }
        let judged = &self.judged;
        writeln!(
            f,
            "  judged      {} events ({} told), {} acks ({} repeats), {} snapshots, {} of {} resumes replayed",
            judged.history,
            judged.told,
            judged.acks,
            judged.repeats,
            judged.snapshots,
            judged.replays,
            judged.resumes
        )?;
        write!(f, "{}", self.counted)?;
        writeln!(
            f,
            "  tester      timers late {}; {:.2} of {:.0} cores",
            self.tester.lag, self.tester.cpu_cores, self.tester.cpu_cores_max
        )?;
        if self.tester.is_bottleneck() {
            writeln!(
                f,
                "  NOTE: this program, or the machine, was too busy to measure well: latencies are upper bounds"
            )?;
        }
        for violation in self.violations.iter().take(VIOLATIONS_SHOWN_MAX) {
            writeln!(f, "  VIOLATION   {violation}")?;
        }
        if self.violations.len() > VIOLATIONS_SHOWN_MAX {
            writeln!(
                f,
                "  … and {} more",
                self.violations.len() - VIOLATIONS_SHOWN_MAX
            )?;
        }
        match self.violations.len() {
            0 => write!(f, "  no violation"),
            some => write!(f, "  {some} violations"),
        }
    }
}

impl fmt::Display for Percentiles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Percentiles {
            count,
            p50_ms,
            p95_ms,
            p99_ms,
            max_ms,
        } = self;
        write!(
            f,
            "p50 {p50_ms:.2} ms, p95 {p95_ms:.2}, p99 {p99_ms:.2}, max {max_ms:.2} (of {count})"
        )
    }
}

impl fmt::Display for ServerFigures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const MIB: f64 = 1024.0 * 1024.0;
        let mib = |bytes: u64| bytes as f64 / MIB;
        if self.cpu_micros_per_delivery > 0.0 {
            writeln!(
                f,
                "  server cpu  {:.1} µs per delivery, {:.2} cores",
                self.cpu_micros_per_delivery, self.cpu_cores
            )?;
        }
        writeln!(
            f,
            "  server mem  {:.1} MiB before, {:.1} idle, {:.1} at the end; {:.1} KiB per idle connection, {:.1} after",
            mib(self.rss_before_bytes),
            mib(self.rss_idle_bytes),
            mib(self.rss_played_bytes),
            self.bytes_per_idle_connection / 1024.0,
            self.bytes_per_connection / 1024.0
        )?;
        writeln!(
            f,
            "  server idle {:.0} wake-ups/s, {:.3} cores",
            self.idle_wakes_per_second, self.idle_cpu_cores
        )
    }
}

impl fmt::Display for ClientTotals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |pairs: Vec<String>| {
            if pairs.is_empty() {
                "none".to_owned()
            } else {
                pairs.join(", ")
            }
        };
        let refusals = list(
            self.refusals
                .iter()
                .map(|(kind, count)| format!("{kind} {count}"))
                .collect(),
        );
        let ends = list(
            self.ends
                .iter()
                .map(|(end, count)| format!("{end} {count}"))
                .collect(),
        );
        writeln!(f, "  refused     {refusals}; held back {}", self.held_back)?;
        writeln!(
            f,
            "  connections {} kills, {} reconnects, {} repairs; ends: {ends}",
            self.kills, self.reconnects, self.repairs
        )
    }
}
