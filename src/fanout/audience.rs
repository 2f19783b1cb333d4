//! Who watches a raid on this instance, and a bounded ring of its recent events.
//!
//! A watch is a cursor into the ring: publishing encodes an event once per form and wakes the watchers; each
//! connection's writer pulls what its client can take. Nothing numbered is ever queued per connection.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::fanout::ring::Ring;
pub use crate::fanout::ring::{PullResult, RingOptions};
use parking_lot::Mutex;
use raidhall_protocol::event::LeaveReason;
use raidhall_protocol::server::UnwatchReason;
use raidhall_protocol::{Event, EventData, PlayerId, RaidId, Seq, ServerMessage};
use serde_json::Value;
use tokio::sync::Notify;

use crate::cluster::client::{ClusterClient, MessageHeader};
use crate::cluster::message::ClusterMessage;
use crate::fanout::frame::{Encoding, LazyFrames, SharedFrames};
use crate::fanout::outbox::{ConnectionId, Outbox, OutboxReply, Signal, WatchId};
use crate::store::Epoch;

/// One raid's watchers on this instance, and its recent events.
pub struct Audience {
    raid: RaidId,
    head: AtomicU64,
    /// How far the store was when it was last asked, where another instance owns the raid.
    stored_seq: AtomicU64,
    state: Mutex<AudienceState>,
    changed: Notify,
}

struct AudienceState {
    ring: Ring,
    watches: HashMap<ConnectionId, AudienceWatch>,
    members: BTreeSet<PlayerId>,
    /// Where signals go too, while somebody may watch at another instance.
    signal_relay: Option<(ClusterClient, Epoch)>,
}

struct AudienceWatch {
    outbox: Arc<Outbox>,
    watch_id: WatchId,
    player: Option<PlayerId>,
}

/// Why a signal was not passed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotAMember;

impl Audience {
    /// An audience of nobody, whose history begins after `head`.
    pub fn new(raid: RaidId, options: RingOptions) -> Self {
        let (ring, watchers, members) = (Ring::new(options), HashMap::new(), BTreeSet::new());
        let state = Mutex::new(AudienceState {
            ring,
            watches: watchers,
            members,
            signal_relay: None,
        });
        Self {
            raid,
            head: AtomicU64::new(0),
            stored_seq: AtomicU64::new(0),
            state,
            changed: Notify::new(),
        }
    }

    /// The raid.
    pub const fn raid(&self) -> RaidId {
        self.raid
    }

    /// The newest seq published.
    pub fn head(&self) -> Seq {
        Seq(self.head.load(Ordering::Acquire))
    }

    /// The newest seq that there is, as far as anybody here knows: published, or seen in the store.
    pub fn newest_known_seq(&self) -> Seq {
        self.head()
            .max(Seq(self.stored_seq.load(Ordering::Relaxed)))
    }

    /// The store has the raid up to here.
    pub fn record_stored_seq(&self, seq: Seq) {
        self.stored_seq.fetch_max(seq.0, Ordering::Relaxed);
    }

    /// Sends signals over the bus too, under the epoch of the raid's owner, or no longer.
    pub fn set_signal_relay(&self, to: Option<(ClusterClient, Epoch)>) {
        self.state.lock().signal_relay = to;
    }

    /// Adopts what the store says of the raid: its members at `seq`, and, if the ring is behind, the events that it
    /// lacks. `tail` are the latest events up to `seq`; if they don't reach back to the ring's head, the ring starts
    /// anew and watchers that are behind get a snapshot.
    pub fn sync_from_store(&self, seq: Seq, members: BTreeSet<PlayerId>, tail: &[Event]) {
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
        if self.head() != seq {
            inner.ring.reset(seq);
            self.head.store(seq.0, Ordering::Release);
            inner
                .watches
                .values()
                .for_each(|watcher| watcher.outbox.wake());
        }
        inner.members = members;
    }

    /// Shows committed events, the next ones in order, to everybody. If they erase somebody, what came before them is
    /// read from the store from now on, where it is rewritten.
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
        for watcher in inner.watches.values() {
            watcher.outbox.wake();
        }
    }

    /// Pulls frames after `cursor` for one watcher: up to `until` for a watch that ends there. A watch that has ended
    /// and does not know where gets [`PullResult::Ended`]; the end is in its outbox.
    pub fn pull(
        &self,
        (connection, ticket): (ConnectionId, WatchId),
        cursor: Seq,
        until: Option<Seq>,
        form: Encoding,
        budget: usize,
    ) -> PullResult {
        let inner = self.state.lock();
        let watches = || {
            inner
                .watches
                .get(&connection)
                .is_some_and(|watcher| watcher.watch_id == ticket)
        };
        if until.is_none() && !watches() {
            return PullResult::Ended;
        }
        inner
            .ring
            .pull(cursor, until.unwrap_or(Seq(u64::MAX)), form, budget)
    }

    /// How far a cursor is behind the newest event: in messages and bytes.
    pub fn backlog(&self, cursor: Seq) -> (u64, u64) {
        self.state.lock().ring.backlog(cursor)
    }

    /// Adds a watcher, in place of the same connection's former watch. Its answer goes out in the same breath, so
    /// that live begins exactly after it. Nothing is added when the connection is gone.
    pub fn join(self: &Arc<Self>, joining: NewWatch) {
        let NewWatch {
            outbox,
            watch_id: ticket,
            player,
            cursor,
            replay_until: promised,
            frame,
        } = joining;
        let audience = Arc::clone(self);
        {
            let watcher = AudienceWatch {
                outbox: Arc::clone(&outbox),
                watch_id: ticket,
                player,
            };
            self.state.lock().watches.insert(outbox.id, watcher);
        }
        if !outbox.push_reply(OutboxReply::Joined {
            watch_id: ticket,
            audience,
            cursor,
            replay_until: promised,
            frame,
        }) {
            self.leave(outbox.id, ticket);
            return;
        }
        self.changed.notify_one();
    }

    /// Removes a watcher, unless it has watched anew since.
    pub fn leave(&self, connection: ConnectionId, ticket: WatchId) {
        let mut inner = self.state.lock();
        if inner
            .watches
            .get(&connection)
            .is_some_and(|watcher| watcher.watch_id == ticket)
        {
            inner.watches.remove(&connection);
            self.changed.notify_one();
        }
    }

    /// Waits until watchers have come or gone.
    pub async fn changed(&self) {
        self.changed.notified().await;
    }

    /// The members who watch.
    pub fn watching_players(&self) -> BTreeSet<PlayerId> {
        let inner = self.state.lock();
        let players = inner.watches.values().filter_map(|watcher| watcher.player);
        players
            .filter(|player| inner.members.contains(player))
            .collect()
    }

    /// Whether a player is a member as of the newest event published.
    pub fn is_member(&self, player: PlayerId) -> bool {
        self.state.lock().members.contains(&player)
    }

    /// Whether anybody watches.
    pub fn is_watched(&self) -> bool {
        !self.state.lock().watches.is_empty()
    }

    /// Tells every watcher who came online and who went offline.
    pub fn publish_presence(&self, online: Vec<PlayerId>, offline: Vec<PlayerId>) {
        let inner = self.state.lock();
        let message = ServerMessage::Presence {
            raid: self.raid,
            online,
            offline,
        };
        let mut frames = LazyFrames::new(&message);
        for watcher in inner.watches.values() {
            watcher
                .outbox
                .push_presence(self.raid, frames.get(watcher.outbox.encoding));
        }
    }

    /// Passes a member's signal on to every watcher but the connection that it came from.
    pub fn send_signal(
        &self,
        sender: ConnectionId,
        from: PlayerId,
        kind: &str,
        data: Value,
    ) -> Result<(), NotAMember> {
        let inner = self.state.lock();
        if !inner.members.contains(&from) {
            return Err(NotAMember);
        }
        if let Some((link, epoch)) = &inner.signal_relay {
            let about = MessageHeader {
                raid: self.raid,
                epoch: *epoch,
                seq: Seq::ZERO,
            };
            link.broadcast(
                about,
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

    /// Passes on a signal of a member who is connected to another instance.
    pub fn deliver_signal(&self, from: PlayerId, kind: &str, data: Value) {
        let inner = self.state.lock();
        if inner.members.contains(&from) {
            inner.deliver_signal(self.raid, None, from, kind, data);
        }
    }
}

/// A watcher about to join.
pub struct NewWatch {
    /// Its connection's outbox.
    pub outbox: Arc<Outbox>,
    /// Its watch.
    pub watch_id: WatchId,
    /// The player whose presence the watch shows; none for a backend or an operator.
    pub player: Option<PlayerId>,
    /// The newest seq that the client holds once it has read `frame`.
    pub cursor: Seq,
    /// How far the promise of a whole replay goes.
    pub replay_until: Seq,
    /// The `watching` or `snapshot` message.
    pub frame: bytes::Bytes,
}

impl AudienceState {
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
                .map(|(_, watcher)| watcher)
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

    /// Keeps the member set, and ends the watches of whoever left.
    fn apply_event(&mut self, event: &Event) {
        match event.data {
            EventData::MemberJoined { player, .. } => {
                self.members.insert(player);
            }
            EventData::MemberLeft { player, reason, .. } => {
                self.members.remove(&player);
                let reason = match reason {
                    LeaveReason::Left => UnwatchReason::Left,
                    LeaveReason::Kicked => UnwatchReason::Kicked,
                };
                self.watches.retain(|_, watcher| {
                    let theirs = watcher.player == Some(player);
                    if theirs {
                        let (ticket, at) = (watcher.watch_id, event.seq);
                        watcher.outbox.push_reply(OutboxReply::Ended {
                            ticket,
                            last_seq: at,
                            reason,
                        });
                    }
                    !theirs
                });
            }
            _ => {}
        }
    }
}
