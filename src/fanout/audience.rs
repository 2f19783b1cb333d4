//! The audience of a raid: its watches on this instance, and a bounded ring of its recent events.
//!
//! A watch is a cursor into the ring: publishing encodes an event once per encoding and wakes the
//! connections; each connection's writer pulls what its client can take. Numbered events are never
//! queued per connection.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use crate::fanout::ring::Ring;
pub use crate::fanout::ring::{PullResult, RingOptions};
use parking_lot::Mutex;
use raidhall_protocol::event::LeaveReason;
use raidhall_protocol::server::UnwatchReason;
use raidhall_protocol::state::Member;
use raidhall_protocol::{Event, EventData, PlayerId, RaidId, Seq, ServerMessage, UnixMillis};
use serde_json::Value;
use tokio::sync::Notify;

use crate::cluster::client::{ClusterClient, MessageHeader};
use crate::cluster::message::ClusterMessage;
use crate::fanout::frame::{Encoding, LazyFrames, SharedFrames};
use crate::fanout::outbox::{ConnectionId, Outbox, OutboxReply, Signal, WatchId};
use crate::raid::Refusal;
use crate::store::{Epoch, InstanceId};

/// One raid's watches on this instance, and its ring of recent events.
pub struct Audience {
    raid: RaidId,
    head: AtomicU64,
    /// Newest seq seen in the store, where another instance owns the raid.
    stored_seq: AtomicU64,
    /// Set once it is proven that the store has lost events.
    lost_history: OnceLock<HistoryLoss>,
    state: Mutex<AudienceState>,
    changed: Notify,
}

/// Proof that the store has lost events of a raid: it holds others under their seqs, or soon will.
#[derive(Debug, Clone, Copy)]
pub struct HistoryLoss {
    /// The newest seq that the store had kept.
    pub found: Seq,
    /// The newest committed seq.
    pub expected: Seq,
}

struct AudienceState {
    ring: Ring,
    watches: BTreeMap<ConnectionId, AudienceWatch>,
    members: BTreeSet<PlayerId>,
    /// Members who may not send signals before a time.
    muted: BTreeMap<PlayerId, UnixMillis>,
    /// Client and owner's epoch for relaying signals over the bus, while other instances may have
    /// watchers.
    signal_relay: Option<(ClusterClient, Epoch)>,
    /// Message number of the latest signal from each instance that has sent one. Signals that the bus
    /// repeats or delivers late are dropped.
    latest_signals: BTreeMap<InstanceId, u64>,
}

struct AudienceWatch {
    outbox: Arc<Outbox>,
    watch_id: WatchId,
    player: Option<PlayerId>,
}

impl Audience {
    /// Creates an audience without watches and with an empty history.
    pub fn new(raid: RaidId, options: RingOptions) -> Self {
        let state = Mutex::new(AudienceState {
            ring: Ring::new(options),
            watches: BTreeMap::new(),
            members: BTreeSet::new(),
            muted: BTreeMap::new(),
            signal_relay: None,
            latest_signals: BTreeMap::new(),
        });
        Self {
            raid,
            head: AtomicU64::new(0),
            stored_seq: AtomicU64::new(0),
            lost_history: OnceLock::new(),
            state,
            changed: Notify::new(),
        }
    }

    pub const fn raid(&self) -> RaidId {
        self.raid
    }

    /// Returns the newest published seq.
    pub fn head(&self) -> Seq {
        Seq(self.head.load(Ordering::Acquire))
    }

    /// Returns the newest seq known here: published, or seen in the store.
    pub fn newest_known_seq(&self) -> Seq {
        self.head()
            .max(Seq(self.stored_seq.load(Ordering::Relaxed)))
    }

    /// Records that the store holds events up to `seq`.
    pub fn record_stored_seq(&self, seq: Seq) {
        self.stored_seq.fetch_max(seq.0, Ordering::Relaxed);
    }

    /// Returns the proof that the store has lost events, if there is one.
    pub fn lost_history(&self) -> Option<HistoryLoss> {
        self.lost_history.get().copied()
    }

    /// Records the first proof that the store has lost events. From then on the raid cannot be
    /// loaded for this audience.
    pub fn record_lost_history(&self, lost: HistoryLoss) {
        let _ = self.lost_history.set(lost);
    }

    /// Starts to relay signals over the bus, under the epoch of the raid's owner; `None` stops it.
    pub fn set_signal_relay(&self, relay: Option<(ClusterClient, Epoch)>) {
        self.state.lock().signal_relay = relay;
    }

    /// Adopts the raid from the store: its members at `seq`, which is not below the head, and the
    /// events that the ring lacks. `tail` are the latest events up to `seq`. If they do not reach
    /// back to the ring's head, the ring restarts empty at `seq`, and watches that are behind get a
    /// snapshot.
    pub fn sync_from_store(&self, seq: Seq, members: &[Member], tail: &[Event]) {
        let head = self.head();
        let missing = tail
            .iter()
            .filter(|event| event.seq > head)
            .cloned()
            .collect::<Vec<_>>();
        if missing
            .first()
            .is_some_and(|event| event.seq == head.next())
            && head > Seq::ZERO
        {
            self.publish(&missing);
        }
        let mut inner = self.state.lock();
        if self.head() < seq {
            inner.ring.reset(seq);
            self.head.store(seq.0, Ordering::Release);
            for watch in inner.watches.values() {
                watch.outbox.wake();
            }
        }
        inner.members = members.iter().map(|member| member.player).collect();
        inner.muted = members
            .iter()
            .filter_map(|member| Some((member.player, member.muted_until?)))
            .collect();
    }

    /// Publishes committed events to all watches; they must follow the head without a gap. If they
    /// erase a player, earlier events leave the ring: watches read them from the store, where the
    /// eraser rewrites them.
    pub fn publish(&self, events: &[Event]) {
        let frames = events.iter().map(|event| {
            (
                event.seq,
                SharedFrames::new(&ServerMessage::Event {
                    raid: self.raid,
                    event: event.clone(),
                }),
            )
        });
        let frames = frames.collect::<Vec<_>>();
        let erased = events
            .iter()
            .any(|event| matches!(event.data, EventData::PlayerErased { .. }));
        let mut inner = self.state.lock();
        if let Some(first) = events.first().filter(|_| erased) {
            inner.ring.evict_before(first.seq);
        }
        for (seq, frames) in frames {
            inner.ring.push(seq, frames);
            self.head.store(seq.0, Ordering::Release);
        }
        for event in events {
            inner.apply_event(event);
        }
        for watch in inner.watches.values() {
            watch.outbox.wake();
        }
    }

    /// Pulls frames after `cursor` for one watch: up to `until` for a watch that ends there. A
    /// watch that has been removed gets [`PullResult::Ended`] unless it gives `until`; its end is
    /// in its outbox.
    pub fn pull(
        &self,
        (connection, watch_id): (ConnectionId, WatchId),
        cursor: Seq,
        until: Option<Seq>,
        encoding: Encoding,
        budget: usize,
    ) -> PullResult {
        let inner = self.state.lock();
        let is_joined = || {
            inner
                .watches
                .get(&connection)
                .is_some_and(|watch| watch.watch_id == watch_id)
        };
        if until.is_none() && !is_joined() {
            return PullResult::Ended;
        }
        inner
            .ring
            .pull(cursor, until.unwrap_or(Seq(u64::MAX)), encoding, budget)
    }

    /// Returns how far a cursor is behind the newest event, as messages and bytes.
    pub fn backlog(&self, cursor: Seq) -> (u64, u64) {
        self.state.lock().ring.backlog(cursor)
    }

    /// Adds a watch, in place of an earlier one of the same connection. Its start frame is queued
    /// in the same step, so that live events begin exactly after it. Nothing is added if the
    /// connection is gone, or has a later watch already: a watch may wait for the store and be
    /// overtaken.
    pub fn join(self: &Arc<Self>, new_watch: NewWatch) {
        let NewWatch {
            outbox,
            watch_id,
            player,
            cursor,
            replay_until,
            frame,
        } = new_watch;
        let audience = Arc::clone(self);
        {
            let watch = AudienceWatch {
                outbox: Arc::clone(&outbox),
                watch_id,
                player,
            };
            let mut inner = self.state.lock();
            let is_overtaken = |present: &AudienceWatch| present.watch_id.number > watch_id.number;
            if inner.watches.get(&outbox.id).is_some_and(is_overtaken) {
                return;
            }
            inner.watches.insert(outbox.id, watch);
        }
        if !outbox.push_reply(OutboxReply::Joined {
            watch_id,
            audience,
            cursor,
            replay_until,
            frame,
        }) {
            self.leave(outbox.id, watch_id);
            return;
        }
        self.changed.notify_one();
    }

    /// Removes a watch, unless a newer one of the same connection has replaced it.
    pub fn leave(&self, connection: ConnectionId, watch_id: WatchId) {
        let mut inner = self.state.lock();
        if inner
            .watches
            .get(&connection)
            .is_some_and(|watch| watch.watch_id == watch_id)
        {
            inner.watches.remove(&connection);
            self.changed.notify_one();
        }
    }

    /// Waits until [`join`](Self::join) adds a watch or [`leave`](Self::leave) removes one.
    pub async fn changed(&self) {
        self.changed.notified().await;
    }

    /// Returns the members who watch here.
    pub fn watching_players(&self) -> BTreeSet<PlayerId> {
        let inner = self.state.lock();
        let players = inner.watches.values().filter_map(|watch| watch.player);
        players
            .filter(|player| inner.members.contains(player))
            .collect()
    }

    /// Returns whether a player is a member as of the newest published event.
    pub fn is_member(&self, player: PlayerId) -> bool {
        self.state.lock().members.contains(&player)
    }

    /// Returns whether the raid has watches here.
    pub fn is_watched(&self) -> bool {
        !self.state.lock().watches.is_empty()
    }

    /// Sends a presence change to every watch.
    pub fn publish_presence(&self, online: Vec<PlayerId>, offline: Vec<PlayerId>) {
        let inner = self.state.lock();
        let message = ServerMessage::Presence {
            raid: self.raid,
            online,
            offline,
        };
        let mut frames = LazyFrames::new(&message);
        for watch in inner.watches.values() {
            watch
                .outbox
                .push_presence(self.raid, frames.get(watch.outbox.encoding));
        }
    }

    /// Sends a member's signal to every watch except those of the sending connection, and over the
    /// bus if a relay is set. Fails if the sender is not a member, or is muted as of the newest
    /// published event.
    pub fn send_signal(
        &self,
        sender: ConnectionId,
        from: PlayerId,
        now: UnixMillis,
        kind: &str,
        data: Value,
    ) -> Result<(), Refusal> {
        let inner = self.state.lock();
        inner.authorize_signal(from, now)?;
        if let Some((cluster, epoch)) = &inner.signal_relay {
            let header = MessageHeader {
                raid: self.raid,
                epoch: *epoch,
                seq: Seq::ZERO,
            };
            cluster.broadcast(
                header,
                ClusterMessage::Signal {
                    from,
                    kind: kind.to_owned(),
                    data: data.clone(),
                },
            );
        }
        inner.deliver_signal(self.raid, Some(sender), from, kind, data);
        Ok(())
    }

    /// Delivers a signal from a member at another instance to every watch here. That instance may
    /// not know yet that the member is muted or has left, so it is checked here again. `number` is
    /// that of its message.
    pub fn deliver_signal(
        &self,
        instance: InstanceId,
        number: u64,
        from: PlayerId,
        now: UnixMillis,
        kind: &str,
        data: Value,
    ) {
        let mut inner = self.state.lock();
        let latest = inner.latest_signals.entry(instance).or_default();
        if number <= *latest {
            return;
        }
        *latest = number;
        if inner.authorize_signal(from, now).is_ok() {
            inner.deliver_signal(self.raid, None, from, kind, data);
        }
    }
}

/// A watch that is about to join the audience.
pub struct NewWatch {
    pub outbox: Arc<Outbox>,
    pub watch_id: WatchId,
    /// The player that the watch shows as online; `None` for a service or an operator.
    pub player: Option<PlayerId>,
    /// The newest seq that the client knows after it has read `frame`.
    pub cursor: Seq,
    /// The last seq of a promised replay: events up to it must be sent completely.
    pub replay_until: Seq,
    /// The encoded `watching` or `snapshot` message.
    pub frame: bytes::Bytes,
}

impl AudienceState {
    fn authorize_signal(&self, from: PlayerId, now: UnixMillis) -> Result<(), Refusal> {
        if !self.members.contains(&from) {
            return Err(Refusal::NotMember);
        }
        if self.muted.get(&from).is_some_and(|until| now < *until) {
            return Err(Refusal::Forbidden);
        }
        Ok(())
    }

    fn deliver_signal(
        &self,
        raid: RaidId,
        sender: Option<ConnectionId>,
        from: PlayerId,
        kind: &str,
        data: Value,
    ) {
        let others = || {
            self.watches
                .iter()
                .filter(|(id, _)| Some(**id) != sender)
                .map(|(_, watch)| watch)
        };
        if others().next().is_none() {
            return;
        }
        let message = ServerMessage::Signal {
            raid,
            from,
            kind: kind.to_owned(),
            data,
        };
        let mut frames = LazyFrames::new(&message);
        let kind: Arc<str> = kind.into();
        for AudienceWatch { outbox, .. } in others() {
            let frame = frames.get(outbox.encoding);
            outbox.push_signal(Signal {
                raid,
                from,
                kind: Arc::clone(&kind),
                frame,
            });
        }
    }

    /// Updates the members and who is muted, and ends the watches of a member who left.
    fn apply_event(&mut self, event: &Event) {
        match event.data {
            EventData::MemberJoined { player, .. } => {
                self.members.insert(player);
            }
            EventData::MemberLeft { player, reason, .. } => {
                self.members.remove(&player);
                self.muted.remove(&player);
                let reason = match reason {
                    LeaveReason::Left => UnwatchReason::Left,
                    LeaveReason::Kicked => UnwatchReason::Kicked,
                };
                self.watches.retain(|_, watch| {
                    let is_former_member = watch.player == Some(player);
                    if is_former_member {
                        watch.outbox.push_reply(OutboxReply::Ended {
                            ticket: watch.watch_id,
                            last_seq: event.seq,
                            reason,
                        });
                    }
                    !is_former_member
                });
            }
            EventData::MemberMuted {
                player,
                until: Some(until),
            } => {
                self.muted.insert(player, until);
            }
            EventData::MemberMuted {
                player,
                until: None,
            }
            | EventData::LeaderChanged { player, .. } => {
                self.muted.remove(&player);
            }
            _ => {}
        }
    }
}
