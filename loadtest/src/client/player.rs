//! A player that survives lost connections, overload, restarts and expired tokens.
//!
//! One task drives it by calling [`Player::step`] in a loop. Per raid, the player keeps the fold of
//! what it received and the client log of all of it; it sends commands again with the same op until
//! they are answered.

mod connection;
mod own_stream;
mod watch;
mod watched_raid;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use own_stream::OwnStream;
use raidhall_protocol::player::PlayerMessage;
use raidhall_protocol::rest::TokenPair;
use raidhall_protocol::server::PlayerRef;
use raidhall_protocol::{
    ClientMessage, Codec, Command, OpKey, PlayerId, RaidId, RaidState, Seq, ServerMessage,
};
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use serde_json::Value;
use tokio::time::{Instant, sleep_until, timeout_at};
use watch::{ClientWatch, WatchStatus};
use watched_raid::WatchedRaid;

use super::backoff::ReconnectDelay;
use super::decoder::{Decoder, UnreadableFrame};
use super::pending::PendingCommands;
use super::rest::{RestClient, RestClientError};
use super::socket::{CloseInfo, Incoming, Socket};
use crate::client_log::{ClientLog, Observation, RunClock};

/// By how many events a watch is ahead of a raid. No raid of a run has so many.
const SEQS_AHEAD: u64 = 1_000_000;

/// The settings of one player: identity, servers, codec, and what it shares with other clients.
#[derive(Debug, Clone)]
pub struct PlayerOptions {
    /// The client's name in reports.
    pub client_name: String,
    /// The REST client, which renews tokens. The player connects to the same servers, home first; a
    /// lost or refused connection leads to the next one, as a load balancer in front of them would.
    pub rest: RestClient,
    /// The tokens from the sign-in.
    pub tokens: TokenPair,
    pub codec: Codec,
    /// The decoder, shared by clients that receive the same frames.
    pub decoder: Arc<Decoder>,
    pub clock: RunClock,
    pub jitter_seed: u64,
}

/// Counters of one player over its lifetime.
#[derive(Debug, Clone, Default)]
pub struct ClientCounts {
    /// Events, signals and presence changes received.
    pub deliveries: u64,
    pub signals: u64,
    pub signals_sent: u64,
    pub acks: u64,
    /// Refusals by type, retryable ones included.
    pub refusals: BTreeMap<&'static str, u64>,
    /// Connections after the first.
    pub reconnects: u64,
    /// Watches repeated because the heads of a `beat` were ahead.
    pub repairs: u64,
    /// Ends of connections, by close code or cause.
    pub ends: BTreeMap<String, u64>,
}

/// The result of one [`Player::step`].
#[derive(Debug)]
pub enum Step {
    /// Nothing happened until the deadline.
    Idle,
    /// A connection was welcomed; watches and unanswered commands were sent again.
    Connected,
    /// A message was received and applied.
    Message(Arc<ServerMessage>),
    /// A frame could not be decoded; it is recorded in the client log.
    Unreadable,
    /// The connection ended; the player reconnects by itself.
    Disconnected,
    /// The server closed the connection with a code that forbids reconnecting.
    Stopped,
}

#[derive(Debug)]
enum ConnectionState {
    Disconnected {
        until: Instant,
    },
    /// Disconnected by the player's own choice.
    Away {
        until: Instant,
    },
    Connected {
        socket: Box<Socket>,
        since: Instant,
        last_received: Instant,
        heartbeat: Duration,
    },
    Stopped,
}

/// A simulated player: its connection, its views of raids, and its client logs.
#[derive(Debug)]
pub struct Player {
    options: PlayerOptions,
    rng: SmallRng,
    connection: ConnectionState,
    /// Index of the server of the current connection, or of the next attempt.
    server_index: usize,
    /// Servers in a row that refused a connection.
    refusing_servers: usize,
    views: BTreeMap<RaidId, WatchedRaid>,
    logs: BTreeMap<RaidId, ClientLog>,
    own_stream: Option<OwnStream>,
    pending: PendingCommands,
    overload_delay: ReconnectDelay,
    lost_delay: ReconnectDelay,
    renew_at: Instant,
    next_id: u64,
    announced_reconnect_delay: Option<Duration>,
    has_connected: bool,
    /// The latest signal that this connection received of each kind and each of a sender's
    /// connections.
    signals_seen: BTreeMap<(PlayerId, String, u64), u64>,
    signals_sent: u64,
    counts: ClientCounts,
}

impl Player {
    /// Creates a player that connects at its first step.
    pub fn new(options: PlayerOptions) -> Player {
        let renew_at = renewal_time(&options.tokens);
        let server_index = options.rest.targets().home();
        Player {
            rng: SmallRng::seed_from_u64(options.jitter_seed),
            options,
            connection: ConnectionState::Disconnected {
                until: Instant::now(),
            },
            server_index,
            refusing_servers: 0,
            views: BTreeMap::new(),
            logs: BTreeMap::new(),
            own_stream: None,
            pending: PendingCommands::default(),
            overload_delay: ReconnectDelay::for_overload(),
            lost_delay: ReconnectDelay::for_lost_connection(),
            renew_at,
            next_id: 1,
            announced_reconnect_delay: None,
            has_connected: false,
            signals_seen: BTreeMap::new(),
            signals_sent: 0,
            counts: ClientCounts::default(),
        }
    }

    pub const fn player_ref(&self) -> &PlayerRef {
        &self.options.tokens.player
    }

    /// Returns a REST client that uses this player's token.
    pub fn rest(&self) -> RestClient {
        self.options
            .rest
            .with_token(&self.options.tokens.access_token)
    }

    /// Returns the player's view of the raid's state.
    pub fn state(&self, raid: RaidId) -> Option<&RaidState> {
        self.views.get(&raid).and_then(|view| view.fold.state())
    }

    /// Returns the newest seq that the player holds.
    pub fn seq(&self, raid: RaidId) -> Seq {
        self.views
            .get(&raid)
            .map_or(Seq::ZERO, |view| view.fold.seq())
    }

    /// Returns the players that the server showed as online.
    pub fn online(&self, raid: RaidId) -> Option<&BTreeSet<PlayerId>> {
        self.views.get(&raid).map(|view| &view.online)
    }

    /// Returns whether the current connection receives the raid's events.
    pub fn is_watching(&self, raid: RaidId) -> bool {
        matches!(self.connection, ConnectionState::Connected { .. })
            && self
                .views
                .get(&raid)
                .is_some_and(|view| view.watch.status() == WatchStatus::Live)
    }

    /// Returns whether the server ended the watch: the player left, was kicked, or may not see the
    /// raid.
    pub fn has_watch_ended(&self, raid: RaidId) -> bool {
        self.views
            .get(&raid)
            .is_some_and(|view| view.watch.status() == WatchStatus::Ended)
    }

    /// Gives up a raid whose watch has ended.
    pub fn abandon(&mut self, raid: RaidId) {
        if let Some(view) = self.views.get_mut(&raid) {
            view.watch.set_status(WatchStatus::Abandoned);
        }
    }

    /// Returns whether [`Self::abandon`] was called and the raid has not been watched since.
    pub fn is_abandoned(&self, raid: RaidId) -> bool {
        self.views
            .get(&raid)
            .is_some_and(|view| view.watch.status() == WatchStatus::Abandoned)
    }

    /// Returns the number of commands that wait for a reply.
    pub fn pending_count(&self) -> usize {
        self.pending.len()
    }

    pub const fn counts(&self) -> &ClientCounts {
        &self.counts
    }

    /// Records in the raid's client log that the run has settled.
    pub fn record_settled(&mut self, raid: RaidId, head: Seq, online: Vec<PlayerId>) {
        self.record(raid, Observation::Settled { head, online });
    }

    /// Records in the raid's client log that the player joined it again.
    pub fn record_joined(&mut self, raid: RaidId) {
        self.record(raid, Observation::Joined);
    }

    /// Records in the raid's client log that a player who is no member got something of it.
    pub fn record_answer(&mut self, raid: RaidId, request: &'static str) {
        self.record(raid, Observation::RequestAnswered { request });
    }

    /// Records in the raid's client log that a request by REST failed.
    pub fn record_failure(&mut self, raid: RaidId, request: &'static str, error: &RestClientError) {
        let refusal = match error {
            RestClientError::Refused { body, .. } => Some(body.clone()),
            RestClientError::NoResponse { .. } => None,
            RestClientError::UnexpectedResponse { .. } => {
                let text = error.to_string();
                return self.record(raid, Observation::Unreadable { text, error: false });
            }
        };
        self.record(raid, Observation::RequestFailed { request, refusal });
    }

    /// Watches a raid, now if connected and after every reconnect, resuming from the seq that the
    /// player holds.
    pub async fn watch(&mut self, raid: RaidId) {
        let view = self
            .views
            .entry(raid)
            .or_insert_with(|| WatchedRaid::new(raid));
        view.watch.set_status(WatchStatus::Wanted);
        self.send_watches().await;
    }

    /// Watches a raid that the player holds from a seq that the raid does not have.
    pub async fn watch_ahead(&mut self, raid: RaidId) {
        let Some(view) = self.views.get_mut(&raid) else {
            return;
        };
        view.watch.set_status(WatchStatus::Requested);
        let since = Some(Seq(view.fold.seq().0 + SEQS_AHEAD));
        let id = None;
        self.send(ClientMessage::Watch { id, raid, since }).await;
    }

    /// Sends a command with a fresh op, and again until it is answered. Returns its correlation
    /// number.
    pub async fn send_command(&mut self, raid: RaidId, cmd: Command) -> u64 {
        let op = self.new_op();
        self.send_command_with_op(raid, Some(op), cmd).await
    }

    /// Returns an op for the next command.
    pub fn new_op(&mut self) -> OpKey {
        let id = self.next_id;
        let salt: u32 = self.rng.random();
        let key = format!("{}-{id}-{salt:08x}", self.player_ref().id);
        OpKey::try_from(key).expect("an op")
    }

    /// Sends a command with the given op, or without one.
    pub async fn send_command_with_op(
        &mut self,
        raid: RaidId,
        op: Option<OpKey>,
        cmd: Command,
    ) -> u64 {
        let id = self.next_id;
        self.next_id += 1;
        let message = ClientMessage::Do { id, raid, op, cmd };
        self.send_until_answered(id, message).await;
        id
    }

    async fn send_until_answered(&mut self, id: u64, message: ClientMessage) {
        self.pending.add(id, message.clone());
        if matches!(self.connection, ConnectionState::Connected { .. }) {
            self.send(message).await;
        } else {
            self.pending.mark_all_due(Instant::now()); // due at once on the next connection
        }
    }

    /// Sends a signal if connected; signals may be lost.
    pub async fn send_signal(&mut self, raid: RaidId, kind: &str) {
        if !matches!(self.connection, ConnectionState::Connected { .. }) {
            return;
        }
        self.signals_sent += 1;
        self.counts.signals_sent += 1;
        let data = serde_json::json!({
            "n": self.signals_sent,
            "connection": self.counts.reconnects,
            "us": self.options.clock.now().0,
        });
        self.send(ClientMessage::Signal {
            id: None,
            raid,
            kind: kind.to_owned(),
            data,
        })
        .await;
    }

    /// Runs the player until something happens or the deadline has passed. Not cancel-safe.
    pub async fn step(&mut self, deadline: Instant) -> Step {
        loop {
            match self.connection {
                ConnectionState::Stopped => {
                    sleep_until(deadline).await;
                    return Step::Stopped;
                }
                ConnectionState::Disconnected { until } | ConnectionState::Away { until }
                    if until > deadline =>
                {
                    sleep_until(deadline).await;
                    return Step::Idle;
                }
                ConnectionState::Disconnected { until } | ConnectionState::Away { until } => {
                    sleep_until(until).await;
                    if self.connect().await {
                        return Step::Connected;
                    }
                }
                ConnectionState::Connected { .. } => {
                    if let Some(step) = self.wait_for_input(deadline).await {
                        return step;
                    }
                }
            }
        }
    }

    /// Closes the connection and returns the client logs and the counters.
    pub async fn disconnect(mut self) -> (Vec<ClientLog>, ClientCounts) {
        if let ConnectionState::Connected { socket, .. } =
            std::mem::replace(&mut self.connection, ConnectionState::Stopped)
        {
            socket.close().await;
        }
        (self.logs.into_values().collect(), self.counts)
    }

    /// Waits once, for the socket or for the next due action. `None` means that the caller should
    /// call it again.
    async fn wait_for_input(&mut self, deadline: Instant) -> Option<Step> {
        self.send_due().await;
        let ConnectionState::Connected {
            socket,
            last_received,
            heartbeat,
            ..
        } = &mut self.connection
        else {
            return Some(Step::Disconnected);
        };
        let silent = *last_received + *heartbeat * 3;
        let raids = self.views.values().map(|view| &view.watch);
        let own = self.own_stream.iter().map(|own| &own.watch);
        let repeat_at = raids.chain(own).filter_map(ClientWatch::repeat_at).min();
        let wakes = [Some(silent), self.pending.next_due(), repeat_at];
        let wake = wakes
            .into_iter()
            .flatten()
            .fold(deadline.min(self.renew_at), Instant::min);
        match timeout_at(wake, socket.next()).await {
            Err(_) if silent <= Instant::now() => {
                self.handle_disconnect(CloseInfo {
                    code: None,
                    reason: "server silent".to_owned(),
                });
                Some(Step::Disconnected)
            }
            Err(_) => (deadline <= Instant::now()).then_some(Step::Idle),
            Ok(incoming) => {
                *last_received = Instant::now();
                self.handle_incoming(incoming)
            }
        }
    }

    fn handle_incoming(&mut self, incoming: Incoming) -> Option<Step> {
        match incoming {
            Incoming::KeepAlive => None,
            Incoming::Unreadable(frame) => {
                self.record_unreadable(&frame);
                Some(Step::Unreadable)
            }
            Incoming::Closed(closed) => {
                self.handle_disconnect(closed);
                Some(if matches!(self.connection, ConnectionState::Stopped) {
                    Step::Stopped
                } else {
                    Step::Disconnected
                })
            }
            Incoming::Message(message) => {
                self.handle_message(&message);
                Some(Step::Message(message))
            }
        }
    }

    fn record_unreadable(&mut self, frame: &UnreadableFrame) {
        for raid in self.views.keys().copied().collect::<Vec<_>>() {
            let text = frame.text.clone();
            let error = frame.is_error;
            self.record(raid, Observation::Unreadable { text, error });
        }
        self.record_own(Observation::Unreadable {
            text: frame.text.clone(),
            error: frame.is_error,
        });
    }

    /// Records an entry in the raid's client log.
    pub(crate) fn record(&mut self, raid: RaidId, entry: Observation) {
        let client = &self.options.client_name;
        let player = self.options.tokens.player.id;
        let log = self
            .logs
            .entry(raid)
            .or_insert_with(|| ClientLog::new(client, player, raid));
        log.record(self.options.clock.now(), entry);
    }

    /// Applies a message to the view, the pending commands, the counters and the client log.
    fn handle_message(&mut self, message: &Arc<ServerMessage>) {
        match &**message {
            ServerMessage::Signal {
                raid,
                from,
                kind,
                data,
            } => {
                self.counts.deliveries += 1;
                self.counts.signals += 1;
                return self.check_signal(*raid, *from, kind, data);
            }
            ServerMessage::Beat { heads, .. } => {
                for (raid, view) in &mut self.views {
                    view.compare_heads(heads, *raid);
                }
                if let Some(own) = &mut self.own_stream {
                    own.compare_heads(heads);
                }
                return;
            }
            ServerMessage::Bye {
                reconnect_after_ms, ..
            } => {
                self.announced_reconnect_delay = Some(Duration::from_millis(*reconnect_after_ms));
                return;
            }
            ServerMessage::Event { .. } | ServerMessage::Presence { .. } => {
                self.counts.deliveries += 1
            }
            ServerMessage::Player(PlayerMessage::Event { .. }) => self.counts.deliveries += 1,
            ServerMessage::Ack { id, .. }
            | ServerMessage::Player(PlayerMessage::Ack { id, .. }) => {
                self.counts.acks += 1;
                self.pending.complete(*id);
            }
            ServerMessage::Error { re, id, error, .. } => {
                *self
                    .counts
                    .refusals
                    .entry(error.r#type.as_str())
                    .or_default() += 1;
                if let (Some(id), "do") = (id, re.as_str()) {
                    self.pending
                        .record_refusal(*id, error, Instant::now(), &mut self.rng);
                }
            }
            _ => {}
        }
        if is_about_player(message) {
            return self.handle_own_message(message);
        }
        let Some(raid) = raid_of(message) else { return };
        if let Some(view) = self.views.get_mut(&raid) {
            view.apply(message);
        }
        self.record(raid, Observation::Received(Arc::clone(message)));
    }

    /// Checks that a signal comes from another connection, and that those of one connection come
    /// once and in order. One of a sender's former connection may come late.
    fn check_signal(&mut self, raid: RaidId, from: PlayerId, kind: &str, data: &Value) {
        let (Some(number), Some(connection)) = (data["n"].as_u64(), data["connection"].as_u64())
        else {
            return;
        };
        let is_own = from == self.player_ref().id && connection == self.counts.reconnects;
        let sender = (from, kind.to_owned(), connection);
        let before = self.signals_seen.insert(sender, number);
        if is_own || before.is_some_and(|before| number <= before) {
            self.record(raid, Observation::SignalWrong { from });
        }
    }
}

/// Returns when four fifths of the access token's lifetime will have passed.
fn renewal_time(tokens: &TokenPair) -> Instant {
    Instant::now() + Duration::from_secs(tokens.expires_in).mul_f64(0.8)
}

fn is_about_player(message: &ServerMessage) -> bool {
    let is_refusal = matches!(message, ServerMessage::Error { player, .. } if player.is_some());
    is_refusal || matches!(message, ServerMessage::Player(_))
}

fn raid_of(message: &ServerMessage) -> Option<RaidId> {
    match message {
        ServerMessage::Watching { raid, .. }
        | ServerMessage::Snapshot { raid, .. }
        | ServerMessage::Unwatched { raid, .. }
        | ServerMessage::Event { raid, .. }
        | ServerMessage::Presence { raid, .. }
        | ServerMessage::Ack { raid, .. }
        | ServerMessage::Signal { raid, .. } => Some(*raid),
        ServerMessage::Error { raid, .. } => *raid,
        ServerMessage::Welcome { .. }
        | ServerMessage::Beat { .. }
        | ServerMessage::Bye { .. }
        | ServerMessage::Player(_) => None,
    }
}
