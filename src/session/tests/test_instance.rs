//! A whole instance over a store in memory, without a listener; tests call its sessions directly.

use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use raidhall_protocol::rest::NewRaid;
use raidhall_protocol::server::PlayerRef;
use raidhall_protocol::{
    Codec, Command, Event, OpKey, PlayerId, RaidId, Seq, ServerMessage, UnixMillis,
};
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep, timeout};
use uuid::Uuid;

use crate::app::{Instance, InstanceParts};
use crate::auth::AuthSecret;
use crate::cluster::bus::in_process::{InProcessBroker, InProcessBus};
use crate::config::Config;
use crate::error::Error;
use crate::fanout::audience::{Audience, PullResult};
use crate::fanout::outbox::{ConnectionId, Outbox, OutboxLanes, OutboxReply, WatchId};
use crate::raid::{self, Ack, Refusal};
use crate::session::{COMMAND_WAIT_MAX, Caller, Options, RaidCreator, Registry, Reply};
use crate::store::faulty::Faulty;
use crate::store::memory::MemoryStore;
use crate::store::{InstanceId, Ledger, OpHash};
use crate::telemetry::render_metrics;

pub(super) const START_TIME: UnixMillis = UnixMillis(1_767_225_600_000);

/// Number that makes each instance's address unique.
static NEXT_NODE_NUMBER: AtomicU64 = AtomicU64::new(1);

pub(super) struct TestInstance {
    pub(super) store: Faulty<MemoryStore>,
    pub(super) sessions: Registry,
    /// The instance's connection to the bus, in a cluster.
    pub(super) bus: Option<Arc<InProcessBus>>,
    instance: Instance,
}

impl Deref for TestInstance {
    type Target = Instance;

    fn deref(&self) -> &Instance {
        &self.instance
    }
}

/// Returns the default session options with smaller bounds.
pub(super) fn options() -> Options {
    Options {
        mailbox_messages_max: 64,
        op_keys_max: 1_000,
        ring_events_max: 512,
        led_raids_max: 1_000_000,
        ..Config::default().sessions
    }
}

impl TestInstance {
    pub(super) async fn start(options: Options) -> TestInstance {
        TestInstance::start_on(Faulty::new(MemoryStore::new(START_TIME)), options).await
    }

    pub(super) async fn start_on(store: Faulty<MemoryStore>, options: Options) -> TestInstance {
        TestInstance::build(store, options, None).await
    }

    /// Starts one instance of a cluster.
    pub(super) async fn start_in_cluster(
        store: &Faulty<MemoryStore>,
        broker: &InProcessBroker,
        options: Options,
    ) -> TestInstance {
        TestInstance::build(store.new_connection(), options, Some(broker)).await
    }

    async fn build(
        store: Faulty<MemoryStore>,
        options: Options,
        broker: Option<&InProcessBroker>,
    ) -> TestInstance {
        let id = InstanceId(Uuid::now_v7());
        let (bus, connection) = broker.map(|broker| broker.connect(id)).unzip();
        let number = NEXT_NODE_NUMBER.fetch_add(1, Ordering::Relaxed);
        let instance = Instance::start(InstanceParts {
            id,
            config: Config {
                sessions: options,
                ..Config::default()
            },
            store: Arc::new(store.clone()),
            bus: connection,
            shared_limits: None,
            secret: AuthSecret::new([7; 32]).expect("long enough"),
            base_url: format!("http://127.0.0.1:{number}").parse().expect("a URL"),
            has_lease_thread: false,
        })
        .await
        .expect("started");
        TestInstance {
            store,
            sessions: instance.sessions().clone(),
            bus,
            instance,
        }
    }

    /// Simulates `kill -9`: nothing of this instance reaches the store or the bus any more.
    pub(super) fn kill(&self) {
        self.store.faults().set_unreachable(true);
        self.bus
            .as_ref()
            .expect("an instance of a cluster")
            .remove();
    }

    /// Creates and starts a raid that player 1 leads and `others` have joined.
    pub(super) async fn create_raid(&self, others: &[u64]) -> RaidId {
        let raid = self
            .sessions
            .create(player_ref(1), new_raid(), None, RaidCreator::Leader)
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
        let command = raid::RaidCommand::Player {
            by: player(by),
            command,
        };
        let result = self.sessions.execute(raid, command, op.map(op_hash));
        within_a_minute("the result of a command", result).await
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

    /// Submits a chat message at once; the reply comes later.
    pub(super) fn submit(&self, raid: RaidId, text: &str, op: Option<&str>) -> PendingAck {
        self.submit_command(raid, Command::Say { text: text.into() }, op)
    }

    pub(super) fn submit_command(
        &self,
        raid: RaidId,
        command: Command,
        op: Option<&str>,
    ) -> PendingAck {
        self.submit_and_then(raid, command, op, || ())
    }

    /// Submits a command; `then` runs when the reply is sent.
    pub(super) fn submit_and_then(
        &self,
        raid: RaidId,
        command: Command,
        op: Option<&str>,
        then: impl FnOnce() + Send + Sync + 'static,
    ) -> PendingAck {
        let (sender, receiver) = oneshot::channel();
        let reply = Reply::new(move |result| {
            drop(sender.send(result));
            then();
        });
        let command = raid::RaidCommand::Player {
            by: player(1),
            command,
        };
        self.sessions.submit(raid, command, op.map(op_hash), reply);
        PendingAck(receiver)
    }

    /// Submits a chat message that another instance forwards, with its text as the op.
    pub(super) fn submit_forwarded(
        &self,
        raid: RaidId,
        from: InstanceId,
        text: &str,
    ) -> PendingAck {
        let (sender, receiver) = oneshot::channel();
        let reply = Reply::new(move |result| drop(sender.send(result)));
        let command = raid::RaidCommand::Player {
            by: player(1),
            command: Command::Say { text: text.into() },
        };
        let deadline = Instant::now() + COMMAND_WAIT_MAX;
        self.sessions
            .submit_forwarded(raid, from, command, op_hash(text), deadline, reply);
        PendingAck(receiver)
    }

    /// Waits until the lease has been renewed.
    pub(super) async fn wait_for_lease(&self) {
        let renewed = async {
            while !self.lease().is_valid() {
                sleep(Duration::from_millis(10)).await;
            }
        };
        within_a_minute("the lease", renewed).await;
    }

    pub(super) async fn ledger(&self, raid: RaidId) -> Vec<Event> {
        self.store
            .events(raid, Seq::ZERO, 10_000)
            .await
            .expect("the ledger")
    }

    pub(super) fn watch(&self, raid: RaidId, by: u64, since: Option<u64>) -> TestWatcher {
        let outbox = Arc::new(Outbox::new(ConnectionId(by), Codec::Json));
        self.watch_over(outbox, WatchId { raid, number: 1 }, by, since)
    }

    pub(super) fn watch_over(
        &self,
        outbox: Arc<Outbox>,
        watch_id: WatchId,
        by: u64,
        since: Option<u64>,
    ) -> TestWatcher {
        self.sessions.watch(
            Arc::clone(&outbox),
            watch_id,
            Caller::Player(player(by)),
            since.map(Seq),
        );
        TestWatcher {
            outbox,
            watch_id,
            audience: None,
            cursor: Seq::ZERO,
        }
    }
}

/// Returns the value of a counter without labels. Other tests of the process may count too.
pub(super) fn counter_value(name: &str) -> u64 {
    let page = render_metrics();
    let value = (page.lines()).find_map(|line| line.strip_prefix(name)?.trim().parse().ok());
    value.unwrap_or_else(|| panic!("no counter {name} in\n{page}"))
}

/// Waits for an answer of a session; panics with `what` after a minute.
async fn within_a_minute<T>(what: &str, answer: impl Future<Output = T>) -> T {
    let answer = timeout(Duration::from_secs(60), answer).await;
    answer.unwrap_or_else(|_| panic!("timed out waiting for {what}"))
}

/// The reply to a submitted command, which is yet to come.
pub(super) struct PendingAck(oneshot::Receiver<Result<Ack, Error>>);

impl PendingAck {
    pub(super) async fn answer(self) -> Result<Ack, Error> {
        let answer = within_a_minute("the reply to a command", self.0).await;
        answer.expect("every request is answered")
    }

    /// Returns the reply, if it has been given.
    pub(super) fn try_answer(&mut self) -> Option<Result<Ack, Error>> {
        self.0.try_recv().ok()
    }
}

/// A watch of a connection, without the connection.
pub(super) struct TestWatcher {
    pub(super) outbox: Arc<Outbox>,
    pub(super) watch_id: WatchId,
    audience: Option<Arc<Audience>>,
    cursor: Seq,
}

impl TestWatcher {
    /// Waits for the answer to the watch.
    pub(super) async fn watch_answer(&mut self) -> Result<ServerMessage, Error> {
        loop {
            within_a_minute("the answer to a watch", self.outbox.woken()).await;
            match take_lanes(&self.outbox).replies.pop_front() {
                Some(OutboxReply::Joined {
                    audience,
                    cursor,
                    frame,
                    ..
                }) => {
                    self.audience = Some(audience);
                    self.cursor = cursor;
                    return Ok(decode_frame(&frame));
                }
                Some(OutboxReply::Refused { error, .. }) => return Err(error),
                Some(_) => panic!("a reply without a request"),
                None => {}
            }
        }
    }

    /// Returns the seqs of the events published since the last call.
    pub(super) fn take_events(&mut self) -> Vec<u64> {
        let audience = self.audience.as_ref().expect("watching");
        let reader = (self.outbox.id, self.watch_id);
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

    /// Returns the newest seq that the raid's watchers can have.
    pub(super) fn head(&self) -> Seq {
        self.audience.as_ref().expect("watching").head()
    }

    /// Returns the presence messages since the last call.
    pub(super) fn take_presence(&self) -> Vec<ServerMessage> {
        take_lanes(&self.outbox)
            .presence
            .iter()
            .map(|(_, frame)| decode_frame(frame))
            .collect()
    }

    /// Sends a signal as this player, at a time long past.
    pub(super) fn send_signal(&self, from: u64, kind: &str) -> Result<(), Refusal> {
        let audience = self.audience.as_ref().expect("watching");
        let data = serde_json::Value::Null;
        audience.send_signal(self.outbox.id, player(from), UnixMillis(0), kind, data)
    }

    /// Returns the signals since the last call, each as sender and kind.
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
            .leave(self.outbox.id, self.watch_id);
    }
}

fn take_lanes(outbox: &Outbox) -> OutboxLanes {
    let mut lanes = OutboxLanes::default();
    outbox.swap_lanes(&mut lanes);
    lanes
}

/// Decodes a WebSocket frame of JSON, whose header has 2, 4 or 10 bytes.
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
        ranked: None,
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
