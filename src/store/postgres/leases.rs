//! Leases: this process's row in `instances`, and the database's lock, on a connection of their
//! own.
//!
//! The lock belongs to a session: it is exclusive for an instance that must be alone and shared for
//! those of a cluster, so that the two kinds never coexist. The server ends the session when it has
//! been idle for as long as the lease, so the lock of a process that vanished is free when its
//! lease has expired.

use std::time::Duration;

use anyhow::anyhow;
use async_trait::async_trait;
use raidhall_protocol::UnixMillis;
use sqlx::postgres::PgRow;
use sqlx::{Connection, PgConnection, Row};
use tokio::sync::Mutex;
use tokio::time::{Instant, sleep};

use super::columns::{self, millis, number};
use super::connections::{ConnectionPool, Connector, Statement};
use super::{PostgresStore, fault, identities, moderation, players};
use crate::store::{
    DatabaseSpace, GENERATION, InstanceId, InstanceRecord, Leases, MaintenanceReport, PeerInstance,
    RegisterError, Renewal, Result, StaleLeases,
};

/// Advisory lock of this database.
pub(super) const DATABASE_LOCK: i64 = 0x7261_6964_0001;

/// Interval between attempts to take a lock, or to see a lease expire, that another process holds.
const POLL_INTERVAL: Duration = Duration::from_millis(50);

/// How long the server may take to end this process's own lost session.
const TERMINATION_TIMEOUT: Duration = Duration::from_secs(1);

/// How long the row of an expired sign-in is kept.
const EXPIRED_FAMILY_RETENTION_MS: i64 = 86_400_000;

/// Minimum of the idle timeout of the lease's session.
const IDLE_SESSION_MIN: Duration = Duration::from_secs(1);

const ACQUIRE_LOCK: &str = "
    SELECT CASE WHEN $1 THEN pg_try_advisory_lock($2) ELSE pg_try_advisory_lock_shared($2) END
        AND NOT ($1 AND EXISTS (SELECT FROM instances WHERE id <> $3 AND lease_until > clock_timestamp()))
        AS admitted,
        (SELECT release FROM instances WHERE generation <> $4 AND lease_until > clock_timestamp() LIMIT 1)
        AS other_release";

const INSTANCES_EXIST: &str = "SELECT to_regclass('instances') IS NOT NULL";

/// Reads the release of a live instance of another generation. In the schema of 0.2, `instances` has
/// no column `generation`.
const OTHER_GENERATION: &str = "
    SELECT release FROM instances i
    WHERE (to_jsonb(i) ->> 'generation')::integer IS DISTINCT FROM $1 AND lease_until > clock_timestamp()
    LIMIT 1";

/// Ends sessions to which this instance has lost its connection and which may hold its lock.
const TERMINATE_LOST_SESSIONS: &str = "
    SELECT pg_terminate_backend(pid) FROM pg_stat_activity
    WHERE application_name = $1 AND datname = current_database() AND pid <> pg_backend_pid()";

/// The former lease is locked, so that it is the one that the new one replaces. It is compared with a
/// time that is read after that: a claim that saw it expire happened before.
const RENEW: &str = "
    WITH former AS MATERIALIZED (
        SELECT lease_until FROM instances WHERE id = $1 FOR NO KEY UPDATE
    ), renewed AS (
        INSERT INTO instances (id, ws_url, release, lease_until, lease_ms, draining, generation)
        SELECT $1, $2, $3, clock_timestamp() + $4::bigint * interval '1 millisecond', $4, $5, $6
        WHERE (SELECT count(*) FROM former) IS NOT NULL
        ON CONFLICT (id) DO UPDATE SET ws_url = excluded.ws_url, release = excluded.release,
            lease_until = clock_timestamp() + $4::bigint * interval '1 millisecond', draining = excluded.draining
        RETURNING id
    )
    SELECT floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint AS now,
        (SELECT value FROM meta WHERE key = 'lineage') AS lineage,
        COALESCE((SELECT lease_until FROM former) <= clock_timestamp(), true) AS lapsed,
        p.id, p.ws_url, p.draining, p.lease_ms, floor(extract(epoch FROM p.lease_until) * 1000)::bigint AS lease_until
    FROM renewed LEFT JOIN instances p ON p.id <> renewed.id AND p.lease_until > clock_timestamp()
    ORDER BY p.id";

const OTHER_LEASES: &str = "
    SELECT id, ws_url, draining, lease_ms, floor(extract(epoch FROM lease_until) * 1000)::bigint AS lease_until
    FROM instances WHERE id <> $1 AND lease_until > clock_timestamp()";

/// The row stays for a day, as others do, because a claim locks it against a renewal. It has ended
/// long ago, so that it does not seem to live if the clock goes back.
const END_STALE_LEASE: &str = "
    UPDATE instances SET lease_until = clock_timestamp() - interval '1 hour'
    WHERE id = $1 AND floor(extract(epoch FROM lease_until) * 1000)::bigint = $2";

/// Returns nothing if a live instance would go on with states of the history that is renamed.
/// Events that were restored from another server may carry transaction ids that this server has not
/// reached yet: the feed would not return them until then, so they get the present one.
const RENAME_LINEAGE: &str = "
    WITH renamed AS (
        UPDATE meta SET value = replace(gen_random_uuid()::text, '-', '')
        WHERE key = 'lineage' AND ($1 OR NOT EXISTS (SELECT FROM instances WHERE lease_until > clock_timestamp()))
        RETURNING value
    ), reached AS (
        UPDATE raid_events SET tx = pg_current_xact_id()
        WHERE tx > pg_current_xact_id() AND EXISTS (SELECT FROM renamed)
    )
    SELECT value FROM renamed";

const SIZE: &str = "SELECT pg_database_size(current_database()) AS bytes";

/// Raids are locked in the order of ids, as in a commit, so that the two cannot deadlock.
const DEREGISTER: &str = "
    WITH gone AS (
        DELETE FROM instances WHERE id = $1 RETURNING id
    ), locked AS MATERIALIZED (
        SELECT id FROM raids
        WHERE (SELECT count(*) FROM gone) IS NOT NULL AND owner = $1
        ORDER BY id
        FOR NO KEY UPDATE
    )
    UPDATE raids r SET owner = NULL FROM locked l WHERE r.id = l.id";

/// Skips rows that are locked: it never waits while it holds locks on other rows.
/// An instance that comes back after that is held off by the fence alone.
const DELETE_DEAD_INSTANCES: &str = "
    DELETE FROM instances WHERE id = ANY (ARRAY(
        SELECT id FROM instances WHERE lease_until < now() - interval '1 day' FOR UPDATE SKIP LOCKED
    ))";

/// The session that holds the lock and renews the lease. Its socket belongs to the runtime that
/// opened it: call [`LeaseSession::register`] on the runtime that will call
/// [`LeaseSession::renew`].
pub(super) struct LeaseSession {
    connector: Connector,
    is_exclusive: bool,
    session: Mutex<Option<PgConnection>>,
}

impl LeaseSession {
    pub(super) fn new(connector: Connector, is_exclusive: bool) -> LeaseSession {
        LeaseSession {
            connector,
            is_exclusive,
            session: Mutex::new(None),
        }
    }

    pub(super) async fn register(
        &self,
        instance: &InstanceRecord,
        ttl: Duration,
        patience: Duration,
    ) -> Result<Renewal, RegisterError> {
        let mut kept = self.session.lock().await;
        let session = self.open(instance, ttl).await?;
        let session = self.acquire_lock(session, instance, patience).await?;
        let (renewal, session) = self.renew_on(session, instance, ttl).await;
        *kept = session;
        Ok(renewal?)
    }

    /// Renews the lease on the session that holds the lock. If that session is lost, the lock is
    /// taken again first; if another process has it by then, the renewal is refused.
    pub(super) async fn renew(&self, instance: &InstanceRecord, ttl: Duration) -> Result<Renewal> {
        const OPERATION: &str = "take the database's lock again";
        let mut kept = self.session.lock().await;
        // Taken, not borrowed: if this future is dropped, the session is dropped with it.
        if let Some(session) = kept.take() {
            let (renewal, session) = self.renew_on(session, instance, ttl).await;
            *kept = session;
            if kept.is_some() {
                return renewal;
            }
        }
        let session = self.open(instance, ttl).await?;
        let session = self
            .acquire_lock(session, instance, TERMINATION_TIMEOUT)
            .await
            .map_err(|error| match error {
                RegisterError::Store(error) => error,
                taken => fault::refused(OPERATION, taken),
            })?;
        let (renewal, session) = self.renew_on(session, instance, ttl).await;
        *kept = session;
        renewal
    }

    /// Ends a stale lease on the session that renews the own one, so that no load delays either.
    async fn end_stale_lease(&self, instance: InstanceId, lease_until: UnixMillis) -> Result<()> {
        const OPERATION: &str = "end a stale lease";
        let mut kept = self.session.lock().await;
        let session = kept
            .take()
            .ok_or_else(|| fault::unavailable(OPERATION, anyhow!("session lost")))?;
        let end = sqlx::query(END_STALE_LEASE)
            .bind(instance.0)
            .bind(lease_until.0);
        let (_, session) = self.fetch_rows(OPERATION, session, end).await?;
        *kept = Some(session);
        Ok(())
    }

    /// Ends the session and with it the lock.
    pub(super) async fn close(&self) {
        if let Some(session) = self.session.lock().await.take() {
            // If this fails, the server ends the session when it notices the loss.
            let _ = session.close().await;
        }
    }

    async fn open(&self, instance: &InstanceRecord, ttl: Duration) -> Result<PgConnection> {
        let Connector { options, .. } = &self.connector;
        let idle_timeout = ttl.max(IDLE_SESSION_MIN).as_millis().min(i32::MAX as u128);
        let options = options
            .clone()
            .application_name(&session_name(instance.id))
            .options([("idle_session_timeout", idle_timeout)]);
        let connector = Connector {
            options,
            ..self.connector.clone()
        };
        let session = connector.connect("open the lease's session").await?;
        let terminate = sqlx::query(TERMINATE_LOST_SESSIONS).bind(session_name(instance.id));
        let (_, session) = self
            .fetch_rows("end lost sessions", session, terminate)
            .await?;
        Ok(session)
    }

    /// Waits up to `patience` until the session has the lock, and until the leases of other
    /// generations have expired; if the instance must be alone, until every other lease has.
    async fn acquire_lock(
        &self,
        mut session: PgConnection,
        instance: &InstanceRecord,
        patience: Duration,
    ) -> Result<PgConnection, RegisterError> {
        const OPERATION: &str = "take the database's lock";
        let began = Instant::now();
        let mut stale_leases = StaleLeases::default();
        loop {
            let acquire = sqlx::query(ACQUIRE_LOCK)
                .bind(self.is_exclusive)
                .bind(DATABASE_LOCK)
                .bind(instance.id.0)
                .bind(GENERATION);
            let (rows, session_again) = self.fetch_rows(OPERATION, session, acquire).await?;
            session = session_again;
            let (admitted, other_release) = rows
                .first()
                .ok_or(sqlx::Error::RowNotFound)
                .and_then(|row| Ok((row.try_get("admitted")?, row.try_get("other_release")?)))
                .map_err(|error| fault::from_sqlx(OPERATION, error))?;
            match (admitted, other_release) {
                (true, None) => return Ok(session),
                _ if began.elapsed() < patience => sleep(POLL_INTERVAL).await,
                (_, Some(release)) => return Err(RegisterError::OtherGeneration { release }),
                (false, None) => return Err(RegisterError::InUse),
            }
            session = self
                .end_stale_leases(session, instance, &mut stale_leases)
                .await?;
        }
    }

    async fn end_stale_leases(
        &self,
        mut session: PgConnection,
        instance: &InstanceRecord,
        stale_leases: &mut StaleLeases,
    ) -> Result<PgConnection> {
        const OPERATION: &str = "end stale leases";
        let read = sqlx::query(OTHER_LEASES).bind(instance.id.0);
        let (rows, session_again) = self.fetch_rows(OPERATION, session, read).await?;
        session = session_again;
        let others = rows
            .iter()
            .filter_map(|row| peer(row).transpose())
            .collect::<sqlx::Result<Vec<_>>>()
            .map_err(|error| fault::from_sqlx(OPERATION, error))?;
        for stale in stale_leases.observe(&others) {
            let end = sqlx::query(END_STALE_LEASE)
                .bind(stale.id.0)
                .bind(stale.lease_until.0);
            (_, session) = self.fetch_rows(OPERATION, session, end).await?;
        }
        Ok(session)
    }

    /// Renews the lease, and returns the session if it can still be used.
    async fn renew_on(
        &self,
        session: PgConnection,
        instance: &InstanceRecord,
        ttl: Duration,
    ) -> (Result<Renewal>, Option<PgConnection>) {
        const OPERATION: &str = "renew the lease";
        let statement = sqlx::query(RENEW)
            .bind(instance.id.0)
            .bind(instance.ws_url.clone())
            .bind(instance.release.clone())
            .bind(millis(ttl))
            .bind(instance.draining)
            .bind(GENERATION);
        let (answer, session) = self
            .connector
            .fetch_rows(OPERATION, session, statement)
            .await;
        let renewal = answer
            .and_then(|rows| renewal(&rows).map_err(|error| fault::from_sqlx(OPERATION, error)));
        (renewal, session)
    }

    /// Runs a statement on a session that is dropped if the statement fails.
    async fn fetch_rows(
        &self,
        operation: &'static str,
        session: PgConnection,
        statement: Statement,
    ) -> Result<(Vec<PgRow>, PgConnection)> {
        let (answer, session) = self
            .connector
            .fetch_rows(operation, session, statement)
            .await;
        let rows = answer?;
        let session =
            session.ok_or_else(|| fault::unavailable(operation, anyhow!("session lost")))?;
        Ok((rows, session))
    }
}

#[async_trait]
impl Leases for PostgresStore {
    async fn register(
        &self,
        instance: &InstanceRecord,
        ttl: Duration,
        patience: Duration,
    ) -> Result<Renewal, RegisterError> {
        // Without new partitions the instance can still serve: the default partition takes the
        // rows.
        if let Err(error) = self.partitions.create_missing().await {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "creating ledger partitions failed; the default partition takes the events of new months"
            );
        }
        self.lease.register(instance, ttl, patience).await
    }

    async fn renew(&self, instance: &InstanceRecord, ttl: Duration) -> Result<Renewal> {
        self.lease.renew(instance, ttl).await
    }

    async fn end_stale_lease(&self, instance: InstanceId, lease_until: UnixMillis) -> Result<()> {
        self.lease.end_stale_lease(instance, lease_until).await
    }

    async fn space(&self) -> Result<Option<DatabaseSpace>> {
        let used_bytes = |row: &PgRow| number(row, "bytes");
        let used_bytes = self
            .general_pool
            .fetch_one("read the database's size", sqlx::query(SIZE), used_bytes)
            .await?;
        Ok(Some(DatabaseSpace {
            used_bytes,
            free_bytes: None,
        }))
    }

    async fn deregister(&self, instance: InstanceId) -> Result<()> {
        self.general_pool
            .fetch_rows(
                "deregister an instance",
                sqlx::query(DEREGISTER).bind(instance.0),
            )
            .await?;
        self.lease.close().await;
        Ok(())
    }

    async fn maintain(&self, now: UnixMillis) -> Result<MaintenanceReport> {
        let families_before = now.plus(-EXPIRED_FAMILY_RETENTION_MS);
        let found = self.partitions.create_missing().await?;
        delete_dead_instances(&self.general_pool).await?;
        self.general_pool
            .sweep(
                "delete expired sign-ins",
                families_before,
                players::DELETE_EXPIRED_FAMILIES,
            )
            .await?;
        self.general_pool
            .sweep("delete notices", now, moderation::DELETE_EXPIRED_NOTICES)
            .await?;
        self.general_pool
            .sweep("delete used proofs", now, identities::DELETE_EXPIRED_PROOFS)
            .await?;
        Ok(found)
    }
}

/// Waits up to `patience` until no instance of another generation is live, before the schema
/// changes under it.
pub(super) async fn wait_for_other_generations(
    session: &mut PgConnection,
    patience: Duration,
) -> Result<(), RegisterError> {
    let failed = |error| fault::from_sqlx("look for instances of another generation", error);
    let exist = sqlx::query_scalar(INSTANCES_EXIST).fetch_one(&mut *session);
    if !exist.await.map_err(failed)? {
        return Ok(());
    }
    let began = Instant::now();
    loop {
        let other = sqlx::query_scalar(OTHER_GENERATION)
            .bind(GENERATION)
            .fetch_optional(&mut *session);
        match other.await.map_err(failed)? {
            None => return Ok(()),
            Some(release) if began.elapsed() >= patience => {
                return Err(RegisterError::OtherGeneration { release });
            }
            Some(_) => sleep(POLL_INTERVAL).await,
        }
    }
}

/// Deletes instances whose lease expired more than a day ago. A raid that still names one is free,
/// as before.
pub(super) async fn delete_dead_instances(connections: &ConnectionPool) -> Result<()> {
    connections
        .fetch_rows("delete dead instances", sqlx::query(DELETE_DEAD_INSTANCES))
        .await
        .map(drop)
}

/// Returns the new lineage, or `None` if instances live and it was not `forced`.
pub(super) async fn rename_lineage(
    session: &mut PgConnection,
    forced: bool,
) -> Result<Option<String>> {
    let renamed = sqlx::query_scalar(RENAME_LINEAGE)
        .bind(forced)
        .fetch_optional(session)
        .await;
    renamed.map_err(|error| fault::from_sqlx("rename lineage", error))
}

/// Reads a renewal from one row per peer, or one row without a peer.
fn renewal(rows: &[PgRow]) -> sqlx::Result<Renewal> {
    let row = rows.first().ok_or(sqlx::Error::RowNotFound)?;
    let peers = rows
        .iter()
        .filter_map(|row| peer(row).transpose())
        .collect::<sqlx::Result<_>>()?;
    let now = UnixMillis(row.try_get("now")?);
    let lapsed = row.try_get("lapsed")?;
    Ok(Renewal {
        now,
        lineage: row.try_get("lineage")?,
        lapsed,
        peers,
    })
}

fn peer(row: &PgRow) -> sqlx::Result<Option<PeerInstance>> {
    let Some(id) = columns::instance(row, "id")? else {
        return Ok(None);
    };
    Ok(Some(PeerInstance {
        id,
        ws_url: row.try_get("ws_url")?,
        draining: row.try_get("draining")?,
        ttl: Duration::from_millis(columns::number(row, "lease_ms")?),
        lease_until: UnixMillis(row.try_get("lease_until")?),
    }))
}

/// Returns the session's application name, which fits the limit of 63 bytes.
fn session_name(instance: InstanceId) -> String {
    format!("raidhall lease {}", instance.0)
}
