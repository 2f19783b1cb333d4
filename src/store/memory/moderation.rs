//! Bans, notices, the audit log, lookups and identities, in their plainest form.

use std::time::Duration;

use raidhall_protocol::rest::Profile;
use raidhall_protocol::server::PlayerRef;

use super::tables::{Tables, after};
use super::{Call, MemoryStore};
use crate::store::audit::Recorded;
use crate::store::*;

impl Tables {
    pub(super) fn record(&mut self, deed: &Deed) {
        let Deed {
            actor,
            action,
            target,
            request_id,
            details,
        } = deed.clone();
        let (id, at) = (self.guard.audit.len() as u64 + 1, self.now());
        self.guard.audit.push(Recorded {
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
            external_id: self.guard.identities.get(&profile.id).cloned(),
            ban: self
                .guard
                .bans
                .get(&profile.id)
                .map(|(reason, ..)| reason.clone()),
        }
    }

    fn of_identity(&self, external_id: &str) -> Option<PlayerRef> {
        let (id, _) = self
            .guard
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
impl Standing for MemoryStore {
    async fn ban(&self, player: PlayerId, reason: &str, deed: &Deed) -> Result<bool> {
        self.faults.enter(Call::Ban).await?;
        let mut tables = self.tables.lock();
        if !tables.players.contains_key(&player) || tables.guard.erased.contains_key(&player) {
            return Ok(false);
        }
        let ban = (reason.to_owned(), deed.actor.clone(), tables.now());
        tables.guard.bans.insert(player, ban);
        tables.guard.notices.push(Notice::Player {
            player,
            banned: true,
        });
        tables.record(deed);
        Ok(true)
    }

    async fn unban(&self, player: PlayerId, deed: &Deed) -> Result<bool> {
        self.faults.enter(Call::Unban).await?;
        let mut tables = self.tables.lock();
        if tables.guard.erased.contains_key(&player) || tables.guard.bans.remove(&player).is_none()
        {
            return Ok(false);
        }
        tables.guard.notices.push(Notice::Player {
            player,
            banned: false,
        });
        tables.record(deed);
        Ok(true)
    }

    async fn disconnect(&self, player: PlayerId, deed: &Deed) -> Result<bool> {
        self.faults.enter(Call::Disconnect).await?;
        let mut tables = self.tables.lock();
        if !tables.players.contains_key(&player) {
            return Ok(false);
        }
        tables.guard.notices.push(Notice::Disconnect(player));
        tables.record(deed);
        Ok(true)
    }

    async fn bans(&self, after: Option<PlayerId>, limit: u32) -> Result<Vec<Ban>> {
        self.faults.enter(Call::Bans).await?;
        let tables = self.tables.lock();
        let beyond = tables
            .guard
            .bans
            .iter()
            .filter(|(player, _)| after.is_none_or(|after| **player > after));
        let ban = |(player, (reason, by, at)): (&PlayerId, &(String, String, UnixMillis))| {
            let name = tables.players.get(player)?.name.clone();
            let player = PlayerRef { id: *player, name };
            Some(Ban {
                player,
                reason: reason.clone(),
                by: by.clone(),
                at: *at,
            })
        };
        Ok(beyond.filter_map(ban).take(limit as usize).collect())
    }

    async fn sign_out(&self, family: FamilyId, ttl: Duration) -> Result<()> {
        self.faults.enter(Call::SignOut).await?;
        let mut tables = self.tables.lock();
        tables.families.remove(&family);
        let until = after(tables.now(), ttl);
        tables
            .guard
            .notices
            .push(Notice::SignedOut { family, until });
        Ok(())
    }

    async fn notices(&self, after: u64) -> Result<Notices> {
        self.faults.enter(Call::Notices).await?;
        let tables = self.tables.lock();
        let now = tables.now();
        let numbered = (1..)
            .zip(&tables.guard.notices)
            .filter(|(number, _)| *number > after);
        let as_it_stands = |(number, notice): (u64, &Notice)| {
            let notice = match *notice {
                Notice::Player { player, .. } => Notice::Player {
                    player,
                    banned: tables.guard.bans.contains_key(&player),
                },
                Notice::SignedOut { until, .. } if until <= now => return None,
                notice => notice,
            };
            Some((number, notice))
        };
        Ok(Notices {
            list: numbered.filter_map(as_it_stands).collect(),
            next: tables.guard.notices.len() as u64,
        })
    }
}

#[async_trait]
impl Oversight for MemoryStore {
    async fn record(&self, deed: &Deed) -> Result<()> {
        self.faults.enter(Call::Record).await?;
        self.tables.lock().record(deed);
        Ok(())
    }

    async fn audit(&self, after: u64, limit: u32) -> Result<Vec<Recorded>> {
        self.faults.enter(Call::Audit).await?;
        let tables = self.tables.lock();
        Ok(tables
            .guard
            .audit
            .iter()
            .filter(|row| row.id > after)
            .take(limit as usize)
            .cloned()
            .collect())
    }

    async fn find_players(&self, lookup: &PlayerLookup, limit: u32) -> Result<Vec<PlayerRow>> {
        self.faults.enter(Call::FindPlayers).await?;
        let tables = self.tables.lock();
        let fits = |profile: &&Profile| match lookup {
            PlayerLookup::Id(id) => profile.id == *id,
            PlayerLookup::ExternalId(id) => tables.guard.identities.get(&profile.id) == Some(id),
            PlayerLookup::Name(name) => begins(&profile.name, name),
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
        self.faults.enter(Call::FindRaids).await?;
        let tables = self.tables.lock();
        let fits = |row: &&RaidRow| match lookup {
            RaidLookup::Id(id) => row.id == *id,
            RaidLookup::Title(title) => begins(&row.title, title),
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
        self.faults.enter(Call::Instances).await?;
        let tables = self.tables.lock();
        let now = tables.now();
        let living = tables
            .instances
            .iter()
            .filter(|(_, lease)| lease.until > now);
        let row = |(id, lease): (&InstanceId, &super::tables::Lease)| InstanceRow {
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
    async fn player_of_identity(&self, external_id: &str) -> Result<Option<PlayerRef>> {
        self.faults.enter(Call::PlayerOfIdentity).await?;
        Ok(self.tables.lock().of_identity(external_id))
    }

    async fn admit_identity(&self, external_id: &str, name: &str) -> Result<PlayerRef> {
        self.faults.enter(Call::AdmitIdentity).await?;
        let mut tables = self.tables.lock();
        if let Some(known) = tables.of_identity(external_id) {
            return Ok(known);
        }
        let Profile { id, name, .. } = tables.create_player(name);
        tables.guard.identities.insert(id, external_id.to_owned());
        Ok(PlayerRef { id, name })
    }

    async fn link_identity(&self, player: PlayerId, external_id: &str) -> Result<Link> {
        self.faults.enter(Call::LinkIdentity).await?;
        let mut tables = self.tables.lock();
        let owner = tables.of_identity(external_id).map(|owner| owner.id);
        let has = tables.guard.identities.get(&player);
        Ok(match (owner, has) {
            _ if !tables.players.contains_key(&player) => Link::Missing,
            (Some(owner), _) if owner == player => Link::Linked,
            (_, Some(_)) => Link::HasAnother,
            (Some(_), None) => Link::Taken,
            (None, None) => {
                tables
                    .guard
                    .identities
                    .insert(player, external_id.to_owned());
                Link::Linked
            }
        })
    }

    async fn use_proof(&self, proof: [u8; 32], ttl: Duration) -> Result<bool> {
        self.faults.enter(Call::UseProof).await?;
        let mut tables = self.tables.lock();
        let now = tables.now();
        tables.guard.proofs.retain(|_, until| *until > now);
        Ok(tables.guard.proofs.insert(proof, after(now, ttl)).is_none())
    }
}

fn begins(text: &str, with: &str) -> bool {
    text.to_lowercase().starts_with(&with.to_lowercase())
}

#[async_trait]
impl Feed for MemoryStore {
    async fn feed(&self, after: Place, limit: u32) -> Result<Fed> {
        self.faults.enter(Call::Feed).await?;
        let tables = self.tables.lock();
        let from = usize::try_from(after.commit)
            .unwrap_or(usize::MAX)
            .min(tables.feed.len());
        let events: Vec<_> = tables.feed[from..]
            .iter()
            .take(limit as usize)
            .cloned()
            .collect();
        let next = Place {
            commit: (from + events.len()) as u64,
            ..Place::default()
        };
        Ok(Fed {
            lineage: tables.lineage.clone(),
            events,
            next,
        })
    }

    async fn feed_end(&self) -> Result<(String, Place)> {
        self.faults.enter(Call::FeedEnd).await?;
        let tables = self.tables.lock();
        Ok((
            tables.lineage.clone(),
            Place {
                commit: tables.feed.len() as u64,
                ..Place::default()
            },
        ))
    }
}
