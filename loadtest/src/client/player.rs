//! A player who goes on through everything: lost connections, overload, restarts, expired tokens.
//!
//! One task drives it by calling [`Player::step`] over and over. It keeps, per raid, the fold of what it was told and
//! the ledger of it all; commands are sent again with the same op until they are answered.

mod line;
mod view;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use line::BEHIND_PATIENCE;
use raidhall_protocol::rest::TokenPair;
use raidhall_protocol::server::PlayerRef;
use raidhall_protocol::{
    ClientMessage, Codec, Command, OpKey, PlayerId, RaidId, RaidState, Seq, ServerMessage,
};
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use tokio::time::{Instant, sleep_until, timeout_at};
use view::{Phase, View};

use super::backoff::Backoff;
use super::decoder::Decoder;
use super::pending::Pending;
use super::rest::Rest;
use super::socket::{Closed, Incoming, Socket};
use crate::ledger::{Entry, Ledger, RunClock};

/// What a player is made of.
#[derive(Debug, Clone)]
pub struct Equipment {
    /// What the report calls the client.
    pub name: String,
    /// The REST doors, for new tokens; their servers are those that it connects to, home first. A lost or refused
    /// connection leads to the next, as a balancer in front of them would.
    pub rest: Rest,
    /// What it signed in with.
    pub tokens: TokenPair,
    /// How it talks.
    pub codec: Codec,
    /// Shared by the clients that get the same frames.
    pub decoder: Arc<Decoder>,
    /// The run's clock.
    pub clock: RunClock,
    /// For jitter.
    pub seed: u64,
}

/// What a player counted.
#[derive(Debug, Clone, Default)]
pub struct Tally {
    /// Events, signals and presence changes that came.
    pub deliveries: u64,
    /// Signals that came.
    pub signals: u64,
    /// Signals sent.
    pub signals_sent: u64,
    /// Commands acknowledged.
    pub acks: u64,
    /// Refusals by type, retryable ones included.
    pub refusals: BTreeMap<&'static str, u64>,
    /// Connections after the first.
    pub reconnects: u64,
    /// Watches repeated because the server's heads were ahead.
    pub repairs: u64,
    /// Close codes and other ends.
    pub ends: BTreeMap<String, u64>,
}

/// What a step brought.
#[derive(Debug)]
pub enum Step {
    /// Nothing until the deadline.
    Idle,
    /// A connection was welcomed; watches and unanswered commands were sent again.
    Connected,
    /// A message came and was taken in.
    Message(Arc<ServerMessage>),
    /// Something came that is no message; it is in the ledger.
    Unreadable,
    /// The connection ended; the player comes back by itself.
    Disconnected,
    /// The server sent this player away for good.
    GaveUp,
}

#[derive(Debug)]
enum Line {
    Down {
        until: Instant,
    },
    Up {
        socket: Box<Socket>,
        since: Instant,
        heard: Instant,
        heartbeat: Duration,
    },
    GivenUp,
}

/// A simulated player's connection, view and ledgers.
#[derive(Debug)]
pub struct Player {
    equipment: Equipment,
    rng: SmallRng,
    line: Line,
    /// The server of the current connection, or of the next one to try.
    place: usize,
    /// Servers that refused a connection since the last one that did not.
    refused: usize,
    views: BTreeMap<RaidId, View>,
    ledgers: BTreeMap<RaidId, Ledger>,
    pending: Pending,
    overloaded: Backoff,
    lost: Backoff,
    renew_at: Instant,
    next_id: u64,
    bye: Option<Duration>,
    connected_before: bool,
    signals_seen: BTreeMap<(PlayerId, String), u64>,
    signals_sent: u64,
    tally: Tally,
}

impl Player {
    /// A player who connects at the first step.
    pub fn new(equipment: Equipment) -> Player {
        let (renew_at, place) = (renewal(&equipment.tokens), equipment.rest.targets().home());
        Player {
            rng: SmallRng::seed_from_u64(equipment.seed),
            equipment,
            line: Line::Down {
                until: Instant::now(),
            },
            place,
            refused: 0,
            views: BTreeMap::new(),
            ledgers: BTreeMap::new(),
            pending: Pending::default(),
            overloaded: Backoff::overloaded(),
            lost: Backoff::lost(),
            renew_at,
            next_id: 1,
            bye: None,
            connected_before: false,
            signals_seen: BTreeMap::new(),
            signals_sent: 0,
            tally: Tally::default(),
        }
    }

    /// Who.
    pub const fn who(&self) -> &PlayerRef {
        &self.equipment.tokens.player
    }

    /// The REST doors with this player's token.
    pub fn rest(&self) -> Rest {
        self.equipment
            .rest
            .with_token(&self.equipment.tokens.access_token)
    }

    /// The raid as this player has it.
    pub fn state(&self, raid: RaidId) -> Option<&RaidState> {
        self.views.get(&raid).and_then(|view| view.fold.state())
    }

    /// The newest seq that this player holds.
    pub fn seq(&self, raid: RaidId) -> Seq {
        self.views
            .get(&raid)
            .map_or(Seq::ZERO, |view| view.fold.seq())
    }

    /// Whom this player was told to be online.
    pub fn online(&self, raid: RaidId) -> Option<&BTreeSet<PlayerId>> {
        self.views.get(&raid).map(|view| &view.online)
    }

    /// Whether events of the raid come on the current connection.
    pub fn watches(&self, raid: RaidId) -> bool {
        matches!(self.line, Line::Up { .. })
            && self
                .views
                .get(&raid)
                .is_some_and(|view| view.phase == Phase::Live)
    }

    /// Whether the server ended the watch: the player left, was sent away, or may not see the raid.
    pub fn watch_ended(&self, raid: RaidId) -> bool {
        self.views
            .get(&raid)
            .is_some_and(|view| view.phase == Phase::Ended)
    }

    /// Gives up on a raid whose watch ended.
    pub fn forget(&mut self, raid: RaidId) {
        if let Some(view) = self.views.get_mut(&raid) {
            view.phase = Phase::Forgotten;
        }
    }

    /// Whether [`Self::forget`] was called, and no watch since.
    pub fn forgotten(&self, raid: RaidId) -> bool {
        self.views
            .get(&raid)
            .is_some_and(|view| view.phase == Phase::Forgotten)
    }

    /// How many commands wait for an answer.
    pub fn unanswered(&self) -> usize {
        self.pending.len()
    }

    /// What was counted.
    pub const fn tally(&self) -> &Tally {
        &self.tally
    }

    /// Writes into the ledger of a raid that the run came to rest.
    pub fn settle(&mut self, raid: RaidId, head: Seq, online: Vec<PlayerId>) {
        self.note(raid, Entry::Settled { head, online });
    }

    /// Watches a raid, now if connected and after every reconnect, from what it holds on.
    pub async fn watch(&mut self, raid: RaidId) {
        let view = self.views.entry(raid).or_insert_with(|| View::new(raid));
        view.phase = Phase::Wanted;
        self.send_watches().await;
    }

    /// Sends a command with a key of its own, and again until it is answered. Returns its correlation number.
    pub async fn act(&mut self, raid: RaidId, cmd: Command) -> u64 {
        let id = self.next_id;
        let salt: u32 = self.rng.random();
        let key = format!("{}-{id}-{salt:08x}", self.who().id);
        self.act_with(raid, OpKey::try_from(key).ok(), cmd).await
    }

    /// Sends a command with the given key, or without any.
    pub async fn act_with(&mut self, raid: RaidId, op: Option<OpKey>, cmd: Command) -> u64 {
        let id = self.next_id;
        self.next_id += 1;
        let message = ClientMessage::Do { id, raid, op, cmd };
        self.pending.add(id, message.clone());
        if matches!(self.line, Line::Up { .. }) {
            self.send(message).await;
        } else {
            self.pending.lost(Instant::now()); // due at once on the next connection
        }
        id
    }

    /// Sends a signal, if connected; signals may be lost.
    pub async fn signal(&mut self, raid: RaidId, kind: &str) {
        if !matches!(self.line, Line::Up { .. }) {
            return;
        }
        self.signals_sent += 1;
        self.tally.signals_sent += 1;
        let data =
            serde_json::json!({ "n": self.signals_sent, "us": self.equipment.clock.now().0 });
        self.send(ClientMessage::Signal {
            id: None,
            raid,
            kind: kind.to_owned(),
            data,
        })
        .await;
    }

    /// Goes on until something happens or the deadline has passed. Not cancel-safe.
    pub async fn step(&mut self, deadline: Instant) -> Step {
        loop {
            match self.line {
                Line::GivenUp => {
                    sleep_until(deadline).await;
                    return Step::GaveUp;
                }
                Line::Down { until } if until > deadline => {
                    sleep_until(deadline).await;
                    return Step::Idle;
                }
                Line::Down { until } => {
                    sleep_until(until).await;
                    if self.connect().await {
                        return Step::Connected;
                    }
                }
                Line::Up { .. } => {
                    if let Some(step) = self.listen(deadline).await {
                        return step;
                    }
                }
            }
        }
    }

    /// Says goodbye and hands over what was written down.
    pub async fn leave(mut self) -> (Vec<Ledger>, Tally) {
        if let Line::Up { socket, .. } = std::mem::replace(&mut self.line, Line::GivenUp) {
            socket.close().await;
        }
        (self.ledgers.into_values().collect(), self.tally)
    }

    /// One wait for the socket, or for the next thing that is due. None: look again.
    async fn listen(&mut self, deadline: Instant) -> Option<Step> {
        self.send_due().await;
        let Line::Up {
            socket,
            heard,
            heartbeat,
            ..
        } = &mut self.line
        else {
            return Some(Step::Disconnected);
        };
        let silent = *heard + *heartbeat * 3;
        let behind = self
            .views
            .values()
            .filter_map(|view| view.behind_since)
            .min();
        let wakes = [
            Some(silent),
            self.pending.next_due(),
            behind.map(|since| since + BEHIND_PATIENCE),
        ];
        let wake = wakes
            .into_iter()
            .flatten()
            .fold(deadline.min(self.renew_at), Instant::min);
        match timeout_at(wake, socket.next()).await {
            Err(_) if silent <= Instant::now() => {
                self.hang_up(Closed {
                    code: None,
                    reason: "server silent".to_owned(),
                });
                Some(Step::Disconnected)
            }
            Err(_) => (deadline <= Instant::now()).then_some(Step::Idle),
            Ok(incoming) => {
                *heard = Instant::now();
                self.take(incoming)
            }
        }
    }

    fn take(&mut self, incoming: Incoming) -> Option<Step> {
        match incoming {
            Incoming::Alive => None,
            Incoming::Unreadable(what) => {
                for raid in self.views.keys().copied().collect::<Vec<_>>() {
                    self.note(
                        raid,
                        Entry::Unreadable {
                            text: what.text.clone(),
                            error: what.error,
                        },
                    );
                }
                Some(Step::Unreadable)
            }
            Incoming::Closed(closed) => {
                self.hang_up(closed);
                Some(if matches!(self.line, Line::GivenUp) {
                    Step::GaveUp
                } else {
                    Step::Disconnected
                })
            }
            Incoming::Message(message) => {
                self.read(&message);
                Some(Step::Message(message))
            }
        }
    }

    fn note(&mut self, raid: RaidId, entry: Entry) {
        let (client, player) = (&self.equipment.name, self.equipment.tokens.player.id);
        let ledger = self
            .ledgers
            .entry(raid)
            .or_insert_with(|| Ledger::new(client, player, raid));
        ledger.note(self.equipment.clock.now(), entry);
    }

    /// Takes a message in: view, pending commands, counters, ledger.
    fn read(&mut self, message: &Arc<ServerMessage>) {
        match &**message {
            ServerMessage::Signal {
                raid,
                from,
                kind,
                data,
            } => {
                (self.tally.deliveries, self.tally.signals) =
                    (self.tally.deliveries + 1, self.tally.signals + 1);
                return self.hear(*raid, *from, kind, data["n"].as_u64());
            }
            ServerMessage::Beat { heads, .. } => {
                return self
                    .views
                    .iter_mut()
                    .for_each(|(raid, view)| view.compare(heads, *raid));
            }
            ServerMessage::Bye {
                reconnect_after_ms, ..
            } => {
                self.bye = Some(Duration::from_millis(*reconnect_after_ms));
                return;
            }
            ServerMessage::Event { .. } | ServerMessage::Presence { .. } => {
                self.tally.deliveries += 1
            }
            ServerMessage::Ack { id, .. } => {
                self.tally.acks += 1;
                self.pending.done(*id);
            }
            ServerMessage::Error { re, id, error, .. } => {
                *self
                    .tally
                    .refusals
                    .entry(error.r#type.as_str())
                    .or_default() += 1;
                if let (Some(id), "do") = (id, re.as_str()) {
                    self.pending
                        .refused(*id, error, Instant::now(), &mut self.rng);
                }
            }
            _ => {}
        }
        let Some(raid) = raid_of(message) else { return };
        if let Some(view) = self.views.get_mut(&raid) {
            view.see(message);
        }
        self.note(raid, Entry::Received(Arc::clone(message)));
    }

    fn hear(&mut self, raid: RaidId, from: PlayerId, kind: &str, number: Option<u64>) {
        let Some(number) = number else { return };
        let before = self.signals_seen.insert((from, kind.to_owned()), number);
        if from == self.who().id || before.is_some_and(|before| number <= before) {
            self.note(raid, Entry::SignalWrong { from });
        }
    }
}

/// When four fifths of a token's life are over.
fn renewal(tokens: &TokenPair) -> Instant {
    Instant::now() + Duration::from_secs(tokens.expires_in).mul_f64(0.8)
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
        ServerMessage::Welcome { .. } | ServerMessage::Beat { .. } | ServerMessage::Bye { .. } => {
            None
        }
    }
}
