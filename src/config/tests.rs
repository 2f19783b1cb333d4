use std::io::Write;
use std::time::Duration;

use tempfile::NamedTempFile;

use super::settings::{DEFAULTS, Settings};
use super::*;

const KEY: &str = "0123456789abcdef0123456789abcdef";
/// Fit for production.
const RANDOM: &str = "cK9pEmsZkqYfC0rj5nNUu2wVbGQ8xLt4";

fn file(text: &str) -> NamedTempFile {
    let mut file = NamedTempFile::new().expect("a temporary file");
    file.write_all(text.as_bytes()).expect("written");
    file
}

fn env(vars: &[(&str, &str)]) -> impl Iterator<Item = (String, String)> {
    vars.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect::<Vec<_>>().into_iter()
}

fn load(text: &str, vars: &[(&str, &str)]) -> Result<Config, Faults> {
    Config::load(Some(file(text).path()), env(vars))
}

fn with_env(vars: &[(&str, &str)]) -> Config {
    Config::load(None, env(vars)).expect("no faults")
}

/// The faults of a file and an environment, as `key source message`, the file being called `file`.
fn faults(text: &str, vars: &[(&str, &str)]) -> Vec<String> {
    let file = file(text);
    let faults = Config::load(Some(file.path()), env(vars)).expect_err("faults");
    let path = file.path().display().to_string();
    let line =
        |fault: &Fault| format!("{} {} {}", fault.key, fault.source, fault.message).replace(&path, "file");
    faults.iter().map(line).collect()
}

/// Asserts that there is one fault, and that it begins with `key source` and contains `message`.
#[track_caller]
fn one_fault(text: &str, vars: &[(&str, &str)], begins: &str, contains: &str) {
    let faults = faults(text, vars);
    assert_eq!(faults.len(), 1, "{faults:#?}");
    assert!(faults[0].starts_with(begins) && faults[0].contains(contains), "{faults:#?}");
}

#[test]
fn the_defaults_load() {
    let config = Config::default();
    assert_eq!(config.server.listen.to_string(), "127.0.0.1:8080");
    assert_eq!(config.server.advertised_url, None);
    assert_eq!(config.database.url.kind(), DatabaseKind::Sqlite);
    assert_eq!(config.database.url.sqlite_path(), Some("data/raidhall.db".into()));
    assert_eq!(
        (config.bus.url.kind(), config.bus.cluster, config.bus.ca_file),
        (BusKind::Local, false, None)
    );
    assert_eq!(config.auth.secret, None);
    assert_eq!(config.auth.access_ttl, Duration::from_secs(900));
    assert_eq!(config.limits.commands_per_second.get(), 20);
    assert_eq!(config.lease.ttl, Duration::from_secs(3));
    assert_eq!(config.telemetry.log_format, LogFormat::Auto);
}

#[test]
fn every_key_is_documented() {
    let mut above = "";
    let mut keys = 0;
    for line in DEFAULTS.lines() {
        if line.contains(" = ") && !line.starts_with('#') {
            keys += 1;
            assert!(above.starts_with("# "), "no comment above: {line}");
        }
        above = line;
    }
    // The reader of the defaults sees the same keys as this test; the structs have no key more and no key less,
    // or the defaults would not load.
    assert_eq!(keys, Settings::defaults().iter().count());
}

#[test]
fn every_number_has_a_range_that_its_comment_tells() {
    for (key, setting) in Settings::defaults().iter() {
        let range = ranges::RANGES.iter().find(|(name, _)| *name == key);
        assert_eq!(range.is_some(), setting.value.to_i128().is_some(), "{key}");
        if let Some((_, range)) = range {
            let (_, name) = key.split_once('.').expect("a section");
            let text = DEFAULTS.split_once(&format!("\n{name} = ")).expect("its line").0;
            let comment: Vec<_> = text.lines().rev().take_while(|line| line.starts_with('#')).collect();
            let told = format!("({}-{})", range.start(), range.end());
            assert!(
                comment.iter().any(|line| line.contains(&told)),
                "{key}: its comment doesn't tell {told}"
            );
        }
    }
}

#[test]
fn ranges_and_relations_name_keys_that_exist() {
    let settings = Settings::defaults();
    let related = relations::RELATIONS.iter().flat_map(|relation| relation.keys);
    for key in related.chain(ranges::RANGES.iter().map(|(key, _)| key)) {
        assert!(settings.get(key).is_some(), "{key}");
    }
}

#[test]
fn our_variables_beat_conventional_ones_beat_the_file_beats_the_defaults() {
    let text = "[database]\nurl = 'sqlite://file.db'\n[limits]\nwatches = 5\nreplay_events = 7";
    let path = |config: Config| config.database.url.sqlite_path().expect("SQLite");
    let config = load(text, &[("RAIDHALL__LIMITS__REPLAY_EVENTS", "9")]).expect("no faults");
    assert_eq!((config.limits.watches, config.limits.replay_events), (5, 9));
    assert_eq!(config.limits.outbox_messages, 256);
    assert_eq!(path(config), std::path::Path::new("file.db"));

    let platform = ("DATABASE_URL", "sqlite://platform.db");
    let ours = ("RAIDHALL__DATABASE__URL", "sqlite://ours.db");
    assert_eq!(path(load(text, &[platform]).expect("no faults")), std::path::Path::new("platform.db"));
    assert_eq!(path(load(text, &[ours, platform]).expect("no faults")), std::path::Path::new("ours.db"));
    assert_eq!(
        path(load(text, &[("DATABASE_URL", "")]).expect("no faults")),
        std::path::Path::new("file.db")
    );
}

#[test]
fn port_makes_an_address_nobody_chose_reachable_and_keeps_one_that_was_chosen() {
    let listen = |config: Config| config.server.listen.to_string();
    assert_eq!(listen(with_env(&[("PORT", "9000")])), "0.0.0.0:9000");
    assert_eq!(listen(with_env(&[("PORT", "")])), "127.0.0.1:8080");
    let chosen = "[server]\nlisten = '[::1]:80'";
    assert_eq!(listen(load(chosen, &[("PORT", "9000")]).expect("no faults")), "[::1]:9000");
    let ours = ("RAIDHALL__SERVER__LISTEN", "10.0.0.1:81");
    assert_eq!(listen(with_env(&[("PORT", "9000"), ours])), "10.0.0.1:81");
    one_fault("", &[("PORT", "web")], "server.listen PORT ", "found \"web\"");
    one_fault("", &[("PORT", "70000")], "server.listen PORT ", "0 to 65535");
    one_fault("[server]\nlisten = 'x'", &[("PORT", "9000")], "server.listen file ", "found \"x\"");
}

#[test]
fn variables_take_the_type_of_their_key() {
    let config = with_env(&[
        ("RAIDHALL__SERVER__ALLOWED_ORIGINS", "https://a.example, HTTPS://B.example:443"),
        ("RAIDHALL__SERVER__TRUSTED_PROXIES", "[\"10.0.0.0/8\", \"::1\"]"),
        ("RAIDHALL__AUTH__GUEST", "false"),
        ("RAIDHALL__AUTH__SECRET", "11111111111111111111111111111111"),
        ("RAIDHALL__LIMITS__WATCHES", "3"),
        ("RAIDHALL__TELEMETRY__METRICS_LISTEN", ""),
        ("RUST_LOG", "debug,sqlx=warn"),
        ("HOME", "/root"),
        ("RAIDHALL_PORT", "tcp://10.0.0.1:80"),
    ]);
    assert!(config.server.allowed_origins.allows("https://a.example"));
    assert!(config.server.allowed_origins.allows("https://b.example"));
    assert!(!config.server.allowed_origins.allows("https://c.example"));
    assert_eq!(config.server.trusted_proxies.len(), 2);
    assert!(!config.auth.guest && config.auth.secret.is_some());
    assert_eq!(config.limits.watches, 3);
    assert_eq!(config.telemetry.metrics_listen, None);
    assert_eq!(config.telemetry.log, "debug,sqlx=warn");
}

#[test]
fn unknown_keys_are_faults() {
    one_fault(
        "[server]\nlisten_on = 'x'",
        &[],
        "server.listen_on file ",
        "server has advertised_url, allowed_origins, ",
    );
    one_fault("[sever]\nlisten = 'x'", &[], "sever.listen file ", "the sections are auth, bus, ");
    one_fault("[sever]", &[], "sever file ", "unknown key");
    one_fault("listen = 'x'", &[], "listen file ", "unknown key");
    one_fault("server = 'x'", &[], "server file ", "is a section");
    one_fault(
        "",
        &[("RAIDHALL__LIMITS__WATCHS", "3")],
        "limits.watchs RAIDHALL__LIMITS__WATCHS ",
        "unknown key",
    );
    one_fault("", &[("RAIDHALL__LIMITS", "3")], "limits RAIDHALL__LIMITS ", "is a section");
    one_fault("", &[("RAIDHALL__A__B__C", "3")], "a.b.c RAIDHALL__A__B__C ", "unknown key");
}

#[test]
fn wrong_types_are_faults() {
    one_fault(
        "[limits]\nwatches = 'many'",
        &[],
        "limits.watches file ",
        "expected a whole number, found string",
    );
    one_fault("[limits]\nwatches = 1.5", &[], "limits.watches file ", "expected a whole number, found float");
    one_fault(
        "[limits]\ncommands_per_second = 'x'",
        &[],
        "limits.commands_per_second file ",
        "a whole number",
    );
    one_fault("[lease]\nttl_ms = '3s'", &[], "lease.ttl_ms file ", "expected a whole number");
    one_fault("[auth]\nguest = 'yes'", &[], "auth.guest file ", "expected true or false");
    one_fault("[server]\nlisten = 8080", &[], "server.listen file ", "expected a string");
    one_fault("[server.listen]\nport = 1", &[], "server.listen file ", "expected a string, found map");
    one_fault("[server]\nallowed_origins = 'x'", &[], "server.allowed_origins file ", "expected a list");
    one_fault("[server]\nallowed_origins = [1]", &[], "server.allowed_origins file ", "expected a string");
    one_fault("", &[("RAIDHALL__AUTH__GUEST", "yes")], "auth.guest RAIDHALL__AUTH__GUEST ", "true or false");
    one_fault(
        "",
        &[("RAIDHALL__LIMITS__WATCHES", "")],
        "limits.watches RAIDHALL__LIMITS__WATCHES ",
        "whole number",
    );
    one_fault("[telemetry]\nlog_format = 'xml'", &[], "telemetry.log_format file ", "auto or human or json");
}

#[test]
fn values_that_cannot_be_are_faults() {
    for (text, begins, contains) in [
        ("[limits]\ncommands_per_second = 0", "limits.commands_per_second file ", "must be 1 to 10000, is 0"),
        ("[limits]\nheartbeat_ms = -5", "limits.heartbeat_ms file ", "must be 10 to 600000, is -5"),
        ("[server]\nlisten = 'localhost:80'", "server.listen file ", "host names are not resolved"),
        ("[server]\nadvertised_url = 'ws://x'", "server.advertised_url file ", "not an http://"),
        ("[server]\nadvertised_url = 'http://u:p@x'", "server.advertised_url file ", "credentials"),
        ("[server]\nadvertised_url = 'http://x?a'", "server.advertised_url file ", "query"),
        ("[server]\nallowed_origins = ['https://x/']", "server.allowed_origins file ", "not an origin"),
        ("[server]\nallowed_origins = ['x']", "server.allowed_origins file ", "not an origin"),
        ("[server]\ntrusted_proxies = ['lan']", "server.trusted_proxies file ", "neither a network"),
        ("[database]\nurl = 'mysql://x'", "database.url file ", "expected sqlite://PATH or postgres://"),
        ("[database]\nurl = 'sqlite::memory:'", "database.url file ", "in-memory"),
        ("[database]\nurl = 'sqlite://x?mode=memory'", "database.url file ", "in-memory"),
        ("[database]\nurl = 'sqlite://x?mode=ro'", "database.url file ", "read-only"),
        ("[database]\nurl = 'sqlite://'", "database.url file ", "names no file"),
        ("[database]\nurl = 'sqlite://x?bogus=1'", "database.url file ", "bogus"),
        ("[database]\nurl = 'postgres://h:port/x'", "database.url file ", "port"),
        ("[bus]\nurl = 'cache:6379'", "bus.url file ", "expected \"local\", redis://"),
        ("[bus]\nurl = 'redis+unix:///run/redis.sock'", "bus.url file ", "expected \"local\", redis://"),
        ("[bus]\nurl = 'redis://'", "bus.url file ", "not a URL"),
        ("[bus]\nurl = 'redis://:pw@'", "bus.url file ", "not a URL"),
        ("[bus]\nurl = 'redis://:6379'", "bus.url file ", "no host"),
        ("[bus]\nurl = 'redis://cache:99999'", "bus.url file ", "port"),
        ("[bus]\nurl = 'redis://cache:0'", "bus.url file ", "port"),
        ("[bus]\nurl = 'redis://[::1]:x'", "bus.url file ", "port"),
        ("[bus]\nurl = 'redis://cache/first'", "bus.url file ", "number of a database"),
        ("[bus]\nurl = 'rediss://cache/#insecure'", "bus.url file ", "fragment"),
        ("[bus]\nurl = 'redis://cache?protocol=resp2'", "bus.url file ", "query"),
        ("[auth]\nsecret = 'short'", "auth.secret file ", "at least 32 bytes, has 5"),
        ("[telemetry]\nlog = 'a=b=c'", "telemetry.log file ", "not a log filter"),
        ("[telemetry]\nmetrics_listen = '9464'", "telemetry.metrics_listen file ", "expected ADDRESS:PORT"),
    ] {
        one_fault(text, &[], begins, contains);
    }
    one_fault(
        "",
        &[("RAIDHALL__AUTH__SECRET", "\u{fffd}")],
        "auth.secret RAIDHALL__AUTH__SECRET ",
        "not UTF-8",
    );
}

#[test]
fn values_that_contradict_each_other_are_faults() {
    for (text, begins) in [
        ("[lease]\nttl_ms = 2500", "lease.ttl_ms file "),
        ("[lease]\nrenew_ms = 1300", "lease.renew_ms file "),
        ("[lease]\ndue_scan_ms = 2001", "lease.due_scan_ms file "),
        ("[auth]\naccess_ttl_secs = 600\nrefresh_ttl_secs = 600", "auth.refresh_ttl_secs file "),
        ("[limits]\nsignal_bytes = 16384", "limits.signal_bytes file "),
        ("[limits]\noutbox_messages = 513", "limits.outbox_messages file "),
        ("[raid]\nring_bytes = 4096", "raid.ring_bytes file "),
        ("[raid]\npresence_grace_ms = 60001", "raid.presence_grace_ms file "),
        ("[store]\nwriters = 8", "store.writers file "),
        ("[shutdown]\nspread_ms = 30000", "shutdown.spread_ms file "),
        ("[shutdown]\nreadiness_delay_ms = 28000", "shutdown.readiness_delay_ms file "),
        ("[bus]\nurl = 'redis://:pw@cache'", "bus.url file "),
        ("[bus]\ncluster = true", "bus.cluster file "),
        ("[bus]\nca_file = 'ca.pem'", "bus.ca_file file "),
        ("[telemetry]\nmetrics_listen = '0.0.0.0:8080'", "telemetry.metrics_listen file "),
        ("[database]\nurl = 'postgres://u:pw@h/x'", "database.url file "),
    ] {
        one_fault(text, &[], begins, " must ");
    }
    one_fault(
        "[lease]\nrenew_ms = 1300",
        &[],
        "",
        "; now lease.ttl_ms = 3000 (default), lease.renew_ms = 1300 (file)",
    );
    let postgres = [("DATABASE_URL", "postgres://u:pw@h/x"), ("RAIDHALL__AUTH__SECRET", KEY)];
    assert_eq!(with_env(&postgres).database.url.kind(), DatabaseKind::Postgres);
}

#[test]
fn postgres_and_redis_make_a_cluster_node_wherever_they_are_set() {
    let database = ("DATABASE_URL", "postgres://u:pw@h/x");
    let secret = ("RAIDHALL__AUTH__SECRET", KEY);
    for name in ["REDIS_URL", "RAIDHALL__BUS__URL"] {
        for url in ["redis://cache", "rediss://ada:h%3Funter2@cache:6380/0", "redis://:pw@[::1]:6379/7"] {
            let bus = with_env(&[database, secret, (name, url)]).bus;
            assert_eq!((bus.url.kind(), bus.url.expose()), (BusKind::Redis, url));
        }
    }
    let tls = [database, secret, ("REDIS_URL", "rediss://cache"), ("RAIDHALL__BUS__CA_FILE", "ca.pem")];
    assert_eq!(with_env(&tls).bus.ca_file, Some("ca.pem".into()));

    let cluster = ("RAIDHALL__BUS__CLUSTER", "true");
    assert!(with_env(&[database, secret, cluster, ("REDIS_URL", "redis://cache/0")]).bus.cluster);
    let second = [database, secret, cluster, ("REDIS_URL", "redis://cache/1")];
    one_fault("", &second, "bus.cluster RAIDHALL__BUS__CLUSTER ", "no database but 0");
    let plain = [database, secret, ("REDIS_URL", "redis://cache"), ("RAIDHALL__BUS__CA_FILE", "ca.pem")];
    one_fault("", &plain, "bus.ca_file RAIDHALL__BUS__CA_FILE ", "rediss://");
}

#[test]
fn a_cluster_node_says_where_it_is_unless_its_address_does() {
    let node = [
        ("DATABASE_URL", "postgres://u:pw@h/x"),
        ("REDIS_URL", "redis://:hunter2@cache"),
        ("RAIDHALL__AUTH__SECRET", KEY),
    ];
    for listen in ["0.0.0.0:8080", "[::]:8080"] {
        let text = format!("[server]\nlisten = '{listen}'");
        one_fault(&text, &node, "server.listen file ", "server.advertised_url must be set");
        load(&format!("{text}\nadvertised_url = 'https://a.example'"), &node).expect("no faults");
        load(&text, &[node[0], node[2]]).expect("no faults without Redis");
    }
    load("[server]\nlisten = '10.0.0.1:8080'", &node).expect("no faults");
    let port = [node[0], node[1], node[2], ("PORT", "9000")];
    one_fault("", &port, "server.listen PORT ", "server.listen = \"0.0.0.0:9000\" (PORT)");
}

#[test]
fn the_files_for_clusters_load_with_what_they_leave_to_the_environment() {
    let shared = [
        ("DATABASE_URL", "postgres://u:pw@h/x"),
        ("REDIS_URL", "rediss://:pw@cache"),
        ("RAIDHALL__AUTH__SECRET", RANDOM),
        ("RAIDHALL__SERVER__ADVERTISED_URL", "https://a.example"),
    ];
    for name in ["cluster.toml", "production.toml"] {
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("config").join(name);
        let effective =
            Effective::load(Some(&path), env(&shared)).unwrap_or_else(|faults| panic!("{faults}"));
        assert_eq!(effective.config.bus.url.kind(), BusKind::Redis, "{name}");
        assert!(!effective.config.shutdown.readiness_delay.is_zero(), "{name}");
        let same = |line: &&str| {
            let (setting, source) = line.split_once("  # ").unwrap_or_default();
            let default = DEFAULTS.lines().any(|line| line == setting);
            source == path.display().to_string() && default
        };
        let shown = effective.to_string();
        assert_eq!(shown.lines().filter(same).collect::<Vec<_>>(), [""; 0], "{name} repeats defaults");
    }
}

#[test]
fn all_faults_come_at_once() {
    let found = faults(
        "[server]\nlistne = 'x'\nlisten = 1\n[limits]\nwatches = 0\n[lease]\nrenew_ms = 9000\n[raid]\ninbox = 'x'",
        &[("RAIDHALL__NOPE__X", "1"), ("DATABASE_URL", "mysql://x"), ("RAIDHALL__AUTH__SECRET", "short")],
    );
    let heads: Vec<_> =
        found.iter().map(|line| line.split(' ').take(2).collect::<Vec<_>>().join(" ")).collect();
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
fn a_file_that_cannot_be_read_is_a_fault_beside_the_others() {
    let bad = [("RAIDHALL__LIMITS__WATCHES", "0")];
    let missing = std::path::Path::new("/nonexistent/raidhall.toml");
    let found = Config::load(Some(missing), env(&bad)).expect_err("faults").to_string();
    assert!(
        found.starts_with("2 faults in the configuration:\n  /nonexistent/raidhall.toml: cannot be read"),
        "{found}"
    );

    let found = faults("[auth]\nsecret = hunter2\n", &bad);
    assert_eq!(found.len(), 2, "{found:#?}");
    assert!(found[0].starts_with(" file TOML parse error at line 2"), "{found:#?}");
    assert!(!found[0].contains("hunter2"), "{found:#?}");
}

#[test]
fn nothing_that_is_shown_holds_a_secret() {
    let vars = [
        ("DATABASE_URL", "postgres://ada:hunter2@h/x?password=hunter2"),
        ("REDIS_URL", "redis://ada:hunter2@cache"),
        ("RAIDHALL__AUTH__SECRET", KEY),
        ("RAIDHALL__AUTH__ACCEPTED_SECRET", KEY),
    ];
    let effective = Effective::load(None, env(&vars)).expect("no faults");
    let secret = effective.config.auth.secret.clone().expect("a secret");
    assert_eq!((secret.expose(), format!("{secret:?}")), (KEY, "[redacted]".to_owned()));
    assert!(effective.config.database.url.expose().contains("hunter2"));
    assert!(effective.config.bus.url.expose().contains("hunter2"));
    for shown in [effective.to_string(), format!("{:?}", effective.config)] {
        assert!(!shown.contains(KEY) && !shown.contains("hunter2"), "{shown}");
        assert!(shown.contains("[redacted]"), "{shown}");
    }
    for text in [
        "[auth]\nsecret = 98765",
        "[database]\nurl = 98765",
        "[auth]\nsecret = '98765'",
        "[bus]\nurl = 98765",
        "[bus]\nurl = 'cache:98765'",
        "[bus]\nurl = 'redis://:98765@'",
    ] {
        let found = faults(text, &[]);
        assert!(!found[0].contains("98765"), "{found:#?}");
    }
}

#[test]
fn what_is_in_effect_is_shown_with_its_source_and_loads_again() {
    let given = file("[limits]\nwatches = 5\n[server]\nallowed_origins = ['https://a.example', '*']");
    let effective = Effective::load(Some(given.path()), env(&[("PORT", "9000")])).expect("no faults");
    let shown = effective.to_string();
    let source = given.path().display();
    for line in [
        "listen = \"0.0.0.0:9000\"  # PORT".to_owned(),
        format!("allowed_origins = [\"https://a.example\", \"*\"]  # {source}"),
        format!("watches = 5  # {source}"),
        "migrate = true  # default".to_owned(),
    ] {
        assert!(shown.lines().any(|found| found == line), "no line {line} in\n{shown}");
    }
    let again = load(&shown, &[]).expect("no faults");
    assert_eq!(format!("{again:?}"), format!("{:?}", effective.config));
}

#[test]
fn urls_follow_from_what_is_advertised_or_bound() {
    let bound = "0.0.0.0:9000".parse().expect("an address");
    let urls = |config: &ServerConfig| {
        let base = config.base_url(bound);
        (base.to_string(), base.websocket())
    };
    let unset = Config::default().server;
    assert_eq!(urls(&unset), ("http://127.0.0.1:9000".into(), "ws://127.0.0.1:9000/api/v1/ws".into()));
    let set = with_env(&[("RAIDHALL__SERVER__ADVERTISED_URL", "https://play.example/raids/")]).server;
    let expected = ("https://play.example/raids".into(), "wss://play.example/raids/api/v1/ws".into());
    assert_eq!(urls(&set), expected);
}

#[test]
fn production_refuses_what_is_fine_on_ones_own_machine_all_at_once() {
    let production = "[server]\nprofile = 'production'\nallowed_origins = ['*']\n[auth]\naccepted_secret = \
                      'please change me, please change me'";
    let found = faults(production, &[]);
    let heads: Vec<_> = found.iter().map(|line| line.split(" must ").next().expect("a head")).collect();
    let expected = [
        "auth.secret default",
        "auth.accepted_secret file",
        "auth.guest default",
        "server.allowed_origins file",
    ];
    assert_eq!(heads, expected, "{found:#?}");
    load(&production.replace("production", "development"), &[]).expect("fine on one's own machine");
}

#[test]
fn production_takes_a_random_secret_and_a_decision_on_guests() {
    let production = "[server]\nprofile = 'production'\n[auth]\nguest = ";
    let secret = [("RAIDHALL__AUTH__SECRET", RANDOM)];
    assert!(load(&format!("{production}true"), &secret).expect("no faults").auth.guest);
    assert!(!load(&format!("{production}false"), &secret).expect("no faults").auth.guest);
    for made_up in [KEY, "11111111111111111111111111111111", "My-Own-Password-Is-Long-Enough-For-This"] {
        let secret = [("RAIDHALL__AUTH__SECRET", made_up)];
        one_fault(&format!("{production}true"), &secret, "auth.secret RAIDHALL__AUTH__SECRET ", "random");
    }
}

#[test]
fn a_secret_may_stand_in_a_file() {
    let kept = file(&format!("{KEY}\n"));
    let path = kept.path().display().to_string();
    let config = with_env(&[("RAIDHALL__AUTH__SECRET_FILE", &path)]);
    assert_eq!(config.auth.secret.expect("a secret").expose(), KEY);
    let url = file("postgres://u:hunter2@h/x");
    let url = url.path().display().to_string();
    let database = [("RAIDHALL__DATABASE__URL_FILE", url.as_str()), ("RAIDHALL__AUTH__SECRET", KEY)];
    assert_eq!(with_env(&database).database.url.expose(), "postgres://u:hunter2@h/x");

    let name = "auth.secret RAIDHALL__AUTH__SECRET_FILE ";
    one_fault("", &[("RAIDHALL__AUTH__SECRET_FILE", "/nonexistent/secret")], name, "cannot be read");
    let both = [("RAIDHALL__AUTH__SECRET_FILE", path.as_str()), ("RAIDHALL__AUTH__SECRET", KEY)];
    one_fault("", &both, name, "set one of them");
    let tls = "bus.ca_file RAIDHALL__BUS__CA_FILE ";
    one_fault("", &[("RAIDHALL__BUS__CA_FILE", "ca.pem")], tls, "rediss://");
}

const ISSUER: &str = "[[auth.issuers]]\nissuer = 'https://host.example'\naudience = 'raids'\njwks = ";

#[test]
fn issuers_are_listed_with_what_their_tokens_are_checked_by() {
    let second = "[[auth.issuers]]\nissuer = 'b'\naudience = 'c'\njwks = 'keys.json'\nexternal_id_prefix = 'b:'\n\
                  scope_claim = 'scope'\nlifetime_max_secs = 600";
    let text = format!("{ISSUER}'https://host.example/jwks'\n{second}");
    let config = load(&text, &[]).expect("no faults");
    let [first, second] = config.auth.issuers.as_slice() else { panic!("two") };
    assert_eq!((first.subject_claim.as_str(), first.name_claim.as_str()), ("sub", "name"));
    assert_eq!((first.scope_claim.as_str(), first.lifetime_max), ("", Duration::from_secs(86_400)));
    assert_eq!((second.external_id_prefix.as_str(), second.lifetime_max), ("b:", Duration::from_secs(600)));

    let given = file(&text);
    let shown = Effective::load(Some(given.path()), env(&[])).expect("no faults").to_string();
    let again = load(&shown, &[]).expect("what is shown loads again");
    assert_eq!(format!("{:?}", again.auth.issuers), format!("{:?}", config.auth.issuers));
}

#[test]
fn issuers_that_cannot_be_told_apart_or_trusted_are_faults() {
    let begins = "auth.issuers file ";
    one_fault(&format!("{ISSUER}'http://host.example/jwks'"), &[], begins, "must be https://");
    one_fault(&format!("{ISSUER}'ftp://host.example'"), &[], begins, "must be https://");
    one_fault(&format!("{ISSUER}'k'\nlifetime_max_secs = 5"), &[], begins, "60 to 2592000");
    one_fault(&format!("{ISSUER}'k'\nalg = 'none'"), &[], begins, "alg");
    one_fault("[[auth.issuers]]\nissuer = 'x'\njwks = 'k'", &[], begins, "audience");
    one_fault(&format!("{ISSUER}'k'\n{ISSUER}'k'\nexternal_id_prefix = 'b:'"), &[], begins, "of their own");
    let prefix = "[[auth.issuers]]\nissuer = 'b'\naudience = 'c'\njwks = 'k'\nexternal_id_prefix = ";
    one_fault(&format!("{ISSUER}'k'\n{prefix}''"), &[], begins, "of their own");
    one_fault(&format!("{prefix}'telegram:'"), &[], begins, "Telegram's");
    one_fault(&format!("{prefix}''").replace("'b'", "'raidhall'"), &[], begins, "ours");
}

#[test]
fn a_bots_token_looks_like_one_and_is_not_shown() {
    let token = "5768337691:AAH5YkoiEuPk8-FZa32hStHTqXiLPtAEhx8";
    let vars = [("RAIDHALL__AUTH__TELEGRAM_BOT_TOKEN", token)];
    let effective = Effective::load(None, env(&vars)).expect("no faults");
    assert_eq!(effective.config.auth.telegram_bot_token.as_ref().expect("a token").expose(), token);
    assert!(!effective.to_string().contains("AAH5") && !format!("{:?}", effective.config).contains("AAH5"));
    for bad in
        ["AAH5YkoiEuPk8-FZa32hStHTqXiLPtAEhx8", "5768337691:short", "bot:AAH5YkoiEuPk8-FZa32hStHTqXiLPtAEhx8"]
    {
        let found = faults(&format!("[auth]\ntelegram_bot_token = '{bad}'"), &[]);
        assert!(
            found[0].starts_with("auth.telegram_bot_token file ") && !found[0].contains(bad),
            "{found:#?}"
        );
    }
}

const ENDPOINT: &str = "[[webhooks.endpoints]]\nname = 'app'\nurl = 'https://app.example/hooks'\nsecret = ";
const HOOK_SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

#[test]
fn webhook_endpoints_are_listed_and_their_secrets_not_shown() {
    assert!(Config::default().webhooks.endpoints.is_empty());
    let text =
        format!("{ENDPOINT}'{HOOK_SECRET}'\nprevious_secret = '{HOOK_SECRET}'\ntypes = ['raid.failed']");
    let given = file(&text);
    let effective = Effective::load(Some(given.path()), env(&[])).expect("no faults");
    let [endpoint] = effective.config.webhooks.endpoints.as_slice() else { panic!("one") };
    assert_eq!((endpoint.name.as_str(), endpoint.kinds.len()), ("app", 1));
    assert!(endpoint.previous_key.is_some());
    for shown in [effective.to_string(), format!("{:?}", effective.config)] {
        assert!(!shown.contains("MfKQ9r8G") && shown.contains("redacted"), "{shown}");
    }
    let value = format!("[{{name=\"app\",url=\"http://127.0.0.1:9/x\",secret=\"{HOOK_SECRET}\"}}]");
    let from_environment = with_env(&[("RAIDHALL__WEBHOOKS__ENDPOINTS", value.as_str())]);
    assert_eq!(from_environment.webhooks.endpoints[0].kinds.len(), 5);
}

#[test]
fn webhook_endpoints_that_make_no_sense_are_faults_that_show_no_secret() {
    let begins = "webhooks.endpoints file ";
    let good = format!("{ENDPOINT}'{HOOK_SECRET}'");
    for (bad, about) in [
        (good.replace("https:", "http:"), "must be https://"),
        (good.replace("app.example", "me:pass@app.example"), "credentials"),
        (good.replace("'app'", "'my app'"), "name must be"),
        (good.replace("whsec_", "x"), "whsec_ and the base64"),
        (format!("{good}\nprevious_secret = 'whsec_c2hvcnQ='"), "previous_secret"),
        (format!("{good}\ntypes = ['raid.won']"), "raid.won"),
        (format!("{good}\nretries = 3"), "retries"),
        (format!("{good}\n{good}"), "a name of their own"),
        (format!("{ENDPOINT}7"), ""),
    ] {
        one_fault(&bad, &[], begins, about);
        assert!(!faults(&bad, &[])[0].contains("MfKQ9r8G"));
    }
}

#[test]
fn traces_go_to_a_collector_where_the_build_has_them() {
    let begins = "telemetry.otlp_endpoint file ";
    let at = |url: &str| format!("[telemetry]\notlp_endpoint = '{url}'");
    if cfg!(feature = "otel") {
        let config = load(&at("http://collector:4318"), &[]).expect("no faults");
        assert_eq!(config.telemetry.otlp_endpoint.expect("one").uri().port_u16(), Some(4318));
    } else {
        one_fault(&at("http://collector:4318"), &[], begins, "--features otel");
    }
    for bad in ["collector:4318", "ftp://collector", "http://me:pass@collector"] {
        one_fault(&at(bad), &[], begins, "must be http://");
        assert!(!faults(&at(bad), &[])[0].contains("pass"));
    }
    assert!((Config::default().telemetry.traces_sampled() - 0.01).abs() < 1e-9);
}
