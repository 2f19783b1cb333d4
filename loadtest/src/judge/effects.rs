//! Exactly once: compares the commands of all clients with the events of the ledger.
//!
//! Events carry no op, so an effect is recognised by its player, its kind and its object. Chat
//! texts and task titles can be made unique by the player. Claims of one task by one player are
//! counted: there must never be more than commands that can have had the effect, and never fewer
//! than were acknowledged.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use raidhall_protocol::event::{LeaderReason, LeaveReason};
use raidhall_protocol::state::Role;
use raidhall_protocol::{Command, Event, EventData, PlayerId, RaidId, Seq, TaskId};

use super::client::{ClientSummary, SentCommand};
use super::violation::{Violation, ViolationKind};
use crate::client_log::ClientLog;

/// An effect: which player did what to which object.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Effect {
    by: Option<PlayerId>,
    kind: &'static str,
    what: String,
}

impl fmt::Display for Effect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {:?}", self.kind, self.what)?;
        if let Some(by) = self.by {
            write!(f, " by player {by}")
        } else {
            Ok(())
        }
    }
}

#[derive(Debug, Default)]
struct EffectCount {
    found: usize,
    last: Seq,
    allowed: usize,
    acknowledged: usize,
}

/// Reports every acknowledged command whose effect is not in the ledger exactly once, and every
/// effect of these players that no command can have caused.
///
/// `complete` says that `events` is the whole history; without that, a missing effect proves
/// nothing.
pub(super) fn judge(
    raid: RaidId,
    clients: &[(&ClientLog, ClientSummary)],
    events: &BTreeMap<Seq, &Event>,
    complete: bool,
) -> Vec<Violation> {
    let mut violations = Vec::new();
    let mut counts: BTreeMap<Effect, EffectCount> = BTreeMap::new();
    let players: BTreeSet<_> = clients.iter().map(|(log, _)| Some(log.player)).collect();
    for event in events.values() {
        if let Some(effect) = effect_of_event(event).filter(|effect| players.contains(&effect.by)) {
            let count = counts.entry(effect).or_default();
            count.found += 1;
            count.last = event.seq;
        }
    }
    let mut acked = BTreeMap::new();
    for (log, seen) in clients {
        let violation = |breach| Violation::of(log, breach);
        for command in distinct_commands(seen) {
            if !complete
                && command
                    .ack
                    .is_some_and(|(_, seq, _)| !events.contains_key(&seq))
            {
                continue;
            }
            let count = counts
                .entry(effect_of_command(log.player, &command.command))
                .or_default();
            // Without an op, a repeat is a command of its own.
            let repeats = if command.op.is_some() {
                1
            } else {
                command.attempts as usize
            };
            // A copy from a lost connection or by REST may arrive after the one that was refused. Without
            // an op, the refusal of a repeat says nothing of the attempts before it.
            let has_copy = command.connection_lost
                || command.is_repeated_by_rest
                || command.op.is_none() && command.attempts > 1;
            let is_final = command.is_refused && !has_copy;
            let allowed = if is_final { 0 } else { repeats };
            count.allowed += allowed;
            // A mute that is in effect already has no event.
            let ack = (command.ack).filter(|_| !matches!(command.command, Command::Mute { .. }));
            count.acknowledged += usize::from(ack.is_some());
            for effect in side_effects(log.player, &command.command, events) {
                counts.entry(effect).or_default().allowed += allowed;
            }
            let Some((_, seq, _)) = ack else {
                continue;
            };
            violations.extend(check_ack(log.player, command, seq, events).map(violation));
            let origin = (log.player, command.op.clone());
            if acked
                .insert(seq, origin.clone())
                .is_some_and(|other| other != origin)
            {
                violations.push(violation(ViolationKind::AckShared { seq }));
            }
        }
    }
    for (
        effect,
        EffectCount {
            found,
            last: seq,
            allowed,
            acknowledged,
        },
    ) in counts
    {
        if effect.by.is_none() {
            continue; // a host app's backend acts on its own
        }
        let effect = effect.to_string();
        if found > allowed {
            let breach = ViolationKind::DoubleEffect {
                effect,
                found,
                allowed,
                seq,
            };
            violations.push(Violation::of_server(raid, breach));
        } else if found < acknowledged {
            let breach = ViolationKind::MissingEffect {
                effect,
                found,
                acknowledged,
            };
            violations.push(Violation::of_server(raid, breach));
        }
    }
    violations
}

/// Returns one command per op: two commands with one op count as one, represented by an
/// acknowledged one if there is any.
fn distinct_commands(seen: &ClientSummary) -> Vec<&SentCommand> {
    let mut by_op: BTreeMap<_, &SentCommand> = BTreeMap::new();
    let mut all = Vec::new();
    for command in seen.commands.values() {
        match &command.op {
            None => all.push(command),
            Some(op) => {
                let known = by_op.entry(op).or_insert(command);
                if known.ack.is_none() && (command.ack.is_some() || !command.is_refused) {
                    *known = command;
                }
            }
        }
    }
    all.extend(by_op.into_values());
    all
}

/// Checks that the acknowledged seq is that of the last event that the command caused.
fn check_ack(
    player: PlayerId,
    command: &SentCommand,
    seq: Seq,
    events: &BTreeMap<Seq, &Event>,
) -> Option<ViolationKind> {
    let op = command.op.clone();
    let Some(event) = events.get(&seq) else {
        return Some(ViolationKind::AckWithoutEvent { seq, op });
    };
    let effect = Some(effect_of_command(player, &command.command));
    let kicks = matches!(command.command, Command::Kick { .. });
    let is_consequence = |event: &Event| match event.data {
        EventData::RaidCompleted { .. }
        | EventData::RaidFailed { .. }
        | EventData::LeaderChanged {
            reason: LeaderReason::Left,
            ..
        } => true,
        EventData::TaskReleased { .. } | EventData::TaskRemoved { .. } => kicks,
        _ => false,
    };
    for (_, earlier) in events.range(..=seq).rev() {
        if effect_of_event(earlier) == effect {
            return None;
        }
        if !is_consequence(earlier) {
            break;
        }
    }
    let found = event.data.kind().to_owned();
    Some(ViolationKind::AckMismatch {
        seq,
        op,
        command: command.command.kind(),
        found,
    })
}

/// Returns the effects that a command may have besides its own: a claim is released before its task
/// is removed, and a kick removes the member's tasks.
fn side_effects(
    player: PlayerId,
    command: &Command,
    events: &BTreeMap<Seq, &Event>,
) -> Vec<Effect> {
    let effect = |kind, task: TaskId| Effect {
        by: Some(player),
        kind,
        what: task.to_string(),
    };
    match command {
        Command::RemoveTask { task } => vec![effect("task_released", *task)],
        Command::Kick { player: kicked } => events
            .values()
            .filter(|event| event.by == Some(*kicked))
            .filter_map(|event| match event.data {
                EventData::TaskAdded { task, .. } => Some(task),
                _ => None,
            })
            .flat_map(|task| ["task_released", "task_removed"].map(|kind| effect(kind, task)))
            .collect(),
        _ => Vec::new(),
    }
}

fn effect_of_command(player: PlayerId, command: &Command) -> Effect {
    let (kind, what) = match command {
        Command::Start => ("raid_started", String::new()),
        Command::Leave => ("member_left", player.to_string()),
        Command::Kick { player } => ("member_kicked", player.to_string()),
        Command::Promote { player } => ("member_promoted", player.to_string()),
        // The server replaces a past time by none, so the effect has no time.
        Command::Mute { player, .. } => ("member_muted", player.to_string()),
        Command::RotateInvite => ("invite_rotated", String::new()),
        Command::Cancel => ("raid_cancelled", String::new()),
        Command::AddTask { title, xp, minutes } => (
            "task_added",
            format!("{} ({xp} xp, {minutes} min)", title.trim()),
        ),
        Command::EditTask {
            task,
            title,
            minutes,
        } => ("task_edited", edit(*task, title.as_deref(), minutes)),
        Command::RemoveTask { task } => ("task_removed", task.to_string()),
        Command::ClaimTask { task } => ("task_claimed", task.to_string()),
        Command::ReleaseTask { task } => ("task_released", task.to_string()),
        Command::CompleteTask { task } => ("task_completed", task.to_string()),
        Command::FailTask { task } => ("task_failed", task.to_string()),
        Command::Contribute {
            player,
            xp,
            kind,
            note,
        } => ("contributed", credit(*player, xp, kind, note)),
        Command::Say { text } => ("said", text.trim().to_owned()),
    };
    let by = (!matches!(command, Command::Contribute { .. })).then_some(player);
    Effect { by, kind, what }
}

/// Returns an event's effect; `None` for events that no WebSocket command asks for: creation,
/// joining, deadlines, consequences of other events.
fn effect_of_event(event: &Event) -> Option<Effect> {
    use raidhall_protocol::event::FailReason;
    let (kind, what) = match &event.data {
        EventData::RaidStarted { .. } => ("raid_started", String::new()),
        EventData::MemberLeft {
            player,
            reason: LeaveReason::Left,
            ..
        } => ("member_left", player.to_string()),
        EventData::MemberLeft {
            player,
            reason: LeaveReason::Kicked,
            ..
        } => ("member_kicked", player.to_string()),
        EventData::LeaderChanged {
            player,
            reason: LeaderReason::Promoted,
            ..
        } => ("member_promoted", player.to_string()),
        EventData::RaidFailed {
            reason: FailReason::Cancelled,
        } => ("raid_cancelled", String::new()),
        EventData::TaskAdded {
            title, xp, minutes, ..
        } => ("task_added", format!("{title} ({xp} xp, {minutes} min)")),
        EventData::TaskEdited {
            task,
            title,
            minutes,
            ..
        } => ("task_edited", edit(*task, title.as_deref(), minutes)),
        EventData::TaskRemoved { task } => ("task_removed", task.to_string()),
        // A member who was muted and joins again is still muted.
        EventData::MemberMuted { player, .. } if event.by == Some(*player) => return None,
        EventData::MemberMuted { player, .. } => ("member_muted", player.to_string()),
        EventData::InviteRotated { .. } => ("invite_rotated", String::new()),
        EventData::TaskClaimed { task, .. } => ("task_claimed", task.to_string()),
        EventData::TaskReleased { task, .. } => ("task_released", task.to_string()),
        EventData::TaskCompleted { task, .. } => ("task_completed", task.to_string()),
        EventData::TaskFailed { task, .. } => ("task_failed", task.to_string()),
        EventData::Contributed {
            player,
            xp,
            kind,
            note,
            ..
        } => ("contributed", credit(*player, xp, kind, note)),
        EventData::Said { text } => ("said", text.clone()),
        EventData::RaidCreated { .. }
        | EventData::MemberJoined {
            role: Role::Leader | Role::Member,
            ..
        }
        | EventData::LeaderChanged { .. }
        | EventData::RaidCompleted { .. }
        | EventData::RaidFailed { .. }
        | EventData::PlayerErased { .. } => return None,
    };
    Some(Effect {
        by: event.by,
        kind,
        what,
    })
}

fn edit(task: TaskId, title: Option<&str>, minutes: &Option<impl fmt::Display>) -> String {
    let minutes = minutes.as_ref().map(ToString::to_string);
    format!(
        "{task}: {} ({} min)",
        title.unwrap_or_default().trim(),
        minutes.unwrap_or_default()
    )
}

fn credit(player: PlayerId, xp: &impl fmt::Display, kind: &str, note: &Option<String>) -> String {
    format!(
        "{xp} xp to player {player} for {kind} {}",
        note.as_deref().unwrap_or_default()
    )
}
