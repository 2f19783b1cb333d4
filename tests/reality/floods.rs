//! Clients that send without end, below the level of messages too, and what becomes of the polite ones beside them.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use raidhall_loadtest::client::RestClient;
use raidhall_loadtest::target::Target;
use raidhall_protocol::{Codec, ErrorType, RaidId};
use serde_json::{Value, json};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::CancellationToken;

use crate::process::{TestDatabase, TestServer};
use crate::raid_group::{RaidGroup, long_raid};
use crate::raw_socket::{CLOSE, PING, RawSocket, TEXT, encode_frame};
use crate::test_socket::TestSocket;
use crate::{run_exclusively, with_timeout};

/// The default, which other tests raise.
const DEFAULT_SETTINGS: [(&str, &str); 2] = [
    ("LIMITS__COMMANDS_PER_SECOND", "20"),
    ("LIMITS__BYTES_PER_SECOND", "524288"),
];
/// An empty fragment that goes on with a message and does not end it.
const EMPTY_FRAGMENT: u8 = 0;

async fn open_socket(server: &TestServer, token: &str) -> RawSocket {
    let mut raw = RawSocket::open(server.target(), "raidhall.v1.json").await;
    raw.send_frame(
        TEXT,
        json!({"t": "hello", "token": token}).to_string().as_bytes(),
    )
    .await;
    raw
}

/// The errors that came before the Close frame, and its code.
async fn read_errors_and_close(raw: &mut RawSocket) -> (Vec<Value>, u16) {
    let mut errors = Vec::new();
    loop {
        match raw
            .next_frame()
            .await
            .expect("a Close frame before the end")
        {
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
async fn endless_pings_and_empty_fragments_are_closed_with_4101() {
    with_timeout(async {
        let site = TestDatabase::sqlite().await;
        let server = site.start_with(&DEFAULT_SETTINGS).await;
        let party = RaidGroup::create(server.target(), 1, &long_raid(2)).await;
        let token = party.add_member().await.access_token;
        let begun = encode_frame(TEXT, Some([1; 4]), b"{");
        let fragments = [
            begun,
            encode_frame(EMPTY_FRAGMENT, Some([1; 4]), b"").repeat(100_000),
        ]
        .concat();
        let pings = encode_frame(0x80 | PING, Some([1; 4]), b"").repeat(100_000);
        let flood = async |bytes: Vec<u8>| {
            let mut raw = open_socket(&server, &token).await;
            raw.send_bytes(&bytes).await;
            let (errors, code) = read_errors_and_close(&mut raw).await;
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
const LATENCY_FLOOR: Duration = Duration::from_millis(25);
/// What else is on the machine strikes one server and spares the other. A flood that gets through strikes in every round.
const ROUNDS: usize = 4;

/// A hundred connections in ten raids, each with its raid.
async fn open_hundred_sockets(server: &TestServer) -> Vec<(RaidId, TestSocket)> {
    let rest = RestClient::new(server.target()).expect("doors");
    let mut wires = Vec::new();
    for number in 0..10 {
        let tokens = rest
            .sign_in_guest(&format!("player {number}"))
            .await
            .expect("a guest");
        let raid = rest
            .with_token(&tokens.access_token)
            .create_raid(&long_raid(2), None)
            .await
            .expect("a raid");
        for device in 0..10 {
            let wire = TestSocket::connect_authenticated(
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
async fn measure_ack_latency(
    polite: Vec<(RaidId, TestSocket)>,
) -> (Duration, Vec<(RaidId, TestSocket)>) {
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
async fn flood_repeatedly(target: Target, token: String, bytes: Vec<u8>, let_go: Arc<Semaphore>) {
    loop {
        let mut raw = RawSocket::open(&target, "raidhall.v1.json").await;
        let hello = json!({"t": "hello", "token": token}).to_string();
        raw.send_frame(TEXT, hello.as_bytes()).await;
        raw.flood(&bytes).await;
        let_go.add_permits(1);
    }
}

/// Flooders on a thread of their own, so that they don't take the time of those who are measured.
struct FloodAttack(CancellationToken);

impl FloodAttack {
    fn start(
        flooders: impl Iterator<Item = impl Future<Output = ()> + Send + 'static>,
    ) -> FloodAttack {
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
        FloodAttack(stop)
    }
}

impl Drop for FloodAttack {
    fn drop(&mut self) {
        self.0.cancel();
    }
}

const FLOODERS: usize = 12;

/// Those who send messages, pings and fragments without end, once the server has let that many go.
async fn start_attack(server: &TestServer) -> FloodAttack {
    let tokens = RestClient::new(server.target())
        .expect("doors")
        .sign_in_guest("flooder")
        .await
        .expect("a guest");
    let mask = Some([1; 4]);
    let floods = [
        encode_frame(0x80 | TEXT, mask, br#"{"t":"unwatch","raid":1}"#).repeat(1000),
        encode_frame(0x80 | PING, mask, b"x").repeat(1000),
        [
            encode_frame(TEXT, mask, b"{"),
            encode_frame(EMPTY_FRAGMENT, mask, b"").repeat(1000),
        ]
        .concat(),
    ];
    let let_go = Arc::new(Semaphore::new(0));
    let attack = FloodAttack::start((0..FLOODERS).map(|number| {
        let (token, bytes) = (
            tokens.access_token.clone(),
            floods[number % floods.len()].clone(),
        );
        flood_repeatedly(*server.target(), token, bytes, Arc::clone(&let_go))
    }));
    let _ = let_go
        .acquire_many(FLOODERS as u32)
        .await
        .expect("never closed");
    attack
}

#[tokio::test]
async fn floods_keep_the_latency_of_other_clients_within_bounds() {
    run_exclusively(async {
        let (site, spared_site) = tokio::join!(TestDatabase::sqlite(), TestDatabase::sqlite());
        let server = site.start_with(&DEFAULT_SETTINGS).await;
        let spared_server = spared_site.start_with(&DEFAULT_SETTINGS).await;
        let (mut polite, mut spared) = tokio::join!(
            open_hundred_sockets(&server),
            open_hundred_sockets(&spared_server)
        );
        let _attack = start_attack(&server).await;
        for round in 1..=ROUNDS {
            let used = || (server.usage().cpu, spared_server.usage().cpu);
            let before = used();
            let ((flooded, polite_again), (calm, spared_again)) =
                tokio::join!(measure_ack_latency(polite), measure_ack_latency(spared));
            (polite, spared) = (polite_again, spared_again);
            let (spent, usual) = (used().0 - before.0, used().1 - before.1);
            println!(
                "p99 of the polite: {flooded:?} beside floods, {calm:?} of those who are spared"
            );
            println!("processor time of their servers: {spent:?} and {usual:?}");
            if spent <= usual * 2 && flooded <= (calm * 2).max(LATENCY_FLOOR) {
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
