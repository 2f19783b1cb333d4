//! What a player, or the host app's backend, can ask of a raid.
//!
//! A command is typed here and no more: which values make sense is for the raid's rules to say, so that every door
//! gives the same answer.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use ts_rs::TS;

use crate::fields::Fields;
use crate::ids::{PlayerId, TaskId};
use crate::limits::{
    CHAT_CHARS_MAX, CONTRIBUTION_KIND_CHARS_MAX, CONTRIBUTION_XP, NOTE_CHARS_MAX, TASK_MINUTES,
    TASK_TITLE_CHARS_MAX, TASK_XP, TEXT, TEXT_OR_NONE,
};

/// A command (`cmd`), by type.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, TS, JsonSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
#[allow(
    missing_docs,
    reason = "the fields are named as in the events they cause"
)]
pub enum Command {
    /// Begin the raid.
    Start,
    /// Leave it.
    Leave,
    /// Send a member away for good.
    Kick { player: PlayerId },
    /// Hand leadership to a member.
    Promote { player: PlayerId },
    /// Give the raid up.
    Cancel,
    /// Add a task worth `xp` that should take `minutes`.
    AddTask {
        #[schemars(length(min = 1, max = TASK_TITLE_CHARS_MAX), regex(pattern = TEXT))]
        title: String,
        #[schemars(range(min = *TASK_XP.start(), max = *TASK_XP.end()))]
        xp: i64,
        #[schemars(range(min = *TASK_MINUTES.start(), max = *TASK_MINUTES.end()))]
        minutes: i64,
    },
    /// Take a task on.
    ClaimTask { task: TaskId },
    /// Give a claim back.
    ReleaseTask { task: TaskId },
    /// Finish a claimed task.
    CompleteTask { task: TaskId },
    /// Fail a claimed task.
    FailTask { task: TaskId },
    /// Credit a member from outside (the host app's backend only).
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
    /// Chat.
    Say {
        #[schemars(length(min = 1, max = CHAT_CHARS_MAX), regex(pattern = TEXT))]
        text: String,
    },
}

impl Command {
    /// The type's name on the wire.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Leave => "leave",
            Self::Kick { .. } => "kick",
            Self::Promote { .. } => "promote",
            Self::Cancel => "cancel",
            Self::AddTask { .. } => "add_task",
            Self::ClaimTask { .. } => "claim_task",
            Self::ReleaseTask { .. } => "release_task",
            Self::CompleteTask { .. } => "complete_task",
            Self::FailTask { .. } => "fail_task",
            Self::Contribute { .. } => "contribute",
            Self::Say { .. } => "say",
        }
    }

    /// Reads a command from the fields of `cmd`. `None` means that faults were noted in `fields`.
    pub fn read(fields: &mut Fields<'_>) -> Option<Command> {
        let kind = fields.text("type")?;
        let command = match kind.as_str() {
            "start" => Self::Start,
            "leave" => Self::Leave,
            "kick" => Self::Kick {
                player: fields.id("player")?,
            },
            "promote" => Self::Promote {
                player: fields.id("player")?,
            },
            "cancel" => Self::Cancel,
            "add_task" => {
                let (title, xp, minutes) = (
                    fields.text("title"),
                    fields.integer("xp"),
                    fields.integer("minutes"),
                );
                Self::AddTask {
                    title: title?,
                    xp: xp?,
                    minutes: minutes?,
                }
            }
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
                let (player, xp) = (fields.id("player"), fields.integer("xp"));
                let (kind, note) = (fields.text("kind"), fields.optional_text("note"));
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
