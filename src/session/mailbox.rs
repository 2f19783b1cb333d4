//! A session's queue of messages: first those that an earlier incarnation put back, then those of
//! other instances, then requests. However many requests wait, a message of another instance finds
//! room: without its watcher reports, players who are connected there would be shown offline.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;
use tokio::time::{Instant, sleep};

use super::message::SessionMessage;
use crate::error::Error;

/// Interval between checks for expired requests.
const EXPIRY_CHECK_INTERVAL: Duration = Duration::from_millis(250);

/// Maximum number of waiting messages of other instances. Each sends a few per second at most.
const INSTANCE_MESSAGES_MAX: usize = 256;

pub(super) struct Mailbox {
    /// Messages put back, oldest first; delivered before all others.
    requeued: VecDeque<SessionMessage>,
    /// Messages of other instances, and wake-ups.
    from_instances: mpsc::Receiver<SessionMessage>,
    requests: mpsc::Receiver<SessionMessage>,
}

/// Sends to a session's mailbox. Cheap to clone.
#[derive(Clone)]
pub(super) struct MailboxSender {
    from_instances: mpsc::Sender<SessionMessage>,
    requests: mpsc::Sender<SessionMessage>,
}

impl MailboxSender {
    /// Adds a message, unless there is no room or the session has ended.
    pub(super) fn try_send(
        &self,
        message: SessionMessage,
    ) -> Result<(), Box<TrySendError<SessionMessage>>> {
        let queue = match message {
            SessionMessage::WatcherReport(_)
            | SessionMessage::RequestWatcherReport
            | SessionMessage::Handover { .. }
            | SessionMessage::QueryStatus { .. }
            | SessionMessage::Wake => &self.from_instances,
            _ => &self.requests,
        };
        queue.try_send(message).map_err(Box::new)
    }
}

impl Mailbox {
    /// Creates a mailbox in which at most `requests_max` requests wait.
    pub(super) fn new(requests_max: usize) -> (MailboxSender, Mailbox) {
        let (instance_sender, from_instances) = mpsc::channel(INSTANCE_MESSAGES_MAX);
        let (request_sender, requests) = mpsc::channel(requests_max);
        let sender = MailboxSender {
            from_instances: instance_sender,
            requests: request_sender,
        };
        let mailbox = Mailbox {
            requeued: VecDeque::new(),
            from_instances,
            requests,
        };
        (sender, mailbox)
    }

    /// Returns the next message, or `None` when all senders are gone. Cancel-safe.
    pub(super) async fn next(&mut self) -> Option<SessionMessage> {
        if let Some(message) = self.requeued.pop_front() {
            return Some(message);
        }
        tokio::select! { biased;
            Some(message) = self.from_instances.recv() => Some(message),
            message = self.requests.recv() => message,
        }
    }

    /// Returns the next message if one is already waiting.
    pub(super) fn try_next(&mut self) -> Option<SessionMessage> {
        self.requeued
            .pop_front()
            .or_else(|| self.from_instances.try_recv().ok())
            .or_else(|| self.requests.try_recv().ok())
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
            && let Ok(message) = self.requests.try_recv()
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
        self.requeued.is_empty() && self.from_instances.is_empty() && self.requests.is_empty()
    }

    /// Closes the mailbox: later sends fail.
    pub(super) fn close(&mut self) {
        self.from_instances.close();
        self.requests.close();
    }
}
