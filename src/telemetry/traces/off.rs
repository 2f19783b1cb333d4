//! A build without traces.

use axum::http::{HeaderMap, Method, StatusCode};
use raidhall_protocol::RaidId;

use crate::config::TelemetryConfig;

/// What is exported of traces: nothing.
pub struct Traces;

/// Loading the configuration has made sure that none are asked for.
pub fn begin(_config: &TelemetryConfig) -> Traces {
    Traces
}

impl Traces {
    /// Sends what is left, and ends.
    pub async fn end(self) {}
}

/// A stretch of time that nobody records.
#[derive(Debug, Clone)]
pub struct Trace;

impl Trace {
    /// Of nothing.
    pub const fn none() -> Trace {
        Trace
    }

    /// A request by HTTP; within another's trace, if its headers are believed and say so.
    pub const fn request(
        _method: &Method,
        _route: Option<&str>,
        _believed: Option<&HeaderMap>,
    ) -> Trace {
        Trace
    }

    /// A command, within the request that it came by.
    pub const fn command(_kind: &'static str, _raid: RaidId) -> Trace {
        Trace
    }

    /// A batch on its way into the store.
    pub const fn commit(_raids: usize, _events: usize) -> Trace {
        Trace
    }

    /// Runs a future within the stretch.
    pub async fn around<F: Future>(&self, future: F) -> F::Output {
        future.await
    }

    /// Marks a moment.
    pub const fn note(&self, _what: &'static str) {}

    /// Ends a request's.
    pub const fn answered(self, _status: StatusCode) {}

    /// Ends any other's.
    pub const fn end(self, _outcome: &'static str) {}
}
