//! Reads a raid without starting its session, unless its deadline is due.

use std::sync::Arc;

use raidhall_protocol::state::Member;
use raidhall_protocol::{PlayerId, RaidId, Seq};
use tracing::{error, warn};

use super::actor::Origin;
use super::load::LoadError;
use super::message::SessionMessage;
use super::{Caller, RaidSnapshot, Registry, load, request_reply};
use crate::error::Error;
use crate::raid;
use crate::store::{self, Store, StoreError};

impl Registry {
    /// Returns a snapshot of the raid, or `NotFound` if the caller cannot see it. A raid without a
    /// session here is read from the store; a live owner at another instance supplies its newest
    /// seq and who is online. A session starts only if a deadline is due that no live owner has
    /// decided.
    pub async fn read(&self, raid: RaidId, caller: Caller) -> Result<RaidSnapshot, Error> {
        if let Some(player) = caller.player() {
            request_reply(|reply| self.check_access(raid, player, |access| reply.send(access)))
                .await?;
        }
        if !self.sessions.contains_key(&raid) {
            let mut folded = self.load_for_read(raid, Seq::ZERO).await?;
            let owner = folded.loaded.head.owner;
            let ws_url = owner.and_then(|owner| self.cluster.membership().ws_url(owner));
            let owner_status = match owner.filter(|_| ws_url.is_some()) {
                Some(owner) => self.cluster.query_owner_status(owner, raid).await,
                None => None,
            };
            if let Some(status) = &owner_status
                && status.seq > folded.state.seq()
            {
                folded = self.load_for_read(raid, status.seq).await?;
            }
            // A due deadline must take effect before the read, and only a session can decide it. An
            // owner that answered has decided it: it does what is due before every message.
            let due = folded
                .state
                .active_deadline()
                .is_some_and(|due| due <= self.clock.now());
            if !due || owner_status.is_some() {
                if !caller.can_see(&folded.state) {
                    return Err(raid::Refusal::NotFound.into());
                }
                let seq = folded.state.seq();
                let state = Arc::new(folded.state.shown().clone());
                return Ok(RaidSnapshot {
                    state,
                    seq,
                    online: owner_status.map_or_else(Vec::new, |status| status.online),
                    ws_url,
                });
            }
        }
        request_reply(|reply| {
            self.deliver(raid, Origin::Stored, SessionMessage::Read { caller, reply })
        })
        .await
    }

    /// Loads the raid, whose events up to `known` were committed.
    async fn load_for_read(&self, raid: RaidId, known: Seq) -> Result<load::FoldedRaid, Error> {
        let loading = self.store.load_for_read(raid);
        let folded = load::load_raid(&*self.store, raid, loading, known)
            .await
            .map_err(|error| {
                warn!(%raid, error = ?error, "reading the raid from the store failed");
                Error::Unavailable
            })?;
        folded.ok_or_else(|| raid::Refusal::NotFound.into())
    }
}

/// Returns the members of a raid as the store has them, each with their XP in it; `None` if the
/// store lacks events of the raid, which is logged.
///
/// # Errors
///
/// Fails if the store does, or if only a newer release can read the raid.
pub async fn stored_members(
    store: &dyn Store,
    raid: RaidId,
) -> store::Result<Option<Vec<(PlayerId, u64)>>> {
    match load::load_raid(store, raid, store.load_for_read(raid), Seq::ZERO).await {
        Ok(folded) => {
            let members = folded.map(|folded| folded.state.shown().members.clone());
            let with_xp = |member: Member| (member.player, member.xp);
            Ok(members.map(|members| members.into_iter().map(with_xp).collect()))
        }
        Err(LoadError::Store(error)) => Err(error),
        Err(LoadError::NewerVersion { version }) => Err(StoreError::NewerVersion { version }),
        Err(error) => {
            error!(%raid, ?error, "reading the raid's members failed");
            Ok(None)
        }
    }
}
