//! Webhooks: what has happened in raids, posted to a host app's own URLs.
//!
//! The ledger's feed is the queue, so nothing can be missed: a `pump` for each endpoint follows it, at whichever instance
//! has the endpoint. `message` says what is posted, `signature` how it is signed, `schedule` when what failed is tried
//! again; `page` is what is posted together, and `delivery` posts.

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

use crate::store::{InstanceId, Store};

/// One pump for each endpoint.
pub fn dispatchers(
    endpoints: &[Endpoint],
    store: &Arc<dyn Store>,
    instance: InstanceId,
) -> impl Iterator<Item = WebhookDispatcher> {
    endpoints
        .iter()
        .map(move |endpoint| WebhookDispatcher::new(endpoint.clone(), Arc::clone(store), instance))
}
