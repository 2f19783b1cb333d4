//! What a client's messages ask for, translated for the session and back.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use raidhall_protocol::server::UnwatchReason;
use raidhall_protocol::{
    ClientMessage, Codec, Command, FieldFault, OpKey, RaidId, Seq, ServerMessage,
};
use serde_json::Value;
use tracing::warn;

use super::connection::Connection;
use super::subscriber::DisconnectCause;
use crate::auth::{Identity, Scope};
use crate::error::Error;
use crate::fanout::frame::{self, Encoding};
use crate::fanout::outbox::{Outbox, OutboxReply};
use crate::raid::{self, Ack, Refusal};
use crate::session::Reply;
use crate::store::{self, NewAuditEntry, OpHash};
use crate::telemetry::{ExcessKind, Label, metrics};

/// What came of an errand.
pub(super) enum CompletedRequest {
    /// A token that renews the connection's was looked at.
    TokenChecked(Result<Identity, Error>),
    /// A backend's command is on record, unless that failed.
    AuditRecorded(ServiceCommand, store::Result<()>),
}

/// A backend's command.
pub(super) struct ServiceCommand {
    id: u64,
    raid: RaidId,
    op: Option<OpHash>,
    command: Command,
}

/// An error in answer to a message.
pub(super) fn error_frame(
    form: impl Into<Encoding>,
    re: &str,
    id: Option<u64>,
    raid: Option<RaidId>,
    error: &Error,
) -> Bytes {
    let message = ServerMessage::Error {
        re: re.to_owned(),
        id,
        raid,
        error: error.body(),
    };
    frame::encode(form, &message)
}

/// The error for what was too much below the level of messages.
pub(super) fn excess_error_frame(
    form: impl Into<Encoding>,
    excess: ExcessKind,
    wait: Duration,
) -> Bytes {
    metrics().excess.increment(excess);
    error_frame(form, excess.as_str(), None, None, &Error::RateLimited(wait))
}

fn invalid_field_error(field: &str, message: impl Into<String>) -> Error {
    Error::Refused(Refusal::Invalid(vec![FieldFault::new(field, message)]))
}

impl Connection {
    /// Carries out one message.
    pub(super) fn handle_message(&mut self, message: ClientMessage) -> Result<(), DisconnectCause> {
        match message {
            ClientMessage::Beat => {}
            ClientMessage::Hello { token, .. } => self.renew_token(token),
            ClientMessage::Watch { id, raid, since } => self.watch(id, raid, since),
            ClientMessage::Unwatch { raid, .. } => {
                self.subscriber.watches.remove(raid);
                self.reply(&ServerMessage::Unwatched {
                    raid,
                    reason: UnwatchReason::Asked,
                });
            }
            ClientMessage::Do { id, raid, op, cmd } => self.execute_command(id, raid, op, cmd),
            ClientMessage::Signal {
                id,
                raid,
                kind,
                data,
            } => self.send_signal(id, raid, &kind, data),
        }
        Ok(())
    }

    /// A token of our own is looked at on the spot.
    fn renew_token(&mut self, token: String) {
        let (auth, now) = (
            &self.subscriber.service.0.auth,
            self.subscriber.service.0.clock.now(),
        );
        if let Some(identified) = auth.authenticate_locally(&token, now) {
            return self.apply_renewal(identified);
        }
        let sockets = self.subscriber.service.clone();
        self.pending_request = Some(Box::pin(async move {
            CompletedRequest::TokenChecked(sockets.authenticate(&token).await)
        }));
    }

    /// An errand is done.
    pub(super) fn on_request_completed(&mut self, done: CompletedRequest) {
        match done {
            CompletedRequest::TokenChecked(token) => self.apply_renewal(token),
            CompletedRequest::AuditRecorded(
                ServiceCommand {
                    id,
                    raid,
                    op,
                    command,
                },
                Ok(()),
            ) => {
                self.submit_command(id, raid, op, raid::RaidCommand::Service { command });
            }
            CompletedRequest::AuditRecorded(ServiceCommand { id, raid, .. }, Err(error)) => {
                warn!(
                    ?error,
                    "a backend's command could not be recorded, and is not carried out"
                );
                self.reply_error("do", Some(id), Some(raid), &Error::Unavailable);
            }
        }
    }

    fn apply_renewal(&mut self, token: Result<Identity, Error>) {
        let refused = match token {
            Ok(identity) if identity.subject == self.subscriber.identity.subject => {
                self.subscriber.replace_identity(identity);
                let welcome = self.welcome_message();
                return self.reply(&welcome);
            }
            Ok(_) => Error::Forbidden("This token is another player's"),
            Err(error) => error,
        };
        self.reply_error("hello", None, None, &refused);
    }

    fn watch(&mut self, id: Option<u64>, raid: RaidId, since: Option<Seq>) {
        let max = self.subscriber.service.0.options.watches_max;
        if self.subscriber.watches.len() >= max && !self.subscriber.watches.contains(raid) {
            let error = invalid_field_error(
                "raid",
                format!("at most {max} raids can be watched at once"),
            );
            return self.reply_error("watch", id, Some(raid), &error);
        }
        let ticket = self.subscriber.watches.begin(raid, id);
        let outbox = Arc::clone(&self.subscriber.outbox);
        self.subscriber.service.0.sessions.watch(
            outbox,
            ticket,
            (&self.subscriber.identity).into(),
            since,
        );
    }

    fn execute_command(&mut self, id: u64, raid: RaidId, op: Option<OpKey>, command: Command) {
        let op = op.map(|op| OpHash::new(&self.subscriber.identity.subject, &op));
        let command = match (
            &self.subscriber.identity.player,
            self.subscriber.identity.scope,
        ) {
            (Some(player), Scope::Player) => raid::RaidCommand::Player {
                by: player.id,
                command,
            },
            (_, Scope::Service) => {
                return self.record_service_command(ServiceCommand {
                    id,
                    raid,
                    op,
                    command,
                });
            }
            _ => {
                let error = Error::Forbidden("This token may look and no more");
                return self.reply_error("do", Some(id), Some(raid), &error);
            }
        };
        self.submit_command(id, raid, op, command);
    }

    /// What a backend does is on record before it takes effect.
    fn record_service_command(&mut self, wanted: ServiceCommand) {
        let (subject, session) = (
            &self.subscriber.identity.subject,
            self.connection_uuid.to_string(),
        );
        let deed = NewAuditEntry::from_command(subject, &session, wanted.raid, &wanted.command);
        let store = Arc::clone(&self.subscriber.service.0.store);
        self.pending_request = Some(Box::pin(async move {
            CompletedRequest::AuditRecorded(wanted, store.record_audit(&deed).await)
        }));
    }

    fn submit_command(
        &mut self,
        id: u64,
        raid: RaidId,
        op: Option<OpHash>,
        command: raid::RaidCommand,
    ) {
        let outbox = Arc::clone(&self.subscriber.outbox);
        self.subscriber.watches.expect_reply();
        let reply = Reply::new(move |result| reply_to_command(&outbox, id, raid, result));
        self.subscriber
            .service
            .0
            .sessions
            .submit(raid, command, op, reply);
    }

    fn send_signal(&mut self, id: Option<u64>, raid: RaidId, kind: &str, data: Value) {
        let max = self.subscriber.service.0.options.signal_bytes_max;
        if Codec::Json.encode(&data).len() > max {
            let error = invalid_field_error("data", format!("must be at most {max} bytes of JSON"));
            return self.reply_error("signal", id, Some(raid), &error);
        }
        let Some(player) = self
            .subscriber
            .identity
            .player
            .as_ref()
            .map(|player| player.id)
        else {
            return self.reply_error("signal", id, Some(raid), &Refusal::NotMember.into());
        };
        if let Some(audience) = self.subscriber.watches.audience(raid) {
            if audience
                .send_signal(self.subscriber.outbox.id, player, kind, data)
                .is_err()
            {
                self.reply_error("signal", id, Some(raid), &Refusal::NotMember.into());
            }
            return;
        }
        let outbox = Arc::clone(&self.subscriber.outbox);
        self.subscriber.watches.expect_reply();
        let reply = Reply::new(move |result| {
            let refused = |error| error_frame(outbox.encoding, "signal", id, Some(raid), &error);
            outbox.push_reply(match result {
                Ok(()) => OutboxReply::Done,
                Err(error) => {
                    // Nobody learns by a signal which raids exist.
                    let hidden = error == Error::Refused(Refusal::NotFound);
                    let error = if hidden {
                        Refusal::NotMember.into()
                    } else {
                        error
                    };
                    OutboxReply::Frame {
                        raid: Some(raid),
                        seq: Seq::ZERO,
                        frame: refused(error),
                    }
                }
            });
        });
        self.subscriber.service.0.sessions.send_signal(
            raid,
            self.subscriber.outbox.id,
            player,
            kind.to_owned(),
            data,
            reply,
        );
    }

    /// Answers a message with an error.
    pub(super) fn reply_error(
        &mut self,
        re: &str,
        id: Option<u64>,
        raid: Option<RaidId>,
        error: &Error,
    ) {
        let frame = error_frame(self.subscriber.outbox.encoding, re, id, raid, error);
        self.subscriber.watches.expect_reply();
        self.subscriber.outbox.push_reply(OutboxReply::Frame {
            raid,
            seq: Seq::ZERO,
            frame,
        });
    }

    /// Answers at once, whatever else is still to be answered.
    fn reply(&mut self, message: &ServerMessage) {
        let frame = frame::encode(self.subscriber.outbox.encoding, message);
        self.subscriber.watches.expect_reply();
        self.subscriber.outbox.push_reply(OutboxReply::Frame {
            raid: None,
            seq: Seq::ZERO,
            frame,
        });
    }
}

fn reply_to_command(outbox: &Outbox, id: u64, raid: RaidId, result: Result<Ack, Error>) {
    let (seq, frame) = match result {
        Ok(Ack { seq, duplicate }) => (
            seq,
            frame::encode(
                outbox.encoding,
                &ServerMessage::Ack {
                    id,
                    raid,
                    seq,
                    duplicate,
                },
            ),
        ),
        Err(error) => (
            Seq::ZERO,
            error_frame(outbox.encoding, "do", Some(id), Some(raid), &error),
        ),
    };
    outbox.push_reply(OutboxReply::Frame {
        raid: Some(raid),
        seq,
        frame,
    });
}
