//! Being forgotten.

use std::time::Duration;

use raidhall::auth::Scope;
use raidhall::store::faulty::Call;
use raidhall::store::{Ledger, Lookups, PlayerLookup};
use raidhall_protocol::{PlayerId, RaidId, Seq};
use serde_json::{Value, json};

use crate::rest_server::{RestServer, json_text};

const SOON: Duration = Duration::from_secs(2);

/// Two who play, and what one of them wrote in the raid that the other made.
async fn create_played_raid(house: &RestServer) -> (Value, String, Value) {
    let (ben, ada) = (
        house.sign_in_guest("Benedict").await,
        house.guest_token("Ada").await,
    );
    let token = json_text(&ben["access_token"]);
    let raid = house.create_raid(&ada).await;
    house
        .post(
            "/raids/join",
            &token,
            json!({"invite_code": raid["invite_code"]}),
        )
        .await
        .expect_data(200);
    house
        .send_command(
            &raid["id"],
            &token,
            json!({"type": "say", "text": "Benedict was here"}),
        )
        .await
        .expect_data(200);
    (ben, ada, raid)
}

async fn read_ledger(house: &RestServer, raid: &Value) -> String {
    let raid = RaidId::try_from(raid["id"].as_u64().expect("an id")).expect("an id");
    json!(
        house
            .store
            .events(raid, Seq::ZERO, 100)
            .await
            .expect("events")
    )
    .to_string()
}

#[tokio::test(start_paused = true)]
async fn a_player_can_erase_their_own_account() {
    let house = RestServer::start().await;
    let (ben, ada, raid) = create_played_raid(&house).await;
    let (token, id) = (json_text(&ben["access_token"]), ben["player"]["id"].clone());
    let own = house.create_raid(&token).await;
    let answer = house
        .request("DELETE /me", &token, &[], Value::Null)
        .await
        .expect_data(202);
    assert_eq!(answer, json!({"player": id, "erased": true}));
    tokio::time::sleep(SOON).await;
    house.get("/me", &token).await.expect_error("forbidden");
    let refresh = json!({"refresh_token": ben["refresh_token"]});
    house
        .post("/auth/refresh", "", refresh)
        .await
        .expect_error("unauthenticated");
    let seen = house
        .get(&format!("/raids/{}", raid["id"]), &ada)
        .await
        .expect_data(200);
    assert_eq!(seen["messages"][0]["text"], "[erased]");
    assert_eq!(
        seen["members"].as_array().map(Vec::len),
        Some(1),
        "they have left"
    );
    for raid in [&raid, &own] {
        let told = read_ledger(&house, raid).await;
        assert!(
            !told.contains("Benedict") && told.contains("player_erased"),
            "{told}"
        );
    }
    assert!(
        read_ledger(&house, &own)
            .await
            .contains(r#""reason":"abandoned""#)
    );
    let listed = house
        .get(
            &format!("/admin/raids?id={}", own["id"]),
            &house.scoped_token(Scope::Admin),
        )
        .await
        .expect_data(200);
    assert_eq!(listed[0]["title"], "[erased]");
    let player = PlayerId::try_from(id.as_u64().expect("an id")).expect("an id");
    let found = house
        .store
        .find_players(&PlayerLookup::Id(player), 1)
        .await
        .expect("players");
    assert_eq!(found[0].profile.name, "[erased]");
    // The first look came too soon to be the last.
    assert_eq!(house.store.faults().call_count(Call::EndErasure), 0);
    tokio::time::sleep(Duration::from_secs(75)).await;
    assert_eq!(house.store.faults().call_count(Call::EndErasure), 1);
    let looks = house.store.faults().call_count(Call::RewriteEvents);
    tokio::time::sleep(Duration::from_secs(600)).await;
    assert_eq!(
        house.store.faults().call_count(Call::RewriteEvents),
        looks,
        "and then it is over"
    );
}

#[tokio::test(start_paused = true)]
async fn an_erasure_interrupted_by_a_fault_is_completed_later() {
    let house = RestServer::start().await;
    let (ben, _, raid) = create_played_raid(&house).await;
    house.store.faults().fail_calls(Call::RewriteEvents, 2);
    let (token, id) = (json_text(&ben["access_token"]), ben["player"]["id"].clone());
    house
        .request("DELETE /me", &token, &[], Value::Null)
        .await
        .expect_data(202);
    tokio::time::sleep(SOON).await;
    assert!(read_ledger(&house, &raid).await.contains("Benedict"));
    let seen = house
        .get(
            &format!("/raids/{}", raid["id"]),
            &house.scoped_token(Scope::Service),
        )
        .await
        .expect_data(200);
    assert!(
        !seen.to_string().contains("Benedict"),
        "what is shown comes first: {seen}"
    );
    tokio::time::sleep(Duration::from_secs(150)).await;
    assert!(!read_ledger(&house, &raid).await.contains("Benedict"));
    tokio::time::sleep(Duration::from_secs(75)).await;
    assert_eq!(house.store.faults().call_count(Call::EndErasure), 1, "{id}");
}

#[tokio::test(start_paused = true)]
async fn a_host_app_can_erase_and_recreate_its_user() {
    let house = RestServer::start().await;
    let service = house.scoped_token(Scope::Service);
    let user = json!({"external_id": "u-17", "name": "Ada"});
    let player = house
        .post("/players", &service, user.clone())
        .await
        .expect_data(200)["id"]
        .clone();
    let door = format!("DELETE /players/{player}");
    for _ in 0..2 {
        let answer = house
            .request(&door, &service, &[], Value::Null)
            .await
            .expect_data(202);
        assert_eq!(answer, json!({"player": player, "erased": true}));
    }
    tokio::time::sleep(SOON).await;
    house
        .post(&format!("/players/{player}/tokens"), &service, Value::Null)
        .await
        .expect_error("forbidden");
    house
        .request("DELETE /players/99", &service, &[], Value::Null)
        .await
        .expect_error("not_found");
    let admin = house.scoped_token(Scope::Admin);
    let lift = format!("DELETE /admin/players/{player}/ban");
    house
        .request(&lift, &admin, &[], Value::Null)
        .await
        .expect_error("not_found");
    assert_ne!(
        house
            .post("/players", &service, user)
            .await
            .expect_data(200)["id"],
        player
    );
    let deeds = house
        .get("/admin/audit", &admin)
        .await
        .expect_data(200)
        .to_string();
    assert!(
        deeds.contains("erase") && !deeds.contains("Ada"),
        "the record has no names: {deeds}"
    );
}
