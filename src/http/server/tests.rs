//! Tests of the accept loop, over connections in memory with paused time, and over TCP.

use axum::Extension;
use axum::routing::{get, post};
use futures_util::{StreamExt, stream};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

use super::*;
use crate::net::client_address::TrustedProxies;
use crate::net::listener::{MemoryConnector, ReclaimedStream, memory_listener};

/// Bytes that a connection buffers in each direction.
const BUFFER_BYTES: usize = 64 * 1024;
const SECOND: Duration = Duration::from_secs(1);

const OPTIONS: Options = Options {
    header_timeout: Duration::from_secs(10),
    keep_alive: Duration::from_secs(75),
    write_stall_timeout: Duration::from_secs(10),
};

fn accept_limits(connections: u64) -> AcceptLimits {
    AcceptLimits {
        connection_permits: ConnectionPermits::new(connections),
        per_address_limit: PerAddressLimit::new(20, TrustedProxies::default()),
    }
}

fn peer() -> SocketAddr {
    "192.0.2.7:4000".parse().expect("an address")
}

async fn upgrade(mut request: axum::extract::Request) -> axum::http::Response<Body> {
    let upgrade = request
        .extensions_mut()
        .remove::<hyper::upgrade::OnUpgrade>()
        .expect("an upgrade");
    TaskGroup::default().spawn(async move {
        let upgraded = upgrade.await.expect("upgraded");
        let ReclaimedStream {
            mut stream,
            permit,
            read_ahead: first,
        } = PacedStream::reclaim(upgraded).expect("one of ours");
        let _permit = permit;
        stream.write_all(&first).await.expect("written");
        let (mut reading, mut writing) = tokio::io::split(stream);
        // The client may go away at any time.
        let _ = tokio::io::copy(&mut reading, &mut writing).await;
    });
    let response = axum::http::Response::builder().status(101);
    response
        .header("connection", "upgrade")
        .header("upgrade", "echo")
        .body(Body::empty())
        .expect("a response")
}

async fn slow_body() -> Body {
    let first = stream::once(async { Ok::<_, io::Error>(Bytes::from("first")) });
    let second = stream::once(async {
        sleep(SECOND * 5).await;
        Ok(Bytes::from("second"))
    });
    Body::from_stream(first.chain(second))
}

async fn stream_without_end() -> impl axum::response::IntoResponse {
    let beat = stream::once(async { Ok::<_, io::Error>(Bytes::from("beat")) });
    let body = Body::from_stream(beat.chain(stream::pending()));
    ([("content-type", "text/event-stream")], body)
}

fn routes() -> Router {
    Router::new()
        .route(
            "/",
            get(|Extension(PeerAddress(peer)): Extension<PeerAddress>| async move { peer.to_string() }),
        )
        .route("/slow", get(|| async { sleep(SECOND * 5).await }))
        .route(
            "/length",
            post(|body: Bytes| async move {
                sleep(SECOND * 5).await;
                body.len().to_string()
            }),
        )
        .route("/slow-body", get(slow_body))
        .route("/stream", get(stream_without_end))
        .route("/large", get(|| async { "x".repeat(10_000_000) }))
        .route("/upgrade", get(upgrade))
}

fn spawn_server() -> (MemoryConnector, CancellationToken, JoinHandle<()>) {
    let (listener, connector) = memory_listener(BUFFER_BYTES);
    let drain = CancellationToken::new();
    let served = TaskGroup::default().spawn(serve(
        listener,
        routes(),
        OPTIONS,
        accept_limits(1000),
        drain.clone(),
    ));
    (connector, drain, served)
}

async fn connect(connector: &MemoryConnector) -> DuplexStream {
    connector.connect(peer()).await.expect("connected")
}

async fn send_request(stream: &mut DuplexStream, path: &str, headers: &str) {
    let request = format!("GET {path} HTTP/1.1\r\nhost: x\r\n{headers}\r\n");
    stream.write_all(request.as_bytes()).await.expect("written");
}

/// Reads until the text ends with `end`.
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
async fn a_connection_serves_many_requests_with_its_peer_address() {
    let (connector, ..) = spawn_server();
    let mut stream = connect(&connector).await;
    for _ in 0..3 {
        send_request(&mut stream, "/", "").await;
        read_to(&mut stream, "192.0.2.7:4000").await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_connection_with_a_slow_request_head_is_closed() {
    let (connector, ..) = spawn_server();
    let begun = Instant::now();
    let mut silent = connect(&connector).await;
    let mut first = connect(&connector).await;
    let mut second = connect(&connector).await;
    send_request(&mut second, "/", "").await;
    read_to(&mut second, "192.0.2.7:4000").await;
    let dribble = async |stream: &mut DuplexStream| {
        let begin = stream.write_all(b"GET / HTTP/1.1\r\n").await;
        begin.expect("written");
        while stream.write_all(b"x: y\r\n").await.is_ok() {
            sleep(SECOND).await;
        }
    };
    let (silent, ..) = tokio::join!(
        is_closed(&mut silent),
        dribble(&mut first),
        dribble(&mut second)
    );
    assert!(silent);
    assert!(begun.elapsed() < SECOND * 12, "{:?}", begun.elapsed());
}

#[tokio::test(start_paused = true)]
async fn an_idle_connection_is_kept_for_longer_than_a_proxy_keeps_it() {
    let (connector, ..) = spawn_server();
    let mut stream = connect(&connector).await;
    for _ in 0..2 {
        send_request(&mut stream, "/", "").await;
        read_to(&mut stream, "192.0.2.7:4000").await;
        sleep(SECOND * 74).await;
    }
    assert!(is_closed(&mut stream).await);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_ends_its_sending_gets_its_response() {
    let (connector, ..) = spawn_server();
    for request in [
        "GET /slow HTTP/1.1\r\nhost: x\r\n\r\n",
        "POST /length HTTP/1.1\r\nhost: x\r\ncontent-length: 3\r\n\r\nabc",
        "GET /slow-body HTTP/1.1\r\nhost: x\r\n\r\n",
        "POST /length HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
    ] {
        let mut stream = connect(&connector).await;
        stream.write_all(request.as_bytes()).await.expect("written");
        stream.shutdown().await.expect("ended");
        let begun = Instant::now();
        let mut response = String::new();
        let read = stream.read_to_string(&mut response).await;
        read.expect("a response");
        assert!(response.starts_with("HTTP/1.1 200"), "{response:?}");
        if request.contains("slow-body") {
            assert!(
                response.contains("first") && response.contains("second"),
                "{response:?}"
            );
        }
        assert_eq!(begun.elapsed(), SECOND * 5, "and then it is closed");
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_that_ends_within_its_request_or_its_stream_is_given_up() {
    let (connector, ..) = spawn_server();
    let begun = Instant::now();
    let mut cut = connect(&connector).await;
    let part = "POST /length HTTP/1.1\r\nhost: x\r\ncontent-length: 9\r\n\r\nabc";
    cut.write_all(part.as_bytes()).await.expect("written");
    cut.shutdown().await.expect("ended");
    let mut rest = String::new();
    cut.read_to_string(&mut rest).await.expect("its end");
    assert!(begun.elapsed() <= SECOND, "{:?}", begun.elapsed());
    let mut stream = connect(&connector).await;
    send_request(&mut stream, "/stream", "").await;
    read_to(&mut stream, "beat").await;
    stream.shutdown().await.expect("ended");
    stream.read_to_string(&mut rest).await.expect("its end");
    assert!(begun.elapsed() <= SECOND, "{:?}", begun.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_client_that_reads_too_slowly_or_not_at_all_is_closed() {
    let (connector, ..) = spawn_server();
    let mut none = connect(&connector).await;
    let mut drips = connect(&connector).await;
    send_request(&mut none, "/large", "").await;
    send_request(&mut drips, "/large", "").await;
    for _ in 0..2_500 {
        drips.read_u8().await.expect("what was in flight");
        sleep(Duration::from_millis(10)).await;
    }
    for mut stream in [none, drips] {
        let mut rest = Vec::new();
        stream.read_to_end(&mut rest).await.expect("its end");
        assert!(rest.len() < 200_000, "more came after all: {}", rest.len());
    }
}

#[tokio::test(start_paused = true)]
async fn a_merely_slow_client_gets_its_whole_response() {
    let (connector, ..) = spawn_server();
    let mut stream = connect(&connector).await;
    send_request(&mut stream, "/large", "connection: close\r\n").await;
    let begun = Instant::now();
    let mut all = 0;
    let mut buffer = vec![0; 60_000];
    while let read @ 1.. = stream.read(&mut buffer).await.expect("read") {
        all += read;
        sleep(Duration::from_millis(300)).await;
    }
    assert!(
        all > 10_000_000 && begun.elapsed() > SECOND * 30,
        "{all} in {:?}",
        begun.elapsed()
    );
}

#[tokio::test(start_paused = true)]
async fn heads_too_large_are_answered_431() {
    let (connector, ..) = spawn_server();
    let mut long = connect(&connector).await;
    let mut many = connect(&connector).await;
    send_request(&mut long, "/", &format!("x: {}\r\n", "y".repeat(17_000))).await;
    assert!(
        read_to(&mut long, "\r\n\r\n")
            .await
            .starts_with("HTTP/1.1 431")
    );
    send_request(&mut many, "/", &"x: y\r\n".repeat(101)).await;
    assert!(
        read_to(&mut many, "\r\n\r\n")
            .await
            .starts_with("HTTP/1.1 431")
    );
}

#[tokio::test(start_paused = true)]
async fn a_connection_without_a_permit_waits_while_others_are_served() {
    let (listener, connector) = memory_listener(BUFFER_BYTES);
    TaskGroup::default().spawn(serve(
        listener,
        routes(),
        OPTIONS,
        accept_limits(8),
        CancellationToken::new(),
    ));
    let mut served = Vec::new();
    for _ in 0..8 {
        let mut stream = connect(&connector).await;
        send_request(&mut stream, "/", "").await;
        read_to(&mut stream, "192.0.2.7:4000").await;
        served.push(stream);
    }
    let mut late = connect(&connector).await;
    send_request(&mut late, "/", "").await;
    let waiting = read_to(&mut late, "192.0.2.7:4000");
    tokio::pin!(waiting);
    assert!(
        tokio::time::timeout(SECOND * 5, &mut waiting)
            .await
            .is_err(),
        "no permit is free"
    );
    send_request(&mut served[0], "/", "").await;
    read_to(&mut served[0], "192.0.2.7:4000").await;
    served.clear();
    waiting.await;
}

#[tokio::test(start_paused = true)]
async fn an_upgraded_connection_keeps_the_bytes_read_ahead() {
    let (connector, drain, served) = spawn_server();
    let mut stream = connect(&connector).await;
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
async fn a_drain_answers_open_requests_and_accepts_no_more() {
    let (connector, drain, served) = spawn_server();
    let mut fresh = connect(&connector).await;
    let mut idle = connect(&connector).await;
    let mut busy = connect(&connector).await;
    send_request(&mut idle, "/", "").await;
    read_to(&mut idle, "192.0.2.7:4000").await;
    send_request(&mut busy, "/slow", "").await;
    sleep(SECOND).await;
    let begun = Instant::now();
    drain.cancel();
    assert!(is_closed(&mut fresh).await && is_closed(&mut idle).await);
    assert_eq!(begun.elapsed(), Duration::ZERO);
    let answer = read_to(&mut busy, "\r\n\r\n").await;
    assert!(
        answer.starts_with("HTTP/1.1 200") && answer.contains("connection: close"),
        "{answer}"
    );
    served.await.expect("ended");
    assert_eq!(begun.elapsed(), SECOND * 4);
    let refused = connector
        .connect(peer())
        .await
        .map(drop)
        .expect_err("the listener is gone");
    assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);
}

/// A listener that fails a few times, as when file descriptors run out, before it accepts.
struct FailingListener<L>(u32, L);

impl<L: Listener> Listener for FailingListener<L> {
    async fn accept(&mut self) -> io::Result<(ClientStream, SocketAddr)> {
        if self.0 > 0 {
            self.0 -= 1;
            return Err(io::Error::from_raw_os_error(24)); // EMFILE
        }
        self.1.accept().await
    }
}

#[tokio::test(start_paused = true)]
async fn a_failed_accept_pauses_the_server_without_ending_it() {
    let (listener, connector) = memory_listener(BUFFER_BYTES);
    let begun = Instant::now();
    TaskGroup::default().spawn(serve(
        FailingListener(3, listener),
        routes(),
        OPTIONS,
        accept_limits(1000),
        CancellationToken::new(),
    ));
    let mut stream = connect(&connector).await;
    send_request(&mut stream, "/", "").await;
    read_to(&mut stream, "192.0.2.7:4000").await;
    assert_eq!(begun.elapsed(), ACCEPT_RETRY_DELAY * 3);
}

#[tokio::test]
async fn tcp_connections_are_served_like_in_memory_ones() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("bound");
    let address = listener.local_addr().expect("an address");
    let drain = CancellationToken::new();
    let served = TaskGroup::default().spawn(serve(
        listener,
        routes(),
        OPTIONS,
        accept_limits(1000),
        drain.clone(),
    ));
    let mut stream = TcpStream::connect(address).await.expect("connected");
    stream
        .write_all(b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
        .await
        .expect("written");
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.expect("read");
    let client = stream.local_addr().expect("an address").to_string();
    assert!(Bytes::from(answer).ends_with(client.as_bytes()));
    drain.cancel();
    served.await.expect("ended");
}

#[tokio::test(start_paused = true)]
async fn an_address_with_too_many_connections_is_refused_alone() {
    let (connector, _drain, _served) = spawn_server();
    let mut silent = Vec::new();
    for _ in 0..20 {
        silent.push(connect(&connector).await);
    }
    let mut refused = connect(&connector).await;
    assert!(
        read_to(&mut refused, "\r\n\r\n")
            .await
            .starts_with("HTTP/1.1 503 ")
    );
    assert!(is_closed(&mut refused).await);
    let other = "192.0.2.8:4000".parse().expect("an address");
    let mut other = connector.connect(other).await.expect("connected");
    send_request(&mut other, "/", "").await;
    assert!(
        read_to(&mut other, "192.0.2.8:4000")
            .await
            .starts_with("HTTP/1.1 200 ")
    );
    silent.pop();
    sleep(SECOND).await;
    let mut again = connect(&connector).await;
    send_request(&mut again, "/", "").await;
    read_to(&mut again, "192.0.2.7:4000").await;
}
