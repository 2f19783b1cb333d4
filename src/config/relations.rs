//! The constraints between the values of several keys, one entry each.

use std::time::Duration;

use super::{BusKind, Config, DatabaseKind};
use crate::auth::IssuerOptions;

/// A constraint that must hold between the values of several keys.
pub(super) struct Constraint {
    /// The keys of the constraint. It is not checked while one of them has a fault of its own.
    pub(super) keys: &'static [&'static str],
    /// A description of the constraint for the operator.
    pub(super) must: &'static str,
    /// Returns whether a configuration satisfies the constraint.
    pub(super) holds: fn(&Config) -> bool,
}

pub(super) const RELATIONS: &[Constraint] = &[
    Constraint {
        keys: &["auth.secret", "database.url"],
        must: "with Postgres auth.secret must be set (at least 32 bytes, the same for every instance, for example \
               from `openssl rand -base64 48`); only with SQLite is one generated",
        holds: |c| c.auth.secret.is_some() || c.database.url.kind() == DatabaseKind::Sqlite,
    },
    Constraint {
        keys: &["bus.url", "database.url"],
        must: "with a Redis bus database.url must be Postgres (postgres://USER:PASSWORD@HOST/NAME): SQLite is one \
               machine's file and cannot be shared; for a single instance set bus.url = \"local\" or unset REDIS_URL",
        holds: |c| !is_cluster_node(c) || c.database.url.kind() == DatabaseKind::Postgres,
    },
    Constraint {
        keys: &["server.advertised_url", "server.listen", "bus.url"],
        must: "with a Redis bus server.advertised_url must be set if server.listen binds every address: other \
               instances and clients need an address of this one, and cannot connect to 0.0.0.0 or [::]",
        holds: |c| {
            let is_reachable =
                c.server.advertised_url.is_some() || !c.server.listen.ip().is_unspecified();
            is_reachable || !is_cluster_node(c)
        },
    },
    Constraint {
        keys: &["bus.cluster", "bus.url"],
        must: "bus.cluster must be false unless bus.url names a node of a Redis Cluster, which has no database but 0",
        holds: |c| {
            let first_database = c
                .bus
                .url
                .redis_database()
                .is_none_or(|number| number == "0");
            !c.bus.cluster || (is_cluster_node(c) && first_database)
        },
    },
    Constraint {
        keys: &["bus.ca_file", "bus.url"],
        must: "bus.ca_file must be empty unless bus.url is rediss://…: nothing else is encrypted",
        holds: |c| c.bus.ca_file.is_none() || c.bus.url.is_encrypted(),
    },
    Constraint {
        keys: &["auth.refresh_ttl_secs", "auth.access_ttl_secs"],
        must: "auth.refresh_ttl_secs must be more than auth.access_ttl_secs",
        holds: |c| c.auth.refresh_ttl > c.auth.access_ttl,
    },
    Constraint {
        keys: &["auth.issuers"],
        must: "auth.issuers must each have an issuer and an audience, an issuer of their own (not \"raidhall\", which is \
               Raidhall's own) and an external_id_prefix of their own (not \"telegram:\", which is Telegram's)",
        holds: |c| has_distinct_issuers(&c.auth.issuers),
    },
    Constraint {
        keys: &["limits.signal_bytes", "limits.message_bytes"],
        must: "limits.signal_bytes must be less than limits.message_bytes, which carries the signal",
        holds: |c| c.sockets.signal_bytes_max < c.sockets.message_bytes_max,
    },
    Constraint {
        keys: &["limits.signal_bytes", "limits.signal_bytes_per_second"],
        must: "limits.signal_bytes must not be more than limits.signal_bytes_per_second, or a signal of that size may never pass",
        holds: |c| c.sockets.signal_bytes_max <= c.sockets.signal_bytes_per_second as usize,
    },
    Constraint {
        keys: &["limits.body_timeout_ms", "limits.request_timeout_ms"],
        must: "limits.body_timeout_ms must not be more than limits.request_timeout_ms, which includes it",
        holds: |c| c.http.body_timeout <= c.http.request_timeout,
    },
    Constraint {
        keys: &["limits.message_bytes", "limits.bytes_per_second"],
        must: "limits.bytes_per_second must be at least limits.message_bytes, or a message of that size never passes",
        holds: |c| c.sockets.bytes_per_second as usize >= c.sockets.message_bytes_max,
    },
    Constraint {
        keys: &["raid.ring_events", "limits.outbox_messages"],
        must: "raid.ring_events must be at least limits.outbox_messages, or the ring drops events before a watch reaches its limit",
        holds: |c| c.sessions.ring_events_max >= c.sockets.outbox_messages_max,
    },
    Constraint {
        keys: &["raid.ring_bytes", "limits.outbox_bytes"],
        must: "raid.ring_bytes must be at least limits.outbox_bytes, or the ring drops events before a watch reaches its limit",
        holds: |c| c.sessions.ring_bytes_max >= c.sockets.outbox_bytes_max,
    },
    Constraint {
        keys: &["raid.leader_grace_ms", "raid.presence_grace_ms"],
        must: "raid.leader_grace_ms must be at least raid.presence_grace_ms: only an offline leader loses the lead",
        holds: |c| c.sessions.leader_grace >= c.sessions.presence_grace,
    },
    Constraint {
        keys: &["store.writers", "database.connections_max"],
        must: "store.writers must be less than database.connections_max: each writer commits over a connection of its own",
        holds: |c| c.journal.writers < c.database.connections_max as usize,
    },
    Constraint {
        keys: &["lease.ttl_ms", "lease.renew_ms"],
        must: "lease.ttl_ms must be more than 2 × lease.renew_ms + 500, or one lost renewal loses every raid",
        holds: |c| c.lease.ttl > 2 * c.lease.renew_interval + Duration::from_millis(500),
    },
    Constraint {
        keys: &["lease.due_ahead_ms", "lease.due_scan_ms"],
        must: "lease.due_ahead_ms must be at least lease.due_scan_ms, or deadlines fall between two scans",
        holds: |c| c.due_scanner.lead_time >= c.due_scanner.interval,
    },
    Constraint {
        keys: &[
            "shutdown.spread_ms",
            "shutdown.readiness_delay_ms",
            "shutdown.timeout_ms",
        ],
        must: "shutdown.readiness_delay_ms + shutdown.spread_ms must be less than shutdown.timeout_ms, or clients \
               are disconnected without notice",
        holds: |c| c.shutdown.readiness_delay + c.shutdown.spread < c.shutdown.timeout,
    },
    Constraint {
        keys: &["telemetry.otlp_endpoint"],
        must: "telemetry.otlp_endpoint must be empty: this build cannot export traces; build with `--features otel`",
        holds: |c| cfg!(feature = "otel") || c.telemetry.otlp_endpoint.is_none(),
    },
    Constraint {
        keys: &["webhooks.endpoints"],
        must: "webhooks.endpoints must each have a name of their own: the database identifies them by it",
        holds: |c| {
            let names: std::collections::BTreeSet<_> =
                c.webhooks.endpoints.iter().map(|one| &one.name).collect();
            names.len() == c.webhooks.endpoints.len()
        },
    },
    Constraint {
        keys: &["telemetry.metrics_listen", "server.listen"],
        must: "telemetry.metrics_listen must not be the public listener's address and port",
        holds: |c| {
            c.telemetry
                .metrics_listen
                .is_none_or(|metrics| !has_address_overlap(metrics, c.server.listen))
        },
    },
];

fn has_distinct_issuers(issuers: &[IssuerOptions]) -> bool {
    let has_valid_names = |one: &IssuerOptions| {
        !one.issuer.is_empty() && !one.audience.is_empty() && one.issuer != "raidhall"
    };
    let has_valid_prefix = |one: &IssuerOptions| !one.external_id_prefix.starts_with("telegram:");
    let is_distinct = |index: usize, one: &IssuerOptions| {
        let others = &issuers[index + 1..];
        others.iter().all(|other| {
            one.issuer != other.issuer && one.external_id_prefix != other.external_id_prefix
        })
    };
    issuers.iter().enumerate().all(|(index, one)| {
        has_valid_names(one) && has_valid_prefix(one) && is_distinct(index, one)
    })
}

fn is_cluster_node(config: &Config) -> bool {
    config.bus.url.kind() == BusKind::Redis
}

fn has_address_overlap(a: std::net::SocketAddr, b: std::net::SocketAddr) -> bool {
    let same_address = a.ip() == b.ip() || a.ip().is_unspecified() || b.ip().is_unspecified();
    a.port() == b.port() && a.port() != 0 && same_address
}
