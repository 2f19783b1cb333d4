//! Being forgotten.

use std::time::Duration;

use raidhall::auth::Scope;
use raidhall::store::memory::Call;
use raidhall::store::{AuditLog, PlayerLookup, Store};
use raidhall_protocol::{PlayerId, RaidId, Seq};
use serde_json::{Value, json};

use crate::house::{House, text};

const SOON: Duration = Duration::from_secs(2);

/// Two who play, and what one of them wrote in the raid that the other made.
async fn played(house: &House) -> (Value, String, Value) {
    let (ben, ada) = (house.guest("Benedict").await, house.token("Ada").await);
    let token = text(&ben["access_token"]);
    let raid = house.raid(&ada).await;
    house
        .post(
            "/raids/join",
            &token,
            json!({"invite_code": raid["invite_code"]}),
        )
        .await
        .ok(200);
    house
        .command(
            &raid["id"],
            &token,
            json!({"type": "say", "text": "Benedict was here"}),
        )
        .await
        .ok(200);
    (ben, ada, raid)
}

async fn ledger(house: &House, raid: &Value) -> String {
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
async fn who_wants_to_be_forgotten_is() {
    let house = House::open().await;
    let (ben, ada, raid) = played(&house).await;
    let (token, id) = (text(&ben["access_token"]), ben["player"]["id"].clone());
    let own = house.raid(&token).await;
    let answer = house
        .ask("DELETE /me", &token, &[], Value::Null)
        .await
        .ok(202);
    assert_eq!(answer, json!({"player": id, "erased": true}));
    tokio::time::sleep(SOON).await;
    house.get("/me", &token).await.failed("forbidden");
    let refresh = json!({"refresh_token": ben["refresh_token"]});
    house
        .post("/auth/refresh", "", refresh)
        .await
        .failed("unauthenticated");
    let seen = house
        .get(&format!("/raids/{}", raid["id"]), &ada)
        .await
        .ok(200);
    assert_eq!(seen["messages"][0]["text"], "[erased]");
    assert_eq!(
        seen["members"].as_array().map(Vec::len),
        Some(1),
        "they have left"
    );
    for raid in [&raid, &own] {
        let told = ledger(&house, raid).await;
        assert!(
            !told.contains("Benedict") && told.contains("player_erased"),
            "{told}"
        );
    }
    assert!(
        ledger(&house, &own)
            .await
            .contains(r#""reason":"abandoned""#)
    );
    let listed = house
        .get(
            &format!("/admin/raids?id={}", own["id"]),
            &house.scoped(Scope::Admin),
        )
        .await
        .ok(200);
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
async fn what_a_fault_leaves_undone_is_done_later() {
    let house = House::open().await;
    let (ben, _, raid) = played(&house).await;
    house.store.faults().fail_calls(Call::RewriteEvents, 2);
    let (token, id) = (text(&ben["access_token"]), ben["player"]["id"].clone());
    house
        .ask("DELETE /me", &token, &[], Value::Null)
        .await
        .ok(202);
    tokio::time::sleep(SOON).await;
    assert!(ledger(&house, &raid).await.contains("Benedict"));
    let seen = house
        .get(
            &format!("/raids/{}", raid["id"]),
            &house.scoped(Scope::Service),
        )
        .await
        .ok(200);
    assert!(
        !seen.to_string().contains("Benedict"),
        "what is shown comes first: {seen}"
    );
    tokio::time::sleep(Duration::from_secs(150)).await;
    assert!(!ledger(&house, &raid).await.contains("Benedict"));
    tokio::time::sleep(Duration::from_secs(75)).await;
    assert_eq!(house.store.faults().call_count(Call::EndErasure), 1, "{id}");
}

#[tokio::test(start_paused = true)]
async fn a_host_app_has_its_user_forgotten_and_may_bring_them_anew() {
    let house = House::open().await;
    let service = house.scoped(Scope::Service);
    let user = json!({"external_id": "u-17", "name": "Ada"});
    let player = house.post("/players", &service, user.clone()).await.ok(200)["id"].clone();
    let door = format!("DELETE /players/{player}");
    for _ in 0..2 {
        let answer = house.ask(&door, &service, &[], Value::Null).await.ok(202);
        assert_eq!(answer, json!({"player": player, "erased": true}));
    }
    tokio::time::sleep(SOON).await;
    house
        .post(&format!("/players/{player}/tokens"), &service, Value::Null)
        .await
        .failed("forbidden");
    house
        .ask("DELETE /players/99", &service, &[], Value::Null)
        .await
        .failed("not_found");
    let admin = house.scoped(Scope::Admin);
    let lift = format!("DELETE /admin/players/{player}/ban");
    house
        .ask(&lift, &admin, &[], Value::Null)
        .await
        .failed("not_found");
    assert_ne!(
        house.post("/players", &service, user).await.ok(200)["id"],
        player
    );
    let deeds = house.get("/admin/audit", &admin).await.ok(200).to_string();
    assert!(
        deeds.contains("erase") && !deeds.contains("Ada"),
        "the record has no names: {deeds}"
    );
}
