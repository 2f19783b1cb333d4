//! Achievements, and what of a player's events they count.

use raidhall_protocol::player::PlayerEventData;
use raidhall_protocol::progression::Achievement;

/// An achievement that players can unlock, and what it counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AchievementDefinition {
    /// What clients show of it.
    pub shown: Achievement,
    pub(super) event: &'static str,
    pub(super) filters: Vec<Filter>,
    pub(super) step: CounterStep,
}

/// A condition on an event that counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Filter {
    Is { field: &'static str, value: Content },
    AtLeast { field: &'static str, min: u64 },
}

/// What an event does to the counter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum CounterStep {
    /// It adds one to it.
    Count,
    /// It adds the number in a field.
    Sum(&'static str),
    /// It raises the counter to the number in a field.
    Max(&'static str),
}

/// What a field of an event holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Content {
    Number(u64),
    Text(String),
    Flag(bool),
}

/// A field of an event that achievements can use.
pub(super) struct CountedField {
    pub(super) event: &'static str,
    pub(super) name: &'static str,
    pub(super) kind: FieldKind,
}

/// What a field can hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum FieldKind {
    Number,
    Flag,
    /// One of these texts.
    Choice(&'static [&'static str]),
    /// Any text at all.
    Text,
}

const fn field(event: &'static str, name: &'static str, kind: FieldKind) -> CountedField {
    CountedField { event, name, kind }
}

/// Every field of an event that achievements can use.
pub(super) const COUNTED_FIELDS: &[CountedField] = &[
    field("xp_earned", "amount", FieldKind::Number),
    field("xp_earned", "counted", FieldKind::Number),
    field(
        "xp_earned",
        "source",
        FieldKind::Choice(&["task", "contribution", "grant"]),
    ),
    field("xp_earned", "skill", FieldKind::Text),
    field("xp_earned", "ranked", FieldKind::Flag),
    field("level_reached", "level", FieldKind::Number),
    field(
        "coins_moved",
        "reason",
        FieldKind::Choice(&[
            "victory",
            "mvp",
            "achievement",
            "purchase",
            "repair",
            "granted",
        ]),
    ),
    field("coins_moved", "gained", FieldKind::Number),
    field("coins_moved", "spent", FieldKind::Number),
    field("item_granted", "item", FieldKind::Text),
    field(
        "item_granted",
        "by",
        FieldKind::Choice(&["purchase", "grant"]),
    ),
    field(
        "raid_joined",
        "role",
        FieldKind::Choice(&["leader", "member"]),
    ),
    field(
        "raid_ended",
        "outcome",
        FieldKind::Choice(&["completed", "failed"]),
    ),
    field("raid_ended", "rank", FieldKind::Number),
    field("raid_ended", "xp", FieldKind::Number),
];

impl AchievementDefinition {
    /// Returns a counter after an event; `None` if the event does not move it.
    pub fn count(&self, value: u64, data: &PlayerEventData) -> Option<u64> {
        let last = self.shown.tiers.last()?;
        let matches = |filter: &Filter| match filter {
            Filter::Is { field, value } => content(data, field).as_ref() == Some(value),
            Filter::AtLeast { field, min } => number(data, field) >= *min,
        };
        if value >= last.goal || data.kind() != self.event || !self.filters.iter().all(matches) {
            return None;
        }
        let counted = match self.step {
            CounterStep::Count => value.saturating_add(1),
            CounterStep::Sum(field) => value.saturating_add(number(data, field)),
            CounterStep::Max(field) => value.max(number(data, field)),
        };
        Some(counted).filter(|counted| *counted != value)
    }

    /// Returns the next goal of a counter; `None` after the last one.
    pub fn next_goal(&self, value: u64) -> Option<u64> {
        let mut goals = self.shown.tiers.iter().map(|tier| tier.goal);
        goals.find(|goal| *goal > value)
    }
}

fn number(data: &PlayerEventData, field: &str) -> u64 {
    match content(data, field) {
        Some(Content::Number(number)) => number,
        _ => 0,
    }
}

/// Returns what a field of an event holds; `None` if it holds nothing.
pub(super) fn content(data: &PlayerEventData, field: &str) -> Option<Content> {
    let text = |text: &str| Some(Content::Text(text.to_owned()));
    match (data, field) {
        (PlayerEventData::XpEarned { amount, .. }, "amount") => Some(Content::Number(*amount)),
        (PlayerEventData::XpEarned { counted, .. }, "counted") => Some(Content::Number(*counted)),
        (PlayerEventData::XpEarned { source, .. }, "source") => text(source.as_str()),
        (PlayerEventData::XpEarned { skill, .. }, "skill") => skill.clone().map(Content::Text),
        (PlayerEventData::XpEarned { allowance, .. }, "ranked") => {
            Some(Content::Flag(allowance.is_some_and(|it| it.ranked)))
        }
        (PlayerEventData::LevelReached { level, .. }, "level") => Some(Content::Number(*level)),
        (PlayerEventData::CoinsMoved { reason, .. }, "reason") => text(reason.as_str()),
        (PlayerEventData::CoinsMoved { amount, .. }, "gained") => {
            Some(Content::Number((*amount).max(0).unsigned_abs()))
        }
        (PlayerEventData::CoinsMoved { amount, .. }, "spent") => {
            Some(Content::Number((*amount).min(0).unsigned_abs()))
        }
        (PlayerEventData::ItemGranted { item, .. }, "item") => text(item),
        (PlayerEventData::ItemGranted { by, .. }, "by") => text(by.as_str()),
        (PlayerEventData::RaidJoined { role, .. }, "role") => text(role.as_str()),
        (PlayerEventData::RaidEnded { outcome, .. }, "outcome") => text(outcome.as_str()),
        (PlayerEventData::RaidEnded { rank, .. }, "rank") => {
            rank.map(|rank| Content::Number(rank.into()))
        }
        (PlayerEventData::RaidEnded { xp, .. }, "xp") => Some(Content::Number(*xp)),
        _ => None,
    }
}
