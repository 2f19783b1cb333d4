//! Operations of signing in.

use raidhall_protocol::ErrorType::{Forbidden, NotFound, Overloaded, Unauthenticated};
use raidhall_protocol::admin::{Linked, SignedOut};
use raidhall_protocol::rest::TokenPair;
use serde_json::json;

use super::super::operation::{AllowedCaller, Operation};
use super::super::schemas::{Schemas, object};
use super::{either_key, player_name};

pub fn operations(schemas: &mut Schemas) -> Vec<Operation> {
    let tag = "Signing in";
    let new = |route, id, summary| Operation::new(route, id, tag, summary);
    let plain = || json!({"type": "string"});
    vec![
        new("POST /auth/guest", "signInAsGuest", "Sign in as a guest")
            .describe(
                "Creates a player with the given name and returns a pair of tokens. No access \
                 token is needed. Returns `forbidden` if guest sign-in is turned off. Sign-ins \
                 are limited per client address.",
            )
            .body(object(&[("name", player_name())]), json!({"name": "Ada"}))
            .fails_with(&[Forbidden, Overloaded])
            .rate_limited()
            .returns::<TokenPair>(201, schemas),
        new("POST /auth/refresh", "refresh", "Refresh a pair of tokens")
            .describe(
                "Exchanges a refresh token for a new pair of tokens. A refresh token can be used \
                 once; for 60 seconds after that, presenting it again returns the same new pair, \
                 in case the response was lost. Later reuse ends the sign-in and returns \
                 `unauthenticated`. Returns `forbidden` if the player is banned.",
            )
            .body(
                object(&[("refresh_token", plain())]),
                json!({"refresh_token": "9f2c…"}),
            )
            .fails_with(&[Unauthenticated, Forbidden])
            .rate_limited()
            .returns::<TokenPair>(200, schemas),
        new(
            "POST /auth/telegram",
            "signInByTelegram",
            "Sign in with Telegram",
        )
        .describe(
            "Signs in the user of a Telegram Mini App, whose player is created at the first \
             sign-in. Send the init data in the body or in the `X-Telegram-Init-Data` header; \
             it is valid for one request. Returns `unauthenticated` if the init data is \
             invalid, too old or already used, and `forbidden` if sign-in with Telegram is \
             turned off or the player is banned.",
        )
        .header(
            "X-Telegram-Init-Data",
            "Init data of the Mini App; if this header is present, the body is ignored.",
            plain(),
        )
        .body(
            object(&[("init_data", plain())]),
            json!({"init_data": "query_id=…&user=…&auth_date=…&hash=…"}),
        )
        .fails_with(&[Unauthenticated, Forbidden])
        .rate_limited()
        .returns::<TokenPair>(200, schemas),
        new("POST /auth/link", "link", "Link an external identity")
            .describe(
                "Links an identity to the calling player, who can then also sign in with it. Id \
                 and name of the player stay the same. Send either a `token` of a configured \
                 issuer or the `init_data` of a Telegram Mini App. Returns `invalid` if the \
                 identity belongs to another player or if the caller already has one, \
                 `unauthenticated` if the token or the init data is invalid, and `forbidden` if \
                 sign-in with Telegram is turned off. Only players may call this.",
            )
            .allow_caller(AllowedCaller::Player)
            .header(
                "X-Telegram-Init-Data",
                "Init data of the Mini App; if this header is present, the body is ignored.",
                plain(),
            )
            .body(either_key("token", "init_data"), json!({"token": "eyJ…"}))
            .fails_with(&[NotFound])
            .returns::<Linked>(200, schemas),
        new("POST /auth/sign-out", "signOut", "Sign out")
            .describe(
                "Ends the sign-in that the access token belongs to. Its refresh token stops \
                 working; its access tokens stop working and its connections close within two \
                 seconds, on every instance. Returns `forbidden` for a token that belongs to no \
                 sign-in, such as a host app's own token.",
            )
            .allow_caller(AllowedCaller::Player)
            .returns::<SignedOut>(200, schemas),
    ]
}
