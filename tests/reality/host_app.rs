//! The example of a host app's backend does what its document says.

use std::env;
use std::time::Duration;

use raidhall::auth::Scope;
use raidhall_loadtest::client::RestClient;
use raidhall_protocol::rest::{Data, NewRaid, RaidView};
use raidhall_protocol::{Codec, Command as Player, ErrorType};
use reqwest::Client;
use serde_json::{Value, json};
use tokio::process::Command;

use crate::process::TestDatabase;
use crate::raid_group::long_raid;
use crate::test_socket::TestSocket;
use crate::with_timeout;

#[tokio::test]
async fn the_example_backend_wins_a_raid_and_sees_it_completed() {
    with_timeout(async {
        let database = TestDatabase::sqlite().await;
        let server = database.start().await;
        let token = ["token", "--scope", "service", "--subject", "host-app"];
        let token = database
            .command(&token, &[])
            .output()
            .await
            .expect("a token")
            .stdout;
        let token = String::from_utf8(token).expect("text");
        let url = server.target().url("");
        let output =
            Command::new(env::var_os("RAIDHALL_TEST_PYTHON").expect("see scripts/with-services"))
                .arg(concat!(
                    env!("CARGO_MANIFEST_DIR"),
                    "/docs/examples/backend.py"
                ))
                .env("RAIDHALL_URL", url.trim_end_matches('/'))
                .env("RAIDHALL_TOKEN", token.trim())
                .output();
        let output = output.await.expect("it runs");
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(
            output.status.success() && said.ends_with("raid_completed\nwon\n"),
            "{output:?}"
        );
    })
    .await;
}

#[tokio::test]
async fn backend_commands_by_websocket_are_in_the_audit_log() {
    with_timeout(async {
        let database = TestDatabase::sqlite().await;
        let server = database.start().await;
        let rest = RestClient::new(server.target()).expect("a REST client");
        let ada = rest.sign_in_guest("Ada").await.expect("a guest");
        let rest = rest.with_token(&ada.access_token);
        let raid = rest
            .create_raid(&long_raid(2), None)
            .await
            .expect("a raid")
            .state
            .id;
        rest.send_command(raid, None, &Player::Start)
            .await
            .expect("started");
        let token = |scope| database.token(scope, None, Duration::from_secs(600));
        let mut socket =
            TestSocket::connect_authenticated(server.target(), Codec::Json, &token(Scope::Service))
                .await;
        for xp in [5, 7] {
            let note = Some("about a player".to_owned());
            let contribute = Player::Contribute {
                player: ada.player.id,
                xp,
                kind: "habit".into(),
                note,
            };
            socket
                .execute(raid, None, contribute)
                .await
                .expect("credited");
        }
        let client = Client::builder().no_proxy().build().expect("a client");
        let asked = client
            .get(server.target().url("/api/v1/admin/audit"))
            .bearer_auth(token(Scope::Admin))
            .send();
        let audit: Value = asked.await.expect("an answer").json().await.expect("JSON");
        let done: Vec<_> = audit["data"]
            .as_array()
            .expect("rows")
            .iter()
            .map(|entry| &entry["details"]["xp"])
            .collect();
        assert_eq!(done, [&json!(5), &json!(7)], "{audit}");
        assert!(!audit.to_string().contains("about a player"));
    })
    .await;
}

#[tokio::test]
async fn only_the_backend_sets_the_tasks_of_a_ranked_raid() {
    with_timeout(check_ranked_raid(TestDatabase::sqlite().await)).await;
}

#[tokio::test]
async fn only_the_backend_sets_the_tasks_of_a_ranked_raid_in_postgres() {
    with_timeout(check_ranked_raid(TestDatabase::postgres().await)).await;
}

async fn check_ranked_raid(database: TestDatabase) {
    let server = database.start().await;
    let visitor = RestClient::new(server.target()).expect("a REST client");
    let ada = visitor.sign_in_guest("Ada").await.expect("a guest");
    let player = visitor.with_token(&ada.access_token);
    let token = database.token(Scope::Service, None, Duration::from_secs(600));
    let backend = visitor.with_token(&token);
    let ranked = NewRaid {
        ranked: Some(true),
        ..long_raid(2)
    };
    let refused = player
        .create_raid(&ranked, None)
        .await
        .expect_err("refused");
    assert!(refused.has_type(ErrorType::Forbidden), "{refused}");

    let mut body = json!(ranked);
    body["leader"] = json!(ada.player.id);
    let client = Client::builder().no_proxy().build().expect("a client");
    let created = client
        .post(server.target().url("/api/v1/raids"))
        .bearer_auth(&token)
        .json(&body)
        .send();
    let created: Data<RaidView> = created
        .await
        .expect("an answer")
        .json()
        .await
        .expect("a raid");
    let raid = created.data.state.id;
    let add_task = Player::AddTask {
        title: "Read".into(),
        xp: 40,
        minutes: 5,
    };
    let refused = player.send_command(raid, None, &add_task).await;
    let refused = refused.expect_err("refused");
    assert!(refused.has_type(ErrorType::Forbidden), "{refused}");
    backend
        .send_command(raid, None, &add_task)
        .await
        .expect("added");
    server.kill().await;

    let server = database.start().await;
    let player = RestClient::new(server.target())
        .expect("a REST client")
        .with_token(&ada.access_token);
    let view = player.raid(raid).await.expect("the raid");
    let authors: Vec<_> = view.state.tasks.iter().map(|task| task.by).collect();
    assert_eq!((view.state.ranked, authors), (true, vec![None]));
    let task = view.state.tasks[0].id;
    let removed = player
        .send_command(raid, None, &Player::RemoveTask { task })
        .await;
    let refused = removed.expect_err("refused");
    assert!(refused.has_type(ErrorType::Forbidden), "{refused}");
}
