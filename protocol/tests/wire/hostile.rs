//! Hostile frames: which of them close the connection, and which are answered with the names of the
//! faulty fields.

use std::time::{Duration, Instant};

use raidhall_protocol::client::Topic;
use raidhall_protocol::decode::{DecodeError, InvalidMessage, decode};
use raidhall_protocol::limits::DEPTH_MAX;
use raidhall_protocol::{ClientMessage, Codec, RaidId};

/// Returns the outcome of decoding a frame: `ok`, `undecodable`, or the faulty fields in order.
fn outcome(codec: Codec, frame: &[u8]) -> String {
    match decode(codec, frame) {
        Ok(_) => "ok".to_owned(),
        Err(DecodeError::Undecodable(_)) => "undecodable".to_owned(),
        Err(DecodeError::Invalid(InvalidMessage { fields, .. })) => fields
            .iter()
            .map(|fault| fault.field.as_str())
            .collect::<Vec<_>>()
            .join(" "),
    }
}

#[track_caller]
fn check_json(table: &[(&str, &str)]) {
    for (frame, expected) in table {
        assert_eq!(outcome(Codec::Json, frame.as_bytes()), *expected, "{frame}");
    }
}

/// Checks JSON frames and their equivalents in MessagePack.
#[track_caller]
fn check_both(table: &[(&str, &str)]) {
    check_json(table);
    for (frame, expected) in table {
        let value: serde_json::Value = serde_json::from_str(frame).expect("good JSON");
        let msgpack = Codec::MessagePack.encode(&value);
        assert_eq!(
            outcome(Codec::MessagePack, &msgpack),
            *expected,
            "{frame} as MessagePack"
        );
    }
}

/// Checks a MessagePack frame that is the concatenation of `parts`.
#[track_caller]
fn check_msgpack(what: &str, parts: &[&[u8]], expected: &str) {
    assert_eq!(
        outcome(Codec::MessagePack, &parts.concat()),
        expected,
        "{what}"
    );
}

#[test]
fn a_frame_that_is_not_one_map_with_a_text_t_is_undecodable() {
    check_both(&[
        ("null", "undecodable"),
        ("7", "undecodable"),
        (r#""beat""#, "undecodable"),
        ("[]", "undecodable"),
        (r#"[{"t":"beat"}]"#, "undecodable"),
        (r#"["t","beat"]"#, "undecodable"),
        ("{}", "undecodable"),
        (r#"{"T":"beat"}"#, "undecodable"),
        (r#"{"t":null}"#, "undecodable"),
        (r#"{"t":1}"#, "undecodable"),
        (r#"{"t":["beat"]}"#, "undecodable"),
        (r#"{"t":{"t":"beat"}}"#, "undecodable"),
    ]);
}

#[test]
fn json_that_is_not_exactly_one_value_is_undecodable() {
    check_json(&[
        ("", "undecodable"),
        (" ", "undecodable"),
        ("{", "undecodable"),
        (r#"{"t":"beat""#, "undecodable"),
        (r#"{"t":"beat"}{"t":"beat"}"#, "undecodable"),
        (r#"{"t":"beat"} x"#, "undecodable"),
        (r#"{"t":"beat",}"#, "undecodable"),
        (r#"{'t':'beat'}"#, "undecodable"),
        (r#"{t:"beat"}"#, "undecodable"),
        (r#"{1:2,"t":"beat"}"#, "undecodable"),
        (r#"{"t":"beat","x":NaN}"#, "undecodable"),
        (r#"{"t":"beat","x":01}"#, "undecodable"),
        (r#"{"t":"beat","x":"\q"}"#, "undecodable"),
        ("{\"t\":\"be\nat\"}", "undecodable"),
        ("\u{feff}{\"t\":\"beat\"}", "undecodable"),
        (" \n{ \"t\" : \"beat\" }\t", "ok"),
        (r#"{"\u0074":"beat"}"#, "ok"),
    ]);
    assert_eq!(
        outcome(Codec::Json, b"{\"t\":\"beat\",\"x\":\"\xff\"}"),
        "undecodable",
        "no UTF-8"
    );
}

#[test]
fn faults_inside_the_map_name_their_fields() {
    check_both(&[
        (r#"{"t":""}"#, "t"),
        (r#"{"t":"no such"}"#, "t"),
        (r#"{"t":"Beat"}"#, "t"),
        (r#"{"t":"beat","x":[{}],"y":null}"#, "ok"),
        (r#"{"t":"hello"}"#, "token"),
        (r#"{"t":"hello","token":null}"#, "token"),
        (r#"{"t":"hello","token":5,"client":[]}"#, "token client"),
        (r#"{"t":"hello","token":"x","client":null}"#, "ok"),
        (r#"{"t":"watch"}"#, "raid"),
        (r#"{"t":"watch","raid":0}"#, "raid"),
        (r#"{"t":"watch","raid":-1}"#, "raid"),
        (r#"{"t":"watch","raid":1.5}"#, "raid"),
        (r#"{"t":"watch","raid":"7"}"#, "raid"),
        (r#"{"t":"watch","raid":9007199254740991}"#, "ok"),
        (r#"{"t":"watch","raid":9007199254740992}"#, "raid"),
        (r#"{"t":"watch","raid":18446744073709551615}"#, "raid"),
        (r#"{"t":"watch","raid":1e300}"#, "raid"),
        (r#"{"t":"watch","raid":7,"since":0}"#, "ok"),
        (r#"{"t":"watch","raid":7,"since":null,"id":null}"#, "ok"),
        (r#"{"t":"watch","raid":7,"since":-1}"#, "since"),
        (
            r#"{"t":"watch","raid":7,"since":9007199254740992}"#,
            "since",
        ),
        (r#"{"t":"watch","raid":7.0,"since":1.2e2}"#, "ok"),
        (
            r#"{"t":"watch","id":"x","raid":true,"since":{}}"#,
            "id raid since",
        ),
        (r#"{"t":"unwatch","id":-1,"raid":[]}"#, "id raid"),
        (r#"{"t":"do"}"#, "id raid cmd"),
        (r#"{"t":"do","id":1,"raid":7}"#, "cmd"),
        (r#"{"t":"do","id":1,"raid":7,"cmd":"start"}"#, "cmd"),
        (r#"{"t":"do","id":1,"raid":7,"cmd":[]}"#, "cmd"),
        (r#"{"t":"do","id":1,"raid":7,"cmd":{}}"#, "type"),
        (r#"{"t":"do","id":1,"raid":7,"cmd":{"type":1}}"#, "type"),
        (r#"{"t":"do","id":1,"raid":7,"cmd":{"type":"win"}}"#, "type"),
        (
            r#"{"t":"do","id":1,"raid":7,"cmd":{"type":"start","x":1}}"#,
            "ok",
        ),
        (
            r#"{"t":"do","id":1,"raid":7,"cmd":{"type":"kick"}}"#,
            "player",
        ),
        (
            r#"{"t":"do","id":1,"raid":7,"cmd":{"type":"promote","player":0}}"#,
            "player",
        ),
        (
            r#"{"t":"do","id":1,"raid":7,"cmd":{"type":"claim_task","task":"1"}}"#,
            "task",
        ),
        (
            r#"{"t":"do","id":1,"raid":7,"cmd":{"type":"say","text":1}}"#,
            "text",
        ),
        (
            r#"{"t":"do","id":1,"raid":7,"cmd":{"type":"add_task","title":1,"xp":"1","minutes":0.5}}"#,
            "title xp minutes",
        ),
        (
            r#"{"t":"do","id":1,"raid":7,"cmd":{"type":"add_task","title":"x","xp":-5,"minutes":1e3}}"#,
            "ok",
        ),
        (
            r#"{"t":"do","id":1,"raid":7,"cmd":{"type":"contribute","note":1}}"#,
            "player xp kind note",
        ),
        (
            r#"{"t":"do","id":1,"raid":7,"op":"","cmd":{"type":"start"}}"#,
            "op",
        ),
        (
            r#"{"t":"do","id":1,"raid":7,"op":"a b","cmd":{"type":"start"}}"#,
            "op",
        ),
        (
            r#"{"t":"do","id":1,"raid":7,"op":"é","cmd":{"type":"start"}}"#,
            "op",
        ),
        (
            r#"{"t":"do","id":1,"raid":7,"op":7,"cmd":{"type":"start"}}"#,
            "op",
        ),
        (
            r#"{"t":"do","id":1,"raid":7,"op":null,"cmd":{"type":"start"}}"#,
            "ok",
        ),
        (
            r#"{"t":"do","id":null,"raid":0,"op":"!","cmd":{"type":"add_task"}}"#,
            "id raid op title xp minutes",
        ),
        (r#"{"t":"signal","raid":7}"#, "kind"),
        (r#"{"t":"signal","raid":7,"kind":"emote"}"#, "ok"),
        (r#"{"t":"signal","raid":7,"kind":""}"#, "kind"),
        (r#"{"t":"signal","raid":7,"kind":"Emote"}"#, "kind"),
        (
            r#"{"t":"signal","raid":7,"kind":"abcdefghijklmnopqrstuvwxyz______"}"#,
            "ok",
        ),
        (
            r#"{"t":"signal","raid":7,"kind":"abcdefghijklmnopqrstuvwxyz_______"}"#,
            "kind",
        ),
    ]);
}

#[test]
fn the_later_of_two_fields_with_one_name_counts() {
    check_json(&[
        (r#"{"t":1,"t":"beat"}"#, "ok"),
        (r#"{"t":"beat","t":1}"#, "undecodable"),
        (r#"{"t":"watch","raid":0,"raid":7}"#, "ok"),
        (r#"{"t":"watch","raid":1e999,"raid":7}"#, "ok"),
        (r#"{"t":"watch","raid":7,"raid":1e999}"#, "raid"),
    ]);
    let twice: [&[u8]; 5] = [
        b"\x83\xa1t\xa5watch",
        b"\xa4raid",
        b"\xc4\x01x",
        b"\xa4raid",
        b"\x07",
    ];
    check_msgpack("binary, then a number", &twice, "ok");
}

#[test]
fn unrepresentable_json_values_invalidate_only_their_field() {
    check_json(&[
        (r#"{"t":"watch","raid":1e999}"#, "raid"),
        (
            r#"{"t":"watch","raid":7,"since":-1e999,"id":"\ud83d"}"#,
            "id since",
        ),
        (r#"{"t":"beat","x":1e999,"y":"\udc00"}"#, "ok"),
        (r#"{"t":"\ud83d"}"#, "undecodable"),
        (r#"{"t":"beat","\ud83d":1}"#, "ok"),
        (
            r#"{"t":"do","id":1,"raid":7,"cmd":{"type":"say","text":"cut: \ud83d"}}"#,
            "text",
        ),
        (
            r#"{"t":"do","id":1,"raid":7,"cmd":{"type":"say","text":"whole: \ud83d\udd25"}}"#,
            "ok",
        ),
        (
            r#"{"t":"do","id":1,"raid":7,"cmd":{"type":"say","text":"x","y":1e999,"\udc00":0}}"#,
            "ok",
        ),
        (
            r#"{"t":"signal","raid":7,"kind":"emote","data":{"x":["\ud83d"]}}"#,
            "data",
        ),
        (
            r#"{"t":"signal","raid":7,"kind":"emote","data":{"\ud83d":1}}"#,
            "data",
        ),
        (
            r#"{"t":"signal","raid":7,"kind":"emote","data":[1e999]}"#,
            "data",
        ),
    ]);
}

#[test]
fn messagepack_values_that_json_lacks_invalidate_only_their_field() {
    let watch: &[u8] = b"\x82\xa1t\xa5watch\xa4raid";
    let beat: &[u8] = b"\x82\xa1t\xa4beat\xa1x";
    let signal: &[u8] = b"\x84\xa1t\xa6signal\xa4raid\x07\xa4kind\xa5emote\xa4data";
    let values: [(&str, &[u8]); 10] = [
        ("bin 8", b"\xc4\x01x"),
        ("bin 16", b"\xc5\x00\x01x"),
        ("bin 32", b"\xc6\x00\x00\x00\x01x"),
        ("ext 8", b"\xc7\x01\x05x"),
        ("fixext 1", b"\xd4\x05x"),
        ("timestamp 96", b"\xc7\x0c\xff\0\0\0\0\0\0\0\0\0\0\0\0"),
        ("NaN", b"\xcb\x7f\xf8\0\0\0\0\0\0"),
        ("infinity", b"\xca\x7f\x80\0\0"),
        ("text that is no UTF-8", b"\xa1\xff"),
        ("text with half a surrogate pair", b"\xa3\xed\xa0\xbd"),
    ];
    for (what, value) in values {
        check_msgpack(what, &[watch, value], "raid");
        check_msgpack(what, &[beat, value], "ok");
        check_msgpack(what, &[signal, value], "data");
        check_msgpack(what, &[signal, b"\x91", value], "data");
        check_msgpack(what, &[signal, b"\x81\xa1k", value], "data");
        check_msgpack(what, &[b"\x81\xa1t", value], "undecodable");
        check_msgpack(what, &[b"\x82\xa1t\xa4beat", value, b"\x01"], "ok");
        check_msgpack(what, &[signal, b"\x81", value, b"\x01"], "data");
        check_msgpack(
            what,
            &[
                b"\x84\xa1t\xa2do\xa2id\x01\xa4raid\x07\xa3cmd\x82\xa4type\xa5start\xa1x",
                value,
            ],
            "ok",
        );
        check_msgpack(
            what,
            &[
                b"\x84\xa1t\xa2do\xa2id\x01\xa4raid\x07\xa3cmd\x82\xa4type\xa3say\xa4text",
                value,
            ],
            "text",
        );
        check_msgpack(
            what,
            &[b"\x84\xa1t\xa2do\xa2id\x01\xa4raid\x07\xa3cmd", value],
            "cmd",
        );
    }
    check_msgpack(
        "keys that are numbers",
        &[b"\x82\x01\x02\xa1t\xa4beat"],
        "ok",
    );
    check_msgpack(
        "keys that are maps",
        &[b"\x82\x81\x01\x02\x03\xa1t\xa4beat"],
        "ok",
    );
    check_msgpack(
        "nil for an optional field",
        &[b"\x83\xa1t\xa5watch\xa4raid\x07\xa5since\xc0"],
        "ok",
    );
}

#[test]
fn whole_numbers_are_read_in_every_messagepack_width() {
    let widths: [&[u8]; 12] = [
        b"\x07",
        b"\xcc\x07",
        b"\xcd\0\x07",
        b"\xce\0\0\0\x07",
        b"\xcf\0\0\0\0\0\0\0\x07",
        b"\xd0\x07",
        b"\xd1\0\x07",
        b"\xd2\0\0\0\x07",
        b"\xd3\0\0\0\0\0\0\0\x07",
        b"\xca\x40\xe0\0\0",
        b"\xcb\x40\x1c\0\0\0\0\0\0",
        b"\xcb\x43\x3f\xff\xff\xff\xff\xff\xff",
    ];
    for width in widths {
        check_msgpack("a raid's id", &[b"\x82\xa1t\xa5watch\xa4raid", width], "ok");
    }
    let not: [&[u8]; 6] = [
        b"\xff",
        b"\xd0\xff",
        b"\xd3\xff\xff\xff\xff\xff\xff\xff\xff",
        b"\xcf\xff\xff\xff\xff\xff\xff\xff\xff",
        b"\xca\x40\xf0\0\0",
        b"\xcb\x43\x40\0\0\0\0\0\0",
    ];
    for width in not {
        check_msgpack(
            "no raid's id",
            &[b"\x82\xa1t\xa5watch\xa4raid", width],
            "raid",
        );
    }
}

#[test]
fn messagepack_that_is_not_exactly_one_value_is_undecodable() {
    check_msgpack("nothing", &[], "undecodable");
    check_msgpack(
        "two maps",
        &[b"\x81\xa1t\xa4beat\x81\xa1t\xa4beat"],
        "undecodable",
    );
    check_msgpack(
        "a byte after the map",
        &[b"\x81\xa1t\xa4beat\xc0"],
        "undecodable",
    );
    check_msgpack(
        "the byte that is never used",
        &[b"\x82\xa1t\xa4beat\xa1x\xc1"],
        "undecodable",
    );
    check_msgpack("a JSON text", &[br#"{"t":"beat"}"#], "undecodable");
    let whole = Codec::MessagePack.encode(&ClientMessage::Hello {
        token: "x".repeat(300),
        client: None,
    });
    for length in 0..whole.len() {
        check_msgpack("a cut message", &[&whole[..length]], "undecodable");
    }
    check_msgpack(
        "text in every width",
        &[b"\x81\xd9\x01t\xda\x00\x04beat"],
        "ok",
    );
    check_msgpack(
        "text and map in 32 bits",
        &[b"\xdf\0\0\0\x01\xdb\0\0\0\x01t\xa4beat"],
        "ok",
    );
    check_msgpack("a map in 16 bits", &[b"\xde\0\x01\xa1t\xa4beat"], "ok");
}

/// The work is bounded by the frame and not by the lengths that it declares. A decoder that trusted
/// these lengths would reserve gigabytes or run for hours.
#[test]
fn declared_lengths_cost_no_memory_or_time() {
    let lengths: [&[u8]; 8] = [
        b"\xdd\xff\xff\xff\xff",
        b"\xdf\xff\xff\xff\xff",
        b"\xdb\xff\xff\xff\xff",
        b"\xc6\xff\xff\xff\xff",
        b"\xc9\xff\xff\xff\xff\x05",
        b"\xdc\xff\xff",
        b"\xde\xff\xff",
        b"\xda\xff\xff",
    ];
    #[expect(clippy::disallowed_methods, reason = "nothing here pauses time")]
    let began = Instant::now();
    for length in lengths {
        check_msgpack("as the frame", &[length], "undecodable");
        check_msgpack(
            "as a field",
            &[b"\x82\xa1t\xa4beat\xa1x", length],
            "undecodable",
        );
        check_msgpack("as a key", &[b"\x82\xa1t\xa4beat", length], "undecodable");
        check_msgpack(
            "below the depth that is read",
            &[b"\x82\xa1t\xa4beat\xa1x", &[0x91; 40], length],
            "undecodable",
        );
        check_msgpack("again and again", &[&length.repeat(1_000)], "undecodable");
    }
    assert!(
        began.elapsed() < Duration::from_secs(10),
        "took {:?}",
        began.elapsed()
    );
}

#[test]
fn nested_values_are_read_to_the_depth_limit_and_skipped_below_it() {
    // The message is the first level and the field's value the second.
    for (lists, expected) in [(DEPTH_MAX - 1, "ok"), (DEPTH_MAX, "data"), (8_000, "data")] {
        let (open, close) = ("[".repeat(lists), "]".repeat(lists));
        let signal = format!(r#"{{"t":"signal","raid":7,"kind":"emote","data":{open}{close}}}"#);
        check_json(&[(&signal, if lists < 8_000 { expected } else { "data" })]);
        let beat = format!(r#"{{"t":"beat","x":{open}{close}}}"#);
        check_json(&[(&beat, "ok")]);
        let mut nested = vec![0x91; lists - 1];
        nested.push(0x90);
        let signal: &[u8] = b"\x84\xa1t\xa6signal\xa4raid\x07\xa4kind\xa5emote\xa4data";
        check_msgpack("signal", &[signal, &nested], expected);
        check_msgpack("beat", &[b"\x82\xa1t\xa4beat\xa1x", &nested], "ok");
        check_msgpack(
            "beat, unfinished",
            &[b"\x82\xa1t\xa4beat\xa1x", &nested[..lists - 1]],
            "undecodable",
        );
    }
    let maps = format!(
        r#"{{"t":"beat","x":{}1{}}}"#,
        r#"{"a":"#.repeat(2_000),
        "}".repeat(2_000)
    );
    check_json(&[(&maps, "ok")]);
    check_msgpack("only lists", &[&[0x91; 16_384]], "undecodable");
    check_json(&[(&"[".repeat(16_384), "undecodable")]);
}

#[test]
fn an_error_echoes_the_readable_type_id_and_topic() {
    let echo = |frame: &str| match decode(Codec::Json, frame.as_bytes()) {
        Err(DecodeError::Invalid(m)) => (m.re, m.id, m.topic),
        other => panic!("{frame}: {other:?}"),
    };
    let seven = Some(Topic::Raid(RaidId::try_from(7_u64).expect("an id")));
    let echoed = |re: &str, id, raid| (re.to_owned(), id, raid);
    assert_eq!(
        echo(r#"{"t":"do","id":17,"raid":7}"#),
        echoed("do", Some(17), seven)
    );
    assert_eq!(
        echo(r#"{"t":"do","id":"x","raid":7}"#),
        echoed("do", None, seven)
    );
    assert_eq!(
        echo(r#"{"t":"do","id":17,"raid":0}"#),
        echoed("do", Some(17), None)
    );
    assert_eq!(
        echo(r#"{"t":"do","id":9007199254740992,"raid":7}"#),
        echoed("do", None, seven)
    );
    assert_eq!(
        echo(r#"{"t":"dance","id":17,"raid":7}"#),
        echoed("dance", Some(17), seven)
    );
    assert_eq!(
        echo(r#"{"t":"do","id":17,"player":"me"}"#),
        echoed("do", Some(17), Some(Topic::Me))
    );
    let long = echo(&format!(r#"{{"t":"{}"}}"#, "é".repeat(8_000)));
    assert_eq!(long, echoed(&"é".repeat(64), None, None));
}

#[test]
fn a_request_names_either_a_raid_or_the_player() {
    check_json(&[
        (r#"{"t":"watch","player":"me"}"#, "ok"),
        (r#"{"t":"watch","player":"me","raid":null}"#, "ok"),
        (r#"{"t":"watch","player":"me","raid":7}"#, "raid"),
        (r#"{"t":"watch","player":5}"#, "player"),
        (r#"{"t":"unwatch","player":"you"}"#, "player"),
        (r#"{"t":"watch"}"#, "raid"),
        (
            r#"{"t":"do","id":1,"player":"me","cmd":{"type":"start"}}"#,
            "type",
        ),
        (
            r#"{"t":"do","id":1,"raid":7,"cmd":{"type":"set_name","name":"Ada"}}"#,
            "type",
        ),
    ]);
}

#[test]
fn fault_messages_state_the_expected_value() {
    let messages = |frame: &str| match decode(Codec::Json, frame.as_bytes()) {
        Err(DecodeError::Invalid(m)) => m.fields.into_iter().map(|f| f.message).collect::<Vec<_>>(),
        other => panic!("{frame}: {other:?}"),
    };
    let frame = r#"{"t":"do","raid":1.5,"op":"!","cmd":{"type":"say","text":"\ud83d"}}"#;
    assert_eq!(
        messages(frame),
        [
            "is required",
            "must be a positive integer below 2^53",
            "must be 1 to 64 characters of A-Z a-z 0-9 _ - .",
            "must be valid Unicode",
        ]
    );
}
