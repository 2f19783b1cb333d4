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

use crate::net::http_client::{AskError, HttpUrl};

const BYTES_MAX: usize = 256 * 1024;
const PATIENCE: Duration = Duration::from_secs(5);

/// Where a document is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// Somebody to ask for it.
    Url(HttpUrl),
    /// A file.
    File(PathBuf),
}

/// Why it was not had.
#[derive(Debug, Error)]
pub(super) enum SourceError {
    /// The file failed.
    #[error("cannot be read: {0}")]
    Io(#[from] std::io::Error),
    /// Whoever has it did not answer.
    #[error(transparent)]
    Ask(#[from] AskError),
    /// They answered something else.
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
        match text {
            "" => Err("is empty"),
            url if url.contains("://") => Ok(Source::Url(HttpUrl::confidential(url)?)),
            path => Ok(Source::File(path.into())),
        }
    }
}

impl Source {
    /// The document.
    pub(super) async fn fetch(&self) -> Result<Vec<u8>, SourceError> {
        let fetched = timeout(PATIENCE, async {
            match self {
                Source::File(path) => read(tokio::fs::File::open(path).await?).await,
                Source::Url(url) => get(url).await,
            }
        });
        fetched.await.unwrap_or(Err(SourceError::Late))
    }
}

async fn read(file: tokio::fs::File) -> Result<Vec<u8>, SourceError> {
    let mut bytes = Vec::new();
    file.take(BYTES_MAX as u64 + 1)
        .read_to_end(&mut bytes)
        .await?;
    if bytes.len() > BYTES_MAX {
        Err(SourceError::TooLarge)
    } else {
        Ok(bytes)
    }
}

async fn get(url: &HttpUrl) -> Result<Vec<u8>, SourceError> {
    let mut request = Request::new(Body::empty());
    request.headers_mut().insert(
        ACCEPT,
        axum::http::HeaderValue::from_static("application/json"),
    );
    let answer = url
        .ask(request, Some(BYTES_MAX))
        .await
        .map_err(|error| match error {
            AskError::TooLarge(_) => SourceError::TooLarge,
            error => error.into(),
        })?;
    if answer.status == StatusCode::OK {
        Ok(answer.body)
    } else {
        Err(SourceError::Status(answer.status))
    }
}
