//! One incarnation of a live raid: it decides, commits and releases.
//!
//! The state runs ahead of the store: commands are decided on it while earlier commits are in flight. **Nothing
//! leaves ahead of the commit that it depends on.** Every answer (acknowledgement, refusal, duplicate, read, watch,
//! snapshot) is noted with the seq at which it was decided, and released in inbox order once that seq is durable.
//! Events are published, before the answers that depend on them, when they are durable. If a commit fails, everything
//! behind it is `unavailable` and this incarnation ends.

mod show;
mod timers;

use super::held::{Held, Queue};
use super::message::Message;
use super::ops::Ops;
use super::presence::Presence;
use super::{Ack, Reply, Sessions};
use crate::audience::Audience;
use crate::error::Error;
use crate::raid::{self, Context, Refusal, State};
use crate::store::journal::Outcome;
use crate::store::{Append, Epoch, Header, Month, OpHash, Recorded};
use raidhall_protocol::{Event, RaidState, Seq};
use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep_until};
use tracing::{error, warn};

/// Commits in flight at most; beyond that the inbox waits.
const FLIGHTS_MAX: usize = 32;
/// Answers that wait for a commit at most; beyond that the inbox waits too.
const HELD_MAX: usize = 1_024;
/// Messages decided at most before what they caused is handed to the journal.
const BURST: usize = 64;

/// How an incarnation ended.
pub(super) enum End {
    /// Nobody needs the raid; it is out of the registry.
    Idle,
    /// The server stops.
    Stopped,
    /// Something is in doubt: start anew from the store.
    Reload(&'static str),
}

pub(super) struct Live {
    sessions: Sessions,
    audience: Arc<Audience>,
    epoch: Epoch,
    born: Month,
    /// Ahead of the store by what is in `building` and `flights`.
    state: State,
    committed: Seq,
    ops: Ops,
    held: Queue,
    /// Decided, not handed to the journal yet.
    building: Vec<Recorded>,
    create_key: Option<OpHash>,
    /// Its creation was refused: there is nothing to be live for.
    unmade: bool,
    flights: VecDeque<Flight>,
    /// The state as last shown to somebody, shared while it stays the same.
    frozen: Option<(Seq, Arc<RaidState>)>,
    snapshots: [Option<show::SnapshotFrame>; 2],
    leader_away_since: Option<Instant>,
    /// When somebody last needed the raid.
    needed_at: Instant,
    since_snapshot: u64,
    /// A snapshot that is kept once its seq is durable.
    snapshot: Option<(Seq, Vec<u8>)>,
}

/// Events on their way to the store.
struct Flight {
    events: Vec<Event>,
    outcome: oneshot::Receiver<Outcome>,
}

impl Live {
    pub(super) fn new(
        sessions: Sessions,
        audience: Arc<Audience>,
        state: State,
        epoch: Epoch,
        born: Month,
        ops: Ops,
        since_snapshot: u64,
    ) -> Self {
        Self {
            sessions,
            audience,
            epoch,
            born,
            committed: state.seq(),
            state,
            ops,
            held: Queue::default(),
            building: Vec::new(),
            create_key: None,
            unmade: false,
            flights: VecDeque::new(),
            frozen: None,
            snapshots: [None, None],
            leader_away_since: None,
            needed_at: Instant::now(),
            since_snapshot,
            snapshot: None,
        }
    }

    pub(super) async fn run(&mut self, inbox: &mut mpsc::Receiver<Message>, presence: &mut Presence) -> End {
        let stop = self.sessions.0.stop.clone();
        let audience = Arc::clone(&self.audience);
        self.follow_watchers(presence);
        loop {
            if !self.sessions.0.lease.holds() {
                return End::Reload("lease");
            }
            let turn = catch_unwind(AssertUnwindSafe(|| self.advance(presence)));
            if turn.is_err() {
                return End::Reload("panic");
            }
            self.submit().await;
            if self.is_idle(presence) && self.sessions.forget_if_idle(audience.raid(), inbox) {
                self.sessions.0.idle.lock().push((audience.raid(), self.epoch));
                return End::Idle;
            }
            let stopping = stop.is_cancelled();
            if stopping && self.flights.is_empty() {
                return End::Stopped;
            }
            let next = self.next_timer(presence);
            tokio::select! { biased;
                outcome = landed(&mut self.flights) => {
                    if let Err(cause) = self.land(outcome, presence) {
                        return End::Reload(cause);
                    }
                }
                () = stop.cancelled(), if !stopping => {}
                () = audience.changed() => self.follow_watchers(presence),
                message = inbox.recv(), if !stopping && self.has_room() => {
                    if let Err(cause) = self.burst(message, inbox, presence).await {
                        return End::Reload(cause);
                    }
                }
                // Last, for it only wakes: what is due is decided in every turn and before every message, and a moment
                // that has passed would keep everything behind it waiting for ever.
                () = sleep_until(next) => {}
            }
        }
    }

    /// Decides a message and those that wait behind it, so that they are committed together.
    async fn burst(
        &mut self,
        first: Option<Message>,
        inbox: &mut mpsc::Receiver<Message>,
        presence: &mut Presence,
    ) -> Result<(), &'static str> {
        let mut next = first;
        for room in (0..BURST).rev() {
            let Some(message) = next.take() else { break };
            if !self.sessions.0.lease.holds() {
                return Err("lease");
            }
            self.needed_at = Instant::now();
            self.advance(presence);
            self.handle(message, presence).await?;
            self.release(presence);
            next = if room > 0 { inbox.try_recv().ok() } else { None };
        }
        Ok(())
    }

    async fn handle(&mut self, message: Message, presence: &mut Presence) -> Result<(), &'static str> {
        match message {
            Message::Execute { command, op, reply } => {
                return self.execute(command, op, reply, presence).await;
            }
            Message::Create { command, key, reply } => {
                self.create_key = Some(key);
                self.execute(command, None, reply, presence).await?;
                self.unmade = self.state.seq() == Seq::ZERO;
            }
            Message::Read { caller, reply } => {
                let seen = self.seen_by(caller).map(|()| (self.freeze(), self.state.seq()));
                self.held.push(self.state.seq(), Held::Read(reply, seen));
            }
            Message::Watch(watch) => {
                let basis = self.basis(&watch).await?;
                self.held.push(self.state.seq(), Held::Join(watch, basis));
            }
            Message::Resync(watch) => {
                let basis = self.basis(&watch).await?;
                self.held.push(self.state.seq(), Held::Resync(watch, basis));
            }
            Message::Signal { sender, from, kind, data, reply } => {
                let passed = self.audience.signal(sender, from, &kind, data);
                reply.send(passed.map_err(|_| Refusal::NotMember.into()));
            }
        }
        Ok(())
    }

    async fn execute(
        &mut self,
        command: raid::Command,
        op: Option<OpHash>,
        reply: Reply<Ack>,
        presence: &Presence,
    ) -> Result<(), &'static str> {
        let result = match self.taken_effect(op).await {
            Ok(Some(seq)) => Ok(Ack { seq, duplicate: true }),
            Ok(None) => match catch_unwind(AssertUnwindSafe(|| self.decide(&command, op, presence))) {
                Ok(decided) => decided.map(|seq| Ack { seq, duplicate: false }).map_err(Error::from),
                Err(_) => {
                    error!(?command, "a command panicked; its raid reloads");
                    reply.send(Err(Error::Internal));
                    return Err("panic");
                }
            },
            Err(error) => Err(error),
        };
        self.held.push(self.state.seq(), Held::Ack(reply, result));
        Ok(())
    }

    /// The seq at which an op took effect, if it did.
    async fn taken_effect(&self, op: Option<OpHash>) -> Result<Option<Seq>, Error> {
        let Some(op) = op else { return Ok(None) };
        if let Some(seq) = self.ops.get(op) {
            return Ok(Some(seq));
        }
        if !self.ops.is_partial() {
            return Ok(None);
        }
        self.sessions.0.store.find_op(self.audience.raid(), op).await.map_err(|error| {
            warn!(?error, "an op could not be looked up");
            Error::Unavailable
        })
    }

    /// Decides a command and applies what it causes. Gives the seq of the last event.
    fn decide(
        &mut self,
        command: &raid::Command,
        op: Option<OpHash>,
        presence: &Presence,
    ) -> Result<Seq, Refusal> {
        #[cfg(test)]
        super::tests::panic_if_told(command);
        let context = Context { now: self.sessions.0.clock.now(), online: presence.online() };
        let mut events = raid::decide(&self.state, command, context)?;
        for event in &events {
            raid::apply(&mut self.state, event);
        }
        if let (Some(op), Some(last)) = (op, events.last()) {
            self.ops.insert(op, last.seq);
        }
        let last = events.pop().map(|event| Recorded { event, op });
        self.building.extend(events.into_iter().map(|event| Recorded { event, op: None }).chain(last));
        Ok(self.state.seq())
    }

    /// Whether more may be decided while earlier commits are in flight.
    fn has_room(&self) -> bool {
        self.flights.len() < FLIGHTS_MAX && self.held.len() < HELD_MAX
    }

    /// Hands what was decided to the journal.
    async fn submit(&mut self) {
        if self.building.is_empty() {
            return;
        }
        let events = std::mem::take(&mut self.building);
        let shown = self.state.shown();
        let append = Append {
            raid: self.audience.raid(),
            born: self.born,
            owner: self.sessions.0.instance,
            epoch: self.epoch,
            header: Header {
                status: shown.status,
                deadline: self.state.due(),
                current_xp: shown.current_xp,
                current_tasks: shown.current_tasks,
                ended_at: shown.ended_at,
            },
            create_key: self.create_key.take(),
            events,
        };
        let events = append.events.iter().map(|recorded| recorded.event.clone()).collect();
        let outcome = self.sessions.0.journal.append(append).await;
        self.flights.push_back(Flight { events, outcome });
    }

    /// Takes the oldest commit's outcome: shows what is durable, and releases the answers that waited for it.
    fn land(&mut self, outcome: Outcome, presence: &mut Presence) -> Result<(), &'static str> {
        let Some(Flight { events, .. }) = self.flights.pop_front() else { return Ok(()) };
        if !self.sessions.0.lease.holds() {
            return Err("lease");
        }
        let first = events.first().map_or(Seq::ZERO, |event| event.seq);
        let last = events.last().map_or(Seq::ZERO, |event| event.seq);
        let cause = match outcome {
            Outcome::Committed => {
                self.committed = last;
                self.audience.publish(&events);
                presence.retain(|player| self.audience.is_member(player), Instant::now());
                self.release(presence);
                self.keep_snapshot(events.len() as u64);
                return Ok(());
            }
            Outcome::Refused => {
                self.held.fail(Some((first, last)));
                return Err("refused");
            }
            Outcome::Fenced => "fenced",
            Outcome::Exists => "exists",
            Outcome::GaveUp => "gave_up",
        };
        self.held.fail(None);
        Err(cause)
    }

    fn release(&mut self, presence: &mut Presence) {
        while let Some(held) = self.held.pop(self.committed) {
            let online = || presence.online().iter().copied().collect();
            if let Some(opening) = held.give(online) {
                self.open(opening, presence);
            }
        }
    }

    /// Writes a snapshot, off the commit path, when the tail outweighs the state. It is made of the state as decided, and
    /// written when that is durable.
    fn keep_snapshot(&mut self, events: u64) {
        self.since_snapshot += events;
        let hall = Arc::clone(&self.sessions.0);
        let shown = self.state.shown();
        let weight = (shown.tasks.len() + shown.members.len() + shown.messages.len()) as u64;
        let due = hall.options.snapshot_min_events.max(weight);
        if self.since_snapshot >= due {
            self.since_snapshot = 0;
            self.snapshot = Some((self.state.seq(), raid::stored::encode(&self.state)));
        }
        let Some((seq, bytes)) = self.snapshot.take_if(|(seq, _)| *seq <= self.committed) else { return };
        let (raid, epoch) = (self.audience.raid(), self.epoch);
        let tasks = hall.tasks.clone();
        tasks.spawn(async move {
            if let Err(error) = hall.store.save_snapshot(raid, hall.instance, epoch, seq, &bytes).await {
                warn!(%raid, ?error, "a snapshot was not kept; the ledger has everything");
            }
        });
    }
}

/// Waits for the oldest commit; for ever when none is in flight.
async fn landed(flights: &mut VecDeque<Flight>) -> Outcome {
    match flights.front_mut() {
        Some(flight) => (&mut flight.outcome).await.unwrap_or(Outcome::GaveUp),
        None => std::future::pending().await,
    }
}
