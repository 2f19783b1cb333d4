//! The network between clients and instances.

use std::collections::HashMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::ops::Range;
use std::sync::Arc;
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
const BUFFER_BYTES: usize = 64 * 1024;
/// Bytes that are carried at once.
const CHUNK_BYTES: usize = 16 * 1024;

/// The network as clients use it, and as the plan disturbs it. Clones share everything.
#[derive(Debug, Clone)]
pub(super) struct SimulatedNetwork(Arc<Mutex<NetworkState>>);

struct NetworkState {
    rng: StdRng,
    delay_ms: Range<u64>,
    servers: HashMap<u16, Server>,
    tasks: TaskTracker,
}

/// A port as clients reach it: its listener, if there is one, and what becomes of connections.
#[derive(Clone, Default)]
struct Server {
    connector: Option<MemoryConnector>,
    /// Cancelled to break the present connections.
    cut: CancellationToken,
    /// Whether nothing arrives at present, in either direction.
    stalled: watch::Sender<bool>,
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
            servers: HashMap::new(),
            tasks: TaskTracker::new(),
        })))
    }

    /// Leads new connections to this port to a new listener.
    pub(super) fn listen(&self, port: u16, connector: MemoryConnector) {
        let servers = &mut self.0.lock().servers;
        let server = servers.entry(port).or_default();
        server.connector = Some(connector);
        server.cut = CancellationToken::new();
    }

    /// Refuses new connections to this port, and breaks the present ones.
    pub(super) fn stop_listening(&self, port: u16) {
        if let Some(server) = self.0.lock().servers.get_mut(&port) {
            server.connector = None;
            server.cut.cancel();
        }
    }

    /// Breaks all present connections to this port.
    pub(super) fn break_connections(&self, port: u16) {
        if let Some(server) = self.0.lock().servers.get_mut(&port) {
            std::mem::take(&mut server.cut).cancel();
        }
    }

    /// Holds back everything that is sent to and from this port, or lets it go on.
    pub(super) fn set_stalled(&self, port: u16, is_stalled: bool) {
        if let Some(server) = self.0.lock().servers.get(&port) {
            server.stalled.send_replace(is_stalled);
        }
    }

    fn draw_delay(&self) -> Duration {
        let NetworkState { rng, delay_ms, .. } = &mut *self.0.lock();
        Duration::from_millis(rng.random_range(delay_ms.clone()))
    }

    async fn open(self, port: u16) -> io::Result<Box<dyn ByteStream>> {
        sleep(self.draw_delay()).await;
        let server = self.0.lock().servers.get(&port).cloned();
        let Server {
            connector,
            cut,
            stalled,
        } = server.unwrap_or_default();
        let connector = connector.ok_or(io::ErrorKind::ConnectionRefused)?;
        let _ = stalled.subscribe().wait_for(|is_stalled| !is_stalled).await; // the sender is here
        let peer = SocketAddr::from((Ipv4Addr::LOCALHOST, 1));
        let far = connector.connect(peer).await?;
        let (client, near) = duplex(BUFFER_BYTES);
        let carrying = self.clone().carry_both(near, far, stalled);
        let tasks = self.0.lock().tasks.clone();
        tasks.spawn(async move {
            let _ = cut.run_until_cancelled(carrying).await;
        });
        Ok(Box::new(client))
    }

    async fn carry_both(self, near: DuplexStream, far: DuplexStream, stalled: watch::Sender<bool>) {
        let (near_reader, near_writer) = split(near);
        let (far_reader, far_writer) = split(far);
        join(
            self.carry(near_reader, far_writer, &stalled),
            self.carry(far_reader, near_writer, &stalled),
        )
        .await;
    }

    async fn carry(
        &self,
        mut from: impl AsyncRead + Unpin,
        mut to: impl AsyncWrite + Unpin,
        stalled: &watch::Sender<bool>,
    ) {
        let mut chunk = vec![0; CHUNK_BYTES];
        loop {
            let count = from.read(&mut chunk).await.unwrap_or(0);
            sleep(self.draw_delay()).await;
            let _ = stalled.subscribe().wait_for(|is_stalled| !is_stalled).await; // the sender is here
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
