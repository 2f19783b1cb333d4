//! The conformance suite on the in-memory store.

use std::sync::Arc;

use raidhall::store::memory::MemoryStore;

use crate::conformance::TestStore;

async fn new_store() -> TestStore {
    TestStore::new(Arc::new(MemoryStore::default()), ())
}

conformance_suite!(new_store);

mod on_paused_time {
    use std::time::Duration;

    use raidhall::store::memory::MemoryStore;
    use raidhall::store::{ClaimOutcome, CommitOutcome, Epoch, Leases, Ownership};
    use raidhall_protocol::UnixMillis;

    use crate::conformance::{LONG_TTL, commit, create_raid, register_instance};
    use crate::history::{instance, player, raid, said};

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
        let sleeper = instance();
        let watcher = instance();
        store
            .register(&sleeper, TTL, LONG_TTL)
            .await
            .expect("register");
        let peers = async || store.renew(&watcher, TTL).await.expect("renew").peers.len();
        tokio::time::advance(TTL - Duration::from_millis(1)).await;
        assert_eq!(peers().await, 1);
        tokio::time::advance(Duration::from_millis(1)).await;
        assert_eq!(peers().await, 0);
        store.renew(&sleeper, TTL).await.expect("renew");
        assert_eq!(peers().await, 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_fenced_raid_can_be_reclaimed_but_a_seized_one_cannot() {
        let store = MemoryStore::default();
        let owner = register_instance(&store).await;
        let append = create_raid(&store, 1, &owner, player(1))
            .await
            .append([said("hello")]);
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
}
