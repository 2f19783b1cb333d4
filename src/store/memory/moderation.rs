//! Bans, notices, the audit log, lookups and identities in the in-memory store.

use std::time::Duration;

use async_trait::async_trait;
use raidhall_protocol::rest::Profile;
use raidhall_protocol::server::PlayerRef;
use raidhall_protocol::{PlayerId, UnixMillis};

use super::MemoryStore;
use super::tables::{Tables, add_duration};
use crate::store::audit::AuditRow;
use crate::store::*;

impl Tables {
    pub(super) fn record_audit(&mut self, entry: &NewAuditEntry) {
        let NewAuditEntry {
            at,
            actor,
            action,
            target,
            request_id,
            details,
        } = entry.clone();
        let id = self.accounts.audit.len() as u64 + 1;
        self.accounts.audit.push(AuditRow {
            id,
            at,
            actor,
            action: action.into(),
            target,
            request_id,
            details,
        });
    }

    fn player_row(&self, profile: &Profile) -> PlayerRow {
        PlayerRow {
            profile: profile.clone(),
            external_id: self.accounts.identities.get(&profile.id).cloned(),
            ban: self
                .accounts
                .bans
                .get(&profile.id)
                .map(|(reason, ..)| reason.clone()),
        }
    }

    fn player_by_identity(&self, external_id: &str) -> Option<PlayerRef> {
        let (id, _) = self
            .accounts
            .identities
            .iter()
            .find(|(_, known)| *known == external_id)?;
        Some(PlayerRef {
            id: *id,
            name: self.players.get(id)?.name.clone(),
        })
    }
}

#[async_trait]
impl Moderation for MemoryStore {
    async fn ban(&self, player: PlayerId, reason: &str, entry: &NewAuditEntry) -> Result<bool> {
        let mut tables = self.0.lock();
        if !tables.players.contains_key(&player) || tables.accounts.erased.contains_key(&player) {
            return Ok(false);
        }
        let ban = (reason.to_owned(), entry.actor.clone(), entry.at);
        tables.accounts.bans.insert(player, ban);
        tables.accounts.notices.push(Notice::BanChanged {
            player,
            banned: true,
        });
        tables.record_audit(entry);
        Ok(true)
    }

    async fn unban(&self, player: PlayerId, entry: &NewAuditEntry) -> Result<bool> {
        let mut tables = self.0.lock();
        if tables.accounts.erased.contains_key(&player)
            || tables.accounts.bans.remove(&player).is_none()
        {
            return Ok(false);
        }
        tables.accounts.notices.push(Notice::BanChanged {
            player,
            banned: false,
        });
        tables.record_audit(entry);
        Ok(true)
    }

    async fn disconnect(&self, player: PlayerId, entry: &NewAuditEntry) -> Result<bool> {
        let mut tables = self.0.lock();
        if !tables.players.contains_key(&player) {
            return Ok(false);
        }
        tables.accounts.notices.push(Notice::Disconnect(player));
        tables.record_audit(entry);
        Ok(true)
    }

    async fn bans(&self, after: Option<PlayerId>, limit: u32) -> Result<Vec<BanRow>> {
        let tables = self.0.lock();
        let beyond = tables
            .accounts
            .bans
            .iter()
            .filter(|(player, _)| after.is_none_or(|after| **player > after));
        let ban = |(player, (reason, by, at)): (&PlayerId, &(String, String, UnixMillis))| {
            let name = tables.players.get(player)?.name.clone();
            let player = PlayerRef { id: *player, name };
            Some(BanRow {
                player,
                reason: reason.clone(),
                by: by.clone(),
                at: *at,
            })
        };
        Ok(beyond.filter_map(ban).take(limit as usize).collect())
    }

    async fn sign_out(&self, family: FamilyId, now: UnixMillis, ttl: Duration) -> Result<()> {
        let mut tables = self.0.lock();
        tables.families.remove(&family);
        let until = add_duration(now, ttl);
        tables
            .accounts
            .notices
            .push(Notice::SignedOut { family, until });
        Ok(())
    }

    async fn notices(&self, after: u64, now: UnixMillis) -> Result<NoticeBatch> {
        let tables = self.0.lock();
        let numbered = (1..)
            .zip(&tables.accounts.notices)
            .filter(|(number, _)| *number > after);
        let as_it_stands = |(number, notice): (u64, &Notice)| {
            let notice = match *notice {
                Notice::BanChanged { player, .. } => Notice::BanChanged {
                    player,
                    banned: tables.accounts.bans.contains_key(&player),
                },
                Notice::SignedOut { until, .. } if until <= now => return None,
                notice => notice,
            };
            Some((number, notice))
        };
        Ok(NoticeBatch {
            notices: numbered.filter_map(as_it_stands).collect(),
            next: tables.accounts.notices.len() as u64,
        })
    }
}

#[async_trait]
impl AuditLog for MemoryStore {
    async fn record_audit(&self, entry: &NewAuditEntry) -> Result<()> {
        self.0.lock().record_audit(entry);
        Ok(())
    }

    async fn audit_entries(&self, after: u64, limit: u32) -> Result<Vec<AuditRow>> {
        let tables = self.0.lock();
        Ok(tables
            .accounts
            .audit
            .iter()
            .filter(|row| row.id > after)
            .take(limit as usize)
            .cloned()
            .collect())
    }
}

#[async_trait]
impl Lookups for MemoryStore {
    async fn find_players(&self, lookup: &PlayerLookup, limit: u32) -> Result<Vec<PlayerRow>> {
        let tables = self.0.lock();
        let fits = |profile: &&Profile| match lookup {
            PlayerLookup::Id(id) => profile.id == *id,
            PlayerLookup::ExternalId(id) => tables.accounts.identities.get(&profile.id) == Some(id),
            PlayerLookup::Name(name) => starts_with_ignore_case(&profile.name, name),
        };
        let mut found: Vec<_> = tables.players.values().filter(fits).collect();
        found.sort_by_key(|profile| (profile.name.to_lowercase(), profile.id));
        Ok(found
            .into_iter()
            .take(limit as usize)
            .map(|profile| tables.player_row(profile))
            .collect())
    }

    async fn find_raids(&self, lookup: &RaidLookup, limit: u32) -> Result<Vec<RaidRow>> {
        let tables = self.0.lock();
        let fits = |row: &&RaidRow| match lookup {
            RaidLookup::Id(id) => row.id == *id,
            RaidLookup::Title(title) => starts_with_ignore_case(&row.title, title),
        };
        let mut found: Vec<_> = tables
            .raids
            .values()
            .map(|raid| &raid.row)
            .filter(fits)
            .collect();
        found.sort_by_key(|row| (row.title.to_lowercase(), row.id));
        Ok(found.into_iter().take(limit as usize).cloned().collect())
    }

    async fn instances(&self) -> Result<Vec<InstanceRow>> {
        let tables = self.0.lock();
        let now = tables.now();
        let living = tables
            .instances
            .iter()
            .filter(|(_, lease)| lease.until > now);
        let row = |(id, lease): (&InstanceId, &super::tables::InstanceLease)| InstanceRow {
            id: *id,
            ws_url: lease.ws_url.clone(),
            release: lease.release.clone(),
            draining: lease.draining,
            lease_until: lease.until,
        };
        Ok(living.map(row).collect())
    }
}

#[async_trait]
impl Identities for MemoryStore {
    async fn player_by_identity(&self, external_id: &str) -> Result<Option<PlayerRef>> {
        Ok(self.0.lock().player_by_identity(external_id))
    }

    async fn find_or_create_by_identity(&self, external_id: &str, name: &str) -> Result<PlayerRef> {
        let mut tables = self.0.lock();
        if let Some(known) = tables.player_by_identity(external_id) {
            return Ok(known);
        }
        let Profile { id, name, .. } = tables.create_player(name);
        tables
            .accounts
            .identities
            .insert(id, external_id.to_owned());
        Ok(PlayerRef { id, name })
    }

    async fn link_identity(&self, player: PlayerId, external_id: &str) -> Result<LinkOutcome> {
        let mut tables = self.0.lock();
        let owner = tables.player_by_identity(external_id).map(|owner| owner.id);
        let has = tables.accounts.identities.get(&player);
        Ok(match (owner, has) {
            _ if !tables.players.contains_key(&player) => LinkOutcome::Missing,
            _ if tables.accounts.erased.contains_key(&player) => LinkOutcome::Missing,
            (Some(owner), _) if owner == player => LinkOutcome::Linked,
            (_, Some(_)) => LinkOutcome::HasAnother,
            (Some(_), None) => LinkOutcome::Taken,
            (None, None) => {
                tables
                    .accounts
                    .identities
                    .insert(player, external_id.to_owned());
                LinkOutcome::Linked
            }
        })
    }

    async fn consume_proof(&self, proof: [u8; 32], now: UnixMillis, ttl: Duration) -> Result<bool> {
        let mut tables = self.0.lock();
        tables.accounts.proofs.retain(|_, until| *until > now);
        Ok(tables
            .accounts
            .proofs
            .insert(proof, add_duration(now, ttl))
            .is_none())
    }
}

fn starts_with_ignore_case(text: &str, with: &str) -> bool {
    text.to_lowercase().starts_with(&with.to_lowercase())
}

#[async_trait]
impl Feed for MemoryStore {
    async fn read_feed(&self, after: FeedCursor, limit: u32) -> Result<FeedBatch> {
        let tables = self.0.lock();
        let from = usize::try_from(after.commit)
            .unwrap_or(usize::MAX)
            .min(tables.feed.len());
        let events: Vec<_> = tables.feed[from..]
            .iter()
            .take(limit as usize)
            .cloned()
            .collect();
        let next = FeedCursor {
            commit: (from + events.len()) as u64,
            ..FeedCursor::default()
        };
        Ok(FeedBatch {
            lineage: tables.lineage.clone(),
            events,
            next,
        })
    }

    async fn feed_end(&self) -> Result<(String, FeedCursor)> {
        let tables = self.0.lock();
        Ok((
            tables.lineage.clone(),
            FeedCursor {
                commit: tables.feed.len() as u64,
                ..FeedCursor::default()
            },
        ))
    }
}
