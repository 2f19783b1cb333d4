//! Tests of the rules: what events of raids cause, what that adds to a stream, and what counts.

mod allowance;
mod causes;
mod effects;
mod history;
mod random;
mod rewards;
mod scores;
mod streaks;

use jiff::Timestamp;
use raidhall_protocol::player::event::{Allowance, RaidPlace};
use raidhall_protocol::player::{PlayerEvent, PlayerEventData};
use raidhall_protocol::{PlayerId, RaidId, Seq, UnixMillis};
use serde_json::Value;

use super::{Cause, CauseKind, DefinitionsNumber, project};
use crate::definitions::Definitions;
use crate::player::PlayerFold;

fn player(id: u64) -> PlayerId {
    PlayerId::try_from(id).expect("an id")
}

fn raid(id: u64) -> RaidId {
    RaidId::try_from(id).expect("an id")
}

/// Parses a time with its offset, such as `2026-11-28T23:30+05:00`.
fn time(text: &str) -> UnixMillis {
    let at: Timestamp = text.parse().expect("a time with an offset");
    UnixMillis(at.as_millisecond())
}

/// A player's stream, to which causes and settings are added.
struct Stream {
    fold: PlayerFold,
    definitions: Definitions,
}

impl Stream {
    /// Returns an empty stream by whose definitions each cause has one effect.
    fn new() -> Stream {
        Stream {
            fold: PlayerFold::new(player(5), "Ada".to_owned()),
            definitions: Definitions::plain(),
        }
    }

    /// Returns an empty stream with the built-in definitions.
    fn rewarded() -> Stream {
        Stream {
            definitions: Definitions::built_in(),
            ..Stream::new()
        }
    }

    /// Returns a stream with the settings that decide the player's day.
    fn with_day(zone: &str, start_hour: u8) -> Stream {
        let mut stream = Stream::new();
        stream.set("zone", zone);
        stream.set("day_start_hour", start_hour);
        stream
    }

    /// Adds the effects of a cause in a raid, and returns them.
    fn add(&mut self, raid_id: u64, at: UnixMillis, kind: CauseKind) -> Vec<PlayerEventData> {
        let place = RaidPlace {
            raid: raid(raid_id),
            seq: Seq(124),
        };
        let cause = Cause {
            place,
            at,
            definitions: DefinitionsNumber::FIRST,
            kind,
        };
        let effects = project(&self.fold, &cause, &self.definitions);
        for data in &effects {
            self.append(at, Some(place), data.clone());
        }
        effects
    }

    /// Sets a setting now, which is when the newest event happened.
    fn set(&mut self, key: &str, value: impl Into<Value>) {
        let data = PlayerEventData::SettingSet {
            key: key.to_owned(),
            value: value.into(),
            version: 1,
            lapses_at: None,
        };
        self.append(self.fold.at, None, data);
    }

    fn append(&mut self, at: UnixMillis, cause: Option<RaidPlace>, data: PlayerEventData) {
        self.fold.apply(&PlayerEvent {
            seq: self.fold.seq.next(),
            at: at.max(self.fold.at),
            cause,
            data,
        });
    }

    /// Completes a task in a raid that is not ranked.
    fn complete(&mut self, at: UnixMillis, xp: u64) -> Counted {
        let is_ranked = false;
        self.earn(at, CauseKind::TaskCompleted { xp, is_ranked })
    }

    fn complete_ranked(&mut self, at: UnixMillis, xp: u64) -> Counted {
        let is_ranked = true;
        self.earn(at, CauseKind::TaskCompleted { xp, is_ranked })
    }

    fn contribute(&mut self, at: UnixMillis, xp: u64) -> Counted {
        let kind = "habit".to_owned();
        self.earn(at, CauseKind::Contributed { xp, kind })
    }

    #[track_caller]
    fn earn(&mut self, at: UnixMillis, kind: CauseKind) -> Counted {
        let effects = self.add(7, at, kind);
        let [
            PlayerEventData::XpEarned {
                counted, allowance, ..
            },
        ] = effects[..]
        else {
            panic!("{effects:?}")
        };
        Counted { counted, allowance }
    }
}

/// What an `xp_earned` says about the allowance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Counted {
    counted: u64,
    allowance: Option<Allowance>,
}
