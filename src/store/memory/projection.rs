//! The projector's place and failed causes in the in-memory store.

use std::collections::{BTreeMap, BTreeSet};

use async_trait::async_trait;
use raidhall_protocol::player::event::RaidPlace;
use raidhall_protocol::{PlayerId, UnixMillis};

use super::MemoryStore;
use crate::store::*;

/// The projector's place in the feed, and the causes that failed.
#[derive(Default)]
pub(super) struct ProjectionTables {
    owner: Option<InstanceId>,
    place: FeedCursor,
    boards_final_until: UnixMillis,
    /// Failed causes by player, raid and seq.
    failed: BTreeMap<(PlayerId, u64, u64), FailedCause>,
}

impl ProjectionTables {
    /// Returns whether a cause of a player has failed.
    pub(super) fn has_failed(&self, player: PlayerId) -> bool {
        self.failed.keys().any(|(of, _, _)| *of == player)
    }

    pub(super) fn forget(&mut self, player: PlayerId) {
        self.failed.retain(|(of, _, _), _| *of != player);
    }
}

const fn failed_key(player: PlayerId, cause: RaidPlace) -> (PlayerId, u64, u64) {
    (player, cause.raid.get(), cause.seq.0)
}

#[async_trait]
impl Projection for MemoryStore {
    async fn acquire_projector(&self, instance: InstanceId) -> Result<Option<FeedCursor>> {
        let mut tables = self.0.lock();
        let now = tables.now();
        let owner = tables.projection.owner.filter(|owner| *owner != instance);
        let lease = owner.and_then(|owner| tables.instances.get(&owner));
        if lease.is_some_and(|lease| lease.until > now) {
            return Ok(None);
        }
        tables.projection.owner = Some(instance);
        Ok(Some(tables.projection.place))
    }

    async fn release_projector(&self, instance: InstanceId) -> Result<()> {
        let mut tables = self.0.lock();
        let _ = tables.projection.owner.take_if(|owner| *owner == instance);
        Ok(())
    }

    async fn boards_final_until(&self) -> Result<UnixMillis> {
        Ok(self.0.lock().projection.boards_final_until)
    }

    async fn finish_boards(&self, instance: InstanceId, until: UnixMillis) -> Result<bool> {
        let mut tables = self.0.lock();
        let projection = &mut tables.projection;
        if projection.owner != Some(instance) {
            return Ok(false);
        }
        projection.boards_final_until = projection.boards_final_until.max(until);
        Ok(true)
    }

    async fn projector_place(&self) -> Result<FeedCursor> {
        Ok(self.0.lock().projection.place)
    }

    async fn load_streams(&self, players: &[PlayerId]) -> Result<Vec<(PlayerId, LoadedStream)>> {
        let tables = self.0.lock();
        let load = |player: &PlayerId| Some((*player, tables.load_stream(*player)?));
        Ok(players.iter().filter_map(load).collect())
    }

    async fn find_stream_ops(&self, ops: &[(PlayerId, OpHash)]) -> Result<Vec<(PlayerId, OpHash)>> {
        let tables = self.0.lock();
        let is_carried = |(player, op): &&(PlayerId, OpHash)| {
            let stream = tables.streams.get(player);
            stream.is_some_and(|stream| stream.op_seq(*op).is_some())
        };
        Ok(ops.iter().filter(is_carried).copied().collect())
    }

    async fn commit_projection(
        &self,
        instance: InstanceId,
        page: &ProjectedPage,
    ) -> Result<ProjectionOutcome> {
        page.check("write a projected page")?;
        let mut tables = self.0.lock();
        let projection = &tables.projection;
        if projection.owner != Some(instance) || projection.place != page.from {
            return Ok(ProjectionOutcome::Lost);
        }
        let outcomes = page.appends.iter();
        let outcomes = outcomes.map(|append| Ok((append, tables.check_append(append)?)));
        let outcomes: Vec<_> = outcomes.collect::<Result<_>>()?;
        let mut moved = Vec::new();
        for (append, outcome) in outcomes {
            match outcome {
                StreamOutcome::Appended => tables.write_append(append),
                StreamOutcome::Moved => moved.push(append.player),
                StreamOutcome::Gone => {}
            }
        }
        if !moved.is_empty() {
            return Ok(ProjectionOutcome::Moved(moved));
        }
        for failed in &page.failed {
            let key = failed_key(failed.player, failed.cause);
            let is_new = !tables.projection.failed.contains_key(&key);
            if is_new && tables.load_stream(failed.player).is_none() {
                continue; // erased meanwhile
            }
            let known = tables.projection.failed.entry(key);
            let known = known.or_insert_with(|| failed.clone());
            known.error.clone_from(&failed.error);
        }
        for (player, cause) in &page.settled {
            tables
                .projection
                .failed
                .remove(&failed_key(*player, *cause));
        }
        tables.projection.place = page.to;
        Ok(ProjectionOutcome::Committed)
    }

    async fn failed_causes(&self, after: Option<PlayerId>, limit: u32) -> Result<Vec<FailedCause>> {
        let tables = self.0.lock();
        let causes = tables.projection.failed.values();
        let causes = causes.filter(|failed| Some(failed.player) > after);
        let mut players = BTreeSet::new();
        let is_within = |failed: &&FailedCause| {
            players.insert(failed.player);
            players.len() <= limit as usize
        };
        Ok(causes.take_while(is_within).cloned().collect())
    }

    async fn count_failed_causes(&self) -> Result<u64> {
        let count = self.0.lock().projection.failed.len() as u64;
        Ok(count.min(u64::from(projection::FAULTS_COUNT_MAX)))
    }
}
