//! Asking others over HTTP: one request, no redirect, an answer of bounded size. How long it may take is the caller's to
//! say.

use std::fmt;
use std::pin::pin;
use std::str::FromStr;
use std::sync::Arc;

use axum::body::{Body, to_bytes};
use axum::http::header::{HOST, USER_AGENT};
use axum::http::{HeaderMap, HeaderValue, Request, StatusCode, Uri};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::OnceCell;
use tokio_rustls::TlsConnector;

use crate::redact::redact_url;

/// Where somebody is asked: `https://…` or `http://…`, without credentials.
#[derive(Clone, PartialEq, Eq)]
pub struct HttpUrl(Uri);

/// Without what may be a credential in the query.
impl fmt::Debug for HttpUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", redact_url(&self.0.to_string()))
    }
}

/// What was answered.
#[derive(Debug)]
pub struct HttpResponse {
    /// Whether it was to their liking.
    pub status: StatusCode,
    /// What they say besides.
    pub headers: HeaderMap,
    /// What they say.
    pub body: Vec<u8>,
}

/// Why there is no answer.
#[derive(Debug, Error)]
pub enum HttpRequestError {
    /// The connection failed.
    #[error("cannot be reached: {0}")]
    Io(#[from] std::io::Error),
    /// The other end does not speak HTTP as we do.
    #[error("the HTTP exchange failed: {0}")]
    Http(String),
    /// There is too much of it.
    #[error("answered with more than {0} bytes")]
    TooLarge(usize),
}

impl FromStr for HttpUrl {
    type Err = &'static str;

    /// Anybody, encrypted or not: for what is no secret.
    fn from_str(text: &str) -> Result<HttpUrl, Self::Err> {
        let uri = Uri::from_str(text).map_err(|_| "is not a URL")?;
        let authority = uri.authority().ok_or("has no host")?;
        if authority.as_str().contains('@') {
            return Err("must not hold credentials");
        }
        match uri.scheme_str() {
            Some("https" | "http") => Ok(HttpUrl(uri)),
            _ => Err("must be https://… or http://…"),
        }
    }
}

impl HttpUrl {
    /// Encrypted, or this very machine: for what nobody in between may read or change.
    ///
    /// # Errors
    ///
    /// What is wrong with the text, in words that follow the name of what it is.
    pub fn parse_confidential(text: &str) -> Result<HttpUrl, &'static str> {
        let url: HttpUrl = text.parse()?;
        if url.is_encrypted() || url.0.host().is_some_and(is_loopback) {
            return Ok(url);
        }
        Err(
            "must be https://, or http:// to 127.0.0.1, [::1] or localhost: whoever is in between could read it and \
             change it",
        )
    }

    /// As it was written.
    pub const fn uri(&self) -> &Uri {
        &self.0
    }

    /// Sends a request there and takes the answer, if it has no more than so many bytes; with none the body is not waited
    /// for, whatever it is. The request's own path and host are replaced.
    ///
    /// # Errors
    ///
    /// See [`HttpRequestError`]. Whoever was asked may have understood all the same.
    pub async fn send(
        &self,
        mut request: Request<Body>,
        bytes_max: Option<usize>,
    ) -> Result<HttpResponse, HttpRequestError> {
        let (HttpUrl(uri), encrypted) = (self, self.is_encrypted());
        let path = uri.path_and_query().map_or("/", |path| path.as_str());
        *request.uri_mut() = path
            .parse()
            .map_err(|error| HttpRequestError::Http(format!("{error}")))?;
        let host =
            HeaderValue::from_str(uri.authority().map_or("", |authority| authority.as_str()));
        request.headers_mut().insert(
            HOST,
            host.map_err(|error| HttpRequestError::Http(error.to_string()))?,
        );
        let agent = HeaderValue::from_static(concat!("raidhall/", env!("CARGO_PKG_VERSION")));
        request.headers_mut().insert(USER_AGENT, agent);
        let host = uri
            .host()
            .unwrap_or_default()
            .trim_start_matches('[')
            .trim_end_matches(']');
        let port = uri.port_u16().unwrap_or(if encrypted { 443 } else { 80 });
        let stream = TcpStream::connect((host, port)).await?;
        if !encrypted {
            return exchange(stream, request, bytes_max).await;
        }
        let name = ServerName::try_from(host.to_owned())
            .map_err(|error| HttpRequestError::Http(error.to_string()))?;
        exchange(
            tls_connector().await?.connect(name, stream).await?,
            request,
            bytes_max,
        )
        .await
    }

    fn is_encrypted(&self) -> bool {
        self.0.scheme_str() == Some("https")
    }
}

/// Trusts whom this machine trusted when it was first asked.
async fn tls_connector() -> Result<&'static TlsConnector, HttpRequestError> {
    static CONNECTOR: OnceCell<TlsConnector> = OnceCell::const_new();
    let make = || async {
        let found = tokio::task::spawn_blocking(rustls_native_certs::load_native_certs);
        let found = found
            .await
            .map_err(|error| HttpRequestError::Http(error.to_string()))?;
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(found.certs);
        if roots.is_empty() {
            // Not kept: the next one who asks looks again.
            return Err(HttpRequestError::Http(format!(
                "no certificates of authorities are found: {:?}",
                found.errors
            )));
        }
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| HttpRequestError::Http(error.to_string()))?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(TlsConnector::from(Arc::new(config)))
    };
    CONNECTOR.get_or_try_init(make).await
}

async fn exchange<S>(
    stream: S,
    request: Request<Body>,
    bytes_max: Option<usize>,
) -> Result<HttpResponse, HttpRequestError>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let http = |error: hyper::Error| HttpRequestError::Http(error.to_string());
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(http)?;
    let asked = async {
        let (head, body) = sender
            .send_request(request)
            .await
            .map_err(http)?
            .into_parts();
        // What is longer fails half-way.
        let body = match bytes_max {
            Some(max) => to_bytes(Body::new(body), max)
                .await
                .map_err(|_| HttpRequestError::TooLarge(max))?
                .to_vec(),
            None => Vec::new(),
        };
        Ok(HttpResponse {
            status: head.status,
            headers: head.headers,
            body,
        })
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

fn is_loopback(host: &str) -> bool {
    let ip = host
        .trim_start_matches('[')
        .trim_end_matches(']')
        .parse::<std::net::IpAddr>();
    host == "localhost" || ip.is_ok_and(|ip| ip.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn confidential_urls_must_be_https_or_loopback() {
        for url in [
            "https://a.example/x",
            "http://127.0.0.1:9/",
            "http://[::1]:9",
            "http://localhost/?a=b",
        ] {
            assert!(
                HttpUrl::parse_confidential(url).is_ok() && url.parse::<HttpUrl>().is_ok(),
                "{url}"
            );
        }
        for url in [
            "http://a.example/x",
            "http://10.0.0.1",
            "http://localhost.example",
        ] {
            assert!(
                HttpUrl::parse_confidential(url).is_err() && url.parse::<HttpUrl>().is_ok(),
                "{url}"
            );
        }
        for url in [
            "",
            "/x",
            "a.example:80",
            "ftp://a.example",
            "https://me:pass@a.example",
            "https://me@[::1]",
        ] {
            assert!(
                HttpUrl::parse_confidential(url).is_err() && url.parse::<HttpUrl>().is_err(),
                "{url}"
            );
        }
    }
}
