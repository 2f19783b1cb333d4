//! `/raids/{id}/events` and `/contributions`: what has happened, oldest first, for those who may see the raid.

use axum::Json;
use axum::extract::State;
use raidhall_protocol::rest::{Contribution, Data, LedgerRow};
use raidhall_protocol::{RaidId, Seq};

use crate::http::authentication::Signed;
use crate::http::error_response::Failure;
use crate::http::query::Query;
use crate::http::routes::raids::{RaidPath, Raids};

pub(in crate::http) async fn events(
    State(raids): State<Raids>,
    signed: Signed,
    RaidPath(raid): RaidPath,
    query: Query,
) -> Result<Json<Data<Vec<LedgerRow>>>, Failure> {
    let (after, limit) = page(&raids, &signed, raid, query).await?;
    Ok(Json(Data {
        data: raids.store.events(raid, after, limit).await?,
    }))
}

pub(in crate::http) async fn contributions(
    State(raids): State<Raids>,
    signed: Signed,
    RaidPath(raid): RaidPath,
    query: Query,
) -> Result<Json<Data<Vec<Contribution>>>, Failure> {
    let (after, limit) = page(&raids, &signed, raid, query).await?;
    Ok(Json(Data {
        data: raids.store.contributions(raid, after, limit).await?,
    }))
}

/// Which page is wanted, once it is certain that the caller may see the raid.
async fn page(
    raids: &Raids,
    signed: &Signed,
    raid: RaidId,
    mut query: Query,
) -> Result<(Seq, u32), Failure> {
    let page = (query.after(), query.limit());
    query.finish()?;
    raids.sessions.read(raid, signed.0.caller()).await?;
    Ok(page)
}
