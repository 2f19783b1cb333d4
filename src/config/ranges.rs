//! The accepted range of every number, one line each. Ranges keep out values that can only be a
//! mistake (a wrong unit, a digit too many) and values that would overflow a timer or an
//! allocation.

use std::ops::RangeInclusive;

use figment::value::Value;

const DAY_MS: i128 = 24 * 60 * 60 * 1000;
const MIB: i128 = 1024 * 1024;

/// Every key with a number, and its accepted range.
pub(super) const RANGES: &[(&str, RangeInclusive<i128>)] = &[
    ("server.worker_threads", 0..=1024),
    ("database.connections_max", 2..=1000),
    ("auth.access_ttl_secs", 10..=86_400),
    ("auth.refresh_ttl_secs", 60..=315_360_000),
    ("auth.telegram_age_max_secs", 10..=86_400),
    ("limits.message_bytes", 512..=MIB),
    ("limits.commands_per_second", 1..=10_000),
    ("limits.bytes_per_second", 4096..=64 * MIB),
    ("limits.watches", 1..=1024),
    ("limits.signal_bytes", 1..=65_536),
    ("limits.signal_bytes_per_second", 256..=64 * MIB),
    ("limits.exports_per_day", 1..=1_000),
    ("limits.connections", 1..=1_000_000),
    ("limits.unauthenticated", 1..=1_000_000),
    ("limits.unauthenticated_per_address", 1..=1_000_000),
    ("limits.handshakes_per_second", 1..=1_000_000),
    ("limits.connections_per_address", 1..=1_000_000),
    ("limits.connections_per_player", 1..=1_000_000),
    ("limits.guest_signins_per_minute", 1..=1_000_000),
    ("limits.invite_guesses_per_minute", 1..=1_000_000),
    ("limits.rest_reads_per_minute", 1..=1_000_000),
    ("limits.rest_writes_per_minute", 1..=1_000_000),
    ("limits.led_raids", 1..=1_000_000),
    ("limits.raid_events_per_day", 1..=1_000_000_000),
    ("limits.member_tasks", 1..=1_000_000),
    ("limits.disk_free_bytes", 0..=1_000_000 * MIB),
    ("limits.database_bytes", 0..=1_000_000_000 * MIB),
    ("limits.replay_events", 1..=1_000_000),
    ("limits.outbox_messages", 1..=65_536),
    ("limits.outbox_bytes", 4096..=64 * MIB),
    ("limits.hello_timeout_ms", 10..=600_000),
    ("limits.heartbeat_ms", 10..=600_000),
    ("limits.write_stall_ms", 10..=600_000),
    ("limits.body_bytes", 1024..=16 * MIB),
    ("limits.header_timeout_ms", 10..=600_000),
    ("limits.keep_alive_ms", 10..=600_000),
    ("limits.body_timeout_ms", 10..=600_000),
    ("limits.request_timeout_ms", 10..=600_000),
    ("raid.idle_timeout_ms", 1..=DAY_MS),
    ("raid.presence_grace_ms", 0..=DAY_MS),
    ("raid.leader_grace_ms", 1..=DAY_MS),
    ("raid.inbox", 1..=65_536),
    ("raid.ring_events", 16..=MIB),
    ("raid.ring_bytes", 4096..=1024 * MIB),
    ("raid.op_keys", 1..=MIB),
    ("raid.snapshot_min_events", 1..=MIB),
    ("store.commit_patience_ms", 100..=60_000),
    ("store.writers", 1..=64),
    ("store.batch_events_max", 1..=65_536),
    ("store.batch_queue", 1..=65_536),
    ("store.statement_timeout_ms", 10..=600_000),
    ("store.connect_timeout_ms", 10..=600_000),
    ("lease.ttl_ms", 100..=600_000),
    ("lease.renew_ms", 10..=600_000),
    ("lease.due_scan_ms", 10..=600_000),
    ("lease.due_ahead_ms", 10..=600_000),
    ("retention.unused_guest_days", 0..=36_500),
    ("shutdown.readiness_delay_ms", 0..=600_000),
    ("shutdown.spread_ms", 0..=600_000),
    ("shutdown.timeout_ms", 1..=3_600_000),
    ("telemetry.traces_per_thousand", 0..=1_000),
];

/// Returns the fault of a whole number that is out of the range of its key.
pub(super) fn range_error(key: &str, value: &Value) -> Option<String> {
    let number = value.to_i128()?;
    let (_, range) = RANGES.iter().find(|(name, _)| *name == key)?;
    let from = range.start();
    let to = range.end();
    (!range.contains(&number)).then(|| format!("must be {from} to {to}, is {number}"))
}
