//! Checks the status, headers and body of every response in these tests against the OpenAPI
//! document.

use std::sync::LazyLock;

use serde_json::Value;

use crate::rest_server::RestResponse;
use crate::schema;

static DOCUMENT: LazyLock<Value> = LazyLock::new(|| {
    serde_json::from_str(include_str!("../../protocol/openapi.json")).expect("JSON")
});

/// The headers that only some responses have and that the document must describe.
const OPTIONAL_HEADERS: [&str; 7] = [
    "x-ratelimit-limit",
    "x-ratelimit-remaining",
    "x-ratelimit-reset",
    "retry-after",
    "www-authenticate",
    "raidhall-lineage",
    "content-disposition",
];

/// Checks the response to `METHOD /path` (below the API). A path that is not described must be
/// answered with 404, and a method that is not described with 405.
pub fn check(route: &str, answer: &RestResponse) {
    let (method, path) = route.split_once(' ').expect("method and path");
    let path = format!("/api/v1{}", path.split('?').next().unwrap_or_default());
    let status = answer.status.as_u16();
    let Some(methods) = find_operations(&path) else {
        return assert_eq!(status, 404, "{route} is not described");
    };
    let Some(operation) = methods.get(method.to_lowercase()) else {
        return assert_eq!(status, 405, "{route} is not described");
    };
    let response = resolve_reference(&operation["responses"][status.to_string()]);
    assert!(
        !response.is_null(),
        "{route} answers {status}, which is not described: {}",
        answer.body
    );
    let declared = response["headers"].as_object().expect("headers");
    for name in OPTIONAL_HEADERS
        .into_iter()
        .filter(|name| answer.headers.contains_key(*name))
    {
        let known = declared
            .keys()
            .any(|declared| declared.eq_ignore_ascii_case(name));
        assert!(
            known,
            "{route} answers {status} with {name}, which is not described"
        );
    }
    if let Some(media) = response["content"].get("application/json") {
        let faults = schema::validation_errors(&DOCUMENT, &media["schema"], &answer.body);
        assert!(
            faults.is_empty(),
            "{route} answers {status} with a body that differs from its schema: {faults:#?}"
        );
    }
}

/// Returns the operations of a path. A literal path in the document has priority over one with a
/// parameter.
fn find_operations(path: &str) -> Option<&'static Value> {
    let paths = DOCUMENT["paths"].as_object().expect("paths");
    let fits = |pattern: &str| {
        let same = |(part, given): (&str, &str)| {
            part == given || (part.starts_with('{') && !given.is_empty())
        };
        pattern.split('/').count() == path.split('/').count()
            && pattern.split('/').zip(path.split('/')).all(same)
    };
    paths.get(path).or_else(|| {
        paths
            .iter()
            .find(|(pattern, _)| fits(pattern))
            .map(|(_, methods)| methods)
    })
}

/// Returns the response that a reference points to, or the response itself.
fn resolve_reference(response: &'static Value) -> &'static Value {
    let at = response["$ref"]
        .as_str()
        .map(|at| at.trim_start_matches('#'));
    at.map_or(response, |at| {
        DOCUMENT.pointer(at).expect("a shared response")
    })
}
