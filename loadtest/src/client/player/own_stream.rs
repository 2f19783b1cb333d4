//! The player's own stream as one device sees it: the fold of what the device received, and the
//! status of the watch.

use std::collections::BTreeMap;
use std::sync::Arc;

use raidhall_protocol::player::message::Me;
use raidhall_protocol::player::{PlayerCommand, PlayerMessage, PlayerRequest, PlayerState};
use raidhall_protocol::{ClientMessage, OpKey, PlayerId, Seq, ServerMessage};

use super::watch::{ClientWatch, WatchStatus};
use super::{ClientCounts, ConnectionState, Player};
use crate::client_log::{LogEntry, Moment, Observation, StreamLog};
use crate::fold::StreamFold;

/// The key of the player's stream in the heads of a `beat`.
const HEAD_KEY: &str = "me";

#[derive(Debug)]
pub(super) struct OwnStream {
    pub(super) watch: ClientWatch,
    fold: StreamFold,
    log: StreamLog,
}

impl OwnStream {
    fn new(client: &str, player: PlayerId) -> OwnStream {
        OwnStream {
            watch: ClientWatch::new(),
            fold: StreamFold::default(),
            log: StreamLog {
                client: client.to_owned(),
                player,
                entries: Vec::new(),
            },
        }
    }

    pub(super) fn record(&mut self, at: Moment, observation: Observation) {
        self.log.entries.push(LogEntry { at, observation });
    }

    /// Returns the next `watch`, which resumes from the seq that the device holds.
    pub(super) fn watch_request(&self) -> ClientMessage {
        ClientMessage::Player(PlayerRequest::Watch {
            id: None,
            player: Me::Me,
            since: self.fold.state().map(|_| self.fold.seq()),
        })
    }

    /// Applies a message about the stream.
    pub(super) fn apply(&mut self, message: &ServerMessage) {
        match message {
            ServerMessage::Player(PlayerMessage::Watching { .. }) => self.watch.open(),
            ServerMessage::Player(PlayerMessage::Snapshot { seq, state, .. }) => {
                self.watch.open();
                self.fold.replace(*seq, (**state).clone());
            }
            ServerMessage::Player(PlayerMessage::Unwatched { .. }) => {
                self.watch.set_status(WatchStatus::Ended);
            }
            // The judge reports contradictions; the device keeps its state until a `beat` shows that
            // it is behind.
            ServerMessage::Player(PlayerMessage::Event { event, .. })
                if self.watch.status() == WatchStatus::Live =>
            {
                let _ = self.fold.apply(event);
            }
            ServerMessage::Error { re, error, .. } if re == "watch" => self.watch.refuse(error),
            _ => {}
        }
        self.watch.reach(self.fold.seq());
    }

    /// Compares the heads of a `beat` with the fold.
    pub(super) fn compare_heads(&mut self, heads: &BTreeMap<String, Seq>) {
        if let Some(head) = heads.get(HEAD_KEY) {
            self.watch.compare_head(*head, self.fold.seq());
        }
    }
}

impl Player {
    /// Watches the player's own stream, now if connected and after every reconnect.
    pub async fn watch_own_stream(&mut self) {
        let client = &self.options.client_name;
        let player = self.options.tokens.player.id;
        self.own_stream
            .get_or_insert_with(|| OwnStream::new(client, player));
        self.send_watches().await;
    }

    /// Returns whether the current connection receives the events of the player's own stream.
    pub fn is_watching_own_stream(&self) -> bool {
        let is_live = |own: &OwnStream| own.watch.status() == WatchStatus::Live;
        matches!(self.connection, ConnectionState::Connected { .. })
            && self.own_stream.as_ref().is_some_and(is_live)
    }

    /// Returns the newest seq of the player's own stream that the device holds.
    pub fn own_seq(&self) -> Seq {
        (self.own_stream.as_ref()).map_or(Seq::ZERO, |own| own.fold.seq())
    }

    /// Returns the device's view of the player's state.
    pub fn own_state(&self) -> Option<&PlayerState> {
        self.own_stream.as_ref()?.fold.state()
    }

    /// Sends a command to the player's own stream, and again until it is answered.
    pub async fn send_own_command(&mut self, op: OpKey, cmd: PlayerCommand) {
        let id = self.next_id;
        self.next_id += 1;
        let request = PlayerRequest::Do {
            id,
            player: Me::Me,
            op: Some(op),
            cmd,
        };
        self.send_until_answered(id, ClientMessage::Player(request))
            .await;
    }

    /// Records in the stream's log that the run has settled.
    pub fn record_own_settled(&mut self, head: Seq) {
        let online = Vec::new();
        self.record_own(Observation::Settled { head, online });
    }

    /// Closes the connection and returns the log of the player's own stream and the counters.
    pub async fn disconnect_device(mut self) -> (Option<StreamLog>, ClientCounts) {
        let log = self.own_stream.take().map(|own| own.log);
        let (_, counts) = self.disconnect().await;
        (log, counts)
    }

    pub(super) fn record_own(&mut self, observation: Observation) {
        let now = self.options.clock.now();
        if let Some(own) = &mut self.own_stream {
            own.record(now, observation);
        }
    }

    /// Applies a message about the player's own stream to the fold and the log.
    pub(super) fn handle_own_message(&mut self, message: &Arc<ServerMessage>) {
        if let Some(own) = &mut self.own_stream {
            own.apply(message);
        }
        self.record_own(Observation::Received(Arc::clone(message)));
    }
}
