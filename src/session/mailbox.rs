//! What waits for a session: what an earlier incarnation put back, then what comes in.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{Instant, sleep};

use super::message::Message;
use crate::error::Error;

/// How often it is looked who has waited too long.
const EXPIRE_EVERY: Duration = Duration::from_millis(250);

pub(super) struct Inbox {
    /// First to last, before anything in `coming`.
    returned: VecDeque<Message>,
    coming: mpsc::Receiver<Message>,
}

impl Inbox {
    pub(super) const fn new(coming: mpsc::Receiver<Message>) -> Self {
        Self {
            returned: VecDeque::new(),
            coming,
        }
    }

    /// The next message; `None` when nobody can send any more. Nothing is lost if the future is dropped.
    pub(super) async fn next(&mut self) -> Option<Message> {
        match self.returned.pop_front() {
            Some(message) => Some(message),
            None => self.coming.recv().await,
        }
    }

    /// The next message, if it is there already.
    pub(super) fn next_now(&mut self) -> Option<Message> {
        self.returned
            .pop_front()
            .or_else(|| self.coming.try_recv().ok())
    }

    /// Puts messages back, in their order, before all others.
    pub(super) fn put_back(&mut self, messages: impl DoubleEndedIterator<Item = Message>) {
        messages
            .rev()
            .for_each(|message| self.returned.push_front(message));
    }

    /// Answers everything that waits with an error.
    pub(super) fn fail_all(&mut self, error: &Error) {
        while let Some(message) = self.next_now() {
            message.fail(error.clone());
        }
    }

    /// Waits for something else, and tells those meanwhile whose time runs out. At most `room` messages are looked through.
    pub(super) async fn expiring<T>(
        &mut self,
        room: usize,
        something: impl Future<Output = T>,
    ) -> T {
        tokio::pin!(something);
        loop {
            tokio::select! { biased;
                done = &mut something => return done,
                () = sleep(EXPIRE_EVERY) => self.expire(room, Instant::now()),
            }
        }
    }

    fn expire(&mut self, room: usize, now: Instant) {
        while self.returned.len() < room
            && let Ok(message) = self.coming.try_recv()
        {
            self.returned.push_back(message);
        }
        for message in std::mem::take(&mut self.returned) {
            if message.is_late(now) {
                message.fail(Error::Unavailable);
            } else {
                self.returned.push_back(message);
            }
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.returned.is_empty() && self.coming.is_empty()
    }

    /// Takes no more messages.
    pub(super) fn close(&mut self) {
        self.coming.close();
    }
}
