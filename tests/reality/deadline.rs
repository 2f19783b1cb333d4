//! Deadlines that pass while no client is connected.

use std::sync::Arc;
use std::time::Duration;

use raidhall::auth::Scope;
use raidhall::store::{
    Append, ClaimOutcome, CommitOutcome, Epoch, InstanceId, InstanceRecord, LedgerEvent, Month,
    RaidHeader, Store,
};
use raidhall_loadtest::client::RestClient;
use raidhall_protocol::event::FailReason;
use raidhall_protocol::server::PlayerRef;
use raidhall_protocol::state::{RaidStatus, Role};
use raidhall_protocol::{Event, EventData, PlayerId, RaidId, Seq, UnixMillis};
use tokio::time::sleep;
use uuid::Uuid;

use crate::process::TestDatabase;
use crate::with_timeout;

/// Far enough in the past that every deadline below is over, and in a month without other events.
const START_TIME: UnixMillis = UnixMillis(1_700_000_000_000);
const TTL: Duration = Duration::from_secs(3);

/// A raid as a server at the time of its start would have written it.
pub struct AbandonedRaid {
    pub raid: RaidId,
    pub leader: PlayerRef,
    pub deadline: UnixMillis,
    /// The raid's owner; its lease expires in a few seconds unless it is deregistered before.
    pub owner: InstanceId,
}

/// Writes the history of a raid that was started at this time, for the shortest possible time
/// limit, and then left alone.
pub async fn create_abandoned_raid(store: &Arc<dyn Store>, began: UnixMillis) -> AbandonedRaid {
    let instance = InstanceRecord {
        id: InstanceId(Uuid::now_v7()),
        ws_url: "ws://127.0.0.1:1/api/v1/ws".into(),
        release: "0.0.0".into(),
        draining: false,
    };
    store.register(&instance, TTL, TTL).await.expect("register");
    let leader = store.create_player("Ada").await.expect("a player");
    let raid = store.reserve_raid_ids(1).await.expect("an id").start;
    let raid = RaidId::try_from(raid).expect("an id");
    let deadline = began.plus(60_000);
    let header = RaidHeader {
        status: RaidStatus::Active,
        deadline: Some(deadline),
        current_xp: 0,
        current_tasks: 0,
        ended_at: None,
    };
    let history = [
        created(raid),
        joined(leader.id, began),
        EventData::RaidStarted { deadline },
    ];
    let events = history.into_iter().zip(1..).map(|(data, seq)| LedgerEvent {
        event: Event {
            seq: Seq(seq),
            at: began,
            by: Some(leader.id),
            data,
        },
        op: None,
    });
    let append = Append {
        raid,
        created_month: Month::from_unix_millis(began),
        owner: instance.id,
        epoch: Epoch(1),
        events: events.collect(),
        header,
        creation: None,
    };
    assert_eq!(
        store.commit(&[append]).await.expect("commit"),
        [CommitOutcome::Committed]
    );
    assert_eq!(
        store.claim(&[raid], instance.id).await.expect("claim"),
        [ClaimOutcome::Acquired(Epoch(2))]
    );
    let leader = PlayerRef {
        id: leader.id,
        name: leader.name,
    };
    AbandonedRaid {
        raid,
        leader,
        deadline,
        owner: instance.id,
    }
}

fn created(raid: RaidId) -> EventData {
    EventData::RaidCreated {
        title: "Left alone".into(),
        description: None,
        invite_code: format!("ABC{raid:0>5}"),
        target_xp: 100,
        target_tasks: 1,
        time_limit_secs: 60,
        max_members: 4,
        late_join: false,
        ranked: false,
    }
}

fn joined(player: PlayerId, at: UnixMillis) -> EventData {
    EventData::MemberJoined {
        player,
        name: "Ada".into(),
        role: Role::Leader,
        xp: 0,
        tasks: 0,
        energy: 100,
        energy_at: at,
        joined_at: at,
    }
}

async fn assert_deadline_fires_unwatched(database: TestDatabase) {
    let store = database.migrated_store().await;
    let AbandonedRaid { raid, deadline, .. } = create_abandoned_raid(&store, START_TIME).await;
    drop(store); // as a crash leaves it: owned, with a lease that expires by itself
    let mut server = database.start().await;
    let store = database.store().await;
    // No client sends the server a request.
    let ledger = || async {
        store
            .events(raid, Seq::ZERO, 100)
            .await
            .expect("the ledger")
    };
    while ledger().await.len() < 4 {
        sleep(Duration::from_millis(50)).await;
    }
    let end = Event {
        seq: Seq(4),
        at: deadline,
        by: None,
        data: EventData::RaidFailed {
            reason: FailReason::Deadline,
        },
    };
    assert_eq!(ledger().await[3..], *std::slice::from_ref(&end));
    server.kill().await;
    server = database.start().await;
    let token = database.token(Scope::Admin, None, Duration::from_secs(60));
    let rest = RestClient::new(server.target())
        .expect("a REST client")
        .with_token(&token);
    let view = rest.raid(raid).await.expect("the raid");
    assert_eq!(
        (view.state.status, view.state.ended_at),
        (RaidStatus::Failed, Some(deadline))
    );
    assert_eq!(ledger().await[3..], [end], "once");
}

#[tokio::test]
async fn a_deadline_passed_while_down_fails_the_raid_once_on_sqlite() {
    with_timeout(async { assert_deadline_fires_unwatched(TestDatabase::sqlite().await).await })
        .await;
}

#[tokio::test]
async fn a_deadline_passed_while_down_fails_the_raid_once_on_postgres() {
    with_timeout(async { assert_deadline_fires_unwatched(TestDatabase::postgres().await).await })
        .await;
}
