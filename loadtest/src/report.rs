//! The report at the end of a run: figures for people and, as JSON, for programs.

mod cluster;
mod players;

use std::collections::BTreeMap;
use std::fmt;

pub use cluster::{ClusterFigures, LagFigures};
pub use players::PlayerFigures;
use raidhall_protocol::RaidId;
use serde::Serialize;

use crate::client::ClientCounts;
use crate::client_log::{ClientLog, LogEntry, StreamLog};
use crate::judge::{Verdict, ViolationKind};
use crate::latency::Percentiles;

/// Violations printed in full; the rest is only counted.
const VIOLATIONS_SHOWN_MAX: usize = 40;

/// The figures and violations of a run.
#[derive(Debug, Default, Serialize)]
pub struct Report {
    /// The name of the run, such as `smoke`.
    pub run: String,
    pub raids: usize,
    /// Clients, each with one connection.
    pub connections: usize,
    /// How long the bots played, in seconds.
    pub seconds: f64,
    /// Events, signals and presence changes received by clients per second.
    pub deliveries_per_second: f64,
    /// Signals received by clients per second.
    pub signals_per_second: f64,
    pub acks_per_second: f64,
    /// From first sending a command to its ack.
    pub ack_latency: Percentiles,
    /// From sending a command to its event at every other member.
    pub event_latency: Percentiles,
    /// From sending a signal to receiving it.
    pub signal_latency: Percentiles,
    /// What the server's process used, if the run started it.
    pub server: Option<ServerFigures>,
    /// What was done to a cluster, and what its players noticed.
    pub cluster: Option<ClusterFigures>,
    /// How long events took from one node to another.
    pub lag: Option<LagFigures>,
    /// What the players' own streams had, and how long their effects took.
    pub players: Option<PlayerFigures>,
    /// The counts of what the judge read.
    pub judged: JudgedCounts,
    /// The sums of the clients' counters.
    pub counted: ClientTotals,
    /// How busy the load tester itself was.
    pub tester: TesterLoad,
    /// Every violation as text.
    pub violations: Vec<String>,
    /// The logs of the clients that saw a violation.
    #[serde(skip)]
    pub evidence: Vec<ClientLogDump>,
}

/// One client log as text, with a line per entry.
#[derive(Debug)]
pub struct ClientLogDump {
    /// The name of the file to write.
    pub name: String,
    pub text: String,
}

impl ClientLogDump {
    /// Formats a client log, with times in milliseconds since the run began.
    pub fn from_log(ledger: &ClientLog) -> ClientLogDump {
        let ClientLog {
            raid,
            client,
            player,
            ..
        } = ledger;
        let title = format!("raid {raid} client {client} player {player}\n");
        ClientLogDump {
            name: Self::file_name(*raid, client),
            text: title + &format_entries(ledger.entries()),
        }
    }

    /// Formats a device's log of its player's stream in the same way.
    pub fn from_stream_log(log: &StreamLog) -> ClientLogDump {
        let name = log.client.replace(' ', "-");
        ClientLogDump {
            name: format!("{name}.txt"),
            text: format!("{}\n{}", log.client, format_entries(&log.entries)),
        }
    }

    /// Returns the file name for a client's log of a raid.
    pub fn file_name(raid: RaidId, client: &str) -> String {
        let seat = client.split(' ').next().unwrap_or_default();
        format!("raid-{raid}-client-{seat}.txt")
    }
}

fn format_entries(entries: &[LogEntry]) -> String {
    let line = |entry: &LogEntry| {
        let millis = entry.at.0 as f64 / 1000.0;
        format!("{millis:>12.3} {:?}\n", entry.observation)
    };
    entries.iter().map(line).collect()
}

/// What the server's process used during the run.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub struct ServerFigures {
    /// CPU time per delivered message while playing, in microseconds.
    pub cpu_micros_per_delivery: f64,
    /// CPU use while playing, in cores.
    pub cpu_cores: f64,
    /// Resident memory before the first connection.
    pub rss_before_bytes: u64,
    /// Resident memory while all clients watch and none acts.
    pub rss_idle_bytes: u64,
    /// Resident memory after playing, with all clients still connected.
    pub rss_played_bytes: u64,
    /// Memory that an idle watching connection adds.
    pub bytes_per_idle_connection: f64,
    /// Memory per connection after playing, including all that the raids hold.
    pub bytes_per_connection: f64,
    /// How often threads went to sleep per idle second: the process's wake-ups.
    pub idle_wakes_per_second: f64,
    /// CPU use while idle, in cores.
    pub idle_cpu_cores: f64,
}

/// The counts of what the judge read.
#[derive(Debug, Default, Serialize)]
pub struct JudgedCounts {
    /// Events in the raids' histories.
    pub history: u64,
    /// Events that clients received, all together.
    pub told: u64,
    pub acks: u64,
    /// Acks that the server marked as repeats.
    pub repeats: u64,
    /// Snapshots that clients received.
    pub snapshots: u64,
    /// Watches with `since`, however they were answered.
    pub resumes: u64,
    /// Resumes answered by a replay.
    pub replays: u64,
}

/// The sums of the counters of all clients.
#[derive(Debug, Default, Serialize)]
pub struct ClientTotals {
    /// Refusals by type; retryable ones were retried.
    pub refusals: BTreeMap<&'static str, u64>,
    /// Ends of connections, by close code or cause.
    pub ends: BTreeMap<String, u64>,
    /// Connections after a client's first.
    pub reconnects: u64,
    /// Watches repeated because the heads of a `beat` were ahead.
    pub repairs: u64,
    /// Commands not sent because too many were unanswered.
    pub held_back: u64,
    /// How often the server was killed.
    pub kills: u64,
}

/// How busy the load tester was, and so how far its latencies can be trusted.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub struct TesterLoad {
    /// How late its own timers fired.
    pub lag: Percentiles,
    /// CPU use of the load tester, in cores.
    pub cpu_cores: f64,
    /// Its number of worker threads, which bounds its CPU use in cores.
    pub cpu_cores_max: f64,
}

impl TesterLoad {
    /// Returns whether the latencies say more about the load tester than about the server.
    pub fn is_bottleneck(&self) -> bool {
        self.lag.p99_ms > 10.0 || self.cpu_cores > 0.85 * self.cpu_cores_max
    }
}

impl ClientTotals {
    /// Adds the counters of one client.
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
    /// Adds the verdict, and a violation if fewer than nine tenths of the resumes were replays.
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
        let replays = verdict.replays;
        let resumes = verdict.resumes;
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
        if let Some(players) = &self.players {
            write!(f, "{players}")?;
        }
        let judged = &self.judged;
        writeln!(
            f,
            "  judged      {} events ({} received), {} acks ({} repeats), {} snapshots, {} of {} resumes replayed",
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
                "  NOTE: the load tester or the machine was too busy to measure well; latencies are upper bounds"
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
            0 if self.judged.history == 0 => write!(f, "  nothing was judged"),
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
