//! The suite on the store in memory.

use std::sync::Arc;

use raidhall::store::memory::MemoryStore;

use crate::conformance::TestStore;

async fn new_store() -> TestStore {
    TestStore::new(Arc::new(MemoryStore::default()), ())
}

conformance_suite!(new_store);

mod faults {
    use std::time::Duration;

    use raidhall::store::memory::{Call, MemoryStore};
    use raidhall::store::{
        Append, ClaimOutcome, CommitOutcome, Epoch, Leases, Ledger, Ownership, StoreError,
    };
    use raidhall_protocol::{Seq, UnixMillis};

    use crate::conformance::{LONG_TTL, commit, create_raid, enlisted};
    use crate::history::{instance, player, raid, said};

    async fn with_a_raid() -> (MemoryStore, Append) {
        let store = MemoryStore::default();
        let owner = enlisted(&store).await;
        let append = create_raid(&store, 1, &owner, player(1))
            .await
            .append([said("hello")]);
        (store, append)
    }

    async fn last_seq(store: &MemoryStore) -> Seq {
        store
            .head(raid(1))
            .await
            .expect("read head")
            .expect("a raid")
            .last_seq
    }

    fn is_unavailable<T>(result: Result<T, StoreError>) -> bool {
        matches!(result, Err(StoreError::Unavailable { .. }))
    }

    #[tokio::test(start_paused = true)]
    async fn the_memory_store_uses_the_tokio_clock() {
        let store = MemoryStore::new(UnixMillis(1_000));
        tokio::time::advance(Duration::from_millis(234)).await;
        assert_eq!(
            store.renew(&instance(), LONG_TTL).await.expect("renew").now,
            UnixMillis(1_234)
        );
        store.set_now(UnixMillis(50));
        assert_eq!(store.now(), UnixMillis(50));
    }

    #[tokio::test(start_paused = true)]
    async fn a_lease_expires_by_the_tokio_clock_and_can_be_renewed() {
        const TTL: Duration = Duration::from_secs(3);
        let store = MemoryStore::default();
        let (sleeper, watcher) = (instance(), instance());
        let there = store.new_connection();
        there
            .register(&sleeper, TTL, LONG_TTL)
            .await
            .expect("enlist");
        let peers = async || store.renew(&watcher, TTL).await.expect("renew").peers.len();
        tokio::time::advance(TTL - Duration::from_millis(1)).await;
        assert_eq!(peers().await, 1);
        tokio::time::advance(Duration::from_millis(1)).await;
        assert_eq!(peers().await, 0);
        there.renew(&sleeper, TTL).await.expect("renew");
        assert_eq!(peers().await, 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_failed_commit_takes_no_effect_and_a_lost_reply_hides_one() {
        let (store, append) = with_a_raid().await;
        let faults = store.faults();
        faults.fail_calls(Call::Commit, 2);
        for _ in 0..2 {
            assert!(is_unavailable(
                store.commit(std::slice::from_ref(&append)).await
            ));
            assert_eq!(last_seq(&store).await, Seq(2));
        }
        faults.drop_replies(1);
        assert!(is_unavailable(
            store.commit(std::slice::from_ref(&append)).await
        ));
        assert_eq!(last_seq(&store).await, Seq(3));
        assert_eq!(commit(&store, &append).await, CommitOutcome::Committed);
        assert_eq!(faults.call_count(Call::Commit), 5, "with the creation");
    }

    #[tokio::test(start_paused = true)]
    async fn a_stalled_commit_lands_after_its_caller_gave_up() {
        let (store, append) = with_a_raid().await;
        store.faults().stall_commits(2);
        let batch = [append];
        let gave_up = tokio::time::timeout(Duration::from_secs(1), store.commit(&batch)).await;
        assert!(gave_up.is_err());
        let again = tokio::spawn({
            let (store, batch) = (store.clone(), batch.clone());
            async move { store.commit(&batch).await }
        });
        while store.faults().stalled_count() < 2 {
            tokio::task::yield_now().await;
        }
        assert_eq!(last_seq(&store).await, Seq(2));
        store.faults().apply_stalled();
        assert_eq!(
            again.await.expect("join").expect("commit"),
            [CommitOutcome::Committed]
        );
        assert_eq!(last_seq(&store).await, Seq(3));
    }

    #[tokio::test(start_paused = true)]
    async fn a_stalled_commit_can_be_lost() {
        let (store, append) = with_a_raid().await;
        store.faults().stall_commits(1);
        let (faults, batch) = (store.faults().clone(), [append]);
        let (result, ()) = tokio::join!(store.commit(&batch), async move { faults.drop_stalled() });
        assert!(is_unavailable(result));
        assert_eq!(last_seq(&store).await, Seq(2));
    }

    #[tokio::test(start_paused = true)]
    async fn a_held_call_resumes_on_release_unless_its_caller_gave_up() {
        let (store, append) = with_a_raid().await;
        store.faults().hold_calls(Call::Commit);
        let batch = [append];
        assert!(
            tokio::time::timeout(Duration::from_secs(1), store.commit(&batch))
                .await
                .is_err()
        );
        store.faults().release_calls(Call::Commit);
        assert_eq!(last_seq(&store).await, Seq(2));
        assert_eq!(
            store.commit(&batch).await.expect("commit"),
            [CommitOutcome::Committed]
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_batch_with_a_refused_raid_is_refused_whole() {
        let (store, append) = with_a_raid().await;
        store.faults().refuse_raid(raid(1));
        let result = store.commit(std::slice::from_ref(&append)).await;
        assert!(matches!(result, Err(StoreError::Refused { .. })));
        store.faults().accept_raid(raid(1));
        assert_eq!(commit(&store, &append).await, CommitOutcome::Committed);
    }

    #[tokio::test(start_paused = true)]
    async fn a_fenced_raid_can_be_reclaimed_but_a_seized_one_cannot() {
        let (store, append) = with_a_raid().await;
        store.fence(raid(1));
        assert_eq!(commit(&store, &append).await, CommitOutcome::Fenced);
        let claims = store.claim(&[raid(1)], append.owner).await.expect("claim");
        assert_eq!(claims, [ClaimOutcome::Acquired(Epoch(3))]);

        let stranger = instance();
        assert_eq!(store.force_claim(raid(1), &stranger), Some(Epoch(4)));
        let held = [ClaimOutcome::Held {
            owner: stranger.id,
            ws_url: stranger.ws_url,
        }];
        assert_eq!(
            store.claim(&[raid(1)], append.owner).await.expect("claim"),
            held
        );
    }

    #[tokio::test(start_paused = true)]
    async fn an_unreachable_connection_does_not_affect_another() {
        let (store, append) = with_a_raid().await;
        let other = store.new_connection();
        store.faults().set_unreachable(true);
        assert!(is_unavailable(store.load(raid(1), 1).await));
        assert!(is_unavailable(store.claim(&[raid(1)], append.owner).await));
        assert_eq!(last_seq(&other).await, Seq(2));
        store.faults().set_unreachable(false);
        assert_eq!(last_seq(&store).await, Seq(2));
    }
}
