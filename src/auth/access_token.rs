//! Raidhall's own access tokens: JWTs signed with HS256 (RFC 7519), verified without I/O.
//!
//! A token names its key (`kid`), so that a secret can be changed: see [`Options`](super::Options).
//! Tokens of the previous release name no key and are tried with each known key.

use std::time::Duration;

use data_encoding::HEXLOWER;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Validation};
use raidhall_protocol::server::PlayerRef;
use raidhall_protocol::{PlayerId, UnixMillis};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::jwt_header::JwtHeader;
use super::{Auth, AuthSecret, Identity, Scope};
use crate::error::Error;
use crate::store::FamilyId;

/// Issuer and audience of Raidhall's own tokens. They reject a token that was signed with the same
/// secret for another purpose.
const RAIDHALL: &str = "raidhall";
pub(super) const TOKEN_NOT_VALID: Error = Error::Unauthenticated("The access token is not valid");
pub(super) const TOKEN_EXPIRED: Error = Error::Unauthenticated("The access token has expired");

pub(super) struct AccessTokenKeys {
    signing_key: EncodingKey,
    /// The signing key comes first.
    verifying_keys: Vec<VerifyingKey>,
    validation: Validation,
}

struct VerifyingKey {
    id: String,
    key: DecodingKey,
}

impl VerifyingKey {
    fn new(secret: &AuthSecret) -> VerifyingKey {
        // Identifies the key without revealing anything about it.
        let id = HEXLOWER.encode(&secret.derive("raidhall token key id", "")[..8]);
        VerifyingKey {
            id,
            key: DecodingKey::from_secret(secret.expose()),
        }
    }
}

#[derive(Serialize)]
struct ClaimsToSign<'a> {
    iss: &'static str,
    aud: &'static str,
    sub: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    scope: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sid: Option<String>,
    iat: i64,
    exp: i64,
}

/// Claims of a verified token; `Validation` has already checked issuer and audience.
#[derive(Deserialize)]
struct VerifiedClaims {
    sub: String,
    name: Option<String>,
    scope: Option<String>,
    sid: Option<String>,
    #[serde(rename = "iat")]
    _iat: i64,
    exp: i64,
}

impl AccessTokenKeys {
    pub(super) fn new(secret: &AuthSecret, accepted: Option<&AuthSecret>) -> AccessTokenKeys {
        let mut validation = Validation::new(Algorithm::HS256);
        validation.set_issuer(&[RAIDHALL]);
        validation.set_audience(&[RAIDHALL]);
        validation.set_required_spec_claims(&["exp", "sub", "iss", "aud"]);
        // Expiry is checked against the database's clock instead of this machine's: see `verify`.
        validation.validate_exp = false;
        AccessTokenKeys {
            signing_key: EncodingKey::from_secret(secret.expose()),
            verifying_keys: std::iter::once(secret)
                .chain(accepted)
                .map(VerifyingKey::new)
                .collect(),
            validation,
        }
    }

    fn verified_claims(&self, token: &str) -> Option<VerifiedClaims> {
        let JwtHeader { alg, kid, .. } = JwtHeader::parse(token)?;
        if alg != "HS256" {
            return None;
        }
        let mut keys = self
            .verifying_keys
            .iter()
            .filter(|key| kid.as_ref().is_none_or(|kid| *kid == key.id));
        keys.find_map(|VerifyingKey { key, .. }| {
            jsonwebtoken::decode(token, key, &self.validation).ok()
        })
        .map(|token| token.claims)
    }

    fn signing_header(&self) -> jsonwebtoken::Header {
        let kid = self.verifying_keys.first().map(|key| key.id.clone());
        jsonwebtoken::Header {
            kid,
            ..jsonwebtoken::Header::new(Algorithm::HS256)
        }
    }
}

impl Auth {
    /// Returns an access token for a player, as part of the sign-in `family`.
    pub fn mint(&self, player: &PlayerRef, family: FamilyId, now: UnixMillis) -> String {
        self.sign_token(
            Scope::Player,
            &player.id.to_string(),
            Some(&player.name),
            Some(family),
            self.0.access_ttl,
            now,
        )
    }

    /// Returns an access token outside any sign-in, such as the one that `raidhall token` prints.
    /// If `subject` is a player's id and `name` is given, the token speaks for that player; a token
    /// of [`Scope::Player`] is useless without both.
    pub fn mint_scoped(
        &self,
        scope: Scope,
        subject: &str,
        name: Option<&str>,
        ttl: Duration,
        now: UnixMillis,
    ) -> String {
        self.sign_token(scope, subject, name, None, ttl, now)
    }

    fn sign_token(
        &self,
        scope: Scope,
        subject: &str,
        name: Option<&str>,
        family: Option<FamilyId>,
        ttl: Duration,
        now: UnixMillis,
    ) -> String {
        let iat = now.0.div_euclid(1000);
        let claims = ClaimsToSign {
            iss: RAIDHALL,
            aud: RAIDHALL,
            sub: subject,
            name,
            scope: scope.as_str(),
            sid: family.map(|family| family.0.simple().to_string()),
            iat,
            exp: iat.saturating_add_unsigned(ttl.as_secs()),
        };
        let keys = &self.0.access_keys;
        jsonwebtoken::encode(&keys.signing_header(), &claims, &keys.signing_key)
            .expect("HS256 signs any claims")
    }

    /// Verifies one of Raidhall's own access tokens, in memory alone.
    ///
    /// # Errors
    ///
    /// `Unauthenticated` when the token is not one of Raidhall's, has expired at `now` (there is no
    /// leeway), or its sign-in has ended; `Forbidden` when its player is banned.
    pub fn verify(&self, token: &str, now: UnixMillis) -> Result<Identity, Error> {
        let claims = self
            .0
            .access_keys
            .verified_claims(token)
            .ok_or(TOKEN_NOT_VALID)?;
        let expires_at = UnixMillis(claims.exp.saturating_mul(1000));
        if expires_at <= now {
            return Err(TOKEN_EXPIRED);
        }
        let identity = identity_from_claims(claims, expires_at).ok_or(TOKEN_NOT_VALID)?;
        self.check_not_revoked(&identity)?;
        Ok(identity)
    }
}

/// Builds an identity whose subject includes the scope: a service named `5`, or one that speaks for
/// player 5, shares no idempotency keys with player 5.
fn identity_from_claims(claims: VerifiedClaims, expires_at: UnixMillis) -> Option<Identity> {
    let VerifiedClaims {
        sub,
        name,
        scope,
        sid,
        ..
    } = claims;
    let family = match sid {
        Some(sid) => Some(FamilyId(Uuid::try_parse(&sid).ok()?)),
        None => None,
    };
    let id = || PlayerId::try_from(sub.parse::<u64>().ok()?).ok();
    let player = name.and_then(|name| Some(PlayerRef { id: id()?, name }));
    let (scope, subject) = match scope.as_deref() {
        None => (Scope::Player, player.as_ref()?.id.to_string()),
        Some("service") => (Scope::Service, format!("service:{sub}")),
        Some("admin") => (Scope::Admin, format!("admin:{sub}")),
        Some(_) => return None,
    };
    Some(Identity {
        player,
        scope,
        subject,
        family,
        expires_at,
    })
}

#[cfg(test)]
mod tests {
    use jsonwebtoken::Header;
    use serde_json::{Value, json};

    use super::super::{Options, secret};
    use super::*;
    use crate::config::Config;

    const NOW: UnixMillis = UnixMillis(1_767_225_600_500);
    const SECRET: &str = "0123456789abcdef0123456789abcdef";

    fn auth(secret: &str) -> Auth {
        accepting(secret, None)
    }

    fn accepting(secret: &str, accepted: Option<&str>) -> Auth {
        let of = |text: &str| secret::AuthSecret::new(text).expect("long enough");
        Auth::new(
            &of(secret),
            Options {
                accepted_secret: accepted.map(of),
                ..Config::default().auth
            },
        )
    }

    fn ada() -> PlayerRef {
        PlayerRef {
            id: PlayerId::try_from(5_u64).expect("an id"),
            name: "Ada".into(),
        }
    }

    /// Returns a token with a valid player's claims after `changes`, where null removes a claim,
    /// signed under the given header and secret.
    fn forged(header: &Header, secret: &str, changes: Value) -> String {
        let mut claims = json!({"iss": "raidhall", "aud": "raidhall", "sub": "5", "name": "Ada",
            "iat": 1_767_225_600, "exp": 1_767_226_500});
        for (claim, value) in changes.as_object().expect("a map") {
            claims[claim] = value.clone();
        }
        claims
            .as_object_mut()
            .expect("a map")
            .retain(|_, value| !value.is_null());
        jsonwebtoken::encode(
            header,
            &claims,
            &EncodingKey::from_secret(secret.as_bytes()),
        )
        .expect("encodes")
    }

    fn check(changes: Value) -> Result<Identity, Error> {
        auth(SECRET).verify(&forged(&Header::default(), SECRET, changes), NOW)
    }

    #[test]
    fn a_minted_token_identifies_its_player_until_it_expires() {
        let auth = auth(SECRET);
        let token = auth.mint(&ada(), FamilyId(Uuid::nil()), NOW);
        let identity = auth.verify(&token, NOW).expect("valid");
        assert_eq!(
            (identity.player, identity.scope),
            (Some(ada()), Scope::Player)
        );
        assert_eq!(identity.subject, "5");
        assert_eq!(identity.expires_at, UnixMillis(1_767_226_500_000));
        assert!(auth.verify(&token, UnixMillis(1_767_226_499_999)).is_ok());
        assert_eq!(
            auth.verify(&token, UnixMillis(1_767_226_500_000)),
            Err(TOKEN_EXPIRED)
        );
    }

    #[test]
    fn token_scopes_are_read_and_kept_separate() {
        let auth = auth(SECRET);
        let minute = Duration::from_secs(60);
        let token = auth.mint_scoped(Scope::Service, "5", None, minute, NOW);
        let identity = auth.verify(&token, NOW).expect("valid");
        assert_eq!(
            (identity.scope, identity.subject.as_str()),
            (Scope::Service, "service:5")
        );
        assert_eq!(identity.player, None);
        let token = auth.mint_scoped(Scope::Admin, "5", Some("Ada"), minute, NOW);
        let identity = auth.verify(&token, NOW).expect("valid");
        assert_eq!(
            (identity.scope, identity.player),
            (Scope::Admin, Some(ada()))
        );
        let token = auth.mint_scoped(Scope::Player, "ops", Some("Ops"), minute, NOW);
        assert_eq!(auth.verify(&token, NOW), Err(TOKEN_NOT_VALID));
        assert_eq!(check(json!({"scope": "root"})), Err(TOKEN_NOT_VALID));
    }

    #[test]
    fn every_relevant_token_claim_is_required_and_checked() {
        assert!(check(json!({})).is_ok());
        for claim in ["iss", "aud", "sub", "name", "iat", "exp"] {
            assert_eq!(
                check(json!({ claim: null })),
                Err(TOKEN_NOT_VALID),
                "{claim} is missing"
            );
        }
        for (claim, value) in [
            ("iss", json!("elsewhere")),
            ("aud", json!("elsewhere")),
            ("sub", json!("0")),
            ("sub", json!("ada")),
            ("sub", json!("9007199254740992")),
            ("exp", json!("1767226500")),
            ("sid", json!("phone")),
        ] {
            assert_eq!(
                check(json!({ claim: value })),
                Err(TOKEN_NOT_VALID),
                "{claim}: {value}"
            );
        }
        assert_eq!(check(json!({"exp": 0})), Err(TOKEN_EXPIRED));
        assert!(check(json!({"exp": i64::MAX})).is_ok());
    }

    #[test]
    fn tokens_stay_valid_while_the_secret_is_rotated() {
        let (old, new) = (SECRET, "another secret of at least 32 bytes");
        let minted = |auth: &Auth| auth.mint(&ada(), FamilyId(Uuid::nil()), NOW);
        let before = [auth(old), accepting(old, Some(new))];
        let after = [accepting(new, Some(old)), accepting(old, Some(new))];
        for auth in &after {
            for token in before.iter().chain(&after).map(minted) {
                assert!(auth.verify(&token, NOW).is_ok());
            }
            let of_the_release_before = forged(&Header::default(), old, json!({}));
            assert!(auth.verify(&of_the_release_before, NOW).is_ok());
        }
        let over = auth(new);
        assert!(over.verify(&minted(&after[0]), NOW).is_ok());
        assert_eq!(over.verify(&minted(&before[0]), NOW), Err(TOKEN_NOT_VALID));
        let kid = |auth: &Auth| {
            jsonwebtoken::decode_header(minted(auth))
                .expect("a header")
                .kid
        };
        assert_eq!(kid(&over), kid(&after[0]));
        assert_ne!(kid(&over), kid(&before[0]));
    }

    #[test]
    fn a_token_that_names_another_key_is_refused() {
        let named = |kid: &str| Header {
            kid: Some(kid.to_owned()),
            ..Header::default()
        };
        let kid = auth(SECRET)
            .0
            .access_keys
            .signing_header()
            .kid
            .expect("a name");
        assert!(
            auth(SECRET)
                .verify(&forged(&named(&kid), SECRET, json!({})), NOW)
                .is_ok()
        );
        for other in [
            "",
            "0000000000000000",
            &kid.to_uppercase(),
            "../../dev/null",
        ] {
            let token = forged(&named(other), SECRET, json!({}));
            assert_eq!(
                auth(SECRET).verify(&token, NOW),
                Err(TOKEN_NOT_VALID),
                "{other}"
            );
        }
    }

    #[test]
    fn only_hs256_with_our_secret_is_accepted() {
        let auth = auth(SECRET);
        let other = "another secret of at least 32 bytes";
        let refused =
            |token: &str| assert_eq!(auth.verify(token, NOW), Err(TOKEN_NOT_VALID), "{token}");
        refused(&forged(&Header::default(), other, json!({})));
        refused(&forged(&Header::new(Algorithm::HS512), SECRET, json!({})));
        let good = forged(&Header::default(), SECRET, json!({}));
        let (_, rest) = good.split_once('.').expect("three parts");
        refused(&format!("eyJhbGciOiJub25lIiwidHlwIjoiSldUIn0.{rest}"));
        refused(&good[..good.rfind('.').expect("three parts") + 1]);
        for rubbish in ["", ".", "..", "a.b.c", &"x".repeat(10_000)] {
            refused(rubbish);
        }
    }
}
