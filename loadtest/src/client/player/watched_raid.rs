//! A raid as one player sees it: the fold of what the player received, and the status of the watch.

use std::collections::{BTreeMap, BTreeSet};

use raidhall_protocol::{PlayerId, RaidId, Seq, ServerMessage};
use tokio::time::Instant;

use crate::fold::Fold;

#[derive(Debug)]
pub(super) struct WatchedRaid {
    pub(super) fold: Fold,
    pub(super) status: WatchStatus,
    pub(super) online: BTreeSet<PlayerId>,
    /// Since when the server's heads are ahead of the fold.
    pub(super) behind_since: Option<Instant>,
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

impl WatchedRaid {
    pub(super) fn new(raid: RaidId) -> WatchedRaid {
        WatchedRaid {
            fold: Fold::new(raid),
            status: WatchStatus::Wanted,
            online: BTreeSet::new(),
            behind_since: None,
            head: Seq::ZERO,
        }
    }

    /// Returns the `since` of the next `watch`; `None` while the player holds no state.
    pub(super) fn since(&self) -> Option<Seq> {
        self.fold.state().map(|_| self.fold.seq())
    }

    /// Applies a message about this raid.
    pub(super) fn apply(&mut self, message: &ServerMessage) {
        match message {
            ServerMessage::Watching { online, .. } => {
                self.status = WatchStatus::Live;
                self.online = online.iter().copied().collect();
            }
            ServerMessage::Snapshot {
                seq, online, state, ..
            } => {
                self.status = WatchStatus::Live;
                self.online = online.iter().copied().collect();
                self.fold.replace(*seq, (**state).clone());
            }
            ServerMessage::Unwatched { .. } => self.status = WatchStatus::Ended,
            ServerMessage::Presence {
                online, offline, ..
            } => {
                self.online.retain(|player| !offline.contains(player));
                self.online.extend(online);
            }
            // The judge reports contradictions; the player keeps its state until a `beat` shows
            // that it is behind.
            ServerMessage::Event { event, .. } if self.status == WatchStatus::Live => {
                let _ = self.fold.apply(event);
            }
            // A retryable refusal is followed by another watch; a final one ends it.
            ServerMessage::Error { re, error, .. } if re == "watch" => {
                self.status = if error.retry {
                    WatchStatus::Requested
                } else {
                    WatchStatus::Ended
                };
                self.behind_since = error.retry.then(Instant::now);
            }
            _ => {}
        }
        if self.status == WatchStatus::Live && self.fold.seq() >= self.head {
            self.behind_since = None;
        }
    }

    /// Compares the heads of a `beat` with the fold, and notes since when the fold is behind.
    pub(super) fn compare_heads(&mut self, heads: &BTreeMap<String, Seq>, raid: RaidId) {
        let Some(head) = heads.get(&raid.to_string()) else {
            return;
        };
        self.head = *head;
        if self.status == WatchStatus::Live && self.fold.seq() < *head {
            self.behind_since.get_or_insert_with(Instant::now);
        }
    }
}
