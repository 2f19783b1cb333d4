//! How clients reach servers: over the loopback network of this machine, or within the process in a
//! simulation.

use std::fmt::Debug;
use std::io;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

use crate::target::Target;

/// A connection to a server.
pub trait ByteStream: AsyncRead + AsyncWrite + Send + Unpin + Debug {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin + Debug> ByteStream for S {}

/// Opens connections to servers.
pub trait Network: Debug + Send + Sync {
    /// Opens a connection to the server that listens at `target`.
    fn connect(&self, target: Target) -> BoxFuture<'static, io::Result<Box<dyn ByteStream>>>;
}

/// The network of this machine.
#[derive(Debug)]
pub struct Loopback;

impl Network for Loopback {
    fn connect(&self, target: Target) -> BoxFuture<'static, io::Result<Box<dyn ByteStream>>> {
        async move {
            let stream = TcpStream::connect(target.address()).await?;
            stream.set_nodelay(true)?;
            Ok(Box::new(stream) as Box<dyn ByteStream>)
        }
        .boxed()
    }
}
