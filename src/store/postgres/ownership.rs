//! Ownership of raids: claims, releases, and raids that wait for an owner.

use std::collections::HashMap;
use std::time::Duration;

use async_trait::async_trait;
use raidhall_protocol::{RaidId, UnixMillis};
use sqlx::Row;
use sqlx::postgres::PgRow;
use tokio::time::sleep;

use super::PostgresStore;
use super::columns::{instance, number, raid, seq};
use crate::store::{ClaimOutcome, DueRaid, Epoch, InstanceId, Ownership, RaidHead, Result};

/// Maximum number of attempts to claim raids whose rows other statements hold locked.
const CLAIM_ATTEMPTS: u32 = 5;

/// Pause between attempts: longer than a commit or a renewal takes.
const CLAIM_RETRY_DELAY: Duration = Duration::from_millis(20);

/// A compare-and-set on the epoch that it saw. If a lease seems to have expired, its row is locked
/// against renewal and read again. A claim and a renewal therefore cannot miss each other: the
/// later one sees the earlier one.
///
/// The claim also ends such a lease, as `END_STALE_LEASE` does. If it seemed to have expired only
/// because the database's clock was ahead for a moment, the owner's next renewal still finds a gap.
/// A lease that ended long ago stays as it is, so that claims of one dead owner's raids do not wait
/// for each other.
///
/// It never waits for a lock: rows that others have locked are skipped, so it cannot be part of a
/// deadlock, and one raid or one instance cannot hold up the whole statement. A raid that is
/// neither taken nor held has to be tried again.
const CLAIM: &str = "
    WITH seen AS MATERIALIZED (
        SELECT r.id, r.epoch,
            r.owner IS NULL OR r.owner = $2 OR i.id IS NULL AS free,
            i.lease_until >= clock_timestamp() AS lives,
            i.id AS holder, i.ws_url
        FROM raids r LEFT JOIN instances i ON i.id = r.owner
        WHERE r.id = ANY ($1::bigint[])
    ), lapsed AS MATERIALIZED (
        SELECT i.id
        FROM instances i
        WHERE i.id = ANY (ARRAY(SELECT holder FROM seen WHERE NOT free AND NOT lives))
            AND i.lease_until < clock_timestamp()
            AND i.lease_until >= clock_timestamp() - interval '30 minutes'
        FOR NO KEY UPDATE SKIP LOCKED
    ), ended AS (
        UPDATE instances i SET lease_until = clock_timestamp() - interval '1 hour'
        FROM lapsed l
        WHERE i.id = l.id
        RETURNING i.id
    ), dead AS MATERIALIZED (
        SELECT i.id
        FROM instances i
        WHERE i.id = ANY (ARRAY(SELECT holder FROM seen WHERE NOT free AND NOT lives))
            AND i.lease_until < clock_timestamp() - interval '30 minutes'
        FOR SHARE SKIP LOCKED
    ), locked AS MATERIALIZED (
        SELECT r.id
        FROM seen s JOIN raids r ON r.id = s.id
        WHERE r.epoch = s.epoch AND (s.free OR s.holder IN (SELECT id FROM ended UNION ALL SELECT id FROM dead))
        FOR NO KEY UPDATE OF r SKIP LOCKED
    ), taken AS (
        UPDATE raids r SET owner = $2, epoch = r.epoch + 1
        FROM locked l
        WHERE r.id = l.id
        RETURNING r.id, r.epoch
    )
    SELECT id, epoch, NULL::uuid AS owner, NULL::text AS ws_url FROM taken
    UNION ALL
    SELECT id, NULL, CASE WHEN NOT free AND lives THEN holder END, ws_url
    FROM seen WHERE id NOT IN (SELECT id FROM taken)";

/// Raids are locked in the order of ids, which is that of a commit's batch, so that the two do not
/// deadlock.
const RELEASE: &str = "
    WITH locked AS MATERIALIZED (
        SELECT r.id
        FROM unnest($1::bigint[], $2::bigint[]) AS g (raid, epoch) JOIN raids r ON r.id = g.raid
        WHERE r.id = ANY ($1::bigint[]) AND r.epoch = g.epoch AND r.owner = $3
        ORDER BY r.id
        FOR NO KEY UPDATE OF r
    )
    UPDATE raids r SET owner = NULL FROM locked l WHERE r.id = l.id";

const HEADS: &str = "SELECT id, owner, epoch, last_seq FROM raids WHERE id = ANY ($1::bigint[])";

const OWNED_RAIDS: &str = "SELECT id, epoch FROM raids WHERE owner = $1";

const DUE_RAIDS: &str = "
    SELECT r.id, r.deadline
    FROM raids r LEFT JOIN instances i ON i.id = r.owner
    WHERE r.deadline <= $1 AND (r.deadline, r.id) > ($4, $5) AND r.status = 'active'
        AND (i.id IS NULL OR i.id = $3 OR i.lease_until < clock_timestamp())
    ORDER BY r.deadline, r.id
    LIMIT $2";

#[async_trait]
impl Ownership for PostgresStore {
    async fn claim(&self, raids: &[RaidId], claimer: InstanceId) -> Result<Vec<ClaimOutcome>> {
        let mut claims = HashMap::new();
        let mut contested = raids.to_vec();
        for attempt in 0..CLAIM_ATTEMPTS {
            if contested.is_empty() {
                break;
            }
            if attempt > 0 {
                sleep(CLAIM_RETRY_DELAY).await;
            }
            let statement = sqlx::query(CLAIM).bind(ids(&contested)).bind(claimer.0);
            match self
                .session_pool
                .fetch_all("claim raids", statement, claim_outcome)
                .await
            {
                Ok(outcomes) => claims.extend(outcomes),
                Err(error) if attempt == 0 => return Err(error),
                // An error here must not hide the raids that an earlier attempt has claimed.
                Err(_) => break,
            }
            contested.retain(|raid| claims.get(raid) == Some(&ClaimOutcome::Contested));
        }
        Ok(raids
            .iter()
            .map(|raid| claims.get(raid).cloned().unwrap_or(ClaimOutcome::Missing))
            .collect())
    }

    async fn release(&self, raids: &[(RaidId, Epoch)], owner: InstanceId) -> Result<()> {
        if raids.is_empty() {
            return Ok(());
        }
        let (ids, epochs): (Vec<i64>, Vec<i64>) = raids
            .iter()
            .map(|(raid, epoch)| (i64::from(*raid), epoch.0.cast_signed()))
            .unzip();
        let statement = sqlx::query(RELEASE).bind(ids).bind(epochs).bind(owner.0);
        self.session_pool
            .fetch_rows("release raids", statement)
            .await
            .map(drop)
    }

    async fn heads(&self, raids: &[RaidId]) -> Result<Vec<(RaidId, RaidHead)>> {
        let statement = sqlx::query(HEADS).bind(ids(raids));
        self.session_pool
            .fetch_all("read raids' heads", statement, |row| {
                Ok((raid(row, "id")?, raid_head(row)?))
            })
            .await
    }

    async fn owned_raids(&self, owner: InstanceId) -> Result<Vec<(RaidId, Epoch)>> {
        let statement = sqlx::query(OWNED_RAIDS).bind(owner.0);
        let raid = |row: &PgRow| Ok((raid(row, "id")?, Epoch(number(row, "epoch")?)));
        let mut owned = self
            .session_pool
            .fetch_all("read owned raids", statement, raid)
            .await?;
        owned.sort_unstable(); // not in SQL: ORDER BY id would tempt the planner to scan all raids
        Ok(owned)
    }

    async fn due_raids(
        &self,
        instance: InstanceId,
        after: Option<DueRaid>,
        until: UnixMillis,
        limit: u32,
    ) -> Result<Vec<DueRaid>> {
        let statement = sqlx::query(DUE_RAIDS)
            .bind(until.0)
            .bind(i64::from(limit))
            .bind(instance.0)
            .bind(after.map_or(i64::MIN, |after| after.deadline.0))
            .bind(after.map_or(0, |after| i64::from(after.raid)));
        let due = |row: &PgRow| {
            Ok(DueRaid {
                deadline: UnixMillis(row.try_get("deadline")?),
                raid: raid(row, "id")?,
            })
        };
        self.session_pool
            .fetch_all("read due raids", statement, due)
            .await
    }
}

fn claim_outcome(row: &PgRow) -> sqlx::Result<(RaidId, ClaimOutcome)> {
    let claim = if row.try_get::<Option<i64>, _>("epoch")?.is_some() {
        ClaimOutcome::Acquired(Epoch(number(row, "epoch")?))
    } else if let Some(owner) = instance(row, "owner")? {
        ClaimOutcome::Held {
            owner,
            ws_url: row.try_get("ws_url")?,
        }
    } else {
        ClaimOutcome::Contested
    };
    Ok((raid(row, "id")?, claim))
}

/// Reads the columns owner, epoch and last_seq.
pub(super) fn raid_head(row: &PgRow) -> sqlx::Result<RaidHead> {
    Ok(RaidHead {
        owner: instance(row, "owner")?,
        epoch: Epoch(number(row, "epoch")?),
        last_seq: seq(row, "last_seq")?,
    })
}

fn ids(raids: &[RaidId]) -> Vec<i64> {
    raids.iter().map(|raid| i64::from(*raid)).collect()
}
