//! The bodies of the REST doors.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use ts_rs::TS;

use crate::error::{ErrorBody, FieldFault};
use crate::event::Event;
use crate::fields::Fields;
use crate::ids::{PlayerId, RaidId, Seq, TaskId, UnixMillis};
use crate::limits::{
    DESCRIPTION_CHARS_MAX, MEMBERS, TARGET_TASKS, TARGET_XP, TEXT, TEXT_OR_NONE, TIME_LIMIT_SECS,
    TITLE_CHARS_MAX,
};
use crate::server::PlayerRef;
use crate::state::{RaidState, RaidStatus};

/// Success.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, TS, JsonSchema)]
pub struct Data<T> {
    /// What was asked for.
    pub data: T,
}

/// One page of a list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, TS, JsonSchema)]
pub struct Page<T> {
    /// The rows.
    pub data: Vec<T>,
    /// What to pass as `cursor` for the next page; null on the last.
    pub next_cursor: Option<String>,
}

/// Failure.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, TS, JsonSchema)]
pub struct Failed {
    /// What went wrong.
    pub error: RestError,
}

/// An error as REST gives it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, TS, JsonSchema)]
pub struct RestError {
    /// The error as every door gives it.
    #[serde(flatten)]
    pub body: ErrorBody,
    /// The answer's HTTP status.
    pub status: u16,
    /// The answer's `X-Request-ID`.
    pub request_id: String,
}

/// The answer to a sign-in or a refresh.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, TS, JsonSchema)]
pub struct TokenPair {
    /// For `Authorization: Bearer` and `hello`.
    pub access_token: String,
    /// For the next pair.
    pub refresh_token: String,
    /// Seconds until the access token ends.
    pub expires_in: u64,
    /// Who signed in.
    pub player: PlayerRef,
}

/// The signed-in player (`GET /me`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, TS, JsonSchema)]
pub struct Profile {
    /// Who.
    pub id: PlayerId,
    /// What they are called.
    pub name: String,
    /// Xp earned in all raids.
    pub xp: u64,
    /// Tasks done in all raids.
    pub tasks: u64,
    /// Raids completed.
    pub raids_won: u64,
    /// When they first came.
    pub created_at: UnixMillis,
}

/// "The raid" in an answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, TS, JsonSchema)]
pub struct RaidView {
    /// Its state.
    #[serde(flatten)]
    pub state: RaidState,
    /// The seq that the state is a function of.
    pub seq: Seq,
    /// The members who are online.
    pub online: Vec<PlayerId>,
    /// Where a socket reaches it directly.
    pub ws_url: String,
}

/// A raid in a list (`GET /raids`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, TS, JsonSchema)]
pub struct RaidSummary {
    /// The raid.
    pub id: RaidId,
    /// What it is called.
    pub title: String,
    /// Opens it to whoever has it.
    pub invite_code: String,
    /// Where it stands.
    pub status: RaidStatus,
    /// The goal in xp.
    pub target_xp: u64,
    /// The goal in tasks.
    pub target_tasks: u64,
    /// The xp earned so far.
    pub current_xp: u64,
    /// The tasks done so far.
    pub current_tasks: u64,
    /// Seconds from start to deadline.
    pub time_limit_secs: u64,
    /// When it was made.
    pub created_at: UnixMillis,
    /// When it is lost, while it is active.
    pub deadline: Option<UnixMillis>,
    /// When it ended.
    pub ended_at: Option<UnixMillis>,
    /// The newest seq.
    pub seq: Seq,
}

/// The answer to a command by REST.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, TS, JsonSchema)]
pub struct CommandResult {
    /// The seq of the last event it caused.
    pub seq: Seq,
    /// Whether its op had taken effect before.
    pub duplicate: bool,
}

/// A row of `GET /raids/{id}/events`: an event as on the wire.
pub type LedgerRow = Event;

/// A row of `GET /raids/{id}/contributions`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, TS, JsonSchema)]
pub struct Contribution {
    /// The event's seq.
    pub seq: Seq,
    /// When.
    pub at: UnixMillis,
    /// Who earned it.
    pub player: PlayerId,
    /// How much.
    pub xp: u64,
    /// What for; `task_complete` for a task of the raid.
    pub kind: String,
    /// The task, where there is one.
    pub task: Option<TaskId>,
    /// The backend's note.
    pub note: Option<String>,
}

/// What a raid is made of (`POST /raids`). Typed only; the rules say which values make sense.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, TS, JsonSchema)]
pub struct NewRaid {
    /// 1–80 characters.
    #[schemars(length(min = 1, max = TITLE_CHARS_MAX), regex(pattern = TEXT))]
    pub title: String,
    /// At most 500 characters.
    #[ts(optional)]
    #[schemars(length(max = DESCRIPTION_CHARS_MAX), regex(pattern = TEXT_OR_NONE))]
    pub description: Option<String>,
    /// 1–1,000,000.
    #[schemars(range(min = *TARGET_XP.start(), max = *TARGET_XP.end()))]
    pub target_xp: i64,
    /// 0–10,000.
    #[schemars(range(min = *TARGET_TASKS.start(), max = *TARGET_TASKS.end()))]
    pub target_tasks: i64,
    /// 60–604,800; 86,400 when absent.
    #[ts(optional)]
    #[schemars(range(min = *TIME_LIMIT_SECS.start(), max = *TIME_LIMIT_SECS.end()))]
    pub time_limit_secs: Option<i64>,
    /// 2–100; 4 when absent.
    #[ts(optional)]
    #[schemars(range(min = *MEMBERS.start(), max = *MEMBERS.end()))]
    pub max_members: Option<i64>,
    /// False when absent.
    #[ts(optional)]
    pub late_join: Option<bool>,
}

impl NewRaid {
    /// Reads a request body. Errs with every faulty field.
    pub fn read(map: &Map<String, Value>) -> Result<NewRaid, Vec<FieldFault>> {
        let mut fields = Fields::new(map);
        let (title, description) = (fields.text("title"), fields.optional_text("description"));
        let (target_xp, target_tasks) =
            (fields.integer("target_xp"), fields.integer("target_tasks"));
        let time_limit_secs = fields.optional_integer("time_limit_secs");
        let max_members = fields.optional_integer("max_members");
        let late_join = fields.optional_flag("late_join");
        let read = || {
            Some(NewRaid {
                title: title?,
                description: description?,
                target_xp: target_xp?,
                target_tasks: target_tasks?,
                time_limit_secs: time_limit_secs?,
                max_members: max_members?,
                late_join: late_join?,
            })
        };
        fields.finish(read())
    }
}
