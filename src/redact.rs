//! Redaction of credentials in text that is shown or logged.

/// Text that replaces a secret.
pub const REDACTED: &str = "[redacted]";

/// Returns `url` with its password, and every query parameter that may hold a credential, replaced.
///
/// It accepts text that is not a valid URL, because invalid settings are shown too; in doubt it
/// hides more.
pub fn redact_url(url: &str) -> String {
    let (head, query) = url
        .split_once('?')
        .map_or((url, None), |(head, query)| (head, Some(query)));
    // A password with an unescaped `?` or `/` must not leak either: then the last `@` is behind the
    // split.
    let (head, query) = match query {
        Some(query) if query.contains('@') => (url, None),
        query => (head, query),
    };
    let (scheme, rest) = head.split_at(head.find("://").map_or(0, |at| at + 3));
    let mut shown = scheme.to_owned();
    match rest.rsplit_once('@') {
        Some((userinfo, host)) => {
            let user = userinfo.split(':').next().unwrap_or_default();
            let colon = if userinfo.contains(':') {
                format!(":{REDACTED}")
            } else {
                String::new()
            };
            shown.push_str(&format!("{user}{colon}@{host}"));
        }
        None => shown.push_str(rest),
    }
    if let Some(query) = query {
        let pairs: Vec<_> = query.split('&').map(redact_parameter).collect();
        shown.push_str(&format!("?{}", pairs.join("&")));
    }
    shown
}

/// Returns scheme, host and port of an HTTP URL. Its path and query may hold a credential, as those
/// of chat services do. Text without a scheme, such as a file's path, is shown as by [`redact_url`].
pub fn redact_http_url(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else {
        return redact_url(url);
    };
    let (host, path) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
    // A password that is not escaped may contain anything.
    if rest.contains('@') {
        return format!("{scheme}://{REDACTED}");
    }
    match path {
        "" | "/" => url.to_owned(),
        _ => format!("{scheme}://{host}/{REDACTED}"),
    }
}

fn redact_parameter(pair: &str) -> String {
    let name = pair.split('=').next().unwrap_or_default();
    let lower = name.to_ascii_lowercase();
    if ["pass", "secret", "token", "auth"]
        .iter()
        .any(|word| lower.contains(word))
    {
        format!("{name}={REDACTED}")
    } else {
        pair.to_owned()
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn passwords_in_urls_are_redacted() {
        for (given, shown) in [
            (
                "postgres://ada:hunter2@db/raids",
                "postgres://ada:[redacted]@db/raids",
            ),
            (
                "postgres://ada@db/raids?sslmode=require",
                "postgres://ada@db/raids?sslmode=require",
            ),
            (
                "postgres://db/raids?password=hunter2&x=1",
                "postgres://db/raids?password=[redacted]&x=1",
            ),
            (
                "postgres://ada:hunt/er2@db/raids",
                "postgres://ada:[redacted]@db/raids",
            ),
            (
                "postgres://ada:hunt?er2@db/raids",
                "postgres://ada:[redacted]@db/raids",
            ),
            (
                "postgres://ada:hu@nter2@db/raids",
                "postgres://ada:[redacted]@db/raids",
            ),
            (
                "redis://:hunter2@cache:6379/0",
                "redis://:[redacted]@cache:6379/0",
            ),
            ("ada:hunter2@db", "ada:[redacted]@db"),
            (
                "sqlite://data/raidhall.db?mode=rwc",
                "sqlite://data/raidhall.db?mode=rwc",
            ),
            ("local", "local"),
        ] {
            assert_eq!(super::redact_url(given), shown);
        }
    }

    #[test]
    fn only_scheme_and_host_of_http_urls_are_shown() {
        for (given, shown) in [
            (
                "https://hooks.example/services/T0/B0/secret",
                "https://hooks.example/[redacted]",
            ),
            (
                "https://host:8443?key=secret",
                "https://host:8443/[redacted]",
            ),
            ("https://ada:hunter2@host/x", "https://[redacted]"),
            ("https://ada:hunt/er2@host", "https://[redacted]"),
            ("http://collector:4318", "http://collector:4318"),
            ("http://[::1]:4318/", "http://[::1]:4318/"),
            ("/etc/jwks.json", "/etc/jwks.json"),
            ("ada:hunter2@host:4318", "ada:[redacted]@host:4318"),
            ("host:4318/?token=hunter2", "host:4318/?token=[redacted]"),
        ] {
            assert_eq!(super::redact_http_url(given), shown);
        }
    }
}
