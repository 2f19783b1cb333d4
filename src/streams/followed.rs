//! The streams that connections of this instance follow: how far each is known to reach, and who is
//! woken when it moves on.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use raidhall_protocol::{PlayerId, Seq};

use super::Streams;
use crate::fanout::outbox::Outbox;

#[derive(Default)]
pub(super) struct FollowedStreams(Mutex<HashMap<PlayerId, FollowedStream>>);

#[derive(Default)]
struct FollowedStream {
    head: Arc<AtomicU64>,
    outboxes: Vec<Arc<Outbox>>,
}

impl FollowedStreams {
    pub(super) fn advance(&self, player: PlayerId, head: Seq) {
        let streams = self.0.lock();
        let Some(stream) = streams.get(&player) else {
            return;
        };
        if stream.head.fetch_max(head.0, Ordering::AcqRel) < head.0 {
            for outbox in &stream.outboxes {
                outbox.wake();
            }
        }
    }

    pub(super) fn players(&self) -> Vec<PlayerId> {
        self.0.lock().keys().copied().collect()
    }
}

/// A connection's place among those who follow a player's stream, until it is dropped.
pub struct StreamFollower {
    streams: Streams,
    player: PlayerId,
    outbox: Arc<Outbox>,
    head: Arc<AtomicU64>,
}

impl StreamFollower {
    pub(super) fn new(streams: Streams, player: PlayerId, outbox: Arc<Outbox>) -> StreamFollower {
        let head = {
            let mut followed = streams.0.followed.0.lock();
            let stream = followed.entry(player).or_default();
            stream.outboxes.push(Arc::clone(&outbox));
            Arc::clone(&stream.head)
        };
        StreamFollower {
            streams,
            player,
            outbox,
            head,
        }
    }

    /// Returns the newest seq that the stream is known to have.
    pub fn head(&self) -> Seq {
        Seq(self.head.load(Ordering::Acquire))
    }
}

/// The last one to go ends the subscription, before the next one can begin another.
impl Drop for StreamFollower {
    fn drop(&mut self) {
        let mut followed = self.streams.0.followed.0.lock();
        let Some(stream) = followed.get_mut(&self.player) else {
            return;
        };
        let own = |outbox: &Arc<Outbox>| Arc::ptr_eq(outbox, &self.outbox);
        if let Some(index) = stream.outboxes.iter().position(own) {
            stream.outboxes.swap_remove(index);
        }
        if stream.outboxes.is_empty() {
            followed.remove(&self.player);
            self.streams.0.cluster.unfollow_stream(self.player);
        }
    }
}
