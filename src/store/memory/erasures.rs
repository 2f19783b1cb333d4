//! Erasure of players in the in-memory store.

use std::time::Duration;

use async_trait::async_trait;
use raidhall_protocol::{Event, PlayerId, RaidId, Seq, UnixMillis};

use super::MemoryStore;
use super::tables::add_duration;
use crate::store::*;

#[async_trait]
impl Erasures for MemoryStore {
    async fn begin_erasure(
        &self,
        player: PlayerId,
        name: &str,
        entry: &NewAuditEntry,
    ) -> Result<bool> {
        let mut tables = self.0.lock();
        if tables.accounts.erased.contains_key(&player) {
            return Ok(true);
        }
        let Some(profile) = tables.players.get_mut(&player) else {
            return Ok(false);
        };
        name.clone_into(&mut profile.name);
        tables.accounts.identities.remove(&player);
        tables.accounts.erased.insert(player, entry.at);
        tables.accounts.erase_due.insert(player, entry.at);
        tables
            .accounts
            .bans
            .insert(player, ("erased".to_owned(), entry.actor.clone(), entry.at));
        tables.accounts.notices.push(Notice::BanChanged {
            player,
            banned: true,
        });
        tables.families.retain(|_, family| family.player != player);
        tables.streams.remove(&player);
        tables.projection.forget(player);
        tables.boards.forget(player);
        tables.record_audit(entry);
        Ok(true)
    }

    async fn take_erasure(&self, now: UnixMillis, again: Duration) -> Result<Option<Erasure>> {
        let mut tables = self.0.lock();
        let due = tables
            .accounts
            .erase_due
            .iter_mut()
            .filter(|(_, due)| **due <= now);
        let Some((player, due)) = due.min_by_key(|(_, due)| **due) else {
            return Ok(None);
        };
        *due = add_duration(now, again);
        let player = *player;
        Ok(tables.accounts.erased.get(&player).map(|begun_at| Erasure {
            player,
            begun_at: *begun_at,
        }))
    }

    async fn rewrite_events(&self, raid: RaidId, events: &[Event], before: Seq) -> Result<()> {
        let mut tables = self.0.lock();
        for event in events {
            let in_feed = tables
                .feed
                .iter_mut()
                .find(|known| known.raid == raid && known.event.seq == event.seq);
            if let Some(known) = in_feed {
                known.event.data = event.data.clone();
            }
        }
        let Some(found) = tables.raids.get_mut(&raid) else {
            return Ok(());
        };
        for event in events {
            let known = found.events.iter_mut().find(|known| known.seq == event.seq);
            if let Some(known) = known {
                known.data = event.data.clone();
            }
        }
        if let Some(title) = erasures::rewritten_title(events) {
            title.clone_into(&mut found.row.title);
        }
        found.snapshot.take_if(|(seq, _)| *seq < before);
        Ok(())
    }

    async fn end_erasure(&self, player: PlayerId) -> Result<()> {
        self.0.lock().accounts.erase_due.remove(&player);
        Ok(())
    }
}
