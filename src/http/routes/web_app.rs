//! The web app (`clients/web`), served from this binary. A binary that was built without the app
//! says so at `/`. An invite link, `/i/{code}`, opens the app, too, without a lookup of the code. So
//! does an unknown path in a browser; there the app says that there is no such page.

use std::collections::HashMap;
use std::sync::Arc;

use axum::Router;
use axum::extract::{Path, Request};
use axum::http::header::{ACCEPT, CACHE_CONTROL, IF_NONE_MATCH};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, get};

use crate::error::Error;
use crate::http::error_response::ErrorResponse;
use crate::http::header_list::header_list_items;
use crate::http::static_files::{CSS, HTML, JAVASCRIPT, StaticFile};

/// A file of the app: its path on this server and its content, also compressed if that is smaller.
struct File {
    path: &'static str,
    raw: &'static [u8],
    brotli: Option<&'static [u8]>,
    gzip: Option<&'static [u8]>,
}

/// The files of the app; empty if the binary was built without it.
static FILES: &[File] = include!(concat!(env!("OUT_DIR"), "/web_app.rs"));

/// The folder of files whose names contain a hash of their content, so that they never change.
const HASHED_DIR: &str = "/assets/";

const X_ROBOTS_TAG: HeaderName = HeaderName::from_static("x-robots-tag");

/// The folder of the API, whose errors are always JSON.
const API_DIR: &str = "/api/";

/// Returns the routes of the app, and the fallback for all paths that have no route. The app's page
/// may open WebSockets to the origin of `ws_url` besides its own.
pub(in crate::http) fn routes(ws_url: &str) -> Router {
    app_routes(FILES, ws_url)
}

fn app_routes(files: &'static [File], ws_url: &str) -> Router {
    let policy =
        HeaderValue::try_from(content_security_policy(ws_url)).expect("a URL is plain text");
    let (hashed, others): (Vec<_>, Vec<_>) = files
        .iter()
        .partition(|file| file.path.starts_with(HASHED_DIR));
    let (indexes, others): (Vec<_>, Vec<_>) = others
        .into_iter()
        .partition(|file| file.path == "/index.html");
    let page = match indexes.first() {
        Some(index) => static_file(index),
        None => StaticFile::new(HTML, include_bytes!("../../page/no-app.html")),
    };
    let page = page.with_page_policy(policy);
    let others = others
        .into_iter()
        .map(|file| static_file(file).into_router(file.path))
        .fold(page.clone().into_router("/"), Router::merge);
    // Search engines must not list invites. They must be able to read the page that says so.
    let invite_page = page
        .clone()
        .with_header(X_ROBOTS_TAG, HeaderValue::from_static("noindex"));
    others
        .merge(invite_page.into_router("/i/{code}"))
        .route("/assets/{name}", immutable_files(&hashed))
        .fallback(async move |request: Request| respond_not_found(&page, &request))
}

/// Returns the 404: the app's page if a browser navigates to the path, and JSON otherwise.
fn respond_not_found(page: &StaticFile, request: &Request) -> Response {
    let mut media_types = header_list_items(request.headers(), &ACCEPT);
    let navigates = media_types.any(|item| item.split(';').next() == Some("text/html"));
    if !navigates || request.uri().path().starts_with(API_DIR) {
        return ErrorResponse::from(Error::NotFound("There is nothing at this path"))
            .into_response();
    }
    let mut headers = request.headers().clone();
    headers.remove(IF_NONE_MATCH);
    (StatusCode::NOT_FOUND, page.respond(&headers)).into_response()
}

fn immutable_files(files: &[&File]) -> MethodRouter {
    let immutable = HeaderValue::from_static("public, max-age=31536000, immutable");
    let files = files.iter().map(|file| {
        let name = file.path.strip_prefix(HASHED_DIR).unwrap_or(file.path);
        (
            name,
            static_file(file).with_header(CACHE_CONTROL, immutable.clone()),
        )
    });
    let files: Arc<HashMap<_, _>> = Arc::new(files.collect());
    get(
        async move |Path(name): Path<String>, headers: HeaderMap| -> Response {
            match files.get(name.as_str()) {
                Some(file) => file.respond(&headers),
                // The page that requests it is of another release.
                None => {
                    ErrorResponse::from(Error::NotFound("This release of the app has no such file"))
                        .into_response()
                }
            }
        },
    )
}

fn static_file(file: &File) -> StaticFile {
    StaticFile::new(media_type(file.path), file.raw)
        .with_encoding("br", file.brotli)
        .with_encoding("gzip", file.gzip)
}

fn media_type(path: &str) -> &'static str {
    match path.rsplit('.').next() {
        Some("html") => HTML,
        Some("js") => JAVASCRIPT,
        Some("css") => CSS,
        Some("svg") => "image/svg+xml",
        Some("png") => "image/png",
        Some("woff2") => "font/woff2",
        Some("webmanifest") => "application/manifest+json",
        Some("txt") => "text/plain; charset=utf-8",
        _ => "application/octet-stream",
    }
}

/// Returns the content security policy of the app: it may run only its own files and connect only
/// to this server.
fn content_security_policy(ws_url: &str) -> String {
    format!(
        "default-src 'none'; script-src 'self'; style-src 'self'; font-src 'self'; img-src 'self' data:; \
         manifest-src 'self'; worker-src 'self'; connect-src 'self' {}; \
         base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
        url_origin(ws_url),
    )
}

/// Returns the scheme and host of a URL.
fn url_origin(url: &str) -> &str {
    let host = url.find("://").map_or(0, |at| at + 3);
    let path = url[host..].find('/').map_or(url.len(), |at| host + at);
    &url[..path]
}

#[cfg(test)]
mod tests {
    use axum::body::{Body, to_bytes};
    use axum::http::header::{CONTENT_SECURITY_POLICY, ETAG, REFERRER_POLICY};
    use tower::ServiceExt;

    use super::*;

    #[test]
    fn the_content_security_policy_allows_only_own_scripts() {
        let policy = content_security_policy("wss://a.example:8443/base/api/v1/ws");
        assert!(
            policy.contains("connect-src 'self' wss://a.example:8443;"),
            "{policy}"
        );
        assert!(!policy.contains("unsafe"), "{policy}");
        assert!(
            policy.contains("default-src 'none'; script-src 'self';"),
            "{policy}"
        );
    }

    #[test]
    fn web_app_pages_have_no_inline_script_or_style() {
        let pages = FILES
            .iter()
            .filter(|file| file.path.ends_with(".html"))
            .map(|file| file.raw);
        for page in pages.chain([&include_bytes!("../../page/no-app.html")[..]]) {
            let page = std::str::from_utf8(page).expect("UTF-8");
            for refused in [
                "<style",
                "style=\"",
                "<script>",
                " onclick=",
                "javascript:",
                "src=\"http",
            ] {
                assert!(!page.contains(refused), "the policy would block {refused}");
            }
        }
    }

    /// Returns the status, the headers and the body of the response.
    async fn get_path(files: &'static [File], path: &str) -> (StatusCode, HeaderMap, String) {
        let request = Request::get(path).body(Body::empty()).expect("a request");
        let answer = app_routes(files, "ws://a")
            .oneshot(request)
            .await
            .expect("an answer");
        let (head, body) = answer.into_parts();
        let body = to_bytes(body, usize::MAX).await.expect("a body");
        (
            head.status,
            head.headers,
            String::from_utf8_lossy(&body).into_owned(),
        )
    }

    #[tokio::test]
    async fn a_binary_without_the_web_app_serves_a_notice() {
        let (status, headers, page) = get_path(&[], "/").await;
        assert_eq!(status, StatusCode::OK);
        assert!(page.contains("built without the web app"), "{page}");
        assert!(headers.contains_key(CONTENT_SECURITY_POLICY));
    }

    #[tokio::test]
    async fn hashed_files_are_cached_forever_and_others_revalidated() {
        static APP: [File; 3] = [
            File {
                path: "/index.html",
                raw: b"<!doctype html>",
                brotli: None,
                gzip: None,
            },
            File {
                path: "/assets/x-1.js",
                raw: b"1",
                brotli: None,
                gzip: None,
            },
            File {
                path: "/sw.js",
                raw: b"2",
                brotli: None,
                gzip: None,
            },
        ];
        let cached =
            |headers: &HeaderMap| headers[CACHE_CONTROL].to_str().expect("text").to_owned();
        for (path, body, kept) in [
            ("/", "<!doctype html>", "no-cache"),
            ("/sw.js", "2", "no-cache"),
            ("/assets/x-1.js", "1", "public, max-age=31536000, immutable"),
        ] {
            let (status, headers, found) = get_path(&APP, path).await;
            assert_eq!(
                (status, found.as_str(), cached(&headers).as_str()),
                (StatusCode::OK, body, kept)
            );
        }
        for missing in ["/assets/x-2.js", "/index.html"] {
            assert_eq!(get_path(&APP, missing).await.0, StatusCode::NOT_FOUND);
        }
    }

    #[tokio::test]
    async fn an_invite_link_gets_the_page_and_is_not_indexed_or_referred_to() {
        let (status, headers, page) = get_path(&[], "/i/K7MQ2XNB").await;
        assert_eq!(status, StatusCode::OK);
        assert_eq!(page, get_path(&[], "/").await.2);
        assert_eq!(headers[X_ROBOTS_TAG], "noindex");
        assert_eq!(headers[REFERRER_POLICY], "no-referrer");
        assert!(headers.contains_key(CONTENT_SECURITY_POLICY));
        for other in ["/", "/i/", "/i/K7MQ2XNB/more"] {
            assert!(!get_path(&[], other).await.1.contains_key(X_ROBOTS_TAG));
        }
    }

    #[tokio::test]
    async fn a_browser_gets_the_page_for_an_unknown_path_and_a_program_json() {
        let etag = get_path(&[], "/").await.1[ETAG].clone();
        let respond = async |path: &str, accept: &str| {
            let request = Request::get(path)
                .header(ACCEPT, accept)
                .header(IF_NONE_MATCH, &etag);
            let request = request.body(Body::empty()).expect("a request");
            let answer = app_routes(&[], "ws://a").oneshot(request).await;
            let answer = answer.expect("an answer");
            let is_page = answer.headers().contains_key(CONTENT_SECURITY_POLICY);
            (answer.status(), is_page)
        };
        let browser = "text/html,application/xhtml+xml,*/*;q=0.8";
        for (path, accept, is_page) in [
            ("/raid/5", browser, true),
            ("/raid/5", "application/xml, text/html;q=0.9", true),
            ("/raid/5", "*/*", false),
            ("/api/v1/nowhere", browser, false),
        ] {
            let expected = (StatusCode::NOT_FOUND, is_page);
            assert_eq!(respond(path, accept).await, expected, "{path} {accept}");
        }
    }

    #[test]
    fn every_file_of_the_app_has_a_media_type() {
        for file in FILES {
            assert_ne!(
                media_type(file.path),
                "application/octet-stream",
                "{}",
                file.path
            );
        }
    }
}
