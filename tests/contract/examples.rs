//! One example of each type that appears in a response.

use raidhall_protocol::rest::{Failed, RestError};
use raidhall_protocol::{ErrorBody, ErrorType, FieldFault};
use serde_json::{Value, json};

/// Returns an example of an event in an event stream.
pub fn stream_event() -> Value {
    let mut message = example_of("FeedEvent");
    message["t"] = json!("event");
    json!({"event": "task_claimed", "id": "124", "data": message.to_string()})
}

/// Returns an example of the type with this name.
pub fn example_of(name: &str) -> Value {
    match name {
        "TokenPair" => json!({"access_token": "eyJ…", "refresh_token": "9f2c…", "expires_in": 900,
            "player": {"id": 5, "name": "Ada"}}),
        "Linked" => json!({"player": 5, "external_id": "u-17"}),
        "WebhookView" => json!({"name": "app", "url": "https://app.example/hooks",
            "types": ["raid.started", "raid.completed"], "owner": "019b7a1c-0000-7000-8000-000000000001",
            "paused": null, "waiting": 2, "dead": 1}),
        "WebhookDelivery" => json!({"id": 12, "raid": 7, "seq": 34, "attempts": 3,
            "next_at": 1_767_225_661_500_i64, "error": "answered with 503 Service Unavailable",
            "first_failed_at": 1_767_225_661_500_i64}),
        "Replayed" => json!({"replayed": 1}),
        "Resumed" => json!({"resumed": true}),
        "Erased" => json!({"player": 5, "erased": true}),
        "SignedOut" => json!({"signed_out": true}),
        "Profile" => profile(),
        "RaidView" => raid(),
        "RaidSummary" => {
            json!({"id": 7, "title": "Ship it", "invite_code": "K7MQ2XNB", "status": "active",
            "target_xp": 500, "target_tasks": 10, "current_xp": 120, "current_tasks": 3, "time_limit_secs": 86_400,
            "created_at": 1_767_225_600_000_i64, "deadline": 1_767_312_060_000_i64, "ended_at": null, "seq": 123,
            "members": [{"id": 5, "name": "Ada"}, {"id": 6, "name": "Ben"}], "member_count": 2})
        }
        "InviteView" => {
            json!({"id": 7, "title": "Ship it", "host": "Ada", "status": "active", "member_count": 2,
            "max_members": 4, "late_join": true, "deadline": 1_767_312_060_000_i64})
        }
        "PlayerStateAt" => {
            json!({"seq": 44, "state": {"id": 5, "name": "Ada", "xp": 720, "earned_xp": 900,
            "level": 4, "level_xp": 120, "next_level_xp": 400, "coins": 82, "tasks": 31, "raids_won": 3,
            "raids_played": 5, "raids": [{"raid": 7, "role": "leader"}],
            "skills": [{"skill": "teamwork", "xp": 300, "level": 3}],
            "achievements": [{"id": "victor", "tier": 1, "at": 1_767_225_601_000_i64}],
            "counters": [{"id": "victor", "value": 3, "goal": 10}],
            "streak": {"days": 12, "best": 20, "day": "2026-01-01", "freezes": 1,
                "lapses_at": 1_767_484_800_000_i64, "repairable_days": 0, "repairable_from": null, "repairable_until": null},
            "items": ["frame_gold"], "equipped": {"frame": "frame_gold"},
            "settings": {"theme": {"value": "dark", "version": 3}},
            "inbox": {"unread": 1, "items": [{"seq": 44, "at": 1_767_225_661_500_i64, "kind": "sale",
                "data": {"title": "Sale", "body": "Frames for half", "url": "/shop"}, "read": false}]}, "read_through": 43}})
        }
        "OpenBoard" => {
            json!({"id": "daily", "title": {"en": "Today", "ru": "Сегодня"}, "metric": "counted_xp",
            "window": "daily", "number": 20_454, "opens_at": 1_767_225_600_000_i64,
            "closes_at": 1_767_312_000_000_i64})
        }
        "BoardPage" => {
            let entry = json!({"rank": 1, "player": {"id": 5, "name": "Ada", "level": 4, "frame": "frame_gold"},
                "score": 40, "reached_at": 1_767_225_661_500_i64});
            json!({"data": [entry], "me": entry, "number": 20_454, "opens_at": 1_767_225_600_000_i64,
                "closes_at": 1_767_312_000_000_i64, "final": false, "next_cursor": null})
        }
        "PlayerProfile" => json!({"id": 5, "name": "Ada", "level": 4, "raids_won": 3,
            "badges": [{"id": "victor", "tier": 1}], "streak_days": 12, "frame": "frame_gold"}),
        "Progression" => {
            json!({"casual_xp_per_day": 300, "ranked_xp_per_day": 2_000, "levels": {"xp_factor": 50},
            "coins": {"xp_per_coin": 10, "victory": 50, "mvp": 25, "level": 20},
            "streaks": {"days_per_freeze": 7, "freezes_max": 2, "repair_hours": 48, "repair_cost": 100, "repair_pause_days": 30},
            "achievements": [{"id": "victor", "icon": "trophy", "tiers": [{"goal": 1, "coins": 10}],
                "en": {"title": "Victor", "text": "Win raids"},
                "ru": {"title": "Победитель", "text": "Побеждайте в рейдах"}}],
            "items": [{"id": "frame_gold", "slot": "frame", "price": 1_000, "en": "Golden frame",
                "ru": "Золотая рамка"}],
            "boards": [{"id": "daily", "window": "daily", "zone": "UTC", "en": "Today", "ru": "Сегодня"}]})
        }
        "PlayerEvent" => {
            json!({"seq": 43, "at": 1_767_225_601_000_i64, "cause": {"raid": 7, "seq": 124}, "type": "xp_earned",
            "data": {"amount": 40, "counted": 20, "earned_xp": 900, "xp": 720, "tasks": 31, "source": "task",
                "allowance": {"ranked": false, "used": 300, "since": 1_767_225_600_000_i64},
                "happened_at": 1_767_225_601_000_i64,
                "level_xp": 120, "next_level_xp": 400, "skill": "teamwork", "skill_xp": 300, "skill_level": 3,
                "coins": 82, "coins_earned": 2, "note": null,
                "counters": [{"id": "doer", "value": 31, "goal": 100}]}})
        }
        "CommandResult" => json!({"seq": 124, "duplicate": false}),
        "Event" => event(),
        "FeedEvent" => {
            let mut event = event();
            event["raid"] = json!(7);
            event
        }
        "Contribution" => {
            json!({"seq": 124, "at": 1_767_225_661_500_i64, "player": 5, "xp": 40, "kind": "task_complete",
            "task": 3, "note": null})
        }
        "HostPlayer" => json!({"id": 5, "name": "Ada", "external_id": "u-17"}),
        "Standing" => json!({"player": 5, "banned": true}),
        "ScoreRemoval" => {
            json!({"board": "daily", "number": 20_423, "player": 5, "removed": true})
        }
        "Disconnected" => json!({"player": 5}),
        "Ban" => {
            json!({"player": {"id": 5, "name": "Ada"}, "reason": "spam", "by": "ops", "at": 1_767_225_600_000_i64})
        }
        "PlayerView" => {
            let mut player = profile();
            player["external_id"] = json!("u-17");
            player["ban"] = Value::Null;
            player
        }
        "InstanceView" => {
            json!({"id": "019b7a1c-0000-7000-8000-000000000001", "ws_url": "wss://a.example/api/v1/ws",
            "release": "0.3.0", "draining": false, "lease_until": 1_767_225_603_000_i64})
        }
        "AuditEntry" => {
            json!({"id": 9, "at": 1_767_225_600_000_i64, "actor": "ops", "action": "ban", "target": "player 5",
            "request_id": "01JGFJJZ00", "details": {"reason": "spam"}})
        }
        other => panic!("no example of {other}: write one in tests/contract/examples.rs"),
    }
}

fn profile() -> Value {
    json!({"id": 5, "name": "Ada", "xp": 80, "tasks": 2, "raids_won": 0, "created_at": 1_767_225_600_000_i64})
}

fn event() -> Value {
    json!({"seq": 124, "at": 1_767_225_661_500_i64, "by": 5, "type": "task_claimed",
        "data": {"task": 3, "player": 5, "energy": 90}})
}

fn raid() -> Value {
    let snapshot = include_str!("../../protocol/fixtures/server/snapshot_active.json");
    let snapshot: Value = serde_json::from_str(snapshot).expect("a fixture");
    let mut raid = snapshot["state"].clone();
    raid["seq"] = snapshot["seq"].clone();
    raid["online"] = snapshot["online"].clone();
    raid["ws_url"] = json!("wss://a.example/api/v1/ws");
    raid
}

/// Returns an example of an error with this status.
pub fn error_example(status: u16, r#type: ErrorType) -> Value {
    let mut body = ErrorBody::new(r#type, "What went wrong, for a person");
    if status == 422 {
        body.fields = Some(vec![FieldFault::new("title", "must be 1 to 80 characters")]);
    }
    body.retry_after_ms = body.retry.then_some(1_000);
    json!(Failed {
        error: RestError {
            body,
            status,
            request_id: "01JGFJJZ00".to_owned()
        }
    })
}
