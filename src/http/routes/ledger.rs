//! `/raids/{id}/events` and `/raids/{id}/contributions`: the events and contributions of a raid,
//! oldest first, for callers who may see the raid.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use raidhall_protocol::rest::{Contribution, Data, LedgerRow};
use raidhall_protocol::{RaidId, Seq};

use crate::http::AppState;
use crate::http::error_response::ErrorResponse;
use crate::http::extract::{Authenticated, Query, RaidPath, RowCharge};

pub(in crate::http) async fn list_events(
    State(app): State<Arc<AppState>>,
    caller: Authenticated,
    RaidPath(raid): RaidPath,
    charge: RowCharge,
    query: Query,
) -> Result<Json<Data<Vec<LedgerRow>>>, ErrorResponse> {
    let (after, limit) = authorize_page(&app, &caller, raid, charge, query).await?;
    let data = app.store.events(raid, after, limit).await?;
    Ok(Json(Data { data }))
}

pub(in crate::http) async fn list_contributions(
    State(app): State<Arc<AppState>>,
    caller: Authenticated,
    RaidPath(raid): RaidPath,
    charge: RowCharge,
    query: Query,
) -> Result<Json<Data<Vec<Contribution>>>, ErrorResponse> {
    let (after, limit) = authorize_page(&app, &caller, raid, charge, query).await?;
    let data = app.store.contributions(raid, after, limit).await?;
    Ok(Json(Data { data }))
}

/// Charges the caller for the requested page and checks that they may see the raid. Returns the
/// page: the seq after which it begins, and its limit.
async fn authorize_page(
    app: &AppState,
    caller: &Authenticated,
    raid: RaidId,
    charge: RowCharge,
    mut query: Query,
) -> Result<(Seq, u32), ErrorResponse> {
    let after = query.after();
    let limit = query.limit();
    query.finish()?;
    charge.apply(app, caller, limit).await?;
    app.sessions.read(raid, (&caller.0).into()).await?;
    Ok((after, limit))
}
