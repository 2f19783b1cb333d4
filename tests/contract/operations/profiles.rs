//! Operations on what clients show of progression and of other players.

use raidhall_protocol::ErrorType::NotFound;
use raidhall_protocol::progression::Progression;
use raidhall_protocol::rest::PlayerProfile;
use serde_json::json;

use super::super::operation::{AllowedCaller, Operation};
use super::super::schemas::Schemas;
use super::id;

pub fn operations(schemas: &mut Schemas) -> Vec<Operation> {
    let new = |route, id, summary| Operation::new(route, id, "Players", summary);
    vec![
        new(
            "GET /progression",
            "progression",
            "Get the definitions of progression",
        )
        .describe(
            "Returns the definitions of progression that are in force, or those of a few seconds \
             ago: where levels begin, what brings coins, the achievements, the items of the shop \
             and the leaderboards. No access token is needed.",
        )
        .allow_caller(AllowedCaller::Public)
        .rate_limited()
        .returns::<Progression>(200, schemas),
        new(
            "GET /players/{id}/profile",
            "profile",
            "Get a player's profile",
        )
        .describe(
            "Returns what a player shows to others. Allowed to the player, to players who are in \
             a raid with the player that has not ended, and to companions: players who earned XP \
             in a raid, as the player did, that ended within 90 days, and to every player if the \
             player is listed on a leaderboard. The player's setting `profile` can exclude them. Also allowed to the host app's backend and operators. \
             For any other caller the player does not exist.",
        )
        .allow_caller(AllowedCaller::Player)
        .fails_with(&[NotFound])
        .returns::<PlayerProfile>(200, schemas),
        new("GET /players", "profiles", "Get profiles of players")
            .describe(
                "Returns the profiles of several players, in the order of `ids`. Players whose \
                 profile the caller may not see are left out.",
            )
            .allow_caller(AllowedCaller::Player)
            .query_list(
                "ids",
                "Ids of the players, between commas.",
                json!({"type": "array", "items": id(), "minItems": 1, "maxItems": 100,
                    "uniqueItems": true}),
            )
            .returns_list::<PlayerProfile>(schemas),
    ]
}
