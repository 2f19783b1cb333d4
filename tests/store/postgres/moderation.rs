//! Tests of moderation that need overlapping transactions.

use raidhall::store::{AuditLog, FamilyId, Moderation, NewAuditEntry, Notice};
use sqlx::Executor;
use uuid::Uuid;

use super::{connect, open, open_uncommitted};
use crate::conformance::{LONG_TTL, NOW, create_player};
use crate::database::PostgresDatabase;
use crate::wait::wait_for;

#[tokio::test]
async fn a_notice_that_commits_late_is_not_missed() {
    let database = PostgresDatabase::create().await;
    let store = open(&database).await;
    let late = FamilyId(Uuid::from_u128(1));
    let early = FamilyId(Uuid::from_u128(2));
    let insert = format!(
        "INSERT INTO notices (kind, family, until) VALUES ('family', '{}', now() + interval '1 hour')",
        late.0
    );
    let mut session = open_uncommitted(&database, &insert).await;
    store
        .sign_out(early, NOW, LONG_TTL)
        .await
        .expect("sign out");
    let read_notices = async |after| {
        let notices = store.notices(after, NOW).await.expect("notices");
        let families = notices
            .notices
            .into_iter()
            .filter_map(|(_, notice)| match notice {
                Notice::SignedOut { family, .. } => Some(family),
                _ => None,
            });
        (families.collect::<Vec<_>>(), notices.next)
    };
    let (first, next) = read_notices(0).await;
    assert_eq!(first, [early]);
    session.execute("COMMIT").await.expect("commit");
    let (second, mut next) = read_notices(next).await;
    assert!(second.contains(&late), "{second:?}");
    // Transactions of other databases on the server hold the cursor back too; it advances when they
    // have ended.
    wait_for("the end of the notices", async || {
        let (again, then) = read_notices(next).await;
        next = then;
        again.is_empty().then_some(())
    })
    .await;
}

#[tokio::test]
async fn the_postgres_audit_log_refuses_updates_and_deletes() {
    let database = PostgresDatabase::create().await;
    let store = open(&database).await;
    let ada = create_player(store.as_ref(), "Ada").await;
    let entry = NewAuditEntry {
        at: NOW,
        actor: "admin:ops".into(),
        action: "ban",
        target: format!("player {ada}"),
        request_id: "r".into(),
        details: serde_json::json!({}),
    };
    assert!(store.ban(ada, "spam", &entry).await.expect("ban"));
    let mut session = connect(&database).await;
    for change in [
        "DELETE FROM audit_log",
        "UPDATE audit_log SET actor = 'unknown'",
        "TRUNCATE audit_log",
    ] {
        session.execute(change).await.expect_err("refused");
    }
    assert_eq!(
        store.audit_entries(0, 10).await.expect("audit")[0].actor,
        "admin:ops"
    );
}
