//! The conformance suite on SQLite, and the properties that only SQLite has.

use std::sync::Arc;

use raidhall::store::sqlite::SqliteStore;
use raidhall::store::{Catalog, Leases, Ledger, Ownership};

use crate::conformance::{LONG_TTL, TestStore};

async fn new_store() -> TestStore {
    let directory = tempfile::tempdir().expect("a directory");
    let url = format!("sqlite://{}/data/raidhall.db", directory.path().display());
    let store = SqliteStore::open(&url, 2).await.expect("open");
    store.migrate(LONG_TTL).await.expect("migrate");
    TestStore::new(Arc::new(store), directory)
}

conformance_suite!(new_store);

mod one_process {
    use std::io::{BufRead, BufReader};
    use std::process::{Command, Stdio};
    use std::time::Duration;

    use raidhall::store::{ClaimOutcome, CommitOutcome, DueRaid, Epoch, RegisterError};
    use raidhall_protocol::{Seq, UnixMillis};
    use tempfile::TempDir;

    use super::*;
    use crate::conformance::{SHORT_TTL, commit, create_raid, register_instance};
    use crate::history::{instance, player, raid, said, started};

    fn url(directory: &TempDir) -> String {
        format!("sqlite:{}", directory.path().join("raidhall.db").display())
    }

    async fn open_store(directory: &TempDir) -> SqliteStore {
        let store = SqliteStore::open(&url(directory), 1).await.expect("open");
        store.migrate(LONG_TTL).await.expect("migrate");
        store
    }

    #[tokio::test]
    async fn a_second_process_is_refused_until_the_first_is_gone() {
        let directory = tempfile::tempdir().expect("a directory");
        let first = open_store(&directory).await;
        register_instance(&first).await;

        let second = SqliteStore::open(&url(&directory), 1)
            .await
            .expect("opening needs no lock");
        let held = second.register(&instance(), LONG_TTL, SHORT_TTL).await;
        assert!(matches!(held, Err(RegisterError::InUse)), "{held:?}");
        assert!(matches!(
            second.migrate(Duration::ZERO).await,
            Err(RegisterError::InUse)
        ));
        assert!(matches!(
            second.rename_lineage(Duration::ZERO).await,
            Err(RegisterError::InUse)
        ));

        let waiting = instance();
        let (registered, ()) = tokio::join!(second.register(&waiting, LONG_TTL, LONG_TTL), async {
            drop(first)
        });
        registered.expect("register");
    }

    #[tokio::test]
    async fn a_restart_serves_committed_events_at_once() {
        let directory = tempfile::tempdir().expect("a directory");
        let store = open_store(&directory).await;
        let owner = register_instance(&store).await;
        let mut history = create_raid(&store, 1, &owner, player(1)).await;
        let deadline = UnixMillis(1_900_000_000_000);
        assert_eq!(
            commit(&store, &history.append([started(deadline)])).await,
            CommitOutcome::Committed
        );
        let lineage = store.renew(&owner, LONG_TTL).await.expect("renew").lineage;
        drop(store); // its lease has an hour left

        let store = open_store(&directory).await;
        let successor = instance();
        let renewal = store
            .register(&successor, LONG_TTL, LONG_TTL)
            .await
            .expect("register");
        assert_eq!(renewal.lineage, lineage);
        assert_eq!(
            store
                .due_raids(instance().id, None, deadline, 10)
                .await
                .expect("due"),
            [DueRaid {
                deadline,
                raid: raid(1)
            }]
        );
        assert_eq!(
            store.claim(&[raid(1)], successor.id).await.expect("claim"),
            [ClaimOutcome::Acquired(Epoch(2))]
        );
        assert_eq!(
            store
                .events(raid(1), Seq::ZERO, 10)
                .await
                .expect("events")
                .len(),
            3
        );
        assert_eq!(store.reserve_raid_ids(1).await.expect("reserve"), 1..2);

        store
            .rename_lineage(LONG_TTL)
            .await
            .expect("rename lineage");
        assert_ne!(
            store
                .renew(&successor, LONG_TTL)
                .await
                .expect("renew")
                .lineage,
            lineage
        );
    }

    /// Holds the database's lock and commits until the process is killed.
    async fn write_until_killed(url: &str) -> ! {
        let store = SqliteStore::open(url, 1).await.expect("open");
        store.migrate(LONG_TTL).await.expect("migrate");
        let owner = register_instance(&store).await;
        let mut history = create_raid(&store, 1, &owner, player(1)).await;
        eprintln!("registered");
        loop {
            commit(&store, &history.append([said("still here")])).await;
            eprintln!("{}", history.seq);
        }
    }

    /// The killed process runs this same test; the environment variable `VICTIM_URL` makes it the
    /// victim.
    #[tokio::test]
    async fn a_killed_process_holds_no_lock_and_loses_no_commit() {
        if let Ok(url) = std::env::var("VICTIM_URL") {
            write_until_killed(&url).await;
        }
        let directory = tempfile::tempdir().expect("a directory");
        let mut victim = Command::new(std::env::current_exe().expect("this test"))
            .args(["--exact", "--nocapture"])
            .arg("sqlite::one_process::a_killed_process_holds_no_lock_and_loses_no_commit")
            .env("VICTIM_URL", url(&directory))
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("spawn");
        let mut lines = BufReader::new(victim.stderr.take().expect("a pipe")).lines();
        let mut next_line = || lines.next().and_then(Result::ok);
        while next_line().expect("the victim lives") != "registered" {}

        let store = SqliteStore::open(&url(&directory), 1).await.expect("open");
        assert!(matches!(
            store.register(&instance(), LONG_TTL, SHORT_TTL).await,
            Err(RegisterError::InUse)
        ));
        let mut committed = 0;
        while committed < 50 {
            committed = next_line()
                .expect("the victim lives")
                .parse()
                .expect("a seq");
        }
        victim.kill().expect("kill");
        victim.wait().expect("wait");
        while let Some(seq) = next_line() {
            committed = seq.parse().unwrap_or(committed); // the last line may be cut
        }

        let successor = instance();
        store
            .register(&successor, LONG_TTL, Duration::ZERO)
            .await
            .expect("the lock went with the process");
        let claims = store.claim(&[raid(1)], successor.id).await.expect("claim");
        assert_eq!(
            claims,
            [ClaimOutcome::Acquired(Epoch(2))],
            "its lease was voided"
        );
        let last = store
            .head(raid(1))
            .await
            .expect("head")
            .expect("a raid")
            .last_seq;
        assert!(last >= Seq(committed), "{last} is behind {committed}");
        let events = store
            .events(raid(1), Seq::ZERO, u32::MAX)
            .await
            .expect("events");
        assert!((1..=last.0).eq(events.iter().map(|event| event.seq.0)));
    }

    #[tokio::test]
    async fn a_database_in_memory_is_refused() {
        for url in [
            "sqlite::memory:",
            "sqlite://:memory:",
            "sqlite:file.db?mode=memory",
        ] {
            assert!(SqliteStore::open(url, 1).await.is_err(), "{url}");
        }
    }
}
