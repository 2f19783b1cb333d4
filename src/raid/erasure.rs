//! What stands in a raid's past where a player's texts stood.
//!
//! [`EventData::PlayerErased`] takes their texts out of the state, whatever the events before it said. So these may be
//! rewritten behind it: whoever folds the old ones or the new ones has the same state from there on.

use raidhall_protocol::{Event, EventData, PlayerId};

/// What is read instead of an erased player's texts.
pub const ERASED_TEXT: &str = "[erased]";

/// An event without the player's texts, if it has any.
pub fn redact(event: &Event, player: PlayerId) -> Option<Event> {
    let mut clean = event.clone();
    let by_them = event.by == Some(player);
    match &mut clean.data {
        EventData::RaidCreated {
            title, description, ..
        } if by_them => {
            ERASED_TEXT.clone_into(title);
            *description = None;
        }
        EventData::MemberJoined {
            player: joined,
            name,
            ..
        } if *joined == player => ERASED_TEXT.clone_into(name),
        EventData::TaskAdded { title, .. } if by_them => ERASED_TEXT.clone_into(title),
        EventData::Said { text } if by_them => ERASED_TEXT.clone_into(text),
        EventData::Contributed {
            player: to, note, ..
        } if *to == player => *note = None,
        EventData::RaidCompleted { ranking } => {
            let theirs = ranking.iter_mut().filter(|rank| rank.player == player);
            theirs.for_each(|rank| ERASED_TEXT.clone_into(&mut rank.name));
        }
        _ => {}
    }
    (clean != *event).then_some(clean)
}
