//! Gates: places in statements at which a session waits until it may pass.
//!
//! A gate is an advisory lock that is held here and that a trigger takes for a moment. Behind each
//! gate is gate 0, where the session waits until the gate is closed again: the next attempt of a
//! claim has the same gates.

use std::time::Duration;

use sqlx::{AssertSqlSafe, Executor, PgConnection};
use tokio::time::sleep;

/// How often the locks of the sessions are read.
pub const POLL_INTERVAL: Duration = Duration::from_millis(1);

/// The gate before the commit, after all others of a statement.
const LAST_GATE: i64 = 9;

/// Only sessions with a number stop. Commits do not wait for the disk.
const STOP_AT_GATE: &str = "
    SET synchronous_commit = off;

    CREATE FUNCTION stop_at_gate() RETURNS trigger LANGUAGE plpgsql AS $$
    DECLARE
        session integer := nullif(current_setting('gates.session', true), '');
        gate integer := coalesce(nullif(current_setting('gates.passed', true), ''), '0');
    BEGIN
        PERFORM set_config('synchronous_commit', 'off', true);
        IF session IS NULL OR gate = 9 THEN
            RETURN NEW;
        END IF;
        gate := CASE TG_WHEN WHEN 'AFTER' THEN 9 ELSE gate + 1 END;
        IF TG_WHEN = 'BEFORE' AND gate = 9 THEN
            RAISE EXCEPTION 'the statement has too many gates';
        END IF;
        PERFORM set_config('gates.passed', gate::text, true);
        FOREACH gate IN ARRAY ARRAY[gate, 0] LOOP
            PERFORM pg_advisory_lock_shared(session, gate);
            PERFORM pg_advisory_unlock_shared(session, gate);
        END LOOP;
        RETURN NEW;
    END $$;";

const RAID_GATES: &str = "
    CREATE TRIGGER row_gate BEFORE UPDATE ON raids FOR EACH ROW EXECUTE FUNCTION stop_at_gate()";

/// Sessions that wait at a gate or for a row: their numbers and gates if they are at gates. Waits for
/// other locks end by themselves.
const WAITING: &str = "
    SELECT CASE locktype WHEN 'advisory' THEN classid::bigint END,
        CASE locktype WHEN 'advisory' THEN objid::bigint END
    FROM pg_locks JOIN pg_stat_activity USING (pid)
    WHERE NOT granted AND locktype IN ('advisory', 'transactionid', 'tuple', 'spectoken')
        AND datname = current_database() AND application_name LIKE 'raidhall%'";

/// The gates of a database, and the connection that holds them closed.
pub struct Gates(PgConnection);

impl Gates {
    pub fn new(connection: PgConnection) -> Gates {
        Gates(connection)
    }

    /// Closes all gates for a session.
    pub async fn close_all(&mut self, session: usize) {
        for gate in 0..=LAST_GATE {
            self.close(session, gate).await;
        }
    }

    /// Creates the gates of raids and instances.
    pub async fn create(&mut self) {
        self.execute(STOP_AT_GATE).await;
        self.add("raids", "UPDATE").await;
        self.add("instances", "INSERT OR DELETE").await;
    }

    /// Stops statements before these changes of a table, and before the commit of any change of it.
    pub async fn add(&mut self, table: &str, changes: &str) {
        let gates = format!(
            "CREATE TRIGGER gate BEFORE {changes} ON {table} EXECUTE FUNCTION stop_at_gate();
            CREATE TRIGGER last_gate AFTER INSERT OR UPDATE OR DELETE ON {table}
                FOR EACH ROW EXECUTE FUNCTION stop_at_gate()"
        );
        self.execute(&gates).await;
    }

    /// Also stops statements at each raid that they have locked.
    pub async fn add_for_each_raid(&mut self) {
        self.execute(RAID_GATES).await;
    }

    /// Lets a session pass the gate at which it waits, and closes that again, but not gate 0.
    pub async fn pass(&mut self, session: usize, gate: i64) {
        self.open(session, gate).await;
        while !self.waiting_sessions().await.contains(&Some((session, 0))) {
            sleep(POLL_INTERVAL).await;
        }
        self.close(session, gate).await;
        self.open(session, 0).await;
    }

    pub async fn close(&mut self, session: usize, gate: i64) {
        self.execute(&format!("SELECT pg_advisory_lock({session}, {gate})"))
            .await;
    }

    async fn open(&mut self, session: usize, gate: i64) {
        self.execute(&format!("SELECT pg_advisory_unlock({session}, {gate})"))
            .await;
    }

    /// Returns the sessions that wait, each with its gate; `None` for one that waits for a row.
    pub async fn waiting_sessions(&mut self) -> Vec<Option<(usize, i64)>> {
        let waiting: Vec<(Option<i64>, Option<i64>)> = sqlx::query_as(WAITING)
            .fetch_all(&mut self.0)
            .await
            .expect("read the locks");
        let gates = waiting.into_iter();
        gates
            .map(|(session, gate)| Some((session? as usize, gate?)))
            .collect()
    }

    /// Runs a statement that stops at no gate.
    pub async fn execute(&mut self, statement: &str) {
        let statement = AssertSqlSafe(statement.to_owned());
        self.0.execute(statement).await.expect("execute");
    }
}
