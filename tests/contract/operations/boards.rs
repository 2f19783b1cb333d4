//! Operations on leaderboards.

use raidhall_protocol::ErrorType::NotFound;
use raidhall_protocol::boards::{BoardPage, OpenBoard};
use serde_json::json;

use super::super::operation::{AllowedCaller, Operation};
use super::super::schemas::Schemas;

pub fn operations(schemas: &mut Schemas) -> Vec<Operation> {
    let new = |route, id, summary| Operation::new(route, id, "Players", summary);
    vec![
        new("GET /boards", "boards", "List leaderboards")
            .describe("Returns the leaderboards, each with its window that is open now.")
            .allow_caller(AllowedCaller::Player)
            .returns_list::<OpenBoard>(schemas),
        new("GET /boards/{board}", "board", "Get a leaderboard")
            .describe(
                "Returns a part of a window of a leaderboard: the best scores, those behind \
                 `cursor`, or those around the caller's own. Players are listed as their setting \
                 `boards` says, and not while they are banned. `me` is the caller's own place, which \
                 is as new as the caller's last event.",
            )
            .allow_caller(AllowedCaller::Player)
            .query(
                "number",
                "The window: `current`, `previous`, or its number.",
                json!({"type": "string", "pattern": "^(current|previous|-?[0-9]{1,18})$", "default": "current"}),
            )
            .query(
                "around",
                "`me` for the scores around the caller's own; `forbidden` without a player.",
                json!({"type": "string", "const": "me"}),
            )
            .query(
                "companions",
                "Whether to rank only the caller and the caller's companions; `forbidden` without a player.",
                json!({"type": "boolean", "default": false}),
            )
            .paged()
            .query(
                "cursor",
                "A `next_cursor`: the part begins behind it, in the same window, whatever `number` and \
                 `around` say.",
                // 32 bytes in URL-safe Base64. The score fits into 63 bits, and no player has the id 0.
                json!({
                    "type": "string",
                    "pattern": "^[A-Za-z0-9_-]{10}[ABEFIJMNQRUVYZcdghklopstwx014589][A-Za-z0-9_-]{21}\
                        A[AB][A-Za-z0-9_-]{8}[AEIMQUYcgkosw048]$",
                    "not": {"pattern": "AAAAAAAAAAA$"},
                }),
            )
            .fails_with(&[NotFound])
            .returns_body::<BoardPage>(schemas),
    ]
}
