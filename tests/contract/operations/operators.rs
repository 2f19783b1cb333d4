//! Operations for operators, and the probes.

use raidhall_protocol::ErrorType::{NotFound, Overloaded, WrongStatus};
use raidhall_protocol::admin::{
    AuditEntry, Ban, Disconnected, InstanceView, PlayerView, Replayed, Resumed, ScoreRemoval,
    Standing, WebhookDelivery, WebhookView,
};
use raidhall_protocol::limits::REASON_CHARS_MAX;
use raidhall_protocol::rest::{CommandResult, RaidSummary};
use raidhall_protocol::text::TEXT;
use serde_json::{Value, json};

use super::super::operation::{AllowedCaller, Operation};
use super::super::schemas::{Schemas, object};
use super::{cursor, id, next_cursor, printable_text, seq, status};

pub fn operations(schemas: &mut Schemas) -> Vec<Operation> {
    let new = |route, id, summary| {
        Operation::new(route, id, "Operators", summary).allow_caller(AllowedCaller::Operator)
    };
    let raid_status = status(schemas);
    let page = next_cursor();
    vec![
        new("GET /admin/players", "findPlayers", "Find players")
            .describe(
                "Lists the players who match all of the given filters, ordered by name. Without a \
                 filter, all players match. Requires the scope `admin`.",
            )
            .query("id", "Id of the player.", id())
            .query(
                "external_id",
                "Id of the player in the host app.",
                printable_text(),
            )
            .query(
                "name",
                "Prefix of the player's name, not case-sensitive.",
                printable_text(),
            )
            .paged()
            .returns_list::<PlayerView>(schemas),
        new("POST /admin/players/{id}/ban", "ban", "Ban a player")
            .describe(
                "Bans a player: within two seconds every instance rejects the player's tokens and \
                 closes their connections. Banning again changes the reason. Requires the scope \
                 `admin`.",
            )
            .body(object(&[("reason", reason())]), json!({"reason": "spam"}))
            .fails_with(&[NotFound])
            .returns::<Standing>(200, schemas),
        new("DELETE /admin/players/{id}/ban", "unban", "Lift a ban")
            .describe(
                "Lifts a player's ban. Returns `not_found` if the player is not banned. Requires \
                 the scope `admin`.",
            )
            .fails_with(&[NotFound])
            .returns::<Standing>(200, schemas),
        new(
            "POST /admin/players/{id}/disconnect",
            "disconnect",
            "Disconnect a player",
        )
        .describe(
            "Closes the player's connections with code 4001 within two seconds, once: the \
             player can connect again. Requires the scope `admin`.",
        )
        .fails_with(&[NotFound])
        .returns::<Disconnected>(200, schemas),
        new(
            "POST /admin/boards/{board}/scores/{player}/remove",
            "removeScore",
            "Remove a score",
        )
        .describe(
            "Removes a player's score from a window of a leaderboard: it is neither listed nor \
             ranked until it is restored, and XP still adds to it. Requires the scope `admin`.",
        )
        .body(score_removal(), json!({"reason": "cheats"}))
        .fails_with(&[NotFound])
        .returns::<ScoreRemoval>(200, schemas),
        new(
            "POST /admin/boards/{board}/scores/{player}/restore",
            "restoreScore",
            "Restore a score",
        )
        .describe(
            "Restores a score that was removed from a window of a leaderboard. Requires the scope \
             `admin`.",
        )
        .body(score_removal(), json!({"reason": "an error"}))
        .fails_with(&[NotFound])
        .returns::<ScoreRemoval>(200, schemas),
        new("GET /admin/bans", "bans", "List bans")
            .describe("Lists all bans, ordered by the player's id. Requires the scope `admin`.")
            .query(
                "after",
                "Id of the player in the last row of the previous page.",
                seq(),
            )
            .paged()
            .returns_list::<Ban>(schemas),
        new(
            "GET /admin/players/{id}/raids",
            "raidsOf",
            "List a player's raids",
        )
        .describe(
            "Lists the raids that a player is a member of, newest first. Requires the scope \
             `admin`.",
        )
        .query("status", "Return only raids with this status.", raid_status)
        .query(
            "cursor",
            "The `next_cursor` of the previous page.",
            cursor(),
        )
        .paged()
        .fails_with(&[NotFound])
        .returns_page::<RaidSummary>(schemas, page),
        new("GET /admin/raids", "findRaids", "Find raids")
            .describe(
                "Lists the raids that match all of the given filters, ordered by title. Without a \
                 filter, all raids match. Requires the scope `admin`.",
            )
            .query("id", "Id of the raid.", id())
            .query(
                "invite_code",
                "Invite code of the raid, not case-sensitive.",
                printable_text(),
            )
            .query(
                "title",
                "Prefix of the raid's title, not case-sensitive.",
                printable_text(),
            )
            .paged()
            .returns_list::<RaidSummary>(schemas),
        new("POST /admin/raids/{id}/end", "endRaid", "End a raid")
            .describe(
                "Ends a raid as failed, with the reason `cancelled`. Returns `wrong_status` if \
                 the raid has already ended. Requires the scope `admin`.",
            )
            .idempotent()
            .fails_with(&[NotFound, WrongStatus, Overloaded])
            .returns::<CommandResult>(200, schemas),
        new("GET /admin/instances", "instances", "List instances")
            .describe(
                "Lists the instances with a valid lease, ordered by id. Requires the scope \
                 `admin`.",
            )
            .returns_list::<InstanceView>(schemas),
        new("GET /admin/audit", "audit", "List audit log entries")
            .describe(
                "Lists the recorded actions of operators, of the host app's backend and of \
                 players who deleted their accounts, oldest first. Requires the scope `admin`.",
            )
            .query("after", "Id of the last row of the previous page.", seq())
            .paged()
            .returns_list::<AuditEntry>(schemas),
        new("GET /admin/webhooks", "webhooks", "List webhook endpoints")
            .describe(
                "Lists the configured endpoints with the state of their deliveries. Requires the \
                 scope `admin`.",
            )
            .returns_list::<WebhookView>(schemas),
        new(
            "GET /admin/webhooks/{name}/deliveries",
            "webhookDeliveries",
            "List failed webhook deliveries",
        )
        .describe(
            "Lists an endpoint's deliveries that failed and wait for another attempt or, with \
             `dead=true`, those that are not retried because all attempts failed. Requires \
             the scope `admin`.",
        )
        .query(
            "dead",
            "Return dead deliveries instead of waiting ones; false by default.",
            json!({"type": "boolean"}),
        )
        .query("after", "Id of the last row of the previous page.", seq())
        .paged()
        .fails_with(&[NotFound])
        .returns_list::<WebhookDelivery>(schemas),
        new(
            "POST /admin/webhooks/{name}/replay",
            "replayWebhooks",
            "Replay webhook deliveries",
        )
        .describe(
            "Delivers one event (`raid` and `seq`) or up to 10,000 dead deliveries (`dead`) \
             to the endpoint again, without delay and with a new count of attempts. Returns \
             the number of deliveries, and `not_found` if the event does not exist or is of a \
             type that is not sent to webhooks. Requires the scope `admin`.",
        )
        .body(replay_selection(), json!({"dead": true}))
        .fails_with(&[NotFound])
        .returns::<Replayed>(200, schemas),
        new(
            "POST /admin/webhooks/{name}/resume",
            "resumeWebhooks",
            "Resume a webhook endpoint",
        )
        .describe(
            "Resumes deliveries to an endpoint that is paused. `resumed` is false if it was \
             not paused. Requires the scope `admin`.",
        )
        .fails_with(&[NotFound])
        .returns::<Resumed>(200, schemas),
    ]
}

/// Returns the schema of a request that selects the webhooks to replay.
fn replay_selection() -> Value {
    let dead = json!({"required": ["dead"], "properties": {"dead": {"const": true}}});
    let not_dead = json!({"enum": [false, null]});
    let one = json!({"required": ["raid", "seq"], "properties": {"dead": not_dead, "raid": id(), "seq": seq()}});
    json!({"type": "object", "oneOf": [dead, one]})
}

pub fn health_operations() -> Vec<Operation> {
    let status = |states: &[&str]| json!({"type": "string", "enum": states});
    let part = || status(&["ok", "failing"]);
    let report = |states: &[&str]| {
        let space = status(&["ok", "low"]);
        let checks = object(&[
            ("store", part()),
            ("bus", part()),
            ("feed", part()),
            ("space", space),
        ]);
        let lag = json!({
            "type": ["integer", "null"],
            "minimum": 0,
            "description": "How far the projector, which keeps players' own streams, is behind the raids, in seconds; null on instances where it does not run.",
        });
        object(&[
            ("status", status(states)),
            ("checks", checks),
            ("projector_lag_secs", lag),
        ])
    };
    vec![
        Operation::new("GET /healthz", "alive", "Health", "Check liveness")
            .describe("Returns 200 as long as the process responds.")
            .returns_json(200, object(&[("status", status(&["ok"]))])),
        Operation::new("GET /readyz", "ready", "Health", "Check readiness")
            .describe(
                "Returns 200 if a load balancer can send clients to this instance, otherwise 503. \
                 An instance that has lost its bus, or whose bus does not reach another live \
                 instance, is `degraded`: it is slower, but still serves clients.",
            )
            .returns_json(200, report(&["ready", "degraded"]))
            .returns_alternative(
                503,
                "The instance is not ready.",
                report(&["starting", "draining", "unavailable"]),
            ),
    ]
}

fn reason() -> Value {
    json!({"type": "string", "minLength": 1, "maxLength": REASON_CHARS_MAX, "pattern": TEXT})
}

fn score_removal() -> Value {
    let number = json!({
        "type": "integer",
        "minimum": -9_007_199_254_740_991_i64,
        "maximum": 9_007_199_254_740_991_i64,
        "description": "Number of the window; the one that is open now by default.",
    });
    let mut body = object(&[("reason", reason()), ("number", number)]);
    body["required"] = json!(["reason"]);
    body
}
