//! Header values that are comma-separated lists (RFC 9110 section 5.6.1).

use axum::http::{HeaderMap, HeaderName};

/// Returns the items of a list header over all its lines, without empty items, which a recipient
/// must ignore.
///
/// A comma inside quotes separates items too, so a quoted item with a comma comes in pieces.
/// Callers only look for items without commas.
pub(crate) fn header_list_items<'a>(
    headers: &'a HeaderMap,
    name: &HeaderName,
) -> impl Iterator<Item = &'a str> {
    headers
        .get_all(name)
        .into_iter()
        .filter_map(|line| line.to_str().ok())
        .flat_map(|line| line.split(','))
        .map(str::trim)
        .filter(|item| !item.is_empty())
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;
    use axum::http::header::{CONNECTION, IF_NONE_MATCH};

    use super::*;

    fn items(name: &HeaderName, lines: &[&'static [u8]]) -> Vec<String> {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(name, HeaderValue::from_bytes(line).expect("a header"));
        }
        header_list_items(&headers, name)
            .map(str::to_owned)
            .collect()
    }

    #[test]
    fn list_items_of_all_lines_are_found_in_order() {
        assert_eq!(
            items(&CONNECTION, &[b"keep-alive,Upgrade", b" close\t"]),
            ["keep-alive", "Upgrade", "close"]
        );
        assert!(items(&CONNECTION, &[]).is_empty());
    }

    #[test]
    fn empty_list_items_and_lines_that_are_not_text_are_ignored() {
        assert_eq!(items(&CONNECTION, &[b", upgrade,, ,", b""]), ["upgrade"]);
        assert_eq!(items(&CONNECTION, &[b"\xff", b"upgrade"]), ["upgrade"]);
    }

    #[test]
    fn a_quoted_item_without_a_comma_stays_whole() {
        assert_eq!(
            items(&IF_NONE_MATCH, &[br#""a b", W/"c""#]),
            [r#""a b""#, r#"W/"c""#]
        );
    }
}
