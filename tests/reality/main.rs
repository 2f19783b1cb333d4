//! Ring 4: real processes, real databases, real sockets, and everything that breaks.
//!
//! Needs a Postgres server: `make test`, or `scripts/with-services cargo test --test reality`.

#![allow(unreachable_pub, reason = "a test has no outside")]
#![allow(clippy::print_stdout, reason = "measurements, and the servers' output")]
#![allow(
    clippy::disallowed_methods,
    reason = "a test ends with its process; its tasks need no other owner"
)]

#[path = "../support/postgres.rs"]
#[allow(dead_code, reason = "shared with tests of the store")]
mod postgres;
#[path = "../support/postgres_server.rs"]
mod postgres_server;
#[path = "../support/process.rs"]
mod process;
#[path = "../support/proxy.rs"]
mod proxy;
#[path = "../support/redis.rs"]
#[allow(dead_code, reason = "shared with tests of the bus")]
mod redis;

mod bus_tap;
mod cluster;
mod event_stream_client;
mod raid_group;
mod raw_socket;
mod telemetry;
mod test_socket;
mod watch_recorder;
mod webhook_receiver;

mod bus_access;
mod bus_messages;
mod bus_outages;
mod capacity;
mod clocks;
mod cluster_store_faults;
mod commands;
mod connection_storms;
mod crash;
mod deadline;
mod erasure;
mod event_stream;
mod floods;
mod full_disk;
mod host_app;
mod hostile_texts;
mod idle_database_load;
mod load_tester;
mod log_faults;
mod log_secrets;
mod low_space;
mod malformed_input;
mod mass_reconnect;
mod message_order;
mod metrics;
mod moderation;
mod node_freeze;
mod node_kill;
mod node_stop;
mod player_streams;
mod progression;
mod proxies;
mod raid_moderation;
mod rebuild;
mod restore;
mod resume;
mod rolling_deploy;
mod schemathesis;
mod secret_rotation;
mod shutdown;
mod single_process;
mod slow_client;
mod slow_http;
mod slowhttptest;
mod stale_owner;
mod startup;
mod store_faults;
mod token_renewal;
#[cfg(feature = "otel")]
mod traces;
mod webhooks;

use std::future::Future;
use std::time::Duration;

use tokio::sync::RwLock;
use tokio::time::{sleep, timeout};

/// Time limit of a test, far beyond what any test takes.
const TEST_TIMEOUT: Duration = Duration::from_secs(150);

/// Shared by all tests, and held exclusively by those that measure.
static MACHINE_LOCK: RwLock<()> = RwLock::const_new(());

/// Runs a test, and fails it when it hangs.
async fn with_timeout(test: impl Future<Output = ()>) {
    with_timeout_of(TEST_TIMEOUT, test).await;
}

/// Polls until the condition holds; fails with `what` after [`TEST_TIMEOUT`].
async fn wait_until(what: &str, condition: impl AsyncFn() -> bool) {
    let time_limit = timeout(TEST_TIMEOUT, async {
        while !condition().await {
            sleep(Duration::from_millis(20)).await;
        }
    });
    time_limit
        .await
        .unwrap_or_else(|_| panic!("timed out waiting until {what}"));
}

/// Runs a test with the given time limit.
async fn with_timeout_of(time_limit: Duration, test: impl Future<Output = ()>) {
    let _shared = MACHINE_LOCK.read().await;
    timeout(time_limit, test).await.expect("the test hangs");
}

/// Runs a test alone: one that measures, or that takes all of the machine.
async fn run_exclusively(test: impl Future<Output = ()>) {
    let _alone = MACHINE_LOCK.write().await;
    timeout(TEST_TIMEOUT, test).await.expect("the test hangs");
}
