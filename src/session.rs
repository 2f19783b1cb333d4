//! Raids, live: one actor task for each raid that somebody needs now.
//!
//! Everybody else asks [`Sessions`] by the raid's id: it finds the session or starts it, and a full inbox is a typed
//! refusal at once. A raid that nobody needs has no task and no memory.

mod actor;
mod create;
mod held;
mod live;
mod load;
mod message;
mod ops;
mod presence;
mod reply;
#[cfg(test)]
mod tests;

use crate::audience::{Audience, RingOptions};
use crate::clock::Clock;
use crate::cluster::lease::Lease;
use crate::error::Error;
use crate::outbox::{Answer, ConnectionId, Outbox, Ticket};
use crate::raid;
use crate::store::journal::Journal;
use crate::store::{Epoch, InstanceId, OpHash, Store};
use crate::telemetry::metrics;
use actor::{Actor, Origin};
use dashmap::DashMap;
use dashmap::mapref::entry::Entry;
use message::{Message, Watch};
use parking_lot::Mutex;
use raidhall_protocol::{PlayerId, RaidId, RaidState, Seq};
pub use reply::Reply;
use serde_json::Value;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{Instrument, info_span, warn};

/// How sessions behave.
#[derive(Debug, Clone)]
pub struct Options {
    /// Requests that wait for one raid at most; one more is `overloaded`.
    pub inbox: usize,
    /// How long a raid that nobody needs stays live.
    pub idle_timeout: Duration,
    /// How long a player stays online after its last watch drops.
    pub presence_grace: Duration,
    /// How long the leader may be offline while somebody else is online.
    pub leader_grace: Duration,
    /// Op keys held in memory for each raid.
    pub op_keys: usize,
    /// Events after a snapshot before the next one is considered.
    pub snapshot_min_events: u64,
    /// How far behind a returning client may be to get a replay.
    pub replay_events: u64,
    /// What each raid's ring holds.
    pub ring: RingOptions,
    /// How long a raid is tried to be loaded before those who wait get `unavailable`.
    pub load_patience: Duration,
}

/// Who asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Caller {
    /// A player, who sees the raids they are a member of.
    Player(PlayerId),
    /// The host app's backend, which sees every raid.
    Service,
    /// An operator, who sees every raid.
    Admin,
}

impl Caller {
    /// Whether this caller may see a raid.
    pub fn may_see(self, raid: &raid::State) -> bool {
        match self {
            Self::Player(player) => raid.is_member(player),
            Self::Service | Self::Admin => raid.seq() > Seq::ZERO,
        }
    }

    /// The player, if it is one.
    pub const fn player(self) -> Option<PlayerId> {
        match self {
            Self::Player(player) => Some(player),
            Self::Service | Self::Admin => None,
        }
    }
}

/// A command is committed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ack {
    /// The seq of the last event it caused.
    pub seq: Seq,
    /// Whether its op had taken effect before.
    pub duplicate: bool,
}

/// A raid as of one committed seq.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct View {
    /// What everybody sees.
    pub state: Arc<RaidState>,
    /// The seq that the state is a function of.
    pub seq: Seq,
    /// The members who are online.
    pub online: Vec<PlayerId>,
}

/// All live raids of this instance. Cheap to clone.
#[derive(Clone)]
pub struct Sessions(Arc<Hall>);

/// What every session shares.
struct Hall {
    store: Arc<dyn Store>,
    journal: Journal,
    clock: Arc<Clock>,
    lease: Arc<Lease>,
    instance: InstanceId,
    options: Options,
    live: DashMap<RaidId, Live>,
    /// Raids whose session ended, to be given back to the store with the next [`Sessions::release_idle`].
    idle: Mutex<Vec<(RaidId, Epoch)>>,
    ids: create::Ids,
    tasks: TaskTracker,
    stop: CancellationToken,
}

/// What is known of a live raid from outside.
struct Live {
    inbox: mpsc::Sender<Message>,
    audience: Arc<Audience>,
}

impl Sessions {
    /// No session yet; they will be spawned on `tasks` and end when `stop` is cancelled.
    #[allow(clippy::too_many_arguments, reason = "called once, where the parts are wired")]
    pub fn new(
        store: Arc<dyn Store>,
        journal: Journal,
        clock: Arc<Clock>,
        lease: Arc<Lease>,
        instance: InstanceId,
        options: Options,
        tasks: TaskTracker,
        stop: CancellationToken,
    ) -> Self {
        let (live, idle, ids) = (DashMap::new(), Mutex::default(), create::Ids::default());
        Self(Arc::new(Hall { store, journal, clock, lease, instance, options, live, idle, ids, tasks, stop }))
    }

    /// Carries a command out and waits until it is committed or refused.
    pub async fn execute(
        &self,
        raid: RaidId,
        command: raid::Command,
        op: Option<OpHash>,
    ) -> Result<Ack, Error> {
        asked(|reply| self.submit(raid, command, op, reply)).await
    }

    /// Hands a command in; the answer comes through `reply`, after those handed in before it.
    pub fn submit(&self, raid: RaidId, command: raid::Command, op: Option<OpHash>, reply: Reply<Ack>) {
        self.send(raid, Message::Execute { command, op, reply });
    }

    /// The raid as the caller may see it. A raid that is not live is read from the store and stays so.
    pub async fn read(&self, raid: RaidId, caller: Caller) -> Result<View, Error> {
        if !self.0.live.contains_key(&raid) {
            let folded = load::fold(&*self.0.store, raid, 0).await.map_err(|error| {
                warn!(%raid, error = ?error, "a raid could not be read");
                Error::Unavailable
            })?;
            let folded = folded.ok_or(raid::Refusal::NotFound)?;
            // What is due has to happen before anybody reads: then the raid is needed live.
            if folded.state.due().is_none_or(|due| due > self.0.clock.now()) {
                if !caller.may_see(&folded.state) {
                    return Err(raid::Refusal::NotFound.into());
                }
                let (state, seq) = (Arc::new(folded.state.shown().clone()), folded.state.seq());
                return Ok(View { state, seq, online: Vec::new() });
            }
        }
        asked(|reply| self.send(raid, Message::Read { caller, reply })).await
    }

    /// Starts a watch. What comes of it arrives in the outbox, as [`Answer::Joined`] or [`Answer::Refused`].
    pub fn watch(&self, outbox: Arc<Outbox>, ticket: Ticket, caller: Caller, since: Option<Seq>) {
        let reply = refusal(&outbox, ticket);
        self.send(ticket.raid, Message::Watch(Watch { outbox, ticket, caller, since, reply }));
    }

    /// Asks for a snapshot for a watch that fell behind: [`Answer::Resynced`] or [`Answer::Refused`].
    pub fn resync(&self, outbox: Arc<Outbox>, ticket: Ticket, caller: Caller) {
        let reply = refusal(&outbox, ticket);
        self.send(ticket.raid, Message::Resync(Watch { outbox, ticket, caller, since: None, reply }));
    }

    /// Passes a signal on to a raid that the sender does not watch.
    pub fn signal(
        &self,
        raid: RaidId,
        sender: ConnectionId,
        from: PlayerId,
        kind: String,
        data: Value,
        reply: Reply<()>,
    ) {
        self.send(raid, Message::Signal { sender, from, kind, data, reply });
    }

    /// Makes a raid live, for what is due in it.
    pub fn wake(&self, raid: RaidId) {
        if let Entry::Vacant(vacant) = self.0.live.entry(raid) {
            vacant.insert(self.start(raid, Origin::Stored));
        }
    }

    /// How many raids are live.
    pub fn live(&self) -> usize {
        self.0.live.len()
    }

    /// Gives raids whose session ended back to the store. Called every second; what fails is tried again.
    pub async fn release_idle(&self) {
        let idle = std::mem::take(&mut *self.0.idle.lock());
        if idle.is_empty() {
            return;
        }
        if let Err(error) = self.0.store.release(&idle, self.0.instance).await {
            warn!(raids = idle.len(), error = ?error, "idle raids could not be released");
            self.0.idle.lock().extend(idle);
        }
    }

    /// How many raids wait to be given back.
    #[cfg(test)]
    fn waiting_for_release(&self) -> usize {
        self.0.idle.lock().len()
    }

    fn send(&self, raid: RaidId, message: Message) {
        self.send_to(raid, Origin::Stored, message);
    }

    /// Sends under the map's lock, so that a session that ends because its inbox is empty cannot miss a message.
    fn send_to(&self, raid: RaidId, origin: Origin, message: Message) {
        if self.0.stop.is_cancelled() {
            return message.fail(Error::Unavailable);
        }
        let mut live = self.0.live.entry(raid).or_insert_with(|| self.start(raid, origin));
        let message = match live.inbox.try_send(message) {
            Ok(()) => return,
            Err(mpsc::error::TrySendError::Full(message)) => return message.fail(Error::Overloaded),
            Err(mpsc::error::TrySendError::Closed(message)) => message,
        };
        *live = self.start(raid, Origin::Stored);
        if let Err(error) = live.inbox.try_send(message) {
            error.into_inner().fail(Error::Unavailable);
        }
    }

    fn start(&self, raid: RaidId, origin: Origin) -> Live {
        let (inbox, messages) = mpsc::channel(self.0.options.inbox);
        let audience = Arc::new(Audience::new(raid, self.0.options.ring));
        let actor = Actor::new(self.clone(), raid, Arc::clone(&audience), messages, origin);
        self.0.tasks.spawn(actor.run().instrument(info_span!("session", %raid)));
        Live { inbox, audience }
    }

    /// Forgets a session if nothing waits in its inbox and nobody watches.
    fn forget_if_idle(&self, raid: RaidId, inbox: &mpsc::Receiver<Message>) -> bool {
        self.0.live.remove_if(&raid, |_, live| inbox.is_empty() && !live.audience.is_watched()).is_some()
    }
}

/// Asks with a reply of its own, and waits for the answer.
async fn asked<T: Send + 'static>(ask: impl FnOnce(Reply<T>)) -> Result<T, Error> {
    let (sender, answer) = oneshot::channel();
    ask(Reply::new(move |result| {
        // Who asked may be gone.
        let _ = sender.send(result);
    }));
    answer.await.unwrap_or(Err(Error::Unavailable))
}

/// A reply that tells a watch only what went wrong: success comes with its frame.
fn refusal(outbox: &Arc<Outbox>, ticket: Ticket) -> Reply<()> {
    let outbox = Arc::clone(outbox);
    Reply::new(move |result| {
        if let Err(error) = result {
            outbox.answer(Answer::Refused { ticket, error });
        }
    })
}

/// Counts what became of commands.
fn count(result: &Result<Ack, Error>) {
    metrics().commands.increment(match result {
        Ok(Ack { duplicate: false, .. }) => "committed",
        Ok(Ack { duplicate: true, .. }) => "duplicate",
        Err(error) => error.error_type().as_str(),
    });
}
