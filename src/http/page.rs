//! The page at `/`: one file with its script and style in it, and a policy that lets exactly those run.

use super::asset::Asset;
use axum::Router;
use axum::http::HeaderValue;
use axum::http::header::{CONTENT_SECURITY_POLICY, REFERRER_POLICY};
use data_encoding::BASE64;
use sha2::{Digest, Sha256};

const PAGE: &str = include_str!("../page/index.html");

/// `ws_url` is where the page may open a socket besides its own origin.
pub(super) fn routes(ws_url: &str) -> Router {
    let policy = HeaderValue::try_from(policy(PAGE, ws_url)).expect("hashes and a URL are plain text");
    Asset::new("text/html; charset=utf-8", PAGE.as_bytes())
        .with(CONTENT_SECURITY_POLICY, policy)
        .with(REFERRER_POLICY, HeaderValue::from_static("no-referrer"))
        .at("/")
}

/// What the page may do: run and show what is in the file, and talk to this server.
fn policy(page: &str, ws_url: &str) -> String {
    let hashes =
        |tag| inline(page, tag).map(|text| format!(" 'sha256-{}'", digest(text))).collect::<String>();
    let (scripts, styles) = (hashes("script"), hashes("style"));
    let none = |hashes: String| if hashes.is_empty() { " 'none'".to_owned() } else { hashes };
    format!(
        "default-src 'none'; script-src{}; style-src{}; img-src data:; connect-src 'self' {}; \
         base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
        none(scripts),
        none(styles),
        origin(ws_url),
    )
}

fn digest(text: &str) -> String {
    BASE64.encode(&Sha256::digest(text))
}

/// The contents of every element of this name: our own page, so no more of HTML is understood than it uses.
fn inline<'a>(page: &'a str, tag: &str) -> impl Iterator<Item = &'a str> {
    let (open, close) = (format!("<{tag}"), format!("</{tag}>"));
    let mut rest = page;
    std::iter::from_fn(move || {
        let (_, after) = rest.split_once(&open)?;
        let (_, content) = after.split_once('>')?;
        let (content, after) = content.split_once(&close)?;
        rest = after;
        Some(content)
    })
}

/// Scheme and host of a URL.
fn origin(url: &str) -> &str {
    let host = url.find("://").map_or(0, |at| at + 3);
    let path = url[host..].find('/').map_or(url.len(), |at| host + at);
    &url[..path]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_policy_names_what_is_in_the_file_and_nothing_else() {
        let page = "<style>a{}</style><script>1</script><script type=module>2\n</script>";
        assert_eq!(
            policy(page, "wss://a.example:8443/base/api/v1/ws"),
            "default-src 'none'; \
             script-src 'sha256-a4ayc/80/OGda4BO/1o/V0etpOqiLx1JwB5S3beHW0s=' \
             'sha256-U8I05ehHK2rFHBrhyrP+BvrQU7646/2Jd7AQZVv908M='; \
             style-src 'sha256-X1RutGBrXCt9KkSaXMK7tHftWiRscFHOhxsS8tv8hBk='; \
             img-src data:; connect-src 'self' wss://a.example:8443; \
             base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
        );
        assert!(policy("", "ws://a").contains("script-src 'none'; style-src 'none'"));
    }

    #[test]
    fn the_page_keeps_to_what_the_policy_can_allow() {
        for refused in [" style=\"", " onclick=", " onsubmit=", " src=\"http", "javascript:"] {
            assert!(!PAGE.contains(refused), "the policy would block {refused}");
        }
    }
}
