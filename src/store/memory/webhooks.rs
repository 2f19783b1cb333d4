//! Webhook deliveries in the in-memory store.

use std::collections::BTreeMap;

use async_trait::async_trait;
use raidhall_protocol::UnixMillis;

use super::MemoryStore;
use super::tables::Tables;
use crate::store::webhooks::{
    COUNT_MAX, EndpointProgress, EndpointRow, FailedAttempt, ParkedDelivery, ProgressUpdate,
    Replay, WebhookDeliveries,
};
use crate::store::*;

/// An endpoint's progress, and the instance that delivers to it.
pub(super) struct EndpointRecord {
    progress: EndpointProgress,
    owner: Option<InstanceId>,
}

/// The endpoints and their parked deliveries.
#[derive(Default)]
pub(super) struct WebhookTables {
    endpoints: BTreeMap<String, EndpointRecord>,
    parked: BTreeMap<u64, (String, ParkedDelivery)>,
    last_id: u64,
}

impl Tables {
    fn park(&mut self, name: &str, failed: &FailedAttempt) {
        let hooks = &mut self.webhooks;
        let of = |(endpoint, parked): &&mut (String, ParkedDelivery)| {
            endpoint == name && parked.raid == failed.raid && parked.seq == failed.seq
        };
        if let Some((_, known)) = hooks.parked.values_mut().find(of) {
            known.attempts = failed.attempts;
            known.next_at = failed.next_at;
            known.error.clone_from(&failed.error);
            return;
        }
        hooks.last_id += 1;
        let FailedAttempt {
            raid,
            seq,
            at: first_failed_at,
            attempts,
            next_at,
            error,
        } = failed.clone();
        let parked = ParkedDelivery {
            id: hooks.last_id,
            raid,
            seq,
            attempts,
            next_at,
            error,
            first_failed_at,
        };
        hooks
            .parked
            .insert(hooks.last_id, (name.to_owned(), parked));
    }
}

#[async_trait]
impl WebhookDeliveries for MemoryStore {
    async fn acquire_endpoint(
        &self,
        name: &str,
        instance: InstanceId,
    ) -> Result<Option<EndpointProgress>> {
        let mut tables = self.0.lock();
        let now = tables.now();
        let cursor = FeedCursor {
            commit: tables.feed.len() as u64,
            ..FeedCursor::default()
        };
        let new = EndpointProgress {
            lineage: tables.lineage.clone(),
            cursor,
            pause_reason: None,
        };
        let Tables {
            webhooks,
            instances,
            ..
        } = &mut *tables;
        let endpoint = webhooks.endpoints.entry(name.to_owned());
        let endpoint = endpoint.or_insert(EndpointRecord {
            progress: new,
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
        Ok(Some(endpoint.progress.clone()))
    }

    async fn release_endpoint(&self, name: &str, instance: InstanceId) -> Result<()> {
        let mut tables = self.0.lock();
        let endpoint = tables.webhooks.endpoints.get_mut(name);
        endpoint.and_then(|endpoint| endpoint.owner.take_if(|owner| *owner == instance));
        Ok(())
    }

    async fn save_progress(
        &self,
        name: &str,
        instance: InstanceId,
        progress: &ProgressUpdate,
    ) -> Result<bool> {
        let mut tables = self.0.lock();
        let endpoint = tables
            .webhooks
            .endpoints
            .get_mut(name)
            .filter(|found| found.owner == Some(instance));
        let Some(EndpointRecord {
            progress: stored, ..
        }) = endpoint
        else {
            return Ok(false);
        };
        if let Some(moved) = &progress.cursor {
            let (lineage, cursor) = moved.clone();
            stored.lineage = lineage;
            stored.cursor = cursor;
        }
        if progress.pause_reason.is_some() {
            stored.pause_reason.clone_from(&progress.pause_reason);
        }
        for id in &progress.settled_ids {
            tables.webhooks.parked.remove(id);
        }
        for failed in &progress.failed_attempts {
            tables.park(name, failed);
        }
        Ok(true)
    }

    async fn due_deliveries(
        &self,
        name: &str,
        now: UnixMillis,
        limit: u32,
    ) -> Result<Vec<ParkedDelivery>> {
        let tables = self.0.lock();
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
    ) -> Result<Vec<ParkedDelivery>> {
        let tables = self.0.lock();
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
        let tables = self.0.lock();
        let WebhookTables {
            endpoints, parked, ..
        } = &tables.webhooks;
        let count = |name: &str, dead: bool| {
            let of = parked.values().filter(|(endpoint, _)| endpoint == name);
            of.filter(|(_, parked)| parked.next_at.is_none() == dead)
                .take(COUNT_MAX as usize)
                .count() as u64
        };
        let row = |(name, endpoint): (&String, &EndpointRecord)| EndpointRow {
            name: name.clone(),
            owner: endpoint.owner,
            pause_reason: endpoint.progress.pause_reason.clone(),
            waiting: count(name, false),
            dead: count(name, true),
        };
        Ok(endpoints.iter().map(row).collect())
    }

    async fn replay_deliveries(
        &self,
        name: &str,
        what: Replay,
        entry: &NewAuditEntry,
    ) -> Result<u64> {
        let mut tables = self.0.lock();
        tables.record_audit(entry);
        let error = "to be replayed".to_owned();
        let at = entry.at;
        let next_at = Some(at);
        let failed = match what {
            Replay::Event(raid, seq) => vec![FailedAttempt {
                raid,
                seq,
                at,
                attempts: 0,
                next_at,
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
                    .take(COUNT_MAX as usize);
                let failed = |(_, parked): &(String, ParkedDelivery)| {
                    let ParkedDelivery {
                        raid, seq, error, ..
                    } = parked.clone();
                    FailedAttempt {
                        raid,
                        seq,
                        at,
                        attempts: 0,
                        next_at,
                        error,
                    }
                };
                dead.map(failed).collect()
            }
        };
        for failed in &failed {
            tables.park(name, failed);
        }
        Ok(failed.len() as u64)
    }

    async fn resume_endpoint(&self, name: &str, entry: &NewAuditEntry) -> Result<bool> {
        let mut tables = self.0.lock();
        let endpoint = tables.webhooks.endpoints.get_mut(name);
        let resumed = endpoint
            .and_then(|endpoint| endpoint.progress.pause_reason.take())
            .is_some();
        if resumed {
            tables.record_audit(entry);
        }
        Ok(resumed)
    }
}
