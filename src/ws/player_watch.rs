//! A connection's watch of its player's own stream: a cursor, and one page of events at a time from
//! the store. Events that the socket has not taken stay in the store.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use raidhall_protocol::player::{PlayerEvent, PlayerMessage};
use raidhall_protocol::{PlayerId, Seq, ServerMessage};
use tokio::time::sleep;

use super::send_queue::SendQueue;
use crate::error::Error;
use crate::fanout::frame::{self, Encoding};
use crate::fanout::outbox::Outbox;
use crate::streams::{StreamFollower, Streams};
use crate::telemetry::{GaugeGuard, metrics};

/// Events in one page.
const PAGE_EVENTS_MAX: u32 = 64;
/// The most events that a resumed watch gets; one that lacks more gets a snapshot.
const REPLAY_EVENTS_MAX: u64 = 256;
/// Pause before a page is read again: the store failed, or does not have the events yet.
const RETRY_DELAY: Duration = Duration::from_secs(1);

pub(super) struct PlayerWatch {
    streams: Streams,
    player: PlayerId,
    follower: StreamFollower,
    encoding: Encoding,
    /// The seq up to which the watch has been sent.
    cursor: Seq,
    pending_page: Option<BoxFuture<'static, Vec<PlayerEvent>>>,
    /// Acks that wait until the event that they answer has been sent.
    held_acks: VecDeque<(Seq, Bytes)>,
    _gauge: GaugeGuard,
}

impl PlayerWatch {
    /// Opens a watch. Returns it and the answer to the client, which is to be sent before any event.
    /// The watch resumes after `since` if the stream has that event and the client lacks few.
    pub(super) async fn open(
        streams: Streams,
        player: PlayerId,
        outbox: Arc<Outbox>,
        id: Option<u64>,
        since: Option<Seq>,
    ) -> Result<(PlayerWatch, PlayerMessage), Error> {
        let encoding = outbox.encoding;
        let follower = streams.follow(player, outbox).await;
        let fold = streams.read(player).await?;
        let seq = fold.seq;
        streams.advance(player, seq);
        let is_resumable = |since: &Seq| *since <= seq && seq.since(*since) <= REPLAY_EVENTS_MAX;
        let resumed = since.filter(is_resumable);
        let answer = match resumed {
            Some(_) => PlayerMessage::Watching {
                id,
                player,
                seq,
                recovered: true,
            },
            None => PlayerMessage::Snapshot {
                id,
                player,
                seq,
                recovered: false,
                state: Box::new(fold.state),
            },
        };
        let watch = PlayerWatch {
            streams,
            player,
            follower,
            encoding,
            cursor: resumed.unwrap_or(seq),
            pending_page: None,
            held_acks: VecDeque::new(),
            _gauge: GaugeGuard::increment(&metrics().player_watches),
        };
        Ok((watch, answer))
    }

    /// Returns the newest seq that the stream is known to have.
    pub(super) fn head(&self) -> Seq {
        self.follower.head()
    }

    pub(super) const fn is_reading(&self) -> bool {
        self.pending_page.is_some()
    }

    /// Returns the number of acks that wait for their events.
    pub(super) fn held_acks(&self) -> usize {
        self.held_acks.len()
    }

    /// Holds an ack until the events up to `seq` have been queued. Returns it if they have been.
    pub(super) fn hold_ack(&mut self, seq: Seq, ack: Bytes) -> Option<Bytes> {
        if seq <= self.cursor {
            return Some(ack);
        }
        self.held_acks.push_back((seq, ack));
        None
    }

    /// Ends the watch. Returns the acks that still wait.
    pub(super) fn end(self) -> impl Iterator<Item = Bytes> {
        self.held_acks.into_iter().map(|(_, ack)| ack)
    }

    /// Begins to read the events after the cursor, if there are any.
    pub(super) fn start_due_read(&mut self) {
        if self.pending_page.is_none() && self.cursor < self.head() {
            let page = read_page(self.streams.clone(), self.player, self.cursor);
            self.pending_page = Some(Box::pin(page));
        }
    }

    /// Waits for the page that is being read.
    pub(super) async fn next_page(&mut self) -> Vec<PlayerEvent> {
        let Some(page) = &mut self.pending_page else {
            return std::future::pending().await;
        };
        let events = page.await;
        self.pending_page = None;
        events
    }

    /// Queues a page's events, and the acks that waited for them.
    pub(super) fn queue_page(&mut self, events: Vec<PlayerEvent>, queue: &mut SendQueue) {
        let player = self.player;
        for event in events {
            self.cursor = event.seq;
            let event = Box::new(event);
            let message = ServerMessage::Player(PlayerMessage::Event { player, event });
            queue.push(frame::encode(self.encoding, &message));
        }
        let is_due = |(seq, _): &mut (Seq, Bytes)| *seq <= self.cursor;
        while let Some((_, ack)) = self.held_acks.pop_front_if(is_due) {
            queue.push(ack);
        }
    }
}

/// Reads the events after a seq, at least one: it tries until the store has them.
async fn read_page(streams: Streams, player: PlayerId, after: Seq) -> Vec<PlayerEvent> {
    loop {
        match streams.events(player, after, PAGE_EVENTS_MAX).await {
            Ok(events) if !events.is_empty() => return events,
            _ => sleep(RETRY_DELAY).await,
        }
    }
}

/// Waits for the page that a watch is reading; pends while there is no watch.
pub(super) async fn next_page(watch: &mut Option<PlayerWatch>) -> Vec<PlayerEvent> {
    match watch {
        Some(watch) => watch.next_page().await,
        None => std::future::pending().await,
    }
}
