//! A build without traces.

use axum::http::{HeaderMap, Method, StatusCode};
use raidhall_protocol::RaidId;

use crate::telemetry::options::Options;

/// What is exported of traces: nothing.
pub struct TraceExporter;

/// Loading the configuration has made sure that none are asked for.
pub fn start_trace_export(_config: &Options) -> TraceExporter {
    TraceExporter
}

impl TraceExporter {
    /// Sends what is left, and ends.
    pub async fn shutdown(self) {}
}

/// A stretch of time that nobody records.
#[derive(Debug, Clone)]
pub struct TraceSpan;

impl TraceSpan {
    /// Of nothing.
    pub const fn disabled() -> TraceSpan {
        TraceSpan
    }

    /// A request by HTTP; within another's trace, if its headers are believed and say so.
    pub const fn start_request(
        _method: &Method,
        _route: Option<&str>,
        _believed: Option<&HeaderMap>,
    ) -> TraceSpan {
        TraceSpan
    }

    /// A command, within the request that it came by.
    pub const fn start_command(_kind: &'static str, _raid: RaidId) -> TraceSpan {
        TraceSpan
    }

    /// A batch on its way into the store.
    pub const fn start_commit(_raids: usize, _events: usize) -> TraceSpan {
        TraceSpan
    }

    /// Runs a future within the stretch.
    pub async fn wrap<F: Future>(&self, future: F) -> F::Output {
        future.await
    }

    /// Marks a moment.
    pub const fn annotate(&self, _what: &'static str) {}

    /// Ends a request's.
    pub const fn end_with_status(self, _status: StatusCode) {}

    /// Ends any other's.
    pub const fn end(self, _outcome: &'static str) {}
}
