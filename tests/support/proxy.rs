//! A TCP proxy on loopback with faults on demand: it cuts connections, holds bytes back, loses the
//! server's replies, changes them, or is slow.

use std::borrow::Cow;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use socket2::{Domain, Socket, Type};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::sleep;

/// Size of a slow proxy's buffers in bytes: small, so that the server notices the slowness at once.
const SLOW_BUFFER: usize = 4 * 1024;
/// Maximum segment size of a slow proxy's connection to the server, in bytes; the smallest that
/// Linux allows. With it, the server's send buffer on loopback is no larger than on a real network.
const SLOW_SEGMENT: u32 = 536;

/// The direction in which bytes flow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    ToServer,
    ToClient,
}

/// The treatment of new connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum NewConnections {
    Accepted,
    /// Connections are accepted, and dropped at once.
    Refused,
    /// Connections are served, but nothing passes in these directions until [`Proxy::release`].
    Held([bool; 2]),
}

/// A running proxy. Dropping it cuts all connections.
pub struct Proxy {
    address: SocketAddr,
    shared: Arc<ProxyState>,
    accepting: JoinHandle<()>,
}

/// A function from a chunk that the server sent to the bytes that the client gets instead.
type ResponseFilter = Box<dyn Fn(&[u8]) -> Vec<u8> + Send + Sync>;

struct ProxyState {
    server: Mutex<SocketAddr>,
    new_connections: Mutex<NewConnections>,
    connections: Mutex<Vec<Arc<watch::Sender<ProxiedConnection>>>>,
    /// Speed limit towards the client; `None` for no limit.
    bytes_per_second: Option<u64>,
    lost_answers: AtomicU64,
    response_filter: Mutex<Option<ResponseFilter>>,
    filtered_chunks: AtomicU64,
}

/// The faults that apply to one connection.
#[derive(Debug, Clone, Copy, Default)]
struct ProxiedConnection {
    is_held: [bool; 2],
    /// The server's next bytes are dropped, and the connection is cut.
    lose_answer: bool,
    is_cut: bool,
}

impl Proxy {
    /// Starts a proxy to a server without a speed limit.
    pub async fn to(server: SocketAddr) -> Proxy {
        Self::start(server, None).await
    }

    /// Starts a proxy to a server with a speed limit towards the client, for each connection.
    pub async fn slow(server: SocketAddr, bytes_per_second: u64) -> Proxy {
        Self::start(server, Some(bytes_per_second)).await
    }

    async fn start(server: SocketAddr, bytes_per_second: Option<u64>) -> Proxy {
        let listener = TcpListener::bind("127.0.0.1:0")
            .await
            .expect("bind the proxy");
        let address = listener.local_addr().expect("the proxy's address");
        let shared = Arc::new(ProxyState {
            server: Mutex::new(server),
            new_connections: Mutex::new(NewConnections::Accepted),
            connections: Mutex::default(),
            bytes_per_second,
            lost_answers: AtomicU64::new(0),
            response_filter: Mutex::default(),
            filtered_chunks: AtomicU64::new(0),
        });
        let accepting = tokio::spawn(accept(listener, Arc::clone(&shared)));
        Proxy {
            address,
            shared,
            accepting,
        }
    }

    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Forwards new connections to another server; open ones stay.
    pub fn set_server(&self, server: SocketAddr) {
        *self.shared.server.lock() = server;
    }

    /// Cuts every open connection.
    pub fn cut(&self) {
        self.update_connections(|faults| faults.is_cut = true);
    }

    /// Cuts every open connection, and each new one until [`Self::release`].
    pub fn refuse(&self) {
        *self.shared.new_connections.lock() = NewConnections::Refused;
        self.cut();
    }

    /// Holds all bytes back in these directions, on open and new connections, which stay open.
    pub fn hold(&self, directions: &[Direction]) {
        *self.shared.new_connections.lock() = NewConnections::Held(held(directions));
        self.hold_open_connections(directions);
    }

    /// Holds all bytes back in these directions on the open connections; new ones are not affected.
    pub fn hold_open_connections(&self, directions: &[Direction]) {
        self.update_connections(|faults| faults.is_held = held(directions));
    }

    /// Accepts connections again and holds nothing back. Bytes that were held back arrive, even if
    /// their sender is gone.
    pub fn release(&self) {
        *self.shared.new_connections.lock() = NewConnections::Accepted;
        self.update_connections(|faults| faults.is_held = [false; 2]);
    }

    /// Drops the server's next bytes on each open connection, and then cuts it: the server has done
    /// what was requested, but the client does not learn it.
    pub fn lose_answers(&self) {
        self.update_connections(|faults| faults.lose_answer = true);
    }

    /// Returns the number of replies that [`Self::lose_answers`] dropped.
    pub fn lost_answers(&self) -> u64 {
        self.shared.lost_answers.load(Ordering::Relaxed)
    }

    /// Passes each chunk that the server sends through a filter on its way to the client.
    pub fn filter_responses(&self, filter: impl Fn(&[u8]) -> Vec<u8> + Send + Sync + 'static) {
        *self.shared.response_filter.lock() = Some(Box::new(filter));
    }

    /// Removes the filter of [`Self::filter_responses`].
    pub fn stop_filtering(&self) {
        *self.shared.response_filter.lock() = None;
    }

    /// Returns the number of chunks that a filter has changed.
    pub fn filtered_chunks(&self) -> u64 {
        self.shared.filtered_chunks.load(Ordering::Relaxed)
    }

    fn update_connections(&self, change: impl Fn(&mut ProxiedConnection)) {
        let mut connections = self.shared.connections.lock();
        connections.retain(|connection| connection.receiver_count() > 0);
        for connection in &*connections {
            connection.send_modify(&change);
        }
    }
}

impl ProxyState {
    fn filter_response<'a>(&self, chunk: &'a [u8]) -> Cow<'a, [u8]> {
        let Some(filtered) = self
            .response_filter
            .lock()
            .as_ref()
            .map(|filter| filter(chunk))
        else {
            return chunk.into();
        };
        if filtered != chunk {
            self.filtered_chunks.fetch_add(1, Ordering::Relaxed);
        }
        filtered.into()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.accepting.abort();
        self.update_connections(|faults| faults.is_cut = true);
    }
}

fn held(directions: &[Direction]) -> [bool; 2] {
    [
        directions.contains(&Direction::ToServer),
        directions.contains(&Direction::ToClient),
    ]
}

async fn accept(listener: TcpListener, shared: Arc<ProxyState>) {
    while let Ok((client, _)) = listener.accept().await {
        let treatment = *shared.new_connections.lock();
        let faults = match treatment {
            NewConnections::Refused => continue,
            NewConnections::Accepted => ProxiedConnection::default(),
            NewConnections::Held(is_held) => ProxiedConnection {
                is_held,
                ..ProxiedConnection::default()
            },
        };
        let connection = Arc::new(watch::Sender::new(faults));
        let faults_to_server = connection.subscribe();
        let faults_to_client = connection.subscribe();
        shared.connections.lock().push(Arc::clone(&connection));
        let shared = Arc::clone(&shared);
        tokio::spawn(async move {
            let _ = client.set_nodelay(true);
            let upstream = *shared.server.lock();
            let Ok(server) = connect(upstream, shared.bytes_per_second.is_some()).await else {
                return;
            };
            let _ = server.set_nodelay(true);
            let (from_client, to_client) = client.into_split();
            let (from_server, to_server) = server.into_split();
            tokio::join!(
                pump(
                    from_client,
                    to_server,
                    Direction::ToServer,
                    faults_to_server,
                    &connection,
                    &shared
                ),
                pump(
                    from_server,
                    to_client,
                    Direction::ToClient,
                    faults_to_client,
                    &connection,
                    &shared
                ),
            );
        });
    }
}

async fn connect(server: SocketAddr, is_slow: bool) -> std::io::Result<TcpStream> {
    if !is_slow {
        return TcpStream::connect(server).await;
    }
    let socket = Socket::new(Domain::for_address(server), Type::STREAM, None)?;
    socket.set_tcp_mss(SLOW_SEGMENT)?;
    socket.set_recv_buffer_size(SLOW_BUFFER)?;
    socket.set_nonblocking(true)?;
    TcpSocket::from_std_stream(socket.into())
        .connect(server)
        .await
}

/// Copies bytes in one direction until the sender closes it, reading or writing fails, or the
/// connection is cut.
async fn pump(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    direction: Direction,
    mut faults: watch::Receiver<ProxiedConnection>,
    connection: &watch::Sender<ProxiedConnection>,
    shared: &ProxyState,
) {
    let bytes_per_second = shared
        .bytes_per_second
        .filter(|_| direction == Direction::ToClient);
    let mut buffer = vec![
        0;
        if shared.bytes_per_second.is_some() {
            SLOW_BUFFER
        } else {
            64 * 1024
        }
    ];
    loop {
        let read = tokio::select! { biased;
            _ = faults.wait_for(|faults| faults.is_cut) => return,
            read = from.read(&mut buffer) => read,
        };
        let Ok(count) = read else { break };
        let may_proceed =
            |faults: &ProxiedConnection| faults.is_cut || !faults.is_held[direction as usize];
        let Ok(current) = faults.wait_for(may_proceed).await.map(|faults| *faults) else {
            return;
        };
        if current.is_cut {
            return;
        }
        if count == 0 {
            let _ = to.shutdown().await;
            return;
        }
        if direction == Direction::ToClient && current.lose_answer {
            shared.lost_answers.fetch_add(1, Ordering::Relaxed);
            break;
        }
        let passed = match direction {
            Direction::ToServer => Cow::Borrowed(&buffer[..count]),
            Direction::ToClient => shared.filter_response(&buffer[..count]),
        };
        let written = tokio::select! { biased;
            _ = faults.wait_for(|faults| faults.is_cut) => return,
            written = to.write_all(&passed) => written,
        };
        if written.is_err() {
            break;
        }
        if let Some(bytes_per_second) = bytes_per_second {
            sleep(Duration::from_secs_f64(
                count as f64 / bytes_per_second as f64,
            ))
            .await;
        }
    }
    // An error in one direction ends the other, too.
    connection.send_modify(|faults| faults.is_cut = true);
}
