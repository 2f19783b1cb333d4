//! What the events of the feed mean for players, from the feed's start up to a place.

use std::sync::Arc;

use raidhall_protocol::PlayerId;
use raidhall_protocol::player::event::RaidPlace;

use crate::jobs::projector::RaidContexts;
use crate::progression::{Cause, causes};
use crate::store::{CommittedEvent, FeedBatch, FeedCursor, Result, Store};
use crate::telemetry::Progress;

/// Events that are read at once.
const PAGE_EVENTS_MAX: u32 = 512;

/// Reader of the feed that ends exactly at a place.
pub(super) struct FeedWalk {
    store: Arc<dyn Store>,
    place: FeedCursor,
    end: FeedCursor,
    page_events: u32,
    progress: Progress,
}

/// The place of an event, and what the event means for players.
pub(super) type EventCauses = (RaidPlace, Vec<(PlayerId, Cause)>);

impl FeedWalk {
    pub(super) fn new(store: Arc<dyn Store>, end: FeedCursor) -> FeedWalk {
        FeedWalk {
            store,
            place: FeedCursor::default(),
            end,
            page_events: PAGE_EVENTS_MAX,
            progress: Progress::new("reading the raids' events", None),
        }
    }

    /// Returns the next events; `None` at the end.
    pub(super) async fn next_page(
        &mut self,
        contexts: &mut RaidContexts,
    ) -> Result<Option<Vec<EventCauses>>> {
        let Some(page) = self.read().await? else {
            return Ok(None);
        };
        self.progress.add(page.events.len() as u64);
        let mut events = Vec::new();
        for committed in &page.events {
            let CommittedEvent { raid, event, .. } = committed;
            let place = RaidPlace {
                raid: *raid,
                seq: event.seq,
            };
            // A raid that cannot be read has failed for all of its members.
            let context = contexts.find(committed).await?.unwrap_or_default();
            events.push((place, causes(*raid, event, &context)));
        }
        Ok(Some(events))
    }

    /// Reads a page. One that would pass the end is read again with half as many events, because only
    /// the place behind its last event is known.
    async fn read(&mut self) -> Result<Option<FeedBatch>> {
        while self.place < self.end && self.page_events > 0 {
            let page = self.store.read_feed(self.place, self.page_events).await?;
            if page.events.is_empty() {
                break;
            }
            if page.next <= self.end {
                self.place = page.next;
                return Ok(Some(page));
            }
            self.page_events /= 2;
        }
        Ok(None)
    }
}
