//! Tests of the rules of a player's stream.

mod correction;
mod day;
mod fold;
mod shop;
mod visibility;

use std::time::Duration;

use raidhall_protocol::player::event::RaidPlace;
use raidhall_protocol::player::state::Setting;
use raidhall_protocol::player::{PlayerCommand, PlayerEvent, PlayerEventData};
use raidhall_protocol::{PlayerId, Seq, UnixMillis};
use serde_json::{Value, json};

use super::{Author, PlayerFold, check, decide};
use crate::definitions::Definitions;
use crate::error::Error;
use crate::raid::Refusal;

const NOW: UnixMillis = UnixMillis(1_800_000_000_000);
const DAY_MS: i64 = 86_400_000;

fn new_fold() -> PlayerFold {
    let id = PlayerId::try_from(5_u64).expect("an id");
    PlayerFold::new(id, "Ada".to_owned())
}

fn command(value: Value) -> PlayerCommand {
    serde_json::from_value(value).expect("a command")
}

/// Decides a player's command at a time and folds what follows. Returns the number of events.
fn execute_at(fold: &mut PlayerFold, now: UnixMillis, value: Value) -> Result<usize, Error> {
    execute_by(fold, Author::Player, now, value)
}

fn execute_by(
    fold: &mut PlayerFold,
    author: Author,
    now: UnixMillis,
    value: Value,
) -> Result<usize, Error> {
    let command = check(author, &command(value))?;
    let events = decide(fold, &command, &Definitions::built_in(), now)?;
    for data in &events {
        fold.apply(&PlayerEvent {
            seq: fold.seq.next(),
            at: now,
            cause: None,
            data: data.clone(),
        });
    }
    Ok(events.len())
}

fn execute(fold: &mut PlayerFold, value: Value) -> Result<usize, Error> {
    execute_at(fold, NOW, value)
}

fn set(key: &str, value: impl Into<Value>) -> Value {
    json!({"type": "set_setting", "key": key, "value": value.into()})
}

fn notice() -> Value {
    json!({"type": "notify", "kind": "sale", "title": "Sale", "body": "All frames", "url": "/shop"})
}

fn notify(fold: &mut PlayerFold) {
    let added = execute_by(fold, Author::Service, NOW, notice());
    assert_eq!(added, Ok(1));
}

/// Returns the fields that a refusal names.
fn faulty_fields(result: Result<usize, Error>) -> Vec<String> {
    match result {
        Err(Error::Refused(Refusal::Invalid(faults))) => {
            faults.into_iter().map(|fault| fault.field).collect()
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_setting_counts_how_often_it_was_set() {
    let mut fold = new_fold();
    assert_eq!(execute(&mut fold, set("theme", "dark")), Ok(1));
    assert_eq!(execute(&mut fold, set("theme", "dark")), Ok(0), "no change");
    assert_eq!(execute(&mut fold, set("theme", "light")), Ok(1));
    let expected = Setting {
        value: json!("light"),
        version: 2,
    };
    assert_eq!(fold.state.settings["theme"], expected);
    assert_eq!(fold.seq, Seq(2));
}

#[test]
fn a_setting_of_another_version_is_a_conflict() {
    let mut fold = new_fold();
    let at = |version: u64, value: &str| json!({"type": "set_setting", "key": "theme", "value": value, "if_version": version});
    let conflict = Err(Error::Conflict("The setting has another version"));
    assert_eq!(execute(&mut fold, at(1, "dark")), conflict);
    assert_eq!(execute(&mut fold, at(0, "dark")), Ok(1));
    assert_eq!(execute(&mut fold, at(0, "light")), conflict);
    assert_eq!(execute(&mut fold, at(1, "light")), Ok(1));
}

#[test]
fn settings_accept_their_values_and_no_others() {
    for (key, good, bad) in [
        ("zone", json!("Asia/Tashkent"), json!("Mars/Olympus")),
        ("day_start_hour", json!(4), json!(7)),
        ("language", json!("pt-BR"), json!("pt_BR")),
        ("theme", json!("system"), json!("blue")),
        ("sound", json!(false), json!("off")),
        ("haptics", json!(true), json!(1)),
        ("profile", json!("hidden"), json!("secret")),
        ("boards", json!("companions"), json!(null)),
        ("notify.streak_hour", json!(23.0), json!(24)),
        ("notify.raids", json!(true), json!([])),
        (
            "app.deck",
            json!({"cards": [1, null]}),
            json!("x".repeat(1_023)),
        ),
    ] {
        assert_eq!(
            faulty_fields(execute(&mut new_fold(), set(key, bad))),
            ["value"],
            "{key}"
        );
        assert_eq!(execute(&mut new_fold(), set(key, good)), Ok(1), "{key}");
    }
    let long = format!("app.{}", "x".repeat(61));
    for key in ["", "colour", "app", "app.", "notify.a b", "theme.x", &long] {
        assert_eq!(
            faulty_fields(execute(&mut new_fold(), set(key, true))),
            ["key"],
            "{key:?}"
        );
    }
}

#[test]
fn values_are_stored_in_one_spelling() {
    let mut fold = new_fold();
    assert_eq!(execute(&mut fold, set("zone", "asia/tashkent")), Ok(1));
    assert_eq!(execute(&mut fold, set("zone", "Asia/Tashkent")), Ok(0));
    assert_eq!(fold.state.settings["zone"].value, "Asia/Tashkent");
    assert_eq!(execute(&mut fold, set("day_start_hour", 4.0)), Ok(1));
    assert_eq!(fold.state.settings["day_start_hour"].value, json!(4));
}

#[test]
fn a_setting_is_stored_as_every_database_returns_it() {
    let mut fold = new_fold();
    let value = json!([1e16, -0.0, 1e19, 1e20, 0.5, {"n": -4.0}]);
    assert_eq!(execute(&mut fold, set("app.deck", value)), Ok(1));
    let stored = json!([10_000_000_000_000_000_i64, 0, 10_000_000_000_000_000_000_u64, 1e20, 0.5, {"n": -4}]);
    assert_eq!(fold.state.settings["app.deck"].value, stored);
    for value in [json!("a\0b"), json!([{"a\0": 1}])] {
        let refused = execute(&mut fold, set("app.deck", value));
        assert_eq!(faulty_fields(refused), ["value"]);
    }
}

/// The live state and the one that is folded from stored events are the same.
#[test]
fn a_float_is_read_from_json_as_it_was_written() {
    for n in 1..10_000 {
        let value = json!(f64::from(n) / 7.0);
        let read: Value = serde_json::from_str(&value.to_string()).expect("JSON");
        assert_eq!(read, value);
    }
}

#[test]
fn an_app_has_64_settings_and_all_have_16_kib() {
    let mut fold = new_fold();
    for n in 0..64 {
        assert_eq!(execute(&mut fold, set(&format!("app.{n}"), n)), Ok(1));
    }
    assert_eq!(faulty_fields(execute(&mut fold, set("app.64", 1))), ["key"]);
    assert_eq!(execute(&mut fold, set("app.0", "again")), Ok(1));
    let large = "x".repeat(1_000);
    let mut accepted = 0;
    while execute(&mut fold, set(&format!("app.{accepted}"), large.as_str())) == Ok(1) {
        accepted += 1;
    }
    assert_eq!(accepted, 15);
    let refused = execute(&mut fold, set("app.15", large.as_str()));
    assert_eq!(faulty_fields(refused), ["value"]);
}

#[test]
fn the_settings_of_the_day_change_twice_in_a_week() {
    let mut fold = new_fold();
    assert_eq!(execute(&mut fold, set("zone", "Europe/Berlin")), Ok(1));
    let later = NOW.plus(DAY_MS);
    assert_eq!(
        execute_at(&mut fold, later, set("day_start_hour", 4)),
        Ok(1)
    );
    let six_days = Duration::from_millis(6 * DAY_MS as u64);
    let refused = execute_at(&mut fold, later, set("zone", "Asia/Tokyo"));
    assert_eq!(refused, Err(Error::RateLimited(six_days)));
    assert_eq!(execute_at(&mut fold, later, set("theme", "dark")), Ok(1));
    let after = NOW.plus(7 * DAY_MS);
    assert_eq!(
        execute_at(&mut fold, after, set("zone", "Asia/Tokyo")),
        Ok(1)
    );
}

#[test]
fn a_name_changes_three_times_a_day() {
    let mut fold = new_fold();
    let rename = |name: &str| json!({"type": "set_name", "name": name});
    assert_eq!(execute(&mut fold, rename(" Ada ")), Ok(0), "the same name");
    for name in ["Bea", "Cyd", "Dot"] {
        assert_eq!(execute(&mut fold, rename(name)), Ok(1));
    }
    let day = Duration::from_millis(DAY_MS as u64);
    assert_eq!(
        execute(&mut fold, rename("Eve")),
        Err(Error::RateLimited(day))
    );
    assert_eq!(
        execute_at(&mut fold, NOW.plus(DAY_MS), rename("Eve")),
        Ok(1)
    );
    assert_eq!(fold.state.name, "Eve");
    assert_eq!(
        faulty_fields(execute(&mut fold, rename("\u{202e}"))),
        ["name"]
    );
}

#[test]
fn an_inbox_shows_the_latest_50_and_counts_unread_ones() {
    let mut fold = new_fold();
    for _ in 0..60 {
        notify(&mut fold);
    }
    let inbox = |fold: &PlayerFold| {
        let items = &fold.state.inbox.items;
        (items.len(), items[0].seq, fold.state.inbox.unread)
    };
    assert_eq!(inbox(&fold), (50, Seq(11), 50));
    let read = |seq: u64| json!({"type": "read_through", "seq": seq});
    assert_eq!(faulty_fields(execute(&mut fold, read(61))), ["seq"]);
    assert_eq!(execute(&mut fold, read(20)), Ok(1));
    assert_eq!(inbox(&fold).2, 40);
    notify(&mut fold);
    assert_eq!(inbox(&fold), (50, Seq(12), 41));
}

#[test]
fn what_was_seen_reaches_further_or_stays() {
    let mut fold = new_fold();
    execute(&mut fold, set("theme", "dark")).expect("set");
    execute(&mut fold, set("theme", "light")).expect("set");
    let read = |seq: u64| json!({"type": "read_through", "seq": seq});
    assert_eq!(execute(&mut fold, read(0)), Ok(0));
    assert_eq!(execute(&mut fold, read(2)), Ok(1), "without notifications");
    assert_eq!(fold.state.read_through, Seq(2));
    for seen_already in [2, 1] {
        assert_eq!(execute(&mut fold, read(seen_already)), Ok(0));
    }
    assert_eq!(execute(&mut fold, read(3)), Ok(1));
    assert_eq!(fold.state.read_through, Seq(3));
}

#[test]
fn a_notification_leads_to_https_or_into_the_app() {
    let with = |field: &str, value: &str| {
        let mut command = notice();
        command[field] = value.into();
        let fold = &mut new_fold();
        execute_by(fold, Author::Service, NOW, command)
    };
    for url in ["https://example.com/a?b#c", "/", "/raids/7"] {
        assert_eq!(with("url", url), Ok(1), "{url}");
    }
    let long = format!("/{}", "x".repeat(500));
    for url in [
        "",
        "http://example.com",
        "https://",
        "https:///path",
        "//example.com",
        "/\\example.com",
        "/a b",
        "javascript:alert(1)",
        &long,
    ] {
        assert_eq!(faulty_fields(with("url", url)), ["url"], "{url:?}");
    }
    assert_eq!(faulty_fields(with("kind", "Sale")), ["kind"]);
    assert_eq!(faulty_fields(with("title", "")), ["title"]);
    assert_eq!(faulty_fields(with("body", &"🎉".repeat(1_000))), ["body"]);
}

#[test]
fn each_command_is_of_one_author() {
    let by = |author, value| execute_by(&mut new_fold(), author, NOW, value);
    let is_forbidden = |result| matches!(result, Err(Error::Forbidden(_)));
    assert!(is_forbidden(by(Author::Player, notice())));
    assert!(is_forbidden(by(Author::Operator, notice())));
    assert!(is_forbidden(by(Author::Service, set("theme", "dark"))));
    assert!(is_forbidden(by(Author::Operator, set("theme", "dark"))));
    let correct = json!({"type": "correct", "field": "xp", "amount": 1, "note": "x"});
    assert!(is_forbidden(by(Author::Player, correct.clone())));
    assert!(is_forbidden(by(Author::Service, correct)));
}

#[test]
fn an_encoded_fold_decodes_to_the_same_fold() {
    let mut fold = new_fold();
    assert_eq!(
        execute(&mut fold, set("app.deck", json!({"a": [1, "x", null]}))),
        Ok(1)
    );
    notify(&mut fold);
    let bytes = fold.encode();
    assert_eq!(PlayerFold::decode(&bytes).expect("decode"), fold);
    let mut newer = bytes.clone();
    newer[1] += 1;
    assert!(PlayerFold::decode(&newer).is_err());
    assert!(PlayerFold::decode(&bytes[..bytes.len() - 1]).is_err());
    assert!(PlayerFold::decode(&[]).is_err());
}

#[test]
fn a_cause_is_part_of_the_event() {
    let event = PlayerEvent {
        seq: Seq(45),
        at: UnixMillis(1_767_225_601_000),
        cause: Some(RaidPlace {
            raid: 7_u64.try_into().expect("an id"),
            seq: Seq(124),
        }),
        data: PlayerEventData::NameChanged {
            name: "Ada".to_owned(),
        },
    };
    let json = json!({
        "seq": 45, "at": 1_767_225_601_000_i64, "cause": {"raid": 7, "seq": 124},
        "type": "name_changed", "data": {"name": "Ada"},
    });
    assert_eq!(serde_json::to_value(&event).expect("encode"), json);
}
