//! Generates a player's next command from the state that the player sees: seeded, and without any
//! I/O.

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
    /// Whether the player may kick others while they lead.
    may_kick: bool,
}

impl CommandGenerator {
    /// Creates a generator that returns the same commands for the same seed and states.
    pub fn new(
        rng: SmallRng,
        player: PlayerId,
        only_small_tasks: bool,
        may_leave: bool,
        may_kick: bool,
    ) -> CommandGenerator {
        CommandGenerator {
            rng,
            player,
            created_count: 0,
            only_small_tasks,
            may_leave,
            may_kick,
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
            550..555 if self.may_kick && state.leader == Some(self.player) => {
                self.kick(state).unwrap_or_else(|| self.chat_command())
            }
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

    /// Kicks a member other than the one who joined first: the group's creator, who must stay.
    fn kick(&mut self, state: &RaidState) -> Option<Command> {
        let joined_later = state.members.iter().skip(1);
        let others: Vec<_> = joined_later
            .filter(|member| member.player != self.player)
            .collect();
        others.choose(&mut self.rng).map(|member| Command::Kick {
            player: member.player,
        })
    }

    fn add_task(&mut self) -> Command {
        self.created_count += 1;
        let xp = if self.only_small_tasks {
            SMALL_XP
        } else {
            self.rng.random_range(1..200)
        };
        Command::AddTask {
            title: format!("Task {} of {}", self.created_count, self.player),
            xp,
            minutes: 25,
        }
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
