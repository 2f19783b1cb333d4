//! Races within statements: two or three calls at once, in every order of their steps.
//!
//! `tests/mutants/sql/*.patch` are faults that these tests find.

mod boards;
mod definitions;
mod erasures;
mod gates;
mod leases;
mod projection;
mod raids;
mod scheduler;
mod streams;

use raidhall::store::{ClaimOutcome, Epoch, InstanceId, InstanceRecord, LoadedRaid, Store};
use raidhall_protocol::{Event, RaidId, Seq};

use self::scheduler::{OrderRun, SessionCall};
use crate::conformance::create_raid;
use crate::history::{History, player};

/// Creates a raid of a live owner, whose ledger has two events.
async fn create_owned_raid(run: &mut OrderRun<'_>) -> (InstanceRecord, History) {
    let owner = run.add_instance().await;
    let raid = run.next_raid();
    let history = create_raid(run.store(), raid, &owner, player(1)).await;
    (owner, history)
}

/// When a lease ended, in SQL. A claim ends a lease that has just expired.
const JUST_EXPIRED: &str = "now() - interval '1 s'";
const ENDED_LONG_AGO: &str = "now() - interval '1 hour'";

/// Creates a raid whose owner's lease has ended.
async fn create_raid_of_dead_owner(
    run: &mut OrderRun<'_>,
    lease_end: &str,
) -> (InstanceRecord, History) {
    let (owner, history) = create_owned_raid(run).await;
    run.set_lease(&owner, lease_end).await;
    (owner, history)
}

/// Adds a claim of a raid.
fn call_claim(
    run: &mut OrderRun<'_>,
    name: &'static str,
    raid: RaidId,
    claimer: InstanceId,
) -> SessionCall<Option<Epoch>> {
    run.call(name, move |store| async move {
        claim(&*store, raid, claimer).await
    })
}

/// Adds claims of a raid by two live instances. Returns both claimers and their claims.
async fn call_rival_claims(
    run: &mut OrderRun<'_>,
    raid: RaidId,
) -> ([InstanceId; 2], [SessionCall<Option<Epoch>>; 2]) {
    let rivals = [run.add_instance().await.id, run.add_instance().await.id];
    let claims = rivals.map(|rival| call_claim(run, "claim", raid, rival));
    (rivals, claims)
}

/// Claims a raid. Returns its new epoch, unless another instance has it.
async fn claim(store: &dyn Store, raid: RaidId, claimer: InstanceId) -> Option<Epoch> {
    let claims = store.claim(&[raid], claimer).await.expect("claim");
    match claims[..] {
        [ClaimOutcome::Acquired(epoch)] => Some(epoch),
        [ClaimOutcome::Held { .. } | ClaimOutcome::Contested] => None,
        _ => panic!("{claims:?}"),
    }
}

/// Claims a raid and loads it, as a new owner does.
async fn claim_and_load(
    store: &dyn Store,
    raid: RaidId,
    claimer: InstanceId,
) -> Option<(Epoch, LoadedRaid)> {
    let epoch = claim(store, raid, claimer).await?;
    let loaded = store.load(raid, 0).await.expect("load").expect("a raid");
    Some((epoch, loaded))
}

/// Returns a raid's events, which have no hole and end at the raid's head.
async fn read_events(store: &dyn Store, raid: RaidId) -> Vec<Event> {
    let events = store.events(raid, Seq::ZERO, 100).await.expect("events");
    let head = store.head(raid).await.expect("head").expect("a raid");
    assert!((1..=head.last_seq.0).eq(events.iter().map(|event| event.seq.0)));
    events
}
