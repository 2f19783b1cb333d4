//! All metrics: names, units, labels and help texts, and the handles that count them.
//!
//! Names follow Prometheus: a unit at the end, `_total` for counters. A histogram's buckets follow from its unit:
//! `_seconds` or `_events`. Labels take their values from closed sets ([`super::labels`]) or from route patterns, never
//! from ids.

use std::sync::LazyLock;
use std::time::Duration;

use axum::http::{Method, StatusCode};
use metrics::{Counter, Gauge, Histogram, Unit};

use super::labels::{
    AcceptPauseCause, BusDropCause, BusRejectionCause, CloseCause, CommandOutcome, ErasureOutcome,
    ExcessKind, ForwardOutcome, JwksFetchOutcome, LocalLimitCause, ReloadCause, RepairCause,
    SignalDropCause, StorePool, TakeoverCause, TokenRefusal, TraceExportOutcome, WebhookOutcome,
};
use super::metric_family::{CounterFamily, GaugeFamily, Metric, TwoLabelCounterFamily};
use super::recorder;

/// Upper bounds of the `_seconds` histograms: from a commit to a local disk up to the longest timeout.
pub(super) const SECONDS_BUCKETS: &[f64] = &[
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0,
];

/// Upper bounds of the `_events` histograms: up to the default of `store.batch_events_max`.
pub(super) const EVENTS_BUCKETS: &[f64] = &[
    1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1024.0, 2048.0, 4096.0,
];

const HTTP_REQUEST_SECONDS: &str = "raidhall_http_request_seconds";
const HTTP_REQUEST_SECONDS_HELP: &str = "Time from an HTTP request to its response.";
const BUILD_INFO: &str = "raidhall_build_info";
const BUILD_INFO_HELP: &str = "The running release; two of them during a rolling deploy. Always 1.";

/// Declares [`Metrics`] and creates them. A field's doc is the metric's help and its text in `docs/METRICS.md`.
macro_rules! declare {
    ($(
        $(#[doc = $help:literal])+
        $field:ident: $kind:ty = ($name:literal, $spec:expr),
    )+) => {
        /// Handles of all metrics, created once: counting is one atomic operation.
        pub struct Metrics {
            $($(#[doc = $help])+ pub $field: $kind,)+
        }

        impl Metrics {
            fn create() -> Self {
                Self {
                    $($field: Metric::create($name, $spec, concat!($($help),+).trim_ascii_start()),)+
                }
            }

            /// The metrics as `docs/METRICS.md` lists them.
            #[cfg(test)]
            pub(super) fn descriptions() -> Vec<MetricDescription> {
                vec![
                    MetricDescription {
                        name: BUILD_INFO,
                        kind: "gauge",
                        help: BUILD_INFO_HELP,
                        labels: vec!["version"],
                        values: Vec::new(),
                    },
                    MetricDescription {
                        name: HTTP_REQUEST_SECONDS,
                        kind: "histogram",
                        help: HTTP_REQUEST_SECONDS_HELP,
                        labels: vec!["method", "route", "status"],
                        values: Vec::new(),
                    },
                    $(MetricDescription {
                        name: $name,
                        kind: <$kind as Metric>::KIND,
                        help: concat!($($help),+).trim_ascii_start(),
                        labels: <$kind as Metric>::labels($spec),
                        values: <$kind as Metric>::values(),
                    },)+
                ]
            }
        }
    };
}

declare! {
    /// Open WebSockets and event streams.
    connections: Gauge = ("raidhall_connections", Unit::Count),
    /// Raids that connections watch, summed over all connections.
    watches: Gauge = ("raidhall_watches", Unit::Count),
    /// Connections that watch their player's own stream.
    player_watches: Gauge = ("raidhall_player_watches", Unit::Count),
    /// Events that this instance, as the projector, added to players' streams.
    projected_events: Counter = ("raidhall_projected_events_total", Unit::Count),
    /// Events of raids whose effect on a player's stream failed and waits for another attempt. Set by the projector; 0 elsewhere.
    projector_faults: Gauge = ("raidhall_projector_faults", Unit::Count),
    /// Age of the oldest event of a raid that the projector has not projected yet. Set by the projector; 0 elsewhere.
    projector_lag: Gauge = ("raidhall_projector_lag_seconds", Unit::Seconds),
    /// Attempts to project that stopped at an event in a form that only a newer release reads.
    projector_newer: Counter = ("raidhall_projector_newer_total", Unit::Count),
    /// Raids in memory on this instance.
    sessions: Gauge = ("raidhall_sessions", Unit::Count),
    /// Raids that this instance owns. Summed over all instances: the raids that are in memory somewhere.
    raids_owned: Gauge = ("raidhall_raids_owned", Unit::Count),
    /// Raids whose ownership this instance acquired.
    takeovers: CounterFamily<TakeoverCause> = ("raidhall_takeovers_total", "cause"),
    /// How long the feed has stood still behind a transaction that stays open. Webhooks, bans and sign-outs wait as long. 0 with SQLite.
    feed_delay: Gauge = ("raidhall_feed_delay_seconds", Unit::Seconds),
    /// Bytes that the database takes.
    database_bytes: Gauge = ("raidhall_database_bytes", Unit::Bytes),
    /// Bytes that are free on the volume of a SQLite database.
    disk_free_bytes: Gauge = ("raidhall_disk_free_bytes", Unit::Bytes),
    /// 1 while the database's space is low, and new raids and guests are refused.
    space_low: Gauge = ("raidhall_space_low", Unit::Count),
    /// How far the database's clock is ahead of the time that the instance serves, at the latest renewal of the lease. Normally near 0. A jump counts only once readings over 10 s agree; after a jump back the value is negative until time, at half speed, is right again.
    database_clock_difference: Gauge = ("raidhall_database_clock_difference_seconds", Unit::Seconds),
    /// Remaining time of the lease when its renewal began. Normally `lease.ttl_ms` − 500 ms − `lease.renew_ms`: 1.5 s. At 0 the instance has stopped serving its raids.
    lease_margin: Gauge = ("raidhall_lease_margin_seconds", Unit::Seconds),
    /// Time from a message's publication on the bus to its receipt by another instance, by the database's clock.
    bus_lag: Histogram = ("raidhall_bus_lag_seconds", Unit::Seconds),
    /// Bus messages that were received and rejected.
    bus_rejected: CounterFamily<BusRejectionCause> = ("raidhall_bus_rejected_total", "cause"),
    /// Reads from the store for events that the bus had not brought.
    gaps_repaired: CounterFamily<RepairCause> = ("raidhall_gaps_repaired_total", "cause"),
    /// Commands that arrived at an instance that does not own their raid.
    forwards: CounterFamily<ForwardOutcome> = ("raidhall_forwards_total", "outcome"),
    /// Batches of forwarded commands that were sent again because no answer came.
    forward_retries: Counter = ("raidhall_forward_retries_total", Unit::Count),
    /// Commands answered by raids that this instance owns.
    commands: CounterFamily<CommandOutcome> = ("raidhall_commands_total", "outcome"),
    /// Number of events in a commit.
    commit_events: Histogram = ("raidhall_commit_events", Unit::Count),
    /// Time from handing a batch to the database to its answer, retries included.
    commit_seconds: Histogram = ("raidhall_commit_seconds", Unit::Seconds),
    /// Batches that were sent to the database again after a transient failure.
    commit_retries: Counter = ("raidhall_commit_retries_total", Unit::Count),
    /// Commits refused because another instance owns the raid. Each was a stale owner that did no harm.
    batches_fenced: Counter = ("raidhall_batches_fenced_total", Unit::Count),
    /// Events committed by this instance.
    events_committed: Counter = ("raidhall_events_committed_total", Unit::Count),
    /// Batches that wait for a writer.
    journal_queue: Gauge = ("raidhall_journal_queue", Unit::Count),
    /// Frames written to clients.
    deliveries: Counter = ("raidhall_deliveries_total", Unit::Count),
    /// Bytes written to clients.
    delivered_bytes: Counter = ("raidhall_delivered_bytes_total", Unit::Bytes),
    /// Backlogs of slow clients that were replaced by one snapshot.
    collapses: Counter = ("raidhall_collapses_total", Unit::Count),
    /// Signals that did not reach a watcher.
    signals_dropped: CounterFamily<SignalDropCause> = ("raidhall_signals_dropped_total", "cause"),
    /// Pauses in reading from a client that sent too much.
    excess: CounterFamily<ExcessKind> = ("raidhall_excess_total", "cause"),
    /// WebSockets and event streams refused with 503: `limits.connections` or a related limit was reached, or more than `limits.handshakes_per_second` came at once.
    upgrades_refused: Counter = ("raidhall_upgrades_refused_total", Unit::Count),
    /// TCP connections closed with 503 because their address had reached its limit: twice `limits.connections_per_address`, plus 64.
    connections_refused: Counter = ("raidhall_connections_refused_total", Unit::Count),
    /// Pauses in accepting connections. Raise the limit of open files.
    accept_rests: CounterFamily<AcceptPauseCause> = ("raidhall_accept_rests_total", "cause"),
    /// Batches of traces sent to the collector. Stays at 0 in a build without the `otel` feature.
    trace_exports: CounterFamily<TraceExportOutcome> = ("raidhall_trace_exports_total", "outcome"),
    /// Attempts to deliver webhooks, and deliveries that were given up.
    webhook_deliveries: CounterFamily<WebhookOutcome> = ("raidhall_webhook_deliveries_total", "outcome"),
    /// Time from posting a webhook to the endpoint's response.
    webhook_seconds: Histogram = ("raidhall_webhook_seconds", Unit::Seconds),
    /// Attempts to deliver webhooks that stopped at an event in a form that only a newer release reads.
    webhooks_newer: Counter = ("raidhall_webhooks_newer_total", Unit::Count),
    /// Log lines that were lost because standard error could not be written, or not fast enough.
    log_lines_lost: Counter = ("raidhall_log_lines_lost_total", Unit::Count),
    /// Warnings and errors left out of the log because the same place in the code had logged 20 within 10 s.
    log_lines_repeated: Counter = ("raidhall_log_lines_repeated_total", Unit::Count),
    /// Passes over the raids of players who are being erased.
    erasures: CounterFamily<ErasureOutcome> = ("raidhall_erasures_total", "outcome"),
    /// Rate limits that this instance counted alone because Redis was not available.
    limits_local: CounterFamily<LocalLimitCause> = ("raidhall_limits_local_total", "cause"),
    /// WebSockets and event streams that ended.
    closes: CounterFamily<CloseCause> = ("raidhall_closes_total", "cause"),
    /// Members that came online or went offline.
    presence_changes: Counter = ("raidhall_presence_changes_total", Unit::Count),
    /// Raids that dropped their state and read it again from the store.
    session_reloads: CounterFamily<ReloadCause> = ("raidhall_session_reloads_total", "cause"),
    /// Loads of raids that failed because the database lacks events that were committed, and claims that began without such events. Must be 0: the database has gone back in time.
    history_lost: Counter = ("raidhall_history_lost_total", Unit::Count),
    /// Watches from a later seq than the raid has. A few are clients with an invented seq; many may mean that the database has gone back in time.
    resumes_ahead: Counter = ("raidhall_resumes_ahead_total", Unit::Count),
    /// Rows in the ledger's default partition. Should be 0: more means that partitions were created too late.
    partition_default_rows: Gauge = ("raidhall_partition_default_rows", Unit::Count),
    /// Whether this instance receives its own messages through Redis: 1 or 0.
    bus_proven: Gauge = ("raidhall_bus_proven", Unit::Count),
    /// Other live instances that do not receive what this one publishes. Above 0 they, or this one, may be connected to another Redis server.
    bus_unreachable_peers: Gauge = ("raidhall_bus_unreachable_peers", Unit::Count),
    /// Attempts to reconnect to Redis; at most about one per second and instance.
    bus_reconnects: Counter = ("raidhall_bus_reconnects_total", Unit::Count),
    /// Bus messages that were not sent or not taken in.
    bus_dropped: CounterFamily<BusDropCause> = ("raidhall_bus_dropped_total", "cause"),
    /// Time since bans and sign-outs were last read from the store, normally about 1 s. While it grows, known bans hold and new ones do not arrive.
    revocations_age: Gauge = ("raidhall_revocations_age_seconds", Unit::Seconds),
    /// Access tokens that were refused. Many `not_valid`: an attack, or an instance with another secret.
    tokens_refused: CounterFamily<TokenRefusal> = ("raidhall_tokens_refused_total", "cause"),
    /// Requests for the keys of external token issuers.
    jwks_fetches: CounterFamily<JwksFetchOutcome> = ("raidhall_jwks_fetches_total", "outcome"),
    /// Age of the oldest set of external issuers' keys: normally at most 900 s, `+Inf` before the first.
    jwks_age: Gauge = ("raidhall_jwks_age_seconds", Unit::Seconds),
    /// Commands from this instance's clients, whichever instance owns the raid. `type` is the command's type, `outcome` as in `raidhall_commands_total`.
    client_commands: TwoLabelCounterFamily = ("raidhall_client_commands_total", ["type", "outcome"]),
    /// Time from a client's command to its answer.
    command_seconds: Histogram = ("raidhall_command_seconds", Unit::Seconds),
    /// Events in the replay rings of all raids.
    ring_events: Gauge = ("raidhall_ring_events", Unit::Count),
    /// Bytes in the replay rings of all raids.
    ring_bytes: Gauge = ("raidhall_ring_bytes", Unit::Bytes),
    /// Replies, presence and signals that wait for clients. Numbered events wait only in rings.
    outbox_messages: Gauge = ("raidhall_outbox_messages", Unit::Count),
    /// Database connections that are running a statement.
    store_busy: GaugeFamily<StorePool> = ("raidhall_store_busy", "pool"),
    /// Limit of database connections.
    store_connections_max: GaugeFamily<StorePool> = ("raidhall_store_connections_max", "pool"),
    /// Time that a statement waited for a database connection.
    store_wait_seconds: Histogram = ("raidhall_store_wait_seconds", Unit::Seconds),
    /// Delay of a timer of the async runtime: what every task on this instance suffers.
    event_loop_lag: Histogram = ("raidhall_event_loop_lag_seconds", Unit::Seconds),
    /// Resident memory of the process, read every 5 s (Linux).
    memory: Gauge = ("process_resident_memory_bytes", Unit::Bytes),
    /// Open files and sockets of the process, read every 5 s (Linux).
    open_files: Gauge = ("process_open_fds", Unit::Count),
}

#[cfg(test)]
pub(super) struct MetricDescription {
    pub(super) name: &'static str,
    pub(super) kind: &'static str,
    pub(super) help: &'static str,
    pub(super) labels: Vec<&'static str>,
    /// The label's values and their meanings, if the label is a closed set.
    pub(super) values: Vec<(&'static str, &'static str)>,
}

impl Metrics {
    /// Records an HTTP request. `route` is the pattern that matched (`/api/v1/raids/{id}`), if one did.
    pub fn record_http_request(
        &self,
        method: &Method,
        route: Option<&str>,
        status: StatusCode,
        elapsed: Duration,
    ) {
        // Clients can invent methods and paths; neither may create a new time series.
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

/// Returns the process's metrics. Several servers in one process, as in tests, share them.
pub fn metrics() -> &'static Metrics {
    static METRICS: LazyLock<Metrics> = LazyLock::new(|| {
        recorder::install_recorder();
        metrics::describe_histogram!(
            HTTP_REQUEST_SECONDS,
            Unit::Seconds,
            HTTP_REQUEST_SECONDS_HELP
        );
        metrics::describe_gauge!(BUILD_INFO, Unit::Count, BUILD_INFO_HELP);
        metrics::gauge!(BUILD_INFO, "version" => env!("CARGO_PKG_VERSION")).set(1);
        Metrics::create()
    });
    &METRICS
}

#[cfg(test)]
mod tests {
    use super::super::render_metrics;
    use super::*;

    #[test]
    fn a_counter_family_counts_under_the_label_it_is_given() {
        metrics();
        let name = "raidhall_test_family_total";
        let family: CounterFamily<ReloadCause> = Metric::create(name, "cause", "A test.");

        family.increment(ReloadCause::Panic);
        family.add(ReloadCause::Panic, 2);

        let page = render_metrics();
        for line in [
            "raidhall_test_family_total{cause=\"panic\"} 3",
            "raidhall_test_family_total{cause=\"fenced\"} 0",
        ] {
            assert!(page.lines().any(|found| found == line), "{line} in\n{page}");
        }
    }

    /// Other tests of the process count in the same metrics, so only values of this test's own labels are checked.
    #[test]
    fn metrics_are_rendered_with_their_help_labels_and_buckets() {
        let all = metrics();
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
            "# HELP raidhall_connections Open WebSockets and event streams.",
            "# TYPE raidhall_connections gauge",
            "# TYPE raidhall_commit_seconds histogram",
            "# TYPE raidhall_commit_events histogram",
            "# TYPE raidhall_http_request_seconds histogram",
            "raidhall_commands_total{outcome=\"committed\"} ",
            "raidhall_commands_total{outcome=\"unavailable\"} ",
            "raidhall_closes_total{cause=\"gone\"} ",
            "raidhall_takeovers_total{cause=\"handed_over\"} ",
            "raidhall_session_reloads_total{cause=\"superseded\"} ",
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
        ] {
            assert!(
                page.lines().any(|line| line.starts_with(begins)),
                "no line begins {begins} in\n{page}"
            );
        }
    }
}
