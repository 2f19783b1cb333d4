//! Schemathesis checks the REST API against its OpenAPI document: every operation and every check,
//! with each kind of token.
//!
//! It sends requests that the document allows and requests that it forbids, and checks the
//! responses: the status, the headers, the body, that forbidden requests are refused and allowed
//! ones accepted, and that other methods get 405.

use std::env;
use std::time::Duration;

use raidhall::auth::Scope;
use raidhall_loadtest::client::RestClient;
use raidhall_protocol::rest::TokenPair;
use tokio::process::Command;

use crate::process::TestDatabase;
use crate::with_timeout_of;

/// Time limit of one run, far beyond what it takes.
const TIMEOUT: Duration = Duration::from_secs(400);
/// Lifetime of the tokens: they must last for the whole run.
const HOUR: Duration = Duration::from_secs(3_600);
/// The default limits are meant for people; a run sends far more requests.
const NO_LIMITS: [(&str, &str); 8] = [
    ("LIMITS__REST_READS_PER_MINUTE", "1000000"),
    ("LIMITS__REST_WRITES_PER_MINUTE", "1000000"),
    ("LIMITS__GUEST_SIGNINS_PER_MINUTE", "1000000"),
    ("LIMITS__INVITE_GUESSES_PER_MINUTE", "1000000"),
    ("LIMITS__COMMANDS_PER_SECOND", "10000"),
    ("LIMITS__CONNECTIONS_PER_PLAYER", "10000"),
    ("LIMITS__CONNECTIONS_PER_ADDRESS", "10000"),
    ("LIMITS__HANDSHAKES_PER_SECOND", "10000"),
];

/// The schema does not say which values a setting can have, which depends on its key (a time zone is
/// one of some hundred names), and which items there are, which depends on the definitions.
const CONFIGURATION: &str = r#"
[[operations]]
include-path = ["/api/v1/me/commands", "/api/v1/players/{id}/commands"]
checks.positive_data_acceptance.expected-statuses = ["2xx", "401", "403", "404", "409", "422", "429", "5xx"]
"#;

async fn assert_api_conforms(scope: Scope) {
    let program = env::var_os("RAIDHALL_TEST_SCHEMATHESIS")
        .expect("a program, as scripts/schemathesis prints it");
    let database = TestDatabase::sqlite().await;
    let server = database.start_with(&NO_LIMITS).await;
    let TokenPair { player, .. } = RestClient::new(server.target())
        .expect("a REST client")
        .sign_in_guest("Ada")
        .await
        .expect("a guest");
    // The token belongs to no sign-in, so that a sign-out does not end it.
    let token = match scope {
        Scope::Player => database.token(scope, Some(&player), HOUR),
        Scope::Service | Scope::Admin => database.token(scope, None, HOUR),
    };
    let directory = tempfile::tempdir().expect("a directory");
    let configuration = directory.path().join("schemathesis.toml");
    std::fs::write(configuration, CONFIGURATION).expect("written");
    let seed = env::var("RAIDHALL_TEST_SEED").unwrap_or_else(|_| "1".to_owned());
    let mut run = Command::new(program);
    run.args([
        "run",
        &server.target().url("/api/openapi.json"),
        "--no-color",
        "--seed",
        &seed,
    ])
    .args(["--header", &format!("Authorization: Bearer {token}")])
    // A stream does not end: the request timeout bounds how long its response is read.
    .args(["--max-examples", "12", "--request-timeout", "1.5"])
    .current_dir(directory.path())
    .kill_on_drop(true);
    let output = run.output().await.expect("it runs");
    let output_text = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success(),
        "{output_text}\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let tested = output_text
        .lines()
        .find_map(|line| line.trim().strip_prefix("Tested: "))
        .map(str::parse::<u32>);
    assert!(
        tested.is_some_and(|tested| tested.is_ok_and(|tested| tested > 30)),
        "{output_text}"
    );
}

#[tokio::test]
async fn the_rest_api_matches_its_document_for_a_player() {
    with_timeout_of(TIMEOUT, assert_api_conforms(Scope::Player)).await;
}

#[tokio::test]
async fn the_rest_api_matches_its_document_for_a_backend() {
    with_timeout_of(TIMEOUT, assert_api_conforms(Scope::Service)).await;
}

#[tokio::test]
async fn the_rest_api_matches_its_document_for_an_operator() {
    with_timeout_of(TIMEOUT, assert_api_conforms(Scope::Admin)).await;
}
