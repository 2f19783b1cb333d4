//! Who owns a raid: claims, releases, and raids that wait for an owner.

use super::columns::{instance, number, raid, seq};
use super::connections::Connections;
use super::fault;
use crate::store::{Claim, Epoch, Head, InstanceId, Result};
use anyhow::anyhow;
use raidhall_protocol::{RaidId, UnixMillis};
use sqlx::Row;
use sqlx::postgres::PgRow;

/// How often a claim is tried while others change what it saw.
const CLAIM_ATTEMPTS: u32 = 5;

/// A compare-and-set on the epoch that it saw. If a lease seems to have run out, its row is locked against renewal
/// and read again; a claim and a renewal thus can't pass each other: whichever is second sees the first.
const CLAIM: &str = "
    WITH seen AS MATERIALIZED (
        SELECT r.id, r.epoch,
            r.owner IS NULL OR r.owner = $2 OR i.id IS NULL AS free,
            i.lease_until >= clock_timestamp() AS held,
            i.id AS holder, i.ws_url
        FROM raids r LEFT JOIN instances i ON i.id = r.owner
        WHERE r.id = $1
    ), lapsed AS MATERIALIZED (
        SELECT i.id
        FROM seen s JOIN instances i ON i.id = s.holder
        WHERE NOT s.free AND i.lease_until < clock_timestamp()
        FOR SHARE OF i
    ), taken AS (
        UPDATE raids r SET owner = $2, epoch = r.epoch + 1
        FROM seen s LEFT JOIN lapsed l ON true
        WHERE r.id = s.id AND r.epoch = s.epoch AND (s.free OR l.id IS NOT NULL)
        RETURNING r.epoch
    )
    SELECT t.epoch, NOT s.free AND s.held AS held, s.ws_url
    FROM seen s LEFT JOIN taken t ON true";

const RELEASE: &str = "
    UPDATE raids r SET owner = NULL
    FROM unnest($1::bigint[], $2::bigint[]) AS g (raid, epoch)
    WHERE r.id = g.raid AND r.epoch = g.epoch AND r.owner = $3";

/// The lease first, as in a claim, so that the two can't deadlock.
const RETIRE: &str = "
    WITH gone AS (DELETE FROM instances WHERE id = $1 RETURNING id)
    UPDATE raids SET owner = NULL WHERE (SELECT count(*) FROM gone) IS NOT NULL AND owner = $1";

const HEAD: &str = "SELECT owner, epoch, last_seq FROM raids WHERE id = $1";

const DUE: &str = "
    SELECT r.id
    FROM raids r LEFT JOIN instances i ON i.id = r.owner
    WHERE r.deadline <= $1 AND r.status = 'active'
        AND (i.id IS NULL OR i.id = $3 OR i.lease_until < clock_timestamp())
    ORDER BY r.deadline, r.id
    LIMIT $2";

pub(super) async fn claim(connections: &Connections, raid: RaidId, claimer: InstanceId) -> Result<Claim> {
    const OPERATION: &str = "claim a raid";
    for _ in 0..CLAIM_ATTEMPTS {
        let statement = sqlx::query(CLAIM).bind(i64::from(raid)).bind(claimer.0);
        match connections.first(OPERATION, statement, outcome).await? {
            Some(Some(claim)) => return Ok(claim),
            Some(None) => {}
            None => return Ok(Claim::Missing),
        }
    }
    Err(fault::unavailable(OPERATION, anyhow!("raid {raid} changed hands {CLAIM_ATTEMPTS} times meanwhile")))
}

/// `None` if another got in between: look again.
fn outcome(row: &PgRow) -> sqlx::Result<Option<Claim>> {
    if row.try_get::<Option<i64>, _>("epoch")?.is_some() {
        return Ok(Some(Claim::Ours(Epoch(number(row, "epoch")?))));
    }
    if row.try_get::<Option<bool>, _>("held")? == Some(true) {
        return Ok(Some(Claim::Held { ws_url: row.try_get("ws_url")? }));
    }
    Ok(None)
}

pub(super) async fn release(
    connections: &Connections,
    raids: &[(RaidId, Epoch)],
    owner: InstanceId,
) -> Result<()> {
    if raids.is_empty() {
        return Ok(());
    }
    let mut given_up = raids.to_vec();
    given_up.sort_unstable(); // so that rows are locked in one order everywhere
    let (ids, epochs): (Vec<i64>, Vec<i64>) =
        given_up.into_iter().map(|(raid, epoch)| (i64::from(raid), epoch.0.cast_signed())).unzip();
    let statement = sqlx::query(RELEASE).bind(ids).bind(epochs).bind(owner.0);
    connections.rows("release raids", statement).await.map(drop)
}

pub(super) async fn retire(connections: &Connections, owner: InstanceId) -> Result<()> {
    connections.rows("retire an instance", sqlx::query(RETIRE).bind(owner.0)).await.map(drop)
}

pub(super) async fn head(connections: &Connections, raid: RaidId) -> Result<Option<Head>> {
    connections.first("read a raid's head", sqlx::query(HEAD).bind(i64::from(raid)), head_of).await
}

/// The columns owner, epoch and last_seq.
pub(super) fn head_of(row: &PgRow) -> sqlx::Result<Head> {
    Ok(Head {
        owner: instance(row, "owner")?,
        epoch: Epoch(number(row, "epoch")?),
        last_seq: seq(row, "last_seq")?,
    })
}

pub(super) async fn due(
    connections: &Connections,
    instance: InstanceId,
    until: UnixMillis,
    limit: u32,
) -> Result<Vec<RaidId>> {
    let statement = sqlx::query(DUE).bind(until.0).bind(i64::from(limit)).bind(instance.0);
    connections.all("read due raids", statement, |row| raid(row, "id")).await
}
