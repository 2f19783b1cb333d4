//! The requests in a client's messages about its player's own stream.

use std::sync::Arc;

use raidhall_protocol::player::{PlayerCommand, PlayerMessage, PlayerRequest};
use raidhall_protocol::server::UnwatchReason;
use raidhall_protocol::{OpKey, PlayerId, Seq, ServerMessage};

use super::connection::Connection;
use super::player_watch::PlayerWatch;
use super::requests::CompletedRequest;
use crate::auth::Scope;
use crate::error::Error;
use crate::fanout::frame;
use crate::player::Author;
use crate::raid::Ack;
use crate::store::OpHash;

const PLAYERS_ONLY: Error = Error::Forbidden("This token names no player");

/// The outcome of a request about the player's stream.
pub(super) enum CompletedPlayerRequest {
    /// A watch was opened, or could not be.
    Opened(
        Option<u64>,
        Box<Result<(PlayerWatch, PlayerMessage), Error>>,
    ),
    /// A command was executed, or could not be.
    Executed(u64, Result<Ack, Error>),
}

impl Connection {
    pub(super) fn handle_player_request(&mut self, request: PlayerRequest) {
        let Some(player) = self.player_id() else {
            return self.reply_player_error(request.t(), request.id(), &PLAYERS_ONLY);
        };
        match request {
            PlayerRequest::Watch { id, since, .. } => self.watch_player(player, id, since),
            PlayerRequest::Unwatch { id, .. } => {
                self.end_player_watch();
                let reason = UnwatchReason::Asked;
                self.reply_player(PlayerMessage::Unwatched { id, player, reason });
            }
            PlayerRequest::Do { id, op, cmd, .. } => {
                self.execute_player_command(player, id, op, cmd);
            }
        }
    }

    /// Acts on the outcome of a pending request about the player's stream.
    pub(super) fn on_player_request_completed(&mut self, done: CompletedPlayerRequest) {
        match done {
            CompletedPlayerRequest::Opened(id, opened) => match *opened {
                Ok((watch, answer)) => {
                    self.reply_player(answer);
                    self.subscriber.player_watch = Some(watch);
                }
                Err(error) => self.reply_player_error("watch", id, &error),
            },
            CompletedPlayerRequest::Executed(id, Ok(ack)) => self.acknowledge(id, ack),
            CompletedPlayerRequest::Executed(id, Err(error)) => {
                self.reply_player_error("do", Some(id), &error);
            }
        }
    }

    fn watch_player(&mut self, player: PlayerId, id: Option<u64>, since: Option<Seq>) {
        self.end_player_watch();
        let streams = self.subscriber.service.streams.clone();
        let outbox = Arc::clone(&self.subscriber.outbox);
        self.pending_request = Some(Box::pin(async move {
            let opened = PlayerWatch::open(streams, player, outbox, id, since).await;
            CompletedRequest::Player(CompletedPlayerRequest::Opened(id, Box::new(opened)))
        }));
    }

    fn execute_player_command(
        &mut self,
        player: PlayerId,
        id: u64,
        op: Option<OpKey>,
        command: PlayerCommand,
    ) {
        if self.subscriber.identity.scope != Scope::Player {
            let error = Error::Forbidden("Only the player may do this");
            return self.reply_player_error("do", Some(id), &error);
        }
        let op = op.map(|op| OpHash::new(&self.subscriber.identity.subject, &op));
        let streams = self.subscriber.service.streams.clone();
        self.pending_request = Some(Box::pin(async move {
            let executed = streams.execute(player, Author::Player, &command, op).await;
            CompletedRequest::Player(CompletedPlayerRequest::Executed(id, executed))
        }));
    }

    /// Sends an ack, after the events that it confirms if the client watches the stream.
    fn acknowledge(&mut self, id: u64, Ack { seq, duplicate }: Ack) {
        let Some(player) = self.player_id() else {
            return;
        };
        let ack = PlayerMessage::Ack {
            id,
            player,
            seq,
            duplicate,
        };
        let frame = frame::encode(self.subscriber.outbox.encoding, &ServerMessage::Player(ack));
        let due = match &mut self.subscriber.player_watch {
            Some(watch) => watch.hold_ack(seq, frame),
            None => Some(frame),
        };
        if let Some(frame) = due {
            self.reply_frame(frame);
        }
    }

    fn end_player_watch(&mut self) {
        if let Some(watch) = self.subscriber.player_watch.take() {
            for ack in watch.end() {
                self.reply_frame(ack);
            }
        }
    }

    fn player_id(&self) -> Option<PlayerId> {
        let player = self.subscriber.identity.player.as_ref();
        player.map(|player| player.id)
    }

    fn reply_player(&mut self, message: PlayerMessage) {
        self.reply(&ServerMessage::Player(message));
    }

    pub(super) fn reply_player_error(&mut self, re: &str, id: Option<u64>, error: &Error) {
        self.reply(&ServerMessage::Error {
            re: re.to_owned(),
            id,
            raid: None,
            player: self.player_id(),
            error: error.body(),
        });
    }
}
