//! Players and their sign-ins, in their plainest form.

use raidhall_protocol::rest::Profile;

use super::{Call, MemoryStore};
use crate::store::*;

#[async_trait]
impl Accounts for MemoryStore {
    async fn create_player(&self, name: &str) -> Result<Profile> {
        self.faults.enter(Call::CreatePlayer).await?;
        Ok(self.tables.lock().create_player(name))
    }

    async fn player(&self, player: PlayerId) -> Result<Option<Profile>> {
        self.faults.enter(Call::Player).await?;
        Ok(self.tables.lock().player(player))
    }

    async fn account(&self, player: PlayerId) -> Result<Option<Account>> {
        self.faults.enter(Call::Account).await?;
        Ok(self.tables.lock().account(player))
    }

    async fn begin_refresh(
        &self,
        family: FamilyId,
        player: PlayerId,
        token: TokenHash,
        ttl: Duration,
    ) -> Result<()> {
        self.faults.enter(Call::BeginRefresh).await?;
        self.tables.lock().begin_refresh(family, player, token, ttl);
        Ok(())
    }

    async fn rotate_refresh(&self, presentation: Presentation) -> Result<Rotation> {
        self.faults.enter(Call::RotateRefresh).await?;
        Ok(self.tables.lock().rotate_refresh(presentation))
    }
}
