//! Tests of the operators' routes for webhooks.

use raidhall::auth::Scope;
use raidhall::store::WebhookDeliveries;
use raidhall::store::webhooks::{FailedAttempt, ProgressUpdate};
use raidhall_protocol::{RaidId, Seq};
use serde_json::{Value, json};

use crate::rest_server::{DELIVERING_INSTANCE, RestServer, json_text};

#[tokio::test(start_paused = true)]
async fn operators_list_webhook_deliveries_and_replay_them() {
    let server = RestServer::start().await;
    let admin = server.scoped_token(Scope::Admin);
    let ada = server.guest_token("Ada").await;
    let raid = server.create_raid(&ada).await;
    let id = RaidId::try_from(raid["id"].as_u64().expect("an id")).expect("an id");
    let dead = FailedAttempt {
        raid: id,
        seq: Seq(2),
        at: server.clock.now(),
        attempts: 10,
        next_at: None,
        error: "answered with 500".into(),
    };
    let progress = ProgressUpdate {
        failed_attempts: vec![dead],
        pause_reason: Some("410".into()),
        ..ProgressUpdate::default()
    };
    assert!(
        server
            .store
            .save_progress("app", DELIVERING_INSTANCE, &progress)
            .await
            .expect("noted")
    );

    let listed = server.get("/admin/webhooks", &admin).await.expect_data(200);
    assert_eq!(
        (&listed[0]["name"], &listed[0]["dead"], &listed[0]["paused"]),
        (&json!("app"), &json!(1), &json!("410"))
    );
    let owner = json!(DELIVERING_INSTANCE.0.to_string());
    assert_eq!((&listed[0]["owner"], &listed[1]["owner"]), (&owner, &owner));
    assert_eq!(listed[1]["types"].as_array().map(Vec::len), Some(5));
    assert!(!listed.to_string().contains("whsec"), "no secret");
    let dead = server
        .get("/admin/webhooks/app/deliveries?dead=true", &admin)
        .await
        .expect_data(200);
    assert_eq!(
        (&dead[0]["seq"], &dead[0]["error"]),
        (&json!(2), &json!("answered with 500"))
    );
    assert_eq!(
        server
            .get("/admin/webhooks/app/deliveries", &admin)
            .await
            .expect_data(200),
        json!([])
    );
    server
        .get("/admin/webhooks/app/deliveries?dead=maybe", &admin)
        .await
        .expect_error("invalid");
    for name in ["unknown", "%FF", "%00", "app%2F"] {
        server
            .get(&format!("/admin/webhooks/{name}/deliveries"), &admin)
            .await
            .expect_error("not_found");
    }

    let replay = |body: Value| server.post("/admin/webhooks/app/replay", &admin, body);
    assert_eq!(
        replay(json!({"dead": true})).await.expect_data(200),
        json!({"replayed": 1})
    );
    assert_eq!(
        replay(json!({"raid": id, "seq": 2})).await.expect_data(200),
        json!({"replayed": 1})
    );
    let waiting = server
        .get("/admin/webhooks/app/deliveries", &admin)
        .await
        .expect_data(200);
    assert_eq!(
        (waiting.as_array().map(Vec::len), &waiting[0]["attempts"]),
        (Some(1), &json!(0))
    );
    for (raid, seq) in [(json!(id), 1), (json!(id), 99), (json!(4_711), 2)] {
        replay(json!({"raid": raid, "seq": seq}))
            .await
            .expect_error("not_found");
    }
    let faults = replay(json!({"raid": 0, "dead": "yes"}))
        .await
        .expect_error("invalid");
    assert_eq!(
        faults["fields"].as_array().map(Vec::len),
        Some(1),
        "{faults}"
    );
    let faults = replay(json!({})).await.expect_error("invalid");
    assert_eq!(
        faults["fields"].as_array().map(Vec::len),
        Some(2),
        "{faults}"
    );
    for resumed in [true, false] {
        let answer = server
            .post("/admin/webhooks/app/resume", &admin, Value::Null)
            .await
            .expect_data(200);
        assert_eq!(answer, json!({"resumed": resumed}));
    }
    let audit = server.get("/admin/audit", &admin).await.expect_data(200);
    let done: Vec<_> = audit
        .as_array()
        .expect("a list")
        .iter()
        .map(|deed| json_text(&deed["action"]))
        .collect();
    assert_eq!(
        done,
        ["replay_webhooks", "replay_webhooks", "resume_webhooks"]
    );
}
