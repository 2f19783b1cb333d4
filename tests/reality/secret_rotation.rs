//! The secret is changed on one instance after the other while bots play.

use std::time::Duration;

use raidhall_loadtest::client::RestClient;
use reqwest::{Client, StatusCode};
use rustix::process::Signal;
use serde_json::{Value, json};

use crate::cluster::Cluster;
use crate::process::{SECRET, TestDatabase};
use crate::raid_group::long_raid;
use crate::with_timeout;

const NEXT_SECRET: &str = "the secret that comes after it, of thirty-two bytes and more";

async fn refresh_tokens(cluster: &Cluster, index: usize, token: &str) -> (StatusCode, Value) {
    let client = Client::builder().no_proxy().build().expect("a client");
    let url = cluster.servers[index].target().url("/api/v1/auth/refresh");
    let answer = client
        .post(url)
        .json(&json!({"refresh_token": token}))
        .send()
        .await
        .expect("an answer");
    (
        answer.status(),
        answer.json::<Value>().await.expect("JSON")["data"].clone(),
    )
}

#[tokio::test]
async fn a_secret_rotation_disturbs_no_client() {
    with_timeout(async {
        let database = TestDatabase::postgres().await;
        let mut cluster =
            Cluster::start_on(database, 1, &[("AUTH__ACCEPTED_SECRET", NEXT_SECRET)]).await;
        cluster
            .add_node(
                &[
                    ("AUTH__SECRET", NEXT_SECRET),
                    ("AUTH__ACCEPTED_SECRET", SECRET),
                ],
                &[],
            )
            .await;
        let game = cluster.start_group(4, &long_raid(4)).await.start_playing();
        game.wait_for_events(40).await;

        let guest = RestClient::with_targets(cluster.targets.clone())
            .expect("a REST client")
            .sign_in_guest("Ada")
            .await
            .expect("a guest");
        let (status, first) = refresh_tokens(&cluster, 0, &guest.refresh_token).await;
        assert_eq!(status, StatusCode::OK);
        let (_, repeated) = refresh_tokens(&cluster, 1, &guest.refresh_token).await;
        assert_eq!(
            repeated["refresh_token"], first["refresh_token"],
            "the repeat returns the same tokens under another secret"
        );
        let token = first["refresh_token"].as_str().expect("a token");
        let (_, second) = refresh_tokens(&cluster, 1, token).await;
        let (_, repeated) = refresh_tokens(&cluster, 0, token).await;
        assert_eq!(repeated["refresh_token"], second["refresh_token"]);
        for pair in [&first, &repeated, &second] {
            let token = pair["access_token"].as_str().expect("a token");
            for index in 0..2 {
                let rest = RestClient::with_targets(cluster.targets.clone())
                    .expect("a REST client")
                    .with_home(index);
                assert!(
                    rest.with_token(token).profile().await.is_ok(),
                    "every token is accepted at every instance"
                );
            }
        }
        game.stop_and_judge().await;
    })
    .await;
}

/// Restarts one instance after the other with these settings, as a deploy does.
async fn restart_all(cluster: &mut Cluster, settings: &[(&str, &str)]) {
    for index in 0..cluster.servers.len() {
        cluster.servers[index].signal(Signal::TERM);
        assert_eq!(
            cluster.servers[index]
                .exit_code(Duration::from_secs(30))
                .await,
            Some(0)
        );
        cluster.restart_with_settings(index, settings).await;
    }
}

/// Follows the procedure that docs/SECURITY.md gives operators.
#[tokio::test]
async fn a_sign_in_outlives_a_secret_rotation_in_three_deploys() {
    with_timeout(async {
        let mut cluster = Cluster::start(2).await;
        let game = cluster.start_group(4, &long_raid(4)).await.start_playing();
        let guest = RestClient::with_targets(cluster.targets.clone())
            .expect("a REST client")
            .sign_in_guest("Ada")
            .await
            .expect("a guest");
        let mut refresh_token = guest.refresh_token;
        let mut access = vec![guest.access_token];
        for settings in [
            &[("AUTH__ACCEPTED_SECRET", NEXT_SECRET)][..],
            &[
                ("AUTH__SECRET", NEXT_SECRET),
                ("AUTH__ACCEPTED_SECRET", SECRET),
            ],
        ] {
            restart_all(&mut cluster, settings).await;
            let (status, pair) = refresh_tokens(&cluster, 0, &refresh_token).await;
            assert_eq!(status, StatusCode::OK);
            refresh_token = pair["refresh_token"].as_str().expect("a token").to_owned();
            access.push(pair["access_token"].as_str().expect("a token").to_owned());
            for (index, token) in [0, 1]
                .into_iter()
                .flat_map(|index| access.iter().map(move |token| (index, token)))
            {
                let rest = RestClient::with_targets(cluster.targets.clone())
                    .expect("a REST client")
                    .with_home(index);
                assert!(
                    rest.with_token(token).profile().await.is_ok(),
                    "every earlier token is accepted at every instance"
                );
            }
            game.wait_for_events(20).await;
        }
        game.stop().await.settle().await.0.assert_no_violations();
        restart_all(&mut cluster, &[("AUTH__SECRET", NEXT_SECRET)]).await;
        let is_accepted = async |token: &str| {
            let rest = RestClient::with_targets(cluster.targets.clone()).expect("a REST client");
            rest.with_token(token).profile().await.is_ok()
        };
        assert!(
            is_accepted(&access[2]).await && !is_accepted(&access[0]).await,
            "the former secret is not accepted any more"
        );
        assert_eq!(
            refresh_tokens(&cluster, 1, &refresh_token).await.0,
            StatusCode::OK
        );
    })
    .await;
}
