//! The OpenAPI and AsyncAPI documents, and `/docs`, where Swagger UI shows them. All files come
//! from this binary.

use axum::Router;
use axum::http::HeaderValue;

use crate::http::static_files::{CSS, HTML, JAVASCRIPT, StaticFile};

/// The content security policy of `/docs`: only this server's scripts run. Swagger UI shows its
/// icons as `data:` images, and sets element styles by script, which a policy does not count as
/// inline.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src data:; connect-src 'self'; \
                      base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

pub(in crate::http) fn routes() -> Router {
    let page = StaticFile::new(HTML, include_bytes!("../../page/docs/index.html"))
        .with_page_policy(HeaderValue::from_static(POLICY));
    let viewer = include_bytes!("../../page/docs/swagger-ui-bundle.js.gz");
    let style = include_bytes!("../../page/docs/swagger-ui.css.gz");
    let start = include_bytes!("../../page/docs/start.js");
    let openapi = include_bytes!("../../../protocol/openapi.json");
    let asyncapi = include_bytes!("../../../protocol/asyncapi.json");
    Router::new()
        .merge(StaticFile::new("application/json", openapi).into_router("/api/openapi.json"))
        .merge(StaticFile::new("application/json", asyncapi).into_router("/api/asyncapi.json"))
        .merge(page.into_router("/docs"))
        .merge(StaticFile::new(JAVASCRIPT, start).into_router("/docs/start.js"))
        .merge(StaticFile::gzipped(JAVASCRIPT, viewer).into_router("/docs/swagger-ui-bundle.js"))
        .merge(StaticFile::gzipped(CSS, style).into_router("/docs/swagger-ui.css"))
}
