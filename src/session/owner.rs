//! One incarnation of a live raid: it decides, commits and releases.
//!
//! The state runs ahead of the store: commands are decided on it while earlier commits are in flight. **Nothing
//! leaves ahead of the commit that it depends on.** Every answer (acknowledgement, refusal, duplicate, read, watch,
//! snapshot) is noted with the seq at which it was decided, and released in inbox order once that seq is durable.
//! Events are published, before the answers that depend on them, when they are durable. If a commit fails, everything
//! behind it is `unavailable` and this incarnation ends.

mod commits;
mod timers;
mod watchers;

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use commits::{Flight, landed};
use raidhall_protocol::Seq;
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tracing::{error, warn};

use super::actor::Lasting;
use super::message::{Execute, Message, Watch};
use super::ops::Ops;
use super::pending_replies::{Basis, Held, Queue};
use super::presence::Presence;
use super::snapshot_cache::Show;
use super::{Ack, Caller, Reply, Sessions};
use crate::cluster::client::About;
use crate::error::Error;
use crate::fanout::audience::Audience;
use crate::raid::{self, Context, Refusal, State};
use crate::store::journal::JournalOutcome;
use crate::store::{Epoch, LedgerEvent, Month, OpHash};
use crate::telemetry::{Held as Gauged, metrics};

/// How long the raid waits for the store to say whether it has another owner.
const HEAD_PATIENCE: Duration = Duration::from_secs(1);
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
    /// The server is about to end: the raid is to be given to another instance.
    HandOver,
    /// Try to become its owner, for this cause.
    Claim(&'static str),
    /// Something is in doubt: start anew from the store.
    Reload(&'static str),
}

pub(super) struct Live {
    sessions: Sessions,
    audience: Arc<Audience>,
    epoch: Epoch,
    /// The term of the lease under which the raid is ours.
    term: u64,
    born: Month,
    /// Ahead of the store by what is in `building` and `flights`.
    state: State,
    committed: Seq,
    ops: Ops,
    held: Queue,
    /// Decided, not handed to the journal yet.
    building: Vec<LedgerEvent>,
    create_key: Option<OpHash>,
    /// Its creation was refused: there is nothing to be live for.
    unmade: bool,
    flights: VecDeque<Flight>,
    /// The outcome of the oldest flight, which waits until the lease is sure.
    landed: Option<JournalOutcome>,
    show: Show,
    leader_away_since: Option<Instant>,
    /// When somebody last needed the raid.
    needed_at: Instant,
    /// When the raid became ours.
    since: Instant,
    /// Counts what other instances are told about who is online.
    told: u64,
    /// When they are told again, though nothing has changed.
    tell_at: Option<Instant>,
    /// Who watches is in doubt: nobody is taken offline, no leader is missed.
    in_doubt: bool,
    since_snapshot: u64,
    /// A snapshot that is kept once its seq is durable.
    snapshot: Option<(Seq, Vec<u8>)>,
    _owned: Gauged,
}

/// What a live raid begins with.
pub(super) struct Start {
    pub(super) epoch: Epoch,
    pub(super) term: u64,
    pub(super) born: Month,
    pub(super) state: State,
    pub(super) ops: Ops,
    pub(super) since_snapshot: u64,
}

impl Live {
    pub(super) fn new(sessions: Sessions, audience: Arc<Audience>, start: Start) -> Self {
        let Start {
            epoch,
            term,
            born,
            state,
            ops,
            since_snapshot,
        } = start;
        let now = Instant::now();
        let show = Show::new(Arc::clone(&audience), sessions.0.options.replay_events);
        Self {
            sessions,
            audience,
            epoch,
            term,
            born,
            committed: state.seq(),
            state,
            ops,
            held: Queue::default(),
            building: Vec::new(),
            create_key: None,
            unmade: false,
            flights: VecDeque::new(),
            landed: None,
            show,
            leader_away_since: None,
            needed_at: now,
            since: now,
            told: 0,
            // Whoever knew us before, or another owner, may have missed what was said last.
            tell_at: Some(now),
            in_doubt: false,
            since_snapshot,
            snapshot: None,
            _owned: Gauged::one(&metrics().raids_owned),
        }
    }

    pub(super) const fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// The state of a raid that is handed over: all of it is committed.
    pub(super) fn into_state(self) -> State {
        self.state
    }

    pub(super) async fn run(&mut self, lasting: &mut Lasting) -> End {
        let hall = Arc::clone(&self.sessions.0);
        let audience = Arc::clone(&self.audience);
        let (mut peers, mut proven) = (hall.link.peers().changes(), hall.link.proven());
        self.follow_watchers(lasting);
        loop {
            if !hall.lease.serves(self.term) && !self.regain(lasting).await {
                return End::Reload("lease");
            }
            if let Some(outcome) = self.landed.take()
                && let Err(cause) = self.land(outcome, &mut lasting.presence)
            {
                return End::Reload(cause);
            }
            if lasting
                .remotes
                .forget_dead(hall.link.peers(), Instant::now())
            {
                self.follow_watchers(lasting);
            }
            if catch_unwind(AssertUnwindSafe(|| self.advance(lasting))).is_err() {
                return End::Reload("panic");
            }
            self.submit().await;
            if self.is_idle(lasting)
                && self
                    .sessions
                    .forget_if_idle(audience.raid(), &lasting.inbox)
            {
                hall.idle.lock().push((audience.raid(), self.epoch));
                return End::Idle;
            }
            let stopping = hall.stop.is_cancelled();
            let leaving = !self.sessions.may_claim(audience.raid());
            if self.flights.is_empty() && stopping {
                return End::Stopped;
            }
            if self.flights.is_empty() && leaving {
                return End::HandOver;
            }
            let next = self.next_timer(lasting);
            tokio::select! { biased;
                outcome = landed(&mut self.flights) => self.landed = Some(outcome),
                () = hall.stop.cancelled(), if !stopping => {}
                () = hall.handing_over.cancelled(), if !leaving => {}
                () = audience.changed() => self.follow_watchers(lasting),
                _ = peers.changed() => self.follow_watchers(lasting),
                _ = proven.changed() => {}
                message = lasting.inbox.next(), if !stopping && !leaving && self.has_room() => {
                    if let Err(cause) = self.burst(message, lasting).await {
                        return End::Reload(cause);
                    }
                }
                // Last, for it only wakes: what is due is decided in every turn and before every message, and a moment
                // that has passed would keep everything behind it waiting for ever.
                () = sleep_until(next) => {}
            }
        }
    }

    /// Waits, after a time without a lease, until the store says whether the raid is still ours. Until then nothing
    /// that is remembered may be told, and whoever has asked for something hears that it is not to be had now.
    async fn regain(&mut self, lasting: &mut Lasting) -> bool {
        let hall = Arc::clone(&self.sessions.0);
        let regained = hall.lease.regained(self.audience.raid());
        tokio::pin!(regained);
        loop {
            if self
                .landed
                .is_some_and(|outcome| outcome != JournalOutcome::Committed)
            {
                self.held.fail(None);
                return false;
            }
            tokio::select! { biased;
                (term, epoch) = &mut regained => {
                    self.term = term;
                    self.begin_anew(lasting);
                    return epoch == Some(self.epoch);
                }
                () = hall.stop.cancelled() => return false,
                outcome = landed(&mut self.flights), if self.landed.is_none() => self.landed = Some(outcome),
                () = sleep(hall.options.load_patience) => {
                    self.held.fail(None);
                    self.refuse_all(lasting);
                }
            }
        }
    }

    /// Answers whoever has asked for something. What other instances tell is taken in all the same.
    fn refuse_all(&mut self, lasting: &mut Lasting) {
        while let Some(message) = lasting.inbox.next_now() {
            match message {
                Message::Watching { from, at, watching } => {
                    self.learn_watching(from, at, watching, lasting);
                }
                Message::Take { online, .. } => self.take(&online, lasting),
                message => message.fail(Error::Unavailable),
            }
        }
    }

    /// What every message about this raid names.
    fn about(&self, seq: Seq) -> About {
        About {
            raid: self.audience.raid(),
            epoch: self.epoch,
            seq,
        }
    }

    /// Decides a message and those that wait behind it, so that they are committed together.
    async fn burst(
        &mut self,
        first: Option<Message>,
        lasting: &mut Lasting,
    ) -> Result<(), &'static str> {
        let mut next = first;
        for room in (0..BURST).rev() {
            let Some(message) = next.take() else { break };
            if !self.sessions.0.lease.serves(self.term) {
                lasting.inbox.put_back([message].into_iter());
                break;
            }
            self.needed_at = Instant::now();
            self.advance(lasting);
            self.handle(message, lasting).await?;
            self.release(&mut lasting.presence);
            next = if room > 0 {
                lasting.inbox.next_now()
            } else {
                None
            };
        }
        Ok(())
    }

    async fn handle(
        &mut self,
        message: Message,
        lasting: &mut Lasting,
    ) -> Result<(), &'static str> {
        let presence = &mut lasting.presence;
        match message {
            Message::Execute(Execute {
                command,
                op,
                reply,
                until,
                ..
            }) => {
                if until <= Instant::now() {
                    reply.send(Err(Error::Unavailable));
                    return Ok(());
                }
                return self.execute(command, op, reply, presence).await;
            }
            Message::Create {
                command,
                key,
                reply,
            } => {
                self.create_key = Some(key);
                self.execute(command, None, reply, presence).await?;
                self.unmade = self.state.seq() == Seq::ZERO;
            }
            Message::Read { caller, reply } => {
                let seen = self
                    .seen_by(caller)
                    .map(|()| (self.show.freeze(&self.state), self.state.seq()));
                self.held.push(self.state.seq(), Held::Read(reply, seen));
            }
            Message::Ask { reply } => {
                let seq = self.state.seq();
                self.held.push(seq, Held::Sight(reply, seq));
            }
            Message::Watch(watch) => {
                let basis = self.basis(&watch).await?;
                self.held.push(self.state.seq(), Held::Join(watch, basis));
            }
            Message::Resync(watch) => {
                let basis = self.basis(&watch).await?;
                self.held.push(self.state.seq(), Held::Resync(watch, basis));
            }
            Message::Signal {
                sender,
                from,
                kind,
                data,
                reply,
            } => {
                let passed = self.audience.signal(sender, from, &kind, data);
                reply.send(passed.map_err(|_| Refusal::NotMember.into()));
            }
            Message::Watching { from, at, watching } => {
                self.hear_watching(from, at, watching, lasting);
            }
            // It takes another for the owner: the store says who is right.
            Message::WhoWatches => {
                if self.is_superseded().await.unwrap_or(false) {
                    return Err("superseded");
                }
            }
            // That the raid is not ours to own is looked at in every turn.
            Message::Newer => {}
            Message::Take { online, .. } => self.take(&online, lasting),
        }
        Ok(())
    }

    fn seen_by(&self, caller: Caller) -> Result<(), Error> {
        if caller.may_see(&self.state) {
            Ok(())
        } else {
            Err(Refusal::NotFound.into())
        }
    }

    /// What a watch begins with. A client that is ahead of us knows more: then the store is asked for a later owner.
    async fn basis(&mut self, watch: &Watch) -> Result<Result<Basis, Error>, &'static str> {
        let ahead = watch.since.is_some_and(|since| since > self.state.seq());
        if ahead && self.seen_by(watch.caller).is_ok() {
            match self.is_superseded().await {
                Ok(false) => {}
                Ok(true) => return Err("superseded"),
                Err(error) => return Ok(Err(error)),
            }
        }
        Ok(self.show.basis(&self.state, watch))
    }

    /// Whether the store knows of a later owner than this session.
    async fn is_superseded(&self) -> Result<bool, Error> {
        let head = timeout(
            HEAD_PATIENCE,
            self.sessions.0.store.head(self.audience.raid()),
        )
        .await;
        let head = head.ok().and_then(Result::ok).ok_or(Error::Unavailable)?;
        Ok(head.is_some_and(|head| head.epoch != self.epoch))
    }

    async fn execute(
        &mut self,
        command: raid::RaidCommand,
        op: Option<OpHash>,
        reply: Reply<Ack>,
        presence: &Presence,
    ) -> Result<(), &'static str> {
        let result = match self.taken_effect(op).await {
            Ok(Some(seq)) => Ok(Ack {
                seq,
                duplicate: true,
            }),
            // The store was asked meanwhile: what is remembered may have become history.
            Ok(None) if !self.sessions.0.lease.serves(self.term) => Err(Error::Unavailable),
            Ok(None) => {
                match catch_unwind(AssertUnwindSafe(|| self.decide(&command, op, presence))) {
                    Ok(decided) => decided
                        .map(|seq| Ack {
                            seq,
                            duplicate: false,
                        })
                        .map_err(Error::from),
                    Err(_) => {
                        error!(?command, "a command panicked; its raid reloads");
                        reply.send(Err(Error::Internal));
                        return Err("panic");
                    }
                }
            }
            Err(error) => Err(error),
        };
        reply.note("decided");
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
        self.sessions
            .0
            .store
            .find_op(self.audience.raid(), op)
            .await
            .map_err(|error| {
                warn!(?error, "an op could not be looked up");
                Error::Unavailable
            })
    }

    /// Decides a command and applies what it causes. Gives the seq of the last event.
    fn decide(
        &mut self,
        command: &raid::RaidCommand,
        op: Option<OpHash>,
        presence: &Presence,
    ) -> Result<Seq, Refusal> {
        #[cfg(test)]
        super::tests::panic_if_told(command);
        let context = Context {
            now: self.sessions.0.clock.now(),
            online: presence.online(),
        };
        let mut events = raid::decide(&self.state, command, context)?;
        for event in &events {
            raid::apply(&mut self.state, event);
        }
        if let (Some(op), Some(last)) = (op, events.last()) {
            self.ops.insert(op, last.seq);
        }
        let last = events.pop().map(|event| LedgerEvent { event, op });
        self.building.extend(
            events
                .into_iter()
                .map(|event| LedgerEvent { event, op: None })
                .chain(last),
        );
        Ok(self.state.seq())
    }

    /// Whether more may be decided while earlier commits are in flight.
    fn has_room(&self) -> bool {
        self.flights.len() < FLIGHTS_MAX && self.held.len() < HELD_MAX
    }
}
