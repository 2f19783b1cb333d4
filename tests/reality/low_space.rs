//! A server whose database has little space.

use std::time::Duration;

use raidhall_loadtest::client::{RestClient, RestClientError};
use raidhall_protocol::{Codec, OpKey};
use serde_json::Value;
use tokio::time::sleep;

use crate::process::TestDatabase;
use crate::raid_group::long_raid;
use crate::test_socket::TestSocket;
use crate::with_timeout;

#[tokio::test]
async fn new_raids_and_guests_are_refused_while_raids_go_on() {
    with_timeout(async {
        let database = TestDatabase::sqlite().await;
        let server = database.start().await;
        let rest = RestClient::new(server.target()).expect("a REST client");
        let member = rest.sign_in_guest("Ada").await.expect("a guest");
        let rest = rest.with_token(&member.access_token);
        let key = OpKey::try_from("make".to_owned()).expect("a key");
        let created = rest.create_raid(&long_raid(2), Some(&key)).await;
        let raid = created.expect("a raid");
        server.kill().await;
        let server = database
            .start_with(&[("LIMITS__DATABASE_BYTES", "1")])
            .await;

        let rest = RestClient::new(server.target()).expect("a REST client");
        let rest = rest.with_retry_timeout(Duration::ZERO);
        let refused = loop {
            match rest.sign_in_guest("Eve").await {
                Ok(_) => sleep(Duration::from_millis(10)).await,
                Err(refused) => break refused,
            }
        };
        assert!(is_overloaded(&refused), "{refused}");
        let rest = rest.with_token(&member.access_token);
        let refused = rest.create_raid(&long_raid(2), None).await;
        assert!(is_overloaded(&refused.expect_err("no raid")));
        let repeated = rest.create_raid(&long_raid(2), Some(&key)).await;
        let repeated = repeated.expect("the raid that was created before");
        assert_eq!(repeated.state.id, raid.state.id);

        let token = &member.access_token;
        let mut socket =
            TestSocket::connect_authenticated(server.target(), Codec::Json, token).await;
        socket.say(raid.state.id, "still here").await;
        let ready = reqwest::get(server.target().url("/readyz")).await;
        let ready = ready.expect("a response");
        assert_eq!(ready.status(), 200);
        let report: Value = ready.json().await.expect("JSON");
        assert_eq!(report["status"], "degraded");
        assert_eq!(report["checks"]["space"], "low");
    })
    .await;
}

fn is_overloaded(refused: &RestClientError) -> bool {
    matches!(refused, RestClientError::Refused { status: 503, body, .. } if body.retry && body.retry_after_ms == Some(60_000))
}
