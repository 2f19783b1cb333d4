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
pub enum Way {
    ToServer,
    ToClient,
}

/// What becomes of those who connect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Newcomers {
    Served,
    /// Accepted, and dropped at once.
    Refused,
    /// Served, but nothing goes this way until [`Proxy::release`].
    Held([bool; 2]),
}

/// A proxy. Dropping it cuts everything.
pub struct Proxy {
    address: SocketAddr,
    shared: Arc<Shared>,
    accepting: JoinHandle<()>,
}

/// What is left of what the server says.
type Censor = Box<dyn Fn(&[u8]) -> Vec<u8> + Send + Sync>;

struct Shared {
    server: Mutex<SocketAddr>,
    newcomers: Mutex<Newcomers>,
    links: Mutex<Vec<Arc<watch::Sender<Gate>>>>,
    /// Bytes a second towards the client.
    pace: Option<u64>,
    lost: AtomicU64,
    censor: Mutex<Option<Censor>>,
    censored: AtomicU64,
}

/// How one connection stands.
#[derive(Debug, Clone, Copy, Default)]
struct Gate {
    held: [bool; 2],
    /// The next bytes of the server vanish, and the connection with them.
    lose_answer: bool,
    cut: bool,
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
        let shared = Arc::new(Shared {
            server: Mutex::new(server),
            newcomers: Mutex::new(Newcomers::Served),
            links: Mutex::default(),
            pace,
            lost: AtomicU64::new(0),
            censor: Mutex::default(),
            censored: AtomicU64::new(0),
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
    pub fn lead_to(&self, server: SocketAddr) {
        *self.shared.server.lock() = server;
    }

    /// Breaks every connection.
    pub fn cut(&self) {
        self.each(|gate| gate.cut = true);
    }

    /// Breaks every connection, and each new one.
    pub fn close(&self) {
        *self.shared.newcomers.lock() = Newcomers::Refused;
        self.cut();
    }

    /// Lets nothing through this way, on any connection, without a word to anybody.
    pub fn hold(&self, ways: &[Way]) {
        *self.shared.newcomers.lock() = Newcomers::Held(held(ways));
        self.hold_present(ways);
    }

    /// Lets nothing through this way on the connections that there are; new ones are served.
    pub fn hold_present(&self, ways: &[Way]) {
        self.each(|gate| gate.held = held(ways));
    }

    /// Everything goes on; what was held arrives, even if its sender is gone.
    pub fn release(&self) {
        *self.shared.newcomers.lock() = Newcomers::Served;
        self.each(|gate| gate.held = [false; 2]);
    }

    /// On each connection that there is, the server's next bytes vanish and the connection breaks: whatever was asked
    /// has been done, and nobody knows.
    pub fn lose_answers(&self) {
        self.each(|gate| gate.lose_answer = true);
    }

    /// How many answers vanished.
    pub fn lost(&self) -> u64 {
        self.shared.lost.load(Ordering::Relaxed)
    }

    /// From now on the client hears what this leaves of what the server says, piece by piece.
    pub fn censor(&self, censor: impl Fn(&[u8]) -> Vec<u8> + Send + Sync + 'static) {
        *self.shared.censor.lock() = Some(Box::new(censor));
    }

    /// The client hears everything again.
    pub fn censor_no_more(&self) {
        *self.shared.censor.lock() = None;
    }

    /// How many pieces were changed by a censor.
    pub fn censored(&self) -> u64 {
        self.shared.censored.load(Ordering::Relaxed)
    }

    fn each(&self, change: impl Fn(&mut Gate)) {
        let mut links = self.shared.links.lock();
        links.retain(|link| link.receiver_count() > 0);
        links.iter().for_each(|link| link.send_modify(&change));
    }
}

impl Shared {
    fn censored<'a>(&self, said: &'a [u8]) -> Cow<'a, [u8]> {
        let Some(left) = self.censor.lock().as_ref().map(|censor| censor(said)) else {
            return said.into();
        };
        if left != said {
            self.censored.fetch_add(1, Ordering::Relaxed);
        }
        left.into()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.accepting.abort();
        self.each(|gate| gate.cut = true);
    }
}

fn held(ways: &[Way]) -> [bool; 2] {
    [ways.contains(&Way::ToServer), ways.contains(&Way::ToClient)]
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    while let Ok((client, _)) = listener.accept().await {
        let newcomers = *shared.newcomers.lock();
        let gate = match newcomers {
            Newcomers::Refused => continue,
            Newcomers::Served => Gate::default(),
            Newcomers::Held(held) => Gate {
                held,
                ..Gate::default()
            },
        };
        let link = Arc::new(watch::Sender::new(gate));
        let gates = (link.subscribe(), link.subscribe());
        shared.links.lock().push(Arc::clone(&link));
        let shared = Arc::clone(&shared);
        tokio::spawn(async move {
            let _ = client.set_nodelay(true);
            let upstream = *shared.server.lock();
            let Ok(server) = connect(upstream, shared.pace.is_some()).await else {
                return;
            };
            let _ = server.set_nodelay(true);
            let ((from_client, to_client), (from_server, to_server)) =
                (client.into_split(), server.into_split());
            tokio::join!(
                pump(
                    from_client,
                    to_server,
                    Way::ToServer,
                    gates.0,
                    &link,
                    &shared
                ),
                pump(
                    from_server,
                    to_client,
                    Way::ToClient,
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
    way: Way,
    mut gate: watch::Receiver<Gate>,
    link: &watch::Sender<Gate>,
    shared: &Shared,
) {
    let pace = shared.pace.filter(|_| way == Way::ToClient);
    let mut buffer = vec![
        0;
        if shared.pace.is_some() {
            SLOW_BUFFER
        } else {
            64 * 1024
        }
    ];
    loop {
        let read = tokio::select! { biased;
            _ = gate.wait_for(|gate| gate.cut) => return,
            read = from.read(&mut buffer) => read,
        };
        let Ok(count) = read else { break };
        let open = |gate: &Gate| gate.cut || !gate.held[way as usize];
        let Ok(now) = gate.wait_for(open).await.map(|gate| *gate) else {
            return;
        };
        if now.cut {
            return;
        }
        if count == 0 {
            let _ = to.shutdown().await;
            return;
        }
        if way == Way::ToClient && now.lose_answer {
            shared.lost.fetch_add(1, Ordering::Relaxed);
            break;
        }
        let passed = match way {
            Way::ToServer => Cow::Borrowed(&buffer[..count]),
            Way::ToClient => shared.censored(&buffer[..count]),
        };
        let written = tokio::select! { biased;
            _ = gate.wait_for(|gate| gate.cut) => return,
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
    link.send_modify(|gate| gate.cut = true);
}
