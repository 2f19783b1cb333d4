//! The section `[telemetry]` of the configuration.

use std::net::SocketAddr;

use serde::de::Error;
use serde::{Deserialize, Deserializer};
use tracing_subscriber::EnvFilter;

use crate::http_client::HttpUrl;
use crate::option_value::optional_listen_address;
use crate::redact::redact_http_url;

/// Configuration of logs, metrics and traces.
#[derive(Debug, Clone, Deserialize)]
pub struct Options {
    /// Address on which Prometheus may scrape; `None` disables the listener.
    #[serde(deserialize_with = "optional_listen_address")]
    pub metrics_listen: Option<SocketAddr>,
    /// Log filter: directives that [`EnvFilter`] is known to accept.
    #[serde(deserialize_with = "directives")]
    pub log: String,
    /// Format of log lines.
    pub log_format: LogFormat,
    /// Base URL of an OpenTelemetry collector; `None` disables traces.
    #[serde(deserialize_with = "otlp_endpoint")]
    pub otlp_endpoint: Option<HttpUrl>,
    /// Number of requests and commands in a thousand that are traced.
    pub traces_per_thousand: u16,
}

impl Options {
    /// Returns the share of requests and commands that are traced, from 0 to 1.
    pub fn trace_sample_ratio(&self) -> f64 {
        f64::from(self.traces_per_thousand) / 1_000.0
    }
}

/// Format of log lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// [`LogFormat::Human`] when standard error is a terminal, else [`LogFormat::Json`].
    Auto,
    /// Lines for people to read.
    Human,
    /// One JSON object per line.
    Json,
}

fn otlp_endpoint<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<HttpUrl>, D::Error> {
    let text = String::deserialize(deserializer)?;
    if text.is_empty() {
        return Ok(None);
    }
    let fault = |_| {
        let shown = redact_http_url(&text);
        D::Error::custom(format!(
            "must be http://HOST:PORT or https://…, without credentials, is {shown:?}"
        ))
    };
    text.parse().map(Some).map_err(fault)
}

fn directives<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let text = String::deserialize(deserializer)?;
    match EnvFilter::builder().parse(&text) {
        Ok(_) => Ok(text),
        Err(fault) => Err(D::Error::custom(format!(
            "{text:?} is not a log filter: {fault}"
        ))),
    }
}
