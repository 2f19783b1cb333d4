//! An issuer's keys, read from a file or over HTTP, bounded in size and time.

use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use axum::body::Bytes;
use axum::http::header::ACCEPT;
use axum::http::{HeaderValue, Request, StatusCode};
use thiserror::Error;
use tokio::io::AsyncReadExt;
use tokio::time::timeout;

use crate::http_client::{self, HttpRequestError, HttpUrl};

const JWKS_BYTES_MAX: usize = 256 * 1024;
const FETCH_TIMEOUT: Duration = Duration::from_secs(5);

/// Location of an issuer's keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum JwksSource {
    /// The keys are fetched over HTTP.
    Url(HttpUrl),
    /// The keys are read from a file.
    File(PathBuf),
}

/// Cause of a failed fetch.
#[derive(Debug, Error)]
pub(super) enum JwksFetchError {
    /// The file cannot be read.
    #[error("cannot be read: {0}")]
    Io(#[from] std::io::Error),
    /// The server could not be reached or did not answer.
    #[error(transparent)]
    Http(#[from] HttpRequestError),
    /// The server answered with another status than 200.
    #[error("answered with {0}")]
    Status(StatusCode),
    /// The document exceeds the limit.
    #[error("has more than {JWKS_BYTES_MAX} bytes")]
    TooLarge,
    /// The document did not arrive in time.
    #[error("did not come within {} s", FETCH_TIMEOUT.as_secs())]
    TimedOut,
}

impl FromStr for JwksSource {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<JwksSource, Self::Err> {
        match text {
            "" => Err("is empty"),
            url if url.contains("://") => Ok(JwksSource::Url(HttpUrl::parse_confidential(url)?)),
            path => Ok(JwksSource::File(path.into())),
        }
    }
}

impl JwksSource {
    /// Reads the whole document, at most [`JWKS_BYTES_MAX`] bytes within [`FETCH_TIMEOUT`].
    pub(super) async fn fetch(&self) -> Result<Vec<u8>, JwksFetchError> {
        let fetched = timeout(FETCH_TIMEOUT, async {
            match self {
                JwksSource::File(path) => read_file(tokio::fs::File::open(path).await?).await,
                JwksSource::Url(url) => fetch_url(url).await,
            }
        });
        fetched.await.unwrap_or(Err(JwksFetchError::TimedOut))
    }
}

async fn read_file(file: tokio::fs::File) -> Result<Vec<u8>, JwksFetchError> {
    let mut bytes = Vec::new();
    file.take(JWKS_BYTES_MAX as u64 + 1)
        .read_to_end(&mut bytes)
        .await?;
    if bytes.len() > JWKS_BYTES_MAX {
        Err(JwksFetchError::TooLarge)
    } else {
        Ok(bytes)
    }
}

async fn fetch_url(url: &HttpUrl) -> Result<Vec<u8>, JwksFetchError> {
    let mut request = Request::new(Bytes::new());
    *request.uri_mut() = url.uri().clone();
    let json = HeaderValue::from_static("application/json");
    request.headers_mut().insert(ACCEPT, json);
    let response =
        http_client::send(request, JWKS_BYTES_MAX)
            .await
            .map_err(|error| match error {
                HttpRequestError::TooLarge(_) => JwksFetchError::TooLarge,
                error => error.into(),
            })?;
    if response.status() == StatusCode::OK {
        Ok(response.into_body().into())
    } else {
        Err(JwksFetchError::Status(response.status()))
    }
}
