//! Whose tokens are not believed though they are genuine: the store's word on it, held in memory, so that no check of a
//! token reads the store.
//!
//! Bans are held as long as they last. A sign-in that was ended is held until its last access token has ended by itself.

use std::collections::{HashMap, HashSet};

use parking_lot::RwLock;
use raidhall_protocol::{CloseCode, PlayerId, UnixMillis};

use super::{Identity, Scope};
use crate::error::Error;
use crate::store::{FamilyId, Notice};

/// What whoever may not come in is told.
pub(crate) const BANNED: Error = Error::Forbidden("This player is banned, or was erased");
pub(super) const SIGNED_OUT: Error =
    Error::Unauthenticated("This sign-in has ended; sign in again");

/// Who is banned, and which sign-ins were ended.
#[derive(Debug, Default)]
pub(super) struct RevocationList(RwLock<Revocations>);

#[derive(Debug, Default)]
struct Revocations {
    banned_players: HashSet<PlayerId>,
    signed_out_families: HashMap<FamilyId, UnixMillis>,
}

/// Whose connections have to be closed.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct RevokedSessions {
    players: HashMap<PlayerId, CloseCode>,
    families: HashSet<FamilyId>,
}

impl RevocationList {
    /// Whether a genuine token is still good.
    pub(super) fn check(&self, identity: &Identity) -> Result<(), Error> {
        let held = self.0.read();
        // A ban is a player's: it does not take an operator's or a service's token away.
        let player = identity
            .player
            .as_ref()
            .filter(|_| identity.scope == Scope::Player);
        if player.is_some_and(|player| held.banned_players.contains(&player.id)) {
            return Err(BANNED);
        }
        let ended = identity
            .family
            .is_some_and(|family| held.signed_out_families.contains_key(&family));
        if ended { Err(SIGNED_OUT) } else { Ok(()) }
    }

    pub(super) fn is_banned(&self, player: PlayerId) -> bool {
        self.0.read().banned_players.contains(&player)
    }

    /// Takes the store's word on some.
    pub(super) fn apply(&self, notices: impl IntoIterator<Item = Notice>, now: UnixMillis) {
        let mut held = self.0.write();
        for notice in notices {
            match notice {
                Notice::BanChanged {
                    player,
                    banned: true,
                } => {
                    held.banned_players.insert(player);
                }
                Notice::BanChanged {
                    player,
                    banned: false,
                } => {
                    held.banned_players.remove(&player);
                }
                Notice::SignedOut { family, until } => {
                    held.signed_out_families.insert(family, until);
                }
                Notice::Disconnect(_) => {}
            }
        }
        held.signed_out_families.retain(|_, until| *until > now);
    }

    /// Takes the store's word on all bans there are.
    pub(super) fn replace_bans(&self, banned: HashSet<PlayerId>) {
        self.0.write().banned_players = banned;
    }
}

impl RevokedSessions {
    /// Those whom notices speak of.
    pub(super) fn from_notices(notices: impl IntoIterator<Item = Notice>) -> RevokedSessions {
        let mut unwelcome = RevokedSessions::default();
        for notice in notices {
            match notice {
                Notice::BanChanged {
                    player,
                    banned: true,
                } => {
                    unwelcome.players.insert(player, CloseCode::Forbidden);
                }
                // A client that is let go so gets a new token first, by which it is looked at anew.
                Notice::Disconnect(player) => {
                    unwelcome
                        .players
                        .entry(player)
                        .or_insert(CloseCode::Unauthenticated);
                }
                Notice::SignedOut { family, .. } => drop(unwelcome.families.insert(family)),
                Notice::BanChanged { banned: false, .. } => {}
            }
        }
        unwelcome
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.players.is_empty() && self.families.is_empty()
    }

    /// How a connection of this identity is to be closed, if it is.
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
        let (family, until) = (FamilyId(Uuid::from_u128(1)), UnixMillis(1_500));
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
        let unwelcome = RevokedSessions::from_notices(notices);
        let closes = |id, family| unwelcome.close_code_for(&identity(id, family, Scope::Player));
        assert_eq!(closes(5, 9), Some(CloseCode::Forbidden));
        assert_eq!(closes(6, 9), Some(CloseCode::Unauthenticated));
        assert_eq!(closes(7, 9), None);
        assert_eq!(closes(8, 1), Some(CloseCode::Unauthenticated));
        assert_eq!(
            unwelcome.close_code_for(&identity(5, 9, Scope::Admin)),
            None
        );
    }
}
