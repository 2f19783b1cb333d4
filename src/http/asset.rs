//! Files that are in the binary: served with an `ETag`, so that a browser that has one asks whether it changed, and no more.

use axum::Router;
use axum::http::header::{CACHE_CONTROL, CONTENT_ENCODING, CONTENT_TYPE, ETAG, IF_NONE_MATCH};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use data_encoding::HEXLOWER;
use sha2::{Digest, Sha256};
use std::sync::Arc;

pub(super) struct Asset {
    body: &'static [u8],
    /// Of every answer.
    headers: HeaderMap,
    /// Of the answers that have the body.
    kind: &'static str,
    gzip: bool,
}

impl Asset {
    /// A file of a media type.
    pub(super) fn new(kind: &'static str, body: &'static [u8]) -> Asset {
        let etag = format!("\"{}\"", &HEXLOWER.encode(&Sha256::digest(body))[..32]);
        let mut headers = HeaderMap::new();
        headers.insert(ETAG, HeaderValue::try_from(etag).expect("a hash is plain text"));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
        Asset { body, headers, kind, gzip: false }
    }

    /// The same for a body that is compressed already. Every browser takes it.
    pub(super) fn compressed(kind: &'static str, body: &'static [u8]) -> Asset {
        Asset { gzip: true, ..Asset::new(kind, body) }
    }

    /// With another header.
    pub(super) fn with(mut self, name: HeaderName, value: HeaderValue) -> Asset {
        self.headers.insert(name, value);
        self
    }

    /// Served at this path.
    pub(super) fn at(self, path: &str) -> Router {
        let asset = Arc::new(self);
        Router::new().route(path, get(async move |asked: HeaderMap| asset.answer(&asked)))
    }

    fn answer(&self, asked: &HeaderMap) -> Response {
        let known = asked.get_all(IF_NONE_MATCH).iter().filter_map(|line| line.to_str().ok());
        let same = |tag: &str| tag.trim().trim_start_matches("W/") == self.headers[ETAG];
        let headers = self.headers.clone();
        if known.flat_map(|line| line.split(',')).any(same) {
            return (StatusCode::NOT_MODIFIED, headers).into_response();
        }
        let mut response = (headers, [(CONTENT_TYPE, self.kind)], self.body).into_response();
        if self.gzip {
            response.headers_mut().insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        }
        response
    }
}
