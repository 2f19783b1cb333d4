//! Operations on raids, for players.

use raidhall_protocol::ErrorType::{
    NotEnoughEnergy, NotFound, NotLeader, NotMember, NotYours, Overloaded, QuotaExceeded,
    RaidClosed, RaidFull, TaskTaken, TooManyTasks, WrongStatus,
};
use raidhall_protocol::rest::{
    CommandResult, Contribution, InviteView, LedgerRow, NewRaid, RaidSummary, RaidView,
};
use raidhall_protocol::{Command, PlayerId};
use serde_json::json;

use super::super::operation::{AllowedCaller, Operation};
use super::super::schemas::{Schemas, object};
use super::{command_with_op, cursor, next_cursor, seq, status};

pub fn operations(schemas: &mut Schemas) -> Vec<Operation> {
    let new = |route, id, summary| {
        Operation::new(route, id, "Raids", summary).allow_caller(AllowedCaller::Player)
    };
    let mut new_raid = schemas.request::<NewRaid>();
    let leader =
        json!({"type": "object", "properties": {"leader": schemas.request::<Option<PlayerId>>()}});
    new_raid = json!({"allOf": [new_raid, leader]});
    let command = command_with_op::<Command>(schemas);
    let raid_status = status(schemas);
    let page = next_cursor();
    vec![
        new("POST /raids", "createRaid", "Create a raid")
            .describe(
                "Creates a raid with the caller as its leader and only member. The host app's \
                 backend sets `leader` to the id of the player who will lead it; any other caller \
                 who sets `leader`, or `ranked` to true, gets `forbidden`. With an `Idempotency-Key`, a repeated \
                 request returns the raid that the first one created. Returns `quota_exceeded` if the \
                 caller leads as many open raids as one player may.",
            )
            .idempotent()
            .body(
                new_raid,
                json!({"title": "Ship it", "target_xp": 500, "target_tasks": 10}),
            )
            .fails_with(&[NotFound, QuotaExceeded, Overloaded])
            .returns::<RaidView>(201, schemas),
        new("GET /raids", "myRaids", "List your raids")
            .describe("Lists the raids that the calling player is a member of, newest first.")
            .query("status", "Return only raids with this status.", raid_status)
            .query(
                "cursor",
                "The `next_cursor` of the previous page.",
                cursor(),
            )
            .paged()
            .returns_page::<RaidSummary>(schemas, page),
        new("POST /raids/join", "joinRaid", "Join a raid")
            .describe(
                "Adds the calling player to the raid with this invite code, which is not \
                 case-sensitive. Joining again changes nothing. Returns `not_found` if the code \
                 is wrong, `raid_full` or `raid_closed` if the raid accepts no more members, and \
                 `forbidden` if the player was kicked. Wrong codes are limited per player and per \
                 client address.",
            )
            .body(
                object(&[("invite_code", json!({"type": "string"}))]),
                json!({"invite_code": "K7MQ2XNB"}),
            )
            .fails_with(&[NotFound, RaidFull, RaidClosed, QuotaExceeded, Overloaded])
            .returns::<RaidView>(200, schemas),
        new("GET /invites/{code}", "invite", "Look at an invite")
            .describe(
                "Returns what an invite code, which is not case-sensitive, shows of its raid: \
                 enough to decide whether to join. No access token is needed. Returns \
                 `not_found` if the code is wrong. Wrong codes are limited per client address, \
                 together with those of joining.",
            )
            .allow_caller(AllowedCaller::Public)
            .rate_limited()
            .fails_with(&[NotFound, Overloaded])
            .returns::<InviteView>(200, schemas),
        new("GET /raids/{id}", "raid", "Get a raid")
            .describe(
                "Returns the raid's state with its `seq`, the players who are online and the URL \
                 of a WebSocket that reaches it. Allowed to members, the host app's backend and \
                 operators; for any other caller the raid does not exist.",
            )
            .fails_with(&[NotFound, Overloaded])
            .returns::<RaidView>(200, schemas),
        new("POST /raids/{id}/commands", "command", "Send a command")
            .describe(
                "Changes the raid; a successful response means that the change is committed. \
                 Members may send any command that the rules allow them, the host app's backend \
                 `contribute`, `add_task` and `remove_task`. To make retries safe, send an \
                 idempotency key as `op` or as `Idempotency-Key`; if both are present, `op` takes \
                 precedence.",
            )
            .idempotent()
            .body(
                command,
                json!({"op": "0190f3-a", "cmd": {"type": "complete_task", "task": 3}}),
            )
            .fails_with(&[
                NotFound,
                NotMember,
                NotLeader,
                NotYours,
                WrongStatus,
                TaskTaken,
                RaidFull,
                RaidClosed,
                TooManyTasks,
                NotEnoughEnergy,
                QuotaExceeded,
                Overloaded,
            ])
            .returns::<CommandResult>(200, schemas),
        new("GET /raids/{id}/events", "events", "List a raid's events")
            .describe(
                "Lists the raid's events, oldest first. Pass the last `seq` as `after` for the \
                 next page; a page with fewer than `limit` rows is the last one. Allowed to \
                 members, the host app's backend and operators.",
            )
            .query(
                "after",
                "Return only rows with a seq above this one; 0 by default.",
                seq(),
            )
            .paged()
            .fails_with(&[NotFound, Overloaded])
            .returns_list::<LedgerRow>(schemas),
        new(
            "GET /raids/{id}/contributions",
            "contributions",
            "List a raid's contributions",
        )
        .describe(
            "Lists the XP that players earned in the raid, by completing tasks or from the \
             host app's backend, oldest first. Pass the last `seq` as `after` for the next \
             page; a page with fewer than `limit` rows is the last one. Allowed to members, \
             the host app's backend and operators.",
        )
        .query(
            "after",
            "Return only rows with a seq above this one; 0 by default.",
            seq(),
        )
        .paged()
        .fails_with(&[NotFound, Overloaded])
        .returns_list::<Contribution>(schemas),
        new("GET /raids/{id}/stream", "stream", "Stream a raid")
            .describe(
                "Streams the raid as Server-Sent Events: a snapshot of the state or the missed \
                 events, then live events, presence and signals. A player who listens is online. \
                 To resume, send `Last-Event-ID` or `since`. Streams count as connections; if \
                 there are too many, the response is `overloaded`. Allowed to members, the host \
                 app's backend and operators.",
            )
            .streams(),
    ]
}
