//! REST held against its OpenAPI document by Schemathesis: every operation and every check, with each kind of token.
//!
//! It makes requests that the document allows and such as it forbids, and looks at what comes back: the status, the
//! headers, the body, whether what is forbidden is refused, what is allowed accepted, and other methods answered 405.

use std::env;
use std::time::Duration;

use raidhall::auth::Scope;
use raidhall_loadtest::client::RestClient;
use raidhall_protocol::rest::TokenPair;
use tokio::process::Command;

use crate::process::TestDatabase;
use crate::with_timeout_of;

/// Far beyond what one of these takes.
const TIMEOUT: Duration = Duration::from_secs(400);
/// As long as a token must last.
const HOUR: Duration = Duration::from_secs(3_600);
/// So much at a time is for people.
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

async fn assert_api_conforms(scope: Scope) {
    let program = env::var_os("RAIDHALL_TEST_SCHEMATHESIS")
        .expect("a program, as scripts/schemathesis prints it");
    let site = TestDatabase::sqlite().await;
    let server = site.start_with(&NO_LIMITS).await;
    let TokenPair { player, .. } = RestClient::new(server.target())
        .expect("doors")
        .sign_in_guest("Ada")
        .await
        .expect("a guest");
    // Of no sign-in, so that signing out does not end it.
    let token = match scope {
        Scope::Player => site.token(scope, Some(&player), HOUR),
        Scope::Service | Scope::Admin => site.token(scope, None, HOUR),
    };
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
    // A stream does not end: it is looked at for as long as that.
    .args(["--max-examples", "12", "--request-timeout", "1.5"])
    .current_dir(env::temp_dir())
    .kill_on_drop(true);
    let output = run.output().await.expect("it runs");
    let told = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success(),
        "{told}\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let tested = told
        .lines()
        .find_map(|line| line.trim().strip_prefix("Tested: "))
        .map(str::parse::<u32>);
    assert!(
        tested.is_some_and(|tested| tested.is_ok_and(|tested| tested > 30)),
        "{told}"
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
