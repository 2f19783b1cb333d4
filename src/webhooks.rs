//! Webhooks: events of raids, posted to a host app's endpoints.
//!
//! **The ledger's feed is the queue, so no event can be missed.** A `dispatcher` for each endpoint
//! follows the feed, on the instance that holds the endpoint's lease. `message` builds the payload,
//! `signature` signs it, `schedule` says when a failed delivery is retried, `batch` is a group of
//! deliveries, and `delivery` posts one.

mod batch;
mod delivery;
mod dispatcher;
mod endpoint;
mod message;
mod schedule;
mod signature;

use std::sync::Arc;

pub use dispatcher::WebhookDispatcher;
pub use endpoint::{Endpoint, Options};
pub use message::{WebhookEventKind, WebhookMessage};
pub use signature::{SigningKey, SigningKeyError};

use crate::clock::Clock;
use crate::store::{InstanceId, Store};

/// Creates one dispatcher for each endpoint.
pub fn dispatchers(
    endpoints: &[Endpoint],
    store: &Arc<dyn Store>,
    instance: InstanceId,
    clock: &Arc<Clock>,
) -> impl Iterator<Item = WebhookDispatcher> {
    endpoints.iter().map(move |endpoint| {
        WebhookDispatcher::new(
            endpoint.clone(),
            Arc::clone(store),
            instance,
            Arc::clone(clock),
        )
    })
}
