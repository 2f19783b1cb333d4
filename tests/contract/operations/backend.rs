//! Operations of the host app's backend.

use raidhall_protocol::ErrorType::{
    NotEnoughCoins, NotFound, Overloaded, QuotaExceeded, RaidClosed, RaidFull, WrongStatus,
};
use raidhall_protocol::admin::Erased;
use raidhall_protocol::host_app::{FeedEvent, HostPlayer};
use raidhall_protocol::limits::EXTERNAL_ID_CHARS_MAX;
use raidhall_protocol::player::PlayerCommand;
use raidhall_protocol::rest::{CommandResult, RaidView, TokenPair};
use raidhall_protocol::{OpKey, PlayerId};
use serde_json::json;

use super::super::operation::{AllowedCaller, Operation};
use super::super::schemas::{Schemas, object};
use super::{player_name, printable_text};

pub fn operations(schemas: &mut Schemas) -> Vec<Operation> {
    let new = |route, id, summary| {
        Operation::new(route, id, "The host app's backend", summary)
            .allow_caller(AllowedCaller::HostAppBackend)
    };
    let player_command = json!({
        "type": "object",
        "required": ["op", "cmd"],
        "properties": {"op": schemas.request::<OpKey>(), "cmd": schemas.request::<PlayerCommand>()},
    });
    let external_id = json!({
        "type": "string",
        "minLength": 1,
        "maxLength": EXTERNAL_ID_CHARS_MAX,
        "pattern": r"^[^\s\x00-\x1f\x7f-\x9f]([^\x00-\x1f\x7f-\x9f]*[^\s\x00-\x1f\x7f-\x9f])?$",
    });
    let next =
        json!({"type": "string", "description": "Value to pass as `after` for the next page."});
    vec![
        new("POST /players", "admitPlayer", "Get or create a player")
            .describe(
                "Returns the player with this id in the host app. The first call creates the \
                 player; later calls change nothing, not even the name. Requires the scope \
                 `service`.",
            )
            .body(
                object(&[("external_id", external_id), ("name", player_name())]),
                json!({"external_id": "u-17", "name": "Ada"}),
            )
            .returns::<HostPlayer>(200, schemas),
        new(
            "POST /players/{id}/tokens",
            "mintTokens",
            "Create tokens for a player",
        )
        .describe(
            "Signs a player in and returns the pair of tokens for the player's client. \
             Returns `forbidden` if the player is banned. Requires the scope `service`.",
        )
        .fails_with(&[NotFound])
        .returns::<TokenPair>(201, schemas),
        new(
            "DELETE /players/{id}",
            "erasePlayer",
            "Delete a player's account",
        )
        .describe(
            "Closes the player's account, exactly as `DELETE /me` does for the caller. This \
             cannot be undone. Requires the scope `service` or `admin`.",
        )
        .fails_with(&[NotFound])
        .returns::<Erased>(202, schemas),
        new(
            "POST /players/{id}/commands",
            "doForPlayer",
            "Send a command to a player's stream",
        )
        .describe(
            "Sends a command to a player's own stream: `grant_xp`, `grant_coins`, `grant_item` or \
             `notify`, which require the scope `service`, or `correct`, which requires the scope \
             `admin`. Responds once its events are stored. A command that is repeated under its \
             `op` takes effect once. Returns `not_enough_coins` if it would take more coins than \
             the player has.",
        )
        .body(
            player_command,
            json!({"op": "sale-5", "cmd": {
                "type": "notify", "kind": "sale", "title": "Sale", "body": "Frames for half", "url": "/shop",
            }}),
        )
        .fails_with(&[NotFound, NotEnoughCoins])
        .returns::<CommandResult>(200, schemas),
        new(
            "POST /raids/{id}/members",
            "addMember",
            "Add a member to a raid",
        )
        .describe(
            "Adds a player to a raid as if the player had joined. Adding a member again \
             changes nothing. Returns `forbidden` if the player is banned or was kicked from \
             the raid. Requires the scope `service`.",
        )
        .idempotent()
        .body(
            object(&[("player", schemas.request::<PlayerId>())]),
            json!({"player": 5}),
        )
        .fails_with(&[
            NotFound,
            RaidFull,
            RaidClosed,
            WrongStatus,
            QuotaExceeded,
            Overloaded,
        ])
        .returns::<RaidView>(200, schemas),
        new("GET /events", "feed", "List events of all raids")
            .describe(
                "Lists the events of all raids in the order in which they were committed. There \
                 is always a `next_cursor`, even on an empty page: store it, and pass it as \
                 `after` to continue. Returns `not_found` if `after` is not a cursor of the \
                 current lineage, as after a restore; then start again without `after`. Requires \
                 the scope `service`.",
            )
            .query(
                "after",
                "The `next_cursor` of the previous page.",
                printable_text(),
            )
            .paged()
            .fails_with(&[NotFound])
            .returns_page::<FeedEvent>(schemas, next),
    ]
}
