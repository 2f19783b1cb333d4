//! Sign-in and refresh: pairs of an access and a refresh token.

use std::time::Duration;

use raidhall_protocol::limits::NAME_CHARS_MAX;
use raidhall_protocol::rest::TokenPair;
use raidhall_protocol::server::PlayerRef;
use raidhall_protocol::{UnixMillis, text};
use thiserror::Error;

use super::Auth;
use super::refresh_token::RefreshToken;
use crate::store::{FamilyId, RotationOutcome, RotationRequest, Store, StoreError};

/// How much longer than its token a connection may live, plus the difference between two clocks.
const CONNECTION_GRACE: Duration = Duration::from_secs(300);

/// Reason why a refresh token yields no new pair.
#[derive(Debug, Error)]
pub enum RefreshError {
    /// The text is not a refresh token, or its family is unknown, has expired or was revoked.
    #[error("refresh token is unknown")]
    Unknown,
    /// The token was used before, and its replacement too. It may have been stolen, so its family is
    /// now revoked.
    #[error("refresh token of family {} was used again", .0.0.simple())]
    Reused(FamilyId),
    /// The player is banned.
    #[error("player is banned")]
    Banned,
    /// The store failed; the same call may succeed later.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Auth {
    /// Signs a player in: returns the first pair of a new token family.
    ///
    /// # Errors
    ///
    /// When the store fails.
    pub async fn sign_in(
        &self,
        store: &dyn Store,
        player: PlayerRef,
        now: UnixMillis,
    ) -> Result<TokenPair, StoreError> {
        let token = RefreshToken::generate();
        store
            .create_token_family(
                token.family,
                player.id,
                token.hash(),
                now,
                self.0.refresh_ttl,
            )
            .await?;
        Ok(self.token_pair(player, token, now))
    }

    /// Returns the next pair. Until its refresh token is presented, the same token as now yields it
    /// again: the reply may have been lost, or the client could not store it.
    ///
    /// # Errors
    ///
    /// See [`RefreshError`].
    pub async fn refresh(
        &self,
        store: &dyn Store,
        presented: &str,
        now: UnixMillis,
    ) -> Result<TokenPair, RefreshError> {
        let presented = RefreshToken::parse(presented).ok_or(RefreshError::Unknown)?;
        let next = self.0.rotation_keys.rotate(&presented);
        let family = presented.family;
        let presentation = RotationRequest {
            family,
            presented: presented.hash(),
            replacement: next.hash(),
            now,
            ttl: self.0.refresh_ttl,
        };
        match store.rotate_refresh_token(presentation).await? {
            RotationOutcome::Rotated { player, current } => {
                if self.is_banned(player.id) {
                    return Err(RefreshError::Banned);
                }
                // An instance with another secret may have issued the replacement.
                let next = self
                    .0
                    .rotation_keys
                    .find_replacement(&presented, current)
                    .ok_or(RefreshError::Unknown)?;
                Ok(self.token_pair(player, next, now))
            }
            RotationOutcome::Reused => {
                // The holder of the family's access token may be the thief.
                self.sign_out(store, family, now).await?;
                Err(RefreshError::Reused(family))
            }
            RotationOutcome::Unknown => Err(RefreshError::Unknown),
        }
    }

    /// Ends a sign-in: its refresh token is useless from now on, and its access tokens and
    /// connections end within moments on every instance.
    ///
    /// # Errors
    ///
    /// When the store fails.
    pub async fn sign_out(
        &self,
        store: &dyn Store,
        family: FamilyId,
        now: UnixMillis,
    ) -> Result<(), StoreError> {
        store
            .sign_out(family, now, self.0.access_ttl + CONNECTION_GRACE)
            .await?;
        self.request_revocation_poll();
        Ok(())
    }

    fn token_pair(&self, player: PlayerRef, token: RefreshToken, now: UnixMillis) -> TokenPair {
        TokenPair {
            access_token: self.mint(&player, token.family, now),
            refresh_token: token.into_text(),
            expires_in: self.0.access_ttl.as_secs(),
            player,
        }
    }
}

/// Returns `text` without surrounding whitespace, if it is a valid name of a new player.
///
/// # Errors
///
/// When the name is empty or too long, or [`text::check_name`] refuses it. The error says what a
/// name must be.
pub fn validate_player_name(text: &str) -> Result<&str, &'static str> {
    let name = text.trim();
    if !(1..=NAME_CHARS_MAX).contains(&name.chars().count()) {
        return Err("must have 1 to 40 characters");
    }
    text::check_name(name).map(|()| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_guest_name_is_short_visible_text() {
        assert_eq!(validate_player_name("  Ada Lovelace\n"), Ok("Ada Lovelace"));
        assert_eq!(validate_player_name(&"ö".repeat(40)).map(str::len), Ok(80));
        for bad in [
            "",
            "   ",
            "a\0b",
            "a\u{85}b",
            "a\nb",
            "\u{200b}",
            "a\u{202e}b",
            &"ö".repeat(41),
        ] {
            assert!(validate_player_name(bad).is_err(), "{bad:?}");
        }
    }
}
