//! Generates a player's next command from the state that the player sees: seeded, and without any
//! I/O.

use std::ops::Range;

use raidhall_protocol::state::{Member, RaidStatus, Task, TaskStatus};
use raidhall_protocol::{Command, PlayerId, RaidState};
use rand::Rng;
use rand::rngs::SmallRng;
use rand::seq::IndexedRandom;

/// XP of the task that wins the raid: the most that a task can be worth. No sum of other tasks
/// comes near.
pub(super) const FINAL_TASK_XP: i64 = 1000;
/// XP of the other tasks in a winnable raid: 500 of them stay below the goal.
const SMALL_XP: i64 = 1;
const TASKS_MAX: usize = 500;
const CLAIM_ENERGY: u32 = 10;
/// When mutes end, in milliseconds after the raid's creation: some are over already.
const MUTE_ENDS_MS: Range<i64> = 1_000..90_000;

/// Generator of one player's commands, from a seed and the states that the player sees.
#[derive(Debug)]
pub struct CommandGenerator {
    rng: SmallRng,
    player: PlayerId,
    created_count: u64,
    /// Whether only the final task may win the raid.
    only_small_tasks: bool,
    /// Whether the player may leave for a while.
    may_leave: bool,
    /// Whether the player, while they lead, may kick and mute others and replace the invite code.
    may_moderate: bool,
}

impl CommandGenerator {
    /// Creates a generator that returns the same commands for the same seed and states.
    pub fn new(
        rng: SmallRng,
        player: PlayerId,
        only_small_tasks: bool,
        may_leave: bool,
        may_moderate: bool,
    ) -> CommandGenerator {
        CommandGenerator {
            rng,
            player,
            created_count: 0,
            only_small_tasks,
            may_leave,
            may_moderate,
        }
    }

    /// Returns the next command. The server will refuse some, as it would those of real players who
    /// are late or tired.
    pub fn next_command(&mut self, state: &RaidState) -> Option<Command> {
        let me = state
            .members
            .iter()
            .find(|member| member.player == self.player)?;
        match state.status {
            RaidStatus::Recruiting => (state.leader == Some(self.player)).then_some(Command::Start),
            RaidStatus::Active => Some(self.active_command(state, me)),
            RaidStatus::Completed | RaidStatus::Failed => Some(self.chat_command()),
        }
    }

    fn active_command(&mut self, state: &RaidState, me: &Member) -> Command {
        let dice: u32 = self.rng.random_range(0..1000);
        let normal: Vec<&Task> = state
            .tasks
            .iter()
            .filter(|task| task.xp < FINAL_TASK_XP.unsigned_abs())
            .collect();
        let mine: Vec<_> = normal
            .iter()
            .filter(|task| is_claimed_by(task, self.player))
            .collect();
        let open: Vec<_> = normal
            .iter()
            .filter(|task| task.status == TaskStatus::Open)
            .collect();
        match dice {
            0..400 if !mine.is_empty() => self.end_claim(mine[0]),
            0..400 if !open.is_empty() && (me.energy >= CLAIM_ENERGY || dice < 20) => {
                let task = open[self.rng.random_range(0..open.len().min(3))].id;
                Command::ClaimTask { task }
            }
            400..520
                if open.len() < 2 * state.members.len() + 4 && state.tasks.len() < TASKS_MAX =>
            {
                self.add_task()
            }
            520..535 => self
                .forbidden_command(&normal)
                .unwrap_or_else(|| self.chat_command()),
            535..545 if state.leader == Some(self.player) => {
                self.promote(state).unwrap_or_else(|| self.chat_command())
            }
            545..550 if self.may_leave && state.leader != Some(self.player) => Command::Leave,
            550..566 if self.may_moderate && state.leader == Some(self.player) => {
                self.moderate(state).unwrap_or_else(|| self.chat_command())
            }
            570..590 => (self.change_task(&open)).unwrap_or_else(|| self.chat_command()),
            _ => self.chat_command(),
        }
    }

    /// Ends a claim, in most cases by completing the task.
    fn end_claim(&mut self, held: &Task) -> Command {
        let task = held.id;
        match self.rng.random_range(0..10) {
            0 => Command::FailTask { task },
            1 | 2 => Command::ReleaseTask { task },
            _ => Command::CompleteTask { task },
        }
    }

    /// Returns a command that the rules forbid, if a task allows for one.
    fn forbidden_command(&mut self, tasks: &[&Task]) -> Option<Command> {
        let task = tasks.choose(&mut self.rng)?;
        if is_claimed_by(task, self.player) || task.status == TaskStatus::Open {
            return None;
        }
        let task = task.id;
        Some(if self.rng.random() {
            Command::ClaimTask { task }
        } else {
            Command::CompleteTask { task }
        })
    }

    fn promote(&mut self, state: &RaidState) -> Option<Command> {
        let others: Vec<_> = state
            .members
            .iter()
            .filter(|member| member.player != self.player)
            .collect();
        others.choose(&mut self.rng).map(|member| Command::Promote {
            player: member.player,
        })
    }

    /// Does what only leaders may do, to a member other than the one who joined first: the group's
    /// creator, who must stay.
    fn moderate(&mut self, state: &RaidState) -> Option<Command> {
        let joined_later = state.members.iter().skip(1);
        let others: Vec<_> = joined_later
            .map(|member| member.player)
            .filter(|player| *player != self.player)
            .collect();
        let player = *others.choose(&mut self.rng)?;
        Some(match self.rng.random_range(0..3) {
            0 => Command::Kick { player },
            1 => Command::RotateInvite,
            _ => {
                let end = state.created_at.plus(self.rng.random_range(MUTE_ENDS_MS));
                let until = self.rng.random_bool(0.8).then_some(end.0);
                Command::Mute { player, until }
            }
        })
    }

    /// Edits or removes an open task. Few players may.
    fn change_task(&mut self, open: &[&&Task]) -> Option<Command> {
        let task = open.choose(&mut self.rng)?.id;
        Some(if self.rng.random() {
            Command::RemoveTask { task }
        } else {
            Command::EditTask {
                task,
                title: Some(self.new_title()),
                minutes: None,
            }
        })
    }

    fn add_task(&mut self) -> Command {
        let xp = if self.only_small_tasks {
            SMALL_XP
        } else {
            self.rng.random_range(1..200)
        };
        Command::AddTask {
            title: self.new_title(),
            xp,
            minutes: 25,
        }
    }

    /// Returns a title that no other task of the run has.
    fn new_title(&mut self) -> String {
        self.created_count += 1;
        format!("Task {} of {}", self.created_count, self.player)
    }

    /// Returns a chat command. No two texts of a run are equal, so that the judge can identify
    /// each.
    pub(super) fn chat_command(&mut self) -> Command {
        self.created_count += 1;
        let mood = [
            "on it",
            "well done",
            "läuft",
            "もう一回",
            "🔥🔥",
            "who takes the next one?",
        ];
        let mood = mood.choose(&mut self.rng).copied().unwrap_or_default();
        Command::Say {
            text: format!("{mood} ({}-{})", self.player, self.created_count),
        }
    }
}

fn is_claimed_by(task: &Task, player: PlayerId) -> bool {
    task.status == TaskStatus::Claimed && task.assignee == Some(player)
}
