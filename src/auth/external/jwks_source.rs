//! Having a document from a file or over HTTP, bounded in size and time.

use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use axum::body::Body;
use axum::http::header::ACCEPT;
use axum::http::{Request, StatusCode};
use thiserror::Error;
use tokio::io::AsyncReadExt;
use tokio::time::timeout;

use crate::http_client::{HttpRequestError, HttpUrl};

const JWKS_BYTES_MAX: usize = 256 * 1024;
const FETCH_TIMEOUT: Duration = Duration::from_secs(5);

/// Where a document is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum JwksSource {
    /// Somebody to ask for it.
    Url(HttpUrl),
    /// A file.
    File(PathBuf),
}

/// Why it was not had.
#[derive(Debug, Error)]
pub(super) enum JwksFetchError {
    /// The file failed.
    #[error("cannot be read: {0}")]
    Io(#[from] std::io::Error),
    /// Whoever has it did not answer.
    #[error(transparent)]
    Http(#[from] HttpRequestError),
    /// They answered something else.
    #[error("answered with {0}")]
    Status(StatusCode),
    /// There is too much of it.
    #[error("has more than {JWKS_BYTES_MAX} bytes")]
    TooLarge,
    /// It took too long.
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
    /// The document.
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
    let mut request = Request::new(Body::empty());
    request.headers_mut().insert(
        ACCEPT,
        axum::http::HeaderValue::from_static("application/json"),
    );
    let answer = url
        .send(request, Some(JWKS_BYTES_MAX))
        .await
        .map_err(|error| match error {
            HttpRequestError::TooLarge(_) => JwksFetchError::TooLarge,
            error => error.into(),
        })?;
    if answer.status == StatusCode::OK {
        Ok(answer.body)
    } else {
        Err(JwksFetchError::Status(answer.status))
    }
}
