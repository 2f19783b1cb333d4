//! Clients that send without end, below the level of messages too, and what becomes of the polite ones beside them.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use raidhall_loadtest::client::Rest;
use raidhall_loadtest::target::Target;
use raidhall_protocol::{Codec, ErrorType, RaidId};
use serde_json::{Value, json};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::CancellationToken;

use crate::party::{Party, long_raid};
use crate::process::{Server, Site};
use crate::raw::{CLOSE, PING, Raw, TEXT, frame};
use crate::wire::Wire;
use crate::{bounded, undisturbed};

/// The default, which other tests raise.
const DEFAULTS: [(&str, &str); 2] = [
    ("LIMITS__COMMANDS_PER_SECOND", "20"),
    ("LIMITS__BYTES_PER_SECOND", "524288"),
];
/// An empty fragment that goes on with a message and does not end it.
const EMPTY_FRAGMENT: u8 = 0;

async fn greeted(server: &Server, token: &str) -> Raw {
    let mut raw = Raw::open(server.target(), "raidhall.v1.json").await;
    raw.frame(
        TEXT,
        json!({"t": "hello", "token": token}).to_string().as_bytes(),
    )
    .await;
    raw
}

/// The errors that came before the Close frame, and its code.
async fn told(raw: &mut Raw) -> (Vec<Value>, u16) {
    let mut errors = Vec::new();
    loop {
        match raw.next().await.expect("a Close frame before the end") {
            (TEXT, payload) => {
                let message: Value = serde_json::from_slice(&payload).expect("JSON");
                if message["t"] == "error" {
                    errors.push(message);
                }
            }
            (CLOSE, payload) => return (errors, u16::from_be_bytes([payload[0], payload[1]])),
            _ => {}
        }
    }
}

#[tokio::test]
async fn pings_and_empty_fragments_without_end_are_told_so_and_closed_with_4101() {
    bounded(async {
        let site = Site::sqlite().await;
        let server = site.start_with(&DEFAULTS).await;
        let party = Party::gather(server.target(), 1, &long_raid(2)).await;
        let token = party.witness().await.access_token;
        let begun = frame(TEXT, Some([1; 4]), b"{");
        let fragments = [
            begun,
            frame(EMPTY_FRAGMENT, Some([1; 4]), b"").repeat(100_000),
        ]
        .concat();
        let pings = frame(0x80 | PING, Some([1; 4]), b"").repeat(100_000);
        let flood = async |bytes: Vec<u8>| {
            let mut raw = greeted(&server, &token).await;
            raw.bytes(&bytes).await;
            let (errors, code) = told(&mut raw).await;
            assert_eq!(code, 4101);
            assert!((1..=10).contains(&errors.len()), "{errors:?}");
            for error in errors {
                assert_eq!(error["re"], "frames");
                assert_eq!(
                    error["error"]["type"],
                    json!(ErrorType::RateLimited.as_str())
                );
                assert!(
                    error["error"]["retry_after_ms"]
                        .as_u64()
                        .is_some_and(|ms| ms > 0),
                    "{error}"
                );
            }
        };
        tokio::join!(flood(fragments), flood(pings));
    })
    .await;
}

/// How long the polite are measured, with and without the others.
const MEASURED: Duration = Duration::from_secs(4);
/// What a ratio of tiny times says nothing about: a tick of a busy machine.
const FLOOR: Duration = Duration::from_millis(25);
/// What else is on the machine strikes one server and spares the other. A flood that gets through strikes in every round.
const ROUNDS: usize = 4;

/// A hundred connections in ten raids, each with its raid.
async fn hundred(server: &Server) -> Vec<(RaidId, Wire)> {
    let rest = Rest::new(server.target()).expect("doors");
    let mut wires = Vec::new();
    for number in 0..10 {
        let tokens = rest
            .guest(&format!("player {number}"))
            .await
            .expect("a guest");
        let raid = rest
            .with_token(&tokens.access_token)
            .create(&long_raid(2), None)
            .await
            .expect("a raid");
        for device in 0..10 {
            let wire = Wire::open(
                server.target(),
                Codec::ALL[device % 2],
                &tokens.access_token,
            )
            .await;
            wires.push((raid.state.id, wire));
        }
    }
    wires
}

/// The 99th percentile of the time to an acknowledgement, each saying something twice a second.
async fn measure(polite: Vec<(RaidId, Wire)>) -> (Duration, Vec<(RaidId, Wire)>) {
    let mut talking = JoinSet::new();
    for (number, (raid, mut wire)) in polite.into_iter().enumerate() {
        talking.spawn(async move {
            let begun = Instant::now();
            sleep(Duration::from_millis(number as u64 * 5)).await;
            let mut delays = Vec::new();
            while begun.elapsed() < MEASURED {
                let said = Instant::now();
                wire.say(raid, "politely").await;
                delays.push(said.elapsed());
                sleep_until(said + Duration::from_millis(500)).await;
            }
            (delays, (raid, wire))
        });
    }
    let (delays, polite): (Vec<_>, Vec<_>) = talking.join_all().await.into_iter().unzip();
    let mut delays: Vec<_> = delays.into_iter().flatten().collect();
    delays.sort();
    (delays[delays.len() * 99 / 100], polite)
}

/// Connects and sends this without end, and again as soon as it is let go; says each time that it was.
async fn flooder(target: Target, token: String, bytes: Vec<u8>, let_go: Arc<Semaphore>) {
    loop {
        let mut raw = Raw::open(&target, "raidhall.v1.json").await;
        let hello = json!({"t": "hello", "token": token}).to_string();
        raw.frame(TEXT, hello.as_bytes()).await;
        raw.flood(&bytes).await;
        let_go.add_permits(1);
    }
}

/// Flooders on a thread of their own, so that they don't take the time of those who are measured.
struct Attack(CancellationToken);

impl Attack {
    fn begin(flooders: impl Iterator<Item = impl Future<Output = ()> + Send + 'static>) -> Attack {
        let (stop, flooders) = (CancellationToken::new(), flooders.collect::<Vec<_>>());
        let stopped = stop.clone();
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build();
            runtime
                .expect("a runtime")
                .block_on(stopped.run_until_cancelled(async {
                    flooders
                        .into_iter()
                        .collect::<JoinSet<_>>()
                        .join_all()
                        .await;
                }));
        });
        Attack(stop)
    }
}

impl Drop for Attack {
    fn drop(&mut self) {
        self.0.cancel();
    }
}

const FLOODERS: usize = 12;

/// Those who send messages, pings and fragments without end, once the server has let that many go.
async fn attack(server: &Server) -> Attack {
    let tokens = Rest::new(server.target())
        .expect("doors")
        .guest("flooder")
        .await
        .expect("a guest");
    let mask = Some([1; 4]);
    let floods = [
        frame(0x80 | TEXT, mask, br#"{"t":"unwatch","raid":1}"#).repeat(1000),
        frame(0x80 | PING, mask, b"x").repeat(1000),
        [
            frame(TEXT, mask, b"{"),
            frame(EMPTY_FRAGMENT, mask, b"").repeat(1000),
        ]
        .concat(),
    ];
    let let_go = Arc::new(Semaphore::new(0));
    let attack = Attack::begin((0..FLOODERS).map(|number| {
        let (token, bytes) = (
            tokens.access_token.clone(),
            floods[number % floods.len()].clone(),
        );
        flooder(*server.target(), token, bytes, Arc::clone(&let_go))
    }));
    let _ = let_go
        .acquire_many(FLOODERS as u32)
        .await
        .expect("never closed");
    attack
}

#[tokio::test]
async fn floods_of_messages_pings_and_fragments_leave_the_polite_their_latency() {
    undisturbed(async {
        let (site, spared_site) = tokio::join!(Site::sqlite(), Site::sqlite());
        let server = site.start_with(&DEFAULTS).await;
        let spared_server = spared_site.start_with(&DEFAULTS).await;
        let (mut polite, mut spared) = tokio::join!(hundred(&server), hundred(&spared_server));
        let _attack = attack(&server).await;
        for round in 1..=ROUNDS {
            let used = || (server.usage().cpu, spared_server.usage().cpu);
            let before = used();
            let ((flooded, polite_again), (calm, spared_again)) =
                tokio::join!(measure(polite), measure(spared));
            (polite, spared) = (polite_again, spared_again);
            let (spent, usual) = (used().0 - before.0, used().1 - before.1);
            println!(
                "p99 of the polite: {flooded:?} beside floods, {calm:?} of those who are spared"
            );
            println!("processor time of their servers: {spent:?} and {usual:?}");
            if spent <= usual * 2 && flooded <= (calm * 2).max(FLOOR) {
                return;
            }
            assert!(
                round < ROUNDS,
                "floods take the time of the polite in each of {ROUNDS} rounds"
            );
        }
    })
    .await;
}
