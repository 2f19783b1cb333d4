//! The store as a few maps in memory, without I/O, so that it runs under tokio's paused time. With
//! [`Faulty`](super::faulty::Faulty) around it, it fails on demand.

mod boards;
mod definitions;
mod erasures;
mod moderation;
mod players;
mod projection;
mod streams;
mod tables;
mod webhooks;

use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use parking_lot::Mutex;
use raidhall_protocol::player::event::RaidPlace;
use raidhall_protocol::rest::Contribution;
use raidhall_protocol::state::RaidStatus;
use raidhall_protocol::{Event, PlayerId, RaidId, Seq, UnixMillis};
use tables::Tables;
use uuid::Uuid;

use super::{
    Append, Catalog, ClaimOutcome, CommitOutcome, CommittedEvent, DueRaid, Epoch, InstanceId,
    InstanceRecord, Leases, Ledger, LoadedRaid, OpHash, Ownership, RaidHead, RaidMembers, RaidRow,
    RegisterError, Renewal, Result, Store,
};

/// A database in memory. Clones are handles to the same database.
#[derive(Clone)]
pub struct MemoryStore(Arc<Mutex<Tables>>);

impl Default for MemoryStore {
    fn default() -> Self {
        Self::new(UnixMillis(1_800_000_000_000))
    }
}

impl Store for MemoryStore {}

impl MemoryStore {
    /// Creates an empty database whose clock starts at `now` and advances with tokio's.
    pub fn new(now: UnixMillis) -> MemoryStore {
        MemoryStore(Arc::new(Mutex::new(Tables::new(now))))
    }

    /// Returns the time by the database's clock.
    pub fn now(&self) -> UnixMillis {
        self.0.lock().now()
    }

    /// Sets the database's clock, forwards or backwards.
    pub fn set_now(&self, now: UnixMillis) {
        self.0.lock().set_now(now);
    }

    /// Changes the lineage, as a restore does.
    pub fn set_lineage(&self, lineage: &str) {
        self.0.lock().lineage = lineage.to_owned();
    }

    /// Replaces a raid's events, which begin at seq 1, and returns the former ones. With fewer of
    /// them, the raid is as after the promotion of a replica that lagged.
    pub fn replace_events(&self, raid: RaidId, events: Vec<Event>) -> Vec<Event> {
        self.0.lock().replace_events(raid, events)
    }

    /// Makes `by` the raid's owner under a new epoch, even while its present owner lives. Returns
    /// `None` if there is no such raid.
    pub fn force_claim(&self, raid: RaidId, by: &InstanceRecord) -> Option<Epoch> {
        self.0.lock().force_claim(raid, by)
    }

    /// Claims the raid for another instance and releases it again: the former owner is fenced, and
    /// may claim the raid again.
    pub fn fence(&self, raid: RaidId) {
        let other = InstanceId(Uuid::max());
        let mut tables = self.0.lock();
        let by = InstanceRecord {
            id: other,
            ws_url: String::new(),
            release: String::new(),
            draining: false,
        };
        tables.force_claim(raid, &by);
        tables.deregister(other);
    }
}

#[async_trait]
impl Leases for MemoryStore {
    async fn register(
        &self,
        instance: &InstanceRecord,
        ttl: Duration,
        _patience: Duration,
    ) -> Result<Renewal, RegisterError> {
        Ok(self.0.lock().renew(instance, ttl))
    }

    async fn renew(&self, instance: &InstanceRecord, ttl: Duration) -> Result<Renewal> {
        Ok(self.0.lock().renew(instance, ttl))
    }

    async fn end_stale_lease(&self, instance: InstanceId, lease_until: UnixMillis) -> Result<()> {
        self.0.lock().end_stale_lease(instance, lease_until);
        Ok(())
    }

    async fn deregister(&self, instance: InstanceId) -> Result<()> {
        self.0.lock().deregister(instance);
        Ok(())
    }
}

#[async_trait]
impl Ownership for MemoryStore {
    async fn claim(&self, raids: &[RaidId], instance: InstanceId) -> Result<Vec<ClaimOutcome>> {
        Ok(self.0.lock().claim(raids, instance))
    }

    async fn release(&self, raids: &[(RaidId, Epoch)], instance: InstanceId) -> Result<()> {
        self.0.lock().release(raids, instance);
        Ok(())
    }

    async fn heads(&self, raids: &[RaidId]) -> Result<Vec<(RaidId, RaidHead)>> {
        let tables = self.0.lock();
        let raids = BTreeSet::from_iter(raids);
        Ok(raids
            .into_iter()
            .filter_map(|raid| Some((*raid, tables.head(*raid)?)))
            .collect())
    }

    async fn owned_raids(&self, instance: InstanceId) -> Result<Vec<(RaidId, Epoch)>> {
        Ok(self.0.lock().owned_raids(instance))
    }

    async fn due_raids(
        &self,
        instance: InstanceId,
        after: Option<DueRaid>,
        until: UnixMillis,
        limit: u32,
    ) -> Result<Vec<DueRaid>> {
        Ok(self.0.lock().due_raids(instance, after, until, limit))
    }
}

#[async_trait]
impl Ledger for MemoryStore {
    async fn commit(&self, batch: &[Append]) -> Result<Vec<CommitOutcome>> {
        self.0.lock().commit(batch)
    }

    async fn load(&self, raid: RaidId, op_keys: u64) -> Result<Option<LoadedRaid>> {
        Ok(self.0.lock().load(raid, op_keys))
    }

    async fn events(&self, raid: RaidId, after: Seq, limit: u32) -> Result<Vec<Event>> {
        Ok(self
            .0
            .lock()
            .events(raid, after)
            .take(limit as usize)
            .cloned()
            .collect())
    }

    async fn events_at(&self, places: &[RaidPlace]) -> Result<Vec<CommittedEvent>> {
        let tables = self.0.lock();
        let is_there = |it: &&CommittedEvent| {
            let of = |place: &RaidPlace| place.raid == it.raid && place.seq == it.event.seq;
            places.iter().any(of)
        };
        Ok(tables.feed.iter().filter(is_there).cloned().collect())
    }

    async fn contributions(
        &self,
        raid: RaidId,
        after: Seq,
        limit: u32,
    ) -> Result<Vec<Contribution>> {
        let tables = self.0.lock();
        Ok(tables
            .events(raid, after)
            .filter_map(tables::contribution)
            .take(limit as usize)
            .collect())
    }

    async fn find_ops(&self, raid: RaidId, ops: &[OpHash]) -> Result<Vec<(OpHash, Seq)>> {
        Ok(self.0.lock().find_ops(raid, ops))
    }

    async fn save_snapshot(
        &self,
        raid: RaidId,
        owner: InstanceId,
        epoch: Epoch,
        seq: Seq,
        state: &[u8],
    ) -> Result<()> {
        self.0.lock().save_snapshot(raid, owner, epoch, seq, state);
        Ok(())
    }
}

#[async_trait]
impl Catalog for MemoryStore {
    async fn reserve_raid_ids(&self, count: u32) -> Result<Range<u64>> {
        Ok(self.0.lock().reserve_raid_ids(count))
    }

    async fn raid_by_invite(&self, code: &str) -> Result<Option<RaidId>> {
        Ok(self.0.lock().raid_by_invite(code))
    }

    async fn raid_by_create_key(&self, key: OpHash) -> Result<Option<RaidId>> {
        Ok(self.0.lock().raid_by_create_key(key))
    }

    async fn raids_by_member(
        &self,
        player: PlayerId,
        status: Option<RaidStatus>,
        before: Option<RaidId>,
        limit: u32,
    ) -> Result<Vec<RaidRow>> {
        Ok(self.0.lock().raids_by_member(player, status, before, limit))
    }

    async fn raid_members(&self, raids: &[RaidId], limit: u32) -> Result<Vec<RaidMembers>> {
        Ok(self.0.lock().raid_members(raids, limit))
    }

    async fn raids_ever_joined(
        &self,
        player: PlayerId,
        after: Option<RaidId>,
        limit: u32,
    ) -> Result<Vec<RaidId>> {
        Ok(self.0.lock().raids_ever_joined(player, after, limit))
    }

    async fn filter_ever_joined(
        &self,
        pairs: &[(RaidId, PlayerId)],
    ) -> Result<Vec<(RaidId, PlayerId)>> {
        Ok(self.0.lock().filter_ever_joined(pairs))
    }
}
