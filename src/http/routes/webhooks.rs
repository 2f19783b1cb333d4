//! `/admin/webhooks`: the state of deliveries to the host app's endpoints, and requests to deliver
//! again.

use std::sync::Arc;

use axum::extract::State;
use axum::routing::{get, post};
use axum::{Json, Router};
use raidhall_protocol::admin::{Replayed, Resumed, WebhookDelivery, WebhookView};
use raidhall_protocol::rest::Data;
use raidhall_protocol::{RaidId, Seq};
use serde_json::json;

use crate::error::Error;
use crate::http::AppState;
use crate::http::error_response::{ENDPOINT_NOT_FOUND, ErrorResponse};
use crate::http::extract::{EndpointPath, JsonBody, Operator, Query};
use crate::redact::redact_http_url;
use crate::store::webhooks::{EndpointRow, ParkedDelivery, Replay};
use crate::webhooks::{Endpoint, WebhookEventKind};

const EVENT_NOT_FOUND: Error =
    Error::NotFound("The raid has no such event, or it is none that webhooks tell of");

pub(in crate::http) fn routes() -> Router<Arc<AppState>> {
    Router::new()
        .route("/api/v1/admin/webhooks", get(list_endpoints))
        .route(
            "/api/v1/admin/webhooks/{name}/deliveries",
            get(list_deliveries),
        )
        .route(
            "/api/v1/admin/webhooks/{name}/replay",
            post(replay_deliveries),
        )
        .route(
            "/api/v1/admin/webhooks/{name}/resume",
            post(resume_endpoint),
        )
}

async fn list_endpoints(
    State(app): State<Arc<AppState>>,
    _operator: Operator,
) -> Result<Json<Data<Vec<WebhookView>>>, ErrorResponse> {
    let rows = app.store.endpoints().await?;
    let view = |endpoint: &Endpoint| {
        let row = rows.iter().find(|row| row.name == endpoint.name);
        let EndpointRow {
            owner,
            pause_reason: paused,
            waiting,
            dead,
            ..
        } = row.cloned().unwrap_or_else(unused_endpoint_row);
        WebhookView {
            name: endpoint.name.clone(),
            url: redact_http_url(&endpoint.url.uri().to_string()),
            types: endpoint
                .event_kinds
                .iter()
                .map(|kind| kind.as_str().to_owned())
                .collect(),
            owner: owner.map(|owner| owner.0.to_string()),
            paused,
            waiting,
            dead,
        }
    };
    Ok(Json(Data {
        data: app.webhook_endpoints.iter().map(view).collect(),
    }))
}

/// Returns the row of an endpoint to which no instance has delivered yet.
const fn unused_endpoint_row() -> EndpointRow {
    EndpointRow {
        name: String::new(),
        owner: None,
        pause_reason: None,
        waiting: 0,
        dead: 0,
    }
}

async fn list_deliveries(
    State(app): State<Arc<AppState>>,
    _operator: Operator,
    EndpointPath(name): EndpointPath,
    mut query: Query,
) -> Result<Json<Data<Vec<WebhookDelivery>>>, ErrorResponse> {
    let dead = query.flag("dead");
    let after = query.after();
    let limit = query.limit();
    query.finish()?;
    find_endpoint(&app, &name)?;
    let rows = app
        .store
        .parked_deliveries(&name, dead.unwrap_or(false), after.0, limit)
        .await?;
    let shown = |ParkedDelivery {
                     id,
                     raid,
                     seq,
                     attempts,
                     next_at,
                     error,
                     first_failed_at,
                 }| WebhookDelivery {
        id,
        raid,
        seq,
        attempts,
        next_at,
        error,
        first_failed_at,
    };
    Ok(Json(Data {
        data: rows.into_iter().map(shown).collect(),
    }))
}

async fn replay_deliveries(
    State(app): State<Arc<AppState>>,
    Operator(caller): Operator,
    EndpointPath(name): EndpointPath,
    body: JsonBody,
) -> Result<Json<Data<Replayed>>, ErrorResponse> {
    find_endpoint(&app, &name)?;
    let what = body.read(|fields| match fields.optional_flag("dead")? {
        Some(true) => Some(Replay::Dead),
        _ => {
            let raid = fields.id::<RaidId>("raid");
            let seq = fields.natural("seq");
            Some(Replay::Event(raid?, Seq(seq?)))
        }
    })?;
    let details = match what {
        Replay::Dead => json!({ "dead": true }),
        Replay::Event(raid, seq) => {
            require_webhook_event(&app, raid, seq).await?;
            json!({ "raid": raid, "seq": seq })
        }
    };
    let entry = caller.audit_entry("replay_webhooks", format!("webhook {name}"), details);
    let replayed = app.store.replay_deliveries(&name, what, &entry).await?;
    Ok(Json(Data {
        data: Replayed { replayed },
    }))
}

async fn resume_endpoint(
    State(app): State<Arc<AppState>>,
    Operator(caller): Operator,
    EndpointPath(name): EndpointPath,
) -> Result<Json<Data<Resumed>>, ErrorResponse> {
    find_endpoint(&app, &name)?;
    let entry = caller.audit_entry("resume_webhooks", format!("webhook {name}"), json!({}));
    let resumed = app.store.resume_endpoint(&name, &entry).await?;
    Ok(Json(Data {
        data: Resumed { resumed },
    }))
}

fn find_endpoint<'a>(app: &'a AppState, name: &str) -> Result<&'a Endpoint, ErrorResponse> {
    app.webhook_endpoints
        .iter()
        .find(|endpoint| endpoint.name == name)
        .ok_or_else(|| ENDPOINT_NOT_FOUND.into())
}

/// Fails with 404 unless a raid has an event with this seq that is delivered to webhooks.
async fn require_webhook_event(
    app: &AppState,
    raid: RaidId,
    seq: Seq,
) -> Result<(), ErrorResponse> {
    let before = Seq(seq.0.saturating_sub(1));
    let event = app
        .store
        .events(raid, before, 1)
        .await?
        .pop()
        .filter(|event| event.seq == seq);
    event
        .and_then(|event| WebhookEventKind::from_event(&event.data))
        .map(drop)
        .ok_or_else(|| EVENT_NOT_FOUND.into())
}
