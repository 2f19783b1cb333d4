//! Tests of the erasure of a player.

use std::time::Duration;

use raidhall::auth::Scope;
use raidhall::store::faulty::Call;
use raidhall::store::{Ledger, Lookups, PlayerLookup};
use raidhall_protocol::{PlayerId, RaidId, Seq};
use serde_json::{Value, json};

use crate::rest_server::{RestServer, json_text};

const SOON: Duration = Duration::from_secs(2);

/// Creates a raid with Ada as its leader, in which Benedict has written a message. Returns
/// Benedict's tokens, Ada's access token and the raid.
async fn create_played_raid(server: &RestServer) -> (Value, String, Value) {
    let ben = server.sign_in_guest("Benedict").await;
    let ada = server.guest_token("Ada").await;
    let token = json_text(&ben["access_token"]);
    let raid = server.create_raid(&ada).await;
    server
        .post(
            "/raids/join",
            &token,
            json!({"invite_code": raid["invite_code"]}),
        )
        .await
        .expect_data(200);
    server
        .send_command(
            &raid["id"],
            &token,
            json!({"type": "say", "text": "Benedict was here"}),
        )
        .await
        .expect_data(200);
    (ben, ada, raid)
}

async fn read_ledger(server: &RestServer, raid: &Value) -> String {
    let raid = RaidId::try_from(raid["id"].as_u64().expect("an id")).expect("an id");
    json!(
        server
            .store
            .events(raid, Seq::ZERO, 100)
            .await
            .expect("events")
    )
    .to_string()
}

#[tokio::test(start_paused = true)]
async fn a_player_can_erase_their_own_account() {
    let server = RestServer::start().await;
    let (ben, ada, raid) = create_played_raid(&server).await;
    let token = json_text(&ben["access_token"]);
    let id = ben["player"]["id"].clone();
    let own = server.create_raid(&token).await;
    let answer = server
        .request("DELETE /me", &token, &[], Value::Null)
        .await
        .expect_data(202);
    assert_eq!(answer, json!({"player": id, "erased": true}));
    tokio::time::sleep(SOON).await;
    server.get("/me", &token).await.expect_error("forbidden");
    let refresh = json!({"refresh_token": ben["refresh_token"]});
    server
        .post("/auth/refresh", "", refresh)
        .await
        .expect_error("unauthenticated");
    let seen = server
        .get(&format!("/raids/{}", raid["id"]), &ada)
        .await
        .expect_data(200);
    assert_eq!(seen["messages"][0]["text"], "[erased]");
    assert_eq!(
        seen["members"].as_array().map(Vec::len),
        Some(1),
        "the erased player has left"
    );
    for raid in [&raid, &own] {
        let ledger = read_ledger(&server, raid).await;
        assert!(
            !ledger.contains("Benedict") && ledger.contains("player_erased"),
            "{ledger}"
        );
    }
    assert!(
        read_ledger(&server, &own)
            .await
            .contains(r#""reason":"abandoned""#)
    );
    let listed = server
        .get(
            &format!("/admin/raids?id={}", own["id"]),
            &server.scoped_token(Scope::Admin),
        )
        .await
        .expect_data(200);
    assert_eq!(listed[0]["title"], "[erased]");
    let player = PlayerId::try_from(id.as_u64().expect("an id")).expect("an id");
    let found = server
        .store
        .find_players(&PlayerLookup::Id(player), 1)
        .await
        .expect("players");
    assert_eq!(found[0].profile.name, "[erased]");
    // The first pass cannot be the last: commands accepted earlier may still take effect.
    assert_eq!(server.store.faults().call_count(Call::EndErasure), 0);
    tokio::time::sleep(Duration::from_secs(75)).await;
    assert_eq!(server.store.faults().call_count(Call::EndErasure), 1);
    let passes = server.store.faults().call_count(Call::RewriteEvents);
    tokio::time::sleep(Duration::from_secs(600)).await;
    assert_eq!(
        server.store.faults().call_count(Call::RewriteEvents),
        passes,
        "no pass after the end"
    );
}

#[tokio::test(start_paused = true)]
async fn an_erasure_interrupted_by_a_fault_is_completed_later() {
    let server = RestServer::start().await;
    let (ben, _, raid) = create_played_raid(&server).await;
    server.store.faults().fail_calls(Call::RewriteEvents, 2);
    let token = json_text(&ben["access_token"]);
    let id = ben["player"]["id"].clone();
    server
        .request("DELETE /me", &token, &[], Value::Null)
        .await
        .expect_data(202);
    tokio::time::sleep(SOON).await;
    assert!(read_ledger(&server, &raid).await.contains("Benedict"));
    let seen = server
        .get(
            &format!("/raids/{}", raid["id"]),
            &server.scoped_token(Scope::Service),
        )
        .await
        .expect_data(200);
    assert!(
        !seen.to_string().contains("Benedict"),
        "texts that clients see are rewritten first: {seen}"
    );
    tokio::time::sleep(Duration::from_secs(150)).await;
    assert!(!read_ledger(&server, &raid).await.contains("Benedict"));
    tokio::time::sleep(Duration::from_secs(75)).await;
    assert_eq!(
        server.store.faults().call_count(Call::EndErasure),
        1,
        "{id}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_host_app_can_erase_and_recreate_its_user() {
    let server = RestServer::start().await;
    let service = server.scoped_token(Scope::Service);
    let user = json!({"external_id": "u-17", "name": "Ada"});
    let player = server
        .post("/players", &service, user.clone())
        .await
        .expect_data(200)["id"]
        .clone();
    let route = format!("DELETE /players/{player}");
    for _ in 0..2 {
        let answer = server
            .request(&route, &service, &[], Value::Null)
            .await
            .expect_data(202);
        assert_eq!(answer, json!({"player": player, "erased": true}));
    }
    tokio::time::sleep(SOON).await;
    server
        .post(&format!("/players/{player}/tokens"), &service, Value::Null)
        .await
        .expect_error("forbidden");
    server
        .request("DELETE /players/99", &service, &[], Value::Null)
        .await
        .expect_error("not_found");
    let admin = server.scoped_token(Scope::Admin);
    let lift = format!("DELETE /admin/players/{player}/ban");
    server
        .request(&lift, &admin, &[], Value::Null)
        .await
        .expect_error("not_found");
    assert_ne!(
        server
            .post("/players", &service, user)
            .await
            .expect_data(200)["id"],
        player
    );
    let entries = server
        .get("/admin/audit", &admin)
        .await
        .expect_data(200)
        .to_string();
    assert!(
        entries.contains("erase") && !entries.contains("Ada"),
        "the audit log has no names: {entries}"
    );
}
