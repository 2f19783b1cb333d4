//! Events of a raid: the numbered changes that the ledger stores and every watcher receives.
//!
//! An event carries results, so a client that applies events to a snapshot gets the server's state
//! without knowing the rules. Optional fields are null, never absent.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use ts_rs::TS;

use crate::ids::{PlayerId, Seq, TaskId, UnixMillis};
use crate::state::{Rank, Role};

/// Newest version of event data that this build knows. The ledger stores [`EventData::version`]
/// with each event.
pub const EVENT_VERSION: u16 = 3;

/// A numbered event of one raid.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, TS, JsonSchema)]
#[ts(rename = "RaidEvent")] // browsers have an Event of their own
pub struct Event {
    /// Position of the event in the raid's history.
    pub seq: Seq,
    /// When the event happened, by the database's clock; never before the previous event.
    pub at: UnixMillis,
    /// Player who acted; null for the server itself and for the host app's backend.
    pub by: Option<PlayerId>,
    /// Type and data of the event.
    #[serde(flatten)]
    pub data: EventData,
}

/// Data of an event, tagged by `type`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, TS, JsonSchema)]
#[serde(tag = "type", content = "data", rename_all = "snake_case")]
#[allow(
    missing_docs,
    reason = "the fields are named as in the state they change"
)]
pub enum EventData {
    /// The raid was created. Always the first event.
    RaidCreated {
        title: String,
        description: Option<String>,
        invite_code: String,
        target_xp: u64,
        target_tasks: u64,
        time_limit_secs: u64,
        max_members: u32,
        late_join: bool,
        #[serde(default)] // absent in events of version 1
        ranked: bool,
    },
    /// A player joined, for the first time or again; xp and tasks are what they had before.
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
    /// A member left or was kicked; the tasks that they had claimed are open again.
    MemberLeft {
        player: PlayerId,
        reason: LeaveReason,
        released: Vec<TaskId>,
    },
    /// Leadership moved to another member, who is not muted any more.
    LeaderChanged {
        player: PlayerId,
        previous: PlayerId,
        reason: LeaderReason,
        term: u64,
    },
    /// The raid was started; it fails at the deadline.
    RaidStarted { deadline: UnixMillis },
    /// A task was added.
    TaskAdded {
        task: TaskId,
        title: String,
        xp: u64,
        minutes: u32,
    },
    /// An open task was changed; null for what stays as it was. `author` is the player who added
    /// it; null if the host app's backend did.
    TaskEdited {
        task: TaskId,
        author: Option<PlayerId>,
        title: Option<String>,
        minutes: Option<u32>,
    },
    /// An open task was removed.
    TaskRemoved { task: TaskId },
    /// A task was claimed; `energy` is the claimer's energy afterwards.
    TaskClaimed {
        task: TaskId,
        player: PlayerId,
        energy: u32,
    },
    /// A claim was given up; the task is open again.
    TaskReleased { task: TaskId, player: PlayerId },
    /// A task was completed; all totals are those afterwards.
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
    /// A task was failed and is open again; `energy` is the player's energy afterwards.
    TaskFailed {
        task: TaskId,
        player: PlayerId,
        energy: u32,
    },
    /// The host app's backend credited a member; all totals are those afterwards.
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
    /// A member sent a chat message.
    Said { text: String },
    /// A member may not send chat messages and signals until a time; null: they may again.
    MemberMuted {
        player: PlayerId,
        until: Option<UnixMillis>,
    },
    /// The invite code was replaced.
    InviteRotated { invite_code: String },
    /// Both goals were reached.
    RaidCompleted { ranking: Vec<Rank> },
    /// The raid was lost.
    RaidFailed { reason: FailReason },
    /// A player's account was erased: `text` replaces their name everywhere, the titles of tasks
    /// that they added or whose title they changed last, and their chat messages. If they created
    /// the raid, it also replaces the raid's title, and the description becomes null.
    PlayerErased {
        player: PlayerId,
        text: String,
        made_raid: bool,
    },
}

impl EventData {
    /// Returns the name of the event's type on the wire and in the ledger.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::RaidCreated { .. } => "raid_created",
            Self::MemberJoined { .. } => "member_joined",
            Self::MemberLeft { .. } => "member_left",
            Self::LeaderChanged { .. } => "leader_changed",
            Self::RaidStarted { .. } => "raid_started",
            Self::TaskAdded { .. } => "task_added",
            Self::TaskEdited { .. } => "task_edited",
            Self::TaskRemoved { .. } => "task_removed",
            Self::TaskClaimed { .. } => "task_claimed",
            Self::TaskReleased { .. } => "task_released",
            Self::TaskCompleted { .. } => "task_completed",
            Self::TaskFailed { .. } => "task_failed",
            Self::Contributed { .. } => "contributed",
            Self::Said { .. } => "said",
            Self::MemberMuted { .. } => "member_muted",
            Self::InviteRotated { .. } => "invite_rotated",
            Self::RaidCompleted { .. } => "raid_completed",
            Self::RaidFailed { .. } => "raid_failed",
            Self::PlayerErased { .. } => "player_erased",
        }
    }

    /// Returns the version of the data's format: the first version with this type in its current
    /// form. A release that does not know the version leaves the raid to releases that do.
    pub const fn version(&self) -> u16 {
        match self {
            Self::RaidCreated { .. }
            | Self::TaskEdited { .. }
            | Self::TaskRemoved { .. }
            | Self::MemberMuted { .. }
            | Self::InviteRotated { .. } => 3,
            Self::PlayerErased { .. } => 2,
            _ => 1,
        }
    }

    /// Returns the player who earned XP by this event, and how much. Every such event also counts
    /// as one task.
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
    /// The member left by their own choice.
    Left,
    /// The leader removed the member, who cannot join again.
    Kicked,
}

/// Why leadership moved to another member.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, TS, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum LeaderReason {
    /// The leader left the raid.
    Left,
    /// The leader promoted another member.
    Promoted,
    /// The leader was offline for too long while another member was online.
    LeaderOffline,
}

/// Why a raid failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, TS, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum FailReason {
    /// The deadline passed before both goals were reached.
    Deadline,
    /// The leader or an operator cancelled the raid.
    Cancelled,
    /// No member is left.
    Abandoned,
}
