//! Outbound HTTP: webhooks, issuers' keys and traces.
//!
//! Requests follow no redirect and use no proxy from the environment: they go where the
//! configuration says. Connections are reused. Bodies are bounded; timeouts are the caller's.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use axum::http::{Request, Response, Uri};
use bytes::{Bytes, BytesMut};
use reqwest::Client;
use reqwest::redirect::Policy;
use thiserror::Error;
use tokio::sync::OnceCell;
use tokio::time::timeout;

use crate::redact::redact_http_url;

/// Bytes of a body that are read only to reuse the connection.
const DISCARDED_BYTES_MAX: usize = 16 * 1_024;
/// Longest time to wait for a body that is discarded.
const DISCARD_TIMEOUT: Duration = Duration::from_secs(1);
/// Time after which an idle connection is closed. Shorter than the 5 s after which Node's server
/// closes one: a request sent at that moment would fail.
const IDLE_TIMEOUT: Duration = Duration::from_secs(4);

/// URL of an outbound request: `https://…` or `http://…`, without credentials.
#[derive(Clone, PartialEq, Eq)]
pub struct HttpUrl(Uri);

/// Redacts what may be a credential in the query.
impl fmt::Debug for HttpUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", redact_http_url(&self.0.to_string()))
    }
}

/// Cause of a missing response.
#[derive(Debug, Error)]
pub enum HttpRequestError {
    /// No connection to the server could be opened.
    #[error("cannot be reached: {0}")]
    Connect(String),
    /// The connection broke, or the other end did not answer in HTTP.
    #[error("the HTTP exchange failed: {0}")]
    Http(String),
    /// The body exceeds the limit.
    #[error("answered with more than {0} bytes")]
    TooLarge(usize),
}

impl From<reqwest::Error> for HttpRequestError {
    /// Keeps the innermost cause. The outer ones repeat the URL, which may hold a credential in its
    /// query.
    fn from(error: reqwest::Error) -> Self {
        let mut cause: &dyn std::error::Error = &error;
        while let Some(inner) = cause.source() {
            cause = inner;
        }
        let text = cause.to_string();
        if error.is_connect() {
            Self::Connect(text)
        } else {
            Self::Http(text)
        }
    }
}

impl FromStr for HttpUrl {
    type Err = &'static str;

    /// Parses any URL, encrypted or not.
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
    /// Parses a URL for data that must stay confidential: `https://`, or a loopback address.
    ///
    /// # Errors
    ///
    /// Says what is wrong with the text, in words that follow the name of the field.
    pub fn parse_confidential(text: &str) -> Result<HttpUrl, &'static str> {
        let url: HttpUrl = text.parse()?;
        if url.is_encrypted() || url.0.host().is_some_and(is_loopback) {
            return Ok(url);
        }
        Err(
            "must be https://, or http:// to 127.0.0.1, [::1] or localhost: otherwise it could be read and \
             changed on the way",
        )
    }

    /// Returns the URL as it was written.
    pub const fn uri(&self) -> &Uri {
        &self.0
    }

    fn is_encrypted(&self) -> bool {
        self.0.scheme_str() == Some("https")
    }
}

/// Sends a request and reads the response, whose body may have `bytes_max` bytes.
///
/// # Errors
///
/// See [`HttpRequestError`]. The other end may have carried out the request all the same.
pub async fn send(
    request: Request<Bytes>,
    bytes_max: usize,
) -> Result<Response<Bytes>, HttpRequestError> {
    let mut response = execute(request).await?;
    let mut body = BytesMut::new();
    while let Some(chunk) = response.chunk().await? {
        if body.len() + chunk.len() > bytes_max {
            return Err(HttpRequestError::TooLarge(bytes_max));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(response_with_body(&mut response, body.freeze()))
}

/// Sends a request and reads only the response's status and headers. A short body is discarded, so
/// that the connection serves the next request; what is longer or slower closes it.
///
/// # Errors
///
/// As [`send`].
pub async fn send_discarding_body(
    request: Request<Bytes>,
) -> Result<Response<()>, HttpRequestError> {
    let mut response = execute(request).await?;
    let mut left = DISCARDED_BYTES_MAX;
    let discard = async {
        while let Ok(Some(chunk)) = response.chunk().await
            && chunk.len() <= left
        {
            left -= chunk.len();
        }
    };
    let _ = timeout(DISCARD_TIMEOUT, discard).await;
    Ok(response_with_body(&mut response, ()))
}

async fn execute(request: Request<Bytes>) -> Result<reqwest::Response, HttpRequestError> {
    let client = CLIENT.get_or_try_init(build_client).await?;
    Ok(client.execute(request.try_into()?).await?)
}

fn response_with_body<B>(response: &mut reqwest::Response, body: B) -> Response<B> {
    let mut with_body = Response::new(body);
    *with_body.status_mut() = response.status();
    *with_body.headers_mut() = std::mem::take(response.headers_mut());
    with_body
}

/// The process's client. A failure to build it is not kept, so certificates that are installed
/// later are found.
static CLIENT: OnceCell<Client> = OnceCell::const_new();

/// Builds the client off the runtime's threads: it reads the machine's certificate authorities from
/// disk.
async fn build_client() -> Result<Client, HttpRequestError> {
    let build = || {
        Client::builder()
            .user_agent(concat!("raidhall/", env!("CARGO_PKG_VERSION")))
            .redirect(Policy::none())
            .no_proxy()
            .pool_idle_timeout(IDLE_TIMEOUT)
            .build()
    };
    tokio::task::spawn_blocking(build)
        .await
        .map_err(|error| HttpRequestError::Http(error.to_string()))?
        .map_err(HttpRequestError::from)
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
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;
    use tokio_util::task::TaskTracker;

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

    /// A server that answers every request with `response`, and the number of connections it has
    /// accepted.
    async fn serve(response: &'static str) -> (Uri, Arc<AtomicUsize>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("bound");
        let uri = format!("http://{}/x", listener.local_addr().expect("an address"));
        let accepted = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&accepted);
        let tasks = TaskTracker::new();
        tasks.clone().spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                count.fetch_add(1, Ordering::Relaxed);
                tasks.spawn(async move {
                    let mut request = [0; 4_096];
                    while stream.read(&mut request).await.is_ok_and(|read| read > 0) {
                        stream.write_all(response.as_bytes()).await.expect("sent");
                    }
                });
            }
        });
        (uri.parse().expect("a URI"), accepted)
    }

    fn request(uri: &Uri) -> Request<Bytes> {
        let request = Request::post(uri.clone()).body(Bytes::from_static(b"{}"));
        request.expect("a request")
    }

    #[tokio::test]
    async fn two_requests_in_a_row_share_a_connection() {
        let (uri, accepted) = serve("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await;

        send_discarding_body(request(&uri))
            .await
            .expect("a response");
        let response = send(request(&uri), 2).await.expect("a response");

        assert_eq!(response.body(), "ok");
        assert_eq!(accepted.load(Ordering::Relaxed), 1);
    }

    #[tokio::test]
    async fn a_redirect_is_not_followed() {
        let (target, accepted) = serve("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await;
        let redirect =
            format!("HTTP/1.1 302 Found\r\nlocation: {target}\r\ncontent-length: 0\r\n\r\n");
        let (uri, _) = serve(redirect.leak()).await;

        let response = send(request(&uri), 100).await.expect("a response");

        assert_eq!(response.status(), 302);
        assert_eq!(accepted.load(Ordering::Relaxed), 0);
    }

    #[tokio::test]
    async fn a_body_above_the_limit_is_an_error() {
        let (uri, _) = serve("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello").await;

        let error = send(request(&uri), 4).await.expect_err("too large");

        assert_eq!(error.to_string(), "answered with more than 4 bytes");
    }

    #[tokio::test]
    async fn a_discarded_body_that_never_ends_does_not_delay_the_response() {
        let (uri, _) = serve("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhel").await;

        let response = send_discarding_body(request(&uri)).await;

        assert_eq!(response.expect("a response").status(), 200);
    }

    #[tokio::test]
    async fn an_unreachable_server_is_named_by_its_cause_without_the_url() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("bound");
        let address = listener.local_addr().expect("an address");
        drop(listener);
        let uri = format!("http://{address}/?key=secret")
            .parse()
            .expect("a URI");

        let error = send(request(&uri), 4).await.expect_err("refused");

        assert_eq!(
            error.to_string(),
            "cannot be reached: Connection refused (os error 111)"
        );
    }
}
