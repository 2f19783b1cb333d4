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

use super::{CounterFamily, GaugeFamily, TwoLabelCounterFamily, recorder};

/// Upper bounds of the `_seconds` histograms: from a commit to a local disk up to the longest timeout.
pub(super) const SECONDS_BUCKETS: &[f64] = &[
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0,
];

/// Upper bounds of the `_events` histograms: up to the default of `store.batch_events_max`.
pub(super) const EVENTS_BUCKETS: &[f64] = &[
    1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1024.0, 2048.0, 4096.0,
];

const HTTP_REQUEST_SECONDS: &str = "raidhall_http_request_seconds";

/// Makes [`Metrics`] and what declares them: a field's documentation is the metric's help.
macro_rules! declare {
    ($(
        $(#[doc = $help:literal])+
        $(#[cfg($built:meta)])?
        $field:ident: $kind:ty = $make:ident($name:literal, $labels_or_unit:expr),
    )+) => {
        /// A handle for every metric, made once: counting is one atomic operation.
        pub struct Metrics {
            $($(#[doc = $help])+ $(#[cfg($built)])? pub $field: $kind,)+
        }

        impl Metrics {
            fn declare() -> Self {
                Self {
                    $($(#[cfg($built)])? $field: $make($name, $labels_or_unit, concat!($($help),+).trim_start()),)+
                }
            }
        }
    };
}

declare! {
    /// Open WebSockets and streams.
    connections: Gauge = gauge("raidhall_connections", Unit::Count),
    /// Watches, of all connections.
    watches: Gauge = gauge("raidhall_watches", Unit::Count),
    /// Raids in memory on this instance.
    sessions: Gauge = gauge("raidhall_sessions", Unit::Count),
    /// Raids that this instance owns.
    raids_owned: Gauge = gauge("raidhall_raids_owned", Unit::Count),
    /// Raids that this instance came to own, by cause.
    takeovers: CounterFamily = counter_family("raidhall_takeovers_total", "cause"),
    /// Time for which the lease still held when it was about to be renewed.
    lease_margin: Gauge = gauge("raidhall_lease_margin_seconds", Unit::Seconds),
    /// Time from a message's publication on the bus to its receipt, by the database's clock.
    bus_lag: Histogram = histogram("raidhall_bus_lag_seconds", Unit::Seconds),
    /// Messages of the bus that were not believed or not understood, by cause.
    bus_rejected: CounterFamily = counter_family("raidhall_bus_rejected_total", "cause"),
    /// Times what the bus had not brought was read from the store, by cause.
    gaps_repaired: CounterFamily = counter_family("raidhall_gaps_repaired_total", "cause"),
    /// Commands forwarded to the raid's owner, by outcome.
    forwards: CounterFamily = counter_family("raidhall_forwards_total", "outcome"),
    /// Bundles of forwarded commands that were sent again for want of an answer.
    forward_retries: Counter = counter("raidhall_forward_retries_total", Unit::Count),
    /// Commands answered, by outcome.
    commands: CounterFamily = counter_family("raidhall_commands_total", "outcome"),
    /// Events in one commit.
    commit_events: Histogram = histogram("raidhall_commit_events", Unit::Count),
    /// Time from handing a batch to the database to its answer, retries included.
    commit_seconds: Histogram = histogram("raidhall_commit_seconds", Unit::Seconds),
    /// Batches sent again after a passing failure.
    commit_retries: Counter = counter("raidhall_commit_retries_total", Unit::Count),
    /// Raids' batches refused by the fence, because another instance owns the raid.
    batches_fenced: Counter = counter("raidhall_batches_fenced_total", Unit::Count),
    /// Events committed.
    events_committed: Counter = counter("raidhall_events_committed_total", Unit::Count),
    /// Batches that wait for a writer.
    journal_queue: Gauge = gauge("raidhall_journal_queue", Unit::Count),
    /// Frames written to clients.
    deliveries: Counter = counter("raidhall_deliveries_total", Unit::Count),
    /// Bytes written to clients' WebSockets.
    delivered_bytes: Counter = counter("raidhall_delivered_bytes_total", Unit::Bytes),
    /// Backlogs of slow clients that became one snapshot.
    collapses: Counter = counter("raidhall_collapses_total", Unit::Count),
    /// Signals that did not reach everybody, by cause.
    signals_dropped: CounterFamily = counter_family("raidhall_signals_dropped_total", "cause"),
    /// Times a client was not read for a while because it sent too many frames or bytes, by cause.
    excess: CounterFamily = counter_family("raidhall_excess_total", "cause"),
    /// WebSockets and streams refused with 503: too many were open, or too many came at once.
    upgrades_refused: Counter = counter("raidhall_upgrades_refused_total", Unit::Count),
    /// Connections that were hung up on: their address has as many as it may.
    connections_refused: Counter = counter("raidhall_connections_refused_total", Unit::Count),
    /// Times no connection was accepted for a while: all seats taken, or accepting failed, by cause.
    accept_rests: CounterFamily = counter_family("raidhall_accept_rests_total", "cause"),
    /// Batches of traces sent to the collector, by outcome (accepted, failed).
    #[cfg(feature = "otel")]
    trace_exports: CounterFamily = counter_family("raidhall_trace_exports_total", "outcome"),
    /// Tries to post webhooks, by outcome (delivered, failed, gone), and deliveries that are given up (dead).
    webhook_deliveries: CounterFamily = counter_family("raidhall_webhook_deliveries_total", "outcome"),
    /// Time to post a webhook and get an answer.
    webhook_seconds: Histogram = histogram("raidhall_webhook_seconds", Unit::Seconds),
    /// Looks through the raids of a player who is to be forgotten, by outcome: settling (all done, but to be looked
    /// through once more), ended, incomplete (to be tried again).
    erasures: CounterFamily = counter_family("raidhall_erasures_total", "outcome"),
    /// Requests counted by this instance alone because Redis could not be asked, by cause.
    limits_local: CounterFamily = counter_family("raidhall_limits_local_total", "cause"),
    /// WebSockets and streams that ended, by cause.
    closes: CounterFamily = counter_family("raidhall_closes_total", "cause"),
    /// Members that came online or went offline.
    presence_changes: Counter = counter("raidhall_presence_changes_total", Unit::Count),
    /// Sessions that dropped their state to read it again, by cause.
    session_reloads: CounterFamily = counter_family("raidhall_session_reloads_total", "cause"),
    /// Rows in the ledger's default partition: more than none means partitions were made too late.
    partition_default_rows: Gauge = gauge("raidhall_partition_default_rows", Unit::Count),
    /// Whether the bus between instances is proven to work: 1 or 0.
    bus_proven: Gauge = gauge("raidhall_bus_proven", Unit::Count),
    /// Attempts to connect to the bus between instances anew.
    bus_reconnects: Counter = counter("raidhall_bus_reconnects_total", Unit::Count),
    /// Messages between instances that were dropped, by cause.
    bus_dropped: CounterFamily = counter_family("raidhall_bus_dropped_total", "cause"),
    /// Time since bans and sign-outs were last read from the store.
    revocations_age: Gauge = gauge("raidhall_revocations_age_seconds", Unit::Seconds),
    /// Access tokens that opened nothing, by cause.
    tokens_refused: CounterFamily = counter_family("raidhall_tokens_refused_total", "cause"),
    /// Times the keys of a foreign issuer were asked for, by outcome.
    jwks_fetches: CounterFamily = counter_family("raidhall_jwks_fetches_total", "outcome"),
    /// Time since the keys of a foreign issuer were last had, the longest if there are several.
    jwks_age: Gauge = gauge("raidhall_jwks_age_seconds", Unit::Seconds),
    /// Commands of clients of this instance, by type and outcome.
    client_commands: TwoLabelCounterFamily = two_label_counter_family("raidhall_client_commands_total", ["type", "outcome"]),
    /// Time from a client's command to its answer.
    command_seconds: Histogram = histogram("raidhall_command_seconds", Unit::Seconds),
    /// Events in the rings of all raids.
    ring_events: Gauge = gauge("raidhall_ring_events", Unit::Count),
    /// Bytes in the rings of all raids.
    ring_bytes: Gauge = gauge("raidhall_ring_bytes", Unit::Bytes),
    /// Answers, presence and signals that wait for clients.
    outbox_messages: Gauge = gauge("raidhall_outbox_messages", Unit::Count),
    /// Connections to the database that have a statement, by pool.
    store_busy: GaugeFamily = gauge_family("raidhall_store_busy", "pool"),
    /// Connections to the database that there may be, by pool.
    store_connections_max: GaugeFamily = gauge_family("raidhall_store_connections_max", "pool"),
    /// Time that a statement waited for a connection to the database.
    store_wait_seconds: Histogram = histogram("raidhall_store_wait_seconds", Unit::Seconds),
    /// Time by which a timer of the runtime was late: the tasks before it took so long.
    event_loop_lag: Histogram = histogram("raidhall_event_loop_lag_seconds", Unit::Seconds),
    /// Memory that the process has.
    memory: Gauge = gauge("process_resident_memory_bytes", Unit::Bytes),
    /// Files and sockets that the process has open.
    open_files: Gauge = gauge("process_open_fds", Unit::Count),
}

impl Metrics {
    /// One HTTP request: `route` is the pattern that matched (`/api/v1/raids/{id}`), if one did.
    pub fn record_http_request(
        &self,
        method: &Method,
        route: Option<&str>,
        status: StatusCode,
        elapsed: Duration,
    ) {
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
        metrics::histogram!(HTTP_REQUEST_SECONDS, "method" => method, "route" => route, "status" => status)
            .record(elapsed);
    }
}

/// What the labels of counters may be, where an alert asks how much one has grown: a series that begins with 1 has not
/// grown in Prometheus's eyes, and its first panic would go unnoticed.
const TAKEOVER_CAUSES: [&str; 4] = ["lapsed", "needed", "released", "reload"];
const BUS_REJECTION_CAUSES: [&str; 4] = ["seal", "malformed", "old", "newer"];
const FORWARD_OUTCOMES: [&str; 4] = ["ack", "refused", "again", "expired"];
const BUS_DROP_CAUSES: [&str; 6] = [
    "queue_full",
    "down",
    "live_pressure",
    "incoming_full",
    "too_large",
    "bad_channel",
];
const GAP_REPAIR_CAUSES: [&str; 4] = ["gap", "head", "lost", "ack"];
const SIGNAL_DROP_CAUSES: [&str; 3] = ["replaced", "overflow", "not_live"];

impl Metrics {
    fn create_series_at_zero(&self) {
        let errors = ErrorType::ALL.map(ErrorType::as_str);
        let closes = CloseCode::ALL.map(CloseCode::as_str);
        let families: [(&CounterFamily, &[&'static str]); 11] = [
            (&self.takeovers, &TAKEOVER_CAUSES),
            (&self.bus_rejected, &BUS_REJECTION_CAUSES),
            (&self.forwards, &FORWARD_OUTCOMES),
            (&self.bus_dropped, &BUS_DROP_CAUSES),
            (&self.gaps_repaired, &GAP_REPAIR_CAUSES),
            (&self.signals_dropped, &SIGNAL_DROP_CAUSES),
            (&self.session_reloads, &["panic", "lease"]),
            (&self.commands, &errors),
            (&self.closes, &closes),
            (
                &self.webhook_deliveries,
                &["delivered", "failed", "gone", "dead"],
            ),
            (&self.erasures, &["settling", "ended", "incomplete"]),
        ];
        for (family, values) in families {
            values
                .iter()
                .for_each(|value| drop(family.with_label(value)));
        }
        ["committed", "duplicate"]
            .iter()
            .for_each(|value| drop(self.commands.with_label(value)));
        drop(self.closes.with_label("gone"));
    }
}

/// The process's metrics. Several servers in one process, as tests have them, share them.
pub fn metrics() -> &'static Metrics {
    static METRICS: LazyLock<Metrics> = LazyLock::new(|| {
        recorder::install_recorder();
        describe_http();
        record_build_info();
        let metrics = Metrics::declare();
        metrics.create_series_at_zero();
        metrics
    });
    &METRICS
}

fn describe_http() {
    let help = "Time to answer HTTP requests, by method, route and status.";
    metrics::describe_histogram!(HTTP_REQUEST_SECONDS, Unit::Seconds, help);
}

fn record_build_info() {
    let name = "raidhall_build_info";
    metrics::describe_gauge!(
        name,
        Unit::Count,
        "Always 1; the label tells the version that runs."
    );
    metrics::gauge!(name, "version" => env!("CARGO_PKG_VERSION")).set(1);
}

fn counter(name: &'static str, unit: Unit, help: &'static str) -> Counter {
    metrics::describe_counter!(name, unit, help);
    metrics::counter!(name)
}

fn counter_family(name: &'static str, label: &'static str, help: &'static str) -> CounterFamily {
    metrics::describe_counter!(name, Unit::Count, help);
    CounterFamily::new(name, label)
}

fn two_label_counter_family(
    name: &'static str,
    labels: [&'static str; 2],
    help: &'static str,
) -> TwoLabelCounterFamily {
    metrics::describe_counter!(name, Unit::Count, help);
    TwoLabelCounterFamily::new(name, labels)
}

fn gauge_family(name: &'static str, label: &'static str, help: &'static str) -> GaugeFamily {
    metrics::describe_gauge!(name, Unit::Count, help);
    GaugeFamily::new(name, label)
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
    use super::super::render_metrics;
    use super::*;

    /// The metrics belong to the process, so other tests count in them too: values are checked only under labels
    /// that no other test uses.
    #[test]
    fn metrics_are_rendered_with_their_help_labels_and_buckets() {
        let all = metrics();
        for family in [
            &all.commands,
            &all.closes,
            &all.signals_dropped,
            &all.session_reloads,
            &all.bus_dropped,
        ] {
            family.increment("a_test");
            family.with_label("a_test").increment(1);
        }
        all.commit_seconds.record(Duration::from_millis(3));
        all.commit_events.record(12);
        let invented = Method::from_bytes(b"BREW").expect("a valid method");
        all.record_http_request(
            &Method::GET,
            Some("/test/{id}"),
            StatusCode::OK,
            Duration::from_millis(7),
        );
        all.record_http_request(
            &invented,
            None,
            StatusCode::IM_A_TEAPOT,
            Duration::from_millis(7),
        );

        let page = render_metrics();
        for begins in [
            "# HELP raidhall_connections Open WebSockets and streams.",
            "# TYPE raidhall_connections gauge",
            "# HELP raidhall_erasures_total Looks through the raids of a player who is to be forgotten, by outcome: \
             settling (all done, but to be looked through once more), ended, incomplete (to be tried again).",
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
            concat!(
                "raidhall_build_info{version=\"",
                env!("CARGO_PKG_VERSION"),
                "\"} 1"
            ),
            "raidhall_events_committed_total ",
            "raidhall_partition_default_rows ",
            "# TYPE raidhall_bus_proven gauge",
            "raidhall_bus_reconnects_total ",
            "raidhall_bus_dropped_total{cause=\"a_test\"} 2",
        ] {
            assert!(
                page.lines().any(|line| line.starts_with(begins)),
                "no line begins {begins} in\n{page}"
            );
        }
    }
}
