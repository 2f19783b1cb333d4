//! Somebody who is to be forgotten.

use std::collections::BTreeSet;

use raidhall_protocol::state::RaidState;
use raidhall_protocol::{EventData, PlayerId, UnixMillis};

use super::{Act, Decision, Draft, membership};
use crate::raid::{Refusal, State, erasure};

/// A member of a raid that has not ended leaves it, and what the raid shows of their texts is taken back. No event if it
/// shows none: what only its past tells of them may then be rewritten too, and whoever folds it finds no difference.
pub(super) fn erase(
    state: &State,
    at: UnixMillis,
    online: &BTreeSet<PlayerId>,
    player: PlayerId,
    made_raid: bool,
) -> Decision {
    if state.is_empty() {
        return Err(Refusal::NotFound);
    }
    let leaving = state
        .member(player)
        .filter(|_| !state.status_at(at).ended());
    let draft = match leaving {
        Some(member) => membership::draft_leave(&Act {
            state,
            at,
            member,
            online,
        }),
        None => Draft::new(state, at, Some(player)),
    };
    let shows = shows_text(state.shown(), player, leaving.is_none(), made_raid);
    let erased = || EventData::PlayerErased {
        player,
        text: erasure::ERASED_TEXT.to_owned(),
        made_raid,
    };
    Ok(if shows { draft.with(erased()) } else { draft }.events)
}

/// Whether a text of the player's can still be read.
fn shows_text(raid: &RaidState, player: PlayerId, member: bool, made_raid: bool) -> bool {
    let names = raid
        .members
        .iter()
        .filter(|m| member && m.player == player)
        .map(|member| &member.name);
    let ranked = raid
        .ranking
        .iter()
        .flatten()
        .filter(|rank| rank.player == player)
        .map(|rank| &rank.name);
    let tasks = raid
        .tasks
        .iter()
        .filter(|task| task.by == player)
        .map(|task| &task.title);
    let said = raid
        .messages
        .iter()
        .filter(|message| message.by == player)
        .map(|message| &message.text);
    let of_raid = made_raid.then_some(&raid.title);
    let mut texts = names.chain(ranked).chain(tasks).chain(said).chain(of_raid);
    (made_raid && raid.description.is_some()) || texts.any(|text| text != erasure::ERASED_TEXT)
}
