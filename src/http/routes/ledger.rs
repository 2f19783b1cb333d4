//! `/raids/{id}/events` and `/contributions`: what has happened, oldest first, for those who may see the raid.

use axum::Json;
use axum::extract::State;
use raidhall_protocol::rest::{Contribution, Data, LedgerRow};
use raidhall_protocol::{RaidId, Seq};

use crate::http::error_response::ErrorResponse;
use crate::http::extract::{Authenticated, Query, RaidPath};
use crate::http::routes::raids::RaidApi;

pub(in crate::http) async fn list_events(
    State(raids): State<RaidApi>,
    signed: Authenticated,
    RaidPath(raid): RaidPath,
    query: Query,
) -> Result<Json<Data<Vec<LedgerRow>>>, ErrorResponse> {
    let (after, limit) = authorize_page(&raids, &signed, raid, query).await?;
    Ok(Json(Data {
        data: raids.store.events(raid, after, limit).await?,
    }))
}

pub(in crate::http) async fn list_contributions(
    State(raids): State<RaidApi>,
    signed: Authenticated,
    RaidPath(raid): RaidPath,
    query: Query,
) -> Result<Json<Data<Vec<Contribution>>>, ErrorResponse> {
    let (after, limit) = authorize_page(&raids, &signed, raid, query).await?;
    Ok(Json(Data {
        data: raids.store.contributions(raid, after, limit).await?,
    }))
}

/// Which page is wanted, once it is certain that the caller may see the raid.
async fn authorize_page(
    raids: &RaidApi,
    signed: &Authenticated,
    raid: RaidId,
    mut query: Query,
) -> Result<(Seq, u32), ErrorResponse> {
    let page = (query.after(), query.limit());
    query.finish()?;
    raids.sessions.read(raid, (&signed.0).into()).await?;
    Ok(page)
}
