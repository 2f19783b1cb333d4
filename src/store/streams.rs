//! The players' streams: the numbered events of each player, and the states that are derived from
//! them.
//!
//! No instance owns a stream. Its order comes from the player's row: **an append names the seq that
//! it was decided at, and takes effect only if the stream still ends there.**

use async_trait::async_trait;
use raidhall_protocol::player::event::CorrectedField;
use raidhall_protocol::player::{PlayerEvent, PlayerEventData};
use raidhall_protocol::{PlayerId, Seq, UnixMillis};
use serde_json::Value;

use super::{OpHash, Result};
use crate::player::is_listed_on_boards;
use crate::progression::ScoreMove;

/// Number of events after which an append saves the state again.
pub const STATE_INTERVAL: u64 = 64;

/// The stored form of a player's stream, from which its state is rebuilt.
#[derive(Debug, Clone, PartialEq)]
pub struct LoadedStream {
    /// The player's name outside of the stream, which is that of an empty stream.
    pub name: String,
    /// The newest seq; zero if the stream is empty.
    pub last_seq: Seq,
    /// The newest saved state, in the rules' stored form, and its seq. Only an empty stream has
    /// none.
    pub saved_state: Option<(Seq, Vec<u8>)>,
    /// Every event after the saved state, in order.
    pub tail: Vec<PlayerEvent>,
    /// The seq of the event that carries the op that was asked for, if one does.
    pub op_seq: Option<Seq>,
}

/// An event of a player's stream, and the op key of the command or cause that ends with it.
#[derive(Debug, Clone, PartialEq)]
pub struct StreamEntry {
    /// The event as clients see it.
    pub event: PlayerEvent,
    /// Set on the last event of a command that carried an op, and of a raid's event.
    pub op: Option<OpHash>,
}

/// Events to be appended to a player's stream, written or refused as a whole.
#[derive(Debug, Clone, PartialEq)]
pub struct StreamAppend {
    /// The player whose stream it is.
    pub player: PlayerId,
    /// The seq that the stream must end at.
    pub after: Seq,
    /// Events with contiguous seqs that begin after `after`. Without any, the append changes `due_at`
    /// alone.
    pub events: Vec<StreamEntry>,
    /// The state after the last event, in the rules' stored form. The first append of a stream must
    /// save it.
    pub state: Option<Vec<u8>>,
    /// When something is due for the player's streak after the last event; `None` if there is no
    /// streak.
    pub due_at: Option<UnixMillis>,
    /// What the events add to the player's scores on leaderboards, each window once. A command has none.
    pub scores: Vec<ScoreMove>,
}

impl StreamAppend {
    /// Returns the seq of the last event.
    pub fn last_seq(&self) -> Seq {
        let last = self.events.last();
        last.map_or(self.after, |recorded| recorded.event.seq)
    }

    /// Returns whether others see the player on leaderboards from now on; `None` if the append does not
    /// change it.
    pub(super) fn audience_change(&self) -> Option<bool> {
        let mut events = self.events.iter().rev();
        events.find_map(|recorded| match &recorded.event.data {
            PlayerEventData::SettingSet { key, value, .. } if key == "boards" => {
                Some(is_listed_on_boards(Some(value)))
            }
            _ => None,
        })
    }

    /// Returns what the append makes of the player's row.
    pub(super) fn profile_change(&self) -> ProfileChange<'_> {
        let mut change = ProfileChange::default();
        for recorded in &self.events {
            match &recorded.event.data {
                PlayerEventData::NameChanged { name } => change.name = Some(name),
                PlayerEventData::XpEarned {
                    earned_xp, tasks, ..
                } => {
                    change.xp = Some(*earned_xp);
                    change.tasks = Some(*tasks);
                }
                PlayerEventData::RaidEnded { raids_won, .. } => change.raids_won = Some(*raids_won),
                PlayerEventData::Corrected { field, to, .. } => {
                    change.is_correction = true;
                    match field {
                        CorrectedField::EarnedXp => change.xp = Some(*to),
                        CorrectedField::Tasks => change.tasks = Some(*to),
                        CorrectedField::RaidsWon => change.raids_won = Some(*to),
                        CorrectedField::Xp
                        | CorrectedField::RaidsPlayed
                        | CorrectedField::Level
                        | CorrectedField::LevelXp
                        | CorrectedField::NextLevelXp
                        | CorrectedField::Coins
                        | CorrectedField::Streak => {}
                    }
                }
                _ => {}
            }
        }
        change
    }
}

/// What an append makes of the player's row: values after it; `None` where it changes nothing. Only a
/// correction lowers a total: while the projector works off the history that was there before it,
/// the row has the totals of that history already.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct ProfileChange<'a> {
    pub(super) name: Option<&'a str>,
    /// All XP that the player has earned.
    pub(super) xp: Option<u64>,
    pub(super) tasks: Option<u64>,
    pub(super) raids_won: Option<u64>,
    pub(super) is_correction: bool,
}

/// A player, and when something is due for their streak: its end or a reminder.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct DueStreak {
    /// When it is due.
    pub due_at: UnixMillis,
    /// The player whose streak it is.
    pub player: PlayerId,
}

/// Outcome of an append to a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StreamOutcome {
    /// The events are in the stream.
    Appended,
    /// The stream ends elsewhere; nothing was written.
    Moved,
    /// There is no such player, or they were erased; nothing was written.
    Gone,
}

/// The players' streams of the store.
#[async_trait]
pub trait PlayerStreams: Send + Sync + 'static {
    /// Loads a player's stream, and searches all of it for an op key. `None` if there is no such
    /// player, or they were erased.
    async fn load_stream(
        &self,
        player: PlayerId,
        op: Option<OpHash>,
    ) -> Result<Option<LoadedStream>>;

    /// Appends events to a player's stream. A change of the name or of a total also changes the player's
    /// row, and the setting `boards` the player's scores.
    async fn append_to_stream(&self, append: &StreamAppend) -> Result<StreamOutcome>;

    /// Returns events of a player's stream with a seq above `after`, oldest first, at most `limit`.
    async fn stream_events(
        &self,
        player: PlayerId,
        after: Seq,
        limit: u32,
    ) -> Result<Vec<PlayerEvent>>;

    /// Returns players who have a stream, with an id above `after`, in the order of their ids, at most
    /// `limit`.
    async fn players_with_streams(
        &self,
        after: Option<PlayerId>,
        limit: u32,
    ) -> Result<Vec<PlayerId>>;

    /// Returns players whose streak has something due at `until` or earlier, in the order of these moments
    /// and then of the ids, behind `after`, at most `limit`. Players with a failed cause are left out.
    async fn due_streaks(
        &self,
        until: UnixMillis,
        after: Option<DueStreak>,
        limit: u32,
    ) -> Result<Vec<DueStreak>>;

    /// Returns the newest seqs of streams that are not empty, in any order.
    async fn stream_heads(&self, players: &[PlayerId]) -> Result<Vec<(PlayerId, Seq)>>;
}

/// Encodes an event's data as JSON, without its type.
pub(super) fn untagged_data(data: &PlayerEventData) -> serde_json::Result<Value> {
    let mut tagged = serde_json::to_value(data)?;
    Ok(tagged["data"].take())
}

/// Reads an event's data from its type and JSON.
pub(super) fn parse_data(kind: &str, data: &str) -> serde_json::Result<PlayerEventData> {
    // The kind is a name that needs no escaping in JSON.
    serde_json::from_str(&format!(r#"{{"type":"{kind}","data":{data}}}"#))
}
