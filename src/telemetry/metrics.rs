//! Every metric there is: its name, unit, help and label, and the handle that counts it.
//!
//! Names follow Prometheus: a unit at the end, `_total` for counters. A histogram's buckets follow from its unit:
//! `_seconds` or `_events`. Labels take their values from fixed sets (a cause enum of the owner, a route's pattern);
//! never a player's or raid's id.

use std::sync::LazyLock;
use std::time::Duration;

use axum::http::{Method, StatusCode};
use metrics::{Counter, Gauge, Histogram, Unit};
use raidhall_protocol::{CloseCode, ErrorType};

use super::{Counters, Gauges, Grid, recorder};

/// Upper bounds of the `_seconds` histograms: from a commit to a local disk up to the longest timeout.
pub(super) const SECONDS: &[f64] =
    &[0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0];

/// Upper bounds of the `_events` histograms: up to the default of `store.batch_events_max`.
pub(super) const EVENTS: &[f64] =
    &[1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1024.0, 2048.0, 4096.0];

const HTTP_REQUEST: &str = "raidhall_http_request_seconds";

/// A handle for every metric, made once: counting is one atomic operation.
pub struct Metrics {
    /// Open WebSockets and streams.
    pub connections: Gauge,
    /// Watches, of all connections.
    pub watches: Gauge,
    /// Raids in memory on this instance.
    pub sessions: Gauge,
    /// Raids that this instance owns.
    pub raids_owned: Gauge,
    /// Raids that this instance came to own; by `cause`.
    pub takeovers: Counters,
    /// Seconds for which the lease still held when it was about to be renewed.
    pub lease_margin: Gauge,
    /// Seconds from a message's publication to its receipt, by the database's clock.
    pub bus_lag: Histogram,
    /// Messages of the bus that were not believed or not understood; by `cause`.
    pub bus_rejected: Counters,
    /// Times an edge read from the store what the bus had not brought; by `cause`.
    pub gaps_repaired: Counters,
    /// Commands forwarded to another instance; by `outcome`.
    pub forwards: Counters,
    /// Bundles of forwarded commands that were sent again.
    pub forward_retries: Counter,
    /// Commands answered; `outcome` is `ack`, `duplicate` or the error's type.
    pub commands: Counters,
    /// Events in one commit.
    pub commit_events: Histogram,
    /// Seconds from handing a batch to the database to its answer, retries included.
    pub commit_seconds: Histogram,
    /// Batches sent again after a passing failure.
    pub commit_retries: Counter,
    /// Raids' batches that the fence refused: another instance owns the raid.
    pub batches_fenced: Counter,
    /// Events committed.
    pub events_committed: Counter,
    /// Batches that wait for a writer.
    pub journal_queue: Gauge,
    /// Frames written to clients.
    pub deliveries: Counter,
    /// Bytes written to clients' WebSockets.
    pub delivered_bytes: Counter,
    /// Backlogs that became one snapshot.
    pub collapses: Counter,
    /// Signals that reached nobody, or not everybody; by `cause`.
    pub signals_dropped: Counters,
    /// Times a client was not read for a while because it sent too much; by `cause`.
    pub excess: Counters,
    /// Upgrades and streams refused because there were too many connections, or too many at once.
    pub upgrades_refused: Counter,
    /// Connections of addresses that have too many.
    pub connections_refused: Counter,
    /// Times no connection was accepted for a while; by `cause`.
    pub accept_rests: Counters,
    /// Batches of traces sent to the collector; by `outcome`. None in a build without traces.
    #[cfg(feature = "otel")]
    pub trace_exports: Counters,
    /// Tries to post webhooks, and those given up; by `outcome`.
    pub webhook_deliveries: Counters,
    /// How long endpoints take.
    pub webhook_seconds: Histogram,
    /// Looks through the raids of a player who is to be forgotten; by `outcome`.
    pub erasures: Counters,
    /// Charges to a rate limit that this instance counted alone, though Redis should have; by `cause`.
    pub limits_local: Counters,
    /// WebSockets and streams that ended; by `cause`.
    pub closes: Counters,
    /// Members that came online or went offline.
    pub presence_changes: Counter,
    /// Sessions that dropped their state to read it again; by `cause`.
    pub session_reloads: Counters,
    /// Rows in the default partition of the ledger; more than none: partitions were made too late.
    pub partition_default_rows: Gauge,
    /// Whether the bus between instances is proven to work: 1 or 0.
    pub bus_proven: Gauge,
    /// Attempts to connect to the bus anew.
    pub bus_reconnects: Counter,
    /// Messages between instances that went nowhere; by `cause`.
    pub bus_dropped: Counters,
    /// Seconds since bans and sign-outs were last read from the store.
    pub revocations_age: Gauge,
    /// Access tokens that opened nothing; by `cause`.
    pub tokens_refused: Counters,
    /// Times an issuer's keys were asked for; by `outcome`.
    pub jwks_fetches: Counters,
    /// Seconds since the keys of the issuer were had that has not given any for the longest time.
    pub jwks_age: Gauge,
    /// What clients of this instance asked for, and what they were told; by `type` and `outcome`.
    pub client_commands: Grid,
    /// Seconds from a client's command to its answer.
    pub command_seconds: Histogram,
    /// Events in the rings of all raids.
    pub ring_events: Gauge,
    /// Bytes in the rings of all raids, by the larger codec.
    pub ring_bytes: Gauge,
    /// Answers, presence and signals that wait for clients.
    pub outbox_messages: Gauge,
    /// Connections to the database with a statement; by `pool`.
    pub store_busy: Gauges,
    /// Connections to the database that there may be; by `pool`.
    pub store_connections_max: Gauges,
    /// Seconds that a statement waited for a connection.
    pub store_wait_seconds: Histogram,
    /// Seconds by which a timer of the runtime was late.
    pub event_loop_lag: Histogram,
    /// Bytes of memory that the process has.
    pub memory: Gauge,
    /// Files that the process has open.
    pub open_files: Gauge,
}

impl Metrics {
    /// One HTTP request: `route` is the pattern that matched (`/api/v1/raids/{id}`), if one did.
    pub fn http_request(&self, method: &Method, route: Option<&str>, status: StatusCode, elapsed: Duration) {
        // Anyone can invent methods and paths: neither may make a new time series.
        let method = match *method {
            Method::GET => "GET",
            Method::HEAD => "HEAD",
            Method::POST => "POST",
            Method::PUT => "PUT",
            Method::PATCH => "PATCH",
            Method::DELETE => "DELETE",
            Method::OPTIONS => "OPTIONS",
            _ => "other",
        };
        let route = route.unwrap_or("unmatched").to_owned();
        let status = status.as_u16().to_string();
        metrics::histogram!(HTTP_REQUEST, "method" => method, "route" => route, "status" => status)
            .record(elapsed);
    }

    /// The declarations: what each metric is called, and what it tells.
    fn declare() -> Self {
        describe_http();
        build_info();
        Self {
            connections: gauge("raidhall_connections", Unit::Count, "Open WebSockets and streams."),
            watches: gauge("raidhall_watches", Unit::Count, "Watches, of all connections."),
            sessions: gauge("raidhall_sessions", Unit::Count, "Raids in memory on this instance."),
            raids_owned: gauge("raidhall_raids_owned", Unit::Count, "Raids that this instance owns."),
            takeovers: counters(
                "raidhall_takeovers_total",
                "cause",
                "Raids that this instance came to own, by cause.",
            ),
            lease_margin: gauge(
                "raidhall_lease_margin_seconds",
                Unit::Seconds,
                "Time for which the lease still held when it was about to be renewed.",
            ),
            bus_lag: histogram(
                "raidhall_bus_lag_seconds",
                Unit::Seconds,
                "Time from a message's publication on the bus to its receipt, by the database's clock.",
            ),
            bus_rejected: counters(
                "raidhall_bus_rejected_total",
                "cause",
                "Messages of the bus that were not believed or not understood, by cause.",
            ),
            gaps_repaired: counters(
                "raidhall_gaps_repaired_total",
                "cause",
                "Times what the bus had not brought was read from the store, by cause.",
            ),
            forwards: counters(
                "raidhall_forwards_total",
                "outcome",
                "Commands forwarded to the raid's owner, by outcome.",
            ),
            forward_retries: counter(
                "raidhall_forward_retries_total",
                Unit::Count,
                "Bundles of forwarded commands that were sent again for want of an answer.",
            ),
            commands: counters("raidhall_commands_total", "outcome", "Commands answered, by outcome."),
            commit_events: histogram("raidhall_commit_events", Unit::Count, "Events in one commit."),
            commit_seconds: histogram(
                "raidhall_commit_seconds",
                Unit::Seconds,
                "Time from handing a batch to the database to its answer, retries included.",
            ),
            commit_retries: counter(
                "raidhall_commit_retries_total",
                Unit::Count,
                "Batches sent again after a passing failure.",
            ),
            batches_fenced: counter(
                "raidhall_batches_fenced_total",
                Unit::Count,
                "Raids' batches refused by the fence, because another instance owns the raid.",
            ),
            events_committed: counter("raidhall_events_committed_total", Unit::Count, "Events committed."),
            journal_queue: gauge("raidhall_journal_queue", Unit::Count, "Batches that wait for a writer."),
            deliveries: counter("raidhall_deliveries_total", Unit::Count, "Frames written to clients."),
            delivered_bytes: counter(
                "raidhall_delivered_bytes_total",
                Unit::Bytes,
                "Bytes written to clients' WebSockets.",
            ),
            collapses: counter(
                "raidhall_collapses_total",
                Unit::Count,
                "Backlogs of slow clients that became one snapshot.",
            ),
            signals_dropped: counters(
                "raidhall_signals_dropped_total",
                "cause",
                "Signals that did not reach everybody, by cause.",
            ),
            excess: counters(
                "raidhall_excess_total",
                "cause",
                "Times a client was not read for a while because it sent too many frames or bytes, by cause.",
            ),
            connections_refused: counter(
                "raidhall_connections_refused_total",
                Unit::Count,
                "Connections that were hung up on: their address has as many as it may.",
            ),
            upgrades_refused: counter(
                "raidhall_upgrades_refused_total",
                Unit::Count,
                "WebSockets and streams refused with 503: too many were open, or too many came at once.",
            ),
            accept_rests: counters(
                "raidhall_accept_rests_total",
                "cause",
                "Times no connection was accepted for a while: all seats taken, or accepting failed, by cause.",
            ),
            #[cfg(feature = "otel")]
            trace_exports: counters(
                "raidhall_trace_exports_total",
                "outcome",
                "Batches of traces sent to the collector, by outcome (accepted, failed).",
            ),
            webhook_deliveries: counters(
                "raidhall_webhook_deliveries_total",
                "outcome",
                "Tries to post webhooks, by outcome (delivered, failed, gone), and deliveries that are given up (dead).",
            ),
            webhook_seconds: histogram(
                "raidhall_webhook_seconds",
                Unit::Seconds,
                "Time to post a webhook and get an answer.",
            ),
            erasures: counters(
                "raidhall_erasures_total",
                "outcome",
                "Looks through the raids of a player who is to be forgotten, by outcome: settling (all done, but to be \
                 looked through once more), ended, incomplete (to be tried again).",
            ),
            limits_local: counters(
                "raidhall_limits_local_total",
                "cause",
                "Requests counted by this instance alone because Redis could not be asked, by cause.",
            ),
            closes: counters(
                "raidhall_closes_total",
                "cause",
                "WebSockets and streams that ended, by cause.",
            ),
            presence_changes: counter(
                "raidhall_presence_changes_total",
                Unit::Count,
                "Members that came online or went offline.",
            ),
            session_reloads: counters(
                "raidhall_session_reloads_total",
                "cause",
                "Sessions that dropped their state to read it again, by cause.",
            ),
            partition_default_rows: gauge(
                "raidhall_partition_default_rows",
                Unit::Count,
                "Rows in the ledger's default partition: more than none means partitions were made too late.",
            ),
            bus_proven: gauge(
                "raidhall_bus_proven",
                Unit::Count,
                "Whether the bus between instances is proven to work: 1 or 0.",
            ),
            bus_reconnects: counter(
                "raidhall_bus_reconnects_total",
                Unit::Count,
                "Attempts to connect to the bus between instances anew.",
            ),
            bus_dropped: counters(
                "raidhall_bus_dropped_total",
                "cause",
                "Messages between instances that were dropped, by cause.",
            ),
            tokens_refused: counters(
                "raidhall_tokens_refused_total",
                "cause",
                "Access tokens that opened nothing, by cause.",
            ),
            jwks_fetches: counters(
                "raidhall_jwks_fetches_total",
                "outcome",
                "Times the keys of a foreign issuer were asked for, by outcome.",
            ),
            jwks_age: gauge(
                "raidhall_jwks_age_seconds",
                Unit::Seconds,
                "Time since the keys of a foreign issuer were last had, the longest if there are several.",
            ),
            revocations_age: gauge(
                "raidhall_revocations_age_seconds",
                Unit::Seconds,
                "Time since bans and sign-outs were last read from the store.",
            ),
            client_commands: grid(
                "raidhall_client_commands_total",
                ["type", "outcome"],
                "Commands of clients of this instance, by type and outcome.",
            ),
            command_seconds: histogram(
                "raidhall_command_seconds",
                Unit::Seconds,
                "Time from a client's command to its answer.",
            ),
            ring_events: gauge("raidhall_ring_events", Unit::Count, "Events in the rings of all raids."),
            ring_bytes: gauge("raidhall_ring_bytes", Unit::Bytes, "Bytes in the rings of all raids."),
            outbox_messages: gauge(
                "raidhall_outbox_messages",
                Unit::Count,
                "Answers, presence and signals that wait for clients.",
            ),
            store_busy: gauges(
                "raidhall_store_busy",
                "pool",
                "Connections to the database that have a statement, by pool.",
            ),
            store_connections_max: gauges(
                "raidhall_store_connections_max",
                "pool",
                "Connections to the database that there may be, by pool.",
            ),
            store_wait_seconds: histogram(
                "raidhall_store_wait_seconds",
                Unit::Seconds,
                "Time that a statement waited for a connection to the database.",
            ),
            event_loop_lag: histogram(
                "raidhall_event_loop_lag_seconds",
                Unit::Seconds,
                "Time by which a timer of the runtime was late: the tasks before it took so long.",
            ),
            memory: gauge("process_resident_memory_bytes", Unit::Bytes, "Memory that the process has."),
            open_files: gauge(
                "process_open_fds",
                Unit::Count,
                "Files and sockets that the process has open.",
            ),
        }
    }
}

/// What the labels of counters may be, where an alert asks how much one has grown: a series that begins with 1 has not
/// grown in Prometheus's eyes, and its first panic would go unnoticed.
const CAUSES_OF_TAKEOVERS: [&str; 4] = ["lapsed", "needed", "released", "reload"];
const CAUSES_OF_REJECTION: [&str; 4] = ["seal", "malformed", "old", "newer"];
const OUTCOMES_OF_FORWARDS: [&str; 4] = ["ack", "refused", "again", "expired"];
const CAUSES_OF_DROPS: [&str; 6] =
    ["queue_full", "down", "live_pressure", "incoming_full", "too_large", "bad_channel"];
const CAUSES_OF_REPAIRS: [&str; 4] = ["gap", "head", "lost", "ack"];
const CAUSES_OF_LOST_SIGNALS: [&str; 3] = ["replaced", "overflow", "not_live"];

impl Metrics {
    fn begin_at_zero(&self) {
        let errors = ErrorType::ALL.map(ErrorType::as_str);
        let closes = CloseCode::ALL.map(CloseCode::as_str);
        let families: [(&Counters, &[&'static str]); 11] = [
            (&self.takeovers, &CAUSES_OF_TAKEOVERS),
            (&self.bus_rejected, &CAUSES_OF_REJECTION),
            (&self.forwards, &OUTCOMES_OF_FORWARDS),
            (&self.bus_dropped, &CAUSES_OF_DROPS),
            (&self.gaps_repaired, &CAUSES_OF_REPAIRS),
            (&self.signals_dropped, &CAUSES_OF_LOST_SIGNALS),
            (&self.session_reloads, &["panic", "lease"]),
            (&self.commands, &errors),
            (&self.closes, &closes),
            (&self.webhook_deliveries, &["delivered", "failed", "gone", "dead"]),
            (&self.erasures, &["settling", "ended", "incomplete"]),
        ];
        for (family, values) in families {
            values.iter().for_each(|value| drop(family.of(value)));
        }
        ["committed", "duplicate"].iter().for_each(|value| drop(self.commands.of(value)));
        drop(self.closes.of("gone"));
    }
}

/// The process's metrics. Several servers in one process, as tests have them, share them.
pub fn metrics() -> &'static Metrics {
    static METRICS: LazyLock<Metrics> = LazyLock::new(|| {
        recorder::install();
        let metrics = Metrics::declare();
        metrics.begin_at_zero();
        metrics
    });
    &METRICS
}

fn describe_http() {
    let help = "Time to answer HTTP requests, by method, route and status.";
    metrics::describe_histogram!(HTTP_REQUEST, Unit::Seconds, help);
}

fn build_info() {
    let name = "raidhall_build_info";
    metrics::describe_gauge!(name, Unit::Count, "Always 1; the label tells the version that runs.");
    metrics::gauge!(name, "version" => env!("CARGO_PKG_VERSION")).set(1);
}

fn counter(name: &'static str, unit: Unit, help: &'static str) -> Counter {
    metrics::describe_counter!(name, unit, help);
    metrics::counter!(name)
}

fn counters(name: &'static str, label: &'static str, help: &'static str) -> Counters {
    metrics::describe_counter!(name, Unit::Count, help);
    Counters::new(name, label)
}

fn grid(name: &'static str, labels: [&'static str; 2], help: &'static str) -> Grid {
    metrics::describe_counter!(name, Unit::Count, help);
    Grid::new(name, labels)
}

fn gauges(name: &'static str, label: &'static str, help: &'static str) -> Gauges {
    metrics::describe_gauge!(name, Unit::Count, help);
    Gauges::new(name, label)
}

fn gauge(name: &'static str, unit: Unit, help: &'static str) -> Gauge {
    metrics::describe_gauge!(name, unit, help);
    metrics::gauge!(name)
}

fn histogram(name: &'static str, unit: Unit, help: &'static str) -> Histogram {
    metrics::describe_histogram!(name, unit, help);
    metrics::histogram!(name)
}

#[cfg(test)]
mod tests {
    use super::super::render;
    use super::*;

    /// The metrics belong to the process, so other tests count in them too: values are checked only under labels
    /// that no other test uses.
    #[test]
    fn metrics_are_rendered_with_their_help_labels_and_buckets() {
        let all = metrics();
        for family in
            [&all.commands, &all.closes, &all.signals_dropped, &all.session_reloads, &all.bus_dropped]
        {
            family.increment("a_test");
            family.of("a_test").increment(1);
        }
        all.commit_seconds.record(Duration::from_millis(3));
        all.commit_events.record(12);
        let invented = Method::from_bytes(b"BREW").expect("a valid method");
        all.http_request(&Method::GET, Some("/test/{id}"), StatusCode::OK, Duration::from_millis(7));
        all.http_request(&invented, None, StatusCode::IM_A_TEAPOT, Duration::from_millis(7));

        let page = render();
        for begins in [
            "# HELP raidhall_connections Open WebSockets and streams.",
            "# TYPE raidhall_connections gauge",
            "# TYPE raidhall_commit_seconds histogram",
            "# TYPE raidhall_commit_events histogram",
            "# TYPE raidhall_http_request_seconds histogram",
            "raidhall_commands_total{outcome=\"a_test\"} 2",
            "raidhall_closes_total{cause=\"a_test\"} 2",
            "raidhall_signals_dropped_total{cause=\"a_test\"} 2",
            "raidhall_session_reloads_total{cause=\"a_test\"} 2",
            "raidhall_commit_seconds_bucket{le=\"0.0005\"} ",
            "raidhall_commit_events_bucket{le=\"4096\"} ",
            "raidhall_http_request_seconds_count{method=\"GET\",route=\"/test/{id}\",status=\"200\"} 1",
            "raidhall_http_request_seconds_count{method=\"other\",route=\"unmatched\",status=\"418\"} 1",
            concat!("raidhall_build_info{version=\"", env!("CARGO_PKG_VERSION"), "\"} 1"),
            "raidhall_events_committed_total ",
            "raidhall_partition_default_rows ",
            "# TYPE raidhall_bus_proven gauge",
            "raidhall_bus_reconnects_total ",
            "raidhall_bus_dropped_total{cause=\"a_test\"} 2",
        ] {
            assert!(page.lines().any(|line| line.starts_with(begins)), "no line begins {begins} in\n{page}");
        }
    }
}
