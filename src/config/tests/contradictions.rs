//! Tests of the constraints between values: in a cluster, in production, and in this build.

use super::*;

#[test]
fn values_that_contradict_each_other_are_faults() {
    for (text, begins) in [
        ("[lease]\nttl_ms = 2500", "lease.ttl_ms file "),
        ("[lease]\nrenew_ms = 1300", "lease.renew_ms file "),
        ("[lease]\ndue_scan_ms = 2001", "lease.due_scan_ms file "),
        (
            "[auth]\naccess_ttl_secs = 600\nrefresh_ttl_secs = 600",
            "auth.refresh_ttl_secs file ",
        ),
        (
            "[limits]\nsignal_bytes = 16384",
            "limits.signal_bytes file ",
        ),
        (
            "[limits]\noutbox_messages = 513",
            "limits.outbox_messages file ",
        ),
        ("[raid]\nring_bytes = 4096", "raid.ring_bytes file "),
        (
            "[raid]\npresence_grace_ms = 60001",
            "raid.presence_grace_ms file ",
        ),
        ("[store]\nwriters = 16", "store.writers file "),
        ("[shutdown]\nspread_ms = 30000", "shutdown.spread_ms file "),
        (
            "[shutdown]\nreadiness_delay_ms = 28000",
            "shutdown.readiness_delay_ms file ",
        ),
        ("[bus]\nurl = 'redis://:pw@cache'", "bus.url file "),
        ("[bus]\ncluster = true", "bus.cluster file "),
        ("[bus]\nca_file = 'ca.pem'", "bus.ca_file file "),
        (
            "[telemetry]\nmetrics_listen = '0.0.0.0:8080'",
            "telemetry.metrics_listen file ",
        ),
        (
            "[database]\nurl = 'postgres://u:pw@h/x'",
            "database.url file ",
        ),
    ] {
        assert_one_error(text, &[], begins, " must ");
    }
    assert_one_error(
        "[lease]\nrenew_ms = 1300",
        &[],
        "",
        "; now lease.ttl_ms = 3000 (default), lease.renew_ms = 1300 (file)",
    );
    let postgres = [
        ("DATABASE_URL", "postgres://u:pw@h/x"),
        ("RAIDHALL__AUTH__SECRET", KEY),
    ];
    assert_eq!(
        load_from_env(&postgres).database.url.kind(),
        DatabaseKind::Postgres
    );
}

#[test]
fn postgres_and_redis_from_any_source_make_a_cluster_node() {
    let database = ("DATABASE_URL", "postgres://u:pw@h/x");
    let secret = ("RAIDHALL__AUTH__SECRET", KEY);
    for name in ["REDIS_URL", "RAIDHALL__BUS__URL"] {
        for url in [
            "redis://cache",
            "rediss://ada:h%3Funter2@cache:6380/0",
            "redis://:pw@[::1]:6379/7",
        ] {
            let bus = load_from_env(&[database, secret, (name, url)]).bus;
            assert_eq!((bus.url.kind(), bus.url.expose()), (BusKind::Redis, url));
        }
    }
    let tls = [
        database,
        secret,
        ("REDIS_URL", "rediss://cache"),
        ("RAIDHALL__BUS__CA_FILE", "ca.pem"),
    ];
    assert_eq!(load_from_env(&tls).bus.ca_file, Some("ca.pem".into()));

    let cluster = ("RAIDHALL__BUS__CLUSTER", "true");
    assert!(
        load_from_env(&[database, secret, cluster, ("REDIS_URL", "redis://cache/0")])
            .bus
            .cluster
    );
    let second = [database, secret, cluster, ("REDIS_URL", "redis://cache/1")];
    assert_one_error(
        "",
        &second,
        "bus.cluster RAIDHALL__BUS__CLUSTER ",
        "no database but 0",
    );
    let plain = [
        database,
        secret,
        ("REDIS_URL", "redis://cache"),
        ("RAIDHALL__BUS__CA_FILE", "ca.pem"),
    ];
    assert_one_error(
        "",
        &plain,
        "bus.ca_file RAIDHALL__BUS__CA_FILE ",
        "rediss://",
    );
}

#[test]
fn a_cluster_node_on_a_wildcard_address_needs_an_advertised_url() {
    let node = [
        ("DATABASE_URL", "postgres://u:pw@h/x"),
        ("REDIS_URL", "redis://:hunter2@cache"),
        ("RAIDHALL__AUTH__SECRET", KEY),
    ];
    for listen in ["0.0.0.0:8080", "[::]:8080"] {
        let text = format!("[server]\nlisten = '{listen}'");
        assert_one_error(
            &text,
            &node,
            "server.listen file ",
            "server.advertised_url must be set",
        );
        load(
            &format!("{text}\nadvertised_url = 'https://a.example'"),
            &node,
        )
        .expect("no faults");
        load(&text, &[node[0], node[2]]).expect("no faults without Redis");
    }
    load("[server]\nlisten = '10.0.0.1:8080'", &node).expect("no faults");
    let port = [node[0], node[1], node[2], ("PORT", "9000")];
    assert_one_error(
        "",
        &port,
        "server.listen PORT ",
        "server.listen = \"0.0.0.0:9000\" (PORT)",
    );
}

#[test]
fn production_reports_every_development_setting_at_once() {
    let production = "[server]\nprofile = 'production'\nallowed_origins = ['*']\n[auth]\naccepted_secret = \
                      'please change me, please change me'";
    let found = load_errors(production, &[]);
    let heads: Vec<_> = found
        .iter()
        .map(|line| line.split(" must ").next().expect("a head"))
        .collect();
    let expected = [
        "auth.secret default",
        "auth.accepted_secret file",
        "auth.guest default",
        "database.url default",
        "server.allowed_origins file",
    ];
    assert_eq!(heads, expected, "{found:#?}");
    load(&production.replace("production", "development"), &[]).expect("fine on one's own machine");
}

#[test]
fn production_needs_a_random_secret_and_an_explicit_guest_setting() {
    let production = "[server]\nprofile = 'production'\n[database]\nurl = 'sqlite://raidhall.db'\n[auth]\nguest = ";
    let secret = [("RAIDHALL__AUTH__SECRET", RANDOM)];
    assert!(
        load(&format!("{production}true"), &secret)
            .expect("no faults")
            .auth
            .can_guests_sign_in
    );
    assert!(
        !load(&format!("{production}false"), &secret)
            .expect("no faults")
            .auth
            .can_guests_sign_in
    );
    for made_up in [
        KEY,
        "11111111111111111111111111111111",
        "My-Own-Password-Is-Long-Enough-For-This",
    ] {
        let secret = [("RAIDHALL__AUTH__SECRET", made_up)];
        assert_one_error(
            &format!("{production}true"),
            &secret,
            "auth.secret RAIDHALL__AUTH__SECRET ",
            "random",
        );
    }
}

#[test]
fn production_needs_an_explicit_database() {
    let production = "[server]\nprofile = 'production'\n[auth]\nguest = false";
    let secret = ("RAIDHALL__AUTH__SECRET", RANDOM);
    // An empty variable counts as not set.
    for unset in [vec![secret], vec![secret, ("DATABASE_URL", "")]] {
        let [fault] = &load_errors(production, &unset)[..] else {
            panic!("one fault");
        };
        assert!(fault.starts_with("database.url default "), "{fault}");
    }
    let chosen = [secret, ("DATABASE_URL", "sqlite://raidhall.db")];
    load(production, &chosen).expect("SQLite, if it was chosen");
}

#[test]
fn production_refuses_what_strangers_could_read_or_forge() {
    let rest = "[server]\nprofile = 'production'\n[auth]\nguest = false";
    let load_with = |name, value| {
        let defaults = [
            ("DATABASE_URL", "postgres://u@db/x?sslmode=verify-full"),
            ("REDIS_URL", "rediss://cache"),
            ("RAIDHALL__SERVER__ADVERTISED_URL", "https://a.example"),
            ("RAIDHALL__SERVER__TRUSTED_PROXIES", "10.0.0.0/8"),
            ("RAIDHALL__AUTH__SECRET", RANDOM),
        ];
        let vars = defaults.map(|(key, default)| (key, if key == name { value } else { default }));
        (vars, load(rest, &vars))
    };
    for (name, refused, accepted) in [
        (
            "DATABASE_URL",
            &["postgres://u@db/x", "postgres://u@db/x?sslmode=prefer"][..],
            &[
                "postgres://u@db/x?sslmode=require",
                "postgres://u@localhost/x",
                "postgres://u@[::1]/x",
                "postgres:///x?host=/run/postgresql",
            ][..],
        ),
        (
            "REDIS_URL",
            &["redis://cache", "redis://:pw@10.1.2.3:6379/2"],
            &["redis://127.0.0.1", "rediss://10.1.2.3"],
        ),
        (
            "RAIDHALL__SERVER__ADVERTISED_URL",
            &["http://a.example", "http://10.0.0.1:8080"],
            &["http://127.0.0.1:8080", "https://10.0.0.1"],
        ),
        (
            "RAIDHALL__SERVER__TRUSTED_PROXIES",
            &["0.0.0.0/0", "::/0", "10.0.0.0/8,128.0.0.0/1"],
            &["10.0.0.0/8,fc00::/7", ""],
        ),
    ] {
        for value in refused {
            let (vars, _) = load_with(name, value);
            assert_one_error(rest, &vars, "", "must in production ");
        }
        for value in accepted {
            let (_, loaded) = load_with(name, value);
            loaded.unwrap_or_else(|faults| panic!("{name}={value}: {faults}"));
        }
    }
}

#[test]
fn an_otlp_endpoint_needs_a_build_with_otel() {
    let begins = "telemetry.otlp_endpoint file ";
    let at = |url: &str| format!("[telemetry]\notlp_endpoint = '{url}'");
    if cfg!(feature = "otel") {
        let config = load(&at("http://collector:4318"), &[]).expect("no faults");
        assert_eq!(
            config
                .telemetry
                .otlp_endpoint
                .expect("one")
                .uri()
                .port_u16(),
            Some(4318)
        );
    } else {
        assert_one_error(&at("http://collector:4318"), &[], begins, "--features otel");
    }
    for bad in [
        "collector:4318",
        "ftp://collector",
        "http://me:pass@collector",
    ] {
        assert_one_error(&at(bad), &[], begins, "must be http://");
        assert!(!load_errors(&at(bad), &[])[0].contains("pass"));
    }
    assert!((Config::default().telemetry.trace_sample_ratio() - 0.01).abs() < 1e-9);
}
