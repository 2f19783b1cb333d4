//! What waits for a session: what an earlier incarnation put back, then what comes in.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{Instant, sleep};

use super::message::SessionMessage;
use crate::error::Error;

/// How often it is looked who has waited too long.
const EXPIRY_CHECK_INTERVAL: Duration = Duration::from_millis(250);

pub(super) struct Mailbox {
    /// First to last, before anything in `receiver`.
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

    /// The next message; `None` when nobody can send any more. Nothing is lost if the future is dropped.
    pub(super) async fn next(&mut self) -> Option<SessionMessage> {
        match self.requeued.pop_front() {
            Some(message) => Some(message),
            None => self.receiver.recv().await,
        }
    }

    /// The next message, if it is there already.
    pub(super) fn try_next(&mut self) -> Option<SessionMessage> {
        self.requeued
            .pop_front()
            .or_else(|| self.receiver.try_recv().ok())
    }

    /// Puts messages back, in their order, before all others.
    pub(super) fn put_back(&mut self, messages: impl DoubleEndedIterator<Item = SessionMessage>) {
        messages
            .rev()
            .for_each(|message| self.requeued.push_front(message));
    }

    /// Answers everything that waits with an error.
    pub(super) fn fail_all(&mut self, error: &Error) {
        while let Some(message) = self.try_next() {
            message.fail(error.clone());
        }
    }

    /// Waits for something else, and tells those meanwhile whose time runs out. At most `room` messages are looked through.
    pub(super) async fn expire_while<T>(
        &mut self,
        room: usize,
        something: impl Future<Output = T>,
    ) -> T {
        tokio::pin!(something);
        loop {
            tokio::select! { biased;
                done = &mut something => return done,
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

    /// Takes no more messages.
    pub(super) fn close(&mut self) {
        self.receiver.close();
    }
}
