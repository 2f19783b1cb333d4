//! Reading of definitions from TOML.

use std::collections::{BTreeMap, HashSet};
use std::sync::LazyLock;

use figment::Figment;
use figment::providers::{Format, Toml};
use raidhall_protocol::limits::CONTRIBUTION_KIND_CHARS_MAX;
use raidhall_protocol::progression::{
    Achievement, AchievementText, Board, BoardWindow, CoinAmounts, ShopItem, StreakRules, Tier,
};
use serde_json::{Map, Value};

use super::achievement::{COUNTED_FIELDS, Content, CountedField, CounterStep, FieldKind, Filter};
use super::table::{NAME, Table, is_name};
use super::{AchievementDefinition, BoardDefinition, Definitions, LevelCurve};
use crate::calendar::Calendar;

const ACHIEVEMENTS_MAX: usize = 64;
const TIERS_MAX: usize = 10;
const ITEMS_MAX: usize = 200;
const BOARDS_MAX: usize = 16;
const KINDS_MAX: usize = 64;
const TITLE_CHARS_MAX: usize = 60;
const TEXT_CHARS_MAX: usize = 200;
/// The largest number, so that sums of many stay exact in every client.
const NUMBER_MAX: u64 = 1_000_000_000;
const COINS_MAX: u64 = 1_000_000;
const DAYS_MAX: u64 = 1_000;
const FREEZES_MAX: u64 = 30;
const REPAIR_HOURS_MAX: u64 = 720;

/// The time zone of a leaderboard that names none.
static UTC: LazyLock<Value> = LazyLock::new(|| Value::from("UTC"));

/// The types of events that achievements can count.
const EVENTS: [&str; 6] = [
    "xp_earned",
    "level_reached",
    "coins_moved",
    "item_granted",
    "raid_joined",
    "raid_ended",
];

/// Reads definitions, or finds every fault.
pub(super) fn parse(text: &str) -> Result<Definitions, Vec<String>> {
    let read = Figment::from(Toml::string(text)).extract::<Map<String, Value>>();
    let entries = read.map_err(|error| vec![format!("is not TOML: {error}")])?;
    let mut table = Table::root(&entries);
    let definitions = Definitions {
        casual_xp_per_day: table.natural("casual_xp_per_day", 0..=NUMBER_MAX),
        ranked_xp_per_day: table.natural("ranked_xp_per_day", 0..=NUMBER_MAX),
        levels: table.table("levels", |levels| {
            LevelCurve::new(levels.natural("xp_factor", 1..=COINS_MAX).max(1))
        }),
        coins: table.table("coins", |coins| CoinAmounts {
            xp_per_coin: coins.natural("xp_per_coin", 1..=COINS_MAX).max(1),
            victory: coins.natural("victory", 0..=COINS_MAX),
            mvp: coins.natural("mvp", 0..=COINS_MAX),
            level: coins.natural("level", 0..=COINS_MAX),
        }),
        skills: table.table("skills", read_skills),
        streaks: table.optional_table("streaks", read_streaks),
        achievements: table.list("achievements", ACHIEVEMENTS_MAX, read_achievement),
        items: table.list("items", ITEMS_MAX, read_item),
        boards: table.optional_list("boards", BOARDS_MAX, read_board),
    };
    let achievements = definitions
        .achievements
        .iter()
        .map(|it| it.shown.id.as_str());
    check_unique(&mut table, "achievements", achievements);
    let items = definitions.items.iter().map(|it| it.id.as_str());
    check_unique(&mut table, "items", items);
    let boards = definitions.boards.iter().map(|it| it.shown.id.as_str());
    check_unique(&mut table, "boards", boards);
    match table.finish() {
        faults if faults.is_empty() => Ok(definitions),
        faults => Err(faults),
    }
}

fn check_unique<'d>(table: &mut Table<'_>, key: &str, ids: impl Iterator<Item = &'d str>) {
    let mut seen = HashSet::new();
    for id in ids.filter(|id| !id.is_empty()) {
        if !seen.insert(id) {
            table.fault(key, &format!("must have the id {id} only once"));
        }
    }
}

fn read_skills(table: &mut Table<'_>) -> BTreeMap<String, String> {
    let mut skills = BTreeMap::new();
    for (kind, skill) in table.entries() {
        let is_kind = |c: char| c.is_ascii_lowercase() || c == '_';
        if kind.len() > CONTRIBUTION_KIND_CHARS_MAX || !kind.chars().all(is_kind) {
            table.fault(kind, "must be a kind: 1 to 50 characters of a-z _");
        }
        match skill.as_str().filter(|skill| is_name(skill)) {
            Some(skill) => {
                skills.insert(kind.to_owned(), skill.to_owned());
            }
            None => table.fault(kind, &format!("must be the name of a skill: {NAME}")),
        }
    }
    if skills.len() > KINDS_MAX {
        table.fault("task", "must not be one of more than 64 kinds");
    }
    skills
}

/// Reads the rules of streaks from their table.
fn read_streaks(table: &mut Table<'_>) -> Option<StreakRules> {
    Some(StreakRules {
        days_per_freeze: table.natural("days_per_freeze", 1..=DAYS_MAX).max(1),
        freezes_max: table.natural("freezes_max", 0..=FREEZES_MAX),
        repair_hours: table.natural("repair_hours", 0..=REPAIR_HOURS_MAX),
        repair_cost: table.natural("repair_cost", 0..=COINS_MAX),
        repair_pause_days: table.natural("repair_pause_days", 0..=DAYS_MAX),
    })
}

fn read_item(table: &mut Table<'_>) -> ShopItem {
    ShopItem {
        id: table.name("id"),
        slot: table.name("slot"),
        price: table.natural("price", 0..=COINS_MAX),
        en: table.text("en", TITLE_CHARS_MAX),
        ru: table.text("ru", TITLE_CHARS_MAX),
    }
}

fn read_board(table: &mut Table<'_>) -> BoardDefinition {
    let zone = table.optional("zone").unwrap_or(&UTC);
    let zone = zone.as_str().unwrap_or_default();
    let calendar = Calendar::find(zone, 0).unwrap_or_else(|| {
        table.fault("zone", "must be the name of a time zone (IANA)");
        Calendar::utc(0)
    });
    let shown = Board {
        id: table.name("id"),
        window: read_window(table),
        zone: zone.to_owned(),
        en: table.text("en", TITLE_CHARS_MAX),
        ru: table.text("ru", TITLE_CHARS_MAX),
    };
    BoardDefinition { shown, calendar }
}

fn read_window(table: &mut Table<'_>) -> BoardWindow {
    let name = table.optional("window").and_then(Value::as_str);
    let mut windows = BoardWindow::ALL.into_iter();
    let window = windows.find(|window| Some(window.as_str()) == name);
    window.unwrap_or_else(|| {
        let names = BoardWindow::ALL.map(BoardWindow::as_str).join(", ");
        table.fault("window", &format!("must be one of {names}"));
        BoardWindow::AllTime
    })
}

fn read_achievement(table: &mut Table<'_>) -> AchievementDefinition {
    let event = read_event(table);
    let mut filters = table.optional_table("where", |filters| read_filters(filters, event));
    filters.extend(table.optional_table("at_least", |mins| read_mins(mins, event)));
    let tiers = table.list("tiers", TIERS_MAX, |tier| Tier {
        goal: tier.natural("goal", 1..=NUMBER_MAX),
        coins: tier.natural("coins", 0..=COINS_MAX),
    });
    if tiers.is_empty() || !tiers.is_sorted_by(|one, next| one.goal < next.goal) {
        table.fault("tiers", "must have goals, each above the one before it");
    }
    AchievementDefinition {
        shown: Achievement {
            id: table.name("id"),
            icon: table.name("icon"),
            tiers,
            en: table.table("en", read_texts),
            ru: table.table("ru", read_texts),
        },
        event,
        filters,
        step: read_step(table, event),
    }
}

fn read_texts(table: &mut Table<'_>) -> AchievementText {
    AchievementText {
        title: table.text("title", TITLE_CHARS_MAX),
        text: table.text("text", TEXT_CHARS_MAX),
    }
}

/// Reads the type of event that an achievement counts; an empty one after a fault.
fn read_event(table: &mut Table<'_>) -> &'static str {
    let found = table.optional("event").and_then(Value::as_str);
    let event = EVENTS.into_iter().find(|event| Some(*event) == found);
    event.unwrap_or_else(|| {
        table.fault("event", &format!("must be one of {}", EVENTS.join(", ")));
        ""
    })
}

fn read_filters(table: &mut Table<'_>, event: &'static str) -> Vec<Filter> {
    let mut filters = Vec::new();
    for (name, value) in table.entries() {
        let Some(counted) = find_field(table, event, name) else {
            continue;
        };
        match read_content(value, counted.kind) {
            Ok(value) => filters.push(Filter::Is {
                field: counted.name,
                value,
            }),
            Err(expected) => table.fault(name, &format!("must be {expected}")),
        }
    }
    filters
}

fn read_content(value: &Value, kind: FieldKind) -> Result<Content, String> {
    let text = value.as_str().map(str::to_owned);
    let (content, expected) = match kind {
        FieldKind::Number => (
            value.as_u64().map(Content::Number),
            "a whole number".to_owned(),
        ),
        FieldKind::Flag => (
            value.as_bool().map(Content::Flag),
            "true or false".to_owned(),
        ),
        FieldKind::Choice(choices) => {
            let chosen = text.filter(|text| choices.contains(&text.as_str()));
            let expected = format!("one of {}", choices.join(", "));
            (chosen.map(Content::Text), expected)
        }
        FieldKind::Text => (text.map(Content::Text), "a text".to_owned()),
    };
    content.ok_or(expected)
}

fn read_mins(table: &mut Table<'_>, event: &'static str) -> Vec<Filter> {
    let mut filters = Vec::new();
    for (name, value) in table.entries() {
        let Some(field) = find_number(table, event, name) else {
            continue;
        };
        match value.as_u64() {
            Some(min) => filters.push(Filter::AtLeast { field, min }),
            None => table.fault(name, "must be a whole number"),
        }
    }
    filters
}

/// Reads what an event does to the counter: it adds one unless there is a `sum` or a `max`.
fn read_step(table: &mut Table<'_>, event: &'static str) -> CounterStep {
    let mut field = |key| {
        let found = table.optional(key)?;
        let name = found.as_str().unwrap_or_default();
        let counted = number_field(event, name);
        if counted.is_none() {
            let names = fields_of(event).filter(|it| it.kind == FieldKind::Number);
            let names: Vec<_> = names.map(|it| it.name).collect();
            table.fault(key, &format!("must be one of {}", names.join(", ")));
        }
        counted
    };
    match [field("sum"), field("max")] {
        [None, None] => CounterStep::Count,
        [Some(field), None] => CounterStep::Sum(field),
        [None, Some(field)] => CounterStep::Max(field),
        [Some(_), Some(_)] => {
            table.fault("max", "must not be there beside a sum");
            CounterStep::Count
        }
    }
}

fn fields_of(event: &'static str) -> impl Iterator<Item = &'static CountedField> {
    COUNTED_FIELDS.iter().filter(move |it| it.event == event)
}

/// Finds a field of an event, or records that there is none. An event with a fault of its own has
/// no further ones.
fn find_field(
    table: &mut Table<'_>,
    event: &'static str,
    name: &str,
) -> Option<&'static CountedField> {
    let found = fields_of(event).find(|it| it.name == name);
    if found.is_none() && !event.is_empty() {
        let names: Vec<_> = fields_of(event).map(|it| it.name).collect();
        let message = format!("must be one of the fields {}", names.join(", "));
        table.fault(name, &message);
    }
    found
}

fn find_number(table: &mut Table<'_>, event: &'static str, name: &str) -> Option<&'static str> {
    let counted = find_field(table, event, name)?;
    if counted.kind != FieldKind::Number {
        table.fault(name, "must be a field that holds a number");
    }
    number_field(event, name)
}

fn number_field(event: &'static str, name: &str) -> Option<&'static str> {
    let found = fields_of(event).find(|it| it.name == name && it.kind == FieldKind::Number);
    found.map(|it| it.name)
}
