//! The map from a raid's id to its session: it finds the session or starts it, and hands requests in.

use std::ops::Deref;
use std::sync::Arc;

use dashmap::mapref::entry::Entry;
use dashmap::{DashMap, DashSet};
use parking_lot::Mutex;
use raidhall_protocol::{PlayerId, RaidId, Seq, UnixMillis};
use serde_json::Value;
use tokio::sync::{Semaphore, mpsc, oneshot, watch};
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{Instrument, info_span, warn};

use super::actor::{Actor, Origin};
use super::command_metrics::measure_reply;
use super::mailbox::Mailbox;
use super::message::{ExecuteRequest, SessionMessage, WatchRequest};
use super::{COMMAND_WAIT_MAX, Caller, Dependencies, Options, Reply, create, load};
use crate::clock::Clock;
use crate::cluster::client::{ClusterClient, OwnerStatus};
use crate::cluster::lease::Lease;
use crate::cluster::message::WatcherReport;
use crate::cluster::ownership::OwnershipClient;
use crate::error::Error;
use crate::fanout::audience::Audience;
use crate::fanout::outbox::{ConnectionId, Outbox, OutboxReply, WatchId};
use crate::raid::{self, Ack};
use crate::store::journal::Journal;
use crate::store::{Epoch, InstanceId, OpHash, Store};

/// All live raids of this instance. Cheap to clone.
#[derive(Clone)]
pub struct Registry(Arc<RegistryInner>);

/// What every session shares.
pub struct RegistryInner {
    pub(super) store: Arc<dyn Store>,
    pub(super) journal: Journal,
    pub(super) clock: Arc<Clock>,
    pub(super) lease: Arc<Lease>,
    pub(super) cluster: ClusterClient,
    pub(super) claims: OwnershipClient,
    pub(super) options: Options,
    pub(super) sessions: DashMap<RaidId, SessionHandle>,
    /// Raids whose session ended, to be given back to the store with the next [`Registry::release_idle`].
    pub(super) awaiting_release: Mutex<Vec<(RaidId, Epoch)>>,
    pub(super) raid_ids: create::RaidIdAllocator,
    pub(super) load_permits: Semaphore,
    /// How many raids are ours.
    pub(super) owned_count: watch::Sender<usize>,
    /// Raids that a newer release has written: we can only follow them.
    pub(super) follow_only: DashSet<RaidId>,
    /// Nothing is claimed any more, and what is ours is given to others.
    pub(super) handing_over: CancellationToken,
    pub(super) tasks: TaskTracker,
    pub(super) stop: CancellationToken,
}

/// Counts one raid as ours for as long as it lives.
pub(super) struct OwnedRaidGuard(watch::Sender<usize>);

impl OwnedRaidGuard {
    pub(super) fn new(owned: &watch::Sender<usize>) -> Self {
        owned.send_modify(|count| *count += 1);
        Self(owned.clone())
    }
}

impl Drop for OwnedRaidGuard {
    fn drop(&mut self) {
        self.0.send_modify(|count| *count -= 1);
    }
}

impl RegistryInner {
    /// Folds a raid from the store, a few at a time. Waits for its turn without limit, for the store with one.
    pub(super) async fn load(
        &self,
        raid: RaidId,
        op_keys: u64,
    ) -> Result<Option<load::FoldedRaid>, load::LoadError> {
        let _permit = self.load_permits.acquire().await;
        let folding = load::load_raid(&*self.store, raid, op_keys);
        timeout(self.options.load_timeout, folding)
            .await
            .unwrap_or(Err(load::LoadError::Timeout))
    }
}

/// What is known of a live raid from outside.
pub(super) struct SessionHandle {
    mailbox: mpsc::Sender<SessionMessage>,
    audience: Arc<Audience>,
}

impl Deref for Registry {
    type Target = RegistryInner;

    fn deref(&self) -> &RegistryInner {
        &self.0
    }
}

impl Registry {
    /// No session yet; they will be spawned on `tasks` and end when `stop` is cancelled.
    pub fn new(
        parts: Dependencies,
        options: Options,
        tasks: TaskTracker,
        stop: CancellationToken,
    ) -> Self {
        let Dependencies {
            store,
            journal,
            clock,
            lease,
            cluster: link,
            claims,
        } = parts;
        Self(Arc::new(RegistryInner {
            store,
            journal,
            clock,
            lease,
            cluster: link,
            claims,
            load_permits: Semaphore::new(options.concurrent_loads_max()),
            options,
            sessions: DashMap::new(),
            awaiting_release: Mutex::default(),
            raid_ids: create::RaidIdAllocator::default(),
            owned_count: watch::Sender::new(0),
            follow_only: DashSet::new(),
            handing_over: CancellationToken::new(),
            tasks,
            stop,
        }))
    }

    /// Carries a command out and waits until it is committed or refused.
    pub async fn execute(
        &self,
        raid: RaidId,
        command: raid::RaidCommand,
        op: Option<OpHash>,
    ) -> Result<Ack, Error> {
        request_reply(|reply| self.submit(raid, command, op, reply)).await
    }

    /// Hands a command in; the answer comes through `reply`, after those handed in before it. What could not be begun within
    /// [`COMMAND_WAIT_MAX`] is `unavailable`.
    pub fn submit(
        &self,
        raid: RaidId,
        command: raid::RaidCommand,
        op: Option<OpHash>,
        reply: Reply<Ack>,
    ) {
        let until = Instant::now() + COMMAND_WAIT_MAX;
        let reply = measure_reply(command.kind(), raid, reply);
        self.send(
            raid,
            SessionMessage::Execute(ExecuteRequest {
                command,
                op,
                reply,
                deadline: until,
                forwarded_by: None,
            }),
        );
    }

    /// Hands a command in that another instance forwarded: unless the raid is ours, or can be, the answer is
    /// [`Error::NotOwner`]. After `until` it is not begun.
    pub fn submit_forwarded(
        &self,
        raid: RaidId,
        from: InstanceId,
        command: raid::RaidCommand,
        op: OpHash,
        until: Instant,
        reply: Reply<Ack>,
    ) {
        let (op, from) = (Some(op), Some(from));
        self.send(
            raid,
            SessionMessage::Execute(ExecuteRequest {
                command,
                op,
                reply,
                deadline: until,
                forwarded_by: from,
            }),
        );
    }

    /// Another instance, which takes us for the raid's owner, says who watched there at a moment.
    pub fn receive_watcher_report(
        &self,
        raid: RaidId,
        from: InstanceId,
        at: UnixMillis,
        watching: WatcherReport,
    ) {
        if watching.watched || self.sessions.contains_key(&raid) {
            self.send(
                raid,
                SessionMessage::WatcherReport {
                    from,
                    at,
                    report: watching,
                },
            );
        }
    }

    /// The raid's owner asks whether anybody watches here. False if certainly nobody does; else the session says.
    pub fn request_watcher_report(&self, raid: RaidId) -> bool {
        let live = self.sessions.get(&raid);
        live.is_some_and(|live| {
            live.mailbox
                .try_send(SessionMessage::RequestWatcherReport)
                .is_ok()
                || live.audience.is_watched()
        })
    }

    /// Another instance gave the raid up and names us its heir.
    pub fn accept_handover(&self, raid: RaidId, from: InstanceId, online: Vec<PlayerId>) {
        self.send(raid, SessionMessage::Handover { from, online });
    }

    /// Another instance asks how far the raid is; [`Error::NotOwner`] if it is not live here.
    pub fn query_status(&self, raid: RaidId, reply: Reply<OwnerStatus>) {
        let live = self.sessions.get(&raid);
        match live.map(|live| live.mailbox.clone()) {
            Some(inbox) => {
                if let Err(error) = inbox.try_send(SessionMessage::QueryStatus { reply }) {
                    error.into_inner().fail(Error::Overloaded);
                }
            }
            None => reply.send(Err(Error::NotOwner)),
        }
    }

    /// A newer release has written this raid: we can only follow it.
    pub fn mark_follow_only(&self, raid: RaidId) {
        if self.follow_only.insert(raid)
            && let Some(live) = self.sessions.get(&raid)
        {
            // It only wakes: a full inbox is awake.
            let _ = live.mailbox.try_send(SessionMessage::MarkFollowOnly);
        }
    }

    pub(super) fn can_claim(&self, raid: RaidId) -> bool {
        !self.handing_over.is_cancelled() && !self.follow_only.contains(&raid)
    }

    /// Gives every raid that is ours to others, and claims none any more; ends when none is left. Clients that are connected
    /// here are served by followers from then on.
    pub async fn hand_over_all(&self) {
        self.handing_over.cancel();
        let mut owned = self.owned_count.subscribe();
        // The sender lives as long as we do.
        let _ = owned.wait_for(|count| *count == 0).await;
        // A raid that the store still counts as ours has no session here: it is released.
        match self.store.owned_raids(self.cluster.instance()).await {
            Ok(left) => self.awaiting_release.lock().extend(left),
            Err(error) => warn!(?error, "what is left of ours could not be read"),
        }
        self.release_idle().await;
    }

    /// Starts a watch. Its answer arrives in the outbox, as [`OutboxReply::Joined`] or [`OutboxReply::Refused`].
    pub fn watch(&self, outbox: Arc<Outbox>, ticket: WatchId, caller: Caller, since: Option<Seq>) {
        let reply = refusal_reply(&outbox, ticket);
        self.send_watch(outbox, ticket, caller, since, reply);
    }

    /// Starts a watch, and waits until it is allowed or refused. If it is allowed, [`OutboxReply::Joined`] arrives in the outbox.
    pub async fn open_watch(
        &self,
        outbox: Arc<Outbox>,
        ticket: WatchId,
        caller: Caller,
        since: Option<Seq>,
    ) -> Result<(), Error> {
        request_reply(|reply| self.send_watch(outbox, ticket, caller, since, reply)).await
    }

    fn send_watch(
        &self,
        outbox: Arc<Outbox>,
        watch_id: WatchId,
        caller: Caller,
        since: Option<Seq>,
        reply: Reply<()>,
    ) {
        let request = WatchRequest {
            outbox,
            watch_id,
            caller,
            since,
            reply,
        };
        self.send(watch_id.raid, SessionMessage::Watch(request));
    }

    /// Asks for a snapshot for a watch that fell behind: [`OutboxReply::Resynced`] or [`OutboxReply::Refused`].
    pub fn resync(&self, outbox: Arc<Outbox>, ticket: WatchId, caller: Caller) {
        let reply = refusal_reply(&outbox, ticket);
        self.send(
            ticket.raid,
            SessionMessage::Resync(WatchRequest {
                outbox,
                watch_id: ticket,
                caller,
                since: None,
                reply,
            }),
        );
    }

    /// Passes a signal on to a raid that the sender does not watch.
    pub fn send_signal(
        &self,
        raid: RaidId,
        sender: ConnectionId,
        from: PlayerId,
        kind: String,
        data: Value,
        reply: Reply<()>,
    ) {
        self.send(
            raid,
            SessionMessage::Signal {
                sender,
                from,
                kind,
                data,
                reply,
            },
        );
    }

    /// A member who is connected to another instance has signalled. Goes past the session, which may be waiting for the
    /// store.
    pub fn deliver_signal(&self, raid: RaidId, from: PlayerId, kind: &str, data: Value) {
        if let Some(live) = self.sessions.get(&raid) {
            live.audience.deliver_signal(from, kind, data);
        }
    }

    /// Makes a raid live, for what is due in it.
    pub fn ensure_live(&self, raid: RaidId) {
        if let Entry::Vacant(vacant) = self.sessions.entry(raid) {
            vacant.insert(self.start_session(raid, Origin::Stored));
        }
    }

    /// How many raids are live.
    pub fn live_count(&self) -> usize {
        self.sessions.len()
    }

    /// Gives raids whose session ended back to the store. Called every second; what fails is tried again.
    pub async fn release_idle(&self) {
        let idle = std::mem::take(&mut *self.awaiting_release.lock());
        if idle.is_empty() {
            return;
        }
        if let Err(error) = self.store.release(&idle, self.cluster.instance()).await {
            warn!(raids = idle.len(), error = ?error, "idle raids could not be released");
            self.awaiting_release.lock().extend(idle);
        }
    }

    /// How many raids wait to be given back.
    #[cfg(test)]
    pub(super) fn awaiting_release_count(&self) -> usize {
        self.awaiting_release.lock().len()
    }

    pub(super) fn send(&self, raid: RaidId, message: SessionMessage) {
        self.send_with_origin(raid, Origin::Unverified, message);
    }

    /// Sends under the map's lock, so that a session that ends because its inbox is empty cannot miss a message.
    pub(super) fn send_with_origin(&self, raid: RaidId, origin: Origin, message: SessionMessage) {
        if self.stop.is_cancelled() {
            return message.fail(Error::Unavailable);
        }
        let mut live = self
            .sessions
            .entry(raid)
            .or_insert_with(|| self.start_session(raid, origin));
        let message = match live.mailbox.try_send(message) {
            Ok(()) => return,
            Err(mpsc::error::TrySendError::Full(message)) => {
                return message.fail(Error::Overloaded);
            }
            Err(mpsc::error::TrySendError::Closed(message)) => message,
        };
        *live = self.start_session(raid, Origin::Unverified);
        if let Err(error) = live.mailbox.try_send(message) {
            error.into_inner().fail(Error::Unavailable);
        }
    }

    fn start_session(&self, raid: RaidId, origin: Origin) -> SessionHandle {
        let (inbox, messages) = mpsc::channel(self.options.mailbox_messages_max);
        let audience = Arc::new(Audience::new(raid, self.options.ring()));
        let actor = Actor::new(self.clone(), raid, Arc::clone(&audience), messages, origin);
        self.tasks
            .spawn(actor.run().instrument(info_span!("session", %raid)));
        SessionHandle {
            mailbox: inbox,
            audience,
        }
    }

    /// Forgets a session if nothing waits in its inbox and nobody watches.
    pub(super) fn remove_if_idle(&self, raid: RaidId, inbox: &Mailbox) -> bool {
        self.sessions
            .remove_if(&raid, |_, live| {
                inbox.is_empty() && !live.audience.is_watched()
            })
            .is_some()
    }
}

/// Asks with a reply of its own, and waits for the answer.
pub(super) async fn request_reply<T: Send + 'static>(
    ask: impl FnOnce(Reply<T>),
) -> Result<T, Error> {
    let (sender, answer) = oneshot::channel();
    ask(Reply::new(move |result| {
        // Who asked may be gone.
        let _ = sender.send(result);
    }));
    answer.await.unwrap_or(Err(Error::Unavailable))
}

/// A reply that tells a watch only what went wrong: success comes with its frame.
fn refusal_reply(outbox: &Arc<Outbox>, ticket: WatchId) -> Reply<()> {
    let outbox = Arc::clone(outbox);
    Reply::new(move |result| {
        if let Err(error) = result {
            outbox.push_reply(OutboxReply::Refused { ticket, error });
        }
    })
}
