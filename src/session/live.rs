//! One incarnation of a live raid: it decides, commits and releases.
//!
//! The state runs ahead of the store: commands are decided on it while earlier commits are in flight. **Nothing
//! leaves ahead of the commit that it depends on.** Every answer (acknowledgement, refusal, duplicate, read, watch,
//! snapshot) is noted with the seq at which it was decided, and released in inbox order once that seq is durable.
//! Events are published, before the answers that depend on them, when they are durable. If a commit fails, everything
//! behind it is `unavailable` and this incarnation ends.

use super::held::{Basis, Held, Opening, Queue};
use super::message::{Message, Watch};
use super::ops::Ops;
use super::presence::Presence;
use super::{Ack, Caller, Reply, Sessions};
use crate::audience::{Audience, Joining};
use crate::error::Error;
use crate::frame;
use crate::outbox::Answer;
use crate::raid::{self, Context, Refusal, State};
use crate::store::journal::Outcome;
use crate::store::{Append, Epoch, Header, Month, OpHash, Recorded};
use crate::telemetry::metrics;
use bytes::Bytes;
use raidhall_protocol::{Codec, Event, PlayerId, RaidState, Seq, ServerMessage};
use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep_until, timeout};
use tracing::{error, warn};

/// Commits in flight at most; beyond that the inbox waits.
const FLIGHTS_MAX: usize = 32;
/// Answers that wait for a commit at most; beyond that the inbox waits too.
const HELD_MAX: usize = 1_024;
/// How long the raid waits for the store to say whether it has another owner.
const HEAD_PATIENCE: Duration = Duration::from_secs(1);
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
    snapshots: [Option<SnapshotFrame>; 2],
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

/// The bytes of a snapshot, shared by all who need it while nothing changes.
struct SnapshotFrame {
    seq: Seq,
    online: Vec<PlayerId>,
    frame: Bytes,
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

    fn seen_by(&self, caller: Caller) -> Result<(), Error> {
        if caller.may_see(&self.state) { Ok(()) } else { Err(Refusal::NotFound.into()) }
    }

    /// What a watch begins with.
    async fn basis(&mut self, watch: &Watch) -> Result<Result<Basis, Error>, &'static str> {
        let seq = self.state.seq();
        if let Err(error) = self.seen_by(watch.caller) {
            return Ok(Err(error));
        }
        if watch.since.is_some_and(|since| since > seq) {
            match self.is_superseded().await {
                Ok(false) => {}
                Ok(true) => return Err("superseded"),
                Err(error) => return Ok(Err(error)),
            }
        }
        Ok(Ok(match watch.since {
            Some(since) if since <= seq && seq.since(since) <= self.sessions.0.options.replay_events => {
                Basis::Replay { since, seq }
            }
            _ => Basis::Snapshot { seq, state: self.freeze() },
        }))
    }

    /// Whether the store knows of a later owner than this session.
    async fn is_superseded(&self) -> Result<bool, Error> {
        let head = timeout(HEAD_PATIENCE, self.sessions.0.store.head(self.audience.raid())).await;
        let head = head.ok().and_then(Result::ok).ok_or(Error::Unavailable)?;
        Ok(head.is_some_and(|head| head.epoch != self.epoch))
    }

    fn freeze(&mut self) -> Arc<RaidState> {
        let seq = self.state.seq();
        match &self.frozen {
            Some((at, state)) if *at == seq => Arc::clone(state),
            _ => {
                let state = Arc::new(self.state.shown().clone());
                self.frozen = Some((seq, Arc::clone(&state)));
                state
            }
        }
    }

    /// Decides what is due, shows who came online and went offline, and releases what may go.
    fn advance(&mut self, presence: &mut Presence) {
        let hall = Arc::clone(&self.sessions.0);
        if self.state.due().is_some_and(|due| due <= hall.clock.now()) {
            // Refused by nobody: the server itself decides.
            let _ = self.decide(&raid::Command::Deadline, None, presence);
        }
        let now = Instant::now();
        if let Some(change) = presence.advance(now) {
            metrics().presence_changes.increment((change.online.len() + change.offline.len()) as u64);
            self.audience.announce(change.online, change.offline);
        }
        self.leader_away_since =
            self.leader_is_missed(presence).then(|| self.leader_away_since.unwrap_or(now));
        if self.leader_away_since.is_some_and(|since| now >= since + hall.options.leader_grace) {
            let _ = self.decide(&raid::Command::LeaderOffline, None, presence);
            self.leader_away_since = None;
        }
        self.release(presence);
    }

    /// Whether the leader is offline while another member is online.
    fn leader_is_missed(&self, presence: &Presence) -> bool {
        let shown = self.state.shown();
        let Some(leader) = shown.leader.filter(|_| !shown.status.ended()) else { return false };
        !presence.online().contains(&leader) && !presence.online().is_empty()
    }

    fn next_timer(&self, presence: &Presence) -> Instant {
        let hall = &self.sessions.0;
        let deadline = self.state.due().map(|due| hall.clock.instant_of(due));
        let leader = self.leader_away_since.map(|since| since + hall.options.leader_grace);
        // A raid that is needed looks again when what needs it is gone, and spends no time on its idleness until then.
        let since = if self.is_needed(presence) { Instant::now() } else { self.needed_at };
        let idle = since + hall.options.idle_timeout;
        [deadline, leader, presence.next()].into_iter().flatten().fold(idle, Instant::min)
    }

    fn is_idle(&self, presence: &Presence) -> bool {
        !self.is_needed(presence)
            && (self.unmade || self.needed_at.elapsed() >= self.sessions.0.options.idle_timeout)
    }

    /// Whether somebody watches, or something is on its way.
    fn is_needed(&self, presence: &Presence) -> bool {
        self.audience.is_watched()
            || !self.flights.is_empty()
            || !self.held.is_empty()
            || presence.next().is_some()
    }

    fn follow_watchers(&mut self, presence: &mut Presence) {
        self.needed_at = Instant::now();
        presence.follow(&self.audience.watching(), self.needed_at, self.sessions.0.options.presence_grace);
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

    /// Answers a watch, which joins the audience in the same breath.
    fn open(&mut self, opening: Opening, presence: &mut Presence) {
        let Opening { watch: Watch { outbox, ticket, caller, reply, .. }, basis, joins } = opening;
        // Whoever left since the watch was decided may not see what came after.
        if caller.player().is_some_and(|player| !self.audience.is_member(player)) {
            return reply.send(Err(Refusal::NotFound.into()));
        }
        if let (Some(player), true) = (caller.player(), joins) {
            presence.arrive(player, Instant::now());
        }
        let known = presence.announced().iter().copied();
        let itself = caller.player().filter(|player| joins && !presence.announced().contains(player));
        let mut online = known.chain(itself).collect::<Vec<_>>();
        online.sort_unstable();
        let (cursor, promised, frame) = match basis {
            Basis::Replay { since, seq } => {
                let watching = ServerMessage::Watching { raid: ticket.raid, seq, recovered: true, online };
                (since, seq, frame::message(outbox.codec, &watching))
            }
            Basis::Snapshot { seq, state } => (seq, seq, self.snapshot(outbox.codec, seq, &state, online)),
        };
        if joins {
            let player = caller.player();
            self.audience.join(Joining { outbox, ticket, player, cursor, promised, frame });
        } else {
            outbox.answer(Answer::Resynced { ticket, seq: cursor, frame });
        }
        reply.send(Ok(()));
    }

    fn snapshot(&mut self, codec: Codec, seq: Seq, state: &Arc<RaidState>, online: Vec<PlayerId>) -> Bytes {
        let slot = &mut self.snapshots[codec as usize];
        if let Some(made) = slot.as_ref().filter(|made| made.seq == seq && made.online == online) {
            return made.frame.clone();
        }
        let raid = self.audience.raid();
        let state = Box::new(RaidState::clone(state));
        let message = ServerMessage::Snapshot { raid, seq, recovered: false, online: online.clone(), state };
        let frame = frame::message(codec, &message);
        *slot = Some(SnapshotFrame { seq, online, frame: frame.clone() });
        frame
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
