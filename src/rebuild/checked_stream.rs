//! A stream that was compared, and what mends it.

use std::collections::HashMap;

use raidhall_protocol::limits::NOTE_CHARS_MAX;
use raidhall_protocol::player::PlayerEventData;
use raidhall_protocol::player::event::{CorrectedField, CorrectionSource, RaidPlace};
use raidhall_protocol::{PlayerId, Seq, UnixMillis};

use super::difference::Difference;
use crate::player::PlayerFold;
use crate::store::StreamAppend;
use crate::streams::AppendBuilder;

/// A stream that was compared up to its end, and what it is with the effects of missing causes.
pub(super) struct CheckedStream {
    /// What the events add up to. The append has the effects of missing causes.
    pub(super) recorded: AppendBuilder,
    /// What they should add up to.
    pub(super) derived: PlayerFold,
    /// What devices see: the saved state and the events after it.
    pub(super) shown: PlayerFold,
    /// Causes that took effect, each with the seq of its first event.
    pub(super) seen: HashMap<RaidPlace, Seq>,
    /// What is wrong with the stream.
    pub(super) found: Vec<Difference>,
}

impl CheckedStream {
    /// Returns a stream that cannot be read.
    pub(super) fn unreadable(player: PlayerId, error: &anyhow::Error) -> CheckedStream {
        let nothing = PlayerFold::new(player, String::new());
        let error = format!("{error:#}");
        CheckedStream {
            recorded: AppendBuilder::new(nothing.clone()),
            derived: nothing.clone(),
            shown: nothing,
            seen: HashMap::new(),
            found: vec![Difference::Unreadable { error }],
        }
    }

    /// Returns the causes that took effect.
    pub(super) fn causes(&self) -> impl Iterator<Item = RaidPlace> {
        self.seen.keys().copied()
    }

    /// Returns the append that mends what can be mended: the effects of missing causes, and then
    /// corrections. `None` if there is nothing to mend.
    pub(super) fn repair(&self, now: UnixMillis) -> Option<StreamAppend> {
        let first = self.found.iter().find(|it| it.is_repairable())?;
        let note: String = format!("rebuild: {first}");
        let note: String = note.chars().take(NOTE_CHARS_MAX).collect();
        let correct = |field| PlayerEventData::Corrected {
            field,
            from: self.shown.state.number(field),
            to: self.derived.state.number(field),
            by: CorrectionSource::Rebuild,
            note: note.clone(),
        };
        let corrections = self.fields_to_correct().into_iter().map(correct).collect();
        let mut builder = self.recorded.clone();
        builder.add(corrections, now, None, None);
        let (append, fold) = builder.build();
        Some(StreamAppend {
            state: Some(fold.encode()),
            ..append
        })
    }

    /// Returns the numbers that differ. If none does, but something else has to be settled, one
    /// that is corrected to itself.
    fn fields_to_correct(&self) -> Vec<CorrectedField> {
        let number = |it: &Difference| match it {
            Difference::Number { field, .. } => Some(*field),
            _ => None,
        };
        let fields: Vec<_> = self.found.iter().filter_map(number).collect();
        let is_settled = |it: &Difference| {
            it.is_settled_by_correction() || matches!(it, Difference::State { .. })
        };
        let is_to_settle = self.found.iter().any(is_settled)
            || self.recorded.fold().allowance_day != self.derived.allowance_day;
        if fields.is_empty() && is_to_settle {
            return vec![CorrectedField::Xp];
        }
        fields
    }
}
