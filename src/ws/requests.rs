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
use super::meter::Excess;
use super::subscriber::Ending;
use crate::auth::{Identity, Scope};
use crate::error::Error;
use crate::fanout::frame::{self, Form};
use crate::fanout::outbox::{Answer, Outbox};
use crate::raid::{self, Refusal};
use crate::session::{Ack, Reply};
use crate::store::{self, NewAuditEntry, OpHash};
use crate::telemetry::metrics;

/// What came of an errand.
pub(super) enum Done {
    /// A token that renews the connection's was looked at.
    LookedAt(Result<Identity, Error>),
    /// A backend's command is on record, unless that failed.
    Recorded(Wanted, store::Result<()>),
}

/// A backend's command.
pub(super) struct Wanted {
    id: u64,
    raid: RaidId,
    op: Option<OpHash>,
    command: Command,
}

/// An error in answer to a message.
pub(super) fn error_frame(
    form: impl Into<Form>,
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
    frame::message(form, &message)
}

/// The error for what was too much below the level of messages.
pub(super) fn excess_frame(form: impl Into<Form>, excess: Excess, wait: Duration) -> Bytes {
    metrics().excess.increment(excess.as_str());
    error_frame(form, excess.as_str(), None, None, &Error::RateLimited(wait))
}

fn invalid(field: &str, message: impl Into<String>) -> Error {
    Error::Refused(Refusal::Invalid(vec![FieldFault::new(field, message)]))
}

impl Connection {
    /// Carries out one message.
    pub(super) fn request(&mut self, message: ClientMessage) -> Result<(), Ending> {
        match message {
            ClientMessage::Beat => {}
            ClientMessage::Hello { token, .. } => self.renew(token),
            ClientMessage::Watch { id, raid, since } => self.watch(id, raid, since),
            ClientMessage::Unwatch { raid, .. } => {
                self.viewer.watches.remove(raid);
                self.answer(&ServerMessage::Unwatched {
                    raid,
                    reason: UnwatchReason::Asked,
                });
            }
            ClientMessage::Do { id, raid, op, cmd } => self.execute(id, raid, op, cmd),
            ClientMessage::Signal {
                id,
                raid,
                kind,
                data,
            } => self.signal(id, raid, &kind, data),
        }
        Ok(())
    }

    /// A token of our own is looked at on the spot.
    fn renew(&mut self, token: String) {
        let (auth, now) = (
            &self.viewer.sockets.0.auth,
            self.viewer.sockets.0.clock.now(),
        );
        if let Some(identified) = auth.authenticate_locally(&token, now) {
            return self.renewed(identified);
        }
        let sockets = self.viewer.sockets.clone();
        self.errand = Some(Box::pin(async move {
            Done::LookedAt(sockets.identify(&token).await)
        }));
    }

    /// An errand is done.
    pub(super) fn after(&mut self, done: Done) {
        match done {
            Done::LookedAt(token) => self.renewed(token),
            Done::Recorded(
                Wanted {
                    id,
                    raid,
                    op,
                    command,
                },
                Ok(()),
            ) => {
                self.submit(id, raid, op, raid::RaidCommand::Service { command });
            }
            Done::Recorded(Wanted { id, raid, .. }, Err(error)) => {
                warn!(
                    ?error,
                    "a backend's command could not be recorded, and is not carried out"
                );
                self.refuse("do", Some(id), Some(raid), &Error::Unavailable);
            }
        }
    }

    fn renewed(&mut self, token: Result<Identity, Error>) {
        let refused = match token {
            Ok(identity) if identity.subject == self.viewer.identity.subject => {
                self.viewer.renew(identity);
                let welcome = self.welcome();
                return self.answer(&welcome);
            }
            Ok(_) => Error::Forbidden("This token is another player's"),
            Err(error) => error,
        };
        self.refuse("hello", None, None, &refused);
    }

    fn watch(&mut self, id: Option<u64>, raid: RaidId, since: Option<Seq>) {
        let max = self.viewer.sockets.0.options.watches;
        if self.viewer.watches.len() >= max && !self.viewer.watches.contains(raid) {
            let error = invalid(
                "raid",
                format!("at most {max} raids can be watched at once"),
            );
            return self.refuse("watch", id, Some(raid), &error);
        }
        let ticket = self.viewer.watches.ask(raid, id);
        let outbox = Arc::clone(&self.viewer.outbox);
        self.viewer
            .sockets
            .0
            .sessions
            .watch(outbox, ticket, self.viewer.identity.caller(), since);
    }

    fn execute(&mut self, id: u64, raid: RaidId, op: Option<OpKey>, command: Command) {
        let op = op.map(|op| OpHash::new(&self.viewer.identity.subject, &op));
        let command = match (&self.viewer.identity.player, self.viewer.identity.scope) {
            (Some(player), Scope::Player) => raid::RaidCommand::Player {
                by: player.id,
                command,
            },
            (_, Scope::Service) => {
                return self.record(Wanted {
                    id,
                    raid,
                    op,
                    command,
                });
            }
            _ => {
                let error = Error::Forbidden("This token may look and no more");
                return self.refuse("do", Some(id), Some(raid), &error);
            }
        };
        self.submit(id, raid, op, command);
    }

    /// What a backend does is on record before it takes effect.
    fn record(&mut self, wanted: Wanted) {
        let (subject, session) = (&self.viewer.identity.subject, self.session.to_string());
        let deed = NewAuditEntry::from_command(subject, &session, wanted.raid, &wanted.command);
        let store = Arc::clone(&self.viewer.sockets.0.store);
        self.errand = Some(Box::pin(async move {
            Done::Recorded(wanted, store.record_audit(&deed).await)
        }));
    }

    fn submit(&mut self, id: u64, raid: RaidId, op: Option<OpHash>, command: raid::RaidCommand) {
        let outbox = Arc::clone(&self.viewer.outbox);
        self.viewer.watches.expect_answer();
        let reply = Reply::new(move |result| answer_do(&outbox, id, raid, result));
        self.viewer
            .sockets
            .0
            .sessions
            .submit(raid, command, op, reply);
    }

    fn signal(&mut self, id: Option<u64>, raid: RaidId, kind: &str, data: Value) {
        let max = self.viewer.sockets.0.options.signal_bytes;
        if Codec::Json.encode(&data).len() > max {
            let error = invalid("data", format!("must be at most {max} bytes of JSON"));
            return self.refuse("signal", id, Some(raid), &error);
        }
        let Some(player) = self.viewer.identity.player.as_ref().map(|player| player.id) else {
            return self.refuse("signal", id, Some(raid), &Refusal::NotMember.into());
        };
        if let Some(audience) = self.viewer.watches.audience(raid) {
            if audience
                .signal(self.viewer.outbox.id, player, kind, data)
                .is_err()
            {
                self.refuse("signal", id, Some(raid), &Refusal::NotMember.into());
            }
            return;
        }
        let outbox = Arc::clone(&self.viewer.outbox);
        self.viewer.watches.expect_answer();
        let reply = Reply::new(move |result| {
            let refused = |error| error_frame(outbox.form, "signal", id, Some(raid), &error);
            outbox.answer(match result {
                Ok(()) => Answer::Silence,
                Err(error) => {
                    // Nobody learns by a signal which raids exist.
                    let hidden = error == Error::Refused(Refusal::NotFound);
                    let error = if hidden {
                        Refusal::NotMember.into()
                    } else {
                        error
                    };
                    Answer::Frame {
                        raid: Some(raid),
                        seq: Seq::ZERO,
                        frame: refused(error),
                    }
                }
            });
        });
        self.viewer.sockets.0.sessions.signal(
            raid,
            self.viewer.outbox.id,
            player,
            kind.to_owned(),
            data,
            reply,
        );
    }

    /// Answers a message with an error.
    pub(super) fn refuse(
        &mut self,
        re: &str,
        id: Option<u64>,
        raid: Option<RaidId>,
        error: &Error,
    ) {
        let frame = error_frame(self.viewer.outbox.form, re, id, raid, error);
        self.viewer.watches.expect_answer();
        self.viewer.outbox.answer(Answer::Frame {
            raid,
            seq: Seq::ZERO,
            frame,
        });
    }

    /// Answers at once, whatever else is still to be answered.
    fn answer(&mut self, message: &ServerMessage) {
        let frame = frame::message(self.viewer.outbox.form, message);
        self.viewer.watches.expect_answer();
        self.viewer.outbox.answer(Answer::Frame {
            raid: None,
            seq: Seq::ZERO,
            frame,
        });
    }
}

fn answer_do(outbox: &Outbox, id: u64, raid: RaidId, result: Result<Ack, Error>) {
    let (seq, frame) = match result {
        Ok(Ack { seq, duplicate }) => (
            seq,
            frame::message(
                outbox.form,
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
            error_frame(outbox.form, "do", Some(id), Some(raid), &error),
        ),
    };
    outbox.answer(Answer::Frame {
        raid: Some(raid),
        seq,
        frame,
    });
}
