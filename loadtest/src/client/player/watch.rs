//! The watch of a raid or of the player's own stream: whether it is open, and whether what the client
//! holds is behind what the server says.

use std::time::Duration;

use raidhall_protocol::{ErrorBody, Seq};
use tokio::time::Instant;

/// How long the server's heads may be ahead of the client before it watches again.
const BEHIND_TIMEOUT: Duration = Duration::from_secs(1);

#[derive(Debug)]
pub(super) struct ClientWatch {
    status: WatchStatus,
    /// Since when the server's heads are ahead, or a refused watch is to be repeated.
    behind_since: Option<Instant>,
    head: Seq,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum WatchStatus {
    /// To be watched as soon as there is a connection.
    Wanted,
    /// A `watch` was sent and not answered yet.
    Requested,
    Live,
    /// The server ended the watch.
    Ended,
    /// The player gave the raid up.
    Abandoned,
}

impl ClientWatch {
    /// Returns a watch that is to be sent.
    pub(super) const fn new() -> ClientWatch {
        ClientWatch {
            status: WatchStatus::Wanted,
            behind_since: None,
            head: Seq::ZERO,
        }
    }

    pub(super) const fn status(&self) -> WatchStatus {
        self.status
    }

    /// Takes note of what was sent or is to be sent. It replaces a watch that was to be repeated.
    pub(super) const fn set_status(&mut self, status: WatchStatus) {
        self.status = status;
        self.behind_since = None;
    }

    /// Opens the watch, as the server has.
    pub(super) const fn open(&mut self) {
        self.status = WatchStatus::Live;
    }

    /// Takes note of a refusal. After one that is retryable the watch is repeated; a final one ends it.
    pub(super) fn refuse(&mut self, error: &ErrorBody) {
        self.status = if error.retry {
            WatchStatus::Requested
        } else {
            WatchStatus::Ended
        };
        self.behind_since = error.retry.then(Instant::now);
    }

    /// Compares the seq that the client holds with the newest head.
    pub(super) fn reach(&mut self, seq: Seq) {
        if self.status == WatchStatus::Live && seq >= self.head {
            self.behind_since = None;
        }
    }

    /// Compares the head of a `beat` with the seq that the client holds, and notes since when the
    /// client is behind.
    pub(super) fn compare_head(&mut self, head: Seq, seq: Seq) {
        self.head = head;
        if self.status == WatchStatus::Live && seq < head {
            self.behind_since.get_or_insert_with(Instant::now);
        }
    }

    /// Returns when the watch is to be repeated, if nothing comes until then.
    pub(super) fn repeat_at(&self) -> Option<Instant> {
        self.behind_since.map(|since| since + BEHIND_TIMEOUT)
    }

    /// Wants the watch again if it is to be repeated by now. Returns whether it is.
    pub(super) fn repeat_if_due(&mut self, now: Instant) -> bool {
        let is_due = self.repeat_at().is_some_and(|at| at <= now);
        if is_due {
            self.set_status(WatchStatus::Wanted);
        }
        is_due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_watch_forgets_that_the_former_one_was_behind() {
        let mut watch = ClientWatch::new();
        watch.open();
        watch.compare_head(Seq(5), Seq(4));
        assert!(watch.repeat_at().is_some());
        watch.set_status(WatchStatus::Wanted);
        assert_eq!(watch.repeat_at(), None);
    }

    #[test]
    fn a_client_that_reached_the_head_is_not_behind() {
        let mut watch = ClientWatch::new();
        watch.open();
        watch.compare_head(Seq(5), Seq(3));
        watch.reach(Seq(4));
        assert!(watch.repeat_at().is_some());
        watch.reach(Seq(5));
        assert_eq!(watch.repeat_at(), None);
    }
}
