//! The fold of a player's events: what devices see, and what only the rules need.

use raidhall_protocol::limits::{INBOX_ITEMS_SHOWN, PLAYER_RAIDS_SHOWN};
use raidhall_protocol::player::event::{Allowance, CorrectedField};
use raidhall_protocol::player::state::{
    Inbox, InboxItem, PlayerRaid, Setting, SkillProgress, UnlockedAchievement,
};
use raidhall_protocol::player::{PlayerEvent, PlayerEventData, PlayerState};
use raidhall_protocol::state::Role;
use raidhall_protocol::{PlayerId, RaidId, Seq, UnixMillis};
use serde::{Deserialize, Serialize};

use super::day::DaySettings;
use super::recent_raids::RecentRaids;
use super::settings::is_day_setting;
use super::streak::StreakMoments;
use super::visibility::{is_listed_on_boards, is_shown_to_companions};

/// XP from the first level to the second one, until the first XP brings the number of the definitions
/// in force.
const FIRST_LEVEL_XP: u64 = 100;

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
    /// The raids that ended lately and in which the player earned XP.
    pub(super) recent_raids: RecentRaids,
    /// The player's latest day with XP that an allowance limits.
    pub allowance_day: Option<AllowanceDay>,
    /// What the rules of the streak need.
    pub streak: StreakMoments,
}

/// A player's day, and the XP that was counted in its allowances.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AllowanceDay {
    /// When the player completed the first task of this day.
    pub since: UnixMillis,
    /// What decided the day then.
    pub settings: DaySettings,
    /// XP counted in ranked raids.
    pub ranked_used: u64,
    /// XP counted in all other raids.
    pub casual_used: u64,
}

/// The latest times of something that has a limit.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct RecentTimes(Vec<UnixMillis>);

impl PlayerFold {
    /// Returns the fold of an empty stream.
    pub fn new(id: PlayerId, name: String) -> PlayerFold {
        PlayerFold {
            state: PlayerState {
                id,
                name,
                xp: 0,
                earned_xp: 0,
                level: 1,
                level_xp: 0,
                next_level_xp: FIRST_LEVEL_XP,
                coins: 0,
                tasks: 0,
                raids_won: 0,
                raids_played: 0,
                raids: Vec::new(),
                skills: Vec::new(),
                achievements: Vec::new(),
                counters: Vec::new(),
                streak: Default::default(),
                items: Vec::new(),
                equipped: Default::default(),
                settings: Default::default(),
                inbox: Inbox::default(),
                read_through: Seq::ZERO,
            },
            seq: Seq::ZERO,
            at: UnixMillis(0),
            name_changes: RecentTimes::default(),
            day_changes: RecentTimes::default(),
            recent_raids: RecentRaids::default(),
            allowance_day: None,
            streak: StreakMoments::default(),
        }
    }

    /// Folds the next event.
    pub fn apply(&mut self, event: &PlayerEvent) {
        let PlayerEvent { seq, at, data, .. } = event;
        debug_assert_eq!(*seq, self.seq.next(), "an event out of order");
        self.seq = *seq;
        self.at = *at;
        match data {
            PlayerEventData::XpEarned {
                earned_xp,
                xp,
                tasks,
                allowance,
                level_xp,
                next_level_xp,
                skill,
                skill_xp,
                skill_level,
                coins,
                ..
            } => {
                self.state.earned_xp = *earned_xp;
                self.state.xp = *xp;
                self.state.tasks = *tasks;
                self.state.level_xp = *level_xp;
                self.state.next_level_xp = *next_level_xp;
                self.state.coins = *coins;
                if let (Some(skill), Some(xp), Some(level)) = (skill, skill_xp, skill_level) {
                    let (xp, level) = (*xp, *level);
                    let skill = skill.clone();
                    let trained = SkillProgress { skill, xp, level };
                    put(&mut self.state.skills, trained, |it| &it.skill);
                }
                if let Some(allowance) = allowance {
                    self.use_allowance(*allowance);
                }
            }
            PlayerEventData::LevelReached { level, coins, .. } => {
                self.state.level = *level;
                self.state.coins = *coins;
            }
            PlayerEventData::CoinsMoved { coins, .. } => self.state.coins = *coins,
            PlayerEventData::AchievementUnlocked { id, tier } => {
                let (id, tier, at) = (id.clone(), *tier, *at);
                let unlocked = UnlockedAchievement { id, tier, at };
                put(&mut self.state.achievements, unlocked, |it| &it.id);
            }
            PlayerEventData::DayKept { .. }
            | PlayerEventData::StreakFrozen { .. }
            | PlayerEventData::StreakLost { .. }
            | PlayerEventData::StreakRepaired { .. } => {}
            PlayerEventData::ItemGranted { item, .. } => self.state.items.push(item.clone()),
            PlayerEventData::ItemEquipped { slot, item } => {
                self.state.equipped.insert(slot.clone(), item.clone());
            }
            PlayerEventData::RaidJoined { raid, role, .. } => self.set_role(*raid, *role),
            PlayerEventData::RaidLeft { raid, .. } => self.remove_raid(*raid),
            PlayerEventData::RaidEnded {
                raid,
                xp,
                happened_at,
                raids_played,
                raids_won,
                ..
            } => {
                if *xp > 0 {
                    self.recent_raids.add(*raid, *happened_at);
                }
                self.state.raids_played = *raids_played;
                self.state.raids_won = *raids_won;
                self.remove_raid(*raid);
            }
            PlayerEventData::SettingSet {
                key,
                value,
                version,
                ..
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
                self.state.read_through = self.state.read_through.max(*read);
                for item in &mut self.state.inbox.items {
                    item.read |= item.seq <= *read;
                }
                count_unread(&mut self.state.inbox);
            }
            PlayerEventData::Corrected { field, to, .. } => self.correct(*field, *to),
        }
        self.apply_to_streak(event);
        for counter in data.counters() {
            put(&mut self.state.counters, counter.clone(), |it| &it.id);
        }
    }

    /// Sets a number of the state right. Days of the streak make up for the one that was lost, so that it
    /// cannot come back.
    pub fn correct(&mut self, field: CorrectedField, to: u64) {
        self.state.correct(field, to);
        if field == CorrectedField::Streak {
            self.streak.forget_lost();
        }
    }

    /// Returns what decides the player's day from now on.
    pub fn day_settings(&self) -> DaySettings {
        DaySettings::from_settings(&self.state.settings)
    }

    /// Returns whether others see the player on leaderboards.
    pub fn is_listed_on_boards(&self) -> bool {
        let boards = self.state.settings.get("boards");
        is_listed_on_boards(boards.map(|setting| &setting.value))
    }

    /// Returns whether a player sees this one among companions on leaderboards.
    pub fn is_companion_on_boards(&self, viewer: &PlayerFold, now: UnixMillis) -> bool {
        let boards = self.state.settings.get("boards");
        let is_hidden = boards.is_some_and(|it| !is_shown_to_companions(&it.value));
        !is_hidden && self.is_companion_of(viewer, now)
    }

    /// Returns the raids that ended within 90 days and in which the player earned XP, the latest first.
    pub fn recent_raids(&self, now: UnixMillis) -> Vec<RaidId> {
        self.recent_raids.latest(now)
    }

    /// Returns whether both players earned XP in a raid that ended within 90 days.
    pub(super) fn is_companion_of(&self, other: &PlayerFold, now: UnixMillis) -> bool {
        self.recent_raids.has_common(&other.recent_raids, now)
    }

    fn use_allowance(&mut self, used: Allowance) {
        let settings = self.day_settings();
        let day = self
            .allowance_day
            .take_if(|day| day.since == used.since)
            .unwrap_or(AllowanceDay {
                since: used.since,
                settings,
                ranked_used: 0,
                casual_used: 0,
            });
        self.allowance_day = Some(if used.ranked {
            AllowanceDay {
                ranked_used: used.used,
                ..day
            }
        } else {
            AllowanceDay {
                casual_used: used.used,
                ..day
            }
        });
    }

    fn set_role(&mut self, raid: RaidId, role: Role) {
        let raids = &mut self.state.raids;
        if let Some(joined) = raids.iter_mut().find(|joined| joined.raid == raid) {
            joined.role = role;
            return;
        }
        raids.push(PlayerRaid { raid, role });
        if raids.len() > PLAYER_RAIDS_SHOWN {
            raids.remove(0);
        }
    }

    fn remove_raid(&mut self, raid: RaidId) {
        self.state.raids.retain(|joined| joined.raid != raid);
    }
}

/// Replaces the part of a list that has the same key, or appends it.
fn put<T>(list: &mut Vec<T>, part: T, key: impl Fn(&T) -> &String) {
    match list.iter_mut().find(|it| key(it) == key(&part)) {
        Some(present) => *present = part,
        None => list.push(part),
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
