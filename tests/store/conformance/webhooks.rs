//! Checks of webhook endpoints' progress and parked deliveries.

use raidhall::store::webhooks::{EndpointProgress, FailedAttempt, ProgressUpdate, Replay};
use raidhall::store::{FeedBatch, FeedCursor, InstanceId, NewAuditEntry};
use raidhall_protocol::Seq;
use serde_json::json;
use tokio::time::sleep;

use super::*;
use crate::history::raid;

const APP: &str = "app";
const DAY: Duration = Duration::from_secs(86_400);

fn audit_entry() -> NewAuditEntry {
    let actor = "admin:ops".into();
    let target = "webhook app".into();
    let request_id = "r-1".into();
    NewAuditEntry {
        at: NOW,
        actor,
        action: "replay_webhooks",
        target,
        request_id,
        details: json!({}),
    }
}

async fn acquire_endpoint(store: &dyn Store, by: InstanceId) -> EndpointProgress {
    store
        .acquire_endpoint(APP, by)
        .await
        .expect("endpoint call")
        .expect("it is free")
}

fn failed_attempt(of: u64, seq: u64, attempts: u32, again: Option<Duration>) -> FailedAttempt {
    FailedAttempt {
        raid: raid(of),
        seq: Seq(seq),
        at: NOW,
        attempts,
        next_at: again.map(|delay| NOW.plus(delay.as_millis() as i64)),
        error: format!("try {attempts}"),
    }
}

async fn save_progress(store: &dyn Store, by: InstanceId, progress: ProgressUpdate) -> bool {
    store
        .save_progress(APP, by, &progress)
        .await
        .expect("noted")
}

pub async fn an_endpoint_has_one_live_owner_and_starts_at_the_feed_end(store: &dyn Store) {
    let a = register_instance(store).await;
    let b = register_instance(store).await;
    let ada = create_player(store, "Ada").await;
    create_raid(store, 1, &a, ada).await;
    let EndpointProgress {
        lineage,
        cursor: place,
        pause_reason: paused,
    } = acquire_endpoint(store, a.id).await;
    assert_eq!(paused, None);
    assert_eq!(
        lineage,
        store.renew(&a, LONG_TTL).await.expect("renewed").lineage
    );
    assert_eq!(
        store
            .acquire_endpoint(APP, b.id)
            .await
            .expect("endpoint call"),
        None,
        "the owner is alive"
    );
    assert_eq!(
        acquire_endpoint(store, a.id).await.cursor,
        place,
        "the cursor does not move"
    );
    create_raid(store, 2, &a, ada).await;
    // Transactions of the server's other users may hold the cursor back to before the first raid,
    // and may hold back the second raid's events.
    let seqs = |batch: &FeedBatch| -> Vec<Seq> {
        batch
            .events
            .iter()
            .filter(|it| it.raid == raid(2))
            .map(|it| it.event.seq)
            .collect()
    };
    let batch = loop {
        let batch = store.read_feed(place, 10).await.expect("feed");
        if seqs(&batch).len() >= 2 {
            break batch;
        }
        sleep(Duration::from_millis(10)).await;
    };
    assert_eq!(
        seqs(&batch),
        [Seq(1), Seq(2)],
        "events that were committed after the endpoint was created"
    );
    let moved = ProgressUpdate {
        cursor: Some((lineage.clone(), batch.next)),
        ..ProgressUpdate::default()
    };
    assert!(save_progress(store, a.id, moved.clone()).await);
    assert!(
        !save_progress(
            store,
            b.id,
            ProgressUpdate {
                cursor: Some(("x".into(), FeedCursor::default())),
                ..moved
            }
        )
        .await
    );
    store
        .release_endpoint(APP, b.id)
        .await
        .expect("endpoint call");
    assert_eq!(
        store
            .acquire_endpoint(APP, b.id)
            .await
            .expect("endpoint call"),
        None,
        "only the owner can release it"
    );
    store.release_endpoint(APP, a.id).await.expect("release");
    assert_eq!(
        acquire_endpoint(store, b.id).await,
        EndpointProgress {
            lineage,
            cursor: batch.next,
            pause_reason: None
        }
    );
    expire_lease(store, &b).await;
    assert_eq!(
        acquire_endpoint(store, a.id).await.cursor,
        batch.next,
        "a dead instance holds no endpoint"
    );
    assert!(
        !save_progress(
            store,
            b.id,
            ProgressUpdate {
                pause_reason: Some("x".into()),
                ..ProgressUpdate::default()
            }
        )
        .await
    );
    assert_eq!(acquire_endpoint(store, a.id).await.pause_reason, None);
}

pub async fn a_failed_delivery_is_retried_when_due_and_finally_abandoned(store: &dyn Store) {
    let a = register_instance(store).await;
    acquire_endpoint(store, a.id).await;
    let failures = vec![
        failed_attempt(1, 1, 1, Some(DAY)),
        failed_attempt(1, 2, 1, Some(SHORT_TTL)),
        failed_attempt(2, 1, 10, None),
    ];
    assert!(
        save_progress(
            store,
            a.id,
            ProgressUpdate {
                failed_attempts: failures,
                ..ProgressUpdate::default()
            }
        )
        .await
    );
    assert_eq!(store.due_deliveries(APP, NOW, 10).await.expect("due"), []);
    let now = NOW.plus(1);
    let due = store.due_deliveries(APP, now, 10).await.expect("due");
    assert_eq!(
        due.iter()
            .map(|one| (one.raid, one.seq, one.attempts))
            .collect::<Vec<_>>(),
        [(raid(1), Seq(2), 1)]
    );
    assert_eq!(store.due_deliveries("crm", now, 10).await.expect("due"), []);
    let dead = store
        .parked_deliveries(APP, true, 0, 10)
        .await
        .expect("dead");
    assert_eq!(
        dead.iter()
            .map(|one| (one.raid, one.next_at))
            .collect::<Vec<_>>(),
        [(raid(2), None)]
    );
    let waiting = store
        .parked_deliveries(APP, false, 0, 10)
        .await
        .expect("waiting");
    assert_eq!(
        waiting.iter().map(|one| one.seq).collect::<Vec<_>>(),
        [Seq(1), Seq(2)]
    );
    assert_eq!(
        store
            .parked_deliveries(APP, false, waiting[0].id, 10)
            .await
            .expect("waiting")[..],
        waiting[1..]
    );
    assert_eq!(
        store
            .parked_deliveries(APP, false, 0, 1)
            .await
            .expect("waiting")
            .len(),
        1
    );

    let again = ProgressUpdate {
        failed_attempts: vec![failed_attempt(1, 2, 2, Some(DAY))],
        ..ProgressUpdate::default()
    };
    assert!(save_progress(store, a.id, again).await);
    let waiting = store
        .parked_deliveries(APP, false, 0, 10)
        .await
        .expect("waiting");
    assert_eq!(
        (
            waiting.len(),
            waiting[1].attempts,
            waiting[1].error.as_str()
        ),
        (2, 2, "try 2")
    );
    assert_eq!(waiting[1].first_failed_at, due[0].first_failed_at);
    assert_eq!(store.due_deliveries(APP, now, 10).await.expect("due"), []);
    assert!(
        save_progress(
            store,
            a.id,
            ProgressUpdate {
                settled_ids: vec![waiting[1].id],
                ..ProgressUpdate::default()
            }
        )
        .await
    );
    let rows = store.endpoints().await.expect("endpoints");
    assert_eq!(
        (rows.len(), rows[0].owner, rows[0].waiting, rows[0].dead),
        (1, Some(a.id), 1, 1)
    );
}

pub async fn an_operator_replays_deliveries_and_resumes_a_paused_endpoint(store: &dyn Store) {
    let a = register_instance(store).await;
    acquire_endpoint(store, a.id).await;
    let dead = (1..=3)
        .map(|seq| failed_attempt(1, seq, 10, None))
        .collect();
    let paused = Some("answered with 410 Gone".to_owned());
    assert!(
        save_progress(
            store,
            a.id,
            ProgressUpdate {
                failed_attempts: dead,
                pause_reason: paused.clone(),
                ..ProgressUpdate::default()
            }
        )
        .await
    );
    assert!(save_progress(store, a.id, ProgressUpdate::default()).await);
    assert_eq!(acquire_endpoint(store, a.id).await.pause_reason, paused);
    for replayed in [3, 0] {
        assert_eq!(
            store
                .replay_deliveries(APP, Replay::Dead, &audit_entry())
                .await
                .expect("replayed"),
            replayed
        );
    }
    for _ in 0..2 {
        assert_eq!(
            store
                .replay_deliveries(APP, Replay::Event(raid(7), Seq(4)), &audit_entry())
                .await
                .expect("replayed"),
            1
        );
    }
    let due = store.due_deliveries(APP, NOW, 10).await.expect("due");
    let mut places: Vec<_> = due
        .iter()
        .map(|one| (one.raid, one.seq, one.attempts))
        .collect();
    places.sort_unstable();
    assert_eq!(
        places,
        [
            (raid(1), Seq(1), 0),
            (raid(1), Seq(2), 0),
            (raid(1), Seq(3), 0),
            (raid(7), Seq(4), 0)
        ]
    );
    for resumed in [true, false] {
        assert_eq!(
            store
                .resume_endpoint(APP, &audit_entry())
                .await
                .expect("endpoint call"),
            resumed
        );
    }
    assert_eq!(acquire_endpoint(store, a.id).await.pause_reason, None);
    assert_eq!(
        store.audit_entries(0, 10).await.expect("audit").len(),
        5,
        "calls that changed nothing have no audit entry"
    );
}
