//! Ring 4: real processes, real databases, real sockets, and everything that breaks.
//!
//! Needs a Postgres server: `make test`, or `scripts/with-services cargo test --test reality`.

#![allow(unreachable_pub, reason = "a test has no outside")]
#![allow(
    clippy::print_stdout,
    reason = "measurements, and the servers' last words"
)]
#![allow(
    clippy::disallowed_methods,
    reason = "a test ends with its process; its tasks need no other owner"
)]

#[path = "../support/cluster.rs"]
mod cluster;
#[path = "../support/postgres.rs"]
#[allow(dead_code, reason = "shared with tests of the store")]
mod postgres;
#[path = "../support/process.rs"]
mod process;
#[path = "../support/proxy.rs"]
mod proxy;
#[path = "../support/redis.rs"]
#[allow(dead_code, reason = "shared with tests of the bus")]
mod redis;

mod eavesdropper;
mod fleet;
mod instruments;
mod listener;
mod lookout;
mod party;
mod raw;
mod receiver;
mod wire;

mod alone;
mod at_rest;
mod bus_access;
mod bus_messages;
mod bus_outages;
mod clocks;
mod cluster_store_faults;
mod conversation;
mod crash;
mod crowd;
mod deadline;
mod dials;
mod drips;
mod erasure;
mod event_stream;
mod floods;
mod garbage;
mod host_app;
mod node_death;
mod node_sleep;
mod node_stop;
mod pressure;
mod renewal;
mod restore;
mod resume;
mod rolling;
mod rotation;
mod schemathesis;
mod secrecy;
mod shutdown;
mod slow;
mod slowhttptest;
mod standing;
mod start;
mod store_faults;
mod storms;
mod tester;
mod texts;
#[cfg(feature = "otel")]
mod traces;
mod webhooks;
mod zombie;

use std::future::Future;
use std::time::Duration;

use tokio::sync::RwLock;
use tokio::time::{sleep, timeout};

/// Far beyond what any of these tests takes.
const PATIENCE: Duration = Duration::from_secs(150);

/// Tests share the machine, but for those that measure.
static MACHINE: RwLock<()> = RwLock::const_new(());

/// Runs a test, and fails it when it hangs.
async fn bounded(test: impl Future<Output = ()>) {
    within(PATIENCE, test).await;
}

/// Waits until it is so.
async fn eventually(what: &str, so: impl AsyncFn() -> bool) {
    let patience = timeout(PATIENCE, async {
        while !so().await {
            sleep(Duration::from_millis(20)).await;
        }
    });
    patience.await.unwrap_or_else(|_| panic!("never: {what}"));
}

/// Runs a test that may take so long.
async fn within(patience: Duration, test: impl Future<Output = ()>) {
    let _shared = MACHINE.read().await;
    timeout(patience, test).await.expect("the test hangs");
}

/// Runs a test with no other beside it: one that measures, or that takes all of the machine.
async fn undisturbed(test: impl Future<Output = ()>) {
    let _alone = MACHINE.write().await;
    timeout(PATIENCE, test).await.expect("the test hangs");
}
