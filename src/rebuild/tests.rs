//! Tests of the comparison and the repair of one stream, without a store.

mod damage;
mod findings;
mod random;
mod streaks;

use raidhall_protocol::player::event::{CorrectedField, CorrectionSource, RaidOutcome, RaidPlace};
use raidhall_protocol::player::{PlayerEvent, PlayerEventData};
use raidhall_protocol::state::Role;
use raidhall_protocol::{PlayerId, RaidId, Seq, UnixMillis};
use serde_json::json;

use super::checked_stream::CheckedStream;
use super::stream_check::StreamCheck;
use crate::definitions::Definitions;
use crate::player::PlayerFold;
use crate::progression::{
    BoardTimes, Cause, CauseKind, DefinitionsHistory, DefinitionsNumber, project,
};
use crate::store::{LoadedStream, OpHash, StoreError};
use crate::streams::AppendBuilder;

const NOW: UnixMillis = UnixMillis(1_767_225_600_000);
const HOUR_MS: i64 = 3_600_000;

fn player(id: u64) -> PlayerId {
    PlayerId::try_from(id).expect("an id")
}

fn place(seq: u64) -> RaidPlace {
    RaidPlace {
        raid: RaidId::try_from(7_u64).expect("an id"),
        seq: Seq(seq),
    }
}

/// A player's stream as a store would hold it, and all causes by the raid's ledger.
#[derive(Clone)]
struct PlayedStream {
    events: Vec<PlayerEvent>,
    last_seq: Seq,
    saved: Option<(Seq, Vec<u8>)>,
    causes: Vec<Cause>,
    definitions: Definitions,
}

fn contributed(xp: u64) -> CauseKind {
    let kind = "habit".to_owned();
    CauseKind::Contributed { xp, kind }
}

impl PlayedStream {
    /// Returns a stream of these causes, an hour apart, in a raid whose first events they are.
    fn of(kinds: impl IntoIterator<Item = CauseKind>) -> PlayedStream {
        PlayedStream::with_definitions(Definitions::plain(), kinds)
    }

    fn with_definitions(
        definitions: Definitions,
        kinds: impl IntoIterator<Item = CauseKind>,
    ) -> PlayedStream {
        let mut stream = PlayedStream {
            definitions,
            events: Vec::new(),
            last_seq: Seq::ZERO,
            saved: None,
            causes: Vec::new(),
        };
        for kind in kinds {
            stream.play(kind);
        }
        stream
    }

    /// Returns a stream of six events: the player joins, earns XP three times with a setting
    /// between, and wins.
    fn played() -> PlayedStream {
        let is_ranked = false;
        let task = |xp| CauseKind::TaskCompleted { xp, is_ranked };
        let mut stream = PlayedStream::of([CauseKind::HasRole(Role::Member), task(40)]);
        stream.append(PlayerEventData::SettingSet {
            key: "zone".to_owned(),
            value: json!("Asia/Tashkent"),
            version: 1,
            lapses_at: None,
        });
        stream.play(contributed(25));
        stream.play(task(20));
        stream.play(CauseKind::Ended {
            outcome: RaidOutcome::Completed,
            rank: Some(1),
            xp: 85,
        });
        stream
    }

    fn loaded(&self) -> LoadedStream {
        let saved = self.saved.as_ref().map_or(Seq::ZERO, |(seq, _)| *seq);
        let tail = self.events.iter().filter(|event| event.seq > saved);
        LoadedStream {
            name: "Ada".to_owned(),
            last_seq: self.last_seq,
            saved_state: self.saved.clone(),
            tail: tail.cloned().collect(),
            op_seq: None,
        }
    }

    fn check(&self) -> CheckedStream {
        let loaded = self.loaded();
        let definitions = DefinitionsHistory::new(self.definitions.clone());
        let check = StreamCheck::new(player(5), &loaded, &definitions);
        let mut check = check.expect("a state of this release");
        for event in &self.events {
            let is_of = |cause: &&Cause| Some(cause.place) == event.cause;
            check.apply(event, self.causes.iter().find(is_of));
        }
        let times = BoardTimes {
            since: UnixMillis(0),
            final_until: UnixMillis(0),
        };
        check.finish(self.causes.iter(), times)
    }

    /// Returns what is wrong, in words.
    fn found(&self) -> Vec<String> {
        let found = self.check().found;
        found.iter().map(ToString::to_string).collect()
    }

    /// Repairs the stream, and asserts that nothing but `rest` is found after it.
    #[track_caller]
    fn repair(&mut self, rest: &[&str]) {
        let repair = self.check().repair(NOW).expect("a repair");
        assert_eq!(repair.after, self.last_seq);
        self.last_seq = repair.last_seq();
        let state = repair.state.expect("a state");
        self.saved = Some((self.last_seq, state));
        let events = repair.events.into_iter().map(|it| it.event);
        self.events.extend(events);
        assert_eq!(self.found(), rest);
    }

    /// Lets another cause happen, and the projector add its effects.
    fn play(&mut self, kind: CauseKind) {
        let count = self.causes.len() as u64 + 1;
        let cause = Cause {
            place: place(count),
            at: NOW.plus(HOUR_MS * count.cast_signed()),
            definitions: DefinitionsNumber::FIRST,
            kind,
        };
        self.append_effects(&cause);
        self.causes.push(cause);
    }

    fn append_effects(&mut self, cause: &Cause) {
        let effects = project(&self.shown(), cause, &self.definitions);
        let op = OpHash::from_cause(cause.place);
        self.add(effects, cause.at, Some(cause.place), Some(op));
    }

    /// Appends an event that no raid causes.
    fn append(&mut self, data: PlayerEventData) {
        self.add(vec![data], NOW, None, None);
    }

    fn add(
        &mut self,
        data: Vec<PlayerEventData>,
        at: UnixMillis,
        cause: Option<RaidPlace>,
        op: Option<OpHash>,
    ) {
        let mut builder = AppendBuilder::new(self.shown());
        builder.add(data, at, cause, op);
        let (append, _) = builder.build();
        self.last_seq = append.last_seq();
        if let Some(state) = append.state {
            self.saved = Some((self.last_seq, state));
        }
        let events = append.events.into_iter().map(|it| it.event);
        self.events.extend(events);
    }

    /// Returns the state as an instance folds it.
    fn shown(&self) -> PlayerFold {
        let LoadedStream {
            name,
            saved_state,
            tail,
            ..
        } = self.loaded();
        let saved = saved_state.map(|(_, bytes)| PlayerFold::decode(&bytes).expect("a state"));
        let mut fold = saved.unwrap_or_else(|| PlayerFold::new(player(5), name));
        for event in &tail {
            fold.apply(event);
        }
        fold
    }

    /// Changes the state that is saved.
    fn save(&mut self, change: impl FnOnce(&mut PlayerFold)) {
        let mut fold = self.shown();
        change(&mut fold);
        self.saved = Some((self.last_seq, fold.encode()));
    }

    /// Changes the data of the event with this seq.
    fn change(&mut self, seq: u64, change: impl FnOnce(&mut PlayerEventData)) {
        let event = self.events.iter_mut().find(|event| event.seq == Seq(seq));
        change(&mut event.expect("an event").data);
    }

    fn correct(&mut self, field: CorrectedField, to: u64, by: CorrectionSource) {
        let from = self.shown().state.number(field);
        self.append(PlayerEventData::Corrected {
            field,
            from,
            to,
            by,
            note: "goodwill".to_owned(),
        });
    }
}

/// Adds to the XP of an `xp_earned`, as if more had been earned.
fn add_xp(more: u64) -> impl FnOnce(&mut PlayerEventData) {
    move |data| match data {
        PlayerEventData::XpEarned {
            amount,
            counted,
            earned_xp,
            xp,
            level_xp,
            ..
        } => {
            for number in [amount, counted, earned_xp, xp, level_xp] {
                *number += more;
            }
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_healthy_stream_has_no_difference() {
    let mut stream = PlayedStream::played();
    assert_eq!(stream.found(), [""; 0]);
    assert!(stream.check().repair(NOW).is_none());
    stream.save(|_| {});
    assert_eq!(stream.found(), [""; 0]);
    assert_eq!(PlayedStream::of([]).found(), [""; 0]);
}

#[test]
fn a_renamed_player_has_no_difference() {
    let mut stream = PlayedStream::played();
    for name in ["Countess", "Ada"] {
        stream.append(PlayerEventData::NameChanged {
            name: name.to_owned(),
        });
    }
    // The first name is in no event, only in the state that was saved before the changes.
    let mut first = PlayerFold::new(player(5), "Augusta".to_owned());
    first.apply(&stream.events[0]);
    stream.saved = Some((Seq(1), first.encode()));
    assert_eq!(stream.found(), [""; 0]);
}

#[test]
fn an_operators_correction_is_an_input() {
    let mut stream = PlayedStream::played();
    stream.correct(CorrectedField::Xp, 185, CorrectionSource::Operator);
    stream.correct(CorrectedField::RaidsWon, 0, CorrectionSource::Operator);
    stream.correct(CorrectedField::Streak, 9, CorrectionSource::Operator);
    stream.play(contributed(5));
    assert_eq!(stream.found(), [""; 0]);
    assert_eq!(stream.shown().state.xp, 190);
}

#[test]
fn an_operators_correction_settles_nothing() {
    let mut stream = PlayedStream::played();
    stream.change(5, add_xp(30));
    stream.correct(CorrectedField::Xp, 215, CorrectionSource::Operator);
    let found = stream.found();
    assert!(
        found[0].starts_with("event 5 (raid 7, event 4): "),
        "{found:?}"
    );
    assert!(
        found.contains(&"xp is 215 and should be 185".to_owned()),
        "{found:?}"
    );
    stream.repair(&[]);
    assert_eq!(stream.shown().state.xp, 185);
}

#[test]
fn a_state_of_a_newer_release_is_an_error() {
    let mut stream = PlayedStream::played();
    stream.saved = Some((Seq(6), vec![0, 2]));
    let definitions = DefinitionsHistory::new(Definitions::plain());
    let loaded = stream.loaded();
    let check = StreamCheck::new(player(5), &loaded, &definitions);
    assert!(matches!(
        check.map(|_| ()),
        Err(StoreError::NewerVersion { version: 2 })
    ));
}
