//! Version 1 of the stored form. It is frozen: databases hold bytes in this form.

use std::borrow::Cow;

use raidhall_protocol::event::FailReason;
use raidhall_protocol::state::{ChatMessage, Member, RaidStatus, Rank, Role, Task, TaskStatus};
use raidhall_protocol::{PlayerId, RaidId, RaidState, Seq, TaskId, UnixMillis};
use serde::{Deserialize, Serialize};

use crate::raid::State;
use crate::raid::state::{DailyEvents, Former};

type Text<'a> = Cow<'a, str>;

/// A [`State`], field by field. Texts are borrowed when it is encoded.
#[derive(Serialize, Deserialize)]
pub(super) struct Stored<'a> {
    seq: Seq,
    last_at: UnixMillis,
    id: RaidId,
    title: Text<'a>,
    description: Option<Text<'a>>,
    invite_code: Text<'a>,
    status: RaidStatus,
    reason: Option<FailReason>,
    target_xp: u64,
    target_tasks: u64,
    current_xp: u64,
    current_tasks: u64,
    max_members: u32,
    late_join: bool,
    time_limit_secs: u64,
    created_at: UnixMillis,
    started_at: Option<UnixMillis>,
    deadline: Option<UnixMillis>,
    ended_at: Option<UnixMillis>,
    leader: Option<PlayerId>,
    term: u64,
    members: Vec<StoredMember<'a>>,
    tasks: Vec<StoredTask<'a>>,
    messages: Vec<StoredMessage<'a>>,
    ranking: Option<Vec<StoredRank<'a>>>,
    reached: Vec<(PlayerId, Seq)>,
    left: Vec<StoredLeft>,
    kicked: Vec<PlayerId>,
}

#[derive(Serialize, Deserialize)]
struct StoredMember<'a> {
    player: PlayerId,
    name: Text<'a>,
    role: Role,
    xp: u64,
    tasks: u64,
    energy: u32,
    energy_at: UnixMillis,
    joined_at: UnixMillis,
}

#[derive(Serialize, Deserialize)]
struct StoredTask<'a> {
    id: TaskId,
    title: Text<'a>,
    xp: u64,
    minutes: u32,
    status: TaskStatus,
    assignee: Option<PlayerId>,
    /// Null only in version 2.
    by: Option<PlayerId>,
    claimed_at: Option<UnixMillis>,
    ended_at: Option<UnixMillis>,
}

#[derive(Serialize, Deserialize)]
struct StoredMessage<'a> {
    seq: Seq,
    by: PlayerId,
    text: Text<'a>,
    at: UnixMillis,
}

#[derive(Serialize, Deserialize)]
struct StoredRank<'a> {
    player: PlayerId,
    name: Text<'a>,
    xp: u64,
    tasks: u64,
    rank: u32,
}

#[derive(Serialize, Deserialize)]
struct StoredLeft {
    player: PlayerId,
    xp: u64,
    tasks: u64,
    energy: u32,
    energy_at: UnixMillis,
}

impl<'a> From<&'a State> for Stored<'a> {
    fn from(state: &'a State) -> Self {
        let mut left = Vec::new();
        let mut kicked = Vec::new();
        for (&player, former) in &state.former {
            match *former {
                Former::Left {
                    xp,
                    tasks,
                    energy,
                    energy_at,
                    muted_until: _, // not in this version
                } => {
                    left.push(StoredLeft {
                        player,
                        xp,
                        tasks,
                        energy,
                        energy_at,
                    });
                }
                Former::Kicked => kicked.push(player),
            }
        }
        let raid = &state.shown;
        Stored {
            seq: state.seq,
            last_at: state.last_at,
            id: raid.id,
            title: Cow::from(&raid.title),
            description: raid.description.as_ref().map(Cow::from),
            invite_code: Cow::from(&raid.invite_code),
            status: raid.status,
            reason: raid.reason,
            target_xp: raid.target_xp,
            target_tasks: raid.target_tasks,
            current_xp: raid.current_xp,
            current_tasks: raid.current_tasks,
            max_members: raid.max_members,
            late_join: raid.late_join,
            time_limit_secs: raid.time_limit_secs,
            created_at: raid.created_at,
            started_at: raid.started_at,
            deadline: raid.deadline,
            ended_at: raid.ended_at,
            leader: raid.leader,
            term: raid.term,
            members: raid.members.iter().map(StoredMember::from).collect(),
            tasks: raid.tasks.iter().map(StoredTask::from).collect(),
            messages: raid.messages.iter().map(StoredMessage::from).collect(),
            ranking: raid
                .ranking
                .as_ref()
                .map(|ranking| ranking.iter().map(StoredRank::from).collect()),
            reached: state
                .reached
                .iter()
                .map(|(&player, &seq)| (player, seq))
                .collect(),
            left,
            kicked,
        }
    }
}

impl From<Stored<'_>> for State {
    fn from(stored: Stored<'_>) -> Self {
        let left = stored.left.into_iter().map(
            |StoredLeft {
                 player,
                 xp,
                 tasks,
                 energy,
                 energy_at,
             }| {
                (
                    player,
                    Former::Left {
                        xp,
                        tasks,
                        energy,
                        energy_at,
                        muted_until: None,
                    },
                )
            },
        );
        let kicked = stored
            .kicked
            .into_iter()
            .map(|player| (player, Former::Kicked));
        let shown = RaidState {
            id: stored.id,
            title: stored.title.into_owned(),
            description: stored.description.map(Cow::into_owned),
            invite_code: stored.invite_code.into_owned(),
            status: stored.status,
            reason: stored.reason,
            target_xp: stored.target_xp,
            target_tasks: stored.target_tasks,
            current_xp: stored.current_xp,
            current_tasks: stored.current_tasks,
            max_members: stored.max_members,
            late_join: stored.late_join,
            ranked: false, // not in this version
            time_limit_secs: stored.time_limit_secs,
            created_at: stored.created_at,
            started_at: stored.started_at,
            deadline: stored.deadline,
            ended_at: stored.ended_at,
            leader: stored.leader,
            term: stored.term,
            members: stored.members.into_iter().map(Member::from).collect(),
            tasks: stored.tasks.into_iter().map(Task::from).collect(),
            messages: stored.messages.into_iter().map(ChatMessage::from).collect(),
            ranking: stored
                .ranking
                .map(|ranking| ranking.into_iter().map(Rank::from).collect()),
        };
        State {
            seq: stored.seq,
            last_at: stored.last_at,
            tasks_added: shown.tasks.len() as u64,
            shown,
            reached: stored.reached.into_iter().collect(),
            former: left.chain(kicked).collect(),
            // Not stored: a raid whose snapshot has this form counts from its seq on.
            daily_events: DailyEvents::default(),
        }
    }
}

/// Converts between a part of the shown state and its stored form: borrows texts to encode them,
/// and owns them after decoding. Fields after the semicolon are not in this version.
macro_rules! convert {
    ($shown:ident, $stored:ident, $text:ident, $($field:ident),+ $(; $later:ident)?) => {
        impl<'a> From<&'a $shown> for $stored<'a> {
            fn from(shown: &'a $shown) -> Self {
                $stored { $text: Cow::from(&shown.$text), $($field: shown.$field),+ }
            }
        }

        impl From<$stored<'_>> for $shown {
            fn from(stored: $stored<'_>) -> Self {
                $shown { $text: stored.$text.into_owned(), $($field: stored.$field),+ $(, $later: None)? }
            }
        }
    };
}

convert!(
    Member,
    StoredMember,
    name,
    player,
    role,
    xp,
    tasks,
    energy,
    energy_at,
    joined_at;
    muted_until
);
convert!(
    Task, StoredTask, title, id, xp, minutes, status, assignee, by, claimed_at, ended_at;
    edited_by
);
convert!(ChatMessage, StoredMessage, text, seq, by, at);
convert!(Rank, StoredRank, name, player, xp, tasks, rank);
