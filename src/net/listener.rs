//! Sources of connections: TCP, or memory in a simulation.

mod paced;
mod permits;

use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};

pub use paced::{Exchange, Pace, PacedStream, ReclaimedStream};
pub use permits::{ConnectionPermit, ConnectionPermits, PerAddressLimit};
use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

/// One client's connection. An enum rather than a trait object, so that the stream behind an
/// upgraded connection has one type, and vectored writes pass through.
#[derive(Debug)]
pub enum ClientStream {
    /// A connection over the network.
    Tcp(TcpStream),
    /// A connection within the process.
    Memory(DuplexStream),
}

/// A source of connections.
pub trait Listener: Send + 'static {
    /// Accepts the next connection and returns it with its peer address. Cancel-safe.
    fn accept(&mut self) -> impl Future<Output = io::Result<(ClientStream, SocketAddr)>> + Send;
}

impl Listener for TcpListener {
    async fn accept(&mut self) -> io::Result<(ClientStream, SocketAddr)> {
        let (stream, peer) = TcpListener::accept(self).await?;
        // Frames are small and must not wait for one another. If the peer is already gone, the
        // first read fails.
        let _ = stream.set_nodelay(true);
        Ok((ClientStream::Tcp(stream), peer))
    }
}

/// Connections in memory that wait to be accepted; further ones wait in `connect`.
const MEMORY_BACKLOG: usize = 128;

/// Creates a listener within the process, and the connector to it. Each connection buffers so many
/// bytes in each direction.
pub fn memory_listener(buffer_bytes: usize) -> (MemoryListener, MemoryConnector) {
    let (connections, receiver) = mpsc::channel(MEMORY_BACKLOG);
    let connector = MemoryConnector {
        connections,
        buffer_bytes,
    };
    (MemoryListener(receiver), connector)
}

/// Accepts the connections of a [`MemoryConnector`].
pub struct MemoryListener(mpsc::Receiver<(DuplexStream, SocketAddr)>);

/// Connects to a [`MemoryListener`].
#[derive(Clone)]
pub struct MemoryConnector {
    connections: mpsc::Sender<(DuplexStream, SocketAddr)>,
    buffer_bytes: usize,
}

impl MemoryConnector {
    /// Opens a connection that appears to come from `peer`, and returns the client's end. Fails
    /// with `ConnectionRefused` when the listener is gone.
    pub async fn connect(&self, peer: SocketAddr) -> io::Result<DuplexStream> {
        let (client, server) = tokio::io::duplex(self.buffer_bytes);
        let refused = |_| io::Error::from(io::ErrorKind::ConnectionRefused);
        self.connections
            .send((server, peer))
            .await
            .map_err(refused)?;
        Ok(client)
    }
}

impl Listener for MemoryListener {
    async fn accept(&mut self) -> io::Result<(ClientStream, SocketAddr)> {
        match self.0.recv().await {
            Some((stream, peer)) => Ok((ClientStream::Memory(stream), peer)),
            // Every connector is dropped.
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
