//! Ownership of raids: claims, releases, and raids that wait for an owner.

use std::collections::HashMap;

use async_trait::async_trait;
use raidhall_protocol::{RaidId, UnixMillis};
use sqlx::SqliteConnection;
use uuid::Uuid;

use super::SqliteStore;
use super::commit::{self, json_array};
use super::fault::{failed, refused, unsigned};
use super::statements::{now, statements};
use crate::store::{ClaimOutcome, DueRaid, Epoch, InstanceId, Ownership, RaidHead, Result};

statements! {
    CLAIM =
        "UPDATE raids SET owner = ?2, epoch = epoch + 1 ",
        "WHERE id IN (SELECT value FROM json_each(?1)) AND (owner IS NULL OR owner = ?2 OR NOT EXISTS ",
        "    (SELECT 1 FROM instances WHERE instances.id = raids.owner AND lease_until > ", now!(), ")) ",
        "RETURNING id, epoch";
    HOLDERS =
        "SELECT raids.id, owner, ws_url FROM raids CROSS JOIN instances ON instances.id = raids.owner ",
        "WHERE raids.id IN (SELECT value FROM json_each(?1)) AND owner <> ?2";
    OWNED_RAIDS = "SELECT id, epoch FROM raids WHERE owner = ?1";
    RELEASE =
        "UPDATE raids SET owner = NULL FROM json_each(?1) AS given ",
        "WHERE raids.id = given.value ->> 0 AND raids.epoch = given.value ->> 1 AND raids.owner = ?2";
    DUE_RAIDS =
        "SELECT id, deadline FROM raids ",
        "WHERE deadline <= ?1 AND (deadline, id) > (?4, ?5) AND status = 'active' AND NOT EXISTS ",
        "    (SELECT 1 FROM instances WHERE instances.id = raids.owner AND instances.id <> ?3 AND lease_until > ", now!(), ") ",
        "ORDER BY deadline, id LIMIT ?2";
}

#[async_trait]
impl Ownership for SqliteStore {
    async fn claim(&self, raids: &[RaidId], instance: InstanceId) -> Result<Vec<ClaimOutcome>> {
        let raids = raids.to_vec();
        let claim = self.writer.write("claim raids", move |transaction| {
            Box::pin(async move { claim(transaction, &raids, instance).await })
        });
        claim.await
    }

    async fn release(&self, raids: &[(RaidId, Epoch)], instance: InstanceId) -> Result<()> {
        let raids = raids.to_vec();
        let release = self.writer.write("release raids", move |transaction| {
            Box::pin(async move { release(transaction, &raids, instance).await })
        });
        release.await
    }

    async fn heads(&self, raids: &[RaidId]) -> Result<Vec<(RaidId, RaidHead)>> {
        const OPERATION: &str = "read heads";
        let heads = commit::heads(
            &self.readers,
            OPERATION,
            raids.iter().map(|raid| i64::from(*raid)),
        )
        .await?;
        heads
            .into_iter()
            .map(|(raid, head)| Ok((raid_id(OPERATION, raid)?, head)))
            .collect()
    }

    async fn owned_raids(&self, instance: InstanceId) -> Result<Vec<(RaidId, Epoch)>> {
        const OPERATION: &str = "read owned raids";
        let owned = sqlx::query_as(OWNED_RAIDS)
            .bind(instance.0)
            .fetch_all(&self.readers)
            .await;
        let mut owned: Vec<(i64, i64)> = owned.map_err(failed(OPERATION))?;
        owned.sort_unstable();
        owned
            .into_iter()
            .map(|(raid, epoch)| {
                Ok((
                    raid_id(OPERATION, raid)?,
                    Epoch(unsigned(OPERATION, epoch)?),
                ))
            })
            .collect()
    }

    async fn due_raids(
        &self,
        instance: InstanceId,
        after: Option<DueRaid>,
        until: UnixMillis,
        limit: u32,
    ) -> Result<Vec<DueRaid>> {
        const OPERATION: &str = "find due raids";
        let due = sqlx::query_as(DUE_RAIDS)
            .bind(until.0)
            .bind(limit)
            .bind(instance.0)
            .bind(after.map_or(i64::MIN, |after| after.deadline.0))
            .bind(after.map_or(0, |after| i64::from(after.raid)));
        let rows: Vec<(i64, i64)> = due
            .fetch_all(&self.readers)
            .await
            .map_err(failed(OPERATION))?;
        let due = |(raid, deadline)| {
            Ok(DueRaid {
                deadline: UnixMillis(deadline),
                raid: raid_id(OPERATION, raid)?,
            })
        };
        rows.into_iter().map(due).collect()
    }
}

async fn claim(
    transaction: &mut SqliteConnection,
    raids: &[RaidId],
    instance: InstanceId,
) -> Result<Vec<ClaimOutcome>> {
    const OPERATION: &str = "claim raids";
    let failed = failed(OPERATION);
    let ids = json_array(raids.iter().map(RaidId::to_string));
    let claim = sqlx::query_as(CLAIM).bind(&ids).bind(instance.0);
    let taken: Vec<(i64, i64)> = claim.fetch_all(&mut *transaction).await.map_err(&failed)?;
    // In this transaction, a raid that could not be claimed has an owner with a valid lease.
    let holders = sqlx::query_as(HOLDERS).bind(ids).bind(instance.0);
    let held: Vec<(i64, Uuid, String)> = holders
        .fetch_all(&mut *transaction)
        .await
        .map_err(&failed)?;

    let mut claims = HashMap::new();
    for (raid, epoch) in taken {
        claims.insert(
            raid,
            ClaimOutcome::Acquired(Epoch(unsigned(OPERATION, epoch)?)),
        );
    }
    claims.extend(held.into_iter().map(|(raid, owner, ws_url)| {
        (
            raid,
            ClaimOutcome::Held {
                owner: InstanceId(owner),
                ws_url,
            },
        )
    }));
    let answer = |raid: &RaidId| {
        claims
            .get(&i64::from(*raid))
            .cloned()
            .unwrap_or(ClaimOutcome::Missing)
    };
    Ok(raids.iter().map(answer).collect())
}

async fn release(
    transaction: &mut SqliteConnection,
    raids: &[(RaidId, Epoch)],
    instance: InstanceId,
) -> Result<()> {
    let raids: Vec<_> = raids
        .iter()
        .map(|(raid, epoch)| format!("[{raid},{}]", epoch.0))
        .collect();
    let raids = format!("[{}]", raids.join(","));
    let release = sqlx::query(RELEASE)
        .bind(raids)
        .bind(instance.0)
        .execute(&mut *transaction)
        .await;
    release.map(drop).map_err(failed("release raids"))
}

pub(super) fn raid_id(operation: &'static str, id: i64) -> Result<RaidId> {
    RaidId::try_from(id).map_err(|error| refused(operation, error))
}
