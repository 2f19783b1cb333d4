//! Tests of the two lists of tables: issuers and webhook endpoints.

use super::*;

const ISSUER: &str =
    "[[auth.issuers]]\nissuer = 'https://host.example'\naudience = 'raids'\njwks = ";

#[test]
fn issuers_are_read_with_their_token_settings() {
    let second = "[[auth.issuers]]\nissuer = 'b'\naudience = 'c'\njwks = 'keys.json'\nexternal_id_prefix = 'b:'\n\
                  scope_claim = 'scope'\nlifetime_max_secs = 600";
    let text = format!("{ISSUER}'https://host.example/jwks'\n{second}");
    let config = load(&text, &[]).expect("no faults");
    let [first, second] = config.auth.issuers.as_slice() else {
        panic!("two")
    };
    assert_eq!(
        (first.subject_claim.as_str(), first.name_claim.as_str()),
        ("sub", "name")
    );
    assert_eq!(
        (first.scope_claim.clone(), first.lifetime_max),
        (None, Duration::from_secs(86_400))
    );
    assert_eq!(
        (second.external_id_prefix.as_str(), second.lifetime_max),
        ("b:", Duration::from_secs(600))
    );

    let given = write_config_file(&text);
    let shown = EffectiveConfig::load(Some(given.path()), environment(&[]))
        .expect("no faults")
        .to_string();
    let again = load(&shown, &[]).expect("what is shown loads again");
    assert_eq!(
        format!("{:?}", again.auth.issuers),
        format!("{:?}", config.auth.issuers)
    );
}

#[test]
fn ambiguous_or_untrustworthy_issuers_are_faults() {
    let begins = "auth.issuers file ";
    assert_one_error(
        &format!("{ISSUER}'http://host.example/jwks'"),
        &[],
        begins,
        "must be https://",
    );
    assert_one_error(
        &format!("{ISSUER}'ftp://host.example'"),
        &[],
        begins,
        "must be https://",
    );
    assert_one_error(
        &format!("{ISSUER}'k'\nlifetime_max_secs = 5"),
        &[],
        begins,
        "60 to 2592000",
    );
    assert_one_error(&format!("{ISSUER}'k'\nalg = 'none'"), &[], begins, "alg");
    assert_one_error(
        "[[auth.issuers]]\nissuer = 'x'\njwks = 'k'",
        &[],
        begins,
        "audience",
    );
    assert_one_error(
        &format!("{ISSUER}'k'\n{ISSUER}'k'\nexternal_id_prefix = 'b:'"),
        &[],
        begins,
        "of their own",
    );
    let prefix =
        "[[auth.issuers]]\nissuer = 'b'\naudience = 'c'\njwks = 'k'\nexternal_id_prefix = ";
    assert_one_error(
        &format!("{ISSUER}'k'\n{prefix}''"),
        &[],
        begins,
        "of their own",
    );
    assert_one_error(&format!("{prefix}'telegram:'"), &[], begins, "Telegram's");
    assert_one_error(
        &format!("{prefix}''").replace("'b'", "'raidhall'"),
        &[],
        begins,
        "Raidhall's own",
    );
}

const ENDPOINT: &str =
    "[[webhooks.endpoints]]\nname = 'app'\nurl = 'https://app.example/hooks'\nsecret = ";
const HOOK_SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

#[test]
fn webhook_endpoints_are_read_and_their_secrets_redacted() {
    assert!(Config::default().webhooks.endpoints.is_empty());
    let text = format!(
        "{ENDPOINT}'{HOOK_SECRET}'\nprevious_secret = '{HOOK_SECRET}'\ntypes = ['raid.failed']"
    );
    let given = write_config_file(&text);
    let effective = EffectiveConfig::load(Some(given.path()), environment(&[])).expect("no faults");
    let [endpoint] = effective.config.webhooks.endpoints.as_slice() else {
        panic!("one")
    };
    assert_eq!(
        (endpoint.name.as_str(), endpoint.event_kinds.len()),
        ("app", 1)
    );
    assert!(endpoint.previous_signing_key.is_some());
    for shown in [effective.to_string(), format!("{:?}", effective.config)] {
        assert!(
            !shown.contains("MfKQ9r8G") && shown.contains("redacted"),
            "{shown}"
        );
    }
    let value = format!("[{{name=\"app\",url=\"http://127.0.0.1:9/x\",secret=\"{HOOK_SECRET}\"}}]");
    let from_environment = load_from_env(&[("RAIDHALL__WEBHOOKS__ENDPOINTS", value.as_str())]);
    assert_eq!(from_environment.webhooks.endpoints[0].event_kinds.len(), 5);
}

#[test]
fn invalid_webhook_endpoints_are_faults_without_the_secret() {
    let begins = "webhooks.endpoints file ";
    let good = format!("{ENDPOINT}'{HOOK_SECRET}'");
    for (bad, about) in [
        (good.replace("https:", "http:"), "must be https://"),
        (
            good.replace("app.example", "me:pass@app.example"),
            "credentials",
        ),
        (good.replace("'app'", "'my app'"), "name must be"),
        (good.replace("whsec_", "x"), "whsec_ and the base64"),
        (
            format!("{good}\nprevious_secret = 'whsec_c2hvcnQ='"),
            "previous_secret",
        ),
        (format!("{good}\ntypes = ['raid.won']"), "raid.won"),
        (format!("{good}\nretries = 3"), "retries"),
        (format!("{good}\n{good}"), "a name of their own"),
        (format!("{ENDPOINT}7"), ""),
    ] {
        assert_one_error(&bad, &[], begins, about);
        assert!(!load_errors(&bad, &[])[0].contains("MfKQ9r8G"));
    }
}
