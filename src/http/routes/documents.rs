//! The contract as documents, and `/docs`, a page to read and try them: Swagger UI, from this binary alone.

use axum::Router;
use axum::http::HeaderValue;
use axum::http::header::{CONTENT_SECURITY_POLICY, REFERRER_POLICY};

use crate::http::static_files::Asset;

/// Runs our scripts and no others. Swagger UI shows its icons as `data:`, and sets styles of elements by script, which a
/// policy does not count as inline.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src data:; connect-src 'self'; \
                      base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
const JAVASCRIPT: &str = "text/javascript; charset=utf-8";

pub(in crate::http) fn routes() -> Router {
    let page = Asset::new(
        "text/html; charset=utf-8",
        include_bytes!("../../page/docs/index.html"),
    )
    .with(CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY))
    .with(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    let viewer = include_bytes!("../../page/docs/swagger-ui-bundle.js.gz");
    let style = include_bytes!("../../page/docs/swagger-ui.css.gz");
    let start = include_bytes!("../../page/docs/start.js");
    let (openapi, asyncapi) = (
        include_bytes!("../../../protocol/openapi.json"),
        include_bytes!("../../../protocol/asyncapi.json"),
    );
    Router::new()
        .merge(Asset::new("application/json", openapi).at("/api/openapi.json"))
        .merge(Asset::new("application/json", asyncapi).at("/api/asyncapi.json"))
        .merge(page.at("/docs"))
        .merge(Asset::new(JAVASCRIPT, start).at("/docs/start.js"))
        .merge(Asset::gzipped(JAVASCRIPT, viewer).at("/docs/swagger-ui-bundle.js"))
        .merge(Asset::gzipped("text/css; charset=utf-8", style).at("/docs/swagger-ui.css"))
}
