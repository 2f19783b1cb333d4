//! The recorder of metrics, and the page that Prometheus scrapes.

use std::sync::OnceLock;
use std::time::Duration;

use axum::Router;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use axum::routing::get;
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};

use super::metrics::{EVENTS_BUCKETS, SECONDS_BUCKETS, metrics};
use super::process;

/// The Prometheus text format, version 0.0.4.
const TEXT_FORMAT: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Interval at which the samples of histograms are folded, because they pile up until the page is
/// rendered.
const UPKEEP_INTERVAL: Duration = Duration::from_secs(5);

/// Returns the process's recorder, which the first call installs.
pub(super) fn install_recorder() -> &'static PrometheusHandle {
    static HANDLE: OnceLock<PrometheusHandle> = OnceLock::new();
    HANDLE.get_or_init(|| {
        let recorder = PrometheusBuilder::new()
            .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), SECONDS_BUCKETS)
            .and_then(|it| {
                it.set_buckets_for_metric(Matcher::Suffix("_events".to_owned()), EVENTS_BUCKETS)
            })
            .expect("there are buckets")
            .build_recorder();
        let handle = recorder.handle();
        metrics::set_global_recorder(recorder)
            .expect("nothing else in this program records metrics");
        handle
    })
}

/// Renders all metrics in Prometheus' text format.
pub fn render_metrics() -> String {
    // Makes the page complete even if nothing has been counted yet.
    let _ = metrics();
    install_recorder().render()
}

/// Serves `GET /metrics`, for a listener of its own and never the public one.
pub fn metrics_router() -> Router {
    Router::new().route(
        "/metrics",
        get(async || ([(CONTENT_TYPE, TEXT_FORMAT)], render_metrics()).into_response()),
    )
}

/// Keeps the memory of histograms bounded where Prometheus does not scrape, and samples the
/// process's resources. Runs until dropped; running several does no harm.
pub async fn run_upkeep() {
    let mut ticks = tokio::time::interval(UPKEEP_INTERVAL);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        install_recorder().run_upkeep();
        process::sample_process();
    }
}

#[cfg(test)]
mod tests {
    use axum::body::{Body, to_bytes};
    use axum::http::{Request, StatusCode};
    use tower::ServiceExt;

    use super::*;

    #[test]
    fn installing_the_recorder_twice_keeps_the_first() {
        assert!(std::ptr::eq(install_recorder(), install_recorder()));
    }

    #[tokio::test]
    async fn the_metrics_page_is_prometheus_text() {
        let request = Request::get("/metrics")
            .body(Body::empty())
            .expect("a valid request");
        let response = metrics_router()
            .oneshot(request)
            .await
            .expect("a router never fails");
        assert_eq!(response.status(), StatusCode::OK);
        assert_eq!(response.headers()[CONTENT_TYPE], TEXT_FORMAT);
        let body = to_bytes(response.into_body(), usize::MAX)
            .await
            .expect("a whole body");
        assert!(body.starts_with(b"#"));
    }
}
