//! Reading a raid without making it live.

use std::sync::Arc;

use raidhall_protocol::{PlayerId, RaidId};
use tracing::warn;

use super::message::Message;
use super::{Caller, Sessions, View, asked, load};
use crate::error::Error;
use crate::raid;

impl Sessions {
    /// The raid as the caller may see it. A raid that is not live here is read from the store and stays so; if it is
    /// live at another instance, that one says how far it is and who is online.
    pub async fn read(&self, raid: RaidId, caller: Caller) -> Result<View, Error> {
        if !self.0.live.contains_key(&raid) {
            if let Some(player) = caller.player()
                && !self.knows(raid, player).await
            {
                return Err(raid::Refusal::NotFound.into());
            }
            let mut folded = self.fold(raid).await?;
            let (peers, owner) = (self.0.link.peers(), folded.loaded.head.owner);
            let ws_url = owner.and_then(|owner| peers.ws_url(owner));
            let sight = match owner.filter(|_| ws_url.is_some()) {
                Some(owner) => self.0.link.ask(owner, raid).await,
                None => None,
            };
            if sight
                .as_ref()
                .is_some_and(|sight| sight.seq > folded.state.seq())
            {
                folded = self.fold(raid).await?;
            }
            // What is due has to happen before anybody reads: then the raid is needed live.
            let due = folded
                .state
                .active_deadline()
                .is_some_and(|due| due <= self.0.clock.now());
            if !due || sight.is_some() {
                if !caller.may_see(&folded.state) {
                    return Err(raid::Refusal::NotFound.into());
                }
                let (state, seq) = (Arc::new(folded.state.shown().clone()), folded.state.seq());
                return Ok(View {
                    state,
                    seq,
                    online: sight.map_or_else(Vec::new, |it| it.online),
                    ws_url,
                });
            }
        }
        asked(|reply| self.send(raid, Message::Read { caller, reply })).await
    }

    /// Whether the player is or was a member, as far as the store can tell now.
    pub(super) async fn knows(&self, raid: RaidId, player: PlayerId) -> bool {
        let before = RaidId::try_from(raid.get() - 1).ok();
        match self.0.store.raids_ever_joined(player, before, 1).await {
            Ok(visited) => visited.first() == Some(&raid),
            // Whatever comes next fails in its own way.
            Err(_) => true,
        }
    }

    async fn fold(&self, raid: RaidId) -> Result<load::Folded, Error> {
        let folded = load::fold(&*self.0.store, raid, 0).await.map_err(|error| {
            warn!(%raid, error = ?error, "a raid could not be read");
            Error::Unavailable
        })?;
        folded.ok_or_else(|| raid::Refusal::NotFound.into())
    }
}
