//! Where connections come from: TCP, or memory in a simulation.

mod paced;
mod permits;

use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};

pub use paced::{PacedStream, ReclaimedStream};
pub use permits::{ConnectionPermit, ConnectionPermits, PerAddressLimit};
use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

/// One connection, of whichever kind: an enum rather than a trait object, so that what an upgrade leaves behind has
/// one type, and vectored writes pass through.
#[derive(Debug)]
pub enum ClientStream {
    /// Over the network.
    Tcp(TcpStream),
    /// Within the process.
    Memory(DuplexStream),
}

/// A source of connections.
pub trait Listener: Send + 'static {
    /// The next connection and where it comes from. May be dropped at any time without losing one.
    fn accept(&mut self) -> impl Future<Output = io::Result<(ClientStream, SocketAddr)>> + Send;
}

impl Listener for TcpListener {
    async fn accept(&mut self) -> io::Result<(ClientStream, SocketAddr)> {
        let (stream, peer) = TcpListener::accept(self).await?;
        // Frames are small and must not wait for one another. A peer that is gone already shows at the first read.
        let _ = stream.set_nodelay(true);
        Ok((ClientStream::Tcp(stream), peer))
    }
}

/// How many bytes a connection in memory holds in each direction.
const MEMORY_BYTES: usize = 64 * 1024;
/// How many connections in memory wait to be accepted; more wait in `connect`.
const MEMORY_BACKLOG: usize = 128;

/// A listener within the process, and how to connect to it.
pub fn memory_listener() -> (MemoryListener, MemoryConnector) {
    let (sender, receiver) = mpsc::channel(MEMORY_BACKLOG);
    (MemoryListener(receiver), MemoryConnector(sender))
}

/// Accepts what a [`MemoryConnector`] connects.
pub struct MemoryListener(mpsc::Receiver<(DuplexStream, SocketAddr)>);

/// Connects to a [`MemoryListener`].
#[derive(Clone)]
pub struct MemoryConnector(mpsc::Sender<(DuplexStream, SocketAddr)>);

impl MemoryConnector {
    /// The client's end of a new connection that seems to come from `peer`. Refused when the listener is gone.
    pub async fn connect(&self, peer: SocketAddr) -> io::Result<DuplexStream> {
        let (client, server) = tokio::io::duplex(MEMORY_BYTES);
        let refused = |_| io::Error::from(io::ErrorKind::ConnectionRefused);
        self.0.send((server, peer)).await.map_err(refused)?;
        Ok(client)
    }
}

impl Listener for MemoryListener {
    async fn accept(&mut self) -> io::Result<(ClientStream, SocketAddr)> {
        match self.0.recv().await {
            Some((stream, peer)) => Ok((ClientStream::Memory(stream), peer)),
            // Nobody is left who could connect.
            None => std::future::pending().await,
        }
    }
}

impl AsyncRead for ClientStream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_read(cx, buf),
            Self::Memory(stream) => Pin::new(stream).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for ClientStream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_write(cx, buf),
            Self::Memory(stream) => Pin::new(stream).poll_write(cx, buf),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
            Self::Memory(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Self::Tcp(stream) => stream.is_write_vectored(),
            Self::Memory(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_flush(cx),
            Self::Memory(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Memory(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}
