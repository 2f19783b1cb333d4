//! A raid's state as everybody sees it: a function of the seq alone.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use ts_rs::TS;

use crate::event::FailReason;
use crate::ids::{PlayerId, RaidId, Seq, TaskId, UnixMillis};

/// Everything that a client is shown of a raid.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, TS, JsonSchema)]
pub struct RaidState {
    /// The raid.
    pub id: RaidId,
    /// What it is called.
    pub title: String,
    /// What it is about.
    pub description: Option<String>,
    /// What lets a player join.
    pub invite_code: String,
    /// Where it stands.
    pub status: RaidStatus,
    /// Why it failed, if it did.
    pub reason: Option<FailReason>,
    /// The goal in xp.
    pub target_xp: u64,
    /// The goal in tasks.
    pub target_tasks: u64,
    /// The xp earned so far, by those who left too.
    pub current_xp: u64,
    /// The tasks done so far.
    pub current_tasks: u64,
    /// How many members it takes.
    pub max_members: u32,
    /// Whether one may join once it is active.
    pub late_join: bool,
    /// Seconds from start to deadline.
    pub time_limit_secs: u64,
    /// When it was made.
    pub created_at: UnixMillis,
    /// When it was started.
    pub started_at: Option<UnixMillis>,
    /// When it is lost.
    pub deadline: Option<UnixMillis>,
    /// When it was completed or lost.
    pub ended_at: Option<UnixMillis>,
    /// Who leads; null only once nobody is left.
    pub leader: Option<PlayerId>,
    /// How many leaders there have been.
    pub term: u64,
    /// The members in joining order; those who left are not in it.
    pub members: Vec<Member>,
    /// The tasks in the order added.
    pub tasks: Vec<Task>,
    /// The latest 50 chat messages, oldest first.
    pub messages: Vec<ChatMessage>,
    /// The final ranking, once completed.
    pub ranking: Option<Vec<Rank>>,
}

/// Where a raid stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, TS, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum RaidStatus {
    /// Gathering members.
    Recruiting,
    /// Under way.
    Active,
    /// Won.
    Completed,
    /// Lost.
    Failed,
}

impl RaidStatus {
    /// Every status, for lists of what is allowed.
    pub const ALL: [RaidStatus; 4] = [
        Self::Recruiting,
        Self::Active,
        Self::Completed,
        Self::Failed,
    ];

    /// The name on the wire and in the database.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Recruiting => "recruiting",
            Self::Active => "active",
            Self::Completed => "completed",
            Self::Failed => "failed",
        }
    }

    /// Whether nothing but talk can happen any more.
    pub const fn ended(self) -> bool {
        matches!(self, Self::Completed | Self::Failed)
    }
}

/// One member of a raid.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, TS, JsonSchema)]
pub struct Member {
    /// Who.
    pub player: PlayerId,
    /// Their name when they joined.
    pub name: String,
    /// Leader or member.
    pub role: Role,
    /// The xp earned in this raid.
    pub xp: u64,
    /// The tasks done in this raid.
    pub tasks: u64,
    /// Energy at `energy_at`; it regenerates by 1 a minute up to 100.
    pub energy: u32,
    /// When `energy` was last changed.
    pub energy_at: UnixMillis,
    /// When they joined.
    pub joined_at: UnixMillis,
}

/// What a member may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, TS, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Starts, cancels, kicks, promotes.
    Leader,
    /// Everybody else.
    Member,
}

/// One task of a raid.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, TS, JsonSchema)]
pub struct Task {
    /// Its number within the raid.
    pub id: TaskId,
    /// What is to be done.
    pub title: String,
    /// What it earns.
    pub xp: u64,
    /// How long it should take.
    pub minutes: u32,
    /// Where it stands.
    pub status: TaskStatus,
    /// Who claimed or completed it.
    pub assignee: Option<PlayerId>,
    /// Who added it.
    pub by: PlayerId,
    /// When it was claimed.
    pub claimed_at: Option<UnixMillis>,
    /// When it was completed.
    pub ended_at: Option<UnixMillis>,
}

/// Where a task stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, TS, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum TaskStatus {
    /// Anybody may claim it.
    Open,
    /// Somebody is at it.
    Claimed,
    /// Done.
    Completed,
}

/// One chat message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, TS, JsonSchema)]
pub struct ChatMessage {
    /// The seq of its `said` event.
    pub seq: Seq,
    /// Who said it.
    pub by: PlayerId,
    /// What they said.
    pub text: String,
    /// When.
    pub at: UnixMillis,
}

/// A place in the final ranking.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, TS, JsonSchema)]
pub struct Rank {
    /// Who.
    pub player: PlayerId,
    /// Their name.
    pub name: String,
    /// What they earned.
    pub xp: u64,
    /// What they did.
    pub tasks: u64,
    /// Their place, from 1.
    pub rank: u32,
}
