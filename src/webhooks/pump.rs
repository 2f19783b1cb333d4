//! One endpoint's messages: each raid's in turn, as long as the endpoint takes them. What it does not take is parked and
//! tried again later, and the rest goes on.
//!
//! At least once: what was posted is noted after it was, in one transaction with what failed. Whoever dies in between
//! posts it again, under the same id.

use std::sync::Arc;
use std::time::Duration;

use raidhall_protocol::{Event, RaidId, Seq};
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::batch::{Letter, Page};
use super::{Endpoint, Kind, Message, schedule};
use crate::store::webhooks::{EndpointProgress, ParkedDelivery, ProgressUpdate};
use crate::store::{FeedCursor, InstanceId, Result, Store};

/// How often the feed, and what is due, are looked at while nothing comes.
const LOOK: Duration = Duration::from_secs(1);
/// How often it is tried to become the one who delivers, and whether a paused endpoint was resumed.
const TAKE: Duration = Duration::from_secs(5);
/// Events read at once.
const SCAN: u32 = 256;
/// Messages that are noted together.
const PAGE: u32 = 64;
/// After so many events of which nothing is told it is noted how far they go: whoever goes on reads no more of them again.
const NOTE_EVERY: u32 = 10_000;
/// How often it is said that the database fails, while it does.
const COMPLAINTS: Duration = Duration::from_secs(60);
/// How long giving the endpoint up may take at the end.
const PARTING: Duration = Duration::from_secs(1);

/// What delivers to one endpoint.
pub struct Pump {
    endpoint: Endpoint,
    store: Arc<dyn Store>,
    instance: InstanceId,
}

/// Where the pump is, and how the endpoint is doing.
struct State {
    lineage: String,
    place: FeedCursor,
    /// Events read since the place was last noted.
    unnoted: u32,
    /// Tries in a row that failed.
    failures: u32,
    /// Nothing is posted before then.
    held_until: Instant,
}

impl Pump {
    pub(super) const fn new(
        endpoint: Endpoint,
        store: Arc<dyn Store>,
        instance: InstanceId,
    ) -> Pump {
        Pump {
            endpoint,
            store,
            instance,
        }
    }

    /// What the endpoint is called.
    pub fn name(&self) -> &str {
        &self.endpoint.name
    }

    /// Delivers until it is stopped, and then gives the endpoint to whoever wants it.
    pub async fn run(self, stop: CancellationToken) {
        let _ = stop.run_until_cancelled(self.deliver()).await;
        let release = self.store.release_endpoint(self.name(), self.instance);
        if !matches!(timeout(PARTING, release).await, Ok(Ok(()))) {
            info!(
                endpoint = self.name(),
                "not given up; it is free when this instance's lease has run out"
            );
        }
    }

    async fn deliver(&self) {
        let mut complained: Option<Instant> = None;
        loop {
            let pause = match self.take_and_follow().await {
                Ok(()) => TAKE,
                Err(error) => {
                    if complained.is_none_or(|at| at.elapsed() > COMPLAINTS) {
                        warn!(
                            endpoint = self.name(),
                            ?error,
                            "webhooks wait for the database"
                        );
                        complained = Some(Instant::now());
                    }
                    LOOK
                }
            };
            sleep(pause).await;
        }
    }

    async fn take_and_follow(&self) -> Result<()> {
        match self
            .store
            .acquire_endpoint(self.name(), self.instance)
            .await?
        {
            Some(cursor) if cursor.pause_reason.is_none() => self.follow(cursor).await,
            _ => Ok(()),
        }
    }

    /// Delivers for as long as the endpoint is ours and wants it.
    async fn follow(
        &self,
        EndpointProgress {
            lineage,
            cursor: place,
            ..
        }: EndpointProgress,
    ) -> Result<()> {
        info!(endpoint = self.name(), "webhooks are delivered from here");
        let mut state = State {
            lineage,
            place,
            unnoted: 0,
            failures: 0,
            held_until: Instant::now(),
        };
        loop {
            sleep_until(state.held_until).await;
            // An endpoint that fails is asked for one thing at a time.
            let limit = if state.failures > 0 { 1 } else { PAGE };
            let due = self.store.due_deliveries(self.name(), limit).await?;
            let mut page = if due.is_empty() {
                self.fresh(&mut state, limit).await?
            } else {
                self.parked(&state, due).await?
            };
            page.post(&self.endpoint).await;
            let Page {
                progress,
                caught_up,
                ..
            } = &page;
            if *progress != ProgressUpdate::default()
                && !self
                    .store
                    .save_progress(self.name(), self.instance, progress)
                    .await?
            {
                info!(
                    endpoint = self.name(),
                    "another instance delivers these webhooks"
                );
                return Ok(());
            }
            if let Some(reason) = &progress.pause_reason {
                warn!(
                    endpoint = self.name(),
                    reason, "webhooks are paused until an operator resumes them"
                );
                return Ok(());
            }
            if !page.letters.is_empty() {
                self.hold_back(&mut state, &page);
            }
            if *caught_up {
                sleep(LOOK).await;
            }
        }
    }

    /// What comes next in the feed. The state is ahead of what is noted from then on: whoever fails to post or to note it
    /// drops the state.
    async fn fresh(&self, state: &mut State, limit: u32) -> Result<Page> {
        let fed = self.store.read_feed(state.place, SCAN).await?;
        if fed.lineage != state.lineage {
            warn!(
                endpoint = self.name(),
                "the database has another history: webhooks begin at its present"
            );
            (state.lineage, state.place) = self.store.feed_end().await?;
            return Ok(Page {
                progress: state.progress(),
                ..Page::default()
            });
        }
        let (mut letters, mut read) = (Vec::new(), 0);
        for (raid, event) in &fed.events {
            letters.extend(self.letter(&state.lineage, *raid, event));
            read += 1;
            if letters.len() == limit as usize {
                break;
            }
        }
        let whole = read as usize == fed.events.len();
        // The feed says where it stands behind so many.
        state.place = if whole {
            fed.next
        } else {
            self.store.read_feed(state.place, read).await?.next
        };
        state.unnoted += read;
        let to_note = !letters.is_empty() || state.unnoted >= NOTE_EVERY;
        let progress = if to_note {
            state.progress()
        } else {
            ProgressUpdate::default()
        };
        Ok(Page {
            letters,
            progress,
            caught_up: whole && read < SCAN,
        })
    }

    fn letter(&self, lineage: &str, raid: RaidId, event: &Event) -> Option<Letter> {
        let told = Kind::of(&event.data).is_some_and(|kind| self.endpoint.kinds.contains(&kind));
        let message = Message::of(lineage, raid, event).filter(|_| told)?;
        Some(Letter {
            raid,
            seq: event.seq,
            message,
            parked: None,
            attempts: 0,
        })
    }

    /// What was parked, read anew from the ledger.
    async fn parked(&self, state: &State, due: Vec<ParkedDelivery>) -> Result<Page> {
        let mut page = Page::default();
        for ParkedDelivery {
            id,
            raid,
            seq,
            attempts,
            ..
        } in due
        {
            let before = Seq(seq.0.saturating_sub(1));
            let event = self
                .store
                .events(raid, before, 1)
                .await?
                .pop()
                .filter(|event| event.seq == seq);
            match event.and_then(|event| Message::of(&state.lineage, raid, &event)) {
                Some(message) => page.letters.push(Letter {
                    raid,
                    seq,
                    message,
                    parked: Some(id),
                    attempts,
                }),
                None => page.progress.settled_ids.push(id), // there is no such event to tell of
            }
        }
        Ok(page)
    }

    /// Leaves an endpoint that took nothing alone for a while.
    fn hold_back(&self, state: &mut State, page: &Page) {
        if page.failed() && state.failures == 0 {
            let error = page
                .progress
                .failed_attempts
                .last()
                .map(|failed| failed.error.as_str());
            warn!(
                endpoint = self.name(),
                error, "webhooks fail; they are tried again"
            );
        }
        state.failures = if page.failed() {
            state.failures.saturating_add(1)
        } else {
            0
        };
        state.held_until = Instant::now() + schedule::hold_back(state.failures);
    }
}

impl State {
    /// That everything up to here is dealt with.
    fn progress(&mut self) -> ProgressUpdate {
        self.unnoted = 0;
        ProgressUpdate {
            cursor: Some((self.lineage.clone(), self.place)),
            ..ProgressUpdate::default()
        }
    }
}

#[cfg(test)]
mod tests;
