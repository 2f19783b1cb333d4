//! Leases of instances, and the database's lock.

use std::path::{Path, PathBuf};
use std::time::Duration;

use async_trait::async_trait;
use raidhall_protocol::UnixMillis;
use sqlx::SqliteConnection;
use tokio::time::timeout;
use tracing::info;
use uuid::Uuid;

use super::SqliteStore;
use super::fault::failed;
use super::statements::{now, statements};
use crate::store::{
    DatabaseSpace, GENERATION, InstanceId, InstanceRecord, Leases, PeerInstance, RegisterError,
    Renewal, Result, StoreError,
};

/// Longest time to empty the write-ahead log at a clean stop, well below the time that giving the
/// lease back may take.
const CHECKPOINT_TIMEOUT: Duration = Duration::from_secs(2);

statements! {
    VOID_LEASES = "DELETE FROM instances";
    RENEW =
        "INSERT INTO instances (id, ws_url, release, lease_until, lease_ms, draining, generation) ",
        "VALUES (?1, ?2, ?3, ", now!(), " + ?4, ?4, ?5, ?6) ",
        "ON CONFLICT (id) DO UPDATE SET ws_url = excluded.ws_url, release = excluded.release, ",
        "    lease_until = excluded.lease_until, draining = excluded.draining ",
        "RETURNING lease_until - ?4, (SELECT value FROM meta WHERE key = 'lineage')";
    /// Needed although the lock excludes other processes: this process may run several instances.
    PEERS =
        "SELECT id, ws_url, draining, lease_ms, lease_until FROM instances WHERE id <> ?1 AND lease_until > ?2 ORDER BY id";
    END_LEASE = "DELETE FROM instances WHERE id = ?1";
    END_STALE_LEASE = "DELETE FROM instances WHERE id = ?1 AND lease_until = ?2";
    RELEASE_ALL = "UPDATE raids SET owner = NULL WHERE owner = ?1";
    RENAME_LINEAGE = "UPDATE meta SET value = lower(hex(randomblob(16))) WHERE key = 'lineage' RETURNING value";
}

#[async_trait]
impl Leases for SqliteStore {
    async fn register(
        &self,
        instance: &InstanceRecord,
        ttl: Duration,
        patience: Duration,
    ) -> Result<Renewal, RegisterError> {
        self.acquire_lock(patience).await?;
        let instance = instance.clone();
        // The first registration in this process voids the leases of former processes: those are
        // dead, or they would hold the lock.
        let mut has_voided_leases = self.has_voided_leases.lock().await;
        let void = !*has_voided_leases;
        let register = self.writer.write_first("register", move |transaction| {
            Box::pin(async move {
                if void {
                    let void = sqlx::query(VOID_LEASES).execute(&mut *transaction).await;
                    void.map_err(failed("void former leases"))?;
                }
                renew(transaction, &instance, ttl).await
            })
        });
        let renewal = register.await?;
        *has_voided_leases = true;
        Ok(renewal)
    }

    fn has_exclusive_lock(&self) -> bool {
        true
    }

    async fn renew(&self, instance: &InstanceRecord, ttl: Duration) -> Result<Renewal> {
        let instance = instance.clone();
        let renew = self.writer.write_first("renew lease", move |transaction| {
            Box::pin(async move { renew(transaction, &instance, ttl).await })
        });
        renew.await
    }

    async fn end_stale_lease(&self, instance: InstanceId, lease_until: UnixMillis) -> Result<()> {
        const OPERATION: &str = "end a stale lease";
        let end = self.writer.write_first(OPERATION, move |transaction| {
            Box::pin(async move {
                let end = sqlx::query(END_STALE_LEASE)
                    .bind(instance.0)
                    .bind(lease_until.0);
                let ended = end.execute(&mut *transaction).await;
                ended.map(drop).map_err(failed(OPERATION))
            })
        });
        end.await
    }

    async fn space(&self) -> Result<Option<DatabaseSpace>> {
        const OPERATION: &str = "read the free space";
        let path = self.path.clone();
        let read = tokio::task::spawn_blocking(move || {
            let volume = rustix::fs::statvfs(&path)?;
            let mut used_bytes = std::fs::metadata(&path)?.len();
            // Without a write-ahead log, there is nothing in it.
            if let Ok(log) = std::fs::metadata(wal_path(&path)) {
                used_bytes += log.len();
            }
            Ok::<_, std::io::Error>((used_bytes, volume.f_bavail.saturating_mul(volume.f_frsize)))
        });
        let unavailable = |error| StoreError::Unavailable {
            operation: OPERATION,
            source: error,
        };
        let (used_bytes, free_bytes) = read
            .await
            .map_err(|error| unavailable(error.into()))?
            .map_err(|error| unavailable(error.into()))?;
        Ok(Some(DatabaseSpace {
            used_bytes,
            free_bytes: Some(free_bytes),
        }))
    }

    async fn deregister(&self, instance: InstanceId) -> Result<()> {
        let deregister = self.writer.write_first("deregister", move |transaction| {
            Box::pin(deregister(transaction, instance))
        });
        deregister.await?;
        // A copy of the database file alone is complete after that.
        match timeout(CHECKPOINT_TIMEOUT, self.writer.checkpoint()).await {
            Ok(Ok(())) => {}
            failed => info!(
                ?failed,
                "the write-ahead log is not empty; SQLite reads it at the next start"
            ),
        }
        Ok(())
    }
}

async fn renew(
    transaction: &mut SqliteConnection,
    instance: &InstanceRecord,
    ttl: Duration,
) -> Result<Renewal> {
    let failed = failed("renew lease");
    let (now, lineage): (i64, String) = sqlx::query_as(RENEW)
        .bind(instance.id.0)
        .bind(&instance.ws_url)
        .bind(&instance.release)
        .bind(millis(ttl))
        .bind(instance.draining)
        .bind(GENERATION)
        .fetch_one(&mut *transaction)
        .await
        .map_err(&failed)?;
    let peers = sqlx::query_as(PEERS)
        .bind(instance.id.0)
        .bind(now)
        .fetch_all(&mut *transaction)
        .await;
    let peers: Vec<(Uuid, String, bool, u32, i64)> = peers.map_err(failed)?;
    let peer = |(id, ws_url, draining, lease_ms, lease_until)| PeerInstance {
        id: InstanceId(id),
        ws_url,
        draining,
        ttl: Duration::from_millis(u64::from(lease_ms)),
        lease_until: UnixMillis(lease_until),
    };
    // The process holds the database's lock, so an expired lease costs it nothing.
    let lapsed = false;
    Ok(Renewal {
        now: UnixMillis(now),
        lineage,
        lapsed,
        peers: peers.into_iter().map(peer).collect(),
    })
}

async fn deregister(transaction: &mut SqliteConnection, instance: InstanceId) -> Result<()> {
    let failed = failed("deregister");
    for statement in [END_LEASE, RELEASE_ALL] {
        sqlx::query(statement)
            .bind(instance.0)
            .execute(&mut *transaction)
            .await
            .map_err(&failed)?;
    }
    Ok(())
}

pub(super) async fn rename_lineage(transaction: &mut SqliteConnection) -> Result<String> {
    let renamed = sqlx::query_scalar(RENAME_LINEAGE)
        .fetch_one(&mut *transaction)
        .await;
    renamed.map_err(failed("rename lineage"))
}

/// Returns the path of the write-ahead log that SQLite keeps beside a database file.
fn wal_path(database: &Path) -> PathBuf {
    let mut path = database.as_os_str().to_owned();
    path.push("-wal");
    path.into()
}

/// Converts a duration to whole milliseconds, for arithmetic in SQL.
pub(super) fn millis(time: Duration) -> i64 {
    // A quarter of the maximum is far beyond any lease, and does not overflow when it is added.
    i64::try_from(time.as_millis()).unwrap_or(i64::MAX / 4)
}
