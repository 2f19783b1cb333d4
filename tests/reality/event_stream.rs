//! Raids as Server-Sent Events: what the protocol promises for a WebSocket also holds for an event
//! stream.

use std::time::Duration;

use raidhall::auth::Scope;
use raidhall_loadtest::client::RestClient;
use raidhall_protocol::rest::TokenPair;
use raidhall_protocol::{Codec, Command, RaidId, ServerMessage};
use reqwest::{Client, Response};
use rustix::process::Signal;
use serde_json::{Value, json};
use tokio::time::{sleep, timeout};

use crate::cluster::Cluster;
use crate::event_stream_client::{EventStreamClient, StreamEvent, request_stream};
use crate::process::{TestDatabase, TestServer};
use crate::proxy::Direction::ToClient;
use crate::proxy::Proxy;
use crate::raid_group::{RaidGroup, long_raid, target};
use crate::test_socket::TestSocket;
use crate::with_timeout;

const END_TIMEOUT: Duration = Duration::from_secs(2);

/// A raid of two players: Ada, who leads and chats over a WebSocket, and Bob, who reads the event
/// stream.
struct EventStreamFixture {
    server: TestServer,
    raid: RaidId,
    ada: TestSocket,
    bob: TokenPair,
}

impl EventStreamFixture {
    async fn start(database: &TestDatabase, settings: &[(&str, &str)]) -> EventStreamFixture {
        let server = database.start_with(settings).await;
        let rest = RestClient::new(server.target()).expect("a REST client");
        let ada = rest.sign_in_guest("Ada").await.expect("a guest");
        let view = rest
            .with_token(&ada.access_token)
            .create_raid(&long_raid(3), None)
            .await
            .expect("a raid");
        let bob = rest.sign_in_guest("Bob").await.expect("a guest");
        rest.with_token(&bob.access_token)
            .join_raid(&view.state.invite_code)
            .await
            .expect("a member");
        let mut socket =
            TestSocket::connect_authenticated(server.target(), Codec::Json, &ada.access_token)
                .await;
        socket.watch(view.state.id, None).await;
        EventStreamFixture {
            server,
            raid: view.state.id,
            ada: socket,
            bob,
        }
    }

    async fn listen(&self, last: Option<u64>) -> EventStreamClient {
        EventStreamClient::open(
            self.server.target(),
            self.raid,
            last,
            &self.bob.access_token,
        )
        .await
    }

    async fn say(&mut self, text: &str) -> u64 {
        self.ada.say(self.raid, text).await.0
    }
}

/// Reads the raid's ledger after a seq by REST.
async fn read_ledger(server: &TestServer, raid: RaidId, after: u64, token: &str) -> Vec<Value> {
    let path = format!("/api/v1/raids/{raid}/events?limit=100&after={after}");
    let client = Client::builder().no_proxy().build().expect("a client");
    let answer = client
        .get(server.target().url(&path))
        .bearer_auth(token)
        .send()
        .await
        .expect("an answer");
    answer.json::<Value>().await.expect("JSON")["data"]
        .as_array()
        .expect("rows")
        .clone()
}

fn has_event_type(kind: &'static str) -> impl Fn(&StreamEvent) -> bool {
    move |event| event.event == kind
}

#[tokio::test]
async fn a_stream_begins_with_a_snapshot_and_sends_typed_events() {
    with_timeout(async {
        let database = TestDatabase::sqlite().await;
        let mut fixture =
            EventStreamFixture::start(&database, &[("LIMITS__HEARTBEAT_MS", "200")]).await;
        let mut bob = fixture.listen(None).await;
        let snapshot = bob.next().await.expect("a snapshot");
        assert_eq!(
            (snapshot.event.as_str(), snapshot.id),
            ("snapshot", Some(3))
        );
        assert_eq!(snapshot.data["state"]["title"], "Reality");
        let online: Vec<_> = snapshot.data["online"].as_array().expect("ids").clone();
        assert!(
            online.contains(&json!(fixture.bob.player.id)),
            "a stream client is online: {online:?}"
        );
        fixture
            .ada
            .wait_for(|message| match message {
                ServerMessage::Presence { online, .. }
                    if online.contains(&fixture.bob.player.id) =>
                {
                    Some(())
                }
                _ => None,
            })
            .await;
        fixture.say("hi\u{2028}there").await;
        let last = fixture.say("and again").await;
        assert_eq!(
            bob.wait_for(|event| event.id == Some(last)).await.event,
            "said"
        );
        assert_eq!(
            bob.ledger_rows(),
            read_ledger(&fixture.server, fixture.raid, 3, &fixture.bob.access_token).await
        );
        let signal = json!({"t": "signal", "raid": fixture.raid, "kind": "emote", "data": "🔥"});
        fixture
            .ada
            .send(serde_json::from_value(signal).expect("a message"))
            .await;
        assert_eq!(
            bob.wait_for(has_event_type("signal")).await.data["data"],
            "🔥"
        );
        while bob.comment_count < 3 {
            let _ = timeout(Duration::from_millis(300), bob.next()).await;
        }
    })
    .await;
}

#[tokio::test]
async fn a_resumed_stream_replays_exactly_the_missed_events_after_a_kill() {
    with_timeout(async {
        let database = TestDatabase::sqlite().await;
        let mut fixture = EventStreamFixture::start(&database, &[]).await;
        let mut bob = fixture.listen(None).await;
        let seen = fixture.say("before").await;
        bob.wait_for(|event| event.id == Some(seen)).await;
        let mut missed = 0;
        for number in 0..40 {
            missed = fixture.say(&format!("meanwhile {number}")).await;
        }
        let EventStreamFixture {
            server,
            raid,
            bob: tokens,
            ..
        } = fixture;
        server.kill().await;
        bob.read_to_end().await;
        let server = database.start().await;
        let mut bob =
            EventStreamClient::open(server.target(), raid, Some(seen), &tokens.access_token).await;
        let first = bob.next().await.expect("an answer");
        assert_eq!((first.event.as_str(), first.id), ("watching", None));
        bob.wait_for(|event| event.id == Some(missed)).await;
        assert_eq!(
            bob.ledger_rows(),
            read_ledger(&server, raid, seen, &tokens.access_token).await
        );
        assert_eq!(bob.ledger_rows().len(), 40);
    })
    .await;
}

#[tokio::test]
async fn the_since_parameter_resumes_a_stream_of_the_same_lineage_only() {
    with_timeout(async {
        let database = TestDatabase::sqlite().await;
        let fixture = EventStreamFixture::start(&database, &[]).await;
        let target = fixture.server.target();
        let token = &fixture.bob.access_token;
        let answer = request_stream(target, fixture.raid, "?since=1", None, token).await;
        let lineage = answer.headers()["raidhall-lineage"]
            .to_str()
            .expect("text")
            .to_owned();
        assert_eq!(answer.headers()["x-accel-buffering"], "no");
        assert_eq!(answer.headers()["cache-control"], "no-store");
        let first = async |answer: Response| {
            EventStreamClient::from_response(answer)
                .next()
                .await
                .expect("an answer")
                .event
        };
        assert_eq!(first(answer).await, "watching");
        let same = format!("?lineage={lineage}");
        assert_eq!(
            first(request_stream(target, fixture.raid, &same, Some("1"), token).await).await,
            "watching"
        );
        for query in ["?lineage=another&since=1", "?lineage=another"] {
            assert_eq!(
                first(request_stream(target, fixture.raid, query, Some("1"), token).await).await,
                "snapshot"
            );
        }
    })
    .await;
}

#[tokio::test]
async fn a_stream_request_is_refused_before_the_stream_begins() {
    with_timeout(async {
        let database = TestDatabase::sqlite().await;
        let fixture =
            EventStreamFixture::start(&database, &[("LIMITS__CONNECTIONS_PER_PLAYER", "1")]).await;
        let target = fixture.server.target();
        let group = RaidGroup::create(target, 1, &long_raid(1)).await;
        let stranger = group.players[0]
            .rest()
            .sign_in_guest("Eve")
            .await
            .expect("a guest")
            .access_token;
        let refusal = async |answer: Response| {
            let status = answer.status().as_u16();
            let error = answer.json::<Value>().await.expect("an error")["error"].clone();
            (
                status,
                error["type"].as_str().expect("a type").to_owned(),
                error["fields"][0]["field"].clone(),
            )
        };
        let bob = &fixture.bob.access_token;
        let none = Value::Null;
        let cases = [
            (
                request_stream(target, fixture.raid, "", None, "rubbish").await,
                (401, "unauthenticated", none.clone()),
            ),
            (
                request_stream(target, fixture.raid, "", None, &stranger).await,
                (404, "not_found", none.clone()),
            ),
            (
                request_stream(target, fixture.raid, "", Some("x"), bob).await,
                (422, "invalid", json!("Last-Event-ID")),
            ),
            (
                request_stream(target, fixture.raid, "?since=-1", None, bob).await,
                (422, "invalid", json!("since")),
            ),
        ];
        for (answer, (status, kind, field)) in cases {
            assert_eq!(refusal(answer).await, (status, kind.to_owned(), field));
        }
        let mut first = fixture.listen(None).await;
        first.next().await.expect("a snapshot");
        let second = request_stream(target, fixture.raid, "", None, bob).await;
        assert!(second.headers().contains_key("retry-after"));
        assert_eq!(refusal(second).await, (503, "overloaded".to_owned(), none));
        drop(first);
        while request_stream(target, fixture.raid, "", None, bob)
            .await
            .status()
            != 200
        {
            sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
}

#[tokio::test]
async fn a_stream_ends_with_its_reason_after_a_leave_kick_ban_or_sign_out() {
    with_timeout(async {
        let database = TestDatabase::sqlite().await;
        let mut fixture = EventStreamFixture::start(&database, &[]).await;
        let target = *fixture.server.target();
        let player = fixture.bob.player.id;
        let token = fixture.bob.access_token.clone();
        let mut bob = fixture.listen(None).await;
        fixture
            .ada
            .execute(fixture.raid, None, Command::Kick { player })
            .await
            .expect("kicked");
        bob.read_to_end().await;
        let last: Vec<_> = bob.received.iter().rev().take(2).collect();
        assert_eq!(
            (last[1].event.as_str(), last[0].event.as_str()),
            ("member_left", "unwatched")
        );
        assert_eq!(last[0].data["reason"], "kicked");

        let client = Client::builder().no_proxy().build().expect("a client");
        let post = async |path: &str, token: &str, body: Value| {
            let request = client.post(target.url(path)).bearer_auth(token).json(&body);
            assert_eq!(request.send().await.expect("an answer").status(), 200);
        };
        let rest = RestClient::new(&target).expect("a REST client");
        for (code, name) in [(4003, "forbidden"), (4001, "unauthenticated")] {
            let guest = rest.sign_in_guest("Eve").await.expect("a guest");
            let own = rest.with_token(&guest.access_token);
            let raid = own
                .create_raid(&long_raid(1), None)
                .await
                .expect("a raid")
                .state
                .id;
            let mut eve = EventStreamClient::open(&target, raid, None, &guest.access_token).await;
            eve.next().await.expect("a snapshot");
            if code == 4003 {
                let path = format!("/api/v1/admin/players/{}/ban", guest.player.id);
                let admin = database.token(Scope::Admin, None, Duration::from_secs(60));
                post(&path, &admin, json!({"reason": "spam"})).await;
            } else {
                post("/api/v1/auth/sign-out", &guest.access_token, json!({})).await;
            }
            timeout(END_TIMEOUT, eve.read_to_end())
                .await
                .expect("ended in time");
            let last = eve.received.last().expect("a last event");
            assert_eq!(
                (last.event.as_str(), &last.data),
                ("close", &json!({"code": code, "name": name}))
            );
        }
        let answer = request_stream(&target, fixture.raid, "", None, &token).await;
        assert_eq!(answer.status(), 404, "a kicked player cannot see the raid");
    })
    .await;
}

#[tokio::test]
async fn a_drain_ends_every_stream_with_a_reconnect_delay() {
    with_timeout(async {
        let database = TestDatabase::sqlite().await;
        let mut fixture = EventStreamFixture::start(&database, &[]).await;
        let mut listeners = Vec::new();
        for _ in 0..4 {
            let mut bob = fixture.listen(None).await;
            bob.next().await.expect("a snapshot");
            listeners.push(bob);
        }
        fixture.server.signal(Signal::TERM);
        for mut bob in listeners {
            bob.read_to_end().await;
            let bye = bob.received.last().expect("a last event");
            assert_eq!(bye.event, "bye");
            assert_eq!(bye.retry, bye.data["reconnect_after_ms"].as_u64());
            assert!(bye.retry.is_some_and(|retry| retry < 2_000), "{bye:?}");
        }
        assert_eq!(
            fixture.server.exit_code(Duration::from_secs(30)).await,
            Some(0)
        );
    })
    .await;
}

/// Returns a text of nearly 2 KiB.
fn long_text(number: u64) -> String {
    format!("{number:04} {}", "🦀".repeat(450))
}

/// Starts a fixture whose event stream comes through a proxy that can be held; the server tolerates
/// a stalled write for `write_stall_ms`.
async fn listen_behind_slow_proxy(
    database: &TestDatabase,
    write_stall_ms: &str,
) -> (EventStreamFixture, Proxy, EventStreamClient) {
    let settings = [
        ("LIMITS__WRITE_STALL_MS", write_stall_ms),
        ("LIMITS__COMMANDS_PER_SECOND", "1000"),
    ];
    let fixture = EventStreamFixture::start(database, &settings).await;
    let proxy = Proxy::slow(fixture.server.target().address(), 1_000_000).await;
    let mut slow = EventStreamClient::open(
        &target(proxy.address()),
        fixture.raid,
        None,
        &fixture.bob.access_token,
    )
    .await;
    slow.next().await.expect("a snapshot");
    (fixture, proxy, slow)
}

#[tokio::test]
async fn a_stream_client_that_pauses_reading_continues_from_a_snapshot() {
    with_timeout(async {
        let database = TestDatabase::sqlite().await;
        let (mut fixture, proxy, mut slow) = listen_behind_slow_proxy(&database, "60000").await;
        let memory = fixture.server.usage().rss_bytes;
        proxy.hold(&[ToClient]);
        for number in 0..1_000 {
            fixture.say(&long_text(number)).await;
        }
        let grown = fixture.server.usage().rss_bytes.saturating_sub(memory) >> 10;
        assert!(grown < 32 * 1024, "the server grew by {grown} KiB");
        proxy.release();
        let head = fixture.say("are you there?").await;
        slow.wait_for(|event| event.id >= Some(head)).await;
        let mut held = 0;
        for event in &slow.received {
            match event.event.as_str() {
                "snapshot" => assert!(event.id > Some(held), "back in time"),
                "said" => assert_eq!(event.id, Some(held + 1), "a hole"),
                _ => continue,
            }
            held = event.id.expect("an id");
        }
        assert!(
            slow.received
                .iter()
                .filter(|event| event.event == "snapshot")
                .count()
                >= 2,
            "no snapshot"
        );
    })
    .await;
}

#[tokio::test]
async fn a_stream_client_that_reads_nothing_is_closed_and_goes_offline() {
    with_timeout(async {
        let database = TestDatabase::sqlite().await;
        let (mut fixture, proxy, _slow) = listen_behind_slow_proxy(&database, "1000").await;
        proxy.hold(&[ToClient]);
        let bob = fixture.bob.player.id;
        let is_gone = |message: &ServerMessage| match message {
            ServerMessage::Presence { offline, .. } => offline.contains(&bob),
            _ => false,
        };
        for number in 0.. {
            fixture.say(&long_text(number)).await;
            if fixture.ada.received.iter().any(|message| is_gone(message)) {
                break;
            }
            sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
}

#[tokio::test]
async fn streams_of_all_instances_agree_and_resume_after_a_node_death() {
    with_timeout(async {
        let mut cluster = Cluster::start(2).await;
        let rest = RestClient::with_targets(cluster.targets.clone()).expect("a REST client");
        let ada = rest.sign_in_guest("Ada").await.expect("a guest");
        let raid = rest
            .with_token(&ada.access_token)
            .create_raid(&long_raid(1), None)
            .await
            .expect("a raid")
            .state
            .id;
        let owner = cluster
            .owner_of(&rest.with_token(&ada.access_token), raid)
            .await;
        let mut listeners = Vec::new();
        for server in &cluster.servers {
            let mut listener =
                EventStreamClient::open(server.target(), raid, None, &ada.access_token).await;
            listener.next().await.expect("a snapshot");
            listeners.push(listener);
        }
        let follower = 1 - owner;
        let mut socket = cluster.open_socket(follower, raid, &ada.access_token).await;
        let mut last = 0;
        for number in 0..20 {
            last = socket.say(raid, format!("{number}")).await.0;
        }
        for listener in &mut listeners {
            listener.wait_for(|event| event.id == Some(last)).await;
        }
        assert_eq!(listeners[0].ledger_rows(), listeners[1].ledger_rows());
        cluster.kill(owner).await;
        let seq = socket.say(raid, "after the death").await.0;
        listeners[follower]
            .wait_for(|event| event.id == Some(seq))
            .await;
        let mut back = EventStreamClient::open(
            cluster.servers[follower].target(),
            raid,
            Some(last),
            &ada.access_token,
        )
        .await;
        back.wait_for(|event| event.id == Some(seq)).await;
        assert_eq!(back.ledger_rows().len(), (seq - last) as usize);
    })
    .await;
}
