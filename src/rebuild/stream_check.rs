//! Folds a stream twice, as it is and as it should be. Pure: no I/O, no clock.

mod inputs;

use std::collections::{HashMap, VecDeque};

use raidhall_protocol::player::event::RaidPlace;
use raidhall_protocol::player::{PlayerEvent, PlayerEventData};
use raidhall_protocol::{PlayerId, Seq};

use super::checked_stream::CheckedStream;
use super::difference::{Difference, compare_folds};
use crate::player::{FoldError, PlayerFold};
use crate::progression::{BoardTimes, Cause, DefinitionsHistory, project};
use crate::store::{LoadedStream, Result, StoreError};
use crate::streams::AppendBuilder;

/// Comparison of one stream, as far as its events have been applied.
pub(super) struct StreamCheck<'a> {
    stream: &'a LoadedStream,
    definitions: &'a DefinitionsHistory,
    recorded: PlayerFold,
    derived: PlayerFold,
    /// The saved state; `None` if it is damaged or there is none.
    saved: Option<PlayerFold>,
    /// Whether the recorded fold has been compared with the saved state.
    is_saved_compared: bool,
    is_renamed: bool,
    seen: HashMap<RaidPlace, Seq>,
    rest: RestOfCause,
    found: Vec<Difference>,
}

/// The effects of the latest cause that are still to come.
#[derive(Default)]
struct RestOfCause {
    cause: Option<RaidPlace>,
    /// What the rules give on the derived fold.
    derived: VecDeque<PlayerEventData>,
    /// What they give on the recorded fold.
    recorded: VecDeque<PlayerEventData>,
}

impl<'a> StreamCheck<'a> {
    /// Begins at the start of a stream.
    ///
    /// # Errors
    ///
    /// Fails if only a newer release can read the saved state.
    pub(super) fn new(
        player: PlayerId,
        stream: &'a LoadedStream,
        definitions: &'a DefinitionsHistory,
    ) -> Result<StreamCheck<'a>> {
        let saved = stream.saved_state.as_ref();
        let saved = match saved.map(|(_, bytes)| PlayerFold::decode(bytes)) {
            Some(Ok(saved)) => Some(saved),
            Some(Err(FoldError::Newer(version))) => {
                return Err(StoreError::NewerVersion { version });
            }
            Some(Err(FoldError::Damaged(_))) | None => None,
        };
        // The name before the first change is in no event.
        let name = saved.as_ref().map_or(&stream.name, |it| &it.state.name);
        let fold = PlayerFold::new(player, name.clone());
        Ok(StreamCheck {
            stream,
            definitions,
            recorded: fold.clone(),
            derived: fold,
            saved,
            is_saved_compared: stream.saved_state.is_none(),
            is_renamed: false,
            seen: HashMap::new(),
            rest: RestOfCause::default(),
            found: Vec::new(),
        })
    }

    /// Compares the next event. `cause` is what the raid's event that it names means for the
    /// player, if it means anything.
    pub(super) fn apply(&mut self, event: &PlayerEvent, cause: Option<&Cause>) {
        self.skip_to(event.seq);
        if event.cause != self.rest.cause {
            self.end_cause();
        }
        match event.cause {
            Some(place) => self.compare_effect(event, place, cause),
            None => self.apply_input(event),
        }
        self.recorded.apply(event);
        if self.stream.saved_state.as_ref().map(|(seq, _)| *seq) == Some(event.seq) {
            self.is_saved_compared = true;
            if self.saved.as_ref() != Some(&self.recorded) {
                self.found.push(Difference::State { seq: event.seq });
            }
        }
    }

    /// Takes note of seqs without an event.
    fn skip_to(&mut self, seq: Seq) {
        let next = self.recorded.seq.next();
        let before = Seq(seq.0.saturating_sub(1));
        if next <= before {
            let last = before;
            self.found.push(Difference::Gap { first: next, last });
            self.recorded.seq = before;
        }
    }

    fn compare_effect(&mut self, event: &PlayerEvent, place: RaidPlace, cause: Option<&Cause>) {
        let Some(cause) = cause else {
            self.found.push(Difference::Event {
                seq: event.seq,
                cause: Some(place),
                found: Some(Box::new(event.data.clone())),
                expected: None,
            });
            return;
        };
        match self.seen.get(&place) {
            None => self.begin_cause(event, cause),
            Some(_) if self.rest.may_go_on() => {}
            Some(first) => {
                self.found.push(Difference::Repeated {
                    seq: event.seq,
                    cause: place,
                    first: *first,
                });
                return;
            }
        }
        let on_derived = self.rest.derived.pop_front();
        let on_recorded = self.rest.recorded.pop_front();
        let found = Some(event.data.clone());
        if found != on_derived && found != on_recorded {
            self.found.push(Difference::Event {
                seq: event.seq,
                cause: Some(place),
                found: found.map(Box::new),
                expected: on_recorded.or(on_derived).map(Box::new),
            });
        }
    }

    /// Projects a cause onto both folds.
    fn begin_cause(&mut self, event: &PlayerEvent, cause: &Cause) {
        self.seen.insert(cause.place, event.seq);
        let definitions = self.definitions.in_force_at(cause.definitions);
        let effects = project(&self.derived, cause, definitions);
        self.rest = RestOfCause {
            cause: Some(cause.place),
            recorded: project(&self.recorded, cause, definitions).into(),
            derived: effects.iter().cloned().collect(),
        };
        for (seq, data) in (event.seq.0..).zip(effects) {
            self.derive(&PlayerEvent {
                seq: Seq(seq),
                data,
                ..event.clone()
            });
        }
    }

    /// Reports effects of the latest cause that did not come.
    fn end_cause(&mut self) {
        let rest = std::mem::take(&mut self.rest);
        if rest.is_incomplete() {
            self.found.push(Difference::Event {
                seq: self.recorded.seq,
                cause: rest.cause,
                found: None,
                expected: rest.recorded.front().cloned().map(Box::new),
            });
        }
    }

    /// Applies an event to the derived fold, whose seqs are those of the stream.
    fn derive(&mut self, event: &PlayerEvent) {
        self.derived.seq = Seq(event.seq.0.saturating_sub(1));
        self.derived.apply(event);
    }

    /// Compares what the events add up to, once those of these causes that are missing take effect.
    /// What they add to scores depends on when leaderboards began and which windows are final.
    pub(super) fn finish<'c>(
        mut self,
        expected: impl Iterator<Item = &'c Cause>,
        times: BoardTimes,
    ) -> CheckedStream {
        self.end_cause();
        self.skip_to(self.stream.last_seq.next());
        self.derived.seq = self.recorded.seq;
        self.compare_unreached();
        let mut shown = AppendBuilder::new(self.shown());
        let mut recorded = AppendBuilder::new(self.recorded);
        let mut derived = AppendBuilder::new(self.derived);
        for cause in expected.filter(|cause| !self.seen.contains_key(&cause.place)) {
            let definitions = self.definitions.in_force_at(cause.definitions);
            let effects = project(derived.fold(), cause, definitions);
            self.found.push(Difference::Missing {
                cause: cause.place,
                kinds: effects.iter().map(PlayerEventData::kind).collect(),
            });
            let boards = &definitions.boards;
            derived.add_effects(effects, cause, boards, times);
            let effects = project(recorded.fold(), cause, definitions);
            shown.add_effects(effects.clone(), cause, boards, times);
            recorded.add_effects(effects, cause, boards, times);
        }
        compare_folds(
            &mut self.found,
            recorded.fold(),
            derived.fold(),
            shown.fold(),
        );
        CheckedStream {
            recorded,
            derived: derived.build().1,
            shown: shown.build().1,
            seen: self.seen,
            found: self.found,
        }
    }

    /// Compares a saved state that is of no event, and the name if no event has it.
    fn compare_unreached(&mut self) {
        if let Some((seq, _)) = &self.stream.saved_state
            && !self.is_saved_compared
        {
            self.found.push(Difference::State { seq: *seq });
        }
        if !self.is_renamed && self.recorded.state.name != self.stream.name {
            let seq = self.recorded.seq;
            self.found.push(Difference::State { seq });
            for fold in [&mut self.recorded, &mut self.derived] {
                fold.state.name.clone_from(&self.stream.name);
            }
        }
    }

    /// Returns the fold of the saved state and the events after it; the recorded fold if they do
    /// not fit together.
    fn shown(&self) -> PlayerFold {
        let saved = self.saved.clone();
        let mut shown = saved.unwrap_or_else(|| self.recorded.clone());
        for event in &self.stream.tail {
            if event.seq == shown.seq.next() {
                shown.apply(event);
            }
        }
        shown.seq = self.recorded.seq;
        shown
    }
}

impl RestOfCause {
    /// Returns whether another effect of the cause may come, by one fold at least.
    fn may_go_on(&self) -> bool {
        !self.derived.is_empty() || !self.recorded.is_empty()
    }

    /// Returns whether an effect is missing by both folds.
    fn is_incomplete(&self) -> bool {
        !self.derived.is_empty() && !self.recorded.is_empty()
    }
}
