//! A device's fold of events into its player's state, written from the protocol's specification and
//! not from the server's code.

use raidhall_protocol::Seq;
use raidhall_protocol::limits::{INBOX_ITEMS_SHOWN, PLAYER_RAIDS_SHOWN};
use raidhall_protocol::player::state::{
    Counter, Inbox, InboxItem, PlayerRaid, Setting, SkillProgress, Streak, UnlockedAchievement,
};
use raidhall_protocol::player::{PlayerEvent, PlayerEventData, PlayerState};
use raidhall_protocol::server::PlayerRef;

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
            level: 1,
            level_xp: 0,
            next_level_xp: 100,
            coins: 0,
            tasks: 0,
            raids_won: 0,
            raids_played: 0,
            raids: Vec::new(),
            skills: Vec::new(),
            achievements: Vec::new(),
            counters: Vec::new(),
            streak: Streak::default(),
            items: Vec::new(),
            equipped: Default::default(),
            settings: Default::default(),
            inbox: Inbox::default(),
            read_through: Seq::ZERO,
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
            level_xp,
            next_level_xp,
            skill,
            skill_xp,
            skill_level,
            coins,
            counters,
            ..
        } => {
            state.earned_xp = *earned_xp;
            state.xp = *xp;
            state.tasks = *tasks;
            state.level_xp = *level_xp;
            state.next_level_xp = *next_level_xp;
            state.coins = *coins;
            if let (Some(skill), Some(xp), Some(level)) = (skill, skill_xp, skill_level) {
                let progress = SkillProgress {
                    skill: skill.clone(),
                    xp: *xp,
                    level: *level,
                };
                put(&mut state.skills, progress, |it| it.skill == *skill);
            }
            put_counters(state, counters);
        }
        PlayerEventData::LevelReached {
            level,
            coins,
            counters,
            ..
        } => {
            state.level = *level;
            state.coins = *coins;
            put_counters(state, counters);
        }
        PlayerEventData::CoinsMoved {
            coins, counters, ..
        } => {
            state.coins = *coins;
            put_counters(state, counters);
        }
        PlayerEventData::AchievementUnlocked { id, tier } => {
            let unlocked = UnlockedAchievement {
                id: id.clone(),
                tier: *tier,
                at: event.at,
            };
            put(&mut state.achievements, unlocked, |it| it.id == *id);
        }
        PlayerEventData::DayKept { .. }
        | PlayerEventData::StreakFrozen { .. }
        | PlayerEventData::StreakLost { .. }
        | PlayerEventData::StreakRepaired { .. } => apply_to_streak(&mut state.streak, &event.data),
        PlayerEventData::ItemGranted { item, counters, .. } => {
            state.items.push(item.clone());
            put_counters(state, counters);
        }
        PlayerEventData::ItemEquipped { slot, item } => {
            state.equipped.insert(slot.clone(), item.clone());
        }
        PlayerEventData::Corrected { field, to, .. } => state.correct(*field, *to),
        PlayerEventData::RaidJoined {
            raid,
            role,
            counters,
        } => {
            let joined = PlayerRaid {
                raid: *raid,
                role: *role,
            };
            put(&mut state.raids, joined, |it| it.raid == *raid);
            let surplus = state.raids.len().saturating_sub(PLAYER_RAIDS_SHOWN);
            state.raids.drain(..surplus);
            put_counters(state, counters);
        }
        PlayerEventData::RaidLeft { raid, .. } => state.raids.retain(|it| it.raid != *raid),
        PlayerEventData::RaidEnded {
            raid,
            raids_played,
            raids_won,
            counters,
            ..
        } => {
            state.raids_played = *raids_played;
            state.raids_won = *raids_won;
            state.raids.retain(|it| it.raid != *raid);
            put_counters(state, counters);
        }
        PlayerEventData::SettingSet {
            key,
            value,
            version,
            lapses_at,
        } => {
            let setting = Setting {
                value: value.clone(),
                version: *version,
            };
            state.settings.insert(key.clone(), setting);
            state.streak.lapses_at = lapses_at.or(state.streak.lapses_at);
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
            state.read_through = state.read_through.max(*seq);
            for item in &mut state.inbox.items {
                item.read |= item.seq <= *seq;
            }
            count_unread(&mut state.inbox);
        }
    }
}

pub(crate) fn apply_to_streak(streak: &mut Streak, data: &PlayerEventData) {
    match data {
        PlayerEventData::DayKept {
            day,
            days,
            best,
            freezes,
            lapses_at,
            ..
        } => {
            *streak = Streak {
                days: *days,
                best: *best,
                day: Some(day.clone()),
                freezes: *freezes,
                lapses_at: Some(*lapses_at),
                ..streak.clone()
            };
        }
        PlayerEventData::StreakFrozen {
            freezes, lapses_at, ..
        } => {
            streak.freezes = *freezes;
            streak.lapses_at = Some(*lapses_at);
        }
        PlayerEventData::StreakLost {
            repairable_days,
            repairable_from,
            repairable_until,
            ..
        } => {
            streak.days = 0;
            streak.lapses_at = None;
            streak.repairable_days = *repairable_days;
            streak.repairable_from = *repairable_from;
            streak.repairable_until = *repairable_until;
        }
        PlayerEventData::StreakRepaired {
            days,
            best,
            freezes,
            lapses_at,
            ..
        } => {
            *streak = Streak {
                days: *days,
                best: *best,
                day: streak.day.take(),
                freezes: *freezes,
                lapses_at: Some(*lapses_at),
                ..Streak::default()
            };
        }
        _ => {}
    }
}

/// Puts an entry in the place of the one that is the same, or else at the end.
fn put<T>(list: &mut Vec<T>, entry: T, is_same: impl Fn(&T) -> bool) {
    match list.iter_mut().find(|it| is_same(it)) {
        Some(held) => *held = entry,
        None => list.push(entry),
    }
}

fn put_counters(state: &mut PlayerState, counters: &[Counter]) {
    for counter in counters {
        put(&mut state.counters, counter.clone(), |it| {
            it.id == counter.id
        });
    }
}

fn count_unread(inbox: &mut Inbox) {
    let unread = inbox.items.iter().filter(|item| !item.read).count();
    inbox.unread = u32::try_from(unread).unwrap_or(u32::MAX);
}
