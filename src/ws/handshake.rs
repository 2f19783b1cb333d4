//! The handshake of a WebSocket. Until `hello` is accepted a client can do nothing else; accepting
//! it consumes the handshake and makes a connection.

use std::time::Duration;

use bytes::Bytes;
use raidhall_protocol::client::Topic;
use raidhall_protocol::decode::{DecodeError, decode};
use raidhall_protocol::{ClientMessage, CloseCode, Codec};
use tokio::time::{Instant, sleep, timeout, timeout_at};
use tracing::debug;

use super::connection::Connection;
use super::connection_registry::{Admission, TooManyOfPlayer};
use super::inbound::{Inbound, InboundItem};
use super::message_meter::MessageMeter;
use super::outbound::Outbound;
use super::requests::{error_frame, excess_error_frame};
use super::subscriber::DisconnectCause;
use super::{ConnectionService, close_code_for};
use crate::auth::Identity;
use crate::error::Error;
use crate::fanout::frame;
use crate::fanout::outbox::ConnectionId;
use crate::net::listener::ClientStream;
use crate::raid::Refusal;
use crate::telemetry::{GaugeGuard, Label, metrics};

/// How long the client's bytes are read and discarded after the server's Close frame, so that a TCP
/// reset cannot overtake the close code.
const CLOSE_LINGER_TIMEOUT: Duration = Duration::from_secs(1);

/// A WebSocket connection before its `hello` is accepted.
pub(super) struct Handshake {
    service: ConnectionService,
    id: ConnectionId,
    codec: Codec,
    inbound: Inbound,
    outbound: Outbound,
    meter: MessageMeter,
}

impl Handshake {
    pub(super) async fn new(
        service: ConnectionService,
        id: ConnectionId,
        codec: Codec,
        stream: ClientStream,
        first: Bytes,
    ) -> Self {
        let (read, write) = tokio::io::split(stream);
        let options = &service.0.options;
        let inbound = Inbound::new(
            read,
            first,
            codec,
            options.message_bytes_max,
            options.receive_rates(),
        )
        .await;
        let meter = MessageMeter::new(options.commands_per_second.get(), options.message_bytes_max);
        Self {
            service,
            id,
            codec,
            inbound,
            outbound: Outbound::new(write),
            meter,
        }
    }

    /// Serves the client until the connection ends. `identity` is given if the upgrade carried a
    /// token; no `hello` is needed then.
    pub(super) async fn run(mut self, identity: Option<Identity>, mut admission: Admission) {
        let _gauge = GaugeGuard::increment(&metrics().connections);
        let deadline = Instant::now() + self.service.0.options.hello_timeout;
        let hello = match identity {
            Some(identity) => Ok(identity),
            None => timeout_at(deadline, self.receive_hello())
                .await
                .unwrap_or(Err(DisconnectCause::Close(CloseCode::Unauthenticated))),
        };
        let Self {
            service,
            id,
            codec,
            inbound,
            outbound,
            meter,
        } = &mut self;
        let ending = match hello {
            Err(ending) => ending,
            Ok(identity) => {
                admission.mark_authenticated();
                match service.0.connections.acquire_player_permit(&identity).await {
                    Ok(_permit) => {
                        Connection::new(service.clone(), *id, *codec, identity, *meter)
                            .run(inbound, outbound)
                            .await
                    }
                    Err(TooManyOfPlayer) => DisconnectCause::Close(CloseCode::TooManyConnections),
                }
            }
        };
        let cause = ending.label();
        let (code, bye) = match ending {
            DisconnectCause::Close(code) => (code, None),
            DisconnectCause::Drained(bye) => (CloseCode::Draining, Some(bye)),
            DisconnectCause::ClientGone => (CloseCode::Normal, None),
        };
        metrics().closes.increment(cause);
        debug!(cause = cause.as_str(), "the connection ends");
        outbound.drop_unsent();
        if let Some(bye) = bye {
            outbound.push(bye);
        }
        close_connection(inbound, outbound, code).await;
    }

    /// Waits for a valid `hello`. One with faulty fields is answered and may be sent again, once.
    async fn receive_hello(&mut self) -> Result<Identity, DisconnectCause> {
        let mut was_faulty = false;
        loop {
            let received = self.inbound.next().await;
            let frame = match received {
                InboundItem::Message(frame) => frame,
                InboundItem::Ping(payload) => {
                    self.send(frame::pong(&payload)).await?;
                    continue;
                }
                InboundItem::Pong => continue,
                InboundItem::RateExceeded(excess, wait) => {
                    self.send(excess_error_frame(self.codec, excess, wait))
                        .await?;
                    continue;
                }
                InboundItem::Violation(code) => return Err(DisconnectCause::Close(code)),
                InboundItem::ClientGone => return Err(DisconnectCause::ClientGone),
            };
            // No message is refused here, since at most two are decoded.
            let wait = self.meter.charge(frame.len()).unwrap_or_default();
            if !wait.is_zero() {
                sleep(wait).await;
            }
            match decode(self.codec, &frame) {
                Ok(ClientMessage::Hello { token, client }) => {
                    debug!(client, "hello");
                    let verified = self.service.authenticate(&token).await;
                    return verified
                        .map_err(|error| DisconnectCause::Close(close_code_for(&error)));
                }
                Err(DecodeError::Undecodable(_)) => {
                    return Err(DisconnectCause::Close(CloseCode::BadMessage));
                }
                Err(DecodeError::Invalid(invalid)) if invalid.re == "hello" => {
                    if was_faulty {
                        return Err(DisconnectCause::Close(CloseCode::BadMessage));
                    }
                    was_faulty = true;
                    let error = Error::Refused(Refusal::Invalid(invalid.fields));
                    self.send(error_frame(
                        self.codec,
                        "hello",
                        invalid.id,
                        invalid.topic.and_then(Topic::raid),
                        &error,
                    ))
                    .await?;
                }
                Ok(_) | Err(DecodeError::Invalid(_)) => {
                    return Err(DisconnectCause::Close(CloseCode::Unauthenticated));
                }
            }
        }
    }

    async fn send(&mut self, frame: Bytes) -> Result<(), DisconnectCause> {
        self.outbound.push(frame);
        while !self.outbound.is_empty() {
            self.outbound
                .write()
                .await
                .map_err(|_| DisconnectCause::ClientGone)?;
        }
        Ok(())
    }
}

/// Closes a connection: writes what is queued, sends the Close frame, then reads and discards what
/// still arrives. Gives up after [`CLOSE_LINGER_TIMEOUT`].
async fn close_connection(inbound: &mut Inbound, outbound: &mut Outbound, code: CloseCode) {
    outbound.push(frame::close(code));
    let goodbye = async {
        if outbound.finish().await.is_ok() {
            inbound.discard().await;
        }
    };
    // A client that does not take the Close frame in time is disconnected without it.
    let _ = timeout(CLOSE_LINGER_TIMEOUT, goodbye).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    // Every connection keeps its task for as long as it lives. Each future that the task awaits
    // anywhere is part of its size, however seldom it runs; large futures must be boxed.
    #[test]
    fn a_connection_task_is_small() {
        fn size<A, B, C, F: Future>(_: fn(A, B, C) -> F) -> usize {
            std::mem::size_of::<F>()
        }
        let task =
            size(|handshake: Handshake, identity, admission| handshake.run(identity, admission));
        assert!(task < 4_096, "{task} bytes");
    }
}
