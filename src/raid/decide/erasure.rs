//! Decides the erasure of a player.

use raidhall_protocol::state::RaidState;
use raidhall_protocol::{EventData, PlayerId, UnixMillis};

use super::{Act, Decision, Draft, membership};
use crate::raid::{Context, Refusal, State, erasure};

/// Makes the player leave a raid that has not ended, and removes the texts that the raid shows of
/// them. Causes no erasure event if the raid shows none: texts that only its past events hold can
/// then be rewritten without a difference in the state.
pub(super) fn erase(
    state: &State,
    at: UnixMillis,
    context: Context<'_>,
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
            online: context.online,
            new_invite_code: context.new_invite_code,
            quotas: context.quotas,
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

/// Returns whether the state still shows a text of the player.
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
        .filter(|task| task.by == Some(player) || task.edited_by == Some(player))
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
