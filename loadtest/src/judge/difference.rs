//! Describes where two states differ, for a person to read.

use raidhall_protocol::state::RaidStatus;
use raidhall_protocol::{RaidId, RaidState, UnixMillis};
use serde::Serialize;
use serde_json::{Map, Value};

const EXCERPT_CHARS: usize = 160;

/// Returns the first path at which a received state differs from the folded one, with both values.
pub(super) fn first_difference<T: Serialize>(received: &T, folded: &T) -> String {
    let encode = |state| serde_json::to_value(state).unwrap_or(Value::Null);
    find_difference("", &encode(received), &encode(folded)).unwrap_or_else(|| "equal".to_owned())
}

fn find_difference(path: &str, received: &Value, folded: &Value) -> Option<String> {
    match (received, folded) {
        _ if received == folded => None,
        (Value::Object(a), Value::Object(b)) => a.keys().chain(b.keys()).find_map(|key| {
            let value = |map: &Map<String, Value>| map.get(key).cloned().unwrap_or(Value::Null);
            find_difference(&format!("{path}.{key}"), &value(a), &value(b))
        }),
        (Value::Array(a), Value::Array(b)) if a.len() == b.len() => a
            .iter()
            .zip(b)
            .enumerate()
            .find_map(|(i, (received, folded))| {
                find_difference(&format!("{path}[{i}]"), received, folded)
            }),
        (Value::Array(a), Value::Array(b)) => Some(format!(
            "{path} received {} entries, folded {}",
            a.len(),
            b.len()
        )),
        _ => Some(format!(
            "{path} received {}, folded {}",
            excerpt(received),
            excerpt(folded)
        )),
    }
}

fn excerpt(value: &Value) -> String {
    value.to_string().chars().take(EXCERPT_CHARS).collect()
}

/// Returns a state that stands for "unknown" after a hole at the very beginning. It is never
/// compared.
pub(super) fn placeholder_state() -> RaidState {
    RaidState {
        id: RaidId::try_from(1_u64).expect("1 is an id"),
        title: String::new(),
        description: None,
        invite_code: String::new(),
        status: RaidStatus::Recruiting,
        reason: None,
        target_xp: 0,
        target_tasks: 0,
        current_xp: 0,
        current_tasks: 0,
        max_members: 0,
        late_join: false,
        ranked: false,
        time_limit_secs: 0,
        created_at: UnixMillis(0),
        started_at: None,
        deadline: None,
        ended_at: None,
        leader: None,
        term: 0,
        members: Vec::new(),
        tasks: Vec::new(),
        messages: Vec::new(),
        ranking: None,
    }
}
