//! Operations on the calling player: profile, own stream, own data.

use raidhall_protocol::ErrorType::{Conflict, NotEnoughCoins, NotFound, WrongStatus};
use raidhall_protocol::admin::Erased;
use raidhall_protocol::player::{PlayerCommand, PlayerEvent};
use raidhall_protocol::rest::{CommandResult, LedgerRow, PlayerStateAt, Profile};
use serde_json::{Value, json};

use super::super::operation::{AllowedCaller, Operation};
use super::super::schemas::{Schemas, object};
use super::{command_with_op, id, seq};

pub fn operations(schemas: &mut Schemas) -> Vec<Operation> {
    let new = |route, id, summary| {
        Operation::new(route, id, "Players", summary).allow_caller(AllowedCaller::Player)
    };
    let command = command_with_op::<PlayerCommand>(schemas);
    vec![
        new("GET /me", "me", "Get your profile")
            .describe("Returns the calling player's id, name and totals over all raids.")
            .fails_with(&[NotFound])
            .returns::<Profile>(200, schemas),
        new("DELETE /me", "eraseMe", "Delete your account")
            .describe(
                "Closes the calling player's account. This cannot be undone. The account's \
                 personal data is deleted before the response is sent, and within two seconds \
                 every instance rejects the player's tokens and closes their connections. The \
                 player's name and texts are then removed from raids in the background. Only \
                 players may call this.",
            )
            .fails_with(&[NotFound])
            .returns::<Erased>(202, schemas),
        new("GET /me/state", "myState", "Get your state")
            .describe(
                "Returns the calling player's state: everything that follows from the events of \
                 their own stream up to `seq`. The events after it are those of `GET /me/events` \
                 with `after` set to `seq`.",
            )
            .fails_with(&[NotFound])
            .returns::<PlayerStateAt>(200, schemas),
        new("GET /me/events", "myEvents", "List your events")
            .describe(
                "Lists the events of the calling player's own stream, oldest first. Pass the last \
                 `seq` as `after` for the next page; a page with fewer than `limit` rows is the \
                 last one.",
            )
            .query(
                "after",
                "Return only rows with a seq above this one; 0 by default.",
                seq(),
            )
            .paged()
            .returns_list::<PlayerEvent>(schemas),
        new("POST /me/commands", "doForMe", "Send a command to your stream")
            .describe(
                "Sends a command to the calling player's own stream. Responds once its events \
                 are stored. With an `op`, which `Idempotency-Key` can carry too, the command \
                 takes effect at most once. Returns `conflict` if a setting does not have the \
                 version `if_version`, `not_found` for an item that does not exist or, to put it \
                 on, is not the player's, `wrong_status` for one that the player has already, or \
                 if no lost streak can be repaired, `not_enough_coins` for what is too \
                 expensive, and `forbidden` for commands \
                 of the host app's backend. A player may send 2 commands per second. Only players \
                 may call this.",
            )
            .idempotent()
            .body(
                command,
                json!({"op": "0190f3", "cmd": {"type": "set_setting", "key": "theme", "value": "dark"}}),
            )
            .fails_with(&[NotFound, Conflict, WrongStatus, NotEnoughCoins])
            .returns::<CommandResult>(200, schemas),
        new("GET /me/stream", "streamMe", "Stream your events")
            .describe(
                "Streams the calling player's own stream as Server-Sent Events: a snapshot of \
                 the state or the missed events, then live events. To resume, send \
                 `Last-Event-ID` or `since`. Streams count as connections; if there are too \
                 many, the response is `overloaded`.",
            )
            .streams(),
        new("GET /me/export", "exportMe", "Export your data")
            .describe(
                "Downloads everything that is stored about the calling player as one JSON \
                 document: profile, sign-ins, the events of the player's stream and, for each \
                 raid, the events that the player caused or is named in. The document has no size limit. If the download breaks \
                 off, it is not valid JSON: request it again.",
            )
            .fails_with(&[NotFound])
            .with_header("Content-Disposition")
            .returns_json(200, export(schemas)),
    ]
}

fn export(schemas: &mut Schemas) -> Value {
    let event = json!({"type": "array", "items": schemas.response::<LedgerRow>()});
    let raid = object(&[
        ("id", id()),
        ("events", event),
        ("title", json!({"type": ["string", "null"]})),
        ("member", json!({"type": "boolean"})),
    ]);
    let sign_in = object(&[
        ("renewed_at", json!({"type": "integer"})),
        ("expires_at", json!({"type": "integer"})),
    ]);
    let own_event = schemas.response::<PlayerEvent>();
    let score = object(&[
        ("board", json!({"type": "string"})),
        ("number", json!({"type": "integer"})),
        ("score", json!({"type": "integer"})),
        ("reached_at", json!({"type": "integer"})),
        ("reached_raid", json!({"type": "integer"})),
        ("reached_seq", json!({"type": "integer"})),
        ("listed", json!({"type": "boolean"})),
    ]);
    let kept = object(&[
        ("player", schemas.response::<Profile>()),
        ("external_id", json!({"type": ["string", "null"]})),
        ("sign_ins", json!({"type": "array", "items": sign_in})),
        ("stream", json!({"type": "array", "items": own_event})),
        ("board_scores", json!({"type": "array", "items": score})),
        ("raids", json!({"type": "array", "items": raid})),
    ]);
    object(&[("data", kept)])
}
