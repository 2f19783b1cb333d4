//! Benchmark of what the most expensive message costs to decode: `cargo bench -p raidhall-protocol`.
//!
//! Every message is a `hello` of 16 KiB that is full of one shape. Decoding any of them may cost at
//! most [`COST_RATIO_MAX`] times as much as decoding the flat one; otherwise the benchmark fails.

#![allow(clippy::disallowed_methods, reason = "it measures real time")]

use std::hint::black_box;
use std::time::{Duration, Instant};

use raidhall_protocol::Codec;
use raidhall_protocol::decode::decode;

/// The allocator that the server uses too.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const MESSAGE_BYTES: usize = 16_384;
const COST_RATIO_MAX: f64 = 3.0;
/// Each message is decoded again and again for this long, so many times over. The best counts.
const ROUND_DURATION: Duration = Duration::from_millis(30);
const ROUNDS: usize = 10;
/// Levels of nesting within a message that are still read.
const LEVELS: usize = 30;

fn main() {
    measure(Codec::Json, "json", &json_messages());
    measure(Codec::MessagePack, "msgpack", &msgpack_messages());
}

/// Measures every message. The first one is the flat one.
#[expect(clippy::print_stdout, reason = "its result")]
fn measure(codec: Codec, name: &str, messages: &[(&str, Vec<u8>)]) {
    let mut flat_cost = None;
    let mut ratio_max = 0.0_f64;
    for (shape, message) in messages {
        assert!(
            (MESSAGE_BYTES - 2_000..=MESSAGE_BYTES).contains(&message.len()),
            "{name}, {shape}: {} bytes",
            message.len()
        );
        let cost = best_cost(codec, message).as_secs_f64() * 1e6;
        let ratio = cost / *flat_cost.get_or_insert(cost);
        ratio_max = ratio_max.max(ratio);
        println!("{name:7}  {shape:32}  {cost:7.1} us  {ratio:5.2}");
    }
    println!("{name:7}  the most expensive costs {ratio_max:.2} times the flat one");
    assert!(ratio_max <= COST_RATIO_MAX, "more than {COST_RATIO_MAX}");
}

fn best_cost(codec: Codec, message: &[u8]) -> Duration {
    let round = || {
        let began = Instant::now();
        let mut count = 0;
        while began.elapsed() < ROUND_DURATION {
            let _ = black_box(decode(codec, black_box(message)));
            count += 1;
        }
        began.elapsed() / count
    };
    (0..ROUNDS).map(|_| round()).min().expect("a round")
}

fn json_messages() -> Vec<(&'static str, Vec<u8>)> {
    let fill = |part: &str| {
        let (head, tail) = (r#"{"t":"hello","token":["#, "0]}");
        let room = MESSAGE_BYTES - head.len() - tail.len();
        let parts = part.repeat(room / part.len());
        format!("{head}{parts}{tail}").into_bytes()
    };
    let nest = |open: &str, inner: &str, close: &str| {
        format!("{}{inner}{},", open.repeat(LEVELS), close.repeat(LEVELS))
    };
    let keys: Vec<_> = (0..1_800).map(|key| format!(r#""{key:04}":0"#)).collect();
    let text = "x".repeat(MESSAGE_BYTES - 100);
    vec![
        ("flat list", fill("0,")),
        (
            "one text",
            format!(r#"{{"t":"hello","token":"{text}"}}"#).into_bytes(),
        ),
        (
            "flat map",
            format!(r#"{{"t":"hello",{}}}"#, keys.join(",")).into_bytes(),
        ),
        ("lists 30 deep", fill(&nest("[", "0", "]"))),
        (
            "lists 30 deep, with a sibling",
            fill(&nest("[0,", "0", "]")),
        ),
        ("maps 30 deep", fill(&nest(r#"{"":"#, "0", "}"))),
        (
            "maps 30 deep, foreign",
            fill(&nest(r#"{"":"#, "1e999", "}")),
        ),
        ("empty lists", fill("[],")),
        ("lists", fill("[0],")),
        ("empty maps", fill("{},")),
        ("maps", fill(r#"{"":0},"#)),
        ("maps with texts", fill(r#"{"a":"b"},"#)),
        ("foreign maps", fill(r#"{"":1e999},"#)),
        ("maps with half characters", fill(r#"{"\ud83d":0},"#)),
        ("empty texts", fill(r#""","#)),
        ("short texts", fill(r#""a","#)),
        ("escapes", fill(r#""\n","#)),
        (
            "long escapes",
            fill(&format!(r#""{}","#, r"\n".repeat(100))),
        ),
        ("half characters", fill(r#""\ud83d","#)),
        ("whole numbers", fill("1234567890123456789,")),
        ("fractions", fill("0.1,")),
        ("long fractions", fill("1234567.8901234567e-89,")),
        ("numbers without bounds", fill("1e999,")),
        ("literals", fill("true,")),
        (
            "deeper than is read",
            fill(&format!("{}{},", "[".repeat(8_000), "]".repeat(8_000))),
        ),
    ]
}

fn msgpack_messages() -> Vec<(&'static str, Vec<u8>)> {
    let fill = |part: &[u8]| {
        let head = b"\x82\xa1t\xa5hello\xa5token\xdc";
        let parts = (MESSAGE_BYTES - head.len() - 2) / part.len();
        let count = u16::try_from(parts).expect("a count").to_be_bytes();
        [&head[..], &count, &part.repeat(parts)].concat()
    };
    let nest = |open: &[u8], inner: &[u8]| [&open.repeat(LEVELS), inner].concat();
    let text = [
        b"\x82\xa1t\xa5hello\xa5token\xda\x3f\x00".to_vec(),
        vec![b'x'; 0x3f00],
    ]
    .concat();
    let mut map = b"\xde\x0b\xb9\xa1t\xa5hello".to_vec();
    for key in 0..3_000 {
        map.extend([
            0xa3,
            b'0' + (key / 100) as u8,
            b'0' + (key / 10 % 10) as u8,
            b'0' + (key % 10) as u8,
            0,
        ]);
    }
    map.resize(map.len(), 0);
    vec![
        ("flat list", fill(b"\x00")),
        ("one text", text),
        ("flat map", map),
        ("lists 30 deep", fill(&nest(b"\x91", b"\x00"))),
        (
            "lists 30 deep, with a sibling",
            fill(&nest(b"\x92\x00", b"\x00")),
        ),
        ("maps 30 deep", fill(&nest(b"\x81\xa0", b"\x00"))),
        (
            "maps 30 deep, foreign",
            fill(&nest(b"\x81\xa0", b"\xc4\x00")),
        ),
        ("empty lists", fill(b"\x90")),
        ("lists", fill(b"\x91\x00")),
        ("empty maps", fill(b"\x80")),
        ("maps", fill(b"\x81\xa0\x00")),
        ("maps with texts", fill(b"\x81\xa1a\xa1b")),
        ("maps with keys of maps", fill(&nest(b"\x81", b"\x80"))),
        ("foreign maps", fill(b"\x81\xa0\xc4\x00")),
        ("maps without text keys", fill(b"\x81\x00\x00")),
        ("empty texts", fill(b"\xa0")),
        ("short texts", fill(b"\xa1a")),
        ("half characters", fill(b"\xa3\xed\xa0\xbd")),
        ("fractions", fill(b"\xca\x40\x49\x0f\xdb")),
        ("not a number", fill(b"\xca\x7f\xc0\x00\x00")),
        ("binary data", fill(b"\xc4\x00")),
        ("literals", fill(b"\xc3")),
        (
            "deeper than is read",
            fill(&[0x91].repeat(8_000))
                .into_iter()
                .chain([0, 0])
                .collect(),
        ),
    ]
}
