//! The secret is changed on one instance after the other, while people play.

use std::time::Duration;

use raidhall_loadtest::client::Rest;
use reqwest::{Client, StatusCode};
use rustix::process::Signal;
use serde_json::{Value, json};

use crate::bounded;
use crate::fleet::Fleet;
use crate::party::long_raid;
use crate::process::{SECRET, Site};

const NEXT: &str = "the secret that comes after it, of thirty-two bytes and more";

async fn refresh(fleet: &Fleet, index: usize, token: &str) -> (StatusCode, Value) {
    let client = Client::builder().no_proxy().build().expect("a client");
    let url = fleet.servers[index].target().url("/api/v1/auth/refresh");
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
async fn nobody_notices_that_the_secret_is_changed() {
    bounded(async {
        let site = Site::postgres().await;
        let mut fleet = Fleet::on(site, 1, &[("AUTH__ACCEPTED_SECRET", NEXT)]).await;
        fleet
            .join(
                &[("AUTH__SECRET", NEXT), ("AUTH__ACCEPTED_SECRET", SECRET)],
                &[],
            )
            .await;
        let game = fleet.at_play(4, &long_raid(4)).await.play();
        game.goes_on(40).await;

        let guest = Rest::over(fleet.targets.clone())
            .expect("doors")
            .guest("Ada")
            .await
            .expect("a guest");
        let (status, first) = refresh(&fleet, 0, &guest.refresh_token).await;
        assert_eq!(status, StatusCode::OK);
        let (_, repeated) = refresh(&fleet, 1, &guest.refresh_token).await;
        assert_eq!(
            repeated["refresh_token"], first["refresh_token"],
            "the first answer, under another secret"
        );
        let token = first["refresh_token"].as_str().expect("a token");
        let (_, second) = refresh(&fleet, 1, token).await;
        let (_, repeated) = refresh(&fleet, 0, token).await;
        assert_eq!(repeated["refresh_token"], second["refresh_token"]);
        for pair in [&first, &repeated, &second] {
            let token = pair["access_token"].as_str().expect("a token");
            for index in 0..2 {
                let rest = Rest::over(fleet.targets.clone()).expect("doors").at(index);
                assert!(
                    rest.with_token(token).me().await.is_ok(),
                    "every token at every instance"
                );
            }
        }
        game.judged().await;
    })
    .await;
}

/// Deploys one instance after the other with these settings.
async fn roll(fleet: &mut Fleet, settings: &[(&str, &str)]) {
    for index in 0..fleet.servers.len() {
        fleet.servers[index].signal(Signal::TERM);
        assert_eq!(
            fleet.servers[index]
                .exit_code(Duration::from_secs(30))
                .await,
            Some(0)
        );
        fleet.restart_with(index, settings).await;
    }
}

/// As docs/SECURITY.md tells operators to.
#[tokio::test]
async fn three_rolls_change_the_secret_and_a_sign_in_of_before_goes_on() {
    bounded(async {
        let mut fleet = Fleet::of(2).await;
        let game = fleet.at_play(4, &long_raid(4)).await.play();
        let guest = Rest::over(fleet.targets.clone())
            .expect("doors")
            .guest("Ada")
            .await
            .expect("a guest");
        let (mut refresh_token, mut access) = (guest.refresh_token, vec![guest.access_token]);
        for settings in [
            &[("AUTH__ACCEPTED_SECRET", NEXT)][..],
            &[("AUTH__SECRET", NEXT), ("AUTH__ACCEPTED_SECRET", SECRET)],
        ] {
            roll(&mut fleet, settings).await;
            let (status, pair) = refresh(&fleet, 0, &refresh_token).await;
            assert_eq!(status, StatusCode::OK);
            refresh_token = pair["refresh_token"].as_str().expect("a token").to_owned();
            access.push(pair["access_token"].as_str().expect("a token").to_owned());
            for (index, token) in [0, 1]
                .into_iter()
                .flat_map(|index| access.iter().map(move |token| (index, token)))
            {
                let rest = Rest::over(fleet.targets.clone()).expect("doors").at(index);
                assert!(
                    rest.with_token(token).me().await.is_ok(),
                    "every token of before at every instance"
                );
            }
            game.goes_on(20).await;
        }
        game.stop().await.settle().await.0.expect_innocent();
        roll(&mut fleet, &[("AUTH__SECRET", NEXT)]).await;
        let me = async |token: &str| {
            let rest = Rest::over(fleet.targets.clone()).expect("doors");
            rest.with_token(token).me().await.is_ok()
        };
        assert!(
            me(&access[2]).await && !me(&access[0]).await,
            "the former secret is worth nothing"
        );
        assert_eq!(refresh(&fleet, 1, &refresh_token).await.0, StatusCode::OK);
    })
    .await;
}
