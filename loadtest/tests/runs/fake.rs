//! A fake server, small enough to be right by inspection: raids in memory, a few rules, no
//! durability, and one fault on demand. It shares only the protocol's types with the real server.

mod raid;
mod rest;
mod world;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;

use futures_util::{SinkExt, StreamExt};
use raidhall_protocol::server::{PlayerRef, WelcomeLimits};
use raidhall_protocol::{ClientMessage, Codec, PlayerId, RaidId, ServerMessage, UnixMillis};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc::{self, UnboundedSender};
use tokio_tungstenite::accept_hdr_async;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::server::{Request, Response};
use tokio_tungstenite::tungstenite::http::HeaderValue;
use tokio_util::sync::CancellationToken;
pub(crate) use world::FakeFault;
use world::FakeWorld;

/// Serves on a free port until the test's runtime ends, and returns the URL.
pub(crate) async fn serve_one(fault: FakeFault) -> String {
    FakeNodes::serve(fault, 1).await.url(0)
}

/// Fake servers that share one world; each can be killed and restarted.
pub(crate) struct FakeNodes {
    world: Arc<FakeWorld>,
    nodes: Vec<(SocketAddr, CancellationToken)>,
}

impl FakeNodes {
    pub(crate) async fn serve(fault: FakeFault, count: usize) -> FakeNodes {
        let mut nodes = FakeNodes {
            world: Arc::new(FakeWorld::new(fault)),
            nodes: Vec::new(),
        };
        for _ in 0..count {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let node = (listener.local_addr().unwrap(), CancellationToken::new());
            nodes.nodes.push(node.clone());
            tokio::spawn(accept(listener, Arc::clone(&nodes.world), node.1));
        }
        nodes
    }

    pub(crate) fn url(&self, node: usize) -> String {
        format!("http://{}", self.nodes[node].0)
    }

    /// Breaks the node's connections without a close frame, and refuses new ones.
    pub(crate) fn kill(&self, node: usize) {
        self.nodes[node].1.cancel();
    }

    /// Starts a killed node again, on another port.
    pub(crate) async fn restart(&mut self, node: usize) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        self.nodes[node] = (listener.local_addr().unwrap(), CancellationToken::new());
        tokio::spawn(accept(
            listener,
            Arc::clone(&self.world),
            self.nodes[node].1.clone(),
        ));
    }
}

async fn accept(listener: TcpListener, world: Arc<FakeWorld>, killed: CancellationToken) {
    while let Some(Ok((stream, _))) = killed.run_until_cancelled(listener.accept()).await {
        let world = Arc::clone(&world);
        let killed = killed.clone();
        tokio::spawn(async move {
            let mut head = [0; 16];
            let read = stream.peek(&mut head).await.unwrap_or(0);
            if head[..read].starts_with(b"GET /api/v1/ws") {
                serve_socket(stream, world, killed).await;
            } else {
                rest::serve_request(stream, &world).await;
            }
        });
    }
}

#[allow(
    clippy::result_large_err,
    reason = "the callback's type is tungstenite's"
)]
async fn serve_socket(stream: TcpStream, world: Arc<FakeWorld>, killed: CancellationToken) {
    let mut codec = Codec::Json;
    let choose = |request: &Request, mut response: Response| {
        let offered = request.headers()["sec-websocket-protocol"]
            .to_str()
            .unwrap();
        codec = Codec::from_subprotocol(offered).unwrap();
        let chosen = HeaderValue::from_static(codec.subprotocol());
        response
            .headers_mut()
            .insert("sec-websocket-protocol", chosen);
        Ok(response)
    };
    let mut stream = accept_hdr_async(stream, choose).await.unwrap();
    let (out, mut outbox) = mpsc::unbounded_channel::<Arc<ServerMessage>>();
    let mut player = None;
    let mut watches = HashMap::new();
    loop {
        tokio::select! {
            biased;
            () = killed.cancelled() => break,
            Some(message) = outbox.recv() => {
                let bytes = codec.encode(&*message);
                let frame = match codec {
                    Codec::Json => Message::text(String::from_utf8(bytes).unwrap()),
                    Codec::MessagePack => Message::binary(bytes),
                };
                if stream.send(frame).await.is_err() {
                    break;
                }
            }
            received = stream.next() => match received {
                Some(Ok(frame @ (Message::Text(_) | Message::Binary(_)))) => {
                    let message = codec.decode(&frame.into_data()).unwrap();
                    if !handle_message(&world, &mut player, &mut watches, &out, message) {
                        break; // without a close frame, as a crash would
                    }
                }
                Some(Ok(_)) => {}
                Some(Err(_)) | None => break,
            },
        }
    }
    for (raid, watch) in watches {
        world.unwatch(raid, watch);
    }
}

/// Handles a message. Returns false when the connection must be cut.
fn handle_message(
    world: &FakeWorld,
    player: &mut Option<PlayerId>,
    watches: &mut HashMap<RaidId, u64>,
    out: &UnboundedSender<Arc<ServerMessage>>,
    message: ClientMessage,
) -> bool {
    let me = || player.expect("hello comes first");
    match message {
        ClientMessage::Hello { token, .. } => {
            let id = PlayerId::try_from(token.parse::<u64>().unwrap()).unwrap();
            *player = Some(id);
            let limits = WelcomeLimits {
                message_bytes: 16_384,
                commands_per_second: 1000,
                watches: 32,
            };
            let _ = out.send(Arc::new(ServerMessage::Welcome {
                player: Some(PlayerRef {
                    id,
                    name: world.name(id),
                }),
                session: "s".to_owned(),
                now: UnixMillis(0),
                heartbeat_ms: 20_000,
                limits,
                lineage: "fake".to_owned(),
                features: Vec::new(),
            }));
        }
        ClientMessage::Watch { raid, since, .. } => {
            if let Some(before) = watches.insert(raid, world.watch(raid, me(), since, out.clone()))
            {
                world.unwatch(raid, before);
            }
        }
        ClientMessage::Unwatch { .. } | ClientMessage::Beat | ClientMessage::Player(_) => {}
        ClientMessage::Do { id, raid, op, cmd } => {
            return world.handle_command(raid, me(), (id, op, &cmd), out);
        }
        ClientMessage::Signal {
            raid, kind, data, ..
        } => {
            let from = me();
            world.signal(
                raid,
                from,
                &ServerMessage::Signal {
                    raid,
                    from,
                    kind,
                    data,
                },
            );
        }
    }
    true
}
