//! Static files inside the binary. Each is served with an `ETag`, so that a browser only
//! revalidates a file that it has, and is compressed at build time, so that serving it only copies
//! bytes.

use std::sync::Arc;

use axum::Router;
use axum::http::header::{
    ACCEPT_ENCODING, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG,
    IF_NONE_MATCH, REFERRER_POLICY, VARY,
};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use data_encoding::HEXLOWER;
use sha2::{Digest, Sha256};

use super::header_list::header_list_items;

pub(super) const CSS: &str = "text/css; charset=utf-8";
pub(super) const HTML: &str = "text/html; charset=utf-8";
pub(super) const JAVASCRIPT: &str = "text/javascript; charset=utf-8";

/// The content encodings of a body, the smallest first.
const ENCODINGS: [&str; 3] = ["br", "gzip", IDENTITY];
const IDENTITY: &str = "identity";

#[derive(Clone)]
pub(super) struct StaticFile {
    /// The content in each available encoding, in the order of [`ENCODINGS`].
    bodies: Vec<EncodedBody>,
    /// The headers of every response, 304 included.
    headers: HeaderMap,
    /// The media type, sent with responses that have a body.
    content_type: &'static str,
}

#[derive(Clone)]
struct EncodedBody {
    encoding: &'static str,
    bytes: &'static [u8],
    etag: HeaderValue,
}

impl StaticFile {
    /// Creates a file of a media type from its uncompressed content.
    pub(super) fn new(kind: &'static str, body: &'static [u8]) -> StaticFile {
        StaticFile::empty(kind).with_encoding(IDENTITY, Some(body))
    }

    /// Creates a file that exists only as gzip, which every browser accepts.
    pub(super) fn gzipped(kind: &'static str, body: &'static [u8]) -> StaticFile {
        StaticFile::empty(kind).with_encoding("gzip", Some(body))
    }

    fn empty(content_type: &'static str) -> StaticFile {
        let headers = HeaderMap::from_iter([(CACHE_CONTROL, HeaderValue::from_static("no-cache"))]);
        StaticFile {
            bodies: Vec::new(),
            headers,
            content_type,
        }
    }

    /// Adds the same content in another encoding, if there is one.
    pub(super) fn with_encoding(
        mut self,
        encoding: &'static str,
        body: Option<&'static [u8]>,
    ) -> StaticFile {
        self.bodies.extend(body.map(|bytes| {
            let etag = format!("\"{}\"", &HEXLOWER.encode(&Sha256::digest(bytes))[..32]);
            EncodedBody {
                encoding,
                bytes,
                etag: HeaderValue::try_from(etag).expect("a hash is plain text"),
            }
        }));
        self.bodies.sort_by_key(|body| {
            ENCODINGS
                .iter()
                .position(|&encoding| encoding == body.encoding)
        });
        if self.bodies.len() > 1 {
            self.headers
                .insert(VARY, HeaderValue::from_static("accept-encoding"));
        }
        self
    }

    /// Adds the security headers of a page: its content security policy, and no `Referer` to other
    /// servers.
    pub(super) fn with_page_policy(self, content_security_policy: HeaderValue) -> StaticFile {
        self.with_header(CONTENT_SECURITY_POLICY, content_security_policy)
            .with_header(REFERRER_POLICY, HeaderValue::from_static("no-referrer"))
    }

    /// Adds a header to every response.
    pub(super) fn with_header(mut self, name: HeaderName, value: HeaderValue) -> StaticFile {
        self.headers.insert(name, value);
        self
    }

    /// Returns a router that serves the file at `path`.
    pub(super) fn into_router(self, path: &str) -> Router {
        let file = Arc::new(self);
        Router::new().route(
            path,
            get(async move |headers: HeaderMap| file.respond(&headers)),
        )
    }

    pub(super) fn respond(&self, request_headers: &HeaderMap) -> Response {
        let EncodedBody {
            encoding,
            bytes,
            etag,
        } = self.select_body(request_headers);
        let mut headers = self.headers.clone();
        headers.insert(ETAG, etag.clone());
        let known_etags = header_list_items(request_headers, &IF_NONE_MATCH);
        if known_etags
            .map(|tag| tag.trim_start_matches("W/"))
            .any(|tag| *etag == tag)
        {
            return (StatusCode::NOT_MODIFIED, headers).into_response();
        }
        if *encoding != IDENTITY {
            headers.insert(CONTENT_ENCODING, HeaderValue::from_static(encoding));
        }
        (headers, [(CONTENT_TYPE, self.content_type)], *bytes).into_response()
    }

    /// Returns the smallest body that the client accepts, or the last one if it accepts none.
    fn select_body(&self, request_headers: &HeaderMap) -> &EncodedBody {
        let accepts = |body: &&EncodedBody| {
            header_list_items(request_headers, &ACCEPT_ENCODING).any(|offer| {
                let (name, quality) = offer.split_once(';').unwrap_or((offer, ""));
                name.trim().eq_ignore_ascii_case(body.encoding)
                    && !matches!(quality.trim(), "q=0" | "q=0.0" | "q=0.00" | "q=0.000")
            })
        };
        let smallest = self.bodies.iter().find(accepts).or(self.bodies.last());
        smallest.expect("a static file has a body")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn respond_to(asset: &StaticFile, accept: &'static str) -> (String, HeaderMap) {
        let asked = HeaderMap::from_iter([(ACCEPT_ENCODING, HeaderValue::from_static(accept))]);
        let headers = asset.respond(&asked).headers().clone();
        let encoding = headers
            .get(CONTENT_ENCODING)
            .map_or("identity", |name| name.to_str().expect("text"));
        (encoding.to_owned(), headers)
    }

    #[test]
    fn the_smallest_accepted_encoding_is_sent() {
        let asset = StaticFile::new("text/plain", b"raw")
            .with_encoding("gzip", Some(b"gz"))
            .with_encoding("br", Some(b"br"));
        for (accept, expected) in [
            ("gzip, deflate, br, zstd", "br"),
            ("gzip;q=1.0, deflate", "gzip"),
            ("br;q=0, GZIP", "gzip"),
            ("", "identity"),
            ("identity;q=0.5, *;q=0", "identity"),
        ] {
            let (encoding, headers) = respond_to(&asset, accept);
            assert_eq!(
                (encoding.as_str(), headers[VARY].as_bytes()),
                (expected, &b"accept-encoding"[..]),
                "{accept}"
            );
        }
        assert_eq!(
            respond_to(&StaticFile::gzipped("text/plain", b"gz"), "").0,
            "gzip"
        );
    }

    #[test]
    fn each_encoding_has_its_own_etag() {
        let asset = StaticFile::new("text/plain", b"raw").with_encoding("br", Some(b"br"));
        let raw = respond_to(&asset, "").1[ETAG].clone();
        let br = respond_to(&asset, "br").1[ETAG].clone();
        assert_ne!(raw, br);
        let ask = |accept, tag: &HeaderValue| {
            let accept = (ACCEPT_ENCODING, HeaderValue::from_static(accept));
            asset
                .respond(&HeaderMap::from_iter([
                    accept,
                    (IF_NONE_MATCH, tag.clone()),
                ]))
                .status()
        };
        assert_eq!(ask("br", &br), StatusCode::NOT_MODIFIED);
        assert_eq!(ask("br", &raw), StatusCode::OK);
    }

    #[test]
    fn a_known_etag_is_found_in_a_list_even_if_marked_weak() {
        let asset = StaticFile::new("text/plain", b"raw");
        let etag = respond_to(&asset, "").1[ETAG].clone();
        let etag = etag.to_str().expect("text");
        let status = |known: String| {
            let known = HeaderValue::try_from(known).expect("a header");
            let asked = HeaderMap::from_iter([(IF_NONE_MATCH, known)]);
            asset.respond(&asked).status()
        };
        assert_eq!(
            status(format!("\"a,b\", , W/{etag}")),
            StatusCode::NOT_MODIFIED
        );
        assert_eq!(status("\"a,b\", ,".to_owned()), StatusCode::OK);
    }
}
