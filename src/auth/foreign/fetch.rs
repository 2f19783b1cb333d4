//! Having a document from a file or over HTTP: one GET, no redirect, bounded in size and time. Encrypted, or from this
//! very machine.

use axum::body::{Body, to_bytes};
use axum::http::header::{ACCEPT, HOST, USER_AGENT};
use axum::http::{Request, StatusCode, Uri};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};
use std::path::PathBuf;
use std::pin::pin;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

const BYTES_MAX: usize = 256 * 1024;
const PATIENCE: Duration = Duration::from_secs(5);

/// Where a document is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// `https://…`, or `http://` to this machine.
    Url(Uri),
    /// A file.
    File(PathBuf),
}

/// Why it was not had.
#[derive(Debug, Error)]
pub(super) enum SourceError {
    /// The file or the connection failed.
    #[error("cannot be read: {0}")]
    Io(#[from] std::io::Error),
    /// The other end does not speak HTTP as we do.
    #[error("the HTTP exchange failed: {0}")]
    Http(String),
    /// It answered something else.
    #[error("answered with {0}")]
    Status(StatusCode),
    /// There is too much of it.
    #[error("has more than {BYTES_MAX} bytes")]
    TooLarge,
    /// It took too long.
    #[error("did not come within {} s", PATIENCE.as_secs())]
    Late,
}

impl FromStr for Source {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Source, Self::Err> {
        if !text.contains("://") {
            return if text.is_empty() { Err("is empty") } else { Ok(Source::File(text.into())) };
        }
        let uri = Uri::from_str(text).map_err(|_| "is not a URL")?;
        let authority = uri.authority().ok_or("has no host")?;
        if authority.as_str().contains('@') {
            return Err("must not hold credentials");
        }
        match uri.scheme_str() {
            Some("https") => Ok(Source::Url(uri)),
            Some("http") if is_loopback(authority.host()) => Ok(Source::Url(uri)),
            Some("http") => {
                Err("must be https://, or http:// to 127.0.0.1, [::1] or localhost: whoever is in between \
                                 could put keys of their own there")
            }
            _ => Err("must be https://… or the path of a file"),
        }
    }
}

impl Source {
    /// The document.
    pub(super) async fn fetch(&self) -> Result<Vec<u8>, SourceError> {
        let fetched = timeout(PATIENCE, async {
            match self {
                Source::File(path) => read(tokio::fs::File::open(path).await?).await,
                Source::Url(uri) => get(uri).await,
            }
        });
        fetched.await.unwrap_or(Err(SourceError::Late))
    }
}

async fn read(file: tokio::fs::File) -> Result<Vec<u8>, SourceError> {
    let mut bytes = Vec::new();
    file.take(BYTES_MAX as u64 + 1).read_to_end(&mut bytes).await?;
    if bytes.len() > BYTES_MAX { Err(SourceError::TooLarge) } else { Ok(bytes) }
}

async fn get(uri: &Uri) -> Result<Vec<u8>, SourceError> {
    let encrypted = uri.scheme_str() == Some("https");
    let host = uri.host().unwrap_or_default().trim_start_matches('[').trim_end_matches(']');
    let port = uri.port_u16().unwrap_or(if encrypted { 443 } else { 80 });
    let stream = TcpStream::connect((host, port)).await?;
    if !encrypted {
        return exchange(stream, uri).await;
    }
    let name = ServerName::try_from(host.to_owned()).map_err(|error| SourceError::Http(error.to_string()))?;
    exchange(connector().await?.connect(name, stream).await?, uri).await
}

/// Trusts whom this machine trusts.
async fn connector() -> Result<TlsConnector, SourceError> {
    let found = tokio::task::spawn_blocking(rustls_native_certs::load_native_certs);
    let found = found.await.map_err(|error| SourceError::Http(error.to_string()))?;
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(found.certs);
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| SourceError::Http(error.to_string()))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(TlsConnector::from(Arc::new(config)))
}

async fn exchange<S>(stream: S, uri: &Uri) -> Result<Vec<u8>, SourceError>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let http = |error: hyper::Error| SourceError::Http(error.to_string());
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(http)?;
    let asked = async {
        let answer = sender.send_request(request(uri)).await.map_err(http)?;
        if answer.status() != StatusCode::OK {
            return Err(SourceError::Status(answer.status()));
        }
        // What is longer fails half-way.
        let bytes = to_bytes(Body::new(answer.into_body()), BYTES_MAX).await;
        bytes.map(|bytes| bytes.to_vec()).map_err(|_| SourceError::TooLarge)
    };
    let (mut asked, mut connection) = (pin!(asked), pin!(connection));
    let mut open = true;
    loop {
        tokio::select! { biased;
            answer = &mut asked => return answer,
            // It may end before all of the answer is taken.
            _ = &mut connection, if open => open = false,
        }
    }
}

fn request(uri: &Uri) -> Request<Body> {
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    let host = uri.authority().map_or("", |authority| authority.as_str());
    Request::get(path)
        .header(HOST, host)
        .header(ACCEPT, "application/json")
        .header(USER_AGENT, concat!("raidhall/", env!("CARGO_PKG_VERSION")))
        .body(Body::empty())
        .expect("a parsed URL makes a request")
}

fn is_loopback(host: &str) -> bool {
    let ip = host.trim_start_matches('[').trim_end_matches(']').parse::<std::net::IpAddr>();
    host == "localhost" || ip.is_ok_and(|ip| ip.is_loopback())
}
