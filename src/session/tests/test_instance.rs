//! A small instance: sessions over a store in memory, and players who ask them things.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures_util::future::BoxFuture;
use raidhall_protocol::rest::NewRaid;
use raidhall_protocol::server::PlayerRef;
use raidhall_protocol::{
    Codec, Command, Event, OpKey, PlayerId, RaidId, Seq, ServerMessage, UnixMillis,
};
use tokio::sync::{Notify, oneshot};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use uuid::Uuid;

use crate::auth::AuthSecret;
use crate::clock::Clock;
use crate::cluster::bus::in_process::{InProcessBroker, InProcessBus};
use crate::cluster::bus::{Bus, Channel};
use crate::cluster::client::ClusterClient;
use crate::cluster::lease::{Lease, LeaseRenewer};
use crate::cluster::membership::Membership;
use crate::cluster::message::EnvelopeSealer;
use crate::cluster::ownership::OwnershipClient;
use crate::error::Error;
use crate::fanout::audience::{Audience, PullResult, RingOptions};
use crate::fanout::outbox::{ConnectionId, Outbox, OutboxLanes, OutboxReply, WatchId};
use crate::jobs::head_poller::HeadPoller;
use crate::jobs::inbox_dispatcher::InboxDispatcher;
use crate::raid::{self, Ack};
use crate::session::{Caller, Dependencies, Options, Reply, Sessions};
use crate::store::journal::{self, Journal};
use crate::store::memory::MemoryStore;
use crate::store::{Instance, InstanceId, OpHash, Store};

pub(super) const START_TIME: UnixMillis = UnixMillis(1_767_225_600_000);

/// How long a node's lease lasts.
pub(super) const LEASE_TTL: Duration = Duration::from_secs(3);

/// Tells the nodes' addresses apart.
static NEXT_NODE_NUMBER: AtomicU64 = AtomicU64::new(1);

pub(super) struct TestInstance {
    pub(super) store: MemoryStore,
    pub(super) sessions: Sessions,
    pub(super) lease: Arc<Lease>,
    pub(super) tasks: TaskTracker,
    pub(super) stop: CancellationToken,
    pub(super) instance: Instance,
    /// Its end of the bus.
    pub(super) station: Option<Arc<InProcessBus>>,
    /// Until when its own tasks run.
    lifetime: CancellationToken,
}

pub(super) fn options() -> Options {
    Options {
        mailbox_messages_max: 64,
        idle_timeout: Duration::from_secs(60),
        presence_grace: Duration::from_secs(5),
        leader_grace: Duration::from_secs(60),
        op_keys_max: 1_000,
        snapshot_min_events: 256,
        replay_events_max: 1_024,
        ring: RingOptions {
            events_max: 512,
            bytes_max: 1 << 20,
        },
        load_timeout: Duration::from_secs(2),
        concurrent_loads_max: 4,
    }
}

impl TestInstance {
    pub(super) async fn start(options: Options) -> TestInstance {
        TestInstance::start_on(MemoryStore::new(START_TIME), options).await
    }

    pub(super) async fn start_on(store: MemoryStore, options: Options) -> TestInstance {
        TestInstance::build(store, options, Duration::from_secs(3_600 * 24 * 30), None).await
    }

    /// One instance of a cluster, with a lease that is kept.
    pub(super) async fn start_in_cluster(
        store: &MemoryStore,
        exchange: &InProcessBroker,
        options: Options,
    ) -> TestInstance {
        TestInstance::build(store.new_connection(), options, LEASE_TTL, Some(exchange)).await
    }

    async fn build(
        store: MemoryStore,
        options: Options,
        ttl: Duration,
        exchange: Option<&InProcessBroker>,
    ) -> TestInstance {
        let ws_url = format!(
            "ws://127.0.0.1:{}/api/v1/ws",
            NEXT_NODE_NUMBER.fetch_add(1, Ordering::Relaxed)
        );
        let id = InstanceId(Uuid::now_v7());
        let instance = Instance {
            id,
            ws_url,
            release: "test".into(),
            draining: false,
        };
        let renewal = store
            .register(&instance, ttl, Duration::from_secs(5))
            .await
            .expect("enlisted");
        let shared: Arc<dyn Store> = Arc::new(store.clone());
        let journal_options = journal::Options {
            writers: 1,
            batch_events_max: 4_096,
            queue_max: 1_024,
            commit_patience: Duration::from_secs(2),
        };
        let (journal, writers) = Journal::new(&shared, &journal_options);
        let (tasks, stop, life) = (
            TaskTracker::new(),
            CancellationToken::new(),
            CancellationToken::new(),
        );
        let live = |task: BoxFuture<'static, ()>| {
            let life = life.clone();
            tokio::spawn(async move { life.run_until_cancelled(task).await });
        };
        for writer in writers {
            live(Box::pin(writer.run()));
        }
        let (claims, clerk) = OwnershipClient::new(Arc::clone(&shared), id);
        live(Box::pin(clerk.run()));
        let clock = Arc::new(Clock::new(renewal.now));
        let lease = Arc::new(Lease::new(Instant::now(), ttl));
        let peers = Membership::new(ttl);
        peers.update(renewal.now, renewal.peers, false);
        live(Box::pin(
            Arc::clone(&lease).run_confirmation(Arc::clone(&shared), instance.clone()),
        ));
        let seal = EnvelopeSealer::new(
            &AuthSecret::new([7; 32]).expect("long enough"),
            &renewal.lineage,
        );
        let shared_clock = Arc::clone(&clock);
        let (link, station, deliveries) = match exchange {
            None => (
                ClusterClient::standalone(id, shared_clock, peers.clone()),
                None,
                None,
            ),
            Some(exchange) => {
                let (station, deliveries) = exchange.connect();
                station
                    .subscribe(&[Channel::Inbox(id)])
                    .await
                    .expect("connected");
                let link = ClusterClient::clustered(
                    Arc::clone(&station) as _,
                    seal,
                    id,
                    shared_clock,
                    peers.clone(),
                );
                (link, Some(station), Some(deliveries))
            }
        };
        let parts = Dependencies {
            store: Arc::clone(&shared),
            journal,
            clock: Arc::clone(&clock),
            lease: Arc::clone(&lease),
            cluster: link.clone(),
            claims,
        };
        let sessions = Sessions::new(parts, options, tasks.clone(), stop.clone());
        if let Some(deliveries) = deliveries {
            let now = Arc::<Notify>::default();
            live(Box::pin(
                InboxDispatcher::new(link.clone(), sessions.clone(), Arc::clone(&now))
                    .run(deliveries),
            ));
            live(Box::pin(
                HeadPoller {
                    store: Arc::clone(&shared),
                    cluster: link,
                    poll_requested: now,
                }
                .run(),
            ));
            let judging = Arc::clone(&lease);
            live(Box::pin(peers.clone().run(move || judging.is_valid())));
            let keeper = LeaseRenewer {
                store: shared,
                instance: instance.clone(),
                draining: Arc::default(),
                lease: Arc::clone(&lease),
                renew_requested: Arc::default(),
                ttl,
                renew_interval: Duration::from_secs(1),
                clock,
                membership: peers,
                lineage: renewal.lineage,
            };
            live(Box::pin(keeper.run(|| {})));
        }
        TestInstance {
            store,
            sessions,
            lease,
            tasks,
            stop,
            instance,
            station,
            lifetime: life,
        }
    }

    /// `kill -9`: nothing of this instance reaches anybody any more.
    pub(super) fn kill(&self) {
        self.lifetime.cancel();
        self.store.faults().set_unreachable(true);
        self.station.as_ref().expect("a node").remove();
    }

    /// A raid that player 1 leads and `others` have joined, started.
    pub(super) async fn create_raid(&self, others: &[u64]) -> RaidId {
        let raid = self
            .sessions
            .create(player_ref(1), new_raid(), None)
            .await
            .expect("a raid");
        for other in others {
            let join = raid::RaidCommand::Join {
                player: player_ref(*other),
            };
            self.sessions
                .execute(raid, join, None)
                .await
                .expect("joins");
        }
        self.execute(raid, 1, Command::Start, None)
            .await
            .expect("starts");
        raid
    }

    pub(super) async fn execute(
        &self,
        raid: RaidId,
        by: u64,
        command: Command,
        op: Option<&str>,
    ) -> Result<Ack, Error> {
        self.sessions
            .execute(
                raid,
                raid::RaidCommand::Player {
                    by: player(by),
                    command,
                },
                op.map(op_hash),
            )
            .await
    }

    pub(super) async fn say(
        &self,
        raid: RaidId,
        text: &str,
        op: Option<&str>,
    ) -> Result<Ack, Error> {
        self.execute(raid, 1, Command::Say { text: text.into() }, op)
            .await
    }

    /// Hands a message in at once; the answer comes later.
    pub(super) fn submit(&self, raid: RaidId, text: &str, op: Option<&str>) -> PendingAck {
        self.submit_command(raid, Command::Say { text: text.into() }, op)
    }

    pub(super) fn submit_command(
        &self,
        raid: RaidId,
        command: Command,
        op: Option<&str>,
    ) -> PendingAck {
        let (sender, answer) = oneshot::channel();
        let reply = Reply::new(move |result| drop(sender.send(result)));
        let command = raid::RaidCommand::Player {
            by: player(1),
            command,
        };
        self.sessions.submit(raid, command, op.map(op_hash), reply);
        PendingAck(answer)
    }

    pub(super) async fn ledger(&self, raid: RaidId) -> Vec<Event> {
        self.store
            .events(raid, Seq::ZERO, 10_000)
            .await
            .expect("the ledger")
    }

    pub(super) fn watch(&self, raid: RaidId, by: u64, since: Option<u64>) -> TestWatcher {
        let outbox = Arc::new(Outbox::new(ConnectionId(by), Codec::Json));
        let ticket = WatchId { raid, number: 1 };
        self.sessions.watch(
            Arc::clone(&outbox),
            ticket,
            Caller::Player(player(by)),
            since.map(Seq),
        );
        TestWatcher {
            outbox,
            ticket,
            audience: None,
            cursor: Seq::ZERO,
        }
    }
}

/// An answer that is yet to come.
pub(super) struct PendingAck(oneshot::Receiver<Result<Ack, Error>>);

impl PendingAck {
    pub(super) async fn answer(self) -> Result<Ack, Error> {
        self.0.await.expect("every request is answered")
    }

    /// The answer, if it is there already.
    pub(super) fn try_answer(&mut self) -> Option<Result<Ack, Error>> {
        self.0.try_recv().ok()
    }
}

/// A connection, as the session sees one.
pub(super) struct TestWatcher {
    pub(super) outbox: Arc<Outbox>,
    pub(super) ticket: WatchId,
    audience: Option<Arc<Audience>>,
    cursor: Seq,
}

impl TestWatcher {
    /// The answer to the watch.
    pub(super) async fn watch_answer(&mut self) -> Result<ServerMessage, Error> {
        loop {
            self.outbox.woken().await;
            match take_lanes(&self.outbox).replies.pop_front() {
                Some(OutboxReply::Joined {
                    audience,
                    cursor,
                    frame,
                    ..
                }) => {
                    (self.audience, self.cursor) = (Some(audience), cursor);
                    return Ok(decode_frame(&frame));
                }
                Some(OutboxReply::Refused { error, .. }) => return Err(error),
                Some(_) => panic!("an answer to something that was not asked"),
                None => {}
            }
        }
    }

    /// What has been published since.
    pub(super) fn take_events(&mut self) -> Vec<u64> {
        let audience = self.audience.as_ref().expect("watching");
        let reader = (self.outbox.id, self.ticket);
        let PullResult::Frames(frames, reached) =
            audience.pull(reader, self.cursor, None, Codec::Json.into(), usize::MAX)
        else {
            panic!("the watch has ended or fell off the ring");
        };
        self.cursor = reached;
        let seq = |message| match message {
            ServerMessage::Event { event, .. } => event.seq.0,
            other => panic!("not an event: {other:?}"),
        };
        frames.iter().map(decode_frame).map(seq).collect()
    }

    /// Presence messages since the last call.
    pub(super) fn take_presence(&self) -> Vec<ServerMessage> {
        take_lanes(&self.outbox)
            .presence
            .iter()
            .map(|(_, frame)| decode_frame(frame))
            .collect()
    }

    /// Sends a signal as this player.
    pub(super) fn send_signal(&self, from: u64, kind: &str) {
        let audience = self.audience.as_ref().expect("watching");
        audience
            .send_signal(self.outbox.id, player(from), kind, serde_json::Value::Null)
            .expect("a member");
    }

    /// Signals since the last call: who sent them, and which.
    pub(super) fn take_signals(&self) -> Vec<String> {
        let text = |frame| match decode_frame(frame) {
            ServerMessage::Signal { from, kind, .. } => format!("{from} {kind}"),
            other => panic!("not a signal: {other:?}"),
        };
        take_lanes(&self.outbox)
            .signals
            .iter()
            .map(|signal| text(&signal.frame))
            .collect()
    }

    pub(super) fn leave(&self) {
        self.audience
            .as_ref()
            .expect("watching")
            .leave(self.outbox.id, self.ticket);
    }
}

fn take_lanes(outbox: &Outbox) -> OutboxLanes {
    let mut lanes = OutboxLanes::default();
    outbox.swap_lanes(&mut lanes);
    lanes
}

/// Reads a frame of JSON back: its header has 2, 4 or 10 bytes.
fn decode_frame(frame: &bytes::Bytes) -> ServerMessage {
    let header = match frame[1] {
        126 => 4,
        127 => 10,
        _ => 2,
    };
    Codec::Json.decode(&frame[header..]).expect("a message")
}

pub(super) fn player(id: u64) -> PlayerId {
    PlayerId::try_from(id).expect("a test's id")
}

pub(super) fn new_raid() -> NewRaid {
    NewRaid {
        title: "Test".into(),
        description: None,
        target_xp: 1_000,
        target_tasks: 0,
        time_limit_secs: Some(3_600),
        max_members: Some(10),
        late_join: Some(true),
    }
}

pub(super) fn player_ref(id: u64) -> PlayerRef {
    PlayerRef {
        id: player(id),
        name: format!("Player {id}"),
    }
}

fn op_hash(op: &str) -> OpHash {
    OpHash::new("1", &OpKey::try_from(op.to_owned()).expect("a test's op"))
}
