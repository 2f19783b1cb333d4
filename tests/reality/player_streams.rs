//! A player's own stream on several devices: each gets every event once and in order, whichever
//! instance it is connected to.

use std::time::Duration;

use raidhall::auth::Scope;
use raidhall_loadtest::client::RestClient;
use raidhall_protocol::player::message::Me;
use raidhall_protocol::player::{
    PlayerCommand, PlayerEvent, PlayerMessage, PlayerRequest, PlayerState,
};
use raidhall_protocol::{ClientMessage, Codec, ErrorType, OpKey, Seq, ServerMessage};
use serde_json::json;
use tokio::time::Instant;

use crate::cluster::Cluster;
use crate::event_stream_client::{EventStreamClient, request_player_stream};
use crate::process::{TestDatabase, TestServer};
use crate::proxy::Direction;
use crate::test_socket::TestSocket;

/// How long an event may take to another instance if its message on the bus was lost.
const POLL_MAX: Duration = Duration::from_secs(15);

fn set(value: u64) -> PlayerCommand {
    PlayerCommand::SetSetting {
        key: "app.n".to_owned(),
        value: value.into(),
        if_version: None,
    }
}

/// What a device got in answer to its watch.
#[derive(Debug, PartialEq)]
enum Opened {
    Resumed(Seq),
    Snapshot(Seq, Box<PlayerState>),
}

struct Device {
    socket: TestSocket,
    token: String,
}

impl Device {
    async fn connect(server: &TestServer, codec: Codec, token: &str) -> Device {
        let socket = TestSocket::connect_authenticated(server.target(), codec, token).await;
        Device {
            socket,
            token: token.to_owned(),
        }
    }

    async fn send(&mut self, request: PlayerRequest) {
        self.socket.send(ClientMessage::Player(request)).await;
    }

    async fn watch(&mut self, since: Option<Seq>) -> Opened {
        self.send(PlayerRequest::Watch {
            id: Some(1),
            player: Me::Me,
            since,
        })
        .await;
        self.next(|message| match message {
            PlayerMessage::Watching {
                id: Some(1), seq, ..
            } => Some(Opened::Resumed(*seq)),
            PlayerMessage::Snapshot {
                id: Some(1),
                seq,
                state,
                ..
            } => Some(Opened::Snapshot(*seq, state.clone())),
            _ => None,
        })
        .await
    }

    async fn next<T>(&mut self, select: impl Fn(&PlayerMessage) -> Option<T>) -> T {
        let select = |message: &ServerMessage| match message {
            ServerMessage::Player(message) => select(message),
            _ => None,
        };
        self.socket.wait_for(select).await
    }

    async fn next_event(&mut self) -> PlayerEvent {
        self.next(|message| match message {
            PlayerMessage::Event { event, .. } => Some(event.as_ref().clone()),
            _ => None,
        })
        .await
    }

    /// Sends a command under an op, and returns the seq of its ack and whether it is a repeat.
    async fn execute(&mut self, op: &str, cmd: PlayerCommand) -> (Seq, bool) {
        self.send(PlayerRequest::Do {
            id: 9,
            player: Me::Me,
            op: OpKey::try_from(op.to_owned()).ok(),
            cmd,
        })
        .await;
        self.next(|message| match message {
            PlayerMessage::Ack {
                id: 9,
                seq,
                duplicate,
                ..
            } => Some((*seq, *duplicate)),
            _ => None,
        })
        .await
    }

    /// Returns the seqs of the events and acks that were received, in their order.
    fn received(&self) -> Vec<(&'static str, u64)> {
        let shown = |message: &ServerMessage| match message {
            ServerMessage::Player(PlayerMessage::Event { event, .. }) => {
                Some(("event", event.seq.0))
            }
            ServerMessage::Player(PlayerMessage::Ack { seq, .. }) => Some(("ack", seq.0)),
            _ => None,
        };
        let received = self.socket.received.iter();
        received.filter_map(|message| shown(message)).collect()
    }
}

async fn sign_in(server: &TestServer) -> String {
    let rest = RestClient::new(server.target()).expect("a REST client");
    rest.sign_in_guest("Ada")
        .await
        .expect("a guest")
        .access_token
}

#[tokio::test]
async fn devices_on_two_instances_see_each_event_once_and_in_order() {
    let mut cluster = Cluster::start(2).await;
    let token = sign_in(&cluster.servers[0]).await;
    let mut phone = Device::connect(&cluster.servers[0], Codec::Json, &token).await;
    let mut laptop = Device::connect(&cluster.servers[1], Codec::MessagePack, &token).await;
    for device in [&mut phone, &mut laptop] {
        match device.watch(None).await {
            Opened::Snapshot(Seq::ZERO, state) => assert_eq!(state.name, "Ada"),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(phone.execute("k1", set(1)).await, (Seq(1), false));
    assert_eq!(laptop.next_event().await.seq, Seq(1));
    assert_eq!(laptop.execute("k2", set(2)).await, (Seq(2), false));
    assert_eq!(
        laptop.execute("k1", set(1)).await,
        (Seq(1), true),
        "a repeat"
    );
    assert_eq!(phone.next_event().await.seq, Seq(2));
    let own_event_first = [("event", 1), ("ack", 1), ("event", 2)];
    assert_eq!(phone.received(), own_event_first);
    let all = [("event", 1), ("event", 2), ("ack", 2), ("ack", 1)];
    assert_eq!(laptop.received(), all);

    cluster.kill(0).await;
    let mut phone = Device::connect(&cluster.servers[1], Codec::Json, &phone.token).await;
    assert_eq!(phone.watch(Some(Seq::ZERO)).await, Opened::Resumed(Seq(2)));
    assert_eq!(phone.execute("k3", set(3)).await, (Seq(3), false));
    let resumed = [("event", 1), ("event", 2), ("event", 3), ("ack", 3)];
    assert_eq!(phone.received(), resumed);
    match phone.watch(Some(Seq(4))).await {
        Opened::Snapshot(Seq(3), state) => assert_eq!(state.settings["app.n"].version, 3),
        other => panic!("a seq that the stream does not have: {other:?}"),
    }
}

#[tokio::test]
async fn an_event_whose_message_was_lost_on_the_bus_arrives_all_the_same() {
    let cluster = Cluster::start(2).await;
    let token = sign_in(&cluster.servers[0]).await;
    let mut phone = Device::connect(&cluster.servers[0], Codec::Json, &token).await;
    let mut laptop = Device::connect(&cluster.servers[1], Codec::Json, &token).await;
    laptop.watch(None).await;
    cluster.bus_proxies[1].hold(&[Direction::ToClient]);
    assert_eq!(phone.execute("k1", set(1)).await, (Seq(1), false));
    let sent = Instant::now();
    assert_eq!(laptop.next_event().await.seq, Seq(1));
    assert!(sent.elapsed() < POLL_MAX, "{:?}", sent.elapsed());
}

#[tokio::test]
async fn an_event_stream_of_the_player_resumes_where_it_ended() {
    let database = TestDatabase::sqlite().await;
    let server = database.start().await;
    let token = sign_in(&server).await;
    let mut phone = Device::connect(&server, Codec::Json, &token).await;
    let listen = async |last: Option<&str>| {
        let request = request_player_stream(server.target(), last, &token);
        EventStreamClient::from_response(request.await)
    };
    let mut listener = listen(None).await;
    let first = listener.next().await.expect("an event");
    assert_eq!((first.event.as_str(), first.id), ("snapshot", Some(0)));
    for n in 1..=2 {
        phone.execute(&format!("k{n}"), set(n)).await;
        let event = listener.next().await.expect("an event");
        assert_eq!((event.event.as_str(), event.id), ("setting_set", Some(n)));
    }
    drop(listener);
    let mut listener = listen(Some("1")).await;
    let first = listener.next().await.expect("an event");
    assert_eq!(first.event, "watching");
    let missed = listener.next().await.expect("an event");
    assert_eq!(missed.id, Some(2));
}

#[tokio::test]
async fn requests_that_are_not_the_players_are_refused() {
    let database = TestDatabase::sqlite().await;
    let server = database.start().await;
    let token = sign_in(&server).await;
    let mut phone = Device::connect(&server, Codec::Json, &token).await;
    let notify = json!({"type": "notify", "kind": "sale", "title": "Sale", "body": "Now"});
    let notify: PlayerCommand = serde_json::from_value(notify).expect("a command");
    phone
        .send(PlayerRequest::Do {
            id: 1,
            player: Me::Me,
            op: None,
            cmd: notify,
        })
        .await;
    let refused = phone.socket.wait_for_error("do").await;
    assert_eq!(refused.r#type, ErrorType::Forbidden);
    let service = database.token(Scope::Service, None, Duration::from_secs(60));
    let mut backend = Device::connect(&server, Codec::Json, &service).await;
    let watch = PlayerRequest::Watch {
        id: None,
        player: Me::Me,
        since: None,
    };
    backend.send(watch).await;
    let refused = backend.socket.wait_for_error("watch").await;
    assert_eq!(refused.r#type, ErrorType::Forbidden);
}
