//! The registry: the map from a raid's id to its session. It finds or starts a session, and passes
//! requests to it.

use std::collections::BTreeSet;
use std::ops::Deref;
use std::sync::Arc;

use dashmap::mapref::entry::Entry;
use dashmap::{DashMap, DashSet};
use parking_lot::Mutex;
use raidhall_protocol::{PlayerId, RaidId, Seq};
use serde_json::Value;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{Semaphore, oneshot, watch};
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{Instrument, info_span, warn};

use super::access::AccessQueue;
use super::actor::{Actor, Origin};
use super::command_metrics::measure_reply;
use super::mailbox::{Mailbox, MailboxSender};
use super::message::{ExecuteRequest, ReceivedReport, SessionMessage, SignalRequest, WatchRequest};
use super::{COMMAND_WAIT_MAX, Caller, Dependencies, Options, Reply, create, load};
use crate::clock::Clock;
use crate::cluster::client::{ClusterClient, OwnerStatus};
use crate::cluster::lease::Lease;
use crate::cluster::message::WatcherReport;
use crate::cluster::ownership::OwnershipClient;
use crate::error::Error;
use crate::fanout::audience::{Audience, HistoryLoss};
use crate::fanout::outbox::{ConnectionId, Outbox, OutboxReply, WatchId};
use crate::raid::{self, Ack};
use crate::store::journal::Journal;
use crate::store::{ConnectionShares, Epoch, InstanceId, OpHash, Store};
use crate::task_group::TaskGroup;

/// The registry of this instance's sessions. Cheap to clone.
#[derive(Clone)]
pub struct Registry(Arc<RegistryInner>);

/// State and services that all sessions share.
pub struct RegistryInner {
    pub(super) store: Arc<dyn Store>,
    pub(super) journal: Journal,
    pub(super) clock: Arc<Clock>,
    pub(super) lease: Arc<Lease>,
    pub(super) cluster: ClusterClient,
    pub(super) claims: OwnershipClient,
    pub(super) options: Options,
    pub(super) sessions: DashMap<RaidId, SessionHandle>,
    pub(super) access: AccessQueue,
    /// Owned raids whose session has ended; the next [`Registry::release_idle`] releases them in
    /// the store.
    pub(super) awaiting_release: Mutex<Vec<(RaidId, Epoch)>>,
    pub(super) raid_ids: create::RaidIdAllocator,
    pub(super) load_permits: Semaphore,
    /// Number of raids that this instance owns.
    pub(super) owned_count: watch::Sender<usize>,
    /// Raids that a newer release has written; this instance can only follow them.
    pub(super) follow_only: DashSet<RaidId>,
    /// Cancelled when a drain begins: from then on no raid is claimed, and owned raids are handed
    /// over.
    pub(super) handing_over: CancellationToken,
    pub(super) tasks: TaskGroup,
    pub(super) stop: CancellationToken,
}

/// Counts one raid as owned by this instance until it is dropped.
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
    /// Loads and folds the raid of an audience from the store. Waits without limit for one of the
    /// few load permits, then at most `load_timeout` for the store. Fails if the store lacks events
    /// that the audience knows.
    pub(super) async fn load(
        &self,
        audience: &Audience,
        op_keys: u64,
    ) -> Result<Option<load::FoldedRaid>, load::LoadError> {
        let _permit = self.load_permits.acquire().await;
        if let Some(HistoryLoss { found, expected }) = audience.lost_history() {
            load::check_history(audience.raid(), found, expected)?;
        }
        // Read before the store is, so that the store has to have at least as much.
        let known = audience.newest_known_seq();
        let raid = audience.raid();
        let loading = self.store.load(raid, op_keys);
        let folding = load::load_raid(&*self.store, raid, loading, known);
        timeout(self.options.load_timeout, folding)
            .await
            .unwrap_or(Err(load::LoadError::Timeout))
    }
}

/// Handle to a session: its mailbox, its audience, and the players whose access was checked.
pub(super) struct SessionHandle {
    mailbox: MailboxSender,
    audience: Arc<Audience>,
    admitted: BTreeSet<PlayerId>,
}

impl SessionHandle {
    fn wake(&self) {
        // A session with a full mailbox is awake.
        let _ = self.mailbox.try_send(SessionMessage::Wake);
    }
}

impl Deref for Registry {
    type Target = RegistryInner;

    fn deref(&self) -> &RegistryInner {
        &self.0
    }
}

impl Registry {
    /// Creates a registry without sessions. Sessions are spawned on `tasks` and end when `stop` is
    /// cancelled.
    pub fn new(
        parts: Dependencies,
        options: Options,
        tasks: TaskGroup,
        stop: CancellationToken,
    ) -> Self {
        let Dependencies {
            store,
            journal,
            clock,
            lease,
            cluster,
            claims,
        } = parts;
        Self(Arc::new(RegistryInner {
            store,
            journal,
            clock,
            lease,
            cluster,
            claims,
            load_permits: Semaphore::new(
                ConnectionShares::new(options.store_connections).loads_max(),
            ),
            options,
            sessions: DashMap::new(),
            access: AccessQueue::default(),
            awaiting_release: Mutex::default(),
            raid_ids: create::RaidIdAllocator::default(),
            owned_count: watch::Sender::new(0),
            follow_only: DashSet::new(),
            handing_over: CancellationToken::new(),
            tasks,
            stop,
        }))
    }

    /// Executes a command, and waits until it is committed or refused.
    pub async fn execute(
        &self,
        raid: RaidId,
        command: raid::RaidCommand,
        op: Option<OpHash>,
    ) -> Result<Ack, Error> {
        request_reply(|reply| self.submit(raid, command, op, reply)).await
    }

    /// Submits a command; `reply` receives the result, after the replies to earlier commands. A
    /// command that does not start within [`COMMAND_WAIT_MAX`] fails with `unavailable`.
    pub fn submit(
        &self,
        raid: RaidId,
        command: raid::RaidCommand,
        op: Option<OpHash>,
        reply: Reply<Ack>,
    ) {
        let deadline = Instant::now() + COMMAND_WAIT_MAX;
        let reply = measure_reply(command.kind(), raid, reply);
        self.send(
            raid,
            SessionMessage::Execute(ExecuteRequest {
                command,
                op,
                reply,
                deadline,
                forwarded_by: None,
            }),
        );
    }

    /// Submits a command that another instance forwarded. The reply is [`Error::NotOwner`] if this
    /// instance neither owns the raid nor can claim it. After `deadline` the command is not
    /// started.
    pub fn submit_forwarded(
        &self,
        raid: RaidId,
        from: InstanceId,
        command: raid::RaidCommand,
        op: OpHash,
        deadline: Instant,
        reply: Reply<Ack>,
    ) {
        self.send(
            raid,
            SessionMessage::Execute(ExecuteRequest {
                command,
                op: Some(op),
                reply,
                deadline,
                forwarded_by: Some(from),
            }),
        );
    }

    /// Accepts a report of the players who watched at another instance, from its message of this
    /// number, and the seq that the raid has there. The sender takes this instance for the raid's
    /// owner.
    pub fn receive_watcher_report(
        &self,
        raid: RaidId,
        from: InstanceId,
        number: u64,
        seq: Seq,
        report: WatcherReport,
    ) {
        if report.watched || self.sessions.contains_key(&raid) {
            let received = ReceivedReport {
                from,
                number,
                // A follower has a seq as soon as it has a replica, which it subscribes for.
                is_subscribed: seq > Seq::ZERO,
                report,
            };
            self.send(raid, SessionMessage::WatcherReport(received));
        }
    }

    /// Asks the raid's session to report its watchers to the owner. Returns `false` if there are
    /// certainly no watchers here; otherwise the session sends the report.
    pub fn request_watcher_report(&self, raid: RaidId) -> bool {
        self.sessions.get(&raid).is_some_and(|session| {
            session
                .mailbox
                .try_send(SessionMessage::RequestWatcherReport)
                .is_ok()
                || session.audience.is_watched()
        })
    }

    /// Accepts a raid from another instance, which has released it and names this one its
    /// successor.
    pub fn accept_handover(&self, raid: RaidId, from: InstanceId, online: Vec<PlayerId>) {
        self.send(raid, SessionMessage::Handover { from, online });
    }

    /// Reports the raid's newest seq and online players to another instance; [`Error::NotOwner`]
    /// without a session here.
    pub fn query_status(&self, raid: RaidId, reply: Reply<OwnerStatus>) {
        let session = self.sessions.get(&raid);
        match session.map(|session| session.mailbox.clone()) {
            Some(mailbox) => {
                if let Err(error) = mailbox.try_send(SessionMessage::QueryStatus { reply }) {
                    error.into_inner().fail(Error::Overloaded);
                }
            }
            None => reply.send(Err(Error::NotOwner)),
        }
    }

    /// Records that a newer release has written this raid, so that this instance can only follow
    /// it.
    pub fn mark_follow_only(&self, raid: RaidId) {
        if self.follow_only.insert(raid)
            && let Some(session) = self.sessions.get(&raid)
        {
            session.wake();
        }
    }

    pub(super) fn can_claim(&self, raid: RaidId) -> bool {
        !self.handing_over.is_cancelled() && !self.follow_only.contains(&raid)
    }

    /// Hands all owned raids over to other instances and claims no more; returns when no owned raid
    /// is left. Followers then serve the clients that are still connected here.
    pub async fn hand_over_all(&self) {
        self.handing_over.cancel();
        let mut owned = self.owned_count.subscribe();
        // The wait cannot fail: `self` holds the sender.
        let _ = owned.wait_for(|count| *count == 0).await;
        // A raid that the store still lists as owned by this instance has no session here, so it is
        // released.
        match self.store.owned_raids(self.cluster.instance()).await {
            Ok(left) => self.awaiting_release.lock().extend(left),
            Err(error) => warn!(
                ?error,
                "listing the raids that this instance still owns failed"
            ),
        }
        self.release_idle().await;
    }

    /// Starts a watch. The result arrives in the outbox, as [`OutboxReply::Joined`] or
    /// [`OutboxReply::Refused`].
    pub fn watch(
        &self,
        outbox: Arc<Outbox>,
        watch_id: WatchId,
        caller: Caller,
        since: Option<Seq>,
    ) {
        let reply = refusal_reply(&outbox, watch_id);
        self.send_watch(outbox, watch_id, caller, since, reply);
    }

    /// Starts a watch, and waits until it is accepted or refused. If it is accepted,
    /// [`OutboxReply::Joined`] arrives in the outbox.
    pub async fn open_watch(
        &self,
        outbox: Arc<Outbox>,
        watch_id: WatchId,
        caller: Caller,
        since: Option<Seq>,
    ) -> Result<(), Error> {
        request_reply(|reply| self.send_watch(outbox, watch_id, caller, since, reply)).await
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

    /// Requests a snapshot for a watch that fell behind. The result arrives in the outbox, as
    /// [`OutboxReply::Resynced`] or [`OutboxReply::Refused`].
    pub fn resync(&self, outbox: Arc<Outbox>, watch_id: WatchId, caller: Caller) {
        let reply = refusal_reply(&outbox, watch_id);
        self.send(
            watch_id.raid,
            SessionMessage::Resync(WatchRequest {
                outbox,
                watch_id,
                caller,
                since: None,
                reply,
            }),
        );
    }

    /// Sends a signal to a raid that the sender does not watch.
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
            SessionMessage::Signal(SignalRequest {
                sender,
                from,
                kind,
                data,
                reply,
            }),
        );
    }

    /// Delivers a signal from a member at another instance. It bypasses the mailbox, because the
    /// session may be waiting for the store.
    pub fn deliver_signal(
        &self,
        raid: RaidId,
        instance: InstanceId,
        number: u64,
        from: PlayerId,
        kind: &str,
        data: Value,
    ) {
        if let Some(session) = self.sessions.get(&raid) {
            let now = self.clock.now();
            session
                .audience
                .deliver_signal(instance, number, from, now, kind, data);
        }
    }

    /// Starts the raid's session if it has none, so that its deadline takes effect.
    pub fn ensure_live(&self, raid: RaidId) {
        if let Entry::Vacant(vacant) = self.sessions.entry(raid) {
            vacant.insert(self.start_session(raid, Origin::Stored));
        }
    }

    /// Wakes the session of a raid whose deadline is due. Its own timer is late if time has jumped
    /// ahead.
    pub fn wake(&self, raid: RaidId) {
        if let Some(session) = self.sessions.get(&raid) {
            session.wake();
        }
    }

    /// Returns the number of sessions.
    pub fn live_count(&self) -> usize {
        self.sessions.len()
    }

    /// Releases owned raids whose session has ended. Called at every scan for due raids; a
    /// failed release is retried with the next call.
    pub async fn release_idle(&self) {
        let idle = std::mem::take(&mut *self.awaiting_release.lock());
        if idle.is_empty() {
            return;
        }
        if let Err(error) = self.store.release(&idle, self.cluster.instance()).await {
            warn!(raids = idle.len(), error = ?error, "releasing idle raids failed; retrying at the next scan");
            self.awaiting_release.lock().extend(idle);
        }
    }

    /// Returns the number of raids that wait for their release.
    #[cfg(test)]
    pub(super) fn awaiting_release_count(&self) -> usize {
        self.awaiting_release.lock().len()
    }

    /// Sends a message, after an access check if a player requests something.
    pub(super) fn send(&self, raid: RaidId, message: SessionMessage) {
        let Some(player) = message.requesting_player() else {
            return self.deliver(raid, Origin::Stored, message);
        };
        let registry = self.clone();
        self.check_access(raid, player, move |access| match access {
            Ok(()) => registry.deliver(raid, Origin::Stored, message),
            Err(error) => message.fail(error),
        });
    }

    /// Returns whether the session here knows the player as a present or former member.
    pub(super) fn knows_player(&self, raid: RaidId, player: PlayerId) -> bool {
        self.sessions.get(&raid).is_some_and(|session| {
            session.admitted.contains(&player) || session.audience.is_member(player)
        })
    }

    /// Puts a message into the session's mailbox, starting the session if needed. A player who
    /// requests something has access. Holds the map entry's lock, so that a session that ends
    /// because its mailbox is empty cannot miss the message.
    pub(super) fn deliver(&self, raid: RaidId, origin: Origin, message: SessionMessage) {
        if self.stop.is_cancelled() {
            return message.fail(Error::Unavailable);
        }
        let mut session = self
            .sessions
            .entry(raid)
            .or_insert_with(|| self.start_session(raid, origin));
        session.admitted.extend(message.requesting_player());
        let message = match session.mailbox.try_send(message) {
            Ok(()) => return,
            Err(error) => match *error {
                TrySendError::Full(message) => return message.fail(Error::Overloaded),
                TrySendError::Closed(message) => message,
            },
        };
        *session = self.start_session(raid, Origin::Stored);
        if let Err(error) = session.mailbox.try_send(message) {
            error.into_inner().fail(Error::Unavailable);
        }
    }

    fn start_session(&self, raid: RaidId, origin: Origin) -> SessionHandle {
        let (sender, mailbox) = Mailbox::new(self.options.mailbox_messages_max);
        let audience = Arc::new(Audience::new(raid, self.options.ring()));
        let actor = Actor::new(self.clone(), raid, Arc::clone(&audience), mailbox, origin);
        self.tasks
            .spawn(actor.run().instrument(info_span!("session", %raid)));
        SessionHandle {
            mailbox: sender,
            audience,
            admitted: BTreeSet::new(),
        }
    }

    /// Removes a session if its mailbox is empty and the raid has no watchers. Returns whether it
    /// did.
    pub(super) fn remove_if_idle(&self, raid: RaidId, mailbox: &Mailbox) -> bool {
        self.sessions
            .remove_if(&raid, |_, session| {
                mailbox.is_empty() && !session.audience.is_watched()
            })
            .is_some()
    }
}

/// Passes a new reply to `submit`, and waits for the result. `unavailable` if the reply is dropped.
pub(super) async fn request_reply<T: Send + 'static>(
    submit: impl FnOnce(Reply<T>),
) -> Result<T, Error> {
    let (sender, answer) = oneshot::channel();
    submit(Reply::new(move |result| {
        // The requester may have stopped waiting.
        let _ = sender.send(result);
    }));
    answer.await.unwrap_or(Err(Error::Unavailable))
}

/// Returns a reply that puts a failure into the outbox; on success the watch's first frame is the
/// answer.
fn refusal_reply(outbox: &Arc<Outbox>, watch_id: WatchId) -> Reply<()> {
    let outbox = Arc::clone(outbox);
    Reply::new(move |result| {
        if let Err(error) = result {
            outbox.push_reply(OutboxReply::Refused {
                ticket: watch_id,
                error,
            });
        }
    })
}
