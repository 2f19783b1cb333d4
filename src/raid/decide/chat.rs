//! Decides chat messages.

use raidhall_protocol::EventData;
use raidhall_protocol::limits::CHAT_CHARS_MAX;

use super::{Act, Decision};
use crate::raid::Refusal;
use crate::raid::values::Values;

/// How long members may still send chat messages after the raid has ended.
const AFTER_END_MILLIS: i64 = 3_600_000;

pub(super) fn say(act: &Act<'_>, text: &str) -> Decision {
    if act.member.is_muted(act.at) {
        return Err(Refusal::Forbidden);
    }
    let mut values = Values::default();
    let text = values.text("text", text, CHAT_CHARS_MAX);
    values.finish()?;
    require_open(act)?;
    act.causes(EventData::Said { text })
}

/// Checks that the raid's chat is open.
pub(super) fn require_open(act: &Act<'_>) -> Result<(), Refusal> {
    match act.state.shown.ended_at {
        Some(ended_at) if act.at > ended_at.plus(AFTER_END_MILLIS) => Err(Refusal::WrongStatus),
        Some(_) => Ok(()),
        None => act.require_not_ended(),
    }
}
