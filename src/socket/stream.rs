//! A raid as Server-Sent Events: `GET /raids/{id}/stream`, for clients behind what lets no WebSocket through and for
//! programs that only listen.
//!
//! It is a connection that watches one raid and cannot ask for anything: the same cursor into the raid's ring, the same
//! collapse into a snapshot, the same places, ends and bounds. Its task gives the answer's body one piece at a time, so
//! what the client does not take stays in the ring.

use super::Sockets;
use super::greeting::Ending;
use super::pages::Pages;
use super::queue::Queue;
use super::watches::{Need, Watches};
use crate::address::ClientAddress;
use crate::auth::{self, Identity};
use crate::error::Error;
use crate::frame::{self, Form};
use crate::http::{Failure, Query, RaidPath, seq};
use crate::outbox::Outbox;
use crate::telemetry::{Held, metrics};
use axum::Extension;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, HeaderName};
use axum::response::{IntoResponse, Response};
use futures_util::stream::unfold;
use raidhall_protocol::{CloseCode, RaidId, Seq};
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until, timeout, timeout_at};
use tracing::{Instrument, debug, info_span};

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
) -> Result<Response, Failure> {
    let token = auth::bearer(&headers).ok_or(Error::Unauthenticated("Sign in first"))?;
    let identity = sockets.identify(token).await?;
    let since = since(&headers, query, &sockets.0.lineage)?;
    let address = address.map_or(ClientAddress::UNKNOWN, |Extension(address)| address);
    let admission = sockets.admit(address.network(), true).await?;
    let place = match &identity.player {
        Some(player) => Some(sockets.0.registry.place_for_player(player.id).ok_or_else(super::full)?),
        None => None,
    };
    let (sink, source) = mpsc::channel(1);
    let mut stream = Stream::new(sockets.clone(), identity, sink);
    stream.open(raid, since).await?;
    let span = info_span!("stream", connection = stream.outbox.id.0);
    let served = async move {
        stream.run().await;
        drop((admission, place));
    };
    sockets.0.tasks.spawn(served.instrument(span));

    let pieces = unfold(source, async |mut source| {
        source.recv().await.map(|piece| (Ok::<_, Infallible>(piece), source))
    });
    let headers =
        [(CONTENT_TYPE, "text/event-stream"), (ACCEL_BUFFERING, "no"), (LINEAGE, sockets.0.lineage.as_str())];
    Ok((headers, Body::from_stream(pieces)).into_response())
}

/// What the client holds: by the id of the last event that it got, else by `since`; nothing of another lineage's.
fn since(headers: &HeaderMap, mut query: Query, lineage: &str) -> Result<Option<Seq>, Failure> {
    let since = query.seq("since");
    let theirs = query.text("lineage").is_none_or(|named| named == lineage);
    query.finish()?;
    let last = match headers.get(LAST_EVENT_ID) {
        Some(id) => Some(id.to_str().ok().and_then(seq).ok_or_else(|| {
            Failure::field("Last-Event-ID", "must be the id of an event: a whole number from 0 to 2^53 - 1")
        })?),
        None => since,
    };
    Ok(last.filter(|_| theirs))
}

struct Stream {
    sockets: Sockets,
    outbox: Arc<Outbox>,
    identity: Identity,
    watches: Watches,
    pages: Pages,
    queue: Queue,
    /// The answer's body, which takes a piece when the one before has gone to the client.
    sink: mpsc::Sender<Bytes>,
    heartbeat_at: Instant,
    token_ends: Instant,
    drain_at: Option<Instant>,
}

impl Stream {
    fn new(sockets: Sockets, identity: Identity, sink: mpsc::Sender<Bytes>) -> Self {
        let outbox = Arc::new(Outbox::new(sockets.0.registry.next_id(), Form::EventStream));
        sockets.register(&outbox, &identity);
        Self {
            watches: Watches::new(Arc::clone(&outbox), sockets.0.options.slack()),
            pages: Pages::new(&sockets.0.store),
            queue: Queue::new(),
            heartbeat_at: Instant::now() + sockets.0.options.heartbeat,
            token_ends: sockets.token_ends(&identity),
            drain_at: None,
            sockets,
            outbox,
            identity,
            sink,
        }
    }

    /// Begins to watch, unless that is refused.
    async fn open(&mut self, raid: RaidId, since: Option<Seq>) -> Result<(), Error> {
        let ticket = self.watches.ask(raid, None);
        let outbox = Arc::clone(&self.outbox);
        self.sockets.0.sessions.open(outbox, ticket, self.identity.caller(), since).await
    }

    async fn run(&mut self) {
        let _gauge = Held::one(&metrics().connections);
        debug!(subject = self.identity.subject, "streams");
        let (cause, last) = match self.follow().await {
            Ending::Close(CloseCode::Normal) => (CloseCode::Normal.as_str(), None),
            Ending::Close(code) => (code.as_str(), Some(frame::closing(code))),
            Ending::Drained(bye) => (CloseCode::Draining.as_str(), Some(bye)),
            Ending::Gone => ("gone", None),
        };
        metrics().closes.increment(cause);
        debug!(cause, "the stream ends");
        if let Some(last) = last {
            // Whoever does not take it within the time comes back by itself.
            let _ = timeout(LINGER, self.sink.send(last)).await;
        }
    }

    async fn follow(&mut self) -> Ending {
        loop {
            if let Some(code) = self.outbox.ending() {
                return Ending::Close(code);
            }
            self.drain_at = self.drain_at.or_else(|| self.sockets.drains_at());
            for need in self.watches.gather(&mut self.queue) {
                match need {
                    Need::Snapshot(ticket) => {
                        let outbox = Arc::clone(&self.outbox);
                        self.sockets.0.sessions.resync(outbox, ticket, self.identity.caller());
                    }
                    Need::Page(ticket, after) => self.pages.read(ticket, after),
                }
            }
            if !self.queue.is_empty() {
                if let Err(ending) = self.write().await {
                    return ending;
                }
                continue;
            }
            if self.watches.len() == 0 {
                return Ending::Close(CloseCode::Normal);
            }
            let timer = sleep_until(self.next_timer());
            tokio::select! { biased;
                () = self.outbox.ended() => {}
                () = timer => {
                    if let Err(ending) = self.on_timer() {
                        return ending;
                    }
                }
                (ticket, events) = self.pages.next(), if self.pages.is_reading() => {
                    // A replay that was promised comes whole, or the client is told to resume.
                    if !self.watches.show_page(ticket, events, &mut self.queue) {
                        return Ending::Close(CloseCode::SlowConsumer);
                    }
                }
                () = self.sink.closed() => return Ending::Gone,
                () = self.outbox.woken() => {}
            }
        }
    }

    /// Gives the client all that waits, as fast as it takes it.
    async fn write(&mut self) -> Result<(), Ending> {
        while let Some(piece) = self.queue.pop_front() {
            let length = piece.len() as u64;
            let stuck_at = self.queue.progress() + self.sockets.0.options.write_stall;
            tokio::select! { biased;
                () = self.outbox.ended() => return Err(self.outbox.ending().map_or(Ending::Gone, Ending::Close)),
                sent = timeout_at(stuck_at, self.sink.send(piece)) => match sent {
                    Ok(Ok(())) => self.queue.progressed(),
                    Ok(Err(_)) => return Err(Ending::Gone),
                    Err(_) => return Err(Ending::Close(CloseCode::SlowConsumer)),
                }
            }
            metrics().deliveries.increment(1);
            metrics().delivered_bytes.increment(length);
        }
        Ok(())
    }

    fn next_timer(&self) -> Instant {
        let others = [self.watches.next_ask(), self.drain_at].into_iter().flatten();
        others.fold(self.heartbeat_at.min(self.token_ends), Instant::min)
    }

    fn on_timer(&mut self) -> Result<(), Ending> {
        let now = Instant::now();
        if self.drain_at.is_some_and(|at| now >= at) {
            return Err(Ending::Drained(frame::message(Form::EventStream, &self.sockets.bye())));
        }
        if now >= self.token_ends {
            return Err(Ending::Close(CloseCode::Unauthenticated));
        }
        if now >= self.heartbeat_at {
            self.heartbeat_at = now + self.sockets.0.options.heartbeat;
            self.queue.push(frame::HEARTBEAT);
        }
        Ok(())
    }
}

/// Whatever ended it, a stream gives up its watch and what was on its way.
impl Drop for Stream {
    fn drop(&mut self) {
        self.sockets.0.registry.remove(&self.outbox);
        self.watches.leave_all();
    }
}
