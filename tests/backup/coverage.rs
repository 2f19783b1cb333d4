//! Every table and column is in the backup, or is listed here with the reason why it need not be.

use std::collections::BTreeSet;

use sqlx::{Connection, PgConnection, SqliteConnection};

use crate::backup_database::BackupDatabase;

/// Every column, with the reason why it is not lost: it is in the file, it derives from what is, or
/// it matters only for the moment.
const COLUMNS: [&str; 24] = [
    // In the header, and in the line of ids.
    "meta: key value",
    "raid_ids: reserved",
    "progression_definitions: applied_at body hash number",
    // For the moment: the instances that serve now.
    "instances: draining generation id lease_ms lease_until release ws_url",
    // Due erasures derive from `erased_at`, and `is_banned` from the bans.
    "players: created_at erase_due erased_at external_id id is_banned name raids_won tasks xp",
    // Without the streams of erased players.
    "player_streams: due_at last_seq player state state_seq",
    "player_events: at cause_raid cause_seq data kind op_key player seq version",
    // Whether a score is public follows from the stream, and whether its player is banned from the bans.
    "board_scores: board is_banned is_listed is_public is_removed number player reached_at reached_raid reached_seq score",
    // Follow from the scores.
    "board_counts: board hour number players score",
    "board_sums: board bucket number players",
    // Without its owner. The leader follows from the ledger; a restored raid needs no slot.
    "raids: born create_key created_at current_tasks current_xp deadline ended_at epoch id invite_code last_seq leader \
     leader_slot owner status target_tasks target_xp time_limit_secs title",
    // Earnings derive from `data`; the order of commits (position, tx) ends with the lineage.
    "raid_events: at born by data definitions kind op_key player position raid_id seq tx version xp",
    "raid_snapshots: raid_id seq state",
    // Follows from the ledger.
    "raid_members: joined_at member player raid_id",
    "raid_visits: player raid_id",
    // New ids are assigned, in the same order.
    "audit_log: action actor at details id request_id target",
    "bans: at by player reason",
    // For the moment: a starting instance reads all bans, and an ended sign-in is revoked.
    "notices: family id kind player tx until",
    // For the moment: proofs expire within minutes.
    "used_proofs: proof until",
    // For the moment: an import creates a new lineage, and endpoints begin at the end of its feed.
    "webhook_endpoints: lineage name owner paused place_commit place_raid place_seq",
    "webhook_deliveries: attempts endpoint error first_failed_at id next_at raid_id seq",
    // An imported projector begins at the feed's start; causes whose op keys are in the streams take no effect again. The
    // header has boards_final_until.
    "projector: boards_final_until id owner place_commit place_raid place_seq",
    "projector_faults: error failed_at player raid_id seq",
    // Without revoked token families.
    "refresh_families: current expires_at id player previous revoked rotated_at",
];

fn is_ours(table: &str) -> bool {
    !table.starts_with("_sqlx")
        && !table.starts_with("sqlite_")
        && !table.starts_with("raid_events_")
        && !table.starts_with("player_events_")
}

fn assert_known(found: Vec<(String, String)>) {
    let known = |table: &str, column: &str| {
        let line = COLUMNS
            .iter()
            .find_map(|line| line.strip_prefix(&format!("{table}: ")));
        line.is_some_and(|columns| columns.split_whitespace().any(|known| known == column))
    };
    let unknown: BTreeSet<_> = found
        .iter()
        .filter(|(table, column)| is_ours(table) && !known(table, column))
        .collect();
    assert!(
        unknown.is_empty(),
        "neither in a backup nor named as left out: {unknown:?}"
    );
    assert!(found.len() > 50);
}

#[tokio::test]
async fn every_sqlite_column_is_in_a_backup_or_listed_as_left_out() {
    let database = BackupDatabase::sqlite();
    drop(database.store().await);
    let mut connection = SqliteConnection::connect(&database.url())
        .await
        .expect("connect");
    let columns = "SELECT m.name, c.name FROM sqlite_schema m, pragma_table_info(m.name) c WHERE m.type = 'table'";
    assert_known(
        sqlx::query_as(columns)
            .fetch_all(&mut connection)
            .await
            .expect("columns"),
    );
}

#[tokio::test]
async fn every_postgres_column_is_in_a_backup_or_listed_as_left_out() {
    let database = BackupDatabase::postgres().await;
    drop(database.store().await);
    let mut connection = PgConnection::connect(&database.url())
        .await
        .expect("connect");
    let columns = "SELECT c.table_name::text, c.column_name::text FROM information_schema.columns c
        JOIN information_schema.tables t USING (table_schema, table_name)
        WHERE c.table_schema = 'public' AND t.table_type = 'BASE TABLE'";
    assert_known(
        sqlx::query_as(columns)
            .fetch_all(&mut connection)
            .await
            .expect("columns"),
    );
}

/// The diagram in docs/architecture/storage.md shows exactly the existing tables.
#[test]
fn every_table_is_in_the_architecture_diagram() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let read = |path: std::path::PathBuf| std::fs::read_to_string(path).expect("read");
    let text = read(root.join("docs/architecture/storage.md"));
    let diagram = text
        .split("erDiagram")
        .nth(1)
        .and_then(|rest| rest.split("```").next())
        .expect("a diagram");
    let drawn: BTreeSet<_> = diagram
        .lines()
        .filter_map(|line| line.trim().strip_suffix(" {"))
        .collect();
    let migrations = std::fs::read_dir(root.join("migrations/postgres")).expect("migrations");
    let migrations: String = migrations
        .map(|file| read(file.expect("a file").path()))
        .collect();
    let made = migrations
        .split("CREATE TABLE ")
        .skip(1)
        .filter_map(|made| made.split([' ', '\n']).next());
    let made: BTreeSet<_> = made.filter(|table| is_ours(table)).collect();
    assert_eq!(drawn, made);
}
