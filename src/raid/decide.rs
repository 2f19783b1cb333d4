//! What a command causes.

use super::{Command, Context, Refusal, State};
use raidhall_protocol::Event;

/// What a command causes: events that carry their seq and time, none of them applied yet. No events: nothing had to
/// change (a member joins again).
pub fn decide(state: &State, command: &Command, context: Context<'_>) -> Result<Vec<Event>, Refusal> {
    let _ = (state, command, context);
    Ok(Vec::new())
}
