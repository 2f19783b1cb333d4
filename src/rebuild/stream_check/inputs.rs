//! Events that no raid causes: they are inputs of the derived fold.

use raidhall_protocol::player::event::{CorrectedField, CorrectionSource, XpSource};
use raidhall_protocol::player::{PlayerEvent, PlayerEventData};

use super::StreamCheck;
use crate::rebuild::difference::Difference;
use crate::rebuild::state_part::copy_rewards;

impl StreamCheck<'_> {
    pub(super) fn apply_input(&mut self, event: &PlayerEvent) {
        match &event.data {
            PlayerEventData::SettingSet { .. }
            | PlayerEventData::StreakLost { .. }
            | PlayerEventData::StreakRepaired { .. }
            | PlayerEventData::ItemEquipped { .. }
            | PlayerEventData::Notified { .. }
            | PlayerEventData::ReadThrough { .. } => self.derive(event),
            PlayerEventData::NameChanged { .. } => {
                self.is_renamed = true;
                self.derive(event);
            }
            PlayerEventData::Corrected {
                by: CorrectionSource::Operator,
                field,
                from,
                to,
                ..
            } => {
                let number = self.derived.state.number(*field);
                let number = number
                    .saturating_add(to.saturating_sub(*from))
                    .saturating_sub(from.saturating_sub(*to));
                self.derived.correct(*field, number);
            }
            PlayerEventData::Corrected {
                by: CorrectionSource::Rebuild,
                ..
            } => {
                self.found.retain(|it| !it.is_settled_by_correction());
                let used = &self.recorded.allowance_day;
                self.derived.allowance_day.clone_from(used);
                self.derived.streak.clone_from(&self.recorded.streak);
                copy_rewards(&self.recorded.state, &mut self.derived.state);
            }
            PlayerEventData::LevelReached { .. }
            | PlayerEventData::CoinsMoved { .. }
            | PlayerEventData::AchievementUnlocked { .. }
            | PlayerEventData::ItemGranted { .. }
            | PlayerEventData::XpEarned {
                source: XpSource::Grant,
                ..
            } => self.apply_result(event),
            PlayerEventData::XpEarned { .. }
            | PlayerEventData::DayKept { .. }
            | PlayerEventData::StreakFrozen { .. }
            | PlayerEventData::RaidJoined { .. }
            | PlayerEventData::RaidLeft { .. }
            | PlayerEventData::RaidEnded { .. } => self.found.push(Difference::Event {
                seq: event.seq,
                cause: None,
                found: Some(Box::new(event.data.clone())),
                expected: None,
            }),
        }
    }

    /// Applies what a command brought: it changes the numbers of both folds by the same amounts.
    fn apply_result(&mut self, event: &PlayerEvent) {
        let mut after = self.recorded.clone();
        after.apply(event);
        let changed = CorrectedField::ALL.map(|field| {
            let [before, after] = [&self.recorded, &after].map(|fold| fold.state.number(field));
            let number = self.derived.state.number(field);
            let number = number.saturating_add(after.saturating_sub(before));
            (field, number.saturating_sub(before.saturating_sub(after)))
        });
        self.derive(event);
        for (field, number) in changed {
            *self.derived.state.number_mut(field) = number;
        }
    }
}
