//! `/healthz` shows that the process answers; `/readyz` says whether to send clients to it.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde_json::json;

use crate::http::readiness::Readiness;

pub(in crate::http) fn routes(readiness: Readiness) -> Router {
    Router::new()
        .route("/healthz", get(healthz))
        .route("/readyz", get(readyz))
        .with_state(readiness)
}

async fn healthz() -> Response {
    Json(json!({"status": "ok"})).into_response()
}

async fn readyz(State(readiness): State<Readiness>) -> Response {
    let report = readiness.report();
    let status = if report.is_ready {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    let checks = json!({"store": report.store, "bus": report.bus, "feed": report.feed, "space": report.space});
    let projector_lag_secs = report.projector_lag.map(|lag| lag.as_secs());
    let body = json!({
        "status": report.status,
        "checks": checks,
        "projector_lag_secs": projector_lag_secs,
    });
    (status, Json(body)).into_response()
}
