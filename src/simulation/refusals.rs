//! Compares refusals with the rules: each must follow from a state that the raid had.

use std::collections::{BTreeMap, BTreeSet};

use raidhall_loadtest::client_log::{ClientLog, Moment, Observation};
use raidhall_loadtest::play::GroupOutcome;
use raidhall_protocol::{
    ClientMessage, Command, ErrorType, PlayerId, Seq, ServerMessage, UnixMillis,
};

use crate::raid::{Context, Quotas, RaidCommand, Refusal, State, apply, decide};

/// A time after which the deadline of every raid is past, in milliseconds.
const AFTER_DEADLINE_MS: i64 = 30 * 24 * 3_600_000;

/// A command that was refused for good, and the states that can be the reason: those from what the
/// client knew when it sent the command to what was committed when it received the answer.
struct RefusedCommand<'a> {
    client: &'a str,
    id: u64,
    by: PlayerId,
    command: &'a Command,
    error: ErrorType,
    from: Seq,
    to: Seq,
}

/// Returns a text for each refusal of a group's run that no state of the raid explains.
pub(super) fn check_refusals(
    outcome: &GroupOutcome,
    committed: &BTreeMap<Seq, Moment>,
) -> Vec<String> {
    let logs = outcome.ledgers.iter();
    let mut refused: Vec<_> = logs.flat_map(|log| find_refused(log, committed)).collect();
    let events = &outcome.server_record.events;
    let mut state = State::new(outcome.raid);
    for (index, event) in events.iter().enumerate() {
        apply(&mut state, event);
        let until = events
            .get(index + 1)
            .map_or(event.at.plus(AFTER_DEADLINE_MS), |next| next.at);
        refused.retain(|it| {
            let is_possible = it.from <= event.seq && event.seq <= it.to;
            !(is_possible
                && [event.at, until]
                    .iter()
                    .any(|now| it.is_refused_by(&state, *now)))
        });
    }
    let text = |it: &RefusedCommand<'_>| {
        format!(
            "raid {} client {}: {:?} refused command {} ({}), though no state from {} to {} does",
            outcome.raid,
            it.client,
            it.error,
            it.id,
            it.command.kind(),
            it.from,
            it.to
        )
    };
    refused.iter().map(text).collect()
}

impl RefusedCommand<'_> {
    fn is_refused_by(&self, state: &State, now: UnixMillis) -> bool {
        let command = RaidCommand::Player {
            by: self.by,
            command: self.command.clone(),
        };
        let context = Context {
            now,
            online: &BTreeSet::new(),
            new_invite_code: "",
            quotas: Quotas::UNLIMITED,
        };
        decide(state, &command, context).is_err_and(|refusal| refusal.error_type() == self.error)
    }
}

fn find_refused<'a>(
    log: &'a ClientLog,
    committed: &BTreeMap<Seq, Moment>,
) -> Vec<RefusedCommand<'a>> {
    let mut known = Seq::ZERO;
    let mut sent: BTreeMap<u64, (&Command, Seq)> = BTreeMap::new();
    let mut refused = Vec::new();
    for entry in log.entries() {
        match &entry.observation {
            Observation::Sent(ClientMessage::Do { id, cmd, .. }) => {
                sent.entry(*id).or_insert((cmd, known));
            }
            Observation::Received(message) => match &**message {
                ServerMessage::Event { event, .. } => known = known.max(event.seq),
                ServerMessage::Snapshot { seq, .. } => known = known.max(*seq),
                ServerMessage::Error {
                    id: Some(id),
                    error,
                    ..
                } if is_decision(error.r#type) => {
                    let Some((command, from)) = sent.get(id).copied() else {
                        continue;
                    };
                    let until = entry.at;
                    let before = committed.iter().rev();
                    let newest = before.into_iter().find(|(_, moment)| **moment <= until);
                    refused.push(RefusedCommand {
                        client: &log.client,
                        id: *id,
                        by: log.player,
                        command,
                        error: error.r#type,
                        from,
                        to: newest.map_or(Seq::ZERO, |(seq, _)| *seq),
                    });
                }
                _ => {}
            },
            _ => {}
        }
    }
    refused
}

/// Returns whether an error is the raid's decision on a command. Quotas are not compared.
fn is_decision(error: ErrorType) -> bool {
    error != ErrorType::QuotaExceeded && Refusal::from_error_type(error, Vec::new()).is_some()
}
