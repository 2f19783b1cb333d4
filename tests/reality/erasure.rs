//! An erasure requested at another instance than the raid's owner, while other players watch.

use std::time::Duration;

use raidhall_loadtest::client::RestClient;
use raidhall_protocol::Command;
use reqwest::{Client, StatusCode};
use serde_json::json;
use tokio::time::{Instant, sleep};

use crate::cluster::Cluster;
use crate::event_stream_client::EventStreamClient;
use crate::raid_group::long_raid;
use crate::with_timeout;

const PATIENCE: Duration = Duration::from_secs(30);

#[tokio::test]
async fn an_erasure_at_one_instance_reaches_all_and_the_raid_continues() {
    with_timeout(async {
        let cluster = Cluster::start(2).await;
        let first = cluster.servers[0].target();
        let second = cluster.servers[1].target();
        let rest = RestClient::new(first).expect("a REST client");
        let ada = rest.sign_in_guest("Ada").await.expect("a guest");
        let ada_rest = rest.with_token(&ada.access_token);
        let raid = ada_rest
            .create_raid(&long_raid(3), None)
            .await
            .expect("a raid")
            .state;
        let ben = RestClient::new(second)
            .expect("a REST client")
            .sign_in_guest("Benedict")
            .await
            .expect("a guest");
        let ben_rest = RestClient::new(second)
            .expect("a REST client")
            .with_token(&ben.access_token);
        ben_rest
            .join_raid(&raid.invite_code)
            .await
            .expect("a member");
        let mut watching = cluster.open_socket(0, raid.id, &ada.access_token).await;
        let mut listening = EventStreamClient::open(second, raid.id, None, &ada.access_token).await;
        let text = "Benedict was here".to_owned();
        ben_rest
            .send_command(raid.id, None, &Command::Say { text })
            .await
            .expect("said");
        listening.wait_for(|told| told.event == "said").await;

        let answer = Client::builder().no_proxy().build().expect("a client");
        let answer = answer
            .delete(second.url("/api/v1/me"))
            .bearer_auth(&ben.access_token)
            .send()
            .await;
        assert_eq!(answer.expect("an answer").status(), StatusCode::ACCEPTED);
        let erased = listening
            .wait_for(|told| told.event == "player_erased")
            .await;
        assert_eq!(
            erased.data["data"],
            json!({"player": ben.player.id, "text": "[erased]", "made_raid": false})
        );
        let deadline = Instant::now() + PATIENCE;
        while json!(ada_rest.all_events(raid.id).await.expect("events"))
            .to_string()
            .contains("Benedict")
        {
            assert!(
                Instant::now() < deadline,
                "the ledger still contains the name"
            );
            sleep(Duration::from_millis(50)).await;
        }
        // A client that resumes from an old seq receives the rewritten history, from memory or from
        // the store.
        for target in [first, second] {
            let mut back =
                EventStreamClient::open(target, raid.id, Some(1), &ada.access_token).await;
            let last = back.wait_for(|told| told.event == "player_erased").await;
            let rows = json!(back.ledger_rows()).to_string();
            assert!(
                !rows.contains("Benedict") && rows.contains("[erased]"),
                "{rows}"
            );
            assert_eq!(last.id, erased.id);
        }
        let last = watching.say(raid.id, "after the erasure").await.0;
        listening.wait_for(|told| told.id == Some(last)).await;
        let seen = ada_rest.raid(raid.id).await.expect("the raid").state;
        assert_eq!(
            seen.messages
                .iter()
                .map(|said| said.text.as_str())
                .collect::<Vec<_>>(),
            ["[erased]", "after the erasure"]
        );
        assert!(ben_rest.profile().await.is_err());
    })
    .await;
}
