//! Refresh tokens: `<family>.<32 bytes>` in hex. A token family is one sign-in, in which each token
//! replaces the one before.
//!
//! A token's replacement is derived from it, so a client that lost the reply gets the same
//! replacement when it tries again, and only hashes are stored. Without the key a replacement
//! cannot be derived.

use data_encoding::HEXLOWER;
use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::AuthSecret;
use crate::random::{new_uuid, random_bytes};
use crate::store::{FamilyId, TokenHash};

const FAMILY_CHARS: usize = 32;
const SECRET_CHARS: usize = 64;

/// Key that derives replacement tokens. It differs from the secret, which signs access tokens.
pub(super) struct RotationKey([u8; 32]);

/// The current rotation key, and that of the former or next secret.
pub(super) struct RotationKeys {
    current: RotationKey,
    accepted: Option<RotationKey>,
}

impl RotationKeys {
    pub(super) fn new(secret: &AuthSecret, accepted: Option<&AuthSecret>) -> RotationKeys {
        RotationKeys {
            current: RotationKey::new(secret),
            accepted: accepted.map(RotationKey::new),
        }
    }

    /// Returns the token that replaces `token` under the current key.
    pub(super) fn rotate(&self, token: &RefreshToken) -> RefreshToken {
        token.rotate(&self.current)
    }

    /// Returns the replacement of `token` whose hash is `by`, under whichever key it was derived.
    pub(super) fn find_replacement(
        &self,
        token: &RefreshToken,
        by: TokenHash,
    ) -> Option<RefreshToken> {
        let keys = std::iter::once(&self.current).chain(&self.accepted);
        keys.map(|key| token.rotate(key))
            .find(|successor| successor.hash() == by)
    }
}

impl RotationKey {
    pub(super) fn new(secret: &AuthSecret) -> RotationKey {
        RotationKey(derive(secret.expose(), b"raidhall refresh tokens"))
    }
}

/// A refresh token. It has no `Debug`, so that it cannot be logged.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct RefreshToken {
    pub(super) family: FamilyId,
    text: String,
}

impl RefreshToken {
    /// Generates the first token of a new family.
    pub(super) fn generate() -> RefreshToken {
        let random: [u8; 32] = random_bytes().expect("the operating system has randomness");
        RefreshToken::new(FamilyId(new_uuid()), &random)
    }

    /// Parses a token that a client presents. Only the exact form that is issued is accepted.
    pub(super) fn parse(text: &str) -> Option<RefreshToken> {
        let (family, secret) = text.split_once('.')?;
        let hex = |part: &str| {
            part.bytes()
                .all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
        };
        if family.len() != FAMILY_CHARS
            || secret.len() != SECRET_CHARS
            || !hex(family)
            || !hex(secret)
        {
            return None;
        }
        Some(RefreshToken {
            family: FamilyId(Uuid::try_parse(family).ok()?),
            text: text.to_owned(),
        })
    }

    /// Derives the replacement of this token: the same one each time.
    pub(super) fn rotate(&self, key: &RotationKey) -> RefreshToken {
        RefreshToken::new(self.family, &derive(&key.0, self.text.as_bytes()))
    }

    pub(super) fn hash(&self) -> TokenHash {
        TokenHash(Sha256::digest(self.text.as_bytes()).into())
    }

    pub(super) fn into_text(self) -> String {
        self.text
    }

    fn new(family: FamilyId, secret: &[u8; 32]) -> RefreshToken {
        let text = format!("{}.{}", family.0.simple(), HEXLOWER.encode(secret));
        RefreshToken { family, text }
    }
}

fn derive(key: &[u8], message: &[u8]) -> [u8; 32] {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes keys of any length");
    mac.update(message);
    mac.finalize().into_bytes().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(byte: u8) -> RotationKey {
        RotationKey::new(&AuthSecret::new([byte; 32]).expect("long enough"))
    }

    #[test]
    fn the_next_refresh_token_is_deterministic_and_needs_the_key() {
        let first = RefreshToken::generate();
        let second = first.rotate(&key(1));
        assert!(second == first.rotate(&key(1)));
        assert!(second != first.rotate(&key(2)));
        assert!(second != first && second.rotate(&key(1)) != second);
        assert_eq!(second.family, first.family);
        assert_ne!(second.hash(), first.hash());
    }

    #[test]
    fn the_next_refresh_token_is_found_under_the_previous_key() {
        let secret = |byte| AuthSecret::new([byte; 32]).expect("long enough");
        let token = RefreshToken::generate();
        let given = RotationKeys::new(&secret(1), None).rotate(&token);
        let rotated = RotationKeys::new(&secret(2), Some(&secret(1)));
        assert!(rotated.find_replacement(&token, given.hash()) == Some(given.clone()));
        assert!(rotated.rotate(&token) != given);
        assert!(
            RotationKeys::new(&secret(2), None)
                .find_replacement(&token, given.hash())
                .is_none()
        );
    }

    #[test]
    fn a_refresh_token_round_trips_and_other_text_is_refused() {
        let token = RefreshToken::generate();
        let text = token.clone().into_text();
        assert!(RefreshToken::parse(&text) == Some(token));
        for other in [
            "",
            ".",
            &text[1..],
            &text.to_uppercase(),
            &format!("{text}0"),
            &text.replace('.', "-"),
        ] {
            assert!(RefreshToken::parse(other).is_none(), "{other}");
        }
    }
}
