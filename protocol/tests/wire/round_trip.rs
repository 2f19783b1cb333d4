//! Property tests: every client message survives both codecs, and no bytes make the decoder panic.

use proptest::prelude::*;
use raidhall_protocol::decode::{DecodeError, decode};
use raidhall_protocol::{ClientMessage, Codec, Command, OpKey, PlayerId, RaidId, Seq, TaskId};
use serde_json::{Number, Value};

const WHOLE: std::ops::Range<u64> = 0..1 << 53;

fn id<T: TryFrom<u64, Error: std::fmt::Debug> + std::fmt::Debug>() -> impl Strategy<Value = T> {
    prop_oneof![1..300_u64, 1..1_u64 << 53].prop_map(|id| T::try_from(id).expect("an id"))
}

fn optional_number() -> impl Strategy<Value = Option<u64>> {
    prop::option::of(prop_oneof![0..300_u64, WHOLE])
}

fn commands() -> impl Strategy<Value = Command> {
    let player = || id::<PlayerId>();
    let task = || id::<TaskId>();
    prop_oneof![
        Just(Command::Start),
        Just(Command::Leave),
        player().prop_map(|player| Command::Kick { player }),
        player().prop_map(|player| Command::Promote { player }),
        Just(Command::Cancel),
        (".*", any::<i64>(), any::<i64>()).prop_map(|(title, xp, minutes)| Command::AddTask {
            title,
            xp,
            minutes
        }),
        task().prop_map(|task| Command::ClaimTask { task }),
        task().prop_map(|task| Command::ReleaseTask { task }),
        task().prop_map(|task| Command::CompleteTask { task }),
        task().prop_map(|task| Command::FailTask { task }),
        (player(), any::<i64>(), ".*", prop::option::of(".*")).prop_map(
            |(player, xp, kind, note)| Command::Contribute {
                player,
                xp,
                kind,
                note
            }
        ),
        ".*".prop_map(|text| Command::Say { text }),
    ]
}

fn json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        // The JSON parser rounds the last bit of some other fractions.
        any::<i32>().prop_filter_map("finite", |n| Number::from_f64(f64::from(n) / 8.0)
            .map(Value::Number)),
        ".{0,8}".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 12, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map(".{0,4}", inner, 0..4)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
    .prop_filter("at most 1 KiB", |value| value.to_string().len() <= 1024)
}

fn messages() -> impl Strategy<Value = ClientMessage> {
    let op = || {
        prop::option::of("[A-Za-z0-9_.-]{1,64}".prop_map(|op| OpKey::try_from(op).expect("an op")))
    };
    let number = || prop_oneof![0..300_u64, WHOLE];
    prop_oneof![
        (".*", prop::option::of(".*"))
            .prop_map(|(token, client)| ClientMessage::Hello { token, client }),
        (optional_number(), id(), optional_number()).prop_map(|(id, raid, since)| {
            ClientMessage::Watch {
                id,
                raid,
                since: since.map(Seq),
            }
        }),
        (optional_number(), id()).prop_map(|(id, raid)| ClientMessage::Unwatch { id, raid }),
        (number(), id::<RaidId>(), op(), commands())
            .prop_map(|(id, raid, op, cmd)| ClientMessage::Do { id, raid, op, cmd }),
        (optional_number(), id(), "[a-z_]{1,32}", json()).prop_map(|(id, raid, kind, data)| {
            ClientMessage::Signal {
                id,
                raid,
                kind,
                data,
            }
        }),
        Just(ClientMessage::Beat),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]

    #[test]
    fn a_message_survives_both_codecs(message in messages()) {
        for codec in Codec::ALL {
            let read = decode(codec, &codec.encode(&message));
            prop_assert_eq!(read.as_ref(), Ok(&message));
            prop_assert_eq!(codec.decode::<ClientMessage>(&codec.encode(&message)).ok(), Some(message.clone()));
        }
    }

    #[test]
    fn decoding_arbitrary_bytes_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        for codec in Codec::ALL {
            let _ = decode(codec, &bytes);
        }
    }

    /// Damaged messages reach deeper into the decoder than random bytes.
    #[test]
    fn decoding_damaged_messages_never_panics(message in messages(), places in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4), cut in any::<prop::sample::Index>(), cuts in any::<bool>()) {
        for codec in Codec::ALL {
            let mut bytes = codec.encode(&message);
            for (place, byte) in &places {
                let place = place.index(bytes.len());
                bytes[place] = *byte;
            }
            if cuts {
                bytes.truncate(cut.index(bytes.len()));
            }
            if let Err(DecodeError::Invalid(invalid)) = decode(codec, &bytes) {
                prop_assert!(!invalid.fields.is_empty(), "a refusal without a reason");
            }
        }
    }

    /// Only a frame without a map or a string `t` closes the connection, never a faulty field.
    #[test]
    fn arbitrary_fields_beside_a_known_t_are_never_undecodable(t in "hello|watch|unwatch|do|signal|beat|other", fields in prop::collection::btree_map("id|raid|since|op|cmd|kind|data|token|client", json(), 0..6)) {
        let mut map: serde_json::Map<String, Value> = fields.into_iter().collect();
        map.insert("t".to_owned(), Value::from(t));
        for codec in Codec::ALL {
            let read = decode(codec, &codec.encode(&map));
            prop_assert!(!matches!(read, Err(DecodeError::Undecodable(_))), "{:?}", read);
        }
    }
}
