//! `/raids/{id}/commands`: commands to a raid.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use raidhall_protocol::fields::Fields;
use raidhall_protocol::rest::{CommandResult, Data};
use raidhall_protocol::{Command, OpKey};

use crate::auth::Scope;
use crate::http::AppState;
use crate::http::error_response::ErrorResponse;
use crate::http::extract::{Audited, IdempotencyKey, JsonBody, RaidPath};
use crate::http::rate_limit_headers::RateLimitHeaders;
use crate::raid::{self, Ack};

pub(in crate::http) async fn execute_command(
    State(app): State<Arc<AppState>>,
    caller: Audited,
    RaidPath(raid): RaidPath,
    limit_headers: RateLimitHeaders,
    key: IdempotencyKey,
    body: JsonBody,
) -> Result<Json<Data<CommandResult>>, ErrorResponse> {
    let (op, command) = read_command(key, &body)?;
    let op = caller.authenticated.op_hash(op);
    let command = match caller.authenticated.0.scope {
        Scope::Service => {
            app.store
                .record_audit(&caller.command_audit_entry(raid, &command))
                .await?;
            raid::RaidCommand::Service { command }
        }
        Scope::Player | Scope::Admin => {
            let by = caller.authenticated.acting_player()?.id;
            app.rate_limits.charge_command(by, &limit_headers)?;
            raid::RaidCommand::Player { by, command }
        }
    };
    let ack = app.sessions.execute(raid, command, op).await?;
    Ok(command_result(ack))
}

pub(in crate::http) fn command_result(ack: Ack) -> Json<Data<CommandResult>> {
    let Ack { seq, duplicate } = ack;
    Json(Data {
        data: CommandResult { seq, duplicate },
    })
}

/// Reads the command and its idempotency key, which is the body's or else the header's. Reports the
/// faults of both together.
fn read_command(
    key: IdempotencyKey,
    body: &JsonBody,
) -> Result<(Option<OpKey>, Command), ErrorResponse> {
    body.read(|fields| {
        let op = read_op(key, fields);
        let command = fields.nested("cmd", Command::read);
        Some((op?, command?))
    })
}

/// Reads a command's idempotency key, which is the body's or else the header's.
pub(in crate::http) fn read_op(
    key: IdempotencyKey,
    fields: &mut Fields<'_>,
) -> Option<Option<OpKey>> {
    let header = key
        .0
        .map_err(|fault| fields.fault(&fault.field, fault.message))
        .ok();
    let op = fields.optional_op("op");
    Some(op?.or(header?))
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderMap;
    use serde_json::{Value, json};

    use super::*;
    use crate::http::header_names::IDEMPOTENCY_KEY;

    fn headers(key: &'static str) -> HeaderMap {
        let key = (!key.is_empty()).then_some(key);
        key.map(|key| (IDEMPOTENCY_KEY, key.parse().expect("a header")))
            .into_iter()
            .collect()
    }

    fn parse(key: &'static str, body: Value) -> Result<(Option<OpKey>, Command), ErrorResponse> {
        read_command(
            IdempotencyKey::from_headers(&headers(key)),
            &JsonBody(body.as_object().expect("a map").clone()),
        )
    }

    #[test]
    fn the_op_is_taken_from_the_body_or_else_from_the_header() {
        let op = || OpKey::try_from("k1".to_owned()).ok();
        let cmd = json!({"type": "start", "role": "leader", "xp": 9000});
        assert_eq!(
            parse("", json!({"cmd": cmd})).expect("read"),
            (None, Command::Start)
        );
        assert_eq!(
            parse("k1", json!({"cmd": cmd})).expect("read"),
            (op(), Command::Start)
        );
        assert_eq!(
            parse("", json!({"op": "k1", "cmd": cmd})).expect("read"),
            (op(), Command::Start)
        );
        assert_eq!(
            parse("k1", json!({"op": "k1", "cmd": cmd})).expect("read"),
            (op(), Command::Start)
        );
        assert_eq!(
            parse("k2", json!({"op": "k1", "cmd": cmd})).expect("read"),
            (op(), Command::Start)
        );
    }

    #[test]
    fn every_faulty_command_field_is_named_at_once() {
        let failure = parse(
            "not a key",
            json!({"op": 7, "cmd": {"type": "add_task", "xp": "lots"}}),
        );
        let shown = format!("{:?}", failure.expect_err("faults"));
        for field in ["Idempotency-Key", "op", "title", "xp", "minutes"] {
            assert!(
                shown.contains(&format!("field: \"{field}\"")),
                "{field} in {shown}"
            );
        }
    }
}
