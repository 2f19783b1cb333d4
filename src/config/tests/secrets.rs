//! Tests that credentials can be read from files and are never shown.

use super::*;

#[test]
fn configuration_output_and_faults_contain_no_secret() {
    let vars = [
        (
            "DATABASE_URL",
            "postgres://ada:hunter2@h/x?password=hunter2",
        ),
        ("REDIS_URL", "redis://ada:hunter2@cache"),
        ("RAIDHALL__AUTH__SECRET", KEY),
        ("RAIDHALL__AUTH__ACCEPTED_SECRET", KEY),
    ];
    let effective = EffectiveConfig::load(None, environment(&vars)).expect("no faults");
    let secret = effective.config.auth.secret.clone().expect("a secret");
    assert_eq!(
        (secret.expose(), format!("{secret:?}")),
        (KEY.as_bytes(), "[redacted]".to_owned())
    );
    assert!(effective.config.database.url.expose().contains("hunter2"));
    assert!(effective.config.bus.url.expose().contains("hunter2"));
    for shown in [
        effective.to_string(),
        format!("{effective:?}"),
        format!("{:?}", effective.config),
    ] {
        assert!(
            !shown.contains(KEY) && !shown.contains("hunter2"),
            "{shown}"
        );
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
        let found = load_errors(text, &[]);
        assert!(!found[0].contains("98765"), "{found:#?}");
    }
}

#[test]
fn a_secret_may_be_read_from_a_file() {
    let kept = write_config_file(&format!("{KEY}\n"));
    let path = kept.path().display().to_string();
    let config = load_from_env(&[("RAIDHALL__AUTH__SECRET_FILE", &path)]);
    assert_eq!(
        config.auth.secret.expect("a secret").expose(),
        KEY.as_bytes()
    );
    let url = write_config_file("postgres://u:hunter2@h/x");
    let url = url.path().display().to_string();
    let database = [
        ("RAIDHALL__DATABASE__URL_FILE", url.as_str()),
        ("RAIDHALL__AUTH__SECRET", KEY),
    ];
    assert_eq!(
        load_from_env(&database).database.url.expose(),
        "postgres://u:hunter2@h/x"
    );

    let name = "auth.secret RAIDHALL__AUTH__SECRET_FILE ";
    assert_one_error(
        "",
        &[("RAIDHALL__AUTH__SECRET_FILE", "/nonexistent/secret")],
        name,
        "cannot be read",
    );
    let both = [
        ("RAIDHALL__AUTH__SECRET_FILE", path.as_str()),
        ("RAIDHALL__AUTH__SECRET", KEY),
    ];
    assert_one_error("", &both, name, "set one of them");
    let tls = "bus.ca_file RAIDHALL__BUS__CA_FILE ";
    assert_one_error(
        "",
        &[("RAIDHALL__BUS__CA_FILE", "ca.pem")],
        tls,
        "rediss://",
    );
}

#[test]
fn a_bot_token_is_validated_and_not_shown() {
    let token = "5768337691:AAH5YkoiEuPk8-FZa32hStHTqXiLPtAEhx8";
    let vars = [("RAIDHALL__AUTH__TELEGRAM_BOT_TOKEN", token)];
    let effective = EffectiveConfig::load(None, environment(&vars)).expect("no faults");
    assert_eq!(
        effective
            .config
            .auth
            .telegram_bot_token
            .as_ref()
            .expect("a token")
            .expose(),
        token
    );
    assert!(
        !effective.to_string().contains("AAH5")
            && !format!("{:?}", effective.config).contains("AAH5")
    );
    for bad in [
        "AAH5YkoiEuPk8-FZa32hStHTqXiLPtAEhx8",
        "5768337691:short",
        "bot:AAH5YkoiEuPk8-FZa32hStHTqXiLPtAEhx8",
    ] {
        let found = load_errors(&format!("[auth]\ntelegram_bot_token = '{bad}'"), &[]);
        assert!(
            found[0].starts_with("auth.telegram_bot_token file ") && !found[0].contains(bad),
            "{found:#?}"
        );
    }
}

#[test]
fn only_scheme_and_host_of_http_urls_are_shown() {
    let issuer = "issuer = 'https://host.example'\naudience = 'raids'\njwks = 'https://host.example/jwks?token=hunter2&v=1'";
    let endpoint = "name = 'app'\nurl = 'https://app.example/services/hunter2'";
    let key = "secret = 'whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw'";
    let given = write_config_file(&format!(
        "[[auth.issuers]]\n{issuer}\n[[webhooks.endpoints]]\n{endpoint}\n{key}"
    ));
    let effective = EffectiveConfig::load(Some(given.path()), environment(&[])).expect("no faults");
    assert!(
        effective.config.webhooks.endpoints[0]
            .url
            .uri()
            .path()
            .ends_with("hunter2")
    );
    for shown in [effective.to_string(), format!("{:?}", effective.config)] {
        assert!(!shown.contains("hunter2"), "{shown}");
        for address in [
            "https://host.example/[redacted]",
            "https://app.example/[redacted]",
        ] {
            assert!(shown.contains(address), "{shown}");
        }
    }
    // A build without traces reports a fault, which must not show the token; a build with traces
    // reports none.
    let collector =
        write_config_file("[telemetry]\notlp_endpoint = 'http://collector:4318/?token=hunter2'");
    let shown = match EffectiveConfig::load(Some(collector.path()), environment(&[])) {
        Ok(effective) => format!("{effective} {:?}", effective.config),
        Err(faults) => faults.to_string(),
    };
    assert!(
        shown.contains("http://collector:4318/[redacted]") && !shown.contains("hunter2"),
        "{shown}"
    );
}
