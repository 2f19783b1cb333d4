//! Random streams of players, by the rules from a seed.

use raidhall::player::{Author, PlayerFold, check, decide};
use raidhall::store::{OpHash, Store, StreamAppend, StreamEntry, StreamOutcome};
use raidhall_protocol::player::event::RaidPlace;
use raidhall_protocol::player::{PlayerCommand, PlayerEvent};
use raidhall_protocol::server::PlayerRef;
use raidhall_protocol::{RaidId, Seq};
use rand::Rng;
use rand::rngs::StdRng;
use serde_json::json;

use crate::raid_generator::NOW;

/// Fills the stream of a player with the events of `acts` commands, some of which may change nothing.
pub async fn fill_stream(store: &dyn Store, player: &PlayerRef, acts: u32, rng: &mut StdRng) {
    let mut fold = PlayerFold::new(player.id, player.name.clone());
    let mut now = NOW;
    for act in 0..acts {
        now = now.plus(rng.random_range(0..100_000_000));
        let (author, command) = random_command(rng, fold.seq);
        let checked = check(author, &command);
        let data = checked
            .and_then(|command| decide(&fold, &command, now))
            .unwrap_or_default();
        let after = fold.seq;
        let mut events = Vec::new();
        for data in data {
            let cause = rng.random_bool(0.2).then(|| RaidPlace {
                raid: RaidId::try_from(u64::from(act) + 1).expect("an id"),
                seq: Seq(u64::from(act) + 2),
            });
            let event = PlayerEvent {
                seq: fold.seq.next(),
                at: now,
                cause,
                data,
            };
            fold.apply(&event);
            let op = rng.random_bool(0.5).then(|| OpHash(rng.random()));
            events.push(StreamEntry { event, op });
        }
        if events.is_empty() {
            continue;
        }
        let saves_state = after == Seq::ZERO || rng.random_bool(0.1);
        let append = StreamAppend {
            player: player.id,
            after,
            events,
            state: saves_state.then(|| fold.encode()),
        };
        let outcome = store.append_to_stream(&append).await.expect("append");
        assert_eq!(outcome, StreamOutcome::Appended);
    }
}

fn random_command(rng: &mut StdRng, last_seq: Seq) -> (Author, PlayerCommand) {
    let command = match rng.random_range(0..6) {
        0..=2 => {
            let command = PlayerCommand::Notify {
                kind: "sale".into(),
                title: "Näh \"now\" ☂".into(),
                body: "two\u{a0}words \\".into(),
                url: rng.random_bool(0.5).then(|| "/raids/7".into()),
            };
            return (Author::Service, command);
        }
        3 => PlayerCommand::SetSetting {
            key: format!("app.{}", rng.random_range(0..5)),
            value: json!({"b": [rng.random_range(-9..9), 0.5, null], "a": "\"\n🎲"}),
            if_version: None,
        },
        4 => PlayerCommand::SetName {
            name: format!("Поля́ {}", rng.random_range(0..5)),
        },
        _ => PlayerCommand::ReadThrough { seq: last_seq },
    };
    (Author::Player, command)
}
