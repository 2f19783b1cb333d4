//! The network between clients and instances.

use std::collections::HashMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, join};
use parking_lot::Mutex;
use raidhall_loadtest::network::{ByteStream, Network};
use raidhall_loadtest::target::Target;
use rand::Rng;
use rand::rngs::StdRng;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream, duplex, split};
use tokio::sync::watch;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::net::listener::MemoryConnector;

/// Bytes that a connection buffers in each direction.
pub(super) const BUFFER_BYTES: usize = 4 * 1024;
/// Most bytes that are carried at once.
const CHUNK_BYTES: usize = 4 * 1024;
/// Most bytes that are carried at once over a slow link. Servers may end connections that take less
/// than 1 KiB a second.
const SLOW_CHUNK_BYTES: usize = 256;
/// The further delay of each chunk on a slow link.
const SLOW_CHUNK_TIME: Duration = Duration::from_millis(100);

/// The network as clients use it, and as the plan disturbs it. Clones share everything.
#[derive(Debug, Clone)]
pub(super) struct SimulatedNetwork(Arc<Mutex<NetworkState>>);

struct NetworkState {
    rng: StdRng,
    delay_ms: Range<u64>,
    /// The instance that listens at each port, or did last.
    links: HashMap<u16, Link>,
    tasks: TaskTracker,
}

/// All connections between clients and one instance. Clones share them.
#[derive(Clone)]
pub(super) struct Link {
    connector: MemoryConnector,
    /// Cancelled to break the present connections.
    cut: Arc<Mutex<CancellationToken>>,
    condition: Arc<watch::Sender<LinkCondition>>,
    /// How many connections have been opened.
    opened: Arc<AtomicU64>,
}

/// How fast every n-th connection is. The others are as fast as ever.
#[derive(Debug, Clone, Copy)]
struct LinkCondition {
    speed: LinkSpeed,
    every: u64,
}

impl LinkCondition {
    fn speed_of(self, number: u64) -> LinkSpeed {
        if number.is_multiple_of(self.every) {
            self.speed
        } else {
            LinkSpeed::Normal
        }
    }
}

/// One connection over a link, by its number.
#[derive(Clone)]
struct LinkConnection {
    link: Link,
    number: u64,
}

/// How fast a link carries what is sent, in either direction.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum LinkSpeed {
    #[default]
    Normal,
    /// [`SLOW_CHUNK_BYTES`] in [`SLOW_CHUNK_TIME`], for each connection.
    Slow,
    /// Nothing arrives for now.
    Stalled,
}

impl Link {
    pub(super) fn new(connector: MemoryConnector) -> Link {
        Link {
            connector,
            cut: Arc::default(),
            condition: Arc::new(watch::Sender::new(LinkCondition {
                speed: LinkSpeed::Normal,
                every: 1,
            })),
            opened: Arc::default(),
        }
    }

    /// Breaks all present connections.
    pub(super) fn break_connections(&self) {
        std::mem::take(&mut *self.cut.lock()).cancel();
    }

    pub(super) fn set_speed(&self, speed: LinkSpeed, every: u64) {
        self.condition.send_replace(LinkCondition { speed, every });
    }

    fn open(self) -> LinkConnection {
        let number = self.opened.fetch_add(1, Ordering::Relaxed);
        LinkConnection { link: self, number }
    }
}

impl LinkConnection {
    fn is_slow(&self) -> bool {
        self.link.condition.borrow().speed_of(self.number) == LinkSpeed::Slow
    }

    async fn wait_while_stalled(&self) {
        let mut condition = self.link.condition.subscribe();
        let flows =
            |condition: &LinkCondition| condition.speed_of(self.number) != LinkSpeed::Stalled;
        let _ = condition.wait_for(flows).await; // the sender is here
    }
}

impl std::fmt::Debug for NetworkState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("NetworkState").finish_non_exhaustive()
    }
}

impl SimulatedNetwork {
    pub(super) fn new(rng: StdRng, delay_ms: Range<u64>) -> SimulatedNetwork {
        SimulatedNetwork(Arc::new(Mutex::new(NetworkState {
            rng,
            delay_ms,
            links: HashMap::new(),
            tasks: TaskTracker::new(),
        })))
    }

    /// Leads new connections to this port over another link. The former one keeps its connections.
    pub(super) fn listen(&self, port: u16, link: Link) {
        self.0.lock().links.insert(port, link);
    }

    fn draw_delay(&self) -> Duration {
        let NetworkState { rng, delay_ms, .. } = &mut *self.0.lock();
        Duration::from_millis(rng.random_range(delay_ms.clone()))
    }

    async fn open(self, port: u16) -> io::Result<Box<dyn ByteStream>> {
        sleep(self.draw_delay()).await;
        let link = self.0.lock().links.get(&port).cloned();
        let connection = link.ok_or(io::ErrorKind::ConnectionRefused)?.open();
        connection.wait_while_stalled().await;
        let peer = SocketAddr::from((Ipv4Addr::LOCALHOST, 1));
        let far = connection.link.connector.connect(peer).await?;
        let (client, near) = duplex(BUFFER_BYTES);
        let cut = connection.link.cut.lock().clone();
        let carrying = self.clone().carry_both(near, far, connection);
        let tasks = self.0.lock().tasks.clone();
        tasks.spawn(async move {
            let _ = cut.run_until_cancelled(carrying).await;
        });
        Ok(Box::new(client))
    }

    async fn carry_both(self, near: DuplexStream, far: DuplexStream, connection: LinkConnection) {
        let (near_reader, near_writer) = split(near);
        let (far_reader, far_writer) = split(far);
        join(
            self.carry(near_reader, far_writer, &connection),
            self.carry(far_reader, near_writer, &connection),
        )
        .await;
    }

    async fn carry(
        &self,
        mut from: impl AsyncRead + Unpin,
        mut to: impl AsyncWrite + Unpin,
        connection: &LinkConnection,
    ) {
        let mut chunk = vec![0; CHUNK_BYTES];
        loop {
            let size = if connection.is_slow() {
                SLOW_CHUNK_BYTES
            } else {
                CHUNK_BYTES
            };
            let count = from.read(&mut chunk[..size]).await.unwrap_or(0);
            sleep(self.draw_delay()).await;
            if connection.is_slow() {
                sleep(SLOW_CHUNK_TIME).await;
            }
            connection.wait_while_stalled().await;
            if count == 0 {
                // The other end may be gone as well.
                let _ = to.shutdown().await;
                return;
            }
            if to.write_all(&chunk[..count]).await.is_err() {
                return;
            }
        }
    }
}

impl Network for SimulatedNetwork {
    fn connect(&self, target: Target) -> BoxFuture<'static, io::Result<Box<dyn ByteStream>>> {
        self.clone().open(target.address().port()).boxed()
    }
}
