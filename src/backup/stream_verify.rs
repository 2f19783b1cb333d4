//! Verification of a player's stream in a backup by folding its events.

use std::collections::HashSet;

use raidhall_protocol::limits::{
    NAME_CHARS_MAX, NOTE_CHARS_MAX, NOTICE_BYTES_MAX, NOTICE_KIND_CHARS_MAX, SETTING_BYTES_MAX,
    SETTING_KEY_CHARS_MAX,
};
use raidhall_protocol::player::event::{PLAYER_EVENT_VERSION, RaidPlace};
use raidhall_protocol::player::{PlayerEvent, PlayerEventData};
use raidhall_protocol::{PlayerId, RaidId, Seq, UnixMillis};
use serde_json::json;

use super::checks::{Checked, check_numbers, check_strings, count, json_bytes, text};
use super::event_checks::check_stored_form;
use super::format::{hex, unhex};
use crate::player::PlayerFold;
use crate::progression::counted_raid_xp;
use crate::store::backup::{BoardScoreLine, PlayerEventLine, PlayerLine, StreamLine};

/// Maximum bytes of what raids and purchases bring, most of which are the counters of up to 64
/// achievements.
const RESULTS_BYTES_MAX: usize = 16_384;

/// Fold of one player's events, as far as they have been read.
pub(super) struct StreamVerifier {
    row: StreamLine,
    /// The player, whose name is the one after the last event.
    player: PlayerLine,
    fold: PlayerFold,
    saved_state: PlayerFold,
    /// The counted XP of raids in the events, and the raids' events that brought it.
    raid_xp: u64,
    raid_xp_causes: HashSet<(RaidId, Seq)>,
    scores: Vec<BoardScoreLine>,
}

/// Result of a verified stream.
pub(super) struct VerifiedStream {
    /// The stream's row, with the state in the present stored form.
    pub(super) row: StreamLine,
    /// Scores of the player, by window.
    pub(super) scores: Vec<BoardScoreLine>,
    /// Whether others see the player on leaderboards.
    pub(super) is_public: bool,
}

impl StreamVerifier {
    pub(super) fn new(row: StreamLine, player: PlayerLine) -> Result<StreamVerifier, String> {
        if row.player != player.id {
            return Err("a stream does not follow its player".into());
        }
        if player.erased_at.is_some() {
            return Err("an erased player has no stream".into());
        }
        let state = unhex(&row.state).ok_or("state: must be in hexadecimal")?;
        let saved_state = PlayerFold::decode(&state).map_err(|error| format!("state: {error}"))?;
        // The name before the first change is in no event.
        let first_name = saved_state.state.name.clone();
        text("state: name", &first_name, 1..=NAME_CHARS_MAX)?;
        let id = PlayerId::try_from(row.player).map_err(|error| error.to_string())?;
        Ok(StreamVerifier {
            row,
            player,
            fold: PlayerFold::new(id, first_name),
            saved_state,
            raid_xp: 0,
            raid_xp_causes: HashSet::new(),
            scores: Vec::new(),
        })
    }

    /// Returns the id of the stream's player.
    pub(super) fn player(&self) -> i64 {
        self.row.player
    }

    /// Applies the next event. At its seq the saved state must equal the folded one.
    pub(super) fn apply_event(&mut self, line: &PlayerEventLine) -> Result<(), String> {
        if line.player != self.row.player {
            return Err(format!("an event of player {}", line.player));
        }
        if !self.scores.is_empty() {
            return Err("an event comes after a score".into());
        }
        let event = decode_event(line).map_err(|why| format!("event {}: {why}", line.seq))?;
        let next = self.fold.seq.next();
        if event.seq != next {
            let found = event.seq;
            return Err(format!("goes on with event {found} instead of {next}"));
        }
        check_stored_form(&line.data, event.data.kind(), &json!(event.data))
            .and_then(|()| check_data(&event))
            .map_err(|why| format!("event {next}: {why}"))?;
        self.fold.apply(&event);
        let counted = counted_raid_xp(&event.data);
        if let Some(cause) = event.cause.filter(|_| counted > 0) {
            self.raid_xp = self.raid_xp.saturating_add(counted);
            self.raid_xp_causes.insert((cause.raid, cause.seq));
        }
        if line.seq == self.row.state_seq {
            if self.fold != self.saved_state {
                return Err(format!("state is not that of the events up to {next}"));
            }
            self.row.state = hex(&self.fold.encode());
        }
        Ok(())
    }

    /// Adds the next score. It consists of XP that the events counted, and one of them reached it. What
    /// counted in which window depends on the definitions in force for the raids' events, so the sum
    /// of all windows is only a bound.
    pub(super) fn add_score(&mut self, line: BoardScoreLine) -> Result<(), String> {
        let BoardScoreLine { board, number, .. } = &line;
        if line.player != self.row.player {
            return Err(format!("a score of player {}", line.player));
        }
        let last = self.scores.last();
        if last.is_some_and(|last| (&last.board, last.number) >= (board, *number)) {
            return Err(format!("score {board} {number}: is out of order"));
        }
        let raid = RaidId::try_from(line.reached_raid).map_err(|error| error.to_string())?;
        let cause = (raid, Seq(line.reached_seq.cast_unsigned()));
        if !self.raid_xp_causes.contains(&cause) {
            return Err(format!(
                "score {board} {number}: no event reached it with XP of a raid"
            ));
        }
        if line.score.cast_unsigned() > self.raid_xp {
            return Err(format!(
                "score {board} {number}: is {}, and the events counted {}",
                line.score, self.raid_xp
            ));
        }
        self.scores.push(line);
        Ok(())
    }

    /// Compares the row with the folded state.
    pub(super) fn finish(self) -> Result<VerifiedStream, String> {
        let StreamVerifier {
            row,
            player,
            fold,
            scores,
            ..
        } = self;
        let is_public = fold.is_listed_on_boards();
        if row.last_seq.cast_unsigned() != fold.seq.0 {
            return Err(format!(
                "last_seq is {}, and by the events {}",
                row.last_seq, fold.seq
            ));
        }
        let state = fold.state;
        let lapses_at = state.streak.lapses_at.map(|at| at.0);
        // A reminder may be due before the end.
        let is_due = row.due_at.is_some() == lapses_at.is_some() && row.due_at <= lapses_at;
        if !is_due {
            return Err(format!(
                "due_at is {:?}, and lapses_at by the events {lapses_at:?}",
                row.due_at
            ));
        }
        if player.name != state.name {
            let by_events = state.name;
            let name = player.name;
            return Err(format!("name is {name:?}, and by the events {by_events:?}"));
        }
        // The player's totals are ahead while the projector works off an old history.
        let totals = [
            ("xp", player.xp, state.earned_xp),
            ("tasks", player.tasks, state.tasks),
            ("raids_won", player.raids_won, state.raids_won),
        ];
        for (name, total, by_events) in totals {
            if total.cast_unsigned() < by_events {
                return Err(format!(
                    "the player's {name} is {total}, and by the events {by_events}"
                ));
            }
        }
        Ok(VerifiedStream {
            row,
            scores,
            is_public,
        })
    }
}

fn decode_event(line: &PlayerEventLine) -> Result<PlayerEvent, String> {
    if line.version > i32::from(PLAYER_EVENT_VERSION) {
        let version = line.version;
        return Err(format!("version {version} is newer than this release"));
    }
    let data = json!({ "type": line.kind, "data": line.data });
    let data = serde_json::from_value(data).map_err(|error| error.to_string())?;
    let seq = |seq: i64| u64::try_from(seq).map(Seq).map_err(|e| e.to_string());
    let cause = match (line.cause_raid, line.cause_seq) {
        (None, None) => None,
        (Some(raid), Some(cause)) => Some(RaidPlace {
            raid: RaidId::try_from(raid).map_err(|error| error.to_string())?,
            seq: seq(cause)?,
        }),
        _ => return Err("cause_raid, cause_seq: one is missing".into()),
    };
    Ok(PlayerEvent {
        seq: seq(line.seq)?,
        at: UnixMillis(line.at),
        cause,
        data,
    })
}

fn check_data(event: &PlayerEvent) -> Checked {
    match &event.data {
        PlayerEventData::XpEarned { .. }
        | PlayerEventData::LevelReached { .. }
        | PlayerEventData::CoinsMoved { .. }
        | PlayerEventData::AchievementUnlocked { .. }
        | PlayerEventData::DayKept { .. }
        | PlayerEventData::StreakFrozen { .. }
        | PlayerEventData::StreakLost { .. }
        | PlayerEventData::StreakRepaired { .. }
        | PlayerEventData::ItemGranted { .. }
        | PlayerEventData::ItemEquipped { .. }
        | PlayerEventData::RaidJoined { .. }
        | PlayerEventData::RaidLeft { .. }
        | PlayerEventData::RaidEnded { .. } => {
            let data = &json!(event.data)["data"];
            check_numbers("data", data)?;
            check_strings("data", data)?;
            json_bytes("data", data, RESULTS_BYTES_MAX)
        }
        PlayerEventData::SettingSet {
            key,
            value,
            version,
            ..
        } => {
            text("key", key, 1..=SETTING_KEY_CHARS_MAX)?;
            json_bytes("value", value, SETTING_BYTES_MAX)?;
            count("version", *version)
        }
        PlayerEventData::NameChanged { name } => text("name", name, 1..=NAME_CHARS_MAX),
        PlayerEventData::Notified { kind, data } => {
            text("kind", kind, 1..=NOTICE_KIND_CHARS_MAX)?;
            json_bytes("data", data, NOTICE_BYTES_MAX)?;
            check_strings("data", data)
        }
        PlayerEventData::ReadThrough { seq } if *seq < event.seq => Ok(()),
        PlayerEventData::ReadThrough { .. } => Err("seq: is not before the event".into()),
        PlayerEventData::Corrected { from, to, note, .. } => {
            count("from", *from)?;
            count("to", *to)?;
            text("note", note, 1..=NOTE_CHARS_MAX)
        }
    }
}
