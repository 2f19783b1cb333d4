//! What has happened in a raid: the numbered events that the ledger keeps and every watcher gets.
//!
//! The data carry results, so that whoever applies events to a snapshot has the server's state without knowing the
//! rules. Optional fields are null, never absent.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use ts_rs::TS;

use crate::ids::{PlayerId, Seq, TaskId, UnixMillis};
use crate::state::{Rank, Role};

/// The newest version of event data that this build knows. The ledger keeps [`EventData::version`] with each event.
pub const EVENT_VERSION: u16 = 2;

/// One numbered event of one raid.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, TS, JsonSchema)]
#[ts(rename = "RaidEvent")] // browsers have an Event of their own
pub struct Event {
    /// Its place in the raid's history.
    pub seq: Seq,
    /// When it happened, by the database's clock; never before the event in front of it.
    pub at: UnixMillis,
    /// The acting player; null for the server itself and for the host app's backend.
    pub by: Option<PlayerId>,
    /// What happened.
    #[serde(flatten)]
    pub data: EventData,
}

/// What happened, by type.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, TS, JsonSchema)]
#[serde(tag = "type", content = "data", rename_all = "snake_case")]
#[allow(
    missing_docs,
    reason = "the fields are named as in the state they change"
)]
pub enum EventData {
    /// A raid was made. Always the first event.
    RaidCreated {
        title: String,
        description: Option<String>,
        invite_code: String,
        target_xp: u64,
        target_tasks: u64,
        time_limit_secs: u64,
        max_members: u32,
        late_join: bool,
    },
    /// A player joined, for the first time or again; xp and tasks are what they had.
    MemberJoined {
        player: PlayerId,
        name: String,
        role: Role,
        xp: u64,
        tasks: u64,
        energy: u32,
        energy_at: UnixMillis,
        joined_at: UnixMillis,
    },
    /// A member left; the tasks they had claimed are open again.
    MemberLeft {
        player: PlayerId,
        reason: LeaveReason,
        released: Vec<TaskId>,
    },
    /// Leadership moved.
    LeaderChanged {
        player: PlayerId,
        previous: PlayerId,
        reason: LeaderReason,
        term: u64,
    },
    /// The raid began; it ends at the deadline.
    RaidStarted { deadline: UnixMillis },
    /// A task was added.
    TaskAdded {
        task: TaskId,
        title: String,
        xp: u64,
        minutes: u32,
    },
    /// A task was claimed; the claimer's energy after it.
    TaskClaimed {
        task: TaskId,
        player: PlayerId,
        energy: u32,
    },
    /// A claim was given back.
    TaskReleased { task: TaskId, player: PlayerId },
    /// A task was done; sums after it.
    TaskCompleted {
        task: TaskId,
        player: PlayerId,
        xp: u64,
        energy: u32,
        member_xp: u64,
        member_tasks: u64,
        current_xp: u64,
        current_tasks: u64,
    },
    /// A task was failed and is open again; the failer's energy after it.
    TaskFailed {
        task: TaskId,
        player: PlayerId,
        energy: u32,
    },
    /// The host app's backend credited a member; sums after it.
    Contributed {
        player: PlayerId,
        xp: u64,
        kind: String,
        note: Option<String>,
        member_xp: u64,
        member_tasks: u64,
        current_xp: u64,
        current_tasks: u64,
    },
    /// A chat message.
    Said { text: String },
    /// Both goals were reached.
    RaidCompleted { ranking: Vec<Rank> },
    /// The raid is lost.
    RaidFailed { reason: FailReason },
    /// A player's account was erased: `text` stands now for their name, wherever it stood, for the titles of tasks that
    /// they added and for what they said; if they made the raid, for its title too, and its description is null.
    PlayerErased {
        player: PlayerId,
        text: String,
        made_raid: bool,
    },
}

impl EventData {
    /// The type's name on the wire and in the ledger.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::RaidCreated { .. } => "raid_created",
            Self::MemberJoined { .. } => "member_joined",
            Self::MemberLeft { .. } => "member_left",
            Self::LeaderChanged { .. } => "leader_changed",
            Self::RaidStarted { .. } => "raid_started",
            Self::TaskAdded { .. } => "task_added",
            Self::TaskClaimed { .. } => "task_claimed",
            Self::TaskReleased { .. } => "task_released",
            Self::TaskCompleted { .. } => "task_completed",
            Self::TaskFailed { .. } => "task_failed",
            Self::Contributed { .. } => "contributed",
            Self::Said { .. } => "said",
            Self::RaidCompleted { .. } => "raid_completed",
            Self::RaidFailed { .. } => "raid_failed",
            Self::PlayerErased { .. } => "player_erased",
        }
    }

    /// The version of the form of these data: the first that has this type as it is. A release that does not know it
    /// leaves the raid to those that do.
    pub const fn version(&self) -> u16 {
        match self {
            Self::PlayerErased { .. } => 2,
            _ => 1,
        }
    }

    /// Who earned xp by this event, and how much. Every such event also counts as one task.
    pub const fn earned(&self) -> Option<(PlayerId, u64)> {
        match *self {
            Self::TaskCompleted { player, xp, .. } | Self::Contributed { player, xp, .. } => {
                Some((player, xp))
            }
            _ => None,
        }
    }
}

/// Why a member left.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, TS, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum LeaveReason {
    /// By their own wish.
    Left,
    /// The leader sent them away; they may not return.
    Kicked,
}

/// Why leadership moved.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, TS, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum LeaderReason {
    /// The leader left the raid.
    Left,
    /// The leader named a successor.
    Promoted,
    /// The leader was offline for too long while somebody else was online.
    LeaderOffline,
}

/// Why a raid was lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, TS, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum FailReason {
    /// Time ran out.
    Deadline,
    /// The leader gave it up.
    Cancelled,
    /// Nobody is left.
    Abandoned,
}
