//! The state of a raid: what everybody sees, and the little more that the rules remember.

use std::collections::BTreeMap;

use raidhall_protocol::state::{Member, RaidStatus, Task};
use raidhall_protocol::{PlayerId, RaidId, RaidState, Seq, TaskId, UnixMillis};

/// A raid, live or folded. Before its first event (`seq` 0) it is unborn: nothing but a creation makes sense, and what
/// it shows are placeholders.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct State {
    pub(super) seq: Seq,
    pub(super) last_at: UnixMillis,
    pub(super) shown: RaidState,
    /// The seq at which everybody who ever earned xp here reached the xp they have.
    pub(super) reached: BTreeMap<PlayerId, Seq>,
    /// Everybody who was a member and is none.
    pub(super) former: BTreeMap<PlayerId, Former>,
}

/// What is kept of somebody who is no member any more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Former {
    /// Left of their own accord, and finds this again on joining again.
    Left {
        xp: u64,
        tasks: u64,
        energy: u32,
        energy_at: UnixMillis,
    },
    /// Sent away for good.
    Kicked,
}

impl State {
    /// A raid before its first event.
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
        let (reached, former) = (BTreeMap::new(), BTreeMap::new());
        State {
            seq: Seq::ZERO,
            last_at: UnixMillis(0),
            shown,
            reached,
            former,
        }
    }

    /// The seq of the last event applied.
    pub const fn seq(&self) -> Seq {
        self.seq
    }

    /// When the last event happened; the next is never stamped earlier.
    pub const fn last_at(&self) -> UnixMillis {
        self.last_at
    }

    /// What everybody sees: a function of the seq alone.
    pub const fn shown(&self) -> &RaidState {
        &self.shown
    }

    /// Whether the player is a member now.
    pub fn is_member(&self, player: PlayerId) -> bool {
        self.member(player).is_some()
    }

    /// When the raid is lost if it is not won: the deadline of an active raid.
    pub const fn active_deadline(&self) -> Option<UnixMillis> {
        match self.shown.status {
            RaidStatus::Active => self.shown.deadline,
            _ => None,
        }
    }

    /// Where the raid stands at a moment: at its deadline an active raid is lost, even if that is not yet recorded.
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
        self.shown.tasks.get(task_index(task))
    }
}

/// Tasks are numbered from 1 in the order added, and none is ever removed.
pub(super) fn task_index(task: TaskId) -> usize {
    usize::try_from(task.get() - 1).unwrap_or(usize::MAX)
}
