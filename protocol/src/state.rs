//! State of a raid as sent to clients: a function of the seq alone.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use ts_rs::TS;

use crate::event::FailReason;
use crate::ids::{PlayerId, RaidId, Seq, TaskId, UnixMillis};

/// State of a raid: everything that a client sees of it, except who is online.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, TS, JsonSchema)]
pub struct RaidState {
    /// Id of the raid.
    pub id: RaidId,
    /// Title of the raid.
    pub title: String,
    /// Description of the raid, if it has one.
    pub description: Option<String>,
    /// Invite code, with which a player can join.
    pub invite_code: String,
    /// Status of the raid.
    pub status: RaidStatus,
    /// Why the raid failed; null unless it did.
    pub reason: Option<FailReason>,
    /// Goal of the raid in XP.
    pub target_xp: u64,
    /// Goal of the raid in tasks.
    pub target_tasks: u64,
    /// XP earned so far, including that of members who have left.
    pub current_xp: u64,
    /// Tasks done so far; each contribution counts as one.
    pub current_tasks: u64,
    /// Maximum number of members.
    pub max_members: u32,
    /// Whether players can join once the raid is active.
    pub late_join: bool,
    /// Whether the raid is ranked: only the host app's backend adds and removes tasks, so that members
    /// do not set the XP they earn.
    pub ranked: bool,
    /// Seconds from start to deadline.
    pub time_limit_secs: u64,
    /// When the raid was created.
    pub created_at: UnixMillis,
    /// When the raid was started; null before that.
    pub started_at: Option<UnixMillis>,
    /// When the raid fails unless both goals are reached before; null until the start.
    pub deadline: Option<UnixMillis>,
    /// When the raid was completed or failed; null before that.
    pub ended_at: Option<UnixMillis>,
    /// Leader of the raid; null only once no member is left.
    pub leader: Option<PlayerId>,
    /// Number of leaders so far, the current one included.
    pub term: u64,
    /// Members in joining order, without those who have left.
    pub members: Vec<Member>,
    /// Tasks in the order in which they were added.
    pub tasks: Vec<Task>,
    /// Latest 50 chat messages, oldest first.
    pub messages: Vec<ChatMessage>,
    /// Final ranking; null unless the raid is completed.
    pub ranking: Option<Vec<Rank>>,
}

/// Status of a raid.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, TS, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum RaidStatus {
    /// Members gather; the leader has not started the raid.
    Recruiting,
    /// The raid has been started and runs until its deadline.
    Active,
    /// Both goals were reached.
    Completed,
    /// The raid was lost; `reason` says why.
    Failed,
}

impl RaidStatus {
    /// Every status, for checks and lists of allowed values.
    pub const ALL: [RaidStatus; 4] = [
        Self::Recruiting,
        Self::Active,
        Self::Completed,
        Self::Failed,
    ];

    /// Returns the name on the wire and in the database.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Recruiting => "recruiting",
            Self::Active => "active",
            Self::Completed => "completed",
            Self::Failed => "failed",
        }
    }

    /// Returns whether the raid is over, so that only chat is still possible.
    pub const fn ended(self) -> bool {
        matches!(self, Self::Completed | Self::Failed)
    }
}

/// A current member of a raid.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, TS, JsonSchema)]
pub struct Member {
    /// Id of the player.
    pub player: PlayerId,
    /// Name of the player when they joined.
    pub name: String,
    /// Role of the member in this raid.
    pub role: Role,
    /// XP earned in this raid.
    pub xp: u64,
    /// Tasks done in this raid; each contribution counts as one.
    pub tasks: u64,
    /// Energy at `energy_at`; it regenerates by 1 per minute up to 100.
    pub energy: u32,
    /// When `energy` last changed.
    pub energy_at: UnixMillis,
    /// When the player joined.
    pub joined_at: UnixMillis,
    /// Until when the member may not send chat messages and signals; null if they are not muted.
    pub muted_until: Option<UnixMillis>,
}

impl Member {
    /// Returns whether the member may not send chat messages and signals now.
    pub fn is_muted(&self, now: UnixMillis) -> bool {
        self.muted_until.is_some_and(|until| now < until)
    }
}

/// Role of a member, which decides what they may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, TS, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// May start and cancel the raid, kick, mute and promote members, replace the invite code, and
    /// edit and remove all tasks unless the raid is ranked.
    Leader,
    /// Any member who is not the leader.
    Member,
}

impl Role {
    /// Returns the name on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Leader => "leader",
            Self::Member => "member",
        }
    }
}

/// A task of a raid.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, TS, JsonSchema)]
pub struct Task {
    /// Number of the task within its raid.
    pub id: TaskId,
    /// Title: what has to be done.
    pub title: String,
    /// XP earned by completing the task.
    pub xp: u64,
    /// How long the task should take, in minutes.
    pub minutes: u32,
    /// Status of the task.
    pub status: TaskStatus,
    /// Player who claimed or completed the task; null while it is open.
    pub assignee: Option<PlayerId>,
    /// Player who added the task; null if the host app's backend did.
    pub by: Option<PlayerId>,
    /// Player who changed the title last; null if it is still that of the author.
    pub edited_by: Option<PlayerId>,
    /// When the task was claimed; null while it is open.
    pub claimed_at: Option<UnixMillis>,
    /// When the task was completed; null before that.
    pub ended_at: Option<UnixMillis>,
}

/// Status of a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, TS, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum TaskStatus {
    /// Any member can claim the task.
    Open,
    /// A member has claimed the task and works on it.
    Claimed,
    /// The task is done and has earned its XP.
    Completed,
}

/// A chat message of a raid.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, TS, JsonSchema)]
pub struct ChatMessage {
    /// Seq of the message's `said` event.
    pub seq: Seq,
    /// Player who sent the message.
    pub by: PlayerId,
    /// Text of the message.
    pub text: String,
    /// When the message was sent.
    pub at: UnixMillis,
}

/// One row of the final ranking.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, TS, JsonSchema)]
pub struct Rank {
    /// Id of the player.
    pub player: PlayerId,
    /// Name of the player.
    pub name: String,
    /// XP that the player earned in the raid.
    pub xp: u64,
    /// Tasks that the player did in the raid; each contribution counts as one.
    pub tasks: u64,
    /// Rank of the player, from 1.
    pub rank: u32,
}
