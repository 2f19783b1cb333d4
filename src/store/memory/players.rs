//! Players and their sign-ins in the in-memory store.

use std::time::Duration;

use async_trait::async_trait;
use raidhall_protocol::PlayerId;
use raidhall_protocol::rest::Profile;

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

    async fn account(&self, player: PlayerId) -> Result<Option<Account>> {
        Ok(self.0.lock().account(player))
    }

    async fn create_token_family(
        &self,
        family: FamilyId,
        player: PlayerId,
        token: TokenHash,
        ttl: Duration,
    ) -> Result<()> {
        self.0
            .lock()
            .create_token_family(family, player, token, ttl);
        Ok(())
    }

    async fn rotate_refresh_token(&self, presentation: RotationRequest) -> Result<RotationOutcome> {
        Ok(self.0.lock().rotate_refresh_token(presentation))
    }
}
