//! Bans and ended sign-ins, copied from the store into memory, so that no token check reads the
//! store.
//!
//! A ban is kept as long as it lasts. An ended sign-in is kept until its last access token has
//! expired.

use std::collections::{HashMap, HashSet};

use parking_lot::RwLock;
use raidhall_protocol::{CloseCode, PlayerId, UnixMillis};

use super::{Identity, Scope};
use crate::error::Error;
use crate::store::{FamilyId, Notice};

/// Error that a banned player's client receives.
pub(crate) const BANNED: Error = Error::Forbidden("This player is banned, or was erased");
pub(super) const SIGNED_OUT: Error =
    Error::Unauthenticated("This sign-in has ended; sign in again");

/// Banned players and ended sign-ins.
#[derive(Debug, Default)]
pub(super) struct RevocationList(RwLock<Revocations>);

#[derive(Debug, Default)]
struct Revocations {
    banned_players: HashSet<PlayerId>,
    signed_out_families: HashMap<FamilyId, UnixMillis>,
}

/// Players and token families whose connections have to be closed.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct RevokedSessions {
    players: HashMap<PlayerId, CloseCode>,
    families: HashSet<FamilyId>,
}

impl RevocationList {
    /// Checks that a genuine token is not revoked.
    pub(super) fn check(&self, identity: &Identity) -> Result<(), Error> {
        let revocations = self.0.read();
        // A ban concerns a player's own tokens only: it does not revoke an operator's or a
        // service's token.
        let player = identity
            .player
            .as_ref()
            .filter(|_| identity.scope == Scope::Player);
        if player.is_some_and(|player| revocations.banned_players.contains(&player.id)) {
            return Err(BANNED);
        }
        let ended = identity
            .family
            .is_some_and(|family| revocations.signed_out_families.contains_key(&family));
        if ended { Err(SIGNED_OUT) } else { Ok(()) }
    }

    pub(super) fn is_banned(&self, player: PlayerId) -> bool {
        self.0.read().banned_players.contains(&player)
    }

    /// Applies notices of the store.
    pub(super) fn apply(&self, notices: impl IntoIterator<Item = Notice>, now: UnixMillis) {
        let mut revocations = self.0.write();
        for notice in notices {
            match notice {
                Notice::BanChanged {
                    player,
                    banned: true,
                } => {
                    revocations.banned_players.insert(player);
                }
                Notice::BanChanged {
                    player,
                    banned: false,
                } => {
                    revocations.banned_players.remove(&player);
                }
                Notice::SignedOut { family, until } => {
                    revocations.signed_out_families.insert(family, until);
                }
                Notice::Disconnect(_) => {}
            }
        }
        revocations
            .signed_out_families
            .retain(|_, until| *until > now);
    }

    /// Replaces all bans by those in the store.
    pub(super) fn replace_bans(&self, banned: HashSet<PlayerId>) {
        self.0.write().banned_players = banned;
    }
}

impl RevokedSessions {
    /// Collects the players and token families whose connections the notices end.
    pub(super) fn from_notices(notices: impl IntoIterator<Item = Notice>) -> RevokedSessions {
        let mut revoked = RevokedSessions::default();
        for notice in notices {
            match notice {
                Notice::BanChanged {
                    player,
                    banned: true,
                } => {
                    revoked.players.insert(player, CloseCode::Forbidden);
                }
                // `Unauthenticated` makes the client get a new token first, so its player is
                // checked again.
                Notice::Disconnect(player) => {
                    revoked
                        .players
                        .entry(player)
                        .or_insert(CloseCode::Unauthenticated);
                }
                Notice::SignedOut { family, .. } => {
                    revoked.families.insert(family);
                }
                Notice::BanChanged { banned: false, .. } => {}
            }
        }
        revoked
    }

    pub fn is_empty(&self) -> bool {
        self.players.is_empty() && self.families.is_empty()
    }

    /// Returns the code with which to close a connection of this identity, if it has to be closed.
    pub fn close_code_for(&self, identity: &Identity) -> Option<CloseCode> {
        let player = identity
            .player
            .as_ref()
            .filter(|_| identity.scope == Scope::Player);
        let of_player = player.and_then(|player| self.players.get(&player.id).copied());
        let signed_out = identity
            .family
            .is_some_and(|family| self.families.contains(&family));
        of_player.or_else(|| signed_out.then_some(CloseCode::Unauthenticated))
    }
}

#[cfg(test)]
mod tests {
    use raidhall_protocol::server::PlayerRef;
    use uuid::Uuid;

    use super::*;

    const NOW: UnixMillis = UnixMillis(1_000);

    fn player(id: u64) -> PlayerId {
        PlayerId::try_from(id).expect("an id")
    }

    fn identity(id: u64, family: u128, scope: Scope) -> Identity {
        Identity {
            player: Some(PlayerRef {
                id: player(id),
                name: "Ada".into(),
            }),
            scope,
            subject: id.to_string(),
            family: Some(FamilyId(Uuid::from_u128(family))),
            expires_at: UnixMillis(2_000),
        }
    }

    #[test]
    fn a_ban_holds_for_player_tokens_until_it_is_lifted() {
        let revoked = RevocationList::default();
        revoked.apply(
            [Notice::BanChanged {
                player: player(5),
                banned: true,
            }],
            NOW,
        );
        assert_eq!(revoked.check(&identity(5, 1, Scope::Player)), Err(BANNED));
        assert_eq!(revoked.check(&identity(5, 1, Scope::Admin)), Ok(()));
        assert_eq!(revoked.check(&identity(6, 1, Scope::Player)), Ok(()));
        revoked.apply([], UnixMillis(i64::MAX));
        assert!(revoked.is_banned(player(5)), "no time ends it");
        revoked.apply(
            [Notice::BanChanged {
                player: player(5),
                banned: false,
            }],
            NOW,
        );
        assert_eq!(revoked.check(&identity(5, 1, Scope::Player)), Ok(()));
    }

    #[test]
    fn an_ended_sign_in_is_forgotten_when_its_last_token_expires() {
        let revoked = RevocationList::default();
        let family = FamilyId(Uuid::from_u128(1));
        let until = UnixMillis(1_500);
        revoked.apply([Notice::SignedOut { family, until }], NOW);
        assert_eq!(
            revoked.check(&identity(5, 1, Scope::Player)),
            Err(SIGNED_OUT)
        );
        assert_eq!(
            revoked.check(&identity(5, 2, Scope::Player)),
            Ok(()),
            "another sign-in of the player"
        );
        revoked.apply([], until);
        assert!(revoked.0.read().signed_out_families.is_empty());
    }

    #[test]
    fn connections_are_closed_by_player_or_sign_in() {
        let family = FamilyId(Uuid::from_u128(1));
        let notices = [
            Notice::BanChanged {
                player: player(5),
                banned: true,
            },
            Notice::Disconnect(player(5)),
            Notice::Disconnect(player(6)),
            Notice::BanChanged {
                player: player(7),
                banned: false,
            },
            Notice::SignedOut { family, until: NOW },
        ];
        let revoked = RevokedSessions::from_notices(notices);
        let closes = |id, family| revoked.close_code_for(&identity(id, family, Scope::Player));
        assert_eq!(closes(5, 9), Some(CloseCode::Forbidden));
        assert_eq!(closes(6, 9), Some(CloseCode::Unauthenticated));
        assert_eq!(closes(7, 9), None);
        assert_eq!(closes(8, 1), Some(CloseCode::Unauthenticated));
        assert_eq!(revoked.close_code_for(&identity(5, 9, Scope::Admin)), None);
    }
}
