//! Redaction of an erased player's texts in a raid's past events.
//!
//! [`EventData::PlayerErased`] removes the texts from the state, whatever the events before it
//! said. Therefore the events before it can be rewritten: the old and the new ones fold to the same
//! state from there on.

use raidhall_protocol::{Event, EventData, PlayerId};

/// Replacement for an erased player's texts.
pub const ERASED_TEXT: &str = "[erased]";

/// Returns a copy of the event without the player's texts; `None` if it has none.
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
        EventData::TaskEdited {
            author,
            title: Some(title),
            ..
        } if by_them || *author == Some(player) => ERASED_TEXT.clone_into(title),
        EventData::Said { text } if by_them => ERASED_TEXT.clone_into(text),
        EventData::Contributed {
            player: to, note, ..
        } if *to == player => *note = None,
        EventData::RaidCompleted { ranking } => {
            let theirs = ranking.iter_mut().filter(|rank| rank.player == player);
            for rank in theirs {
                ERASED_TEXT.clone_into(&mut rank.name);
            }
        }
        _ => {}
    }
    (clean != *event).then_some(clean)
}
