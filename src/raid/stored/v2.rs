//! Version 2 of the stored form: version 1 and what it lacks. It is frozen: databases hold bytes in this
//! form.

use raidhall_protocol::{PlayerId, TaskId, UnixMillis};
use serde::{Deserialize, Serialize};

use crate::raid::State;
use crate::raid::state::{DailyEvents, Former, task_index};

/// What a [`State`] has besides version 1.
#[derive(Serialize, Deserialize)]
pub(super) struct Additions {
    /// The UTC day of the last event, and the number of events on it.
    day: i64,
    day_events: u64,
    ranked: bool,
    /// Number of tasks ever added; version 1 takes it for the number of tasks.
    tasks_added: u64,
    /// Tasks whose title was changed, and the player who did that last.
    edited: Vec<(TaskId, PlayerId)>,
    /// Members and former members who are muted.
    muted: Vec<(PlayerId, UnixMillis)>,
}

impl From<&State> for Additions {
    fn from(state: &State) -> Self {
        let members = state.shown.members.iter();
        let members = members.map(|member| (member.player, member.muted_until));
        let former = state.former.iter().map(|(player, former)| match former {
            Former::Left { muted_until, .. } => (*player, *muted_until),
            Former::Kicked => (*player, None),
        });
        let tasks = state.shown.tasks.iter();
        Additions {
            day: state.daily_events.day,
            day_events: state.daily_events.count,
            ranked: state.shown.ranked,
            tasks_added: state.tasks_added,
            edited: tasks
                .filter_map(|task| Some((task.id, task.edited_by?)))
                .collect(),
            muted: members
                .chain(former)
                .filter_map(|(player, until)| Some((player, until?)))
                .collect(),
        }
    }
}

impl Additions {
    /// Adds these values to a state that was decoded from version 1.
    pub(super) fn add_to(self, mut state: State) -> State {
        state.daily_events = DailyEvents {
            day: self.day,
            count: self.day_events,
        };
        state.shown.ranked = self.ranked;
        state.tasks_added = self.tasks_added;
        for (task, player) in self.edited {
            if let Some(index) = task_index(&state.shown, task) {
                state.shown.tasks[index].edited_by = Some(player);
            }
        }
        for (player, until) in self.muted {
            let mut members = state.shown.members.iter_mut();
            if let Some(member) = members.find(|member| member.player == player) {
                member.muted_until = Some(until);
            } else if let Some(Former::Left { muted_until, .. }) = state.former.get_mut(&player) {
                *muted_until = Some(until);
            }
        }
        state
    }
}
