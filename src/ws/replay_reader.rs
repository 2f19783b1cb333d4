//! Reads from the store, page by page, the events of a replay that the ring no longer holds.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use raidhall_protocol::{Event, Seq};
use tokio::time::timeout;
use tracing::warn;

use crate::fanout::outbox::WatchId;
use crate::store::Store;

/// Events in one page.
const PAGE_EVENTS_MAX: u32 = 128;
const READ_TIMEOUT: Duration = Duration::from_secs(5);

pub(super) struct ReplayReader {
    store: Arc<dyn Store>,
    pending_page: Option<(WatchId, BoxFuture<'static, Vec<Event>>)>,
}

impl ReplayReader {
    pub(super) fn new(store: &Arc<dyn Store>) -> Self {
        Self {
            store: Arc::clone(store),
            pending_page: None,
        }
    }

    /// Begins to read the events after a seq for a watch. Does nothing while another page is being
    /// read; the watch asks again later.
    pub(super) fn start_read(&mut self, ticket: WatchId, after: Seq) {
        if self.pending_page.is_none() {
            self.pending_page = Some((
                ticket,
                Box::pin(read_page(Arc::clone(&self.store), ticket, after)),
            ));
        }
    }

    pub(super) const fn is_reading(&self) -> bool {
        self.pending_page.is_some()
    }

    /// Waits for the page that is being read. It is empty if the store failed or took too long.
    /// Pends forever while no page is being read.
    pub(super) async fn next_page(&mut self) -> (WatchId, Vec<Event>) {
        let Some((ticket, page)) = &mut self.pending_page else {
            return std::future::pending().await;
        };
        let read = (*ticket, page.await);
        self.pending_page = None;
        read
    }
}

async fn read_page(store: Arc<dyn Store>, ticket: WatchId, after: Seq) -> Vec<Event> {
    match timeout(
        READ_TIMEOUT,
        store.events(ticket.raid, after, PAGE_EVENTS_MAX),
    )
    .await
    {
        Ok(Ok(events)) => return events,
        Ok(Err(error)) => {
            warn!(raid = %ticket.raid, ?error, "reading a replay failed; closing the connection");
        }
        Err(_) => {
            warn!(raid = %ticket.raid, "reading a replay timed out; closing the connection");
        }
    }
    Vec::new()
}
