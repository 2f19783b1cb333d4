//! A raid as Server-Sent Events: `GET /raids/{id}/stream`, for clients behind what lets no WebSocket through and for
//! programs that only listen.
//!
//! It is a connection that watches one raid and cannot ask for anything: the same cursor into the raid's ring, the same
//! collapse into a snapshot, the same places, ends and bounds. Its task gives the answer's body one piece at a time, so
//! what the client does not take stays in the ring.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::Extension;
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

use super::Sockets;
use super::send_queue::Queue;
use super::subscriber::{Ending, Viewer};
use crate::auth::{self, Identity};
use crate::error::Error;
use crate::fanout::frame::{self, Form};
use crate::http::{ErrorResponse, Query, RaidPath, parse_seq};
use crate::net::client_address::ClientAddress;
use crate::telemetry::{Held, metrics};

const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");
/// Names the history of the database that the ids belong to.
pub(crate) const LINEAGE: HeaderName = HeaderName::from_static("raidhall-lineage");
/// Tells nginx and its like to pass events on as they come.
const ACCEL_BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");
/// How long a client may take to take the last word.
const LINGER: Duration = Duration::from_secs(1);

pub(super) async fn stream(
    State(sockets): State<Sockets>,
    address: Option<Extension<ClientAddress>>,
    RaidPath(raid): RaidPath,
    headers: HeaderMap,
    query: Query,
) -> Result<Response, ErrorResponse> {
    let token = auth::bearer_token(&headers).ok_or(Error::Unauthenticated("Sign in first"))?;
    let identity = sockets.identify(token).await?;
    let since = since(&headers, query, &sockets.0.lineage)?;
    let address = address.map_or(ClientAddress::UNKNOWN, |Extension(address)| address);
    let admission = sockets.admit(address.network(), true).await?;
    let place = match &identity.player {
        Some(player) => Some(
            sockets
                .0
                .registry
                .place_for_player(player.id)
                .ok_or_else(super::full)?,
        ),
        None => None,
    };
    let (sink, source) = mpsc::channel(1);
    let mut stream = Stream::new(sockets.clone(), identity, sink);
    stream.open(raid, since).await?;
    let span = info_span!("stream", connection = stream.viewer.outbox.id.0);
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
        (ACCEL_BUFFERING, "no"),
        (LINEAGE, sockets.0.lineage.as_str()),
    ];
    Ok((headers, Body::from_stream(pieces)).into_response())
}

/// What the client holds: by the id of the last event that it got, else by `since`; nothing of another lineage's.
fn since(
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

struct Stream {
    viewer: Viewer,
    queue: Queue,
    /// The answer's body, which takes a piece when the one before has gone to the client.
    sink: mpsc::Sender<Bytes>,
}

impl Stream {
    fn new(sockets: Sockets, identity: Identity, sink: mpsc::Sender<Bytes>) -> Self {
        let id = sockets.0.registry.next_id();
        Self {
            viewer: Viewer::new(sockets, id, Form::EventStream, identity),
            queue: Queue::new(),
            sink,
        }
    }

    /// Begins to watch, unless that is refused.
    async fn open(&mut self, raid: RaidId, since: Option<Seq>) -> Result<(), Error> {
        let Viewer {
            sockets,
            outbox,
            identity,
            watches,
            ..
        } = &mut self.viewer;
        let ticket = watches.ask(raid, None);
        sockets
            .0
            .sessions
            .open(Arc::clone(outbox), ticket, identity.caller(), since)
            .await
    }

    async fn run(&mut self) {
        let _gauge = Held::one(&metrics().connections);
        debug!(subject = self.viewer.identity.subject, "streams");
        let ending = self.follow().await;
        metrics().closes.increment(ending.cause());
        debug!(cause = ending.cause(), "the stream ends");
        let last = match ending {
            Ending::Close(CloseCode::Normal) | Ending::Gone => return,
            Ending::Close(code) => frame::closing(code),
            Ending::Drained(bye) => bye,
        };
        // Whoever does not take it within the time comes back by itself.
        let _ = timeout(LINGER, self.sink.send(last)).await;
    }

    async fn follow(&mut self) -> Ending {
        let timer = sleep_until(self.viewer.next_timer(&self.queue));
        tokio::pin!(timer);
        loop {
            if let Some(ending) = self.viewer.ending() {
                return ending;
            }
            if self.queue.is_empty() {
                self.viewer.gather(&mut self.queue);
            }
            let blocked = !self.queue.is_empty();
            if !blocked && self.viewer.watches.len() == 0 {
                return Ending::Close(CloseCode::Normal);
            }
            let next = self.viewer.next_timer(&self.queue);
            if next < timer.deadline() || timer.is_elapsed() {
                timer.as_mut().reset(next);
            }
            tokio::select! { biased;
                () = self.viewer.outbox.ended() => {}
                () = &mut timer => match self.viewer.on_timer(&self.queue) {
                    Ok(true) if !blocked => self.queue.push(frame::HEARTBEAT),
                    Ok(_) => {}
                    Err(ending) => return ending,
                },
                permit = self.sink.reserve(), if blocked => match permit {
                    Ok(permit) => give(&mut self.queue, permit),
                    Err(_) => return Ending::Gone,
                },
                (ticket, events) = self.viewer.pages.next(), if self.viewer.pages.is_reading() => {
                    if let Err(ending) = self.viewer.show_page(ticket, events, &mut self.queue) {
                        return ending;
                    }
                }
                () = self.sink.closed(), if !blocked => return Ending::Gone,
                () = self.viewer.outbox.woken(), if !blocked => {}
            }
        }
    }
}

/// Gives the client the next piece that waits.
fn give(queue: &mut Queue, permit: mpsc::Permit<'_, Bytes>) {
    let Some(piece) = queue.pop_front() else {
        return;
    };
    metrics().deliveries.increment(1);
    metrics().delivered_bytes.increment(piece.len() as u64);
    permit.send(piece);
    queue.progressed();
}
