//! Webhook endpoints, in their plainest form.

use std::collections::BTreeMap;
use std::time::Duration;

use super::tables::{Tables, after};
use super::{Call, MemoryStore};
use crate::store::webhooks::{
    COUNTED, Cursor, EndpointRow, Failed, Parked, Progress, Replay, Webhooks,
};
use crate::store::*;

/// An endpoint, and who delivers to it.
pub(super) struct Endpoint {
    cursor: Cursor,
    owner: Option<InstanceId>,
}

/// The endpoints, and what they did not take.
#[derive(Default)]
pub(super) struct Deliveries {
    endpoints: BTreeMap<String, Endpoint>,
    parked: BTreeMap<u64, (String, Parked)>,
    ids: u64,
}

impl Tables {
    fn park(&mut self, name: &str, failed: &Failed) {
        let now = self.now();
        let next_at = failed.again.map(|again| after(now, again));
        let hooks = &mut self.webhooks;
        let of = |(endpoint, parked): &&mut (String, Parked)| {
            endpoint == name && parked.raid == failed.raid && parked.seq == failed.seq
        };
        if let Some((_, known)) = hooks.parked.values_mut().find(of) {
            (known.attempts, known.next_at, known.error) =
                (failed.attempts, next_at, failed.error.clone());
            return;
        }
        hooks.ids += 1;
        let Failed {
            raid,
            seq,
            attempts,
            error,
            ..
        } = failed.clone();
        let parked = Parked {
            id: hooks.ids,
            raid,
            seq,
            attempts,
            next_at,
            error,
            first_failed_at: now,
        };
        hooks.parked.insert(hooks.ids, (name.to_owned(), parked));
    }
}

#[async_trait]
impl Webhooks for MemoryStore {
    async fn take_endpoint(&self, name: &str, instance: InstanceId) -> Result<Option<Cursor>> {
        self.faults.enter(Call::TakeEndpoint).await?;
        let mut tables = self.tables.lock();
        let now = tables.now();
        let place = Place {
            commit: tables.feed.len() as u64,
            ..Place::default()
        };
        let new = Cursor {
            lineage: tables.lineage.clone(),
            place,
            paused: None,
        };
        let Tables {
            webhooks,
            instances,
            ..
        } = &mut *tables;
        let endpoint = webhooks.endpoints.entry(name.to_owned());
        let endpoint = endpoint.or_insert(Endpoint {
            cursor: new,
            owner: None,
        });
        let lives =
            |owner: &InstanceId| instances.get(owner).is_some_and(|lease| lease.until > now);
        if endpoint
            .owner
            .filter(|owner| *owner != instance)
            .as_ref()
            .is_some_and(lives)
        {
            return Ok(None);
        }
        endpoint.owner = Some(instance);
        Ok(Some(endpoint.cursor.clone()))
    }

    async fn release_endpoint(&self, name: &str, instance: InstanceId) -> Result<()> {
        self.faults.enter(Call::ReleaseEndpoint).await?;
        let mut tables = self.tables.lock();
        let endpoint = tables.webhooks.endpoints.get_mut(name);
        endpoint.and_then(|endpoint| endpoint.owner.take_if(|owner| *owner == instance));
        Ok(())
    }

    async fn note_progress(
        &self,
        name: &str,
        instance: InstanceId,
        progress: &Progress,
    ) -> Result<bool> {
        self.faults.enter(Call::NoteProgress).await?;
        let mut tables = self.tables.lock();
        let endpoint = tables
            .webhooks
            .endpoints
            .get_mut(name)
            .filter(|found| found.owner == Some(instance));
        let Some(Endpoint { cursor, .. }) = endpoint else {
            return Ok(false);
        };
        if let Some(moved) = &progress.cursor {
            (cursor.lineage, cursor.place) = moved.clone();
        }
        if progress.paused.is_some() {
            cursor.paused.clone_from(&progress.paused);
        }
        progress
            .settled
            .iter()
            .for_each(|id| drop(tables.webhooks.parked.remove(id)));
        progress
            .failed
            .iter()
            .for_each(|failed| tables.park(name, failed));
        Ok(true)
    }

    async fn due_deliveries(&self, name: &str, limit: u32) -> Result<Vec<Parked>> {
        self.faults.enter(Call::DueDeliveries).await?;
        let tables = self.tables.lock();
        let now = tables.now();
        let of = tables
            .webhooks
            .parked
            .values()
            .filter(|(endpoint, _)| endpoint == name);
        let due = of.filter(|(_, parked)| parked.next_at.is_some_and(|at| at <= now));
        let mut due: Vec<_> = due.map(|(_, parked)| parked.clone()).collect();
        due.sort_by_key(|parked| parked.next_at);
        due.truncate(limit as usize);
        Ok(due)
    }

    async fn parked_deliveries(
        &self,
        name: &str,
        dead: bool,
        after: u64,
        limit: u32,
    ) -> Result<Vec<Parked>> {
        self.faults.enter(Call::ParkedDeliveries).await?;
        let tables = self.tables.lock();
        let of = tables
            .webhooks
            .parked
            .values()
            .filter(|(endpoint, _)| endpoint == name);
        let fits = of.filter(|(_, parked)| parked.id > after && parked.next_at.is_none() == dead);
        Ok(fits
            .map(|(_, parked)| parked.clone())
            .take(limit as usize)
            .collect())
    }

    async fn endpoints(&self) -> Result<Vec<EndpointRow>> {
        self.faults.enter(Call::Endpoints).await?;
        let tables = self.tables.lock();
        let Deliveries {
            endpoints, parked, ..
        } = &tables.webhooks;
        let count = |name: &str, dead: bool| {
            let of = parked.values().filter(|(endpoint, _)| endpoint == name);
            of.filter(|(_, parked)| parked.next_at.is_none() == dead)
                .take(COUNTED as usize)
                .count() as u64
        };
        let row = |(name, endpoint): (&String, &Endpoint)| EndpointRow {
            name: name.clone(),
            owner: endpoint.owner,
            paused: endpoint.cursor.paused.clone(),
            waiting: count(name, false),
            dead: count(name, true),
        };
        Ok(endpoints.iter().map(row).collect())
    }

    async fn replay(&self, name: &str, what: Replay, deed: &Deed) -> Result<u64> {
        self.faults.enter(Call::Replay).await?;
        let mut tables = self.tables.lock();
        tables.record(deed);
        let error = "to be replayed".to_owned();
        let again = Some(Duration::ZERO);
        let failed = match what {
            Replay::One(raid, seq) => vec![Failed {
                raid,
                seq,
                attempts: 0,
                again,
                error,
            }],
            Replay::Dead => {
                let of = tables
                    .webhooks
                    .parked
                    .values()
                    .filter(|(endpoint, _)| endpoint == name);
                let dead = of
                    .filter(|(_, parked)| parked.next_at.is_none())
                    .take(COUNTED as usize);
                let failed = |(_, parked): &(String, Parked)| {
                    let Parked {
                        raid, seq, error, ..
                    } = parked.clone();
                    Failed {
                        raid,
                        seq,
                        attempts: 0,
                        again,
                        error,
                    }
                };
                dead.map(failed).collect()
            }
        };
        failed.iter().for_each(|failed| tables.park(name, failed));
        Ok(failed.len() as u64)
    }

    async fn resume_endpoint(&self, name: &str, deed: &Deed) -> Result<bool> {
        self.faults.enter(Call::ResumeEndpoint).await?;
        let mut tables = self.tables.lock();
        let endpoint = tables.webhooks.endpoints.get_mut(name);
        let resumed = endpoint
            .and_then(|endpoint| endpoint.cursor.paused.take())
            .is_some();
        if resumed {
            tables.record(deed);
        }
        Ok(resumed)
    }
}
