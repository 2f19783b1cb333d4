//! A TCP proxy on loopback that misbehaves on demand: it cuts, stalls without a word, loses answers, and is slow.

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

/// What a slow link may buffer on its way, so that slowness is felt at once at the other end.
const SLOW_BUFFER: usize = 4 * 1024;
/// The smallest that Linux allows: with it the sender's buffer on loopback is no larger than on a real network.
const SLOW_SEGMENT: u32 = 536;

/// Which way bytes go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    ToServer,
    ToClient,
}

/// What becomes of those who connect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum NewConnections {
    Accepted,
    /// Accepted, and dropped at once.
    Refused,
    /// Served, but nothing goes this way until [`Proxy::release`].
    Held([bool; 2]),
}

/// A proxy. Dropping it cuts everything.
pub struct Proxy {
    address: SocketAddr,
    shared: Arc<ProxyState>,
    accepting: JoinHandle<()>,
}

/// What is left of what the server says.
type ResponseFilter = Box<dyn Fn(&[u8]) -> Vec<u8> + Send + Sync>;

struct ProxyState {
    server: Mutex<SocketAddr>,
    new_connections: Mutex<NewConnections>,
    connections: Mutex<Vec<Arc<watch::Sender<ProxiedConnection>>>>,
    /// Bytes a second towards the client.
    bytes_per_second: Option<u64>,
    lost_answers: AtomicU64,
    response_filter: Mutex<Option<ResponseFilter>>,
    filtered_chunks: AtomicU64,
}

/// How one connection stands.
#[derive(Debug, Clone, Copy, Default)]
struct ProxiedConnection {
    is_held: [bool; 2],
    /// The next bytes of the server vanish, and the connection with them.
    lose_answer: bool,
    is_cut: bool,
}

impl Proxy {
    /// Forwards to a server as fast as it can.
    pub async fn to(server: SocketAddr) -> Proxy {
        Self::start(server, None).await
    }

    /// Forwards to a server over a link that brings so many bytes a second to the client.
    pub async fn slow(server: SocketAddr, bytes_per_second: u64) -> Proxy {
        Self::start(server, Some(bytes_per_second)).await
    }

    async fn start(server: SocketAddr, pace: Option<u64>) -> Proxy {
        let listener = TcpListener::bind("127.0.0.1:0")
            .await
            .expect("bind the proxy");
        let address = listener.local_addr().expect("the proxy's address");
        let shared = Arc::new(ProxyState {
            server: Mutex::new(server),
            new_connections: Mutex::new(NewConnections::Accepted),
            connections: Mutex::default(),
            bytes_per_second: pace,
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

    /// Where clients connect.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Sends those who connect from now on to another server.
    pub fn set_server(&self, server: SocketAddr) {
        *self.shared.server.lock() = server;
    }

    /// Breaks every connection.
    pub fn cut(&self) {
        self.update_connections(|gate| gate.is_cut = true);
    }

    /// Breaks every connection, and each new one.
    pub fn refuse(&self) {
        *self.shared.new_connections.lock() = NewConnections::Refused;
        self.cut();
    }

    /// Lets nothing through this way, on any connection, without a word to anybody.
    pub fn hold(&self, ways: &[Direction]) {
        *self.shared.new_connections.lock() = NewConnections::Held(held(ways));
        self.hold_open_connections(ways);
    }

    /// Lets nothing through this way on the connections that there are; new ones are served.
    pub fn hold_open_connections(&self, ways: &[Direction]) {
        self.update_connections(|gate| gate.is_held = held(ways));
    }

    /// Everything goes on; what was held arrives, even if its sender is gone.
    pub fn release(&self) {
        *self.shared.new_connections.lock() = NewConnections::Accepted;
        self.update_connections(|gate| gate.is_held = [false; 2]);
    }

    /// On each connection that there is, the server's next bytes vanish and the connection breaks: whatever was asked
    /// has been done, and nobody knows.
    pub fn lose_answers(&self) {
        self.update_connections(|gate| gate.lose_answer = true);
    }

    /// How many answers vanished.
    pub fn lost_answers(&self) -> u64 {
        self.shared.lost_answers.load(Ordering::Relaxed)
    }

    /// From now on the client hears what this leaves of what the server says, piece by piece.
    pub fn filter_responses(&self, censor: impl Fn(&[u8]) -> Vec<u8> + Send + Sync + 'static) {
        *self.shared.response_filter.lock() = Some(Box::new(censor));
    }

    /// The client hears everything again.
    pub fn stop_filtering(&self) {
        *self.shared.response_filter.lock() = None;
    }

    /// How many pieces were changed by a censor.
    pub fn filtered_chunks(&self) -> u64 {
        self.shared.filtered_chunks.load(Ordering::Relaxed)
    }

    fn update_connections(&self, change: impl Fn(&mut ProxiedConnection)) {
        let mut links = self.shared.connections.lock();
        links.retain(|link| link.receiver_count() > 0);
        links.iter().for_each(|link| link.send_modify(&change));
    }
}

impl ProxyState {
    fn filter_response<'a>(&self, said: &'a [u8]) -> Cow<'a, [u8]> {
        let Some(left) = self
            .response_filter
            .lock()
            .as_ref()
            .map(|censor| censor(said))
        else {
            return said.into();
        };
        if left != said {
            self.filtered_chunks.fetch_add(1, Ordering::Relaxed);
        }
        left.into()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.accepting.abort();
        self.update_connections(|gate| gate.is_cut = true);
    }
}

fn held(ways: &[Direction]) -> [bool; 2] {
    [
        ways.contains(&Direction::ToServer),
        ways.contains(&Direction::ToClient),
    ]
}

async fn accept(listener: TcpListener, shared: Arc<ProxyState>) {
    while let Ok((client, _)) = listener.accept().await {
        let newcomers = *shared.new_connections.lock();
        let gate = match newcomers {
            NewConnections::Refused => continue,
            NewConnections::Accepted => ProxiedConnection::default(),
            NewConnections::Held(held) => ProxiedConnection {
                is_held: held,
                ..ProxiedConnection::default()
            },
        };
        let link = Arc::new(watch::Sender::new(gate));
        let gates = (link.subscribe(), link.subscribe());
        shared.connections.lock().push(Arc::clone(&link));
        let shared = Arc::clone(&shared);
        tokio::spawn(async move {
            let _ = client.set_nodelay(true);
            let upstream = *shared.server.lock();
            let Ok(server) = connect(upstream, shared.bytes_per_second.is_some()).await else {
                return;
            };
            let _ = server.set_nodelay(true);
            let ((from_client, to_client), (from_server, to_server)) =
                (client.into_split(), server.into_split());
            tokio::join!(
                pump(
                    from_client,
                    to_server,
                    Direction::ToServer,
                    gates.0,
                    &link,
                    &shared
                ),
                pump(
                    from_server,
                    to_client,
                    Direction::ToClient,
                    gates.1,
                    &link,
                    &shared
                ),
            );
        });
    }
}

async fn connect(server: SocketAddr, slow: bool) -> std::io::Result<TcpStream> {
    if !slow {
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

async fn pump(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    way: Direction,
    mut gate: watch::Receiver<ProxiedConnection>,
    link: &watch::Sender<ProxiedConnection>,
    shared: &ProxyState,
) {
    let pace = shared
        .bytes_per_second
        .filter(|_| way == Direction::ToClient);
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
            _ = gate.wait_for(|gate| gate.is_cut) => return,
            read = from.read(&mut buffer) => read,
        };
        let Ok(count) = read else { break };
        let open = |gate: &ProxiedConnection| gate.is_cut || !gate.is_held[way as usize];
        let Ok(now) = gate.wait_for(open).await.map(|gate| *gate) else {
            return;
        };
        if now.is_cut {
            return;
        }
        if count == 0 {
            let _ = to.shutdown().await;
            return;
        }
        if way == Direction::ToClient && now.lose_answer {
            shared.lost_answers.fetch_add(1, Ordering::Relaxed);
            break;
        }
        let passed = match way {
            Direction::ToServer => Cow::Borrowed(&buffer[..count]),
            Direction::ToClient => shared.filter_response(&buffer[..count]),
        };
        let written = tokio::select! { biased;
            _ = gate.wait_for(|gate| gate.is_cut) => return,
            written = to.write_all(&passed) => written,
        };
        if written.is_err() {
            break;
        }
        if let Some(pace) = pace {
            sleep(Duration::from_secs_f64(count as f64 / pace as f64)).await;
        }
    }
    // Whatever broke one way broke the other.
    link.send_modify(|gate| gate.is_cut = true);
}
