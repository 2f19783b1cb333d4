//! The `Forwarded` header (RFC 7239): the address by which each proxy was called.

use std::net::IpAddr;

use super::parse_address;

/// Parses the address of each element's `for`, first to last; `None` where it is obfuscated,
/// unknown, missing or malformed.
pub(super) fn parse_forwarded(line: &str) -> Vec<Option<IpAddr>> {
    split_unquoted(line, ',')
        .into_iter()
        .map(parse_element)
        .collect()
}

fn parse_element(element: &str) -> Option<IpAddr> {
    let mut pairs = split_unquoted(element, ';')
        .into_iter()
        .filter_map(|pair| pair.split_once('='));
    let (_, value) = pairs.find(|(name, _)| name.trim().eq_ignore_ascii_case("for"))?;
    parse_address(&unquote(value.trim()))
}

/// Returns the value without its quotes, and with escapes resolved (RFC 9110, section 5.6.4).
fn unquote(value: &str) -> String {
    let Some(inner) = value
        .strip_prefix('"')
        .and_then(|rest| rest.strip_suffix('"'))
    else {
        return value.to_owned();
    };
    let mut text = String::with_capacity(inner.len());
    let mut characters = inner.chars();
    while let Some(character) = characters.next() {
        text.extend(if character == '\\' {
            characters.next()
        } else {
            Some(character)
        });
    }
    text
}

/// Splits at each separator that is not within quotes. A quote that is not closed extends to the
/// end.
fn split_unquoted(text: &str, separator: char) -> Vec<&str> {
    let mut parts = Vec::new();
    let mut start = 0;
    let mut quoted = false;
    let mut escaped = false;
    for (index, character) in text.char_indices() {
        match character {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            _ if character == separator && !quoted => {
                parts.push(&text[start..index]);
                start = index + character.len_utf8();
            }
            _ => {}
        }
    }
    parts.push(&text[start..]);
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> Vec<String> {
        let addresses = parse_forwarded(line).into_iter();
        addresses
            .map(|address| address.map_or_else(|| "-".to_owned(), |address| address.to_string()))
            .collect()
    }

    #[test]
    fn forwarded_elements_are_parsed_as_in_the_standard() {
        assert_eq!(read("for=192.0.2.43"), ["192.0.2.43"]);
        assert_eq!(
            read("For=\"[2001:db8:cafe::17]:4711\""),
            ["2001:db8:cafe::17"]
        );
        assert_eq!(
            read("for=192.0.2.60;proto=http;by=203.0.113.43"),
            ["192.0.2.60"]
        );
        assert_eq!(
            read("for=192.0.2.43, for=198.51.100.17"),
            ["192.0.2.43", "198.51.100.17"]
        );
        assert_eq!(
            read("for=\"192.0.2.43:47011\",for=\"1\\92.0.2.1\""),
            ["192.0.2.43", "192.0.2.1"]
        );
        assert_eq!(
            read("for=_gazonk, for=\"_SEVKISEK\", for=unknown"),
            ["-", "-", "-"]
        );
    }

    #[test]
    fn a_malformed_forwarded_element_stays_in_place_without_an_address() {
        assert_eq!(read(""), ["-"]);
        assert_eq!(
            read("proto=\"a,b;for=1.1.1.1\", for=192.0.2.43"),
            ["-", "192.0.2.43"]
        );
        assert_eq!(read("for=192.0.2.43, for=\"1.1.1.1"), ["192.0.2.43", "-"]);
        assert_eq!(read("for=192.0.2.43,,"), ["192.0.2.43", "-", "-"]);
    }
}
