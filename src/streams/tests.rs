//! Tests of streams whose store fails, or which two instances change at once.

mod lapse;

use std::sync::Arc;
use std::time::Duration;

use raidhall_protocol::player::{PlayerCommand, PlayerEvent, PlayerEventData};
use raidhall_protocol::{OpKey, PlayerId, Seq};
use serde_json::json;
use tokio::time::timeout;
use uuid::Uuid;

use super::Streams;
use crate::clock::Clock;
use crate::cluster::client::ClusterClient;
use crate::cluster::membership::Membership;
use crate::definitions::BUILT_IN;
use crate::error::Error;
use crate::player::Author;
use crate::progression::DefinitionsNumber;
use crate::raid::Ack;
use crate::store::faulty::{Call, Faulty};
use crate::store::memory::MemoryStore;
use crate::store::{
    Accounts, ApplyOutcome, InstanceId, OpHash, PlayerStreams, ProgressionDefinitions,
    StreamAppend, StreamEntry, StreamOutcome,
};

struct TestStreams {
    streams: Streams,
    store: Faulty<MemoryStore>,
    player: PlayerId,
}

impl TestStreams {
    async fn new() -> TestStreams {
        let store = Faulty::<MemoryStore>::default();
        let player = store.create_player("Ada").await.expect("create").id;
        TestStreams {
            streams: Self::open(&store),
            store,
            player,
        }
    }

    fn open(store: &Faulty<MemoryStore>) -> Streams {
        let clock = Arc::new(Clock::new(store.now()));
        let membership = Membership::new(Duration::from_secs(3));
        let instance = InstanceId(Uuid::from_u128(1));
        let cluster = ClusterClient::standalone(instance, Arc::clone(&clock), membership);
        Streams::new(Arc::new(store.clone()), clock, cluster)
    }

    async fn set(&self, value: u64, op: Option<&str>) -> Result<Ack, Error> {
        let command = json!({"type": "set_setting", "key": "app.n", "value": value});
        let command: PlayerCommand = serde_json::from_value(command).expect("a command");
        let op = op.map(|op| OpKey::try_from(op.to_owned()).expect("an op"));
        let op = op.map(|op| OpHash::new("player:1", &op));
        tokio::time::sleep(Duration::from_secs(1)).await; // for the allowance
        let streams = &self.streams;
        streams
            .execute(self.player, Author::Player, &command, op)
            .await
    }
}

fn at(seq: u64) -> Result<Ack, Error> {
    Ok(Ack {
        seq: Seq(seq),
        duplicate: false,
    })
}

#[tokio::test(start_paused = true)]
async fn commands_of_two_instances_take_effect_one_after_the_other() {
    let one = TestStreams::new().await;
    let other = TestStreams {
        streams: TestStreams::open(&one.store),
        store: one.store.clone(),
        player: one.player,
    };
    let (first, second) = tokio::join!(one.set(1, None), other.set(2, None));
    let mut seqs = [first.expect("set").seq, second.expect("set").seq];
    seqs.sort_unstable();
    assert_eq!(seqs, [Seq(1), Seq(2)]);
    let setting = &one
        .streams
        .read(one.player)
        .await
        .expect("read")
        .state
        .settings["app.n"];
    assert_eq!(setting.version, 2);
}

#[tokio::test(start_paused = true)]
async fn a_repeated_op_whose_reply_was_lost_takes_effect_once() {
    let test = TestStreams::new().await;
    test.store.faults().stall_answers(Call::AppendToStream, 1);
    let lost = timeout(Duration::from_secs(5), test.set(1, Some("k")));
    assert!(lost.await.is_err(), "no reply");
    let again = test.set(1, Some("k")).await.expect("set");
    assert_eq!((again.seq, again.duplicate), (Seq(1), true));
}

#[tokio::test(start_paused = true)]
async fn a_state_is_saved_at_the_first_event_and_every_64_events() {
    let test = TestStreams::new().await;
    for n in 1..=130 {
        assert_eq!(test.set(n, None).await, at(n));
        let loaded = test.store.load_stream(test.player, None).await;
        let loaded = loaded.expect("load").expect("a player");
        let (saved, _) = loaded.saved_state.expect("saved");
        assert_eq!(saved, Seq((n / 64 * 64).max(1)));
        assert_eq!(loaded.tail.len() as u64, n - saved.0);
    }
    let state = test.streams.read(test.player).await.expect("read");
    assert_eq!(state.state.settings["app.n"].value, 130);
}

#[tokio::test(start_paused = true)]
async fn a_damaged_state_is_folded_from_the_whole_stream() {
    let test = TestStreams::new().await;
    for n in 1..=70 {
        assert_eq!(test.set(n, None).await, at(n));
    }
    let append = StreamAppend {
        player: test.player,
        after: Seq(70),
        events: vec![StreamEntry {
            event: PlayerEvent {
                seq: Seq(71),
                at: test.store.now(),
                cause: None,
                data: PlayerEventData::ReadThrough { seq: Seq(0) },
            },
            op: None,
        }],
        state: Some(vec![0, 1, 0xc1]),
        due_at: None,
        scores: Vec::new(),
    };
    let appended = test.store.append_to_stream(&append).await;
    assert_eq!(appended.expect("append"), StreamOutcome::Appended);
    let fold = test.streams.read(test.player).await.expect("read");
    assert_eq!(fold.seq, Seq(71));
    assert_eq!(fold.state.settings["app.n"].version, 70);
}

#[tokio::test(start_paused = true)]
async fn a_damaged_stream_hides_no_other_player() {
    let test = TestStreams::new().await;
    let damaged = test.store.create_player("Ben").await.expect("create").id;
    let append = StreamAppend {
        player: damaged,
        after: Seq(0),
        events: vec![StreamEntry {
            event: PlayerEvent {
                seq: Seq(2), // the first one is missing
                at: test.store.now(),
                cause: None,
                data: PlayerEventData::ReadThrough { seq: Seq(0) },
            },
            op: None,
        }],
        state: None,
        due_at: None,
        scores: Vec::new(),
    };
    let appended = test.store.append_to_stream(&append).await;
    assert_eq!(appended.expect("append"), StreamOutcome::Appended);
    let folds = test.streams.read_many(&[damaged, test.player]).await;
    let players: Vec<_> = folds.expect("read").into_keys().collect();
    assert_eq!(players, [test.player]);
    let alone = test.streams.read(damaged).await;
    assert_eq!(alone.err(), Some(Error::Internal));
}

#[tokio::test(start_paused = true)]
async fn an_unknown_player_has_no_stream() {
    let test = TestStreams::new().await;
    let stranger = PlayerId::try_from(99_u64).expect("an id");
    let read = test.streams.read(stranger).await;
    assert!(matches!(read, Err(Error::NotFound(_))), "{read:?}");
}

/// Returns the built-in definitions with another allowance.
fn counting(casual_xp_per_day: u64) -> String {
    let line = format!("casual_xp_per_day = {casual_xp_per_day}");
    BUILT_IN.replace("casual_xp_per_day = 300", &line)
}

#[tokio::test(start_paused = true)]
async fn a_change_of_the_definitions_reaches_commands_within_seconds() {
    let test = TestStreams::new().await;
    let casual = async || {
        let definitions = test.streams.definitions().await;
        definitions.expect("definitions").casual_xp_per_day
    };
    assert_eq!(casual().await, 300, "the built-in ones");
    for (body, number) in [(300, 1), (100, 2)] {
        let applied = test.store.apply_definitions(&counting(body)).await;
        let number = ApplyOutcome::Applied(DefinitionsNumber(number));
        assert_eq!(applied.expect("apply"), number);
        tokio::time::sleep(Duration::from_secs(5)).await;
        assert_eq!(casual().await, body);
    }
    let reads = test.store.faults().call_count(Call::DefinitionsAfter);
    for _ in 0..10 {
        assert_eq!(casual().await, 100);
    }
    let again = test.store.faults().call_count(Call::DefinitionsAfter);
    assert_eq!(again, reads, "the store is not read for each command");
}

#[tokio::test(start_paused = true)]
async fn definitions_of_a_newer_release_make_commands_unavailable() {
    let test = TestStreams::new().await;
    for body in [&counting(300), "of = 'a newer release'"] {
        let applied = test.store.apply_definitions(body).await;
        applied.expect("apply");
    }
    assert_eq!(test.streams.definitions().await, Err(Error::Unavailable));
}
