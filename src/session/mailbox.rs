//! A session's queue of requests: first the messages that an earlier incarnation put back, then new
//! ones.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{Instant, sleep};

use super::message::SessionMessage;
use crate::error::Error;

/// Interval between checks for expired requests.
const EXPIRY_CHECK_INTERVAL: Duration = Duration::from_millis(250);

pub(super) struct Mailbox {
    /// Messages put back, oldest first; delivered before anything in `receiver`.
    requeued: VecDeque<SessionMessage>,
    receiver: mpsc::Receiver<SessionMessage>,
}

impl Mailbox {
    pub(super) const fn new(receiver: mpsc::Receiver<SessionMessage>) -> Self {
        Self {
            requeued: VecDeque::new(),
            receiver,
        }
    }

    /// Returns the next message, or `None` when all senders are gone. Cancel-safe.
    pub(super) async fn next(&mut self) -> Option<SessionMessage> {
        match self.requeued.pop_front() {
            Some(message) => Some(message),
            None => self.receiver.recv().await,
        }
    }

    /// Returns the next message if one is already waiting.
    pub(super) fn try_next(&mut self) -> Option<SessionMessage> {
        self.requeued
            .pop_front()
            .or_else(|| self.receiver.try_recv().ok())
    }

    /// Puts messages back in their order, ahead of all others.
    pub(super) fn put_back(&mut self, messages: impl DoubleEndedIterator<Item = SessionMessage>) {
        for message in messages.rev() {
            self.requeued.push_front(message);
        }
    }

    /// Answers every waiting request with `error`.
    pub(super) fn fail_all(&mut self, error: &Error) {
        while let Some(message) = self.try_next() {
            message.fail(error.clone());
        }
    }

    /// Awaits `future`, and meanwhile answers expired requests. Looks through at most `room`
    /// messages.
    pub(super) async fn expire_while<T>(
        &mut self,
        room: usize,
        future: impl Future<Output = T>,
    ) -> T {
        tokio::pin!(future);
        loop {
            tokio::select! { biased;
                output = &mut future => return output,
                () = sleep(EXPIRY_CHECK_INTERVAL) => self.expire(room, Instant::now()),
            }
        }
    }

    fn expire(&mut self, room: usize, now: Instant) {
        while self.requeued.len() < room
            && let Ok(message) = self.receiver.try_recv()
        {
            self.requeued.push_back(message);
        }
        for message in std::mem::take(&mut self.requeued) {
            if message.is_expired(now) {
                message.fail(Error::Unavailable);
            } else {
                self.requeued.push_back(message);
            }
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.requeued.is_empty() && self.receiver.is_empty()
    }

    /// Closes the channel: later sends fail.
    pub(super) fn close(&mut self) {
        self.receiver.close();
    }
}
