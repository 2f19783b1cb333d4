//! An HTTP client over any [`Network`].

use std::io;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use anyhow::Context as _;
use bytes::Bytes;
use futures_util::future::BoxFuture;
use futures_util::{FutureExt, TryFutureExt};
use http_body_util::{BodyExt, Full};
use hyper::{Request, StatusCode, Uri};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::{Connected, Connection};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::time::timeout;
use tower_service::Service;

use crate::network::{ByteStream, Network};
use crate::target::Target;

const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);

/// A client that keeps connections open between requests, and follows no redirect: load must not
/// reach another machine.
#[derive(Debug, Clone)]
pub(super) struct HttpClient(Client<NetworkConnector, Full<Bytes>>);

impl HttpClient {
    pub(super) fn new(network: &Arc<dyn Network>) -> HttpClient {
        let connector = NetworkConnector(Arc::clone(network));
        // Idle connections age by Tokio's clock, which a simulation controls.
        let mut builder = Client::builder(TokioExecutor::new());
        HttpClient(builder.pool_timer(TokioTimer::new()).build(connector))
    }

    /// Sends a request, and returns the response's status and body.
    pub(super) async fn send(
        &self,
        request: Request<Full<Bytes>>,
    ) -> anyhow::Result<(StatusCode, Bytes)> {
        let exchange = async {
            let response = self.0.request(request).await?;
            let status = response.status();
            let body = response.into_body().collect().await?;
            anyhow::Ok((status, body.to_bytes()))
        };
        timeout(REQUEST_TIMEOUT, exchange)
            .await
            .with_context(|| format!("no response in {REQUEST_TIMEOUT:?}"))?
    }
}

/// Opens connections to the servers that requests name.
#[derive(Debug, Clone)]
struct NetworkConnector(Arc<dyn Network>);

impl Service<Uri> for NetworkConnector {
    type Response = TokioIo<Box<dyn ByteStream>>;
    type Error = io::Error;
    type Future = BoxFuture<'static, io::Result<Self::Response>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, url: Uri) -> Self::Future {
        match Target::parse(&url.to_string()) {
            Ok(target) => self.0.connect(target).map_ok(TokioIo::new).boxed(),
            Err(error) => futures_util::future::err(io::Error::other(error)).boxed(),
        }
    }
}

impl Connection for Box<dyn ByteStream> {
    fn connected(&self) -> Connected {
        Connected::new()
    }
}
