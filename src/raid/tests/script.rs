//! Scripts: tests of the rules as data.
//!
//! A line is `[.] [+TIME] WHO WHAT [KEY=VALUE …]`. WHO is a player by name, `host` (the host app's
//! backend), `operator` or `clock`. `erase WHO` erases a player; ada is the one who created the
//! raid.
//! A line that begins with a dot is preparation: it must cause an event, and its events are not
//! compared. `+5s` (`ms`, `s`, `m`, `h`) moves the clock first. In values, `x*81` stands for 81
//! times x, `\n` and `\0` for these characters, and `_` for a space. Other lines are `online WHO
//! …`, which sets the online players (none at first), `clock_back TIME`, which moves the clock back,
//! `quota daily_events|member_tasks N`, which sets a limit (none at first), and `show raid|WHO|N
//! KEY …`, which shows fields of the raid, a member or task N.
//!
//! The expected output has a line per event (`WHO TYPE KEY=VALUE …` with the keys sorted, WHO `-`
//! for the server), `!TYPE` for a refusal, followed by the faulty fields, `nothing` for a command
//! that causes nothing, and one line per `show`.

use std::collections::BTreeSet;

use raidhall_protocol::fields::Fields;
use raidhall_protocol::rest::NewRaid;
use raidhall_protocol::server::PlayerRef;
use raidhall_protocol::{Command as PlayerCommand, Event, PlayerId, RaidId, UnixMillis};
use serde_json::{Map, Value, json};

use crate::raid::{Context, Quotas, RaidCommand, Refusal, State, apply, decide, stored};

const NAMES: [&str; 6] = ["ada", "ben", "cal", "dot", "eve", "fay"];

/// Runs a script and compares its output. Also checks that the state survives encoding at every
/// step, and that a replay of the events equals it.
#[track_caller]
pub(super) fn check(script: &str, expect: &str) {
    let expected: Vec<&str> = expect
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .collect();
    let mut runner = ScriptRunner::new();
    for line in script
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty())
    {
        runner.run_line(line);
    }
    let shown = runner.output.join("\n");
    assert!(
        runner.output == expected,
        "\n-- actual --\n{shown}\n-- expected --\n{}\n",
        expected.join("\n")
    );
    assert_eq!(runner.replayed(), runner.state, "replay differs from live");
}

/// Runs a script and returns the state after it.
pub(super) fn run_script(script: &str) -> State {
    let mut runner = ScriptRunner::new();
    for line in script
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty())
    {
        runner.run_line(line);
    }
    runner.state
}

/// Runner of one script: the raid's state, its events, the clock, who is online, and the output.
struct ScriptRunner {
    state: State,
    now: UnixMillis,
    online: BTreeSet<PlayerId>,
    ledger: Vec<Event>,
    output: Vec<String>,
    quotas: Quotas,
}

impl ScriptRunner {
    fn new() -> ScriptRunner {
        ScriptRunner {
            state: State::new(raid_id()),
            now: UnixMillis(0),
            online: BTreeSet::new(),
            ledger: Vec::new(),
            output: Vec::new(),
            quotas: Quotas::UNLIMITED,
        }
    }

    fn run_line(&mut self, line: &str) {
        let mut words = line.split_whitespace().peekable();
        let is_preparation = words.next_if_eq(&".").is_some();
        if let Some(time) = words.next_if(|word| word.starts_with('+')) {
            self.now = self.now.plus(millis(time));
        }
        let first = words.next().expect("a line has an author or a keyword");
        let rest: Vec<&str> = words.collect();
        match first {
            "online" => self.online = rest.iter().map(|name| player(name)).collect(),
            "clock_back" => self.now = self.now.plus(-millis(rest[0])),
            "show" => self.show(rest[0], &rest[1..]),
            "quota" => {
                let max = rest[1].parse().expect("a number");
                match rest[0] {
                    "daily_events" => self.quotas.daily_events_max = max,
                    _ => self.quotas.member_tasks_max = max as usize,
                }
            }
            who => {
                let decision = self.decide(&command(who, rest[0], &rest[1..]));
                assert!(
                    !is_preparation || decision.as_ref().is_ok_and(|e| !e.is_empty()),
                    "{line}: {decision:?}"
                );
                if !is_preparation {
                    self.output.extend(render(&decision));
                }
            }
        }
    }

    fn decide(&mut self, command: &RaidCommand) -> Result<Vec<Event>, Refusal> {
        let decision = decide(
            &self.state,
            command,
            Context {
                now: self.now,
                online: &self.online,
                new_invite_code: "7XNBK2QM",
                quotas: self.quotas,
            },
        );
        for event in decision.iter().flatten() {
            assert!(
                event.at >= self.state.last_at(),
                "time went backwards at {event:?}"
            );
            apply(&mut self.state, event);
            self.ledger.push(event.clone());
        }
        let restored =
            stored::decode(&stored::encode(&self.state)).expect("a state survives storing");
        assert_eq!(restored, self.state);
        decision
    }

    fn replayed(&self) -> State {
        let mut state = State::new(raid_id());
        for event in &self.ledger {
            apply(&mut state, event);
        }
        state
    }

    fn show(&mut self, what: &str, keys: &[&str]) {
        let raid = serde_json::to_value(self.state.shown()).expect("a state is JSON");
        let found = |list: &str, key: &str, id: u64| {
            let rows = raid[list].as_array().expect("a list");
            rows.iter()
                .find(|row| row[key] == id)
                .cloned()
                .unwrap_or_else(|| panic!("no {what}"))
        };
        let subject = match what {
            "raid" => raid.clone(),
            task if task.parse::<u64>().is_ok() => {
                found("tasks", "id", task.parse().expect("a number"))
            }
            member => found("members", "player", player(member).get()),
        };
        let fields: Vec<String> = keys
            .iter()
            .map(|key| render_field(key, &subject[key]))
            .collect();
        self.output.push(format!("{what} {}", fields.join(" ")));
    }
}

pub(super) fn raid_id() -> RaidId {
    RaidId::try_from(7_u64).expect("an id")
}

fn player(name: &str) -> PlayerId {
    let index = NAMES
        .iter()
        .position(|known| *known == name)
        .unwrap_or_else(|| panic!("unknown player {name}"));
    PlayerId::try_from(index as u64 + 1).expect("an id")
}

fn player_ref(name: &str) -> PlayerRef {
    PlayerRef {
        id: player(name),
        name: name.to_owned(),
    }
}

fn millis(time: &str) -> i64 {
    let digits: String = time.chars().filter(char::is_ascii_digit).collect();
    let unit = match time.trim_start_matches(|c: char| c == '+' || c.is_ascii_digit()) {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        unit => panic!("no unit of time: {unit}"),
    };
    digits.parse::<i64>().expect("a number") * unit
}

/// Builds a command; a player's or the backend's command is parsed from its fields as in a request.
pub(super) fn command(who: &str, what: &str, fields: &[&str]) -> RaidCommand {
    let mut map = Map::new();
    if what == "create" {
        map.extend([
            ("title".into(), json!("Raid")),
            ("target_xp".into(), json!(100)),
        ]);
        map.extend([("target_tasks".into(), json!(1))]);
    }
    map.insert("type".to_owned(), json!(what));
    for field in fields {
        let (key, value) = field
            .split_once('=')
            .unwrap_or_else(|| panic!("no field: {field}"));
        map.insert(key.to_owned(), read_value(key, value));
    }
    match (who, what) {
        ("clock", "deadline") => RaidCommand::Deadline,
        ("clock", "leader_offline") => RaidCommand::LeaderOffline,
        ("operator", "end") => RaidCommand::End,
        ("erase", who) => RaidCommand::Erase {
            player: player(who),
            made_raid: who == "ada",
        },
        (_, "create") => {
            let raid = NewRaid::read(&map).expect("fields of the right types");
            RaidCommand::Create {
                leader: player_ref(who),
                invite_code: "K7MQ2XNB".to_owned(),
                raid,
            }
        }
        (_, "join") => RaidCommand::Join {
            player: player_ref(who),
        },
        _ => {
            let mut fields = Fields::new(&map);
            let read = PlayerCommand::read(&mut fields);
            let command = fields.finish(read).expect("fields of the right types");
            match who {
                "host" => RaidCommand::Service { command },
                _ => RaidCommand::Player {
                    by: player(who),
                    command,
                },
            }
        }
    }
}

fn read_value(key: &str, value: &str) -> Value {
    if key == "player" {
        return json!(player(value));
    }
    if let Some((text, count)) = value.split_once('*') {
        return json!(text.repeat(count.parse().expect("a number")));
    }
    if let Ok(number) = value.parse::<i64>() {
        return json!(number);
    }
    match value {
        "true" => json!(true),
        "false" => json!(false),
        text => json!(
            text.replace("\\n", "\n")
                .replace("\\0", "\0")
                .replace('_', " ")
        ),
    }
}

fn render(decision: &Result<Vec<Event>, Refusal>) -> Vec<String> {
    match decision {
        Ok(events) if events.is_empty() => vec!["nothing".to_owned()],
        Ok(events) => events.iter().map(render_event).collect(),
        Err(Refusal::Invalid(faults)) => {
            let fields: Vec<&str> = faults.iter().map(|fault| fault.field.as_str()).collect();
            vec![format!("!invalid {}", fields.join(" "))]
        }
        Err(refusal) => vec![format!("!{}", refusal.error_type().as_str())],
    }
}

fn render_event(event: &Event) -> String {
    let who = event.by.map_or("-".to_owned(), |by| name(&json!(by)));
    let Ok(Value::Object(mut row)) = serde_json::to_value(&event.data) else {
        panic!("no map: {event:?}")
    };
    let Some(Value::Object(data)) = row.remove("data") else {
        panic!("no data: {event:?}")
    };
    let mut line = format!("{who} {}", event.data.kind());
    for (key, value) in &data {
        line.push(' ');
        line.push_str(&render_field(key, value));
    }
    line
}

fn render_field(key: &str, value: &Value) -> String {
    let value = match (key, value) {
        (
            "player" | "previous" | "leader" | "assignee" | "by" | "author" | "edited_by",
            Value::Number(_),
        ) => name(value),
        ("ranking", Value::Array(rows)) => {
            let row = |row: &Value| {
                format!(
                    "{}.{}:{}/{}",
                    row["rank"],
                    name(&row["player"]),
                    row["xp"],
                    row["tasks"]
                )
            };
            rows.iter().map(row).collect::<Vec<_>>().join(",")
        }
        ("members", Value::Array(rows)) => rows
            .iter()
            .map(|row| name(&row["player"]))
            .collect::<Vec<_>>()
            .join(","),
        ("messages", Value::Array(rows)) => {
            let row = |row: &Value| {
                format!(
                    "{}:{}",
                    name(&row["by"]),
                    row["text"].as_str().expect("a text")
                )
            };
            rows.iter().map(row).collect::<Vec<_>>().join(",")
        }
        (_, Value::String(text)) => text.replace(' ', "_"),
        _ => value.to_string(),
    };
    format!("{key}={value}")
}

fn name(player: &Value) -> String {
    let id = player.as_u64().expect("an id");
    usize::try_from(id - 1)
        .ok()
        .and_then(|index| NAMES.get(index))
        .map_or(id.to_string(), ToString::to_string)
}
