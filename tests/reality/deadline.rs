//! Deadlines that pass while nobody is there.

use crate::bounded;
use crate::process::Site;
use raidhall::auth::Scope;
use raidhall::store::{Append, Claim, Epoch, Fate, Header, Instance, InstanceId, Month, Recorded, Store};
use raidhall_loadtest::client::Rest;
use raidhall_protocol::event::FailReason;
use raidhall_protocol::state::{RaidStatus, Role};
use raidhall_protocol::{Event, EventData, PlayerId, RaidId, Seq, UnixMillis};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::sleep;
use uuid::Uuid;

/// Long ago enough that every deadline below is over, and in a month of its own.
const BEGAN: UnixMillis = UnixMillis(1_700_000_000_000);
const TTL: Duration = Duration::from_secs(3);

/// The history of a raid that was started and then left alone, as a server of that time would have written it.
async fn abandoned_raid(store: &Arc<dyn Store>) -> (RaidId, UnixMillis) {
    let instance = Instance {
        id: InstanceId(Uuid::now_v7()),
        ws_url: "ws://127.0.0.1:1/api/v1/ws".into(),
        release: "0.0.0".into(),
        draining: false,
    };
    store.enlist(&instance, TTL, TTL).await.expect("enlist");
    let leader = store.create_player("Ada").await.expect("a player").id;
    let raid = store.reserve_raid_ids(1).await.expect("an id").start;
    let raid = RaidId::try_from(raid).expect("an id");
    let deadline = BEGAN.plus(60_000);
    let header = Header {
        status: RaidStatus::Active,
        deadline: Some(deadline),
        current_xp: 0,
        current_tasks: 0,
        ended_at: None,
    };
    let history = [created(), joined(leader), EventData::RaidStarted { deadline }];
    let events = history.into_iter().zip(1..).map(|(data, seq)| Recorded {
        event: Event { seq: Seq(seq), at: BEGAN, by: Some(leader), data },
        op: None,
    });
    let append = Append {
        raid,
        born: Month::of(BEGAN),
        owner: instance.id,
        epoch: Epoch(1),
        events: events.collect(),
        header,
        create_key: None,
    };
    assert_eq!(store.commit(&[append]).await.expect("commit"), [Fate::Committed]);
    assert_eq!(store.claim(&[raid], instance.id).await.expect("claim"), [Claim::Ours(Epoch(2))]);
    (raid, deadline)
}

fn created() -> EventData {
    EventData::RaidCreated {
        title: "Left alone".into(),
        description: None,
        invite_code: "ABCDEFGH".into(),
        target_xp: 100,
        target_tasks: 1,
        time_limit_secs: 60,
        max_members: 4,
        late_join: false,
    }
}

fn joined(player: PlayerId) -> EventData {
    EventData::MemberJoined {
        player,
        name: "Ada".into(),
        role: Role::Leader,
        xp: 0,
        tasks: 0,
        energy: 100,
        energy_at: BEGAN,
        joined_at: BEGAN,
    }
}

async fn a_deadline_passes_in_the_dark(site: Site) {
    let store = site.migrated_store().await;
    let (raid, deadline) = abandoned_raid(&store).await;
    drop(store); // as a crash would leave it: owned, its lease running out by itself
    let mut server = site.start().await;
    let store = site.store().await;
    // Nobody asks the server anything.
    let ledger = || async { store.events(raid, Seq::ZERO, 100).await.expect("the ledger") };
    while ledger().await.len() < 4 {
        sleep(Duration::from_millis(50)).await;
    }
    let end = Event {
        seq: Seq(4),
        at: deadline,
        by: None,
        data: EventData::RaidFailed { reason: FailReason::Deadline },
    };
    assert_eq!(ledger().await[3..], *std::slice::from_ref(&end));
    server.kill().await;
    server = site.start().await;
    let token = site.token(Scope::Admin, None, Duration::from_secs(60));
    let rest = Rest::new(server.target()).expect("doors").with_token(&token);
    let view = rest.raid(raid).await.expect("the raid");
    assert_eq!((view.state.status, view.state.ended_at), (RaidStatus::Failed, Some(deadline)));
    assert_eq!(ledger().await[3..], [end], "once");
}

#[tokio::test]
async fn a_deadline_that_passed_while_no_server_ran_fails_the_raid_once_with_its_own_time_on_sqlite() {
    bounded(async { a_deadline_passes_in_the_dark(Site::sqlite().await).await }).await;
}

#[tokio::test]
async fn a_deadline_that_passed_while_no_server_ran_fails_the_raid_once_with_its_own_time_on_postgres() {
    bounded(async { a_deadline_passes_in_the_dark(Site::postgres().await).await }).await;
}
