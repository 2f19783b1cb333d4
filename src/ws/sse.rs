//! A raid as Server-Sent Events: `GET /raids/{id}/stream`, for clients behind what lets no WebSocket through and for
//! programs that only listen.
//!
//! It is a connection that watches one raid and cannot ask for anything: the same cursor into the raid's ring, the same
//! collapse into a snapshot, the same places, ends and bounds. Its task gives the answer's body one piece at a time, so
//! what the client does not take stays in the ring.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, HeaderName};
use axum::response::{IntoResponse, Response};
use futures_util::stream::unfold;
use raidhall_protocol::{CloseCode, RaidId, Seq};
use tokio::sync::mpsc;
use tokio::time::{sleep_until, timeout};
use tracing::{Instrument, debug, info_span};

use super::ConnectionService;
use super::send_queue::SendQueue;
use super::subscriber::{DisconnectCause, Subscriber};
use crate::auth::Identity;
use crate::error::Error;
use crate::fanout::frame::{self, Encoding};
use crate::http::header_names::{LAST_EVENT_ID, RAIDHALL_LINEAGE};
use crate::http::{ErrorResponse, Query, RaidPath, parse_seq, require_bearer_token};
use crate::net::client_address::ClientAddress;
use crate::telemetry::{GaugeGuard, Label, metrics};

/// Tells nginx and its like to pass events on as they come.
const X_ACCEL_BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");
/// How long a client may take to take the last word.
const FINAL_FRAME_TIMEOUT: Duration = Duration::from_secs(1);

pub(super) async fn open_event_stream(
    State(sockets): State<ConnectionService>,
    address: ClientAddress,
    RaidPath(raid): RaidPath,
    headers: HeaderMap,
    query: Query,
) -> Result<Response, ErrorResponse> {
    let identity = sockets
        .authenticate(require_bearer_token(&headers)?)
        .await?;
    let since = resume_seq(&headers, query, &sockets.0.lineage)?;
    let admission = sockets.admit(address.network(), true).await?;
    let place = match &identity.player {
        Some(player) => Some(
            sockets
                .0
                .connections
                .acquire_player_permit(player.id)
                .ok_or_else(super::connection_limit_error)?,
        ),
        None => None,
    };
    let (sink, source) = mpsc::channel(1);
    let mut stream = SseConnection::new(sockets.clone(), identity, sink);
    stream.begin_watch(raid, since).await?;
    let span = info_span!("stream", connection = stream.subscriber.outbox.id.0);
    let served = async move {
        stream.run().await;
        drop((admission, place));
    };
    sockets.0.tasks.spawn(served.instrument(span));

    let pieces = unfold(source, async |mut source| {
        source
            .recv()
            .await
            .map(|piece| (Ok::<_, Infallible>(piece), source))
    });
    let headers = [
        (CONTENT_TYPE, "text/event-stream"),
        (X_ACCEL_BUFFERING, "no"),
        (RAIDHALL_LINEAGE, sockets.0.lineage.as_str()),
    ];
    Ok((headers, Body::from_stream(pieces)).into_response())
}

/// What the client holds: by the id of the last event that it got, else by `since`; nothing of another lineage's.
fn resume_seq(
    headers: &HeaderMap,
    mut query: Query,
    lineage: &str,
) -> Result<Option<Seq>, ErrorResponse> {
    let since = query.seq("since");
    let theirs = query.text("lineage").is_none_or(|named| named == lineage);
    query.finish()?;
    let last = match headers.get(LAST_EVENT_ID) {
        Some(id) => Some(id.to_str().ok().and_then(parse_seq).ok_or_else(|| {
            ErrorResponse::invalid_field(
                "Last-Event-ID",
                "must be the id of an event: a whole number from 0 to 2^53 - 1",
            )
        })?),
        None => since,
    };
    Ok(last.filter(|_| theirs))
}

struct SseConnection {
    subscriber: Subscriber,
    queue: SendQueue,
    /// The answer's body, which takes a piece when the one before has gone to the client.
    body_sender: mpsc::Sender<Bytes>,
}

impl SseConnection {
    fn new(
        sockets: ConnectionService,
        identity: Identity,
        body_sender: mpsc::Sender<Bytes>,
    ) -> Self {
        let id = sockets.0.connections.next_id();
        Self {
            subscriber: Subscriber::new(sockets, id, Encoding::EventStream, identity),
            queue: SendQueue::new(),
            body_sender,
        }
    }

    /// Begins to watch, unless that is refused.
    async fn begin_watch(&mut self, raid: RaidId, since: Option<Seq>) -> Result<(), Error> {
        let Subscriber {
            service: sockets,
            outbox,
            identity,
            watches,
            ..
        } = &mut self.subscriber;
        let ticket = watches.begin(raid, None);
        sockets
            .0
            .sessions
            .open_watch(Arc::clone(outbox), ticket, (&*identity).into(), since)
            .await
    }

    async fn run(&mut self) {
        let _gauge = GaugeGuard::increment(&metrics().connections);
        debug!(subject = self.subscriber.identity.subject, "streams");
        let ending = self.serve().await;
        let cause = ending.label();
        metrics().closes.increment(cause);
        debug!(cause = cause.as_str(), "the stream ends");
        let last = match ending {
            DisconnectCause::Close(CloseCode::Normal) | DisconnectCause::ClientGone => return,
            DisconnectCause::Close(code) => frame::close_event(code),
            DisconnectCause::Drained(bye) => bye,
        };
        // Whoever does not take it within the time comes back by itself.
        let _ = timeout(FINAL_FRAME_TIMEOUT, self.body_sender.send(last)).await;
    }

    async fn serve(&mut self) -> DisconnectCause {
        let timer = sleep_until(self.subscriber.next_deadline(&self.queue));
        tokio::pin!(timer);
        loop {
            if let Some(ending) = self.subscriber.check_disconnect() {
                return ending;
            }
            if self.queue.is_empty() {
                self.subscriber.queue_ready_frames(&mut self.queue);
            }
            let blocked = !self.queue.is_empty();
            if !blocked && self.subscriber.watches.len() == 0 {
                return DisconnectCause::Close(CloseCode::Normal);
            }
            let next = self.subscriber.next_deadline(&self.queue);
            if next < timer.deadline() || timer.is_elapsed() {
                timer.as_mut().reset(next);
            }
            tokio::select! { biased;
                () = self.subscriber.outbox.close_requested() => {}
                () = &mut timer => match self.subscriber.on_timer(&self.queue) {
                    Ok(true) if !blocked => self.queue.push(frame::HEARTBEAT),
                    Ok(_) => {}
                    Err(ending) => return ending,
                },
                permit = self.body_sender.reserve(), if blocked => match permit {
                    Ok(permit) => send_front(&mut self.queue, permit),
                    Err(_) => return DisconnectCause::ClientGone,
                },
                (ticket, events) = self.subscriber.replay_reader.next_page(), if self.subscriber.replay_reader.is_reading() => {
                    if let Err(ending) = self.subscriber.on_replay_page(ticket, events, &mut self.queue) {
                        return ending;
                    }
                }
                () = self.body_sender.closed(), if !blocked => return DisconnectCause::ClientGone,
                () = self.subscriber.outbox.woken(), if !blocked => {}
            }
        }
    }
}

/// Gives the client the next piece that waits.
fn send_front(queue: &mut SendQueue, permit: mpsc::Permit<'_, Bytes>) {
    let Some(piece) = queue.pop_front() else {
        return;
    };
    metrics().deliveries.increment(1);
    metrics().delivered_bytes.increment(piece.len() as u64);
    permit.send(piece);
    queue.record_progress();
}
