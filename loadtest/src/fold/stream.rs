//! A device's fold of events into its player's state, written from the protocol's specification and
//! not from the server's code.

use raidhall_protocol::limits::{INBOX_ITEMS_SHOWN, PLAYER_RAIDS_SHOWN};
use raidhall_protocol::player::event::CorrectedField;
use raidhall_protocol::player::state::{Inbox, InboxItem, PlayerRaid, Setting};
use raidhall_protocol::player::{PlayerEvent, PlayerEventData, PlayerState};
use raidhall_protocol::server::PlayerRef;
use raidhall_protocol::state::Role;
use raidhall_protocol::{RaidId, Seq};

use super::Contradiction;

/// A player's stream as one device holds it: a state and the seq that it belongs to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StreamFold {
    seq: Seq,
    state: Option<PlayerState>,
}

impl StreamFold {
    /// Creates the fold of a new player's empty stream.
    pub fn of_new_player(player: &PlayerRef) -> StreamFold {
        let state = PlayerState {
            id: player.id,
            name: player.name.clone(),
            xp: 0,
            earned_xp: 0,
            tasks: 0,
            raids_won: 0,
            raids_played: 0,
            raids: Vec::new(),
            settings: Default::default(),
            inbox: Inbox::default(),
        };
        StreamFold {
            seq: Seq::ZERO,
            state: Some(state),
        }
    }

    /// Creates the fold of a device that missed an event, and so knows the seq only.
    pub const fn without_state(seq: Seq) -> StreamFold {
        StreamFold { seq, state: None }
    }

    /// Replaces state and seq by those of a snapshot.
    pub fn replace(&mut self, seq: Seq, state: PlayerState) {
        self.seq = seq;
        self.state = Some(state);
    }

    /// Folds the next event. Without a state, only the seq advances.
    pub fn apply(&mut self, event: &PlayerEvent) -> Result<(), Contradiction> {
        if event.seq != self.seq.next() {
            return Err(Contradiction::NotNext {
                held: self.seq,
                got: event.seq,
            });
        }
        self.seq = event.seq;
        if let Some(state) = &mut self.state {
            apply(state, event);
        }
        Ok(())
    }

    /// Returns the newest seq that was folded.
    pub const fn seq(&self) -> Seq {
        self.seq
    }

    /// Returns the state; `None` before the first snapshot, and after a missed event.
    pub const fn state(&self) -> Option<&PlayerState> {
        self.state.as_ref()
    }
}

fn apply(state: &mut PlayerState, event: &PlayerEvent) {
    match &event.data {
        PlayerEventData::XpEarned {
            earned_xp,
            xp,
            tasks,
            ..
        } => {
            state.earned_xp = *earned_xp;
            state.xp = *xp;
            state.tasks = *tasks;
        }
        PlayerEventData::Corrected { field, to, .. } => {
            let number = match field {
                CorrectedField::Xp => &mut state.xp,
                CorrectedField::EarnedXp => &mut state.earned_xp,
                CorrectedField::Tasks => &mut state.tasks,
                CorrectedField::RaidsWon => &mut state.raids_won,
                CorrectedField::RaidsPlayed => &mut state.raids_played,
            };
            *number = *to;
        }
        PlayerEventData::RaidJoined { raid, role } => apply_role(state, *raid, *role),
        PlayerEventData::RaidLeft { raid, .. } => state.raids.retain(|it| it.raid != *raid),
        PlayerEventData::RaidEnded {
            raid,
            raids_played,
            raids_won,
            ..
        } => {
            state.raids_played = *raids_played;
            state.raids_won = *raids_won;
            state.raids.retain(|it| it.raid != *raid);
        }
        PlayerEventData::SettingSet {
            key,
            value,
            version,
        } => {
            let setting = Setting {
                value: value.clone(),
                version: *version,
            };
            state.settings.insert(key.clone(), setting);
        }
        PlayerEventData::NameChanged { name } => state.name.clone_from(name),
        PlayerEventData::Notified { kind, data } => {
            let items = &mut state.inbox.items;
            items.push(InboxItem {
                seq: event.seq,
                at: event.at,
                kind: kind.clone(),
                data: data.clone(),
                read: false,
            });
            let surplus = items.len().saturating_sub(INBOX_ITEMS_SHOWN);
            items.drain(..surplus);
            count_unread(&mut state.inbox);
        }
        PlayerEventData::ReadThrough { seq } => {
            for item in &mut state.inbox.items {
                item.read |= item.seq <= *seq;
            }
            count_unread(&mut state.inbox);
        }
    }
}

fn apply_role(state: &mut PlayerState, raid: RaidId, role: Role) {
    if let Some(known) = state.raids.iter_mut().find(|it| it.raid == raid) {
        known.role = role;
        return;
    }
    state.raids.push(PlayerRaid { raid, role });
    let surplus = state.raids.len().saturating_sub(PLAYER_RAIDS_SHOWN);
    state.raids.drain(..surplus);
}

fn count_unread(inbox: &mut Inbox) {
    let unread = inbox.items.iter().filter(|item| !item.read).count();
    inbox.unread = u32::try_from(unread).unwrap_or(u32::MAX);
}
