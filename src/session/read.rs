//! Reading a raid without making it live.

use std::sync::Arc;

use raidhall_protocol::{PlayerId, RaidId};
use tracing::warn;

use super::message::SessionMessage;
use super::{Caller, RaidSnapshot, Registry, load, request_reply};
use crate::error::Error;
use crate::raid;

impl Registry {
    /// The raid as the caller may see it. A raid that is not live here is read from the store and stays so; if it is
    /// live at another instance, that one says how far it is and who is online.
    pub async fn read(&self, raid: RaidId, caller: Caller) -> Result<RaidSnapshot, Error> {
        if !self.sessions.contains_key(&raid) {
            if let Some(player) = caller.player()
                && !self.has_ever_joined(raid, player).await
            {
                return Err(raid::Refusal::NotFound.into());
            }
            let mut folded = self.load_for_read(raid).await?;
            let (peers, owner) = (self.cluster.membership(), folded.loaded.head.owner);
            let ws_url = owner.and_then(|owner| peers.ws_url(owner));
            let sight = match owner.filter(|_| ws_url.is_some()) {
                Some(owner) => self.cluster.query_owner_status(owner, raid).await,
                None => None,
            };
            if sight
                .as_ref()
                .is_some_and(|sight| sight.seq > folded.state.seq())
            {
                folded = self.load_for_read(raid).await?;
            }
            // What is due has to happen before anybody reads: then the raid is needed live.
            let due = folded
                .state
                .active_deadline()
                .is_some_and(|due| due <= self.clock.now());
            if !due || sight.is_some() {
                if !caller.can_see(&folded.state) {
                    return Err(raid::Refusal::NotFound.into());
                }
                let (state, seq) = (Arc::new(folded.state.shown().clone()), folded.state.seq());
                return Ok(RaidSnapshot {
                    state,
                    seq,
                    online: sight.map_or_else(Vec::new, |it| it.online),
                    ws_url,
                });
            }
        }
        request_reply(|reply| self.send(raid, SessionMessage::Read { caller, reply })).await
    }

    /// Whether the player is or was a member, as far as the store can tell now.
    pub(super) async fn has_ever_joined(&self, raid: RaidId, player: PlayerId) -> bool {
        let before = RaidId::try_from(raid.get() - 1).ok();
        match self.store.raids_ever_joined(player, before, 1).await {
            Ok(visited) => visited.first() == Some(&raid),
            // Whatever comes next fails in its own way.
            Err(_) => true,
        }
    }

    async fn load_for_read(&self, raid: RaidId) -> Result<load::FoldedRaid, Error> {
        let folded = load::load_raid(&*self.store, raid, 0)
            .await
            .map_err(|error| {
                warn!(%raid, error = ?error, "a raid could not be read");
                Error::Unavailable
            })?;
        folded.ok_or_else(|| raid::Refusal::NotFound.into())
    }
}
