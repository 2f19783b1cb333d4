//! One endpoint's messages: each raid's in turn, as long as the endpoint takes them. What it does not take is parked and
//! tried again later, and the rest goes on.
//!
//! At least once: what was posted is noted after it was, in one transaction with what failed. Whoever dies in between
//! posts it again, under the same id.

use super::delivery::Outcome;
use super::{Endpoint, Kind, Message, schedule};
use crate::store::webhooks::{Cursor, Failed, Parked, Progress};
use crate::store::{InstanceId, Place, Result, Store};
use crate::telemetry::metrics;
use futures_util::future::BoxFuture;
use futures_util::{FutureExt, StreamExt, stream};
use raidhall_protocol::{Event, RaidId, Seq};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

/// How often the feed, and what is due, are looked at while nothing comes.
const LOOK: Duration = Duration::from_secs(1);
/// How often it is tried to become the one who delivers, and whether a paused endpoint was resumed.
const TAKE: Duration = Duration::from_secs(5);
/// Events read at once.
const SCAN: u32 = 256;
/// Messages that are noted together.
const PAGE: u32 = 64;
/// After so many events of which nothing is told it is noted how far they go: whoever goes on reads no more of them again.
const NOTE_EVERY: usize = 10_000;
/// Posts under way at once.
const POSTS: usize = 8;
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

/// A message to be posted, and where it comes from.
struct Letter {
    raid: RaidId,
    seq: Seq,
    message: Message,
    /// The id of its place among the parked, if it has one.
    parked: Option<u64>,
    attempts: u32,
}

/// Where the pump is, and how the endpoint is doing.
struct State {
    lineage: String,
    place: Place,
    /// The feed had no more for now.
    caught_up: bool,
    /// Events read since the place was last noted.
    unnoted: usize,
    /// Tries in a row that failed.
    failures: u32,
    /// Nothing is posted before then.
    held_until: Instant,
}

impl Pump {
    pub(super) const fn new(endpoint: Endpoint, store: Arc<dyn Store>, instance: InstanceId) -> Pump {
        Pump { endpoint, store, instance }
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
            info!(endpoint = self.name(), "not given up; it is free when this instance's lease has run out");
        }
    }

    async fn deliver(&self) {
        let mut complained: Option<Instant> = None;
        loop {
            let pause = match self.take_and_follow().await {
                Ok(()) => TAKE,
                Err(error) => {
                    if complained.is_none_or(|at| at.elapsed() > COMPLAINTS) {
                        warn!(endpoint = self.name(), ?error, "webhooks wait for the database");
                        complained = Some(Instant::now());
                    }
                    LOOK
                }
            };
            sleep(pause).await;
        }
    }

    async fn take_and_follow(&self) -> Result<()> {
        match self.store.take_endpoint(self.name(), self.instance).await? {
            Some(cursor) if cursor.paused.is_none() => self.follow(cursor).await,
            _ => Ok(()),
        }
    }

    /// Delivers for as long as the endpoint is ours and wants it.
    async fn follow(&self, Cursor { lineage, place, .. }: Cursor) -> Result<()> {
        info!(endpoint = self.name(), "webhooks are delivered from here");
        let mut state =
            State { lineage, place, caught_up: false, unnoted: 0, failures: 0, held_until: Instant::now() };
        loop {
            sleep_until(state.held_until).await;
            // An endpoint that fails is asked for one thing at a time.
            let limit = if state.failures > 0 { 1 } else { PAGE };
            let due = self.store.due_deliveries(self.name(), limit).await?;
            let (letters, mut progress) = if due.is_empty() {
                let Some(fresh) = self.fresh(&mut state, limit).await? else { continue };
                fresh
            } else {
                self.parked(&state, due).await?
            };
            let idle = letters.is_empty() && state.unnoted < NOTE_EVERY;
            self.post(&letters, &mut state, &mut progress).await;
            let moved = progress.cursor.take_if(|_| idle);
            if progress != Progress::default()
                && !self.store.note_progress(self.name(), self.instance, &progress).await?
            {
                info!(endpoint = self.name(), "another instance delivers these webhooks");
                return Ok(());
            }
            if progress.cursor.is_some() {
                state.unnoted = 0;
            }
            if let Some(reason) = progress.paused {
                warn!(endpoint = self.name(), reason, "webhooks are paused until an operator resumes them");
                return Ok(());
            }
            if let Some((_, place)) = progress.cursor.or(moved) {
                state.place = place;
                if state.caught_up {
                    sleep(LOOK).await;
                }
            }
        }
    }

    /// What comes next in the feed.
    /// None if it has to be looked again.
    async fn fresh(&self, state: &mut State, limit: u32) -> Result<Option<(Vec<Letter>, Progress)>> {
        let fed = self.store.feed(state.place, SCAN).await?;
        if fed.lineage != state.lineage {
            warn!(endpoint = self.name(), "the database has another history: webhooks begin at its present");
            (state.lineage, state.place) = self.store.feed_end().await?;
            let cursor = Some((state.lineage.clone(), state.place));
            let progress = Progress { cursor, ..Progress::default() };
            self.store.note_progress(self.name(), self.instance, &progress).await?;
            return Ok(None);
        }
        let mut letters = Vec::new();
        let mut next = fed.next;
        state.caught_up = fed.events.len() < SCAN as usize;
        for ((raid, event), read) in fed.events.iter().zip(1..) {
            letters.extend(self.letter(&state.lineage, *raid, event));
            if letters.len() == limit as usize {
                // The feed says where it stands behind so many.
                next = self.store.feed(state.place, read).await?.next;
                state.caught_up = false;
                break;
            }
        }
        state.unnoted += fed.events.len();
        let cursor = Some((state.lineage.clone(), next));
        Ok(Some((letters, Progress { cursor, ..Progress::default() })))
    }

    fn letter(&self, lineage: &str, raid: RaidId, event: &Event) -> Option<Letter> {
        let told = Kind::of(&event.data).is_some_and(|kind| self.endpoint.kinds.contains(&kind));
        let message = Message::of(lineage, raid, event).filter(|_| told)?;
        Some(Letter { raid, seq: event.seq, message, parked: None, attempts: 0 })
    }

    /// What was parked, read anew from the ledger.
    async fn parked(&self, state: &State, due: Vec<Parked>) -> Result<(Vec<Letter>, Progress)> {
        let (mut letters, mut progress) = (Vec::new(), Progress::default());
        for Parked { id, raid, seq, attempts, .. } in due {
            let before = Seq(seq.0.saturating_sub(1));
            let event = self.store.events(raid, before, 1).await?.pop().filter(|event| event.seq == seq);
            match event.and_then(|event| Message::of(&state.lineage, raid, &event)) {
                Some(message) => letters.push(Letter { raid, seq, message, parked: Some(id), attempts }),
                None => progress.settled.push(id), // there is no such event to tell of
            }
        }
        Ok((letters, progress))
    }

    async fn post_in_turn<'l>(&self, letters: Vec<&'l Letter>) -> Vec<(&'l Letter, Outcome)> {
        let mut outcomes = Vec::new();
        for letter in letters {
            outcomes.push((letter, self.endpoint.post(&letter.message).await));
        }
        outcomes
    }

    /// Posts letters, those of a few raids at once and each raid's in turn, and adds what came of it to what is to be noted.
    async fn post(&self, letters: &[Letter], state: &mut State, progress: &mut Progress) {
        let mut by_raid: BTreeMap<RaidId, Vec<&Letter>> = BTreeMap::new();
        letters.iter().for_each(|letter| by_raid.entry(letter.raid).or_default().push(letter));
        let posts: Vec<BoxFuture<'_, _>> =
            by_raid.into_values().map(|letters| self.post_in_turn(letters).boxed()).collect();
        let outcomes: Vec<Vec<(&Letter, Outcome)>> = stream::iter(posts).buffered(POSTS).collect().await;
        let mut delivered = false;
        for (letter, outcome) in outcomes.into_iter().flatten() {
            let Letter { raid, seq, parked, attempts, .. } = *letter;
            let failed = |attempts, again, error| Failed { raid, seq, attempts, again, error };
            match outcome {
                Outcome::Delivered => {
                    delivered = true;
                    progress.settled.extend(parked);
                }
                Outcome::Gone => {
                    let error = "answered with 410 Gone".to_owned();
                    progress.failed.push(failed(attempts, Some(Duration::ZERO), error.clone()));
                    progress.paused = Some(error);
                }
                Outcome::Failed { error, again } => {
                    let attempts = attempts.saturating_add(1);
                    let again = schedule::again(attempts, rand::random(), again);
                    if again.is_none() {
                        metrics().webhook_deliveries.increment("dead");
                        warn!(endpoint = self.name(), %raid, %seq, error, "a webhook is not tried any more");
                    }
                    progress.failed.push(failed(attempts, again, error));
                }
            }
        }
        if letters.is_empty() {
            return;
        }
        let failing = !delivered && progress.paused.is_none();
        if failing && state.failures == 0 {
            let error = progress.failed.last().map(|failed| failed.error.as_str());
            warn!(endpoint = self.name(), error, "webhooks fail; they are tried again");
        }
        state.failures = if failing { state.failures.saturating_add(1) } else { 0 };
        state.held_until = Instant::now() + schedule::hold_back(state.failures);
    }
}
