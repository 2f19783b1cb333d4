//! An instance's health and metrics, as it reports them.

use std::time::Duration;

use serde_json::Value;
use tokio::time::sleep;

use crate::process::TestServer;

/// Setting that serves an instance's metrics on any free port.
pub const METRICS_SETTING: (&str, &str) = ("TELEMETRY__METRICS_LISTEN", "127.0.0.1:0");

/// The response of `/readyz`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReportedHealth {
    /// Whether a load balancer should send clients to the instance.
    pub ready: bool,
    pub status: String,
    pub store: String,
    pub bus: String,
}

impl TestServer {
    pub async fn health(&self) -> ReportedHealth {
        let answer = reqwest::get(self.target().url("/readyz"))
            .await
            .expect("an answer");
        let ready = answer.status().is_success();
        let body: Value =
            serde_json::from_slice(&answer.bytes().await.expect("a body")).expect("JSON");
        let word = |word: &Value| word.as_str().expect("a word").to_owned();
        let store = word(&body["checks"]["store"]);
        let bus = word(&body["checks"]["bus"]);
        ReportedHealth {
            ready,
            status: word(&body["status"]),
            store,
            bus,
        }
    }

    /// Waits until the instance reports that its bus works, or that it fails. The instance must be
    /// ready all the time.
    pub async fn wait_for_bus(&self, works: bool) {
        let expected = if works {
            ("ready", "ok")
        } else {
            ("degraded", "failing")
        };
        loop {
            let health = self.health().await;
            assert!(
                health.ready,
                "without a bus the instance stays ready: {health:?}"
            );
            if (&*health.status, &*health.bus) == expected {
                return;
            }
            sleep(Duration::from_millis(20)).await;
        }
    }

    /// Returns the metrics page. Needs [`METRICS_SETTING`].
    pub async fn metrics_page(&self) -> String {
        let answer = reqwest::get(format!("http://{}/metrics", self.metrics_address().await)).await;
        answer
            .expect("the metrics")
            .text()
            .await
            .expect("the metrics")
    }

    /// Returns the sum of a metric over all its labels, or of the one series named with its labels.
    /// Needs [`METRICS_SETTING`].
    pub async fn metric_sum(&self, name: &str) -> f64 {
        let page = self.metrics_page().await;
        let value = |line: &str| {
            let (series, value) = line.rsplit_once(' ')?;
            let family = series.split('{').next()?;
            (series == name || family == name).then(|| value.parse::<f64>().expect("a number"))
        };
        page.lines().filter_map(value).sum()
    }

    /// Returns the address of the metrics listener, as logged. Needs [`METRICS_SETTING`].
    pub async fn metrics_address(&self) -> String {
        let line = self.logged_line("metrics are served").await;
        let line: Value = serde_json::from_str(&line).expect("a line of JSON");
        line["fields"]["address"]
            .as_str()
            .expect("an address")
            .to_owned()
    }
}
