//! Reads what a resume was promised and the ring does not hold any more, a page at a time.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use raidhall_protocol::{Event, Seq};
use tokio::time::timeout;
use tracing::warn;

use crate::fanout::outbox::Ticket;
use crate::store::Store;

/// Events read from the store at once.
const PAGE: u32 = 128;
const PATIENCE: Duration = Duration::from_secs(5);

pub(super) struct Pages {
    store: Arc<dyn Store>,
    reading: Option<(Ticket, BoxFuture<'static, Vec<Event>>)>,
}

impl Pages {
    pub(super) fn new(store: &Arc<dyn Store>) -> Self {
        Self {
            store: Arc::clone(store),
            reading: None,
        }
    }

    /// Reads the events after a seq for a watch. While another page is being read, the watch will ask again.
    pub(super) fn read(&mut self, ticket: Ticket, after: Seq) {
        if self.reading.is_none() {
            self.reading = Some((
                ticket,
                Box::pin(read(Arc::clone(&self.store), ticket, after)),
            ));
        }
    }

    pub(super) const fn is_reading(&self) -> bool {
        self.reading.is_some()
    }

    /// The page that is being read; none of its events if it cannot be had.
    pub(super) async fn next(&mut self) -> (Ticket, Vec<Event>) {
        let Some((ticket, page)) = &mut self.reading else {
            return std::future::pending().await;
        };
        let read = (*ticket, page.await);
        self.reading = None;
        read
    }
}

async fn read(store: Arc<dyn Store>, ticket: Ticket, after: Seq) -> Vec<Event> {
    match timeout(PATIENCE, store.events(ticket.raid, after, PAGE)).await {
        Ok(Ok(events)) => return events,
        Ok(Err(error)) => {
            warn!(raid = %ticket.raid, ?error, "a replay could not be read");
        }
        Err(_) => warn!(raid = %ticket.raid, "a replay was not read in time"),
    }
    Vec::new()
}
