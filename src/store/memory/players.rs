//! Players and their sign-ins, in their plainest form.

use std::time::Duration;

use async_trait::async_trait;
use raidhall_protocol::PlayerId;
use raidhall_protocol::rest::Profile;

use super::{Call, MemoryStore};
use crate::store::*;

#[async_trait]
impl Accounts for MemoryStore {
    async fn create_player(&self, name: &str) -> Result<Profile> {
        self.faults.before_call(Call::CreatePlayer).await?;
        Ok(self.tables.lock().create_player(name))
    }

    async fn player(&self, player: PlayerId) -> Result<Option<Profile>> {
        self.faults.before_call(Call::Player).await?;
        Ok(self.tables.lock().player(player))
    }

    async fn account(&self, player: PlayerId) -> Result<Option<Account>> {
        self.faults.before_call(Call::Account).await?;
        Ok(self.tables.lock().account(player))
    }

    async fn create_token_family(
        &self,
        family: FamilyId,
        player: PlayerId,
        token: TokenHash,
        ttl: Duration,
    ) -> Result<()> {
        self.faults.before_call(Call::CreateTokenFamily).await?;
        self.tables
            .lock()
            .create_token_family(family, player, token, ttl);
        Ok(())
    }

    async fn rotate_refresh_token(&self, presentation: RotationRequest) -> Result<RotationOutcome> {
        self.faults.before_call(Call::RotateRefreshToken).await?;
        Ok(self.tables.lock().rotate_refresh_token(presentation))
    }
}
