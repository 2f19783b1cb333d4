//! The state of a raid: the part that is sent to clients, and what only the rules need.

use std::collections::BTreeMap;

use raidhall_protocol::state::{Member, RaidStatus, Task};
use raidhall_protocol::{PlayerId, RaidId, RaidState, Seq, TaskId, UnixMillis};

/// A raid's state, live or folded from events. Before the first event (`seq` 0) the raid does not
/// exist: only its creation is a valid command, and `shown` holds placeholders.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct State {
    pub(super) seq: Seq,
    pub(super) last_at: UnixMillis,
    pub(super) shown: RaidState,
    /// For each player who ever earned XP in this raid, the seq at which they reached their present
    /// XP.
    pub(super) reached: BTreeMap<PlayerId, Seq>,
    /// Number of tasks ever added, which is the id of the latest one: an id is never used again.
    pub(super) tasks_added: u64,
    /// Players who were members and are not any more.
    pub(super) former: BTreeMap<PlayerId, Former>,
    pub(super) daily_events: DailyEvents,
}

/// Number of a raid's events in the UTC day of the last one.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct DailyEvents {
    /// The UTC day, as days since 1970-01-01.
    pub(super) day: i64,
    pub(super) count: u64,
}

impl DailyEvents {
    /// Returns the number of events in the day of `at`.
    pub(super) const fn count_at(self, at: UnixMillis) -> u64 {
        if self.day == day_of(at) {
            self.count
        } else {
            0
        }
    }

    /// Counts an event. Events come in the order of their times.
    pub(super) const fn add(&mut self, at: UnixMillis) {
        self.count = self.count_at(at) + 1;
        self.day = day_of(at);
    }
}

const fn day_of(at: UnixMillis) -> i64 {
    at.0.div_euclid(24 * 60 * 60 * 1000)
}

/// What is kept of a former member.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Former {
    /// The player left on their own, and gets these values back on joining again.
    Left {
        xp: u64,
        tasks: u64,
        energy: u32,
        energy_at: UnixMillis,
        muted_until: Option<UnixMillis>,
    },
    /// The player was kicked and cannot join again.
    Kicked,
}

impl State {
    /// Returns the state before the raid's first event.
    pub fn new(id: RaidId) -> State {
        let shown = RaidState {
            id,
            title: String::new(),
            description: None,
            invite_code: String::new(),
            status: RaidStatus::Recruiting,
            reason: None,
            target_xp: 0,
            target_tasks: 0,
            current_xp: 0,
            current_tasks: 0,
            max_members: 0,
            late_join: false,
            ranked: false,
            time_limit_secs: 0,
            created_at: UnixMillis(0),
            started_at: None,
            deadline: None,
            ended_at: None,
            leader: None,
            term: 0,
            members: Vec::new(),
            tasks: Vec::new(),
            messages: Vec::new(),
            ranking: None,
        };
        State {
            seq: Seq::ZERO,
            last_at: UnixMillis(0),
            shown,
            reached: BTreeMap::new(),
            tasks_added: 0,
            former: BTreeMap::new(),
            daily_events: DailyEvents::default(),
        }
    }

    /// Returns the seq of the last applied event.
    pub const fn seq(&self) -> Seq {
        self.seq
    }

    /// Returns the time of the last event; the next one is never stamped earlier.
    pub const fn last_at(&self) -> UnixMillis {
        self.last_at
    }

    /// Returns the part of the state that is sent to clients: a function of the seq alone.
    pub const fn shown(&self) -> &RaidState {
        &self.shown
    }

    /// Returns the number of entries that the stored state has besides its fixed fields: what a
    /// snapshot costs.
    pub fn entry_count(&self) -> usize {
        let shown = &self.shown;
        shown.members.len()
            + shown.tasks.len()
            + shown.messages.len()
            + self.reached.len()
            + self.former.len()
    }

    /// Returns whether a state that was decoded from a snapshot is this one. The daily events are
    /// not compared: version 1 of the stored form does not have them.
    pub fn equals_snapshot(&self, snapshot: &State) -> bool {
        let with_daily_events = State {
            daily_events: self.daily_events,
            ..snapshot.clone()
        };
        *self == with_daily_events
    }

    /// Returns whether the player is a member now.
    pub fn is_member(&self, player: PlayerId) -> bool {
        self.member(player).is_some()
    }

    /// Returns the deadline of an active raid, at which it fails.
    pub const fn active_deadline(&self) -> Option<UnixMillis> {
        match self.shown.status {
            RaidStatus::Active => self.shown.deadline,
            _ => None,
        }
    }

    /// Returns the raid's status at a moment: an active raid has failed from its deadline on, even
    /// before the event is recorded.
    pub(super) fn status_at(&self, at: UnixMillis) -> RaidStatus {
        if self
            .active_deadline()
            .is_some_and(|deadline| at >= deadline)
        {
            RaidStatus::Failed
        } else {
            self.shown.status
        }
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.seq.0 == 0
    }

    pub(super) fn member(&self, player: PlayerId) -> Option<&Member> {
        self.shown
            .members
            .iter()
            .find(|member| member.player == player)
    }

    pub(super) fn task(&self, task: TaskId) -> Option<&Task> {
        let index = task_index(&self.shown, task)?;
        self.shown.tasks.get(index)
    }

    /// Returns the id of the task that is added next.
    pub fn next_task(&self) -> TaskId {
        TaskId::try_from(self.tasks_added + 1).expect("there are less than 2^53 tasks")
    }
}

/// Returns a task's index: tasks are in the order of their ids.
pub(super) fn task_index(raid: &RaidState, task: TaskId) -> Option<usize> {
    raid.tasks.binary_search_by_key(&task, |task| task.id).ok()
}
