//! A raid or the player's own stream as Server-Sent Events: `GET /raids/{id}/stream` and
//! `GET /me/stream`, for clients behind proxies that block WebSockets and for programs that only
//! listen.
//!
//! An event stream is a connection that watches one raid or player and takes no requests. It has the same
//! cursor into the raid's ring as a WebSocket, the same collapse into a snapshot, the same permits,
//! limits and close causes. Its task passes one frame at a time to the response body, so events
//! that the client has not taken stay in the ring.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, HeaderName};
use axum::response::{IntoResponse, Response};
use futures_util::stream::unfold;
use raidhall_protocol::client::Topic;
use raidhall_protocol::{CloseCode, RaidId, Seq, ServerMessage};
use tokio::sync::mpsc;
use tokio::time::{sleep_until, timeout};
use tracing::{Instrument, debug, info_span};

use super::ConnectionService;
use super::connection_registry::TooManyOfPlayer;
use super::player_watch::{self, PlayerWatch};
use super::send_queue::SendQueue;
use super::subscriber::{DisconnectCause, Subscriber};
use crate::auth::Identity;
use crate::error::Error;
use crate::fanout::frame::{self, Encoding};
use crate::http::header_names::{LAST_EVENT_ID, RAIDHALL_LINEAGE};
use crate::http::{ErrorResponse, Query, RaidPath, parse_seq, require_bearer_token};
use crate::net::client_address::ClientAddress;
use crate::telemetry::{GaugeGuard, Label, metrics};

/// The header that makes nginx and compatible proxies forward events without buffering.
const X_ACCEL_BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");
/// How long the last frame of a stream waits for the client to take it.
const FINAL_FRAME_TIMEOUT: Duration = Duration::from_secs(1);

pub(super) async fn open_raid_stream(
    State(service): State<ConnectionService>,
    address: ClientAddress,
    RaidPath(raid): RaidPath,
    headers: HeaderMap,
    query: Query,
) -> Result<Response, ErrorResponse> {
    open_event_stream(service, address, Topic::Raid(raid), headers, query).await
}

pub(super) async fn open_player_stream(
    State(service): State<ConnectionService>,
    address: ClientAddress,
    headers: HeaderMap,
    query: Query,
) -> Result<Response, ErrorResponse> {
    open_event_stream(service, address, Topic::Me, headers, query).await
}

async fn open_event_stream(
    service: ConnectionService,
    address: ClientAddress,
    topic: Topic,
    headers: HeaderMap,
    query: Query,
) -> Result<Response, ErrorResponse> {
    let identity = service
        .authenticate(require_bearer_token(&headers)?)
        .await?;
    let since = resume_seq(&headers, query, &service.lineage)?;
    let admission = service.admit(address.network(), true).await?;
    let permit = service.0.connections.acquire_player_permit(&identity);
    let player_permit =
        (permit.await).map_err(|TooManyOfPlayer| super::connection_limit_error())?;
    let (sink, source) = mpsc::channel(1);
    let mut stream = SseConnection::new(service.clone(), identity, sink);
    match topic {
        Topic::Raid(raid) => stream.watch_raid(raid, since).await?,
        Topic::Me => stream.watch_player(since).await?,
    }
    let span = info_span!("stream", connection = stream.subscriber.outbox.id.0);
    let served = async move {
        stream.run().await;
        drop((admission, player_permit));
    };
    service.0.tasks.spawn(served.instrument(span));

    let frames = unfold(source, async |mut source| {
        source
            .recv()
            .await
            .map(|frame| (Ok::<_, Infallible>(frame), source))
    });
    let headers = [
        (CONTENT_TYPE, "text/event-stream"),
        (X_ACCEL_BUFFERING, "no"),
        (RAIDHALL_LINEAGE, service.lineage.as_str()),
    ];
    Ok((headers, Body::from_stream(frames)).into_response())
}

/// Returns the seq after which the client resumes: that of `Last-Event-ID`, else of `since`. `None`
/// if there is neither, or if the client's `lineage` is not this database's.
fn resume_seq(
    headers: &HeaderMap,
    mut query: Query,
    lineage: &str,
) -> Result<Option<Seq>, ErrorResponse> {
    let since = query.seq("since");
    let same_lineage = query.text("lineage").is_none_or(|named| named == lineage);
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
    Ok(last.filter(|_| same_lineage))
}

struct SseConnection {
    subscriber: Subscriber,
    queue: SendQueue,
    /// The sender to the response body, which accepts a frame once the one before it has been
    /// taken.
    body_sender: mpsc::Sender<Bytes>,
}

impl SseConnection {
    fn new(
        service: ConnectionService,
        identity: Identity,
        body_sender: mpsc::Sender<Bytes>,
    ) -> Self {
        let id = service.0.connections.next_id();
        Self {
            subscriber: Subscriber::new(service, id, Encoding::EventStream, identity),
            queue: SendQueue::new(),
            body_sender,
        }
    }

    /// Begins to watch the raid, or returns why the session refuses.
    async fn watch_raid(&mut self, raid: RaidId, since: Option<Seq>) -> Result<(), Error> {
        let Subscriber {
            service,
            outbox,
            identity,
            watches,
            ..
        } = &mut self.subscriber;
        let ticket = watches.begin(raid, None);
        service
            .sessions
            .open_watch(Arc::clone(outbox), ticket, (&*identity).into(), since)
            .await
    }

    /// Begins to watch the player's own stream.
    async fn watch_player(&mut self, since: Option<Seq>) -> Result<(), Error> {
        let player = self.subscriber.identity.player.as_ref();
        let player = player
            .ok_or(Error::Forbidden("Only a player may do this"))?
            .id;
        let streams = self.subscriber.service.streams.clone();
        let outbox = Arc::clone(&self.subscriber.outbox);
        let (watch, answer) = PlayerWatch::open(streams, player, outbox, None, since).await?;
        let answer = ServerMessage::Player(answer);
        self.queue
            .push(frame::encode(Encoding::EventStream, &answer));
        self.subscriber.player_watch = Some(watch);
        Ok(())
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
        // A client that does not take the last frame in time reconnects by itself.
        let _ = timeout(FINAL_FRAME_TIMEOUT, self.body_sender.send(last)).await;
    }

    /// Serves the client until the stream ends, and returns the cause. Each round queues what can
    /// be sent, then waits for the first of:
    ///
    /// - a request from outside to close the connection,
    /// - the timer: heartbeat, write stall, token expiry, drain, or a snapshot request,
    /// - room in the response body, while frames wait to be sent,
    /// - a replay page from the store, or a page of the player's stream,
    /// - the client's end of the response, or a wake-up of the outbox, while nothing waits to be
    ///   sent.
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
            if !blocked && self.subscriber.watches_nothing() {
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
                events = player_watch::next_page(&mut self.subscriber.player_watch), if self.subscriber.is_reading_player_page() => {
                    self.subscriber.on_player_page(events, &mut self.queue);
                }
                () = self.body_sender.closed(), if !blocked => return DisconnectCause::ClientGone,
                () = self.subscriber.outbox.woken(), if !blocked => {}
            }
        }
    }
}

/// Passes the first frame of the queue to the response body.
fn send_front(queue: &mut SendQueue, permit: mpsc::Permit<'_, Bytes>) {
    let Some(frame) = queue.pop_front() else {
        return;
    };
    metrics().deliveries.increment(1);
    metrics().delivered_bytes.increment(frame.len() as u64);
    permit.send(frame);
    queue.record_progress();
}
