//! The bus on Redis, against the tests' own servers: killed, paused, cut off, restarted, and as a
//! Redis Cluster.

#![allow(
    clippy::disallowed_methods,
    reason = "a test ends with its process; its tasks need no other owner"
)]
#![allow(unreachable_pub, reason = "a test has no outside")]

#[path = "../support/proxy.rs"]
#[allow(dead_code, reason = "shared with other tests")]
mod proxy;

#[path = "../support/redis.rs"]
#[allow(dead_code, reason = "shared with other tests")]
mod server;

#[path = "../support/wait.rs"]
mod wait;

mod access;
mod cluster;
mod faults;
mod pressure;
mod shared_limits;
mod test_bus;
mod traffic;
