//! Random streams of players, by the rules from a seed.

use raidhall::definitions::Definitions;
use raidhall::player::{Author, PlayerFold, check, decide};
use raidhall::progression::{
    BoardTimes, RaidContext, ScoreTerms, add_score_moves, causes, project,
};
use raidhall::store::{OpHash, Store, StreamAppend, StreamEntry, StreamOutcome};
use raidhall::streams::AppendBuilder;
use raidhall_protocol::player::event::{Balance, RaidPlace};
use raidhall_protocol::player::{PlayerCommand, PlayerEvent};
use raidhall_protocol::server::PlayerRef;
use raidhall_protocol::{EventData, RaidId, Seq, UnixMillis};
use rand::Rng;
use rand::rngs::StdRng;
use serde_json::json;

use crate::raid_generator::NOW;

/// Fills the stream of a player with what the raids mean for them, and with the events of `acts`
/// commands, some of which may change nothing.
pub async fn fill_stream(store: &dyn Store, player: &PlayerRef, acts: u32, rng: &mut StdRng) {
    let fold = PlayerFold::new(player.id, player.name.clone());
    let mut fold = project_raids(store, fold).await;
    let definitions = Definitions::built_in();
    let mut now = fold.at.max(NOW);
    for act in 0..acts {
        now = now.plus(rng.random_range(0..100_000_000));
        let command = random_command(rng, fold.seq);
        let checked = check(Author::of(&command), &command);
        let data = checked
            .and_then(|command| decide(&fold, &command, &definitions, now))
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
            due_at: fold.state.streak.lapses_at,
            scores: Vec::new(),
        };
        let outcome = store.append_to_stream(&append).await.expect("append");
        assert_eq!(outcome, StreamOutcome::Appended);
    }
}

/// Appends the effects of all raids on a player, except of those that failed.
async fn project_raids(store: &dyn Store, fold: PlayerFold) -> PlayerFold {
    let definitions = Definitions::built_in();
    let player = fold.state.id;
    let mut append = AppendBuilder::new(fold);
    let mut scores = Vec::new();
    let terms = ScoreTerms {
        times: BoardTimes {
            since: UnixMillis(0),
            final_until: UnixMillis(0),
        },
        is_public: true,
    };
    for raid in 1_u64.. {
        let raid = RaidId::try_from(raid).expect("an id");
        let events = store.events(raid, Seq::ZERO, u32::MAX).await.expect("read");
        if events.is_empty() {
            break;
        }
        let context = RaidContext {
            is_ranked: matches!(events[0].data, EventData::RaidCreated { ranked: true, .. }),
            ..RaidContext::default()
        };
        let causes = events
            .iter()
            .flat_map(|event| causes(raid, event, &context));
        for (_, cause) in causes.filter(|(of, _)| *of == player) {
            let effects = project(append.fold(), &cause, &definitions);
            let op = OpHash::from_cause(cause.place);
            add_score_moves(&mut scores, &cause, &effects, &definitions.boards, terms);
            append.add(effects, cause.at, Some(cause.place), Some(op));
        }
    }
    let (mut append, fold) = append.build();
    append.scores = scores;
    if !append.events.is_empty() {
        let outcome = store.append_to_stream(&append).await.expect("append");
        assert_eq!(outcome, StreamOutcome::Appended);
    }
    fold
}

fn random_command(rng: &mut StdRng, last_seq: Seq) -> PlayerCommand {
    let items = ["frame_bronze", "frame_silver", "title_night_owl"];
    let item = items[rng.random_range(0..items.len())].to_owned();
    match rng.random_range(0..15) {
        0..=2 => PlayerCommand::Notify {
            kind: "sale".into(),
            title: "Näh \"now\" ☂".into(),
            body: "two\u{a0}words \\".into(),
            url: rng.random_bool(0.5).then(|| "/raids/7".into()),
        },
        3 => PlayerCommand::SetSetting {
            key: format!("app.{}", rng.random_range(0..5)),
            value: json!({"b": [rng.random_range(-9..9), 0.5, null], "a": "\"\n🎲"}),
            if_version: None,
        },
        4 => PlayerCommand::GrantXp {
            amount: rng.random_range(1..500),
            kind: "habit".into(),
            note: "«Прогулки» ☂".into(),
        },
        5 => PlayerCommand::GrantCoins {
            amount: rng.random_range(-100..200),
            note: "goodwill".into(),
        },
        6 => PlayerCommand::GrantItem { item },
        7 => PlayerCommand::Buy { item },
        8 => PlayerCommand::Equip { item },
        9 => PlayerCommand::SetName {
            name: format!("Поля́ {}", rng.random_range(0..5)),
        },
        10 => PlayerCommand::Correct {
            field: Balance::Xp,
            amount: rng.random_range(-100..100),
            note: "counted twice".into(),
        },
        11 => PlayerCommand::SetSetting {
            key: "zone".into(),
            value: ["Asia/Tashkent", "Pacific/Kiritimati"][rng.random_range(0..2)].into(),
            if_version: None,
        },
        12 => PlayerCommand::RepairStreak,
        13 => PlayerCommand::SetSetting {
            key: "boards".into(),
            value: ["public", "companions", "hidden"][rng.random_range(0..3)].into(),
            if_version: None,
        },
        _ => PlayerCommand::ReadThrough { seq: last_seq },
    }
}
