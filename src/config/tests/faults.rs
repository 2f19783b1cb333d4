//! Tests of faults of keys, types and values, and that all are reported at once.

use super::*;

#[test]
fn unknown_keys_are_faults() {
    assert_one_error(
        "[server]\nlisten_on = 'x'",
        &[],
        "server.listen_on file ",
        "server has advertised_url, allowed_origins, ",
    );
    assert_one_error(
        "[sever]\nlisten = 'x'",
        &[],
        "sever.listen file ",
        "the sections are auth, bus, ",
    );
    assert_one_error("[sever]", &[], "sever file ", "unknown key");
    assert_one_error("listen = 'x'", &[], "listen file ", "unknown key");
    assert_one_error("server = 'x'", &[], "server file ", "is a section");
    assert_one_error(
        "",
        &[("RAIDHALL__LIMITS__WATCHS", "3")],
        "limits.watchs RAIDHALL__LIMITS__WATCHS ",
        "unknown key",
    );
    assert_one_error(
        "",
        &[("RAIDHALL__LIMITS", "3")],
        "limits RAIDHALL__LIMITS ",
        "is a section",
    );
    assert_one_error(
        "",
        &[("RAIDHALL__A__B__C", "3")],
        "a.b.c RAIDHALL__A__B__C ",
        "unknown key",
    );
}

#[test]
fn wrong_types_are_faults() {
    assert_one_error(
        "[limits]\nwatches = 'many'",
        &[],
        "limits.watches file ",
        "expected a whole number, found string",
    );
    assert_one_error(
        "[limits]\nwatches = 1.5",
        &[],
        "limits.watches file ",
        "expected a whole number, found float",
    );
    assert_one_error(
        "[limits]\ncommands_per_second = 'x'",
        &[],
        "limits.commands_per_second file ",
        "a whole number",
    );
    assert_one_error(
        "[lease]\nttl_ms = '3s'",
        &[],
        "lease.ttl_ms file ",
        "expected a whole number",
    );
    assert_one_error(
        "[auth]\nguest = 'yes'",
        &[],
        "auth.guest file ",
        "expected true or false",
    );
    assert_one_error(
        "[server]\nlisten = 8080",
        &[],
        "server.listen file ",
        "expected a string",
    );
    assert_one_error(
        "[server.listen]\nport = 1",
        &[],
        "server.listen file ",
        "expected a string, found map",
    );
    assert_one_error(
        "[server]\nallowed_origins = 'x'",
        &[],
        "server.allowed_origins file ",
        "expected a list",
    );
    assert_one_error(
        "[server]\nallowed_origins = [1]",
        &[],
        "server.allowed_origins file ",
        "expected a string",
    );
    assert_one_error(
        "",
        &[("RAIDHALL__AUTH__GUEST", "yes")],
        "auth.guest RAIDHALL__AUTH__GUEST ",
        "true or false",
    );
    assert_one_error(
        "",
        &[("RAIDHALL__LIMITS__WATCHES", "")],
        "limits.watches RAIDHALL__LIMITS__WATCHES ",
        "whole number",
    );
    assert_one_error(
        "[telemetry]\nlog_format = 'xml'",
        &[],
        "telemetry.log_format file ",
        "auto or human or json",
    );
}

#[test]
fn impossible_values_are_faults() {
    for (text, begins, contains) in [
        (
            "[limits]\ncommands_per_second = 0",
            "limits.commands_per_second file ",
            "must be 1 to 10000, is 0",
        ),
        (
            "[limits]\nheartbeat_ms = -5",
            "limits.heartbeat_ms file ",
            "must be 10 to 600000, is -5",
        ),
        (
            "[server]\nlisten = 'localhost:80'",
            "server.listen file ",
            "host names are not resolved",
        ),
        (
            "[server]\nadvertised_url = 'ws://x'",
            "server.advertised_url file ",
            "not an http://",
        ),
        (
            "[server]\nadvertised_url = 'http://u:p@x'",
            "server.advertised_url file ",
            "credentials",
        ),
        (
            "[server]\nadvertised_url = 'http://x?a'",
            "server.advertised_url file ",
            "query",
        ),
        (
            "[server]\nallowed_origins = ['https://x/']",
            "server.allowed_origins file ",
            "not an origin",
        ),
        (
            "[server]\nhosts = ['https://raid.example']",
            "server.hosts file ",
            "not a host",
        ),
        (
            "[server]\nallowed_origins = ['x']",
            "server.allowed_origins file ",
            "not an origin",
        ),
        (
            "[server]\ntrusted_proxies = ['lan']",
            "server.trusted_proxies file ",
            "neither a network",
        ),
        (
            "[database]\nurl = 'mysql://x'",
            "database.url file ",
            "expected sqlite://PATH or postgres://",
        ),
        (
            "[database]\nurl = 'sqlite::memory:'",
            "database.url file ",
            "in-memory",
        ),
        (
            "[database]\nurl = 'sqlite://x?mode=memory'",
            "database.url file ",
            "in-memory",
        ),
        (
            "[database]\nurl = 'sqlite://x?mode=ro'",
            "database.url file ",
            "read-only",
        ),
        (
            "[database]\nurl = 'sqlite://'",
            "database.url file ",
            "names no file",
        ),
        (
            "[database]\nurl = 'sqlite://x?bogus=1'",
            "database.url file ",
            "bogus",
        ),
        (
            "[database]\nurl = 'postgres://h:port/x'",
            "database.url file ",
            "port",
        ),
        (
            "[bus]\nurl = 'cache:6379'",
            "bus.url file ",
            "expected \"local\", redis://",
        ),
        (
            "[bus]\nurl = 'redis+unix:///run/redis.sock'",
            "bus.url file ",
            "expected \"local\", redis://",
        ),
        ("[bus]\nurl = 'redis://'", "bus.url file ", "not a URL"),
        ("[bus]\nurl = 'redis://:pw@'", "bus.url file ", "not a URL"),
        ("[bus]\nurl = 'redis://:6379'", "bus.url file ", "no host"),
        (
            "[bus]\nurl = 'redis://cache:99999'",
            "bus.url file ",
            "port",
        ),
        ("[bus]\nurl = 'redis://cache:0'", "bus.url file ", "port"),
        ("[bus]\nurl = 'redis://[::1]:x'", "bus.url file ", "port"),
        (
            "[bus]\nurl = 'redis://cache/first'",
            "bus.url file ",
            "number of a database",
        ),
        (
            "[bus]\nurl = 'rediss://cache/#insecure'",
            "bus.url file ",
            "fragment",
        ),
        (
            "[bus]\nurl = 'redis://cache?protocol=resp2'",
            "bus.url file ",
            "query",
        ),
        (
            "[auth]\nsecret = 'short'",
            "auth.secret file ",
            "at least 32 bytes, has 5",
        ),
        (
            "[telemetry]\nlog = 'a=b=c'",
            "telemetry.log file ",
            "not a log filter",
        ),
        (
            "[telemetry]\nmetrics_listen = '9464'",
            "telemetry.metrics_listen file ",
            "expected ADDRESS:PORT",
        ),
    ] {
        assert_one_error(text, &[], begins, contains);
    }
    assert_one_error(
        "",
        &[("RAIDHALL__AUTH__SECRET", "\u{fffd}")],
        "auth.secret RAIDHALL__AUTH__SECRET ",
        "not UTF-8",
    );
}

#[test]
fn all_configuration_faults_are_reported_at_once() {
    let found = load_errors(
        "[server]\nlistne = 'x'\nlisten = 1\n[limits]\nwatches = 0\n[lease]\nrenew_ms = 9000\n[raid]\ninbox = 'x'",
        &[
            ("RAIDHALL__NOPE__X", "1"),
            ("DATABASE_URL", "mysql://x"),
            ("RAIDHALL__AUTH__SECRET", "short"),
        ],
    );
    let heads: Vec<_> = found
        .iter()
        .map(|line| line.split(' ').take(2).collect::<Vec<_>>().join(" "))
        .collect();
    assert_eq!(
        heads,
        [
            "server.listne file",
            "nope.x RAIDHALL__NOPE__X",
            "limits.watches file",
            "auth.secret RAIDHALL__AUTH__SECRET",
            "database.url DATABASE_URL",
            "raid.inbox file",
            "server.listen file",
            "lease.renew_ms file",
        ]
    );
}

#[test]
fn an_unreadable_config_file_is_reported_with_the_other_faults() {
    let bad = [("RAIDHALL__LIMITS__WATCHES", "0")];
    let missing = std::path::Path::new("/nonexistent/raidhall.toml");
    let found = Config::load(Some(missing), environment(&bad))
        .expect_err("faults")
        .to_string();
    assert!(
        found.starts_with(
            "2 faults in the configuration:\n  /nonexistent/raidhall.toml: cannot be read"
        ),
        "{found}"
    );

    let found = load_errors("[auth]\nsecret = hunter2\n", &bad);
    assert_eq!(found.len(), 2, "{found:#?}");
    assert!(
        found[0].starts_with(" file TOML parse error at line 2"),
        "{found:#?}"
    );
    assert!(!found[0].contains("hunter2"), "{found:#?}");
}
