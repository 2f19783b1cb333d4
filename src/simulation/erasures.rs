//! Erased players: what is compared of a run in which one was, and that nothing of them is left.

use std::collections::BTreeSet;
use std::sync::Arc;

use raidhall_loadtest::client_log::{Observation, ReadAnswer, RestRead};
use raidhall_loadtest::fold::Fold;
use raidhall_loadtest::play::GroupOutcome;
use raidhall_protocol::{
    ClientMessage, Command, Event, EventData, PlayerId, RaidState, Seq, ServerMessage, TaskId,
};

use crate::raid::erasure::{ERASED_TEXT, redact};

/// What is rewritten for the erasure of a player.
struct Redaction {
    player: PlayerId,
    /// The tasks that the player added. What others call them is erased as well.
    tasks: BTreeSet<TaskId>,
}

/// Replaces the player's texts in everything that clients received and read, as in the ledger. Those
/// who received them earlier had the texts themselves.
pub(super) fn redact_outcome(outcome: &mut GroupOutcome, player: PlayerId) {
    let record = &mut outcome.server_record;
    let their_tasks = record.events.iter().filter_map(|event| match event.data {
        EventData::TaskAdded { task, .. } if event.by == Some(player) => Some(task),
        _ => None,
    });
    let redaction = Redaction {
        player,
        tasks: their_tasks.collect(),
    };
    for event in &mut record.events {
        redaction.redact_event(event);
    }
    redaction.redact_state(&mut record.state);
    for view in outcome.views.iter_mut().flatten() {
        redaction.redact_state(&mut view.state);
    }
    let visitor_logs = outcome.visitor.iter_mut().flat_map(|it| &mut it.logs);
    for log in outcome.ledgers.iter_mut().chain(visitor_logs) {
        for entry in log.entries_mut() {
            redaction.redact_observation(&mut entry.observation);
        }
    }
}

impl Redaction {
    fn redact_observation(&self, observation: &mut Observation) {
        match observation {
            Observation::Received(message) => match Arc::make_mut(message) {
                ServerMessage::Event { event, .. } => self.redact_event(event),
                ServerMessage::Snapshot { state, .. } => self.redact_state(state),
                _ => {}
            },
            Observation::Read(RestRead {
                result: Ok(answer), ..
            }) => match answer {
                ReadAnswer::Raid(view) => self.redact_state(&mut view.state),
                ReadAnswer::Events { events, .. } => {
                    for event in events {
                        self.redact_event(event);
                    }
                }
                ReadAnswer::RaidList(_) | ReadAnswer::Created(_) => {}
            },
            Observation::Sent(ClientMessage::Do {
                cmd:
                    Command::EditTask {
                        task,
                        title: Some(title),
                        ..
                    },
                ..
            }) if self.tasks.contains(task) => ERASED_TEXT.clone_into(title),
            _ => {}
        }
    }

    fn redact_event(&self, event: &mut Event) {
        if let Some(clean) = redact(event, self.player) {
            *event = clean;
        }
    }

    fn redact_state(&self, state: &mut RaidState) {
        let mut fold = Fold::from_snapshot(state.id, Seq::ZERO, state.clone());
        let erasure = Event {
            seq: Seq(1),
            at: state.created_at,
            by: None,
            data: EventData::PlayerErased {
                player: self.player,
                text: ERASED_TEXT.to_owned(),
                made_raid: false,
            },
        };
        fold.apply(&erasure)
            .expect("an event that fits every state");
        fold.state().expect("a state").clone_into(state);
    }
}

/// Returns what a ledger still has of a player who was erased. What others write after the erasure, such
/// as new titles of the player's tasks, is theirs.
pub(super) fn find_text_left(events: &[Event], player: PlayerId) -> Option<String> {
    let is_erasure = |event: &&Event| match event.data {
        EventData::PlayerErased { player: erased, .. } => erased == player,
        _ => false,
    };
    let erased = events.iter().rev().find(is_erasure);
    let is_later = |event: &Event| erased.is_some_and(|erased| erased.seq < event.seq);
    let left = events.iter().find(|event| {
        let is_theirs = event.by == Some(player) || !is_later(event);
        is_theirs && redact(event, player).is_some()
    })?;
    let seq = left.seq;
    Some(format!(
        "event {seq} still has a text of player {player}, who was erased"
    ))
}
