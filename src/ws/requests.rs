//! The requests in a client's messages: handed to the session or the store, and answered through
//! the outbox.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use raidhall_protocol::client::Topic;
use raidhall_protocol::server::UnwatchReason;
use raidhall_protocol::{
    ClientMessage, Codec, Command, FieldFault, OpKey, RaidId, Seq, ServerMessage,
};
use serde_json::Value;
use tracing::warn;

use super::connection::Connection;
use super::player_requests::CompletedPlayerRequest;
use super::subscriber::DisconnectCause;
use crate::auth::{Identity, Scope};
use crate::error::Error;
use crate::fanout::frame::{self, Encoding};
use crate::fanout::outbox::{Outbox, OutboxReply};
use crate::raid::{self, Ack, Refusal};
use crate::session::Reply;
use crate::store::{self, NewAuditEntry, OpHash};
use crate::telemetry::{ExcessKind, Label, metrics};

/// Bytes that a signal is charged besides its data: about what its frame adds for each member.
const SIGNAL_OVERHEAD_BYTES: usize = 64;

/// The outcome of a pending request.
pub(super) enum CompletedRequest {
    /// The token that is to replace the connection's was checked.
    TokenChecked(Result<Identity, Error>),
    /// The audit entry of a backend's command was written, or could not be.
    AuditRecorded(ServiceCommand, store::Result<()>),
    /// It is the turn of a large message, which had to wait for the allowance.
    MessageDue(Bytes),
    /// A request about the player's own stream is done.
    Player(CompletedPlayerRequest),
}

/// A command of the host app's backend, which is audited before it is carried out.
pub(super) struct ServiceCommand {
    id: u64,
    raid: RaidId,
    op: Option<OpHash>,
    command: Command,
}

/// Encodes the error that answers a message of type `re`.
pub(super) fn error_frame(
    encoding: impl Into<Encoding>,
    re: &str,
    id: Option<u64>,
    raid: Option<RaidId>,
    error: &Error,
) -> Bytes {
    let message = ServerMessage::Error {
        re: re.to_owned(),
        id,
        raid,
        player: None,
        error: error.body(),
    };
    frame::encode(encoding, &message)
}

/// Encodes the `rate_limited` error for too many frames or bytes, and counts the excess in the
/// metrics.
pub(super) fn excess_error_frame(
    encoding: impl Into<Encoding>,
    excess: ExcessKind,
    wait: Duration,
) -> Bytes {
    metrics().excess.increment(excess);
    error_frame(
        encoding,
        excess.as_str(),
        None,
        None,
        &Error::RateLimited(wait),
    )
}

fn invalid_field_error(field: &str, message: impl Into<String>) -> Error {
    Error::Refused(Refusal::Invalid(vec![FieldFault::new(field, message)]))
}

impl Connection {
    pub(super) fn handle_message(&mut self, message: ClientMessage) {
        match message {
            ClientMessage::Beat => {}
            ClientMessage::Hello { token, .. } => self.renew_token(token),
            ClientMessage::Watch { id, raid, since } => self.watch(id, raid, since),
            ClientMessage::Unwatch { id, raid } => {
                self.subscriber.watches.remove(raid);
                self.reply(&ServerMessage::Unwatched {
                    id,
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
            ClientMessage::Player(request) => self.handle_player_request(request),
        }
    }

    /// Checks a new token for the connection: at once if Raidhall issued it, otherwise as a pending
    /// request.
    fn renew_token(&mut self, token: String) {
        let auth = &self.subscriber.service.auth;
        let now = self.subscriber.service.clock.now();
        if let Some(identified) = auth.authenticate_locally(&token, now) {
            return self.apply_renewal(identified);
        }
        let service = self.subscriber.service.clone();
        self.pending_request = Some(Box::pin(async move {
            CompletedRequest::TokenChecked(service.authenticate(&token).await)
        }));
    }

    /// Acts on the outcome of the pending request.
    pub(super) fn on_request_completed(
        &mut self,
        done: CompletedRequest,
    ) -> Result<(), DisconnectCause> {
        match done {
            CompletedRequest::MessageDue(frame) => return self.on_charged_message(&frame),
            CompletedRequest::TokenChecked(token) => self.apply_renewal(token),
            CompletedRequest::Player(done) => self.on_player_request_completed(done),
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
                    "writing the audit log failed; the backend's command is refused"
                );
                self.reply_error("do", Some(id), Some(raid), &Error::Unavailable);
            }
        }
        Ok(())
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
            return self.refuse_watch(id, raid, &error);
        }
        let ticket = self.subscriber.watches.begin(raid, id);
        let outbox = Arc::clone(&self.subscriber.outbox);
        self.subscriber.service.sessions.watch(
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
            (Some(player), Scope::Player) => {
                let by = player.id;
                if let Err(exceeded) = self.subscriber.service.commands.charge(by) {
                    let wait = exceeded.retry_after.max(Duration::from_millis(1));
                    let error = Error::RateLimited(wait);
                    return self.reply_error("do", Some(id), Some(raid), &error);
                }
                raid::RaidCommand::Player { by, command }
            }
            (_, Scope::Service) => {
                return self.record_service_command(ServiceCommand {
                    id,
                    raid,
                    op,
                    command,
                });
            }
            _ => {
                let error = Error::Forbidden("This token can only read");
                return self.reply_error("do", Some(id), Some(raid), &error);
            }
        };
        self.submit_command(id, raid, op, command);
    }

    /// Writes a backend's command to the audit log; it is carried out only after that has
    /// succeeded.
    fn record_service_command(&mut self, wanted: ServiceCommand) {
        let subject = &self.subscriber.identity.subject;
        let session = self.connection_uuid.to_string();
        let now = self.subscriber.service.clock.now();
        let entry =
            NewAuditEntry::from_command(now, subject, &session, wanted.raid, &wanted.command);
        let store = Arc::clone(&self.subscriber.service.store);
        self.pending_request = Some(Box::pin(async move {
            CompletedRequest::AuditRecorded(wanted, store.record_audit(&entry).await)
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
            .sessions
            .submit(raid, command, op, reply);
    }

    fn send_signal(&mut self, id: Option<u64>, raid: RaidId, kind: &str, data: Value) {
        let max = self.subscriber.service.0.options.signal_bytes_max;
        let bytes = Codec::Json.encode(&data).len();
        if bytes > max {
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
        let charged = u32::try_from(bytes + SIGNAL_OVERHEAD_BYTES).unwrap_or(u32::MAX);
        let limiter = &self.subscriber.service.0.signal_limiter;
        if let Err(exceeded) = limiter.charge_count(&(player, raid), charged) {
            let wait = exceeded.retry_after.max(Duration::from_millis(1));
            return self.reply_error("signal", id, Some(raid), &Error::RateLimited(wait));
        }
        if let Some(audience) = self.subscriber.watches.audience(raid) {
            let now = self.subscriber.service.0.dependencies.clock.now();
            let sender = self.subscriber.outbox.id;
            if let Err(refusal) = audience.send_signal(sender, player, now, kind, data) {
                self.reply_error("signal", id, Some(raid), &refusal.into());
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
                    // A signal must not reveal which raids exist.
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
        self.subscriber.service.sessions.send_signal(
            raid,
            self.subscriber.outbox.id,
            player,
            kind.to_owned(),
            data,
            reply,
        );
    }

    /// Refuses a message that was not handled, of the type `re`.
    pub(super) fn refuse_message(
        &mut self,
        re: &str,
        id: Option<u64>,
        topic: Option<Topic>,
        error: &Error,
    ) {
        match (re, topic) {
            ("watch", Some(Topic::Raid(raid))) => self.refuse_watch(id, raid, error),
            (_, Some(Topic::Raid(raid))) => self.reply_error(re, id, Some(raid), error),
            (_, Some(Topic::Me)) => self.reply_player_error(re, id, error),
            (_, None) => self.reply_error(re, id, None, error),
        }
    }

    /// Refuses a watch, and ends the former watch of the raid, which it was to replace.
    fn refuse_watch(&mut self, id: Option<u64>, raid: RaidId, error: &Error) {
        self.subscriber.watches.remove(raid);
        self.reply_error("watch", id, Some(raid), error);
    }

    fn reply_error(&mut self, re: &str, id: Option<u64>, raid: Option<RaidId>, error: &Error) {
        let frame = error_frame(self.subscriber.outbox.encoding, re, id, raid, error);
        self.subscriber.watches.expect_reply();
        self.subscriber.outbox.push_reply(OutboxReply::Frame {
            raid,
            seq: Seq::ZERO,
            frame,
        });
    }

    /// Answers a message without waiting for the events or replies of any raid.
    pub(super) fn reply(&mut self, message: &ServerMessage) {
        self.reply_frame(frame::encode(self.subscriber.outbox.encoding, message));
    }

    /// Sends a reply without waiting for the events or replies of any raid.
    pub(super) fn reply_frame(&mut self, frame: Bytes) {
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
