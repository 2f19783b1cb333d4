use raidhall_protocol::event::FailReason;
use raidhall_protocol::state::RaidStatus;
use raidhall_protocol::{EventData, UnixMillis};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use uuid::Uuid;

use super::*;
use crate::feed_reader::{self, NEWER_RELEASE_INTERVAL};
use crate::store::faulty::{Call, Faulty};
use crate::store::memory::MemoryStore;
use crate::store::webhooks::WebhookDeliveries;
use crate::store::{
    Append, CommitOutcome, Epoch, Feed, InstanceRecord, Leases, Ledger, LedgerEvent, Month,
    RaidHeader,
};

/// Instance of the dispatchers in these tests.
const INSTANCE: InstanceId = InstanceId(Uuid::from_u128(1));
/// Latency of every call of the store, so that a dispatcher that never sleeps fails the test
/// instead of hanging it.
const LATENCY: Duration = Duration::from_millis(1);

/// Spawns a dispatcher whose endpoint refuses every connection.
fn spawn_dispatcher(store: &Faulty<MemoryStore>) -> JoinHandle<()> {
    spawn_dispatcher_of(store, INSTANCE)
}

fn spawn_dispatcher_of(store: &Faulty<MemoryStore>, instance: InstanceId) -> JoinHandle<()> {
    store.faults().set_latency(LATENCY);
    let endpoint = Endpoint {
        name: "app".to_owned(),
        url: "http://127.0.0.1:9/".parse().expect("a URL"),
        signing_key: "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
            .parse()
            .expect("a key"),
        previous_signing_key: None,
        event_kinds: WebhookEventKind::ALL.to_vec(),
    };
    let dispatcher = WebhookDispatcher::new(
        endpoint,
        Arc::new(store.clone()),
        instance,
        Arc::new(Clock::new(UnixMillis(0))),
    );
    TaskTracker::new().spawn(feed_reader::run(dispatcher, CancellationToken::new()))
}

/// Creates a raid, which causes no webhook, and cancels it if `cancelled`, which causes one.
async fn create_raid(store: &Faulty<MemoryStore>, raid: u64, cancelled: bool) {
    let created = EventData::RaidCreated {
        title: "Kitchen".to_owned(),
        description: None,
        invite_code: format!("CODE{raid}"),
        target_xp: 1,
        target_tasks: 1,
        time_limit_secs: 60,
        max_members: 4,
        late_join: false,
        ranked: false,
    };
    let failed = EventData::RaidFailed {
        reason: FailReason::Cancelled,
    };
    let events = [Some(created), cancelled.then_some(failed)]
        .into_iter()
        .flatten();
    let event = |(data, seq)| Event {
        seq: Seq(seq),
        at: UnixMillis(1),
        by: None,
        data,
    };
    let header = RaidHeader {
        status: RaidStatus::Recruiting,
        deadline: None,
        current_xp: 0,
        current_tasks: 0,
        ended_at: None,
    };
    let append = Append {
        raid: raid.try_into().expect("an id"),
        created_month: Month(202_701),
        owner: INSTANCE,
        epoch: Epoch(1),
        events: events
            .zip(1..)
            .map(|one| LedgerEvent {
                event: event(one),
                op: None,
            })
            .collect(),
        header,
        creation: None,
    };
    assert_eq!(
        store.commit(&[append]).await.expect("committed"),
        [CommitOutcome::Committed]
    );
}

async fn parked(store: &Faulty<MemoryStore>) -> Vec<ParkedDelivery> {
    let parked = store.parked_deliveries("app", false, 0, 10).await;
    parked.expect("parked")
}

/// Waits until a delivery was tried. It fails over a real connection, which does not follow the paused
/// clock.
async fn wait_for_attempt(store: &Faulty<MemoryStore>) {
    while parked(store).await.is_empty() {
        sleep(POLL_INTERVAL).await;
    }
}

#[tokio::test(start_paused = true)]
async fn an_idle_dispatcher_polls_the_feed_and_saves_no_progress() {
    let store = Faulty::<MemoryStore>::default();
    let dispatcher = spawn_dispatcher(&store);
    sleep(POLL_INTERVAL / 2).await;
    create_raid(&store, 1, false).await;
    sleep(POLL_INTERVAL * 9).await;
    assert_eq!(store.faults().call_count(Call::ReadFeed), 10);
    assert_eq!(
        store.faults().call_count(Call::SaveProgress),
        0,
        "no message was delivered"
    );
    dispatcher.abort();
}

#[tokio::test(start_paused = true)]
async fn a_new_lineage_is_delivered_from_its_current_end() {
    let store = Faulty::<MemoryStore>::default();
    let dispatcher = spawn_dispatcher(&store);
    sleep(POLL_INTERVAL / 2).await;
    create_raid(&store, 1, true).await;
    store.set_lineage("restored");
    sleep(POLL_INTERVAL).await;
    let (lineage, cursor) = store.feed_end().await.expect("the end");
    assert_eq!(lineage, "restored");
    let taken = store
        .acquire_endpoint("app", INSTANCE)
        .await
        .expect("the store answers")
        .expect("the endpoint is ours");
    assert_eq!(
        taken,
        EndpointProgress {
            lineage,
            cursor,
            pause_reason: None
        }
    );
    create_raid(&store, 2, true).await;
    sleep(POLL_INTERVAL * 20).await;
    let parked = store
        .parked_deliveries("app", false, 0, 10)
        .await
        .expect("parked");
    assert_eq!(
        parked.iter().map(|one| one.raid.get()).collect::<Vec<_>>(),
        [2],
        "only the new lineage's event was posted, and failed"
    );
    dispatcher.abort();
}

#[tokio::test(start_paused = true)]
async fn an_endpoint_with_an_event_of_a_newer_release_moves_on() {
    let store = Faulty::<MemoryStore>::default();
    for id in [INSTANCE, InstanceId(Uuid::from_u128(2))] {
        let record = InstanceRecord {
            id,
            ws_url: String::new(),
            release: String::new(),
            draining: false,
        };
        let lease = Duration::from_secs(3_600);
        store
            .register(&record, lease, lease)
            .await
            .expect("register");
    }
    let old = spawn_dispatcher(&store);
    sleep(POLL_INTERVAL / 2).await;
    store.faults().make_newer(Call::ReadFeed, 1);
    sleep(POLL_INTERVAL).await;
    let owner = async || store.endpoints().await.expect("endpoints")[0].owner;
    assert_eq!(owner().await, None, "released");

    let newer = InstanceId(Uuid::from_u128(2));
    let new = spawn_dispatcher_of(&store, newer);
    create_raid(&store, 1, true).await;
    sleep(NEWER_RELEASE_INTERVAL * 2).await;
    assert_eq!(owner().await, Some(newer), "the other instance keeps it");
    wait_for_attempt(&store).await;
    old.abort();
    new.abort();
}

#[tokio::test(start_paused = true)]
async fn a_single_instance_waits_at_an_event_of_a_newer_release() {
    let store = Faulty::<MemoryStore>::default();
    let dispatcher = spawn_dispatcher(&store);
    sleep(POLL_INTERVAL / 2).await;
    create_raid(&store, 1, true).await;
    store.faults().make_newer(Call::ReadFeed, 3);
    sleep(NEWER_RELEASE_INTERVAL * 2).await;
    assert_eq!(parked(&store).await, [], "it waits");
    wait_for_attempt(&store).await;
    dispatcher.abort();
}
