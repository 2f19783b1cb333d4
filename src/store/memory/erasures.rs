//! Forgetting a player, in its plainest form.

use std::time::Duration;

use super::tables::after;
use super::{Call, MemoryStore};
use crate::store::*;

#[async_trait]
impl Erasures for MemoryStore {
    async fn begin_erasure(&self, player: PlayerId, name: &str, deed: &Deed) -> Result<bool> {
        self.faults.enter(Call::BeginErasure).await?;
        let mut tables = self.tables.lock();
        let now = tables.now();
        if tables.guard.erased.contains_key(&player) {
            return Ok(true);
        }
        let Some(profile) = tables.players.get_mut(&player) else {
            return Ok(false);
        };
        name.clone_into(&mut profile.name);
        tables.guard.identities.remove(&player);
        tables.guard.erased.insert(player, now);
        tables.guard.erase_due.insert(player, now);
        tables
            .guard
            .bans
            .insert(player, ("erased".to_owned(), deed.actor.clone(), now));
        tables.guard.notices.push(Notice::Player {
            player,
            banned: true,
        });
        tables.families.retain(|_, family| family.player != player);
        tables.record(deed);
        Ok(true)
    }

    async fn take_erasure(&self, again: Duration) -> Result<Option<Erasure>> {
        self.faults.enter(Call::TakeErasure).await?;
        let mut tables = self.tables.lock();
        let now = tables.now();
        let due = tables
            .guard
            .erase_due
            .iter_mut()
            .filter(|(_, due)| **due <= now);
        let Some((player, due)) = due.min_by_key(|(_, due)| **due) else {
            return Ok(None);
        };
        *due = after(now, again);
        let player = *player;
        Ok(tables.guard.erased.get(&player).map(|begun_at| Erasure {
            player,
            begun_at: *begun_at,
        }))
    }

    async fn rewrite(&self, raid: RaidId, events: &[Event], before: Seq) -> Result<()> {
        self.faults.enter(Call::Rewrite).await?;
        let mut tables = self.tables.lock();
        for event in events {
            let in_feed = tables
                .feed
                .iter_mut()
                .find(|(of, known)| *of == raid && known.seq == event.seq);
            in_feed
                .into_iter()
                .for_each(|(_, known)| known.data = event.data.clone());
        }
        let Some(found) = tables.raids.get_mut(&raid) else {
            return Ok(());
        };
        for event in events {
            let known = found.events.iter_mut().find(|known| known.seq == event.seq);
            known
                .into_iter()
                .for_each(|known| known.data = event.data.clone());
        }
        if let Some(title) = erasures::title(events) {
            title.clone_into(&mut found.row.title);
        }
        found.snapshot.take_if(|(seq, _)| *seq < before);
        Ok(())
    }

    async fn end_erasure(&self, player: PlayerId) -> Result<()> {
        self.faults.enter(Call::EndErasure).await?;
        self.tables.lock().guard.erase_due.remove(&player);
        Ok(())
    }
}
