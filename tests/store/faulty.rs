//! Tests of what callers see of each injected fault, over the in-memory store and over SQLite.

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use raidhall::store::faulty::{Call, Faulty};
use raidhall::store::journal::{self, Journal, JournalOutcome};
use raidhall::store::memory::MemoryStore;
use raidhall::store::sqlite::SqliteStore;
use raidhall::store::{Append, CommitOutcome, Ledger, Ownership, Store, StoreError};
use raidhall_protocol::Seq;
use rand::SeedableRng;
use rand::rngs::StdRng;
use tempfile::TempDir;

use crate::conformance::{LONG_TTL, commit, create_raid, register_instance};
use crate::history::{instance, player, raid, said};
use crate::wait::wait_for;

async fn memory() -> (Faulty<MemoryStore>, Option<TempDir>) {
    (Faulty::default(), None)
}

async fn sqlite() -> (Faulty<SqliteStore>, Option<TempDir>) {
    let directory = tempfile::tempdir().expect("a directory");
    let url = format!("sqlite://{}/raidhall.db", directory.path().display());
    let store = SqliteStore::open(&url, 2).await.expect("open");
    store.migrate(LONG_TTL).await.expect("migrate");
    (Faulty::new(store), Some(directory))
}

/// Defines tests that run each of these functions on each of the stores.
macro_rules! faulty_suite {
    ($($check:ident,)*) => {
        $(
            #[tokio::test]
            async fn $check() {
                let (store, _directory) = memory().await;
                checks::$check(store).await;
                let (store, _directory) = sqlite().await;
                checks::$check(store).await;
            }
        )*
    };
}

faulty_suite!(
    a_failed_commit_takes_no_effect_and_a_lost_reply_hides_one,
    a_stalled_commit_lands_after_its_caller_gave_up,
    a_stalled_commit_can_be_lost,
    a_held_call_resumes_on_release_unless_its_caller_gave_up,
    a_batch_with_a_refused_raid_is_refused_whole,
    the_drawn_share_of_batches_is_refused_and_takes_no_effect,
    the_writers_of_all_connections_are_recorded,
    an_unreachable_connection_does_not_affect_another,
    the_journal_commits_once_though_replies_are_lost,
);

mod checks {
    use super::*;

    async fn create_raid_and_append<S: Store>(store: &Faulty<S>) -> Append {
        let owner = register_instance(store).await;
        let mut history = create_raid(store, 1, &owner, player(1)).await;
        history.append([said("hello")])
    }

    async fn last_seq<S: Store>(store: &Faulty<S>) -> Seq {
        let head = store.head(raid(1)).await.expect("read head");
        head.expect("a raid").last_seq
    }

    fn is_unavailable<T>(result: Result<T, StoreError>) -> bool {
        matches!(result, Err(StoreError::Unavailable { .. }))
    }

    pub(super) async fn a_failed_commit_takes_no_effect_and_a_lost_reply_hides_one<S: Store>(
        store: Faulty<S>,
    ) {
        let append = create_raid_and_append(&store).await;
        let batch = [append];
        let faults = store.faults();
        faults.fail_calls(Call::Commit, 2);
        for _ in 0..2 {
            assert!(is_unavailable(store.commit(&batch).await));
            assert_eq!(last_seq(&store).await, Seq(2));
        }
        faults.drop_replies(Call::Commit, 1);
        assert!(is_unavailable(store.commit(&batch).await));
        assert_eq!(last_seq(&store).await, Seq(3));
        assert_eq!(commit(&store, &batch[0]).await, CommitOutcome::Committed);
        assert_eq!(faults.call_count(Call::Commit), 5, "with the creation");
    }

    pub(super) async fn a_stalled_commit_lands_after_its_caller_gave_up<S: Store>(
        store: Faulty<S>,
    ) {
        let batch = [create_raid_and_append(&store).await];
        store.faults().stall_calls(Call::Commit, 2);
        assert!(store.commit(&batch).now_or_never().is_none());
        let again = tokio::spawn({
            let store = store.clone();
            let batch = batch.clone();
            async move { store.commit(&batch).await }
        });
        wait_for("two commits that hang", async || {
            (store.faults().stalled_count() == 2).then_some(())
        })
        .await;
        assert_eq!(last_seq(&store).await, Seq(2));
        store.faults().apply_stalled().await;
        assert_eq!(
            again.await.expect("join").expect("commit"),
            [CommitOutcome::Committed]
        );
        assert_eq!(last_seq(&store).await, Seq(3));
    }

    pub(super) async fn a_stalled_commit_can_be_lost<S: Store>(store: Faulty<S>) {
        let batch = [create_raid_and_append(&store).await];
        store.faults().stall_calls(Call::Commit, 1);
        let faults = store.faults().clone();
        let (result, ()) = tokio::join!(store.commit(&batch), async move { faults.drop_stalled() });
        assert!(is_unavailable(result));
        assert_eq!(last_seq(&store).await, Seq(2));
    }

    pub(super) async fn a_held_call_resumes_on_release_unless_its_caller_gave_up<S: Store>(
        store: Faulty<S>,
    ) {
        let batch = [create_raid_and_append(&store).await];
        store.faults().hold_calls(Call::Commit);
        assert!(store.commit(&batch).now_or_never().is_none());
        store.faults().release_calls(Call::Commit);
        assert_eq!(last_seq(&store).await, Seq(2));
        assert_eq!(commit(&store, &batch[0]).await, CommitOutcome::Committed);
    }

    pub(super) async fn a_batch_with_a_refused_raid_is_refused_whole<S: Store>(store: Faulty<S>) {
        let batch = [create_raid_and_append(&store).await];
        store.faults().refuse_raid(raid(1));
        let result = store.commit(&batch).await;
        assert!(matches!(result, Err(StoreError::Refused { .. })));
        store.faults().accept_raid(raid(1));
        assert_eq!(commit(&store, &batch[0]).await, CommitOutcome::Committed);
    }

    pub(super) async fn the_drawn_share_of_batches_is_refused_and_takes_no_effect<S: Store>(
        store: Faulty<S>,
    ) {
        let batch = [create_raid_and_append(&store).await];
        let rng = StdRng::seed_from_u64(1);
        store.faults().refuse_commits(1.0, rng.clone());
        let result = store.commit(&batch).await;
        assert!(matches!(result, Err(StoreError::Refused { .. })));
        assert_eq!(last_seq(&store).await, Seq(2));
        store.faults().refuse_commits(0.5, rng);
        let mut refused = 0;
        for _ in 0..100 {
            refused += u32::from(store.commit(&batch).await.is_err());
        }
        assert!((20..80).contains(&refused), "{refused}");
        store.faults().accept_commits();
        assert_eq!(commit(&store, &batch[0]).await, CommitOutcome::Committed);
    }

    pub(super) async fn the_writers_of_all_connections_are_recorded<S: Store>(store: Faulty<S>) {
        let append = create_raid_and_append(&store.new_connection()).await;
        let writer = || store.commit_log().writer(append.raid, append.epoch);
        assert_eq!(writer(), Some(append.owner));
        let rival = Append {
            owner: instance().id,
            ..append.clone()
        };
        assert_eq!(commit(&store, &rival).await, CommitOutcome::Fenced);
        assert_eq!(writer(), Some(append.owner));
        assert_eq!(store.commit_log().conflicts(), []);
    }

    pub(super) async fn an_unreachable_connection_does_not_affect_another<S: Store>(
        store: Faulty<S>,
    ) {
        let append = create_raid_and_append(&store).await;
        let other = store.new_connection();
        store.faults().set_unreachable(true);
        assert!(is_unavailable(store.load(raid(1), 1).await));
        assert!(is_unavailable(store.claim(&[raid(1)], append.owner).await));
        assert_eq!(last_seq(&other).await, Seq(2));
        store.faults().set_unreachable(false);
        assert_eq!(last_seq(&store).await, Seq(2));
    }

    pub(super) async fn the_journal_commits_once_though_replies_are_lost<S: Store>(
        store: Faulty<S>,
    ) {
        let append = create_raid_and_append(&store).await;
        let options = journal::Options {
            writers: 1,
            batch_events_max: 16,
            queue_max: 16,
            commit_patience: Duration::from_secs(60),
        };
        let shared: Arc<dyn Store> = Arc::new(store.clone());
        let (journal, writers) = Journal::new(&shared, &options);
        for writer in writers {
            tokio::spawn(writer.run());
        }
        store.faults().drop_replies(Call::Commit, 2);
        let outcome = journal.append(append).await.await.expect("a writer");
        assert_eq!(outcome, JournalOutcome::Committed);
        assert_eq!(
            store.faults().call_count(Call::Commit),
            4,
            "the creation, two attempts with lost replies, and one with a reply"
        );
        let events = store.events(raid(1), Seq(2), 10).await.expect("events");
        assert_eq!(events.len(), 1);
    }
}
