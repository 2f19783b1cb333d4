//! Tests of accounts that need overlapping transactions.

use std::time::Duration;

use raidhall::store::{Accounts, FamilyId, TokenHash};
use raidhall_protocol::UnixMillis;
use sqlx::Executor;
use uuid::Uuid;

use super::{open, open_uncommitted, wait_for_lock_waiters};
use crate::conformance::create_player;
use crate::database::PostgresDatabase;

#[tokio::test]
async fn a_guest_who_comes_back_during_the_deletion_is_kept() {
    const YEAR_2096: UnixMillis = UnixMillis(4_000_000_000_000);
    for change in [
        "UPDATE refresh_families SET rotated_at = '2100-01-01', expires_at = '2100-01-02'",
        "UPDATE players SET external_id = 'app:1'",
    ] {
        let database = PostgresDatabase::create().await;
        let store = open(&database).await;
        let guest = create_player(store.as_ref(), "Ada").await;
        let family = FamilyId(Uuid::now_v7());
        let ttl = Duration::from_secs(1);
        store
            .create_token_family(family, guest, TokenHash([1; 32]), UnixMillis(0), ttl)
            .await
            .expect("a sign-in");
        let mut session = open_uncommitted(&database, change).await;
        let commit_change = async {
            wait_for_lock_waiters(&database, 1).await;
            session.execute("COMMIT").await.expect("commit");
        };
        let deletion = store.delete_unused_guests(None, 10, YEAR_2096, YEAR_2096);
        let (deleted, ()) = tokio::join!(deletion, commit_change);
        assert_eq!(deleted.expect("a batch").count, 0, "{change}");
        let account = store.account(guest, UnixMillis(0)).await.expect("read");
        let account = account.expect("the guest");
        assert_eq!(account.sign_ins.len(), 1, "{change}");
    }
}
