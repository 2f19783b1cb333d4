//! Connections to Redis: addresses, credentials, TLS, timeouts.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use parking_lot::Mutex;
use redis::cluster::{ClusterClient, ClusterClientBuilder};
use redis::io::tcp::TcpSettings;
use redis::io::tcp::socket2::TcpKeepalive;
use redis::{
    AsyncConnectionConfig, Client, ConnectionAddr, ConnectionInfo, IntoConnectionInfo,
    ProtocolVersion, RedisResult, TlsCertificates,
};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use tokio::time::sleep;

use super::RedisOptions;
use super::connection::RedisConnection;
use super::receiver::PushReceiver;
use crate::redact::redact_url;

/// Longest time to open one connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// Longest time to connect to a whole cluster: an unreachable node must not hide the others.
const CLUSTER_CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Longest wait for a response.
pub(super) const RESPONSE_TIMEOUT: Duration = Duration::from_secs(1);
/// Number of slices into which a timeout is divided.
const TIMEOUT_SLICES: u32 = 20;
/// Maximum number of nodes of a cluster that are remembered, so that the one in the URL may be
/// gone.
const NODES_MAX: usize = 32;

/// Connects to a server or to a Redis Cluster.
pub(super) struct RedisConnector {
    connection_info: ConnectionInfo,
    certificates: TlsCertificates,
    /// The latest known nodes, if it is a cluster.
    known_nodes: Option<Mutex<Vec<(String, u16)>>>,
}

impl RedisConnector {
    pub(super) fn new(options: &RedisOptions) -> anyhow::Result<Self> {
        let shown = redact_url(&options.url);
        // The parser's errors may quote the URL, password included.
        let Ok(info) = options.url.as_str().into_connection_info() else {
            bail!("{shown} is not the URL of a Redis server")
        };
        match info.addr() {
            ConnectionAddr::Tcp(..) => {
                ensure!(
                    options.ca_pem.is_none(),
                    "{shown} does not use TLS, so it takes no CA"
                )
            }
            ConnectionAddr::TcpTls { insecure, .. } => {
                ensure!(
                    !insecure,
                    "{shown} asks for TLS without verifying the server"
                );
                if let Some(pem) = &options.ca_pem {
                    let found = CertificateDer::pem_slice_iter(pem).next().is_some();
                    ensure!(found, "the CA of {shown} holds no certificate");
                }
                // The process may have installed a provider before: either is right.
                let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
            }
            _ => bail!("{shown} is not a TCP address"),
        }
        let keepalive = TcpKeepalive::new()
            .with_time(Duration::from_secs(3))
            .with_interval(Duration::from_secs(1))
            .with_retries(3);
        let settings = TcpSettings::default()
            .set_nodelay(true)
            .set_keepalive(keepalive);
        let resp3 = info
            .redis_settings()
            .clone()
            .set_protocol(ProtocolVersion::RESP3);
        let info = info
            .set_tcp_settings(settings)
            .set_redis_settings(resp3.set_skip_set_lib_name());
        let certificates = TlsCertificates {
            client_tls: None,
            root_cert: options.ca_pem.clone(),
        };
        let server = Self {
            connection_info: info,
            certificates,
            known_nodes: options.is_cluster.then(Mutex::default),
        };
        // Building a client checks the certificates.
        if options.is_cluster {
            server.build_cluster_client(None).map(drop)
        } else {
            server.build_client().map(drop)
        }
        .with_context(|| format!("the bus at {shown}"))?;
        Ok(server)
    }

    /// Opens a new connection. What the server pushes goes to `receiver`.
    pub(super) async fn connect(
        &self,
        receiver: Option<&Arc<PushReceiver>>,
    ) -> RedisResult<RedisConnection> {
        if self.known_nodes.is_some() {
            let client = self.build_cluster_client(receiver)?;
            return with_timeout(CLUSTER_CONNECT_TIMEOUT, client.get_async_connection())
                .await
                .map(RedisConnection::Cluster);
        }
        let mut config = AsyncConnectionConfig::new()
            .set_connection_timeout(None)
            .set_response_timeout(None);
        if let Some(receiver) = receiver {
            config = config.set_push_sender(push_sender(receiver));
        }
        let client = self.build_client()?;
        let connecting = client.get_multiplexed_async_connection_with_config(&config);
        with_timeout(CONNECT_TIMEOUT, connecting)
            .await
            .map(RedisConnection::Single)
    }

    /// Remembers which nodes the cluster has now.
    pub(super) fn set_known_nodes(&self, mut nodes: Vec<(String, u16)>) {
        nodes.truncate(NODES_MAX);
        if let Some(known) = &self.known_nodes {
            *known.lock() = nodes;
        }
    }

    fn build_client(&self) -> RedisResult<Client> {
        match self.connection_info.addr() {
            ConnectionAddr::TcpTls { .. } => {
                Client::build_with_tls(self.connection_info.clone(), self.certificates.clone())
            }
            _ => Client::open(self.connection_info.clone()),
        }
    }

    fn build_cluster_client(
        &self,
        receiver: Option<&Arc<PushReceiver>>,
    ) -> RedisResult<ClusterClient> {
        let known = self
            .known_nodes
            .as_ref()
            .map(|nodes| nodes.lock().clone())
            .unwrap_or_default();
        let known = known.into_iter().map(|(host, port)| {
            self.connection_info
                .clone()
                .set_addr(self.node_address(host, port))
        });
        let mut builder =
            ClusterClientBuilder::new(std::iter::once(self.connection_info.clone()).chain(known))
                .use_protocol(ProtocolVersion::RESP3)
                .tcp_settings(self.connection_info.tcp_settings().clone())
                .connection_timeout(CONNECT_TIMEOUT)
                // Never expires first: `with_timeout` does.
                .response_timeout(CLUSTER_CONNECT_TIMEOUT)
                // A doubt ends the connection pair; a new one finds the slots again.
                .retries(0);
        if matches!(self.connection_info.addr(), ConnectionAddr::TcpTls { .. }) {
            builder = builder.certs(self.certificates.clone());
        }
        if let Some(receiver) = receiver {
            builder = builder.push_sender(push_sender(receiver));
        }
        builder.build()
    }

    fn node_address(&self, host: String, port: u16) -> ConnectionAddr {
        match self.connection_info.addr() {
            ConnectionAddr::TcpTls { .. } => ConnectionAddr::TcpTls {
                host,
                port,
                insecure: false,
                tls_params: None,
            },
            _ => ConnectionAddr::Tcp(host, port),
        }
    }
}

fn push_sender(
    receiver: &Arc<PushReceiver>,
) -> impl Fn(redis::PushInfo) -> Result<(), Infallible> + Send + Sync + 'static {
    let receiver = Arc::clone(receiver);
    move |info| {
        receiver.handle_push(info);
        Ok(())
    }
}

/// Returns the output of `request`, or an error if it takes longer than `limit`. A pause of the
/// whole process is not the server's fault: it counts as one slice, however long it was.
pub(super) async fn with_timeout<T>(
    limit: Duration,
    request: impl Future<Output = RedisResult<T>>,
) -> RedisResult<T> {
    let expiry = async {
        for _ in 0..TIMEOUT_SLICES {
            sleep(limit / TIMEOUT_SLICES).await;
        }
    };
    tokio::select! { biased;
        response = request => response,
        () = expiry => Err(std::io::Error::from(std::io::ErrorKind::TimedOut).into()),
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::oneshot;
    use tokio::task::yield_now;
    use tokio::time::{Instant, advance};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_redis_call_times_out_at_the_limit() {
        let began = Instant::now();
        let late = with_timeout(RESPONSE_TIMEOUT, std::future::pending::<RedisResult<()>>()).await;
        assert!(late.expect_err("no answer").is_timeout());
        assert_eq!(began.elapsed(), RESPONSE_TIMEOUT);
    }

    #[tokio::test(start_paused = true)]
    async fn a_stalled_process_does_not_time_out_a_redis_call() {
        let (reader, answer) = oneshot::channel();
        let request = with_timeout(RESPONSE_TIMEOUT, async {
            Ok(answer.await.expect("an answer"))
        });
        // Nothing is polled during the pause. The response is there, but its reader runs only after
        // the timer.
        let stalled = async {
            advance(RESPONSE_TIMEOUT * 3).await;
            yield_now().await;
            reader.send(7).expect("still waited for");
        };
        assert_eq!(tokio::join!(request, stalled).0.expect("in time"), 7);
    }
}
