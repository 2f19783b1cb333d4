//! The accept loop over connections in memory, in paused time, and over real ones.

use super::*;
use crate::listener::{MemoryConnector, memory};
use axum::Extension;
use axum::routing::get;
use bytes::Bytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

const SECOND: Duration = Duration::from_secs(1);
const OPTIONS: Options = Options { header_timeout: Duration::from_secs(10) };

fn peer() -> SocketAddr {
    "192.0.2.7:4000".parse().expect("an address")
}

async fn upgrade(mut request: axum::extract::Request) -> axum::http::Response<Body> {
    let upgrade = request.extensions_mut().remove::<hyper::upgrade::OnUpgrade>().expect("an upgrade");
    TaskTracker::new().spawn(async move {
        let upgraded = upgrade.await.expect("upgraded");
        let (mut stream, ahead) = Stream::reclaim(upgraded).expect("one of ours");
        stream.write_all(&ahead).await.expect("written");
        let (mut reading, mut writing) = tokio::io::split(stream);
        tokio::io::copy(&mut reading, &mut writing).await
    });
    let response = axum::http::Response::builder().status(101);
    response
        .header("connection", "upgrade")
        .header("upgrade", "echo")
        .body(Body::empty())
        .expect("a response")
}

fn routes() -> Router {
    Router::new()
        .route("/", get(|Extension(Peer(peer)): Extension<Peer>| async move { peer.to_string() }))
        .route("/slow", get(|| async { sleep(SECOND * 5).await }))
        .route("/upgrade", get(upgrade))
}

fn start() -> (MemoryConnector, CancellationToken, JoinHandle<()>) {
    let (listener, connector) = memory();
    let drain = CancellationToken::new();
    let served = TaskTracker::new().spawn(serve(listener, routes(), OPTIONS, drain.clone()));
    (connector, drain, served)
}

async fn open(connector: &MemoryConnector) -> DuplexStream {
    connector.connect(peer()).await.expect("connected")
}

async fn ask(stream: &mut DuplexStream, path: &str, headers: &str) {
    let request = format!("GET {path} HTTP/1.1\r\nhost: x\r\n{headers}\r\n");
    stream.write_all(request.as_bytes()).await.expect("written");
}

/// Reads until `end` has come.
async fn read_to(stream: &mut DuplexStream, end: &str) -> String {
    let mut text = String::new();
    while !text.contains(end) {
        let byte = stream.read_u8().await.expect("more to come");
        text.push(byte.into());
    }
    text
}

async fn is_closed(stream: &mut DuplexStream) -> bool {
    matches!(stream.read(&mut [0; 1]).await, Ok(0))
}

#[tokio::test(start_paused = true)]
async fn a_connection_serves_many_requests_and_they_know_where_it_comes_from() {
    let (connector, ..) = start();
    let mut stream = open(&connector).await;
    for _ in 0..3 {
        ask(&mut stream, "/", "").await;
        read_to(&mut stream, "192.0.2.7:4000").await;
    }
}

#[tokio::test(start_paused = true)]
async fn whoever_is_slow_with_a_head_is_let_go() {
    let (connector, ..) = start();
    let begun = Instant::now();
    let (mut silent, mut slow, mut idle) =
        (open(&connector).await, open(&connector).await, open(&connector).await);
    ask(&mut idle, "/", "").await;
    read_to(&mut idle, "192.0.2.7:4000").await;
    let dribble = async {
        slow.write_all(b"GET / HTTP/1.1\r\n").await.expect("written");
        while slow.write_all(b"x: y\r\n").await.is_ok() {
            sleep(SECOND).await;
        }
    };
    let (silent, (), idle) = tokio::join!(is_closed(&mut silent), dribble, is_closed(&mut idle));
    assert!(silent && idle);
    assert!(begun.elapsed() < SECOND * 12, "{:?}", begun.elapsed());
}

#[tokio::test(start_paused = true)]
async fn an_upgraded_connection_is_handed_over_with_what_was_read_ahead() {
    let (connector, drain, served) = start();
    let mut stream = open(&connector).await;
    stream
        .write_all(b"GET /upgrade HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: echo\r\n\r\nahead")
        .await
        .expect("written");
    read_to(&mut stream, "\r\n\r\nahead").await;
    drain.cancel();
    served.await.expect("ended: the socket is its owner's now");
    stream.write_all(b"still here").await.expect("written");
    read_to(&mut stream, "still here").await;
}

#[tokio::test(start_paused = true)]
async fn draining_answers_what_is_under_way_and_takes_no_more() {
    let (connector, drain, served) = start();
    let (mut fresh, mut idle, mut busy) =
        (open(&connector).await, open(&connector).await, open(&connector).await);
    ask(&mut idle, "/", "").await;
    read_to(&mut idle, "192.0.2.7:4000").await;
    ask(&mut busy, "/slow", "").await;
    sleep(SECOND).await;
    let begun = Instant::now();
    drain.cancel();
    assert!(is_closed(&mut fresh).await && is_closed(&mut idle).await);
    assert_eq!(begun.elapsed(), Duration::ZERO);
    let answer = read_to(&mut busy, "\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 200") && answer.contains("connection: close"), "{answer}");
    served.await.expect("ended");
    assert_eq!(begun.elapsed(), SECOND * 4);
    let refused = connector.connect(peer()).await.map(drop).expect_err("nobody listens");
    assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);
}

/// Fails a few times, as when file descriptors run out, before it accepts.
struct Exhausted<L>(u32, L);

impl<L: Listener> Listener for Exhausted<L> {
    async fn accept(&mut self) -> io::Result<(Stream, SocketAddr)> {
        if self.0 > 0 {
            self.0 -= 1;
            return Err(io::Error::from_raw_os_error(24)); // EMFILE
        }
        self.1.accept().await
    }
}

#[tokio::test(start_paused = true)]
async fn failing_to_accept_is_a_pause_and_not_the_end() {
    let (listener, connector) = memory();
    let begun = Instant::now();
    TaskTracker::new().spawn(serve(Exhausted(3, listener), routes(), OPTIONS, CancellationToken::new()));
    let mut stream = open(&connector).await;
    ask(&mut stream, "/", "").await;
    read_to(&mut stream, "192.0.2.7:4000").await;
    assert_eq!(begun.elapsed(), ACCEPT_REST * 3);
}

#[tokio::test]
async fn real_connections_are_served_alike() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("bound");
    let address = listener.local_addr().expect("an address");
    let drain = CancellationToken::new();
    let served = TaskTracker::new().spawn(serve(listener, routes(), OPTIONS, drain.clone()));
    let mut stream = TcpStream::connect(address).await.expect("connected");
    stream.write_all(b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await.expect("written");
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.expect("read");
    let client = stream.local_addr().expect("an address").to_string();
    assert!(Bytes::from(answer).ends_with(client.as_bytes()));
    drain.cancel();
    served.await.expect("ended");
}
