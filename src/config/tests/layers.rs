//! Tests of the layers: which source wins, and how the effective configuration is shown.

use super::*;

#[test]
fn the_defaults_load() {
    let config = Config::default();
    assert_eq!(config.server.listen.to_string(), "127.0.0.1:8080");
    assert_eq!(config.server.advertised_url, None);
    assert_eq!(config.database.url.kind(), DatabaseKind::Sqlite);
    assert_eq!(
        config.database.url.sqlite_path(),
        Some("data/raidhall.db".into())
    );
    assert_eq!(
        (
            config.bus.url.kind(),
            config.bus.cluster,
            config.bus.ca_file
        ),
        (BusKind::Local, false, None)
    );
    assert_eq!(config.auth.secret, None);
    assert_eq!(config.auth.access_ttl, Duration::from_secs(900));
    assert_eq!(config.sockets.commands_per_second.get(), 20);
    assert_eq!(config.lease.ttl, Duration::from_secs(3));
    assert_eq!(config.telemetry.log_format, LogFormat::Auto);
}

#[test]
fn raidhall_variables_override_conventional_ones_the_file_and_defaults() {
    let text = "[database]\nurl = 'sqlite://file.db'\n[limits]\nwatches = 5\nreplay_events = 7";
    let path = |config: Config| config.database.url.sqlite_path().expect("SQLite");
    let config = load(text, &[("RAIDHALL__LIMITS__REPLAY_EVENTS", "9")]).expect("no faults");
    assert_eq!(
        (
            config.sockets.watches_max,
            config.sessions.replay_events_max
        ),
        (5, 9)
    );
    assert_eq!(config.sockets.outbox_messages_max, 256);
    assert_eq!(path(config), std::path::Path::new("file.db"));

    let platform = ("DATABASE_URL", "sqlite://platform.db");
    let ours = ("RAIDHALL__DATABASE__URL", "sqlite://ours.db");
    assert_eq!(
        path(load(text, &[platform]).expect("no faults")),
        std::path::Path::new("platform.db")
    );
    assert_eq!(
        path(load(text, &[ours, platform]).expect("no faults")),
        std::path::Path::new("ours.db")
    );
    assert_eq!(
        path(load(text, &[("DATABASE_URL", "")]).expect("no faults")),
        std::path::Path::new("file.db")
    );
}

#[test]
fn the_port_variable_opens_a_default_address_and_keeps_a_set_one() {
    let listen = |config: Config| config.server.listen.to_string();
    assert_eq!(listen(load_from_env(&[("PORT", "9000")])), "0.0.0.0:9000");
    assert_eq!(listen(load_from_env(&[("PORT", "")])), "127.0.0.1:8080");
    let chosen = "[server]\nlisten = '[::1]:80'";
    assert_eq!(
        listen(load(chosen, &[("PORT", "9000")]).expect("no faults")),
        "[::1]:9000"
    );
    let ours = ("RAIDHALL__SERVER__LISTEN", "10.0.0.1:81");
    assert_eq!(
        listen(load_from_env(&[("PORT", "9000"), ours])),
        "10.0.0.1:81"
    );
    assert_one_error(
        "",
        &[("PORT", "web")],
        "server.listen PORT ",
        "found \"web\"",
    );
    assert_one_error(
        "",
        &[("PORT", "70000")],
        "server.listen PORT ",
        "0 to 65535",
    );
    assert_one_error(
        "[server]\nlisten = 'x'",
        &[("PORT", "9000")],
        "server.listen file ",
        "found \"x\"",
    );
}

#[test]
fn environment_variables_take_the_type_of_their_key() {
    let config = load_from_env(&[
        (
            "RAIDHALL__SERVER__ALLOWED_ORIGINS",
            "https://a.example, HTTPS://B.example:443",
        ),
        (
            "RAIDHALL__SERVER__TRUSTED_PROXIES",
            "[\"10.0.0.0/8\", \"::1\"]",
        ),
        ("RAIDHALL__AUTH__GUEST", "false"),
        ("RAIDHALL__AUTH__SECRET", "11111111111111111111111111111111"),
        ("RAIDHALL__LIMITS__WATCHES", "3"),
        ("RAIDHALL__TELEMETRY__METRICS_LISTEN", ""),
        ("RUST_LOG", "debug,sqlx=warn"),
        ("HOME", "/root"),
        ("RAIDHALL_PORT", "tcp://10.0.0.1:80"),
    ]);
    assert!(config.http.allowed_origins.allows("https://a.example"));
    assert!(config.http.allowed_origins.allows("https://b.example"));
    assert!(!config.http.allowed_origins.allows("https://c.example"));
    assert!(
        config
            .http
            .trusted_proxies
            .is_trusted("10.1.2.3".parse().expect("an address"))
    );
    assert!(!config.auth.can_guests_sign_in && config.auth.secret.is_some());
    assert_eq!(config.sockets.watches_max, 3);
    assert_eq!(config.telemetry.metrics_listen, None);
    assert_eq!(config.telemetry.log, "debug,sqlx=warn");
}

#[test]
fn the_effective_configuration_is_shown_with_sources_and_reloads() {
    let given = write_config_file(
        "[limits]\nwatches = 5\n[server]\nallowed_origins = ['https://a.example', '*']",
    );
    let effective = EffectiveConfig::load(Some(given.path()), environment(&[("PORT", "9000")]))
        .expect("no faults");
    let shown = effective.to_string();
    let source = given.path().display();
    for line in [
        "listen = \"0.0.0.0:9000\"  # PORT".to_owned(),
        format!("allowed_origins = [\"https://a.example\", \"*\"]  # {source}"),
        format!("watches = 5  # {source}"),
        "migrate = true  # default".to_owned(),
    ] {
        assert!(
            shown.lines().any(|found| found == line),
            "no line {line} in\n{shown}"
        );
    }
    let again = load(&shown, &[]).expect("no faults");
    assert_eq!(format!("{again:?}"), format!("{:?}", effective.config));
}

#[test]
fn urls_derive_from_the_advertised_url_or_the_bound_address() {
    let bound = "0.0.0.0:9000".parse().expect("an address");
    let urls = |config: &ServerConfig| {
        let base = config.base_url(bound);
        (base.to_string(), base.websocket_url())
    };
    let unset = Config::default().server;
    assert_eq!(
        urls(&unset),
        (
            "http://127.0.0.1:9000".into(),
            "ws://127.0.0.1:9000/api/v1/ws".into()
        )
    );
    let set = load_from_env(&[(
        "RAIDHALL__SERVER__ADVERTISED_URL",
        "https://play.example/raids/",
    )])
    .server;
    let expected = (
        "https://play.example/raids".into(),
        "wss://play.example/raids/api/v1/ws".into(),
    );
    assert_eq!(urls(&set), expected);
}

#[test]
fn the_cluster_config_files_load_with_the_environment_set() {
    let shared = [
        ("DATABASE_URL", "postgres://u:pw@h/x?sslmode=require"),
        ("REDIS_URL", "rediss://:pw@cache"),
        ("RAIDHALL__AUTH__SECRET", RANDOM),
        ("RAIDHALL__SERVER__ADVERTISED_URL", "https://a.example"),
    ];
    for name in ["cluster.toml", "production.toml"] {
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("config")
            .join(name);
        let effective = EffectiveConfig::load(Some(path.as_path()), environment(&shared))
            .unwrap_or_else(|faults| panic!("{faults}"));
        assert_eq!(effective.config.bus.url.kind(), BusKind::Redis, "{name}");
        assert!(
            !effective.config.shutdown.readiness_delay.is_zero(),
            "{name}"
        );
        let same = |line: &&str| {
            let (setting, source) = line.split_once("  # ").unwrap_or_default();
            let default = DEFAULTS.lines().any(|line| line == setting);
            source == path.display().to_string() && default
        };
        let shown = effective.to_string();
        assert_eq!(
            shown.lines().filter(same).collect::<Vec<_>>(),
            [""; 0],
            "{name} repeats defaults"
        );
    }
}

#[test]
fn platforms_override_the_settings_of_the_image() {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("config/image.toml");
    let load = |vars| {
        EffectiveConfig::load(Some(path.as_path()), environment(vars))
            .unwrap_or_else(|faults| panic!("{faults}"))
            .config
    };
    let config = load(&[]);
    assert_eq!(config.server.listen, ([0, 0, 0, 0], 8080).into());
    assert_eq!(
        config.database.url.expose(),
        "sqlite:///var/lib/raidhall/raidhall.db"
    );
    let config = load(&[
        ("PORT", "9000"),
        ("DATABASE_URL", "postgres://u@db/x"),
        ("RAIDHALL__AUTH__SECRET", RANDOM),
    ]);
    assert_eq!(config.server.listen, ([0, 0, 0, 0], 9000).into());
    assert_eq!(config.database.url.kind(), DatabaseKind::Postgres);
}

#[test]
fn a_later_file_overrides_single_keys_of_an_earlier_one() {
    let image = write_config_file(
        "[server]\nlisten = '0.0.0.0:8080'\n[database]\nurl = 'sqlite:///var/x.db'",
    );
    let own = write_config_file("[server]\nlisten = '127.0.0.1:9000'");
    let config = EffectiveConfig::load([image.path(), own.path()], environment(&[]))
        .unwrap_or_else(|faults| panic!("{faults}"))
        .config;
    assert_eq!(config.server.listen, ([127, 0, 0, 1], 9000).into());
    assert_eq!(config.database.url.expose(), "sqlite:///var/x.db");
}
