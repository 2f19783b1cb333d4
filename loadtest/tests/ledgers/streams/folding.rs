//! Tests of a device's fold.

use raidhall_loadtest::fold::{Contradiction, StreamFold};
use raidhall_protocol::player::{PlayerEvent, PlayerEventData, PlayerState};
use raidhall_protocol::state::Role;
use raidhall_protocol::{RaidId, Seq, UnixMillis};
use serde::Deserialize;

use super::sample_stream::ben;

#[derive(Deserialize)]
struct HistoryFixture {
    before: PlayerState,
    events: Vec<PlayerEvent>,
    after: PlayerState,
}

fn event(seq: u64, data: PlayerEventData) -> PlayerEvent {
    PlayerEvent {
        seq: Seq(seq),
        at: UnixMillis(5),
        cause: None,
        data,
    }
}

fn joined_as(raid: u64, role: Role) -> PlayerEventData {
    let raid = RaidId::try_from(raid).unwrap();
    PlayerEventData::RaidJoined {
        raid,
        role,
        counters: Vec::new(),
    }
}

#[test]
fn the_history_of_the_test_vectors_folds_to_its_state() {
    let text = include_str!("../../../../protocol/fixtures/player_history.json");
    let fixture: HistoryFixture = serde_json::from_str(text).unwrap();
    let mut fold = StreamFold::default();
    fold.replace(Seq(fixture.events[0].seq.0 - 1), fixture.before);
    for event in &fixture.events {
        fold.apply(event).unwrap();
    }
    assert_eq!(fold.state(), Some(&fixture.after));
}

#[test]
fn the_fold_shows_the_latest_raids_and_notifications() {
    let mut fold = StreamFold::of_new_player(&ben());
    for n in 1..=201 {
        fold.apply(&event(n, joined_as(n, Role::Member))).unwrap();
    }
    fold.apply(&event(202, joined_as(2, Role::Leader))).unwrap();
    for n in 203..=253 {
        let kind = "sale".to_owned();
        let data = n.into();
        let notified = PlayerEventData::Notified { kind, data };
        fold.apply(&event(n, notified)).unwrap();
    }
    let read = PlayerEventData::ReadThrough { seq: Seq(204) };
    fold.apply(&event(254, read)).unwrap();
    let read_before = PlayerEventData::ReadThrough { seq: Seq(203) };
    fold.apply(&event(255, read_before)).unwrap();
    let state = fold.state().unwrap();
    assert_eq!(state.raids.len(), 200);
    assert_eq!(u64::from(state.raids[0].raid), 2);
    assert_eq!(state.raids[0].role, Role::Leader, "in the same place");
    assert_eq!((state.inbox.items.len(), state.inbox.unread), (50, 49));
    assert_eq!(state.inbox.items[0].seq, Seq(204));
    assert_eq!(state.read_through, Seq(204));
}

#[test]
fn an_event_out_of_order_contradicts_a_stream() {
    let mut fold = StreamFold::of_new_player(&ben());
    let not_next = Contradiction::NotNext {
        held: Seq(0),
        got: Seq(2),
    };
    let second = event(2, joined_as(7, Role::Member));
    assert_eq!(fold.apply(&second), Err(not_next));
    assert_eq!(fold.seq(), Seq(0));
}
