//! Request and response bodies of the REST API. Those for operators are in [`crate::admin`], those
//! for the host app's backend in [`crate::host_app`].

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use ts_rs::TS;

use crate::error::{ErrorBody, FieldFault};
use crate::event::Event;
use crate::fields::Fields;
use crate::ids::{PlayerId, RaidId, Seq, TaskId, UnixMillis};
use crate::limits::{
    DESCRIPTION_CHARS_MAX, MEMBERS, TARGET_TASKS, TARGET_XP, TIME_LIMIT_SECS, TITLE_CHARS_MAX,
};
use crate::player::PlayerState;
use crate::server::PlayerRef;
use crate::state::{RaidState, RaidStatus};
use crate::text::{NAME, TEXT_OR_NONE};

/// Body of a successful response.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, TS, JsonSchema)]
pub struct Data<T> {
    /// Result of the request.
    pub data: T,
}

/// Body with one page of a list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, TS, JsonSchema)]
pub struct Page<T> {
    /// Rows of this page.
    pub data: Vec<T>,
    /// Cursor to pass as `cursor` for the next page; null on the last.
    pub next_cursor: Option<String>,
}

/// Body of a failed response.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, TS, JsonSchema)]
pub struct Failed {
    /// Error that the request failed with.
    pub error: RestError,
}

/// An error in a REST response.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, TS, JsonSchema)]
pub struct RestError {
    /// Fields that an error has on the WebSocket too.
    #[serde(flatten)]
    pub body: ErrorBody,
    /// HTTP status of the response.
    pub status: u16,
    /// Value of the response header `X-Request-ID`.
    pub request_id: String,
}

/// Tokens of a player: the response to a sign-in or a refresh.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, TS, JsonSchema)]
pub struct TokenPair {
    /// Access token for `Authorization: Bearer` and `hello`.
    pub access_token: String,
    /// Refresh token, to be exchanged for the next pair.
    pub refresh_token: String,
    /// Seconds until the access token expires.
    pub expires_in: u64,
    /// Player who is signed in.
    pub player: PlayerRef,
}

/// A player with totals over all raids (`GET /me`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, TS, JsonSchema)]
pub struct Profile {
    /// Id of the player.
    pub id: PlayerId,
    /// Name of the player.
    pub name: String,
    /// XP earned in all raids.
    pub xp: u64,
    /// Tasks done in all raids; each contribution counts as one.
    pub tasks: u64,
    /// Number of completed raids.
    pub raids_won: u64,
    /// When the player was created.
    pub created_at: UnixMillis,
}

/// What a player shows to others (`GET /players/{id}/profile`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, TS, JsonSchema)]
pub struct PlayerProfile {
    /// Id of the player.
    pub id: PlayerId,
    /// Name of the player.
    pub name: String,
    /// The player's level, from 1.
    pub level: u64,
    /// How many raids were completed while the player was a member.
    pub raids_won: u64,
    /// The achievements that the player has, in the order of their first tier.
    pub badges: Vec<Badge>,
    /// How many days the player's streak has; 0 if it has lapsed.
    pub streak_days: u64,
    /// Id of the item that the player wears in the slot `frame`; null if none.
    pub frame: Option<String>,
}

/// An achievement in a player's profile.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, TS, JsonSchema)]
pub struct Badge {
    /// Id of the achievement.
    pub id: String,
    /// The highest tier that was reached, from 1.
    pub tier: u32,
}

/// A raid in a REST response: its state, seq, online members and WebSocket URL.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, TS, JsonSchema)]
pub struct RaidView {
    /// State of the raid.
    #[serde(flatten)]
    pub state: RaidState,
    /// Seq that the state is a function of.
    pub seq: Seq,
    /// Members who are online.
    pub online: Vec<PlayerId>,
    /// URL of a WebSocket that reaches the raid directly.
    pub ws_url: String,
}

/// Summary of a raid in a list (`GET /raids`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, TS, JsonSchema)]
pub struct RaidSummary {
    /// Id of the raid.
    pub id: RaidId,
    /// Title of the raid.
    pub title: String,
    /// Invite code, with which any player can join.
    pub invite_code: String,
    /// Status of the raid.
    pub status: RaidStatus,
    /// Goal of the raid in XP.
    pub target_xp: u64,
    /// Goal of the raid in tasks.
    pub target_tasks: u64,
    /// XP earned so far.
    pub current_xp: u64,
    /// Tasks done so far; each contribution counts as one.
    pub current_tasks: u64,
    /// Seconds from start to deadline.
    pub time_limit_secs: u64,
    /// When the raid was created.
    pub created_at: UnixMillis,
    /// Deadline of an active raid; null in any other status.
    pub deadline: Option<UnixMillis>,
    /// When the raid ended; null before that.
    pub ended_at: Option<UnixMillis>,
    /// Newest seq of the raid.
    pub seq: Seq,
    /// The first five members, in the order of joining.
    pub members: Vec<PlayerRef>,
    /// Number of members that the raid has now.
    pub member_count: u32,
}

/// A raid as its invite code shows it to anyone (`GET /invites/{code}`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, TS, JsonSchema)]
pub struct InviteView {
    /// Id of the raid.
    pub id: RaidId,
    /// Title of the raid.
    pub title: String,
    /// Name of the leader; null when every member has left.
    pub host: Option<String>,
    /// Status of the raid.
    pub status: RaidStatus,
    /// Number of members that the raid has now.
    pub member_count: u32,
    /// Maximum number of members.
    pub max_members: u32,
    /// Whether players can join once the raid is active.
    pub late_join: bool,
    /// Deadline of an active raid; null in any other status.
    pub deadline: Option<UnixMillis>,
}

/// Response to a command sent by REST.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, TS, JsonSchema)]
pub struct CommandResult {
    /// Seq of the last event that the command caused; the newest seq if it caused none.
    pub seq: Seq,
    /// Whether the command's op had already taken effect.
    pub duplicate: bool,
}

/// Response to `GET /me/state`: a player's state at a seq of their stream.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, TS, JsonSchema)]
pub struct PlayerStateAt {
    /// The newest seq of the player's stream.
    pub seq: Seq,
    /// The player's state at `seq`.
    pub state: PlayerState,
}

/// A row of `GET /raids/{id}/events`: an event as on the WebSocket.
pub type LedgerRow = Event;

/// A row of `GET /raids/{id}/contributions`: XP that a player earned.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, TS, JsonSchema)]
pub struct Contribution {
    /// Seq of the event that credited the XP.
    pub seq: Seq,
    /// When the player earned it.
    pub at: UnixMillis,
    /// Player who earned it.
    pub player: PlayerId,
    /// Amount of XP earned.
    pub xp: u64,
    /// Kind of contribution; `task_complete` for a task of the raid.
    pub kind: String,
    /// Completed task; null for a contribution from the backend.
    pub task: Option<TaskId>,
    /// Note of the backend, if it gave one.
    pub note: Option<String>,
}

/// Body of `POST /raids`. Only the types are checked here; the raid's rules check the values.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, TS, JsonSchema)]
pub struct NewRaid {
    /// Title of the raid, 1–80 characters.
    #[schemars(length(min = 1, max = TITLE_CHARS_MAX), regex(pattern = NAME))]
    pub title: String,
    /// Description of the raid, at most 500 characters.
    #[ts(optional)]
    #[schemars(length(max = DESCRIPTION_CHARS_MAX), regex(pattern = TEXT_OR_NONE))]
    pub description: Option<String>,
    /// Goal in XP, 1–1,000,000.
    #[schemars(range(min = *TARGET_XP.start(), max = *TARGET_XP.end()))]
    pub target_xp: i64,
    /// Goal in tasks, 0–10,000.
    #[schemars(range(min = *TARGET_TASKS.start(), max = *TARGET_TASKS.end()))]
    pub target_tasks: i64,
    /// Seconds from start to deadline, 60–604,800; 86,400 when absent.
    #[ts(optional)]
    #[schemars(range(min = *TIME_LIMIT_SECS.start(), max = *TIME_LIMIT_SECS.end()))]
    pub time_limit_secs: Option<i64>,
    /// Maximum number of members, 2–100; 4 when absent.
    #[ts(optional)]
    #[schemars(range(min = *MEMBERS.start(), max = *MEMBERS.end()))]
    pub max_members: Option<i64>,
    /// Whether players can join once the raid is active; false when absent.
    #[ts(optional)]
    pub late_join: Option<bool>,
    /// Whether the raid is ranked: only the host app's backend adds and removes tasks, so that
    /// members do not set the XP they earn. Only the host app's backend may set it to
    /// true; false when absent.
    #[ts(optional)]
    pub ranked: Option<bool>,
}

impl NewRaid {
    /// Reads a request body, or returns every faulty field.
    pub fn read(map: &Map<String, Value>) -> Result<NewRaid, Vec<FieldFault>> {
        let mut fields = Fields::new(map);
        let title = fields.text("title");
        let description = fields.optional_text("description");
        let target_xp = fields.integer("target_xp");
        let target_tasks = fields.integer("target_tasks");
        let time_limit_secs = fields.optional_integer("time_limit_secs");
        let max_members = fields.optional_integer("max_members");
        let late_join = fields.optional_flag("late_join");
        let ranked = fields.optional_flag("ranked");
        let read = || {
            Some(NewRaid {
                title: title?,
                description: description?,
                target_xp: target_xp?,
                target_tasks: target_tasks?,
                time_limit_secs: time_limit_secs?,
                max_members: max_members?,
                late_join: late_join?,
                ranked: ranked?,
            })
        };
        fields.finish(read())
    }
}
