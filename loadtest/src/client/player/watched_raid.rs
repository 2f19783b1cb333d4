//! A raid as one player sees it: the fold of what the player received, and the status of the watch.

use std::collections::{BTreeMap, BTreeSet};

use raidhall_protocol::{PlayerId, RaidId, Seq, ServerMessage};

use super::watch::{ClientWatch, WatchStatus};
use crate::fold::Fold;

#[derive(Debug)]
pub(super) struct WatchedRaid {
    pub(super) fold: Fold,
    pub(super) watch: ClientWatch,
    pub(super) online: BTreeSet<PlayerId>,
}

impl WatchedRaid {
    pub(super) fn new(raid: RaidId) -> WatchedRaid {
        WatchedRaid {
            fold: Fold::new(raid),
            watch: ClientWatch::new(),
            online: BTreeSet::new(),
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
                self.watch.open();
                self.online = online.iter().copied().collect();
            }
            ServerMessage::Snapshot {
                seq, online, state, ..
            } => {
                self.watch.open();
                self.online = online.iter().copied().collect();
                self.fold.replace(*seq, (**state).clone());
            }
            ServerMessage::Unwatched { .. } => self.watch.set_status(WatchStatus::Ended),
            ServerMessage::Presence {
                online, offline, ..
            } => {
                self.online.retain(|player| !offline.contains(player));
                self.online.extend(online);
            }
            // The judge reports contradictions; the player keeps its state until a `beat` shows
            // that it is behind.
            ServerMessage::Event { event, .. } if self.watch.status() == WatchStatus::Live => {
                let _ = self.fold.apply(event);
            }
            ServerMessage::Error { re, error, .. } if re == "watch" => self.watch.refuse(error),
            _ => {}
        }
        self.watch.reach(self.fold.seq());
    }

    /// Compares the heads of a `beat` with the fold.
    pub(super) fn compare_heads(&mut self, heads: &BTreeMap<String, Seq>, raid: RaidId) {
        if let Some(head) = heads.get(&raid.to_string()) {
            self.watch.compare_head(*head, self.fold.seq());
        }
    }
}
