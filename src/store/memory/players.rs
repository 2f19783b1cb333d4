//! Players and their sign-ins in the in-memory store.

use std::time::Duration;

use async_trait::async_trait;
use raidhall_protocol::rest::Profile;
use raidhall_protocol::{PlayerId, UnixMillis};

use super::MemoryStore;
use crate::store::*;

#[async_trait]
impl Accounts for MemoryStore {
    async fn create_player(&self, name: &str) -> Result<Profile> {
        Ok(self.0.lock().create_player(name))
    }

    async fn player(&self, player: PlayerId) -> Result<Option<Profile>> {
        Ok(self.0.lock().player(player))
    }

    async fn account(&self, player: PlayerId, now: UnixMillis) -> Result<Option<Account>> {
        Ok(self.0.lock().account(player, now))
    }

    async fn delete_unused_guests(
        &self,
        after: Option<PlayerId>,
        limit: u32,
        unused_since: UnixMillis,
        now: UnixMillis,
    ) -> Result<DeletedGuests> {
        let mut tables = self.0.lock();
        Ok(tables.delete_unused_guests(after, limit, unused_since, now))
    }

    async fn create_token_family(
        &self,
        family: FamilyId,
        player: PlayerId,
        token: TokenHash,
        now: UnixMillis,
        ttl: Duration,
    ) -> Result<()> {
        self.0
            .lock()
            .create_token_family(family, player, token, now, ttl);
        Ok(())
    }

    async fn rotate_refresh_token(&self, presentation: RotationRequest) -> Result<RotationOutcome> {
        Ok(self.0.lock().rotate_refresh_token(presentation))
    }
}
