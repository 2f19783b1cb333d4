//! The player's own stream as one device sees it: the fold of what the device received, and the
//! status of the watch.

use std::collections::BTreeMap;
use std::sync::Arc;

use raidhall_protocol::player::message::Me;
use raidhall_protocol::player::{PlayerCommand, PlayerMessage, PlayerRequest, PlayerState};
use raidhall_protocol::{ClientMessage, OpKey, PlayerId, Seq, ServerMessage};
use tokio::time::Instant;

use super::watched_raid::WatchStatus;
use super::{ClientCounts, ConnectionState, Player};
use crate::client_log::{LogEntry, Moment, Observation, StreamLog};
use crate::fold::StreamFold;

/// The key of the player's stream in the heads of a `beat`.
const HEAD_KEY: &str = "me";

#[derive(Debug)]
pub(super) struct OwnStream {
    pub(super) status: WatchStatus,
    /// Since when the server's heads are ahead of the fold.
    pub(super) behind_since: Option<Instant>,
    head: Seq,
    fold: StreamFold,
    log: StreamLog,
}

impl OwnStream {
    fn new(client: &str, player: PlayerId) -> OwnStream {
        OwnStream {
            status: WatchStatus::Wanted,
            behind_since: None,
            head: Seq::ZERO,
            fold: StreamFold::default(),
            log: StreamLog {
                client: client.to_owned(),
                player,
                entries: Vec::new(),
            },
        }
    }

    /// Prepares the watch of a new connection. What the heads of the former one showed is no reason
    /// for a second watch.
    pub(super) fn prepare_watch(&mut self) {
        self.status = WatchStatus::Wanted;
        self.behind_since = None;
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
            ServerMessage::Player(PlayerMessage::Watching { .. }) => {
                self.status = WatchStatus::Live
            }
            ServerMessage::Player(PlayerMessage::Snapshot { seq, state, .. }) => {
                self.status = WatchStatus::Live;
                self.fold.replace(*seq, (**state).clone());
            }
            ServerMessage::Player(PlayerMessage::Unwatched { .. }) => {
                self.status = WatchStatus::Ended
            }
            // The judge reports contradictions; the device keeps its state until a `beat` shows that
            // it is behind.
            ServerMessage::Player(PlayerMessage::Event { event, .. })
                if self.status == WatchStatus::Live =>
            {
                let _ = self.fold.apply(event);
            }
            // A retryable refusal is followed by another watch; a final one ends it.
            ServerMessage::Error { re, error, .. } if re == "watch" => {
                self.status = if error.retry {
                    WatchStatus::Requested
                } else {
                    WatchStatus::Ended
                };
                self.behind_since = error.retry.then(Instant::now);
            }
            _ => {}
        }
        if self.status == WatchStatus::Live && self.fold.seq() >= self.head {
            self.behind_since = None;
        }
    }

    /// Compares the head of a `beat` with the fold, and notes since when the fold is behind.
    pub(super) fn compare_heads(&mut self, heads: &BTreeMap<String, Seq>) {
        let Some(head) = heads.get(HEAD_KEY) else {
            return;
        };
        self.head = *head;
        if self.status == WatchStatus::Live && self.fold.seq() < *head {
            self.behind_since.get_or_insert_with(Instant::now);
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
        let is_live = |own: &OwnStream| own.status == WatchStatus::Live;
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_connection_forgets_that_the_former_one_was_behind() {
        let player = PlayerId::try_from(6_u64).unwrap();
        let mut own = OwnStream::new("phone", player);
        own.apply(&ServerMessage::Player(PlayerMessage::Watching {
            id: None,
            player,
            seq: Seq(5),
            recovered: true,
        }));
        own.compare_heads(&BTreeMap::from([("me".to_owned(), Seq(5))]));
        assert!(own.behind_since.is_some());
        own.prepare_watch();
        assert!(own.behind_since.is_none() && own.status == WatchStatus::Wanted);
    }
}
