//! One client, from `welcome` to goodbye, in one task with one timer.
//!
//! The loop writes what can be written, then waits for whichever comes first: the timer, room in the socket, a page
//! of the ledger, a message, or a wake-up because there is something to send. While too many requests are unanswered
//! the socket is not read: the client's own backlog slows nobody else.

use super::Sockets;
use super::greeting::Ending;
use super::inbound::{Inbound, Received};
use super::outbound::Outbound;
use super::requests::excess_frame;
use super::watches::{Need, Slack, Watches};
use crate::auth::Identity;
use crate::error::Error;
use crate::frame;
use crate::outbox::{Outbox, Ticket};
use crate::raid::Refusal;
use crate::rate::Rate;
use crate::store;
use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use raidhall_protocol::decode::{DecodeError, decode};
use raidhall_protocol::server::{ByeReason, WelcomeLimits};
use raidhall_protocol::{ClientMessage, CloseCode, Event, Seq, ServerMessage};
use rand::Rng;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, sleep_until, timeout};
use tracing::{debug, warn};
use uuid::Uuid;

/// How long a connection stays after its token's end, so that it can be renewed without a break.
const TOKEN_GRACE_MS: i64 = 60_000;
/// Heartbeats without a byte from the client before it counts as gone.
const SILENT_HEARTBEATS: u32 = 2;
/// Messages over the rate limit in a row before the connection is closed.
const FLOOD: u32 = 200;
/// Events read from the store at once, for a replay that the ring does not hold.
const PAGE: u32 = 128;
const PAGE_PATIENCE: Duration = Duration::from_secs(5);

pub(super) struct Connection {
    pub(super) sockets: Sockets,
    pub(super) outbox: Arc<Outbox>,
    pub(super) identity: Identity,
    pub(super) watches: Watches,
    /// Names the connection in `welcome` and in the logs.
    session: Uuid,
    rate: Rate,
    /// When the allowance of `rate` is full again.
    rate_full_at: Instant,
    over_limit: u32,
    heartbeat_at: Instant,
    /// When the token has ended for good.
    pub(super) token_ends: Instant,
    silent: u32,
    received: u64,
    /// When a drain lets this client go.
    drain_at: Option<Instant>,
    page: Option<Page>,
    /// A token that renews the connection's, being looked at.
    pub(super) renewal: Option<BoxFuture<'static, Result<Identity, Error>>>,
    /// The answer to the latest ping; it stands for those to earlier ones (RFC 6455 section 5.5.3).
    pong: Option<Bytes>,
    /// What the client is told that sent too much.
    excess: Option<Bytes>,
}

/// A page of the ledger, being read for a watch.
struct Page {
    ticket: Ticket,
    events: BoxFuture<'static, Option<Vec<Event>>>,
}

impl Connection {
    pub(super) fn new(sockets: Sockets, outbox: Arc<Outbox>, identity: Identity) -> Self {
        let options = &sockets.0.options;
        let slack = Slack { messages: options.outbox_messages as u64, bytes: options.outbox_bytes };
        // Evenly as many as the limit says, and a burst of what two seconds give.
        let rate = Rate::new(options.commands_per_second.get().saturating_mul(2), Duration::from_secs(2));
        let heartbeat_at = Instant::now() + options.heartbeat;
        sockets.0.registry.add(&outbox, &identity);
        // Whoever was revoked since the token was checked may have been missed when connections were ended.
        if let Err(error) = sockets.0.auth.check_standing(&identity) {
            outbox.end(close_code(&error));
        }
        Self {
            token_ends: token_ends(&sockets, &identity),
            watches: Watches::new(Arc::clone(&outbox), slack),
            outbox,
            identity,
            session: Uuid::now_v7(),
            rate,
            rate_full_at: Instant::now(),
            over_limit: 0,
            heartbeat_at,
            silent: 0,
            received: 0,
            drain_at: None,
            page: None,
            renewal: None,
            pong: None,
            excess: None,
            sockets,
        }
    }

    pub(super) fn welcome(&self) -> ServerMessage {
        let options = &self.sockets.0.options;
        ServerMessage::Welcome {
            player: self.identity.player.clone(),
            session: self.session.to_string(),
            now: self.sockets.0.clock.now(),
            heartbeat_ms: u64::try_from(options.heartbeat.as_millis()).unwrap_or(u64::MAX),
            limits: WelcomeLimits {
                message_bytes: options.message_bytes as u64,
                commands_per_second: u64::from(options.commands_per_second.get()),
                watches: options.watches as u64,
            },
            lineage: self.sockets.0.lineage.clone(),
        }
    }

    pub(super) async fn run(&mut self, inbound: &mut Inbound, outbound: &mut Outbound) -> Ending {
        debug!(session = %self.session, subject = self.identity.subject, "welcome");
        outbound.push(frame::message(self.outbox.codec, &self.welcome()));
        let timer = sleep_until(self.heartbeat_at);
        tokio::pin!(timer);
        loop {
            if let Some(code) = self.outbox.ending() {
                return Ending::Close(code);
            }
            if self.sockets.0.registry.is_draining() {
                self.begin_to_drain();
            }
            if self.write_at_once(outbound).is_err() {
                return Ending::Gone;
            }
            let next = self.next_timer(outbound);
            if next < timer.deadline() || timer.is_elapsed() {
                timer.as_mut().reset(next);
            }
            let blocked = !outbound.is_empty();
            let reads = self.reads();
            tokio::select! { biased;
                () = self.outbox.ended() => {}
                () = &mut timer => {
                    if let Err(ending) = self.on_timer(inbound, outbound) {
                        return ending;
                    }
                }
                written = outbound.write(), if blocked => {
                    if written.is_err() {
                        return Ending::Gone;
                    }
                }
                events = read(&mut self.page), if self.page.is_some() => {
                    if let Err(ending) = self.on_page(events, outbound) {
                        return ending;
                    }
                }
                renewed = looked_at(&mut self.renewal), if self.renewal.is_some() => {
                    self.renewal = None;
                    self.renewed(renewed);
                }
                received = inbound.next(), if reads => {
                    if let Err(ending) = self.on_received(received) {
                        return ending;
                    }
                }
                () = self.outbox.woken(), if !blocked => {}
            }
        }
    }

    /// Gathers and writes until nothing is left or the socket takes no more.
    fn write_at_once(&mut self, outbound: &mut Outbound) -> std::io::Result<()> {
        loop {
            if outbound.is_empty() {
                self.pong.take().into_iter().chain(self.excess.take()).for_each(|frame| outbound.push(frame));
                for need in self.watches.gather(outbound) {
                    self.serve(need);
                }
            }
            if outbound.is_empty() {
                return Ok(());
            }
            match outbound.write().now_or_never() {
                Some(written) => written?,
                None => return Ok(()),
            }
        }
    }

    /// Whether the client may ask for more: not before its token has been looked at, since messages are handled in order.
    fn reads(&self) -> bool {
        self.renewal.is_none() && self.watches.pending() < self.sockets.0.options.outbox_messages
    }

    fn serve(&mut self, need: Need) {
        match need {
            Need::Snapshot(ticket) => {
                let outbox = Arc::clone(&self.outbox);
                self.sockets.0.sessions.resync(outbox, ticket, self.identity.caller());
            }
            Need::Page(ticket, after) => {
                if self.page.is_none() {
                    let events = Box::pin(read_page(Arc::clone(&self.sockets.0.store), ticket, after));
                    self.page = Some(Page { ticket, events });
                }
            }
        }
    }

    /// A replay that was promised comes whole, or the connection ends with a code that tells the client to resume.
    fn on_page(&mut self, events: Option<Vec<Event>>, outbound: &mut Outbound) -> Result<(), Ending> {
        let Some(Page { ticket, .. }) = self.page.take() else { return Ok(()) };
        let came = self.watches.show_page(ticket, events.unwrap_or_default(), outbound);
        if came { Ok(()) } else { Err(Ending::Close(CloseCode::SlowConsumer)) }
    }

    fn on_received(&mut self, received: Received) -> Result<(), Ending> {
        match received {
            Received::Message(message) => self.on_message(&message),
            Received::Ping(payload) => {
                self.pong = Some(frame::pong(&payload));
                Ok(())
            }
            Received::Pong => Ok(()),
            Received::Excess(excess, wait) => {
                self.excess = Some(excess_frame(self.outbox.codec, excess, wait));
                Ok(())
            }
            Received::Fault(code) => Err(Ending::Close(code)),
            Received::Gone => Err(Ending::Gone),
        }
    }

    fn on_message(&mut self, frame: &Bytes) -> Result<(), Ending> {
        let decoded = decode(self.outbox.codec, frame);
        if matches!(decoded, Ok(ClientMessage::Beat)) {
            return Ok(());
        }
        if let Err(DecodeError::Undecodable(reason)) = decoded {
            debug!(reason, "undecodable frame");
            return Err(Ending::Close(CloseCode::BadMessage));
        }
        match self.rate.charge(self.rate_full_at, Instant::now()) {
            Ok(full_at) => self.rate_full_at = full_at,
            Err(exceeded) => return self.over_limit(decoded, exceeded.retry_after),
        }
        self.over_limit = 0;
        match decoded {
            Ok(message) => self.request(message),
            Err(DecodeError::Invalid(invalid)) => {
                let error = Error::Refused(Refusal::Invalid(invalid.fields));
                self.refuse(&invalid.re, invalid.id, invalid.raid, &error);
                Ok(())
            }
            Err(DecodeError::Undecodable(_)) => Ok(()),
        }
    }

    fn over_limit(
        &mut self,
        decoded: Result<ClientMessage, DecodeError>,
        wait: Duration,
    ) -> Result<(), Ending> {
        self.over_limit += 1;
        if self.over_limit > FLOOD {
            return Err(Ending::Close(CloseCode::RateLimited));
        }
        let (re, id, raid) = match decoded {
            Ok(message) => (message.t().to_owned(), message.id(), message.raid()),
            Err(DecodeError::Invalid(invalid)) => (invalid.re, invalid.id, invalid.raid),
            Err(DecodeError::Undecodable(_)) => return Ok(()),
        };
        let wait = wait.max(Duration::from_millis(1));
        self.refuse(&re, id, raid, &Error::RateLimited(wait));
        Ok(())
    }

    fn begin_to_drain(&mut self) {
        let spread = self.sockets.0.options.drain_spread;
        self.drain_at.get_or_insert_with(|| Instant::now() + spread.mul_f64(rand::rng().random()));
    }

    /// The moment at which something has to be done even if nothing happens.
    fn next_timer(&self, outbound: &Outbound) -> Instant {
        // What is asked for is asked while gathering, which waits until everything has been written.
        let writing = if outbound.is_empty() {
            self.watches.next_ask()
        } else {
            Some(outbound.progress() + self.sockets.0.options.write_stall)
        };
        let others = [writing, self.drain_at].into_iter().flatten();
        others.fold(self.heartbeat_at.min(self.token_ends), Instant::min)
    }

    fn on_timer(&mut self, inbound: &Inbound, outbound: &mut Outbound) -> Result<(), Ending> {
        let now = Instant::now();
        let options = &self.sockets.0.options;
        if !outbound.is_empty() && now >= outbound.progress() + options.write_stall {
            return Err(Ending::Close(CloseCode::SlowConsumer));
        }
        if self.drain_at.is_some_and(|at| now >= at) {
            let spread = u64::try_from(options.drain_spread.as_millis()).unwrap_or(u64::MAX).max(1);
            let reconnect_after_ms = rand::rng().random_range(0..spread);
            let bye = ServerMessage::Bye { reason: ByeReason::Draining, reconnect_after_ms };
            return Err(Ending::Drained(frame::message(self.outbox.codec, &bye)));
        }
        if now >= self.token_ends {
            return Err(Ending::Close(CloseCode::Unauthenticated));
        }
        if now >= self.heartbeat_at {
            self.heartbeat_at = now + options.heartbeat;
            return self.heartbeat(inbound, outbound);
        }
        Ok(())
    }

    /// Counted, not timed: a stall of the server delays its own heartbeats and is never the client's fault.
    fn heartbeat(&mut self, inbound: &Inbound, outbound: &mut Outbound) -> Result<(), Ending> {
        let received = inbound.received();
        // A client that is still taking what we write, or that we do not read, cannot show life in another way.
        let busy = !outbound.is_empty() || !self.reads();
        self.silent = if received == self.received && !busy { self.silent + 1 } else { 0 };
        self.received = received;
        if self.silent >= SILENT_HEARTBEATS {
            return Err(Ending::Close(CloseCode::HeartbeatTimeout));
        }
        if outbound.is_empty() {
            let beat = ServerMessage::Beat { now: self.sockets.0.clock.now(), heads: self.watches.heads() };
            outbound.push(frame::ping());
            outbound.push(frame::message(self.outbox.codec, &beat));
        }
        Ok(())
    }
}

/// Whatever ended it, a connection gives up every watch and what was on its way.
impl Drop for Connection {
    fn drop(&mut self) {
        self.sockets.0.registry.remove(&self.outbox);
        self.watches.leave_all();
    }
}

/// How a connection ends whose token is not accepted.
pub(super) fn close_code(error: &Error) -> CloseCode {
    match error {
        Error::Forbidden(_) => CloseCode::Forbidden,
        // The token may be good: who could tell cannot be asked now.
        Error::Unavailable => CloseCode::Overloaded,
        _ => CloseCode::Unauthenticated,
    }
}

/// The moment until which a token keeps a connection open: its end and a grace.
pub(super) fn token_ends(sockets: &Sockets, identity: &Identity) -> Instant {
    sockets.0.clock.instant_of(identity.expires_at.plus(TOKEN_GRACE_MS))
}

async fn looked_at(
    renewal: &mut Option<BoxFuture<'static, Result<Identity, Error>>>,
) -> Result<Identity, Error> {
    match renewal {
        Some(renewal) => renewal.await,
        None => std::future::pending().await,
    }
}

async fn read(page: &mut Option<Page>) -> Option<Vec<Event>> {
    match page {
        Some(page) => (&mut page.events).await,
        None => std::future::pending().await,
    }
}

async fn read_page(store: Arc<dyn store::Store>, ticket: Ticket, after: Seq) -> Option<Vec<Event>> {
    match timeout(PAGE_PATIENCE, store.events(ticket.raid, after, PAGE)).await {
        Ok(Ok(events)) => Some(events),
        Ok(Err(error)) => {
            warn!(raid = %ticket.raid, ?error, "a replay could not be read");
            None
        }
        Err(_) => {
            warn!(raid = %ticket.raid, "a replay was not read in time");
            None
        }
    }
}
