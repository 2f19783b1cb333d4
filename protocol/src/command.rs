//! Commands: what a player, or the host app's backend, can ask of a raid.
//!
//! Only the types are checked here. The raid's rules decide which values are allowed, so that the
//! WebSocket and REST give the same answer.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use ts_rs::TS;

use crate::fields::Fields;
use crate::ids::{PlayerId, TaskId};
use crate::limits::{
    CHAT_CHARS_MAX, CONTRIBUTION_KIND_CHARS_MAX, CONTRIBUTION_XP, MUTE_UNTIL, NOTE_CHARS_MAX,
    TASK_MINUTES, TASK_TITLE_CHARS_MAX, TASK_XP,
};
use crate::text::{NAME, TEXT, TEXT_OR_NONE};

/// A command (`cmd`), tagged by `type`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, TS, JsonSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
#[allow(
    missing_docs,
    reason = "the fields are named as in the events they cause"
)]
pub enum Command {
    /// Starts the raid, and with it the time until the deadline.
    Start,
    /// Leaves the raid; the player can join again.
    Leave,
    /// Removes a member, who cannot join again, and the uncompleted tasks that they added.
    Kick { player: PlayerId },
    /// Forbids a member to send chat messages and signals until a time; null or a past time lifts
    /// that.
    Mute {
        player: PlayerId,
        #[ts(optional = nullable)]
        #[schemars(range(min = *MUTE_UNTIL.start(), max = *MUTE_UNTIL.end()))]
        until: Option<i64>,
    },
    /// Replaces the invite code; the old one is of no use any more.
    RotateInvite,
    /// Makes another member the leader.
    Promote { player: PlayerId },
    /// Ends the raid as failed, with the reason `cancelled`.
    Cancel,
    /// Adds a task that earns `xp` and should take `minutes`.
    AddTask {
        #[schemars(length(min = 1, max = TASK_TITLE_CHARS_MAX), regex(pattern = NAME))]
        title: String,
        #[schemars(range(min = *TASK_XP.start(), max = *TASK_XP.end()))]
        xp: i64,
        #[schemars(range(min = *TASK_MINUTES.start(), max = *TASK_MINUTES.end()))]
        minutes: i64,
    },
    /// Changes an open task; what is absent stays as it is.
    EditTask {
        task: TaskId,
        #[ts(optional = nullable)]
        #[schemars(length(min = 1, max = TASK_TITLE_CHARS_MAX), regex(pattern = NAME))]
        title: Option<String>,
        #[ts(optional = nullable)]
        #[schemars(range(min = *TASK_MINUTES.start(), max = *TASK_MINUTES.end()))]
        minutes: Option<i64>,
    },
    /// Removes a task that is not completed.
    RemoveTask { task: TaskId },
    /// Claims an open task for the sender.
    ClaimTask { task: TaskId },
    /// Gives up a claim, so that the task is open again.
    ReleaseTask { task: TaskId },
    /// Completes a task that the sender has claimed.
    CompleteTask { task: TaskId },
    /// Fails a task that the sender has claimed, so that it is open again.
    FailTask { task: TaskId },
    /// Credits a member with XP earned outside the raid; only the host app's backend may send it.
    Contribute {
        player: PlayerId,
        #[schemars(range(min = *CONTRIBUTION_XP.start(), max = *CONTRIBUTION_XP.end()))]
        xp: i64,
        #[schemars(length(min = 1, max = CONTRIBUTION_KIND_CHARS_MAX), regex(pattern = "^[a-z_]*$"))]
        kind: String,
        #[ts(optional = nullable)]
        #[schemars(length(max = NOTE_CHARS_MAX), regex(pattern = TEXT_OR_NONE))]
        note: Option<String>,
    },
    /// Sends a chat message to the raid.
    Say {
        #[schemars(length(min = 1, max = CHAT_CHARS_MAX), regex(pattern = TEXT))]
        text: String,
    },
}

impl Command {
    /// Returns the name of the command's type on the wire.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Leave => "leave",
            Self::Kick { .. } => "kick",
            Self::Mute { .. } => "mute",
            Self::RotateInvite => "rotate_invite",
            Self::Promote { .. } => "promote",
            Self::Cancel => "cancel",
            Self::AddTask { .. } => "add_task",
            Self::EditTask { .. } => "edit_task",
            Self::RemoveTask { .. } => "remove_task",
            Self::ClaimTask { .. } => "claim_task",
            Self::ReleaseTask { .. } => "release_task",
            Self::CompleteTask { .. } => "complete_task",
            Self::FailTask { .. } => "fail_task",
            Self::Contribute { .. } => "contribute",
            Self::Say { .. } => "say",
        }
    }

    /// Reads a command from the fields of `cmd`. Returns `None` after recording faults in `fields`.
    pub fn read(fields: &mut Fields<'_>) -> Option<Command> {
        let kind = fields.text("type")?;
        let command = match kind.as_str() {
            "start" => Self::Start,
            "leave" => Self::Leave,
            "kick" => Self::Kick {
                player: fields.id("player")?,
            },
            "mute" => {
                let player = fields.id("player");
                let until = fields.optional_integer("until");
                Self::Mute {
                    player: player?,
                    until: until?,
                }
            }
            "rotate_invite" => Self::RotateInvite,
            "promote" => Self::Promote {
                player: fields.id("player")?,
            },
            "cancel" => Self::Cancel,
            "add_task" => {
                let title = fields.text("title");
                let xp = fields.integer("xp");
                let minutes = fields.integer("minutes");
                Self::AddTask {
                    title: title?,
                    xp: xp?,
                    minutes: minutes?,
                }
            }
            "edit_task" => {
                let task = fields.id("task");
                let title = fields.optional_text("title");
                let minutes = fields.optional_integer("minutes");
                Self::EditTask {
                    task: task?,
                    title: title?,
                    minutes: minutes?,
                }
            }
            "remove_task" => Self::RemoveTask {
                task: fields.id("task")?,
            },
            "claim_task" => Self::ClaimTask {
                task: fields.id("task")?,
            },
            "release_task" => Self::ReleaseTask {
                task: fields.id("task")?,
            },
            "complete_task" => Self::CompleteTask {
                task: fields.id("task")?,
            },
            "fail_task" => Self::FailTask {
                task: fields.id("task")?,
            },
            "contribute" => {
                let player = fields.id("player");
                let xp = fields.integer("xp");
                let kind = fields.text("kind");
                let note = fields.optional_text("note");
                Self::Contribute {
                    player: player?,
                    xp: xp?,
                    kind: kind?,
                    note: note?,
                }
            }
            "say" => Self::Say {
                text: fields.text("text")?,
            },
            _ => {
                fields.fault("type", "is not a command");
                return None;
            }
        };
        Some(command)
    }
}
