//! The fold of a player's events: what devices see, and what only the rules need.

use raidhall_protocol::limits::INBOX_ITEMS_SHOWN;
use raidhall_protocol::player::state::{Inbox, InboxItem, Setting};
use raidhall_protocol::player::{PlayerEvent, PlayerEventData, PlayerState};
use raidhall_protocol::{PlayerId, Seq, UnixMillis};
use serde::{Deserialize, Serialize};

use super::settings::is_day_setting;

/// Version of the stored form that this build writes.
const VERSION: u16 = 1;

/// A player's stream, folded up to one seq.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlayerFold {
    /// What the player's devices see.
    pub state: PlayerState,
    /// The seq of the newest event.
    pub seq: Seq,
    /// When the newest event happened.
    pub at: UnixMillis,
    /// When the name was changed, the latest times.
    pub(super) name_changes: RecentTimes,
    /// When the settings that decide the player's day were changed, the latest times.
    pub(super) day_changes: RecentTimes,
}

/// The latest times of something that has a limit.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct RecentTimes(Vec<UnixMillis>);

/// Reason why stored bytes cannot be decoded as a fold.
#[derive(Debug, thiserror::Error)]
pub enum FoldError {
    /// A newer release wrote the state, in this version.
    #[error("player state version {0} is newer than this release")]
    Newer(u16),
    /// The bytes are damaged.
    #[error("decode a player's state: {0}")]
    Damaged(#[from] rmp_serde::decode::Error),
}

impl PlayerFold {
    /// Returns the fold of an empty stream.
    pub fn new(id: PlayerId, name: String) -> PlayerFold {
        PlayerFold {
            state: PlayerState {
                id,
                name,
                settings: Default::default(),
                inbox: Inbox::default(),
            },
            seq: Seq::ZERO,
            at: UnixMillis(0),
            name_changes: RecentTimes::default(),
            day_changes: RecentTimes::default(),
        }
    }

    /// Folds the next event.
    pub fn apply(&mut self, event: &PlayerEvent) {
        let PlayerEvent { seq, at, data, .. } = event;
        debug_assert_eq!(*seq, self.seq.next(), "an event out of order");
        self.seq = *seq;
        self.at = *at;
        match data {
            PlayerEventData::SettingSet {
                key,
                value,
                version,
            } => {
                if is_day_setting(key) {
                    self.day_changes.add(*at);
                }
                let setting = Setting {
                    value: value.clone(),
                    version: *version,
                };
                self.state.settings.insert(key.clone(), setting);
            }
            PlayerEventData::NameChanged { name } => {
                self.name_changes.add(*at);
                self.state.name.clone_from(name);
            }
            PlayerEventData::Notified { kind, data } => {
                let item = InboxItem {
                    seq: *seq,
                    at: *at,
                    kind: kind.clone(),
                    data: data.clone(),
                    read: false,
                };
                let items = &mut self.state.inbox.items;
                items.push(item);
                if items.len() > INBOX_ITEMS_SHOWN {
                    items.remove(0);
                }
                count_unread(&mut self.state.inbox);
            }
            PlayerEventData::ReadThrough { seq: read } => {
                for item in &mut self.state.inbox.items {
                    item.read |= item.seq <= *read;
                }
                count_unread(&mut self.state.inbox);
            }
        }
    }

    /// Encodes the fold: a version in two bytes, then MessagePack. Equal folds give equal bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = VERSION.to_be_bytes().to_vec();
        rmp_serde::encode::write_named(&mut bytes, self).expect("a fold has no unsized parts");
        bytes
    }

    /// Decodes a fold written by this or an earlier release.
    pub fn decode(bytes: &[u8]) -> Result<PlayerFold, FoldError> {
        let damaged = |why: &str| rmp_serde::decode::Error::Syntax(why.to_owned());
        let (version, body) = bytes
            .split_first_chunk()
            .ok_or_else(|| damaged("no version"))?;
        match u16::from_be_bytes(*version) {
            0 => Err(damaged("version 0").into()),
            VERSION => Ok(rmp_serde::from_slice(body)?),
            newer => Err(FoldError::Newer(newer)),
        }
    }
}

fn count_unread(inbox: &mut Inbox) {
    let unread = inbox.items.iter().filter(|item| !item.read).count();
    inbox.unread = u32::try_from(unread).unwrap_or(u32::MAX);
}

impl RecentTimes {
    /// The most times that a limit looks at.
    const KEPT: usize = 8;

    fn add(&mut self, at: UnixMillis) {
        self.0.push(at);
        if self.0.len() > Self::KEPT {
            self.0.remove(0);
        }
    }

    /// Returns how many milliseconds to wait for the next time, of which there may be `max` in a
    /// period; 0 if it may be now.
    pub(super) fn wait(&self, max: usize, period_ms: i64, now: UnixMillis) -> i64 {
        let oldest = self.0.iter().rev().nth(max - 1);
        oldest.map_or(0, |at| at.plus(period_ms).since(now).max(0))
    }
}
