//! Fixtures: the exact bytes of every message in both codecs, as committed in `fixtures/`.

use std::collections::BTreeSet;
use std::fs;

use raidhall_protocol::decode::decode;
use raidhall_protocol::{Codec, Event, EventData, ServerMessage};
use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::{check_kept, kept, player_history, samples, typescript, updating};

#[test]
fn client_messages_encode_to_the_fixture_bytes() {
    check_fixtures("client", &samples::client(), |codec, bytes| {
        decode(codec, bytes).expect("a message")
    });
}

#[test]
fn server_messages_encode_to_the_fixture_bytes() {
    check_fixtures("server", &samples::server(), |codec, bytes| {
        codec.decode(bytes).expect("a message")
    });
}

/// The folds of the server and of the clients have tests that read this file.
#[test]
fn a_players_history_is_the_fixture() {
    let history = player_history::history();
    let mut json = serde_json::to_string_pretty(&history).expect("JSON");
    json.push('\n');
    check_kept(&kept("fixtures/player_history.json"), json.as_bytes());
}

#[track_caller]
fn check_fixtures<T: Serialize + PartialEq + std::fmt::Debug>(
    side: &str,
    samples: &[(String, T)],
    read: impl Fn(Codec, &[u8]) -> T,
) {
    let folder = kept("fixtures").join(side);
    let mut expected = BTreeSet::new();
    for (name, message) in samples {
        for (codec, extension) in [(Codec::Json, "json"), (Codec::MessagePack, "msgpack")] {
            let bytes = codec.encode(message);
            let file = format!("{name}.{extension}");
            check_kept(&folder.join(&file), &bytes);
            assert_eq!(
                read(codec, &bytes),
                *message,
                "{file} reads back as something else"
            );
            assert!(expected.insert(file), "two samples are called {name}");
        }
        let json: Value = Codec::Json
            .decode(&Codec::Json.encode(message))
            .expect("JSON");
        let msgpack: Value = Codec::MessagePack
            .decode(&Codec::MessagePack.encode(message))
            .expect("MessagePack");
        assert_eq!(json, msgpack, "{name}: the codecs carry different maps");
    }
    let found = fs::read_dir(&folder).expect("the fixtures' folder");
    for file in found.map(|file| {
        file.expect("a file")
            .file_name()
            .into_string()
            .expect("a plain name")
    }) {
        if !expected.contains(&file) {
            assert!(updating(), "{side}/{file} has no sample");
            fs::remove_file(folder.join(&file)).expect("remove a file without sample");
        }
    }
}

/// A TypeScript type names each field, tag and value in quotes or before a colon.
#[test]
fn every_field_variant_and_value_has_a_sample() {
    let client = samples::client()
        .iter()
        .map(|(_, message)| to_text(message))
        .collect::<String>();
    let server = samples::server()
        .iter()
        .map(|(_, message)| to_text(message))
        .collect::<String>();
    let rest_only = [
        "Data",
        "Page",
        "TokenPair",
        "Profile",
        "PlayerProfile",
        "Badge",
        "NewRaid",
        "RaidView",
        "RaidSummary",
        "InviteView",
        "CommandResult",
        "PlayerStateAt",
        "Contribution",
        "Progression",
        "Levels",
        "CoinAmounts",
        "StreakRules",
        "Achievement",
        "Tier",
        "AchievementText",
        "ShopItem",
        "Board",
        "BoardWindow",
        "OpenBoard",
        "BoardTitle",
        "BoardMetric",
        "BoardPage",
        "BoardEntry",
        "BoardPlayer",
    ];
    for declaration in typescript::declarations() {
        let code: String = declaration
            .lines()
            .filter(|line| !line.trim().starts_with("/*"))
            .collect();
        let name = code
            .trim_start_matches("export type ")
            .split([' ', '<'])
            .next()
            .expect("a name")
            .to_owned();
        if rest_only.contains(&name.as_str()) {
            continue;
        }
        let samples = if [
            "ClientMessage",
            "Command",
            "Me",
            "PlayerRequest",
            "PlayerCommand",
        ]
        .contains(&name.as_str())
        {
            &client
        } else {
            &server
        };
        for word in words(&code) {
            assert!(
                samples.contains(&format!("\"{word}\"")),
                "{name}: no sample has {word}"
            );
        }
    }
}

/// Returns the words in quotes and the words before a colon.
fn words(code: &str) -> Vec<String> {
    let quoted = code.split('"').skip(1).step_by(2).map(str::to_owned);
    let keys = code.split(':').filter_map(|before| {
        before
            .trim_end_matches('?')
            .rsplit([' ', '{', ',', '('])
            .next()
    });
    let keys = keys
        .filter(|key| !key.is_empty() && key.chars().all(|c| c.is_ascii_lowercase() || c == '_'));
    quoted.chain(keys.map(str::to_owned)).collect()
}

fn to_text<T: Serialize>(message: &T) -> String {
    serde_json::to_string(message).expect("JSON")
}

#[test]
fn an_event_has_exactly_the_documented_keys() {
    let mut seen = BTreeSet::new();
    for (name, message) in samples::server() {
        let ServerMessage::Event { event, .. } = &message else {
            continue;
        };
        let Ok(Value::Object(map)) = serde_json::to_value(&message) else {
            panic!("{name} is no map")
        };
        assert_eq!(
            keys(&map),
            BTreeSet::from(["t", "raid", "seq", "at", "by", "type", "data"]),
            "{name}"
        );
        assert_eq!(map["type"], event.data.kind());
        let Value::Object(data) = &map["data"] else {
            panic!("{name} has no data")
        };
        assert_eq!(keys(data), data_keys(&event.data), "{name}");
        seen.insert(event.data.kind());
    }
    assert_eq!(seen.len(), 19);
}

fn keys(map: &Map<String, Value>) -> BTreeSet<&str> {
    map.keys().map(String::as_str).collect()
}

/// Returns the keys of an event's data, as in the event table of docs/PROTOCOL.md.
fn data_keys(data: &EventData) -> BTreeSet<&'static str> {
    let keys = match data.kind() {
        "raid_created" => {
            "title, description, invite_code, target_xp, target_tasks, time_limit_secs, max_members, late_join, ranked"
        }
        "member_joined" => "player, name, role, xp, tasks, energy, energy_at, joined_at",
        "member_left" => "player, reason, released",
        "leader_changed" => "player, previous, reason, term",
        "raid_started" => "deadline",
        "task_added" => "task, title, xp, minutes",
        "task_edited" => "task, author, title, minutes",
        "task_removed" => "task",
        "member_muted" => "player, until",
        "invite_rotated" => "invite_code",
        "task_claimed" | "task_failed" => "task, player, energy",
        "task_released" => "task, player",
        "task_completed" => {
            "task, player, xp, energy, member_xp, member_tasks, current_xp, current_tasks"
        }
        "player_erased" => "player, text, made_raid",
        "contributed" => {
            "player, xp, kind, note, member_xp, member_tasks, current_xp, current_tasks"
        }
        "said" => "text",
        "raid_completed" => "ranking",
        "raid_failed" => "reason",
        kind => panic!("{kind} is not in the contract"),
    };
    keys.split(", ").collect()
}

#[test]
fn names_in_code_are_the_names_on_the_wire() {
    for error in raidhall_protocol::ErrorType::ALL {
        assert_eq!(to_text(&error), format!("\"{}\"", error.as_str()));
    }
    for status in raidhall_protocol::state::RaidStatus::ALL {
        assert_eq!(to_text(&status), format!("\"{}\"", status.as_str()));
    }
    for (name, message) in samples::client() {
        let raidhall_protocol::ClientMessage::Do { cmd, .. } = message else {
            continue;
        };
        assert_eq!(
            serde_json::to_value(&cmd).expect("JSON")["type"],
            cmd.kind(),
            "{name}"
        );
    }
}

#[test]
fn decoding_ignores_unknown_fields_and_refuses_two_messages() {
    let beat = br#"{"t":"beat","now":1,"heads":{},"new":[1]}"#;
    assert!(matches!(
        Codec::Json.decode(beat),
        Ok(ServerMessage::Beat { .. })
    ));
    for codec in Codec::ALL {
        let two = codec.encode(&samples::server()[0].1).repeat(2);
        assert!(codec.decode::<ServerMessage>(&two).is_err());
    }
}

#[test]
fn codecs_are_chosen_by_their_subprotocol() {
    for codec in Codec::ALL {
        assert_eq!(Codec::from_subprotocol(codec.subprotocol()), Some(codec));
    }
    assert_eq!(Codec::from_subprotocol("raidhall.v2.json"), None);
}

#[test]
fn close_codes_are_the_documented_ones() {
    use raidhall_protocol::CloseCode as C;
    let codes: Vec<u16> = C::ALL.into_iter().map(C::code).collect();
    assert_eq!(
        codes,
        [
            1000, 1002, 1007, 1009, 4000, 4001, 4003, 4004, 4100, 4101, 4200, 4201, 4202
        ]
    );
}

#[test]
fn a_creation_from_before_ranked_raids_is_of_one_that_is_not_ranked() {
    let stored = json!({
        "seq": 1, "at": 0, "by": 5, "type": "raid_created",
        "data": {
            "title": "Ship it", "description": null, "invite_code": "K7MQ2XNB", "target_xp": 500,
            "target_tasks": 10, "time_limit_secs": 86_400, "max_members": 4, "late_join": false,
        },
    });
    let event: Event = serde_json::from_value(stored).expect("an event");
    assert!(matches!(
        event.data,
        EventData::RaidCreated { ranked: false, .. }
    ));
}
