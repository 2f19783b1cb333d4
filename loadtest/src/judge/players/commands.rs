//! Commands exactly once: compares what the devices of a player sent with the player's stream.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use raidhall_protocol::Seq;
use raidhall_protocol::player::event::{
    CoinsReason, CorrectedField, CorrectionSource, ItemSource, XpSource,
};
use raidhall_protocol::player::{PlayerCommand, PlayerEvent, PlayerEventData};

use super::Grant;
use super::device::{DeviceCommand, DeviceSummary};
use super::follow_ups::chains;
use super::progress::skill_of;
use super::violation::StreamViolationKind;

/// Settings whose values a device cannot make unique. Setting the present value again has no event.
const DAY_SETTINGS: [&str; 2] = ["zone", "day_start_hour"];

/// Reports every acknowledged command whose event is not in the stream, and every event that has no
/// command or more events than commands.
pub(super) fn check_commands(
    devices: &[DeviceSummary],
    grants: &[Grant],
    events: &[PlayerEvent],
) -> Vec<StreamViolationKind> {
    let mut violations = check_versions(events);
    let mut allowed: BTreeMap<String, usize> = BTreeMap::new();
    let mut ops = BTreeSet::new();
    let of_devices = devices.iter().flat_map(|device| device.commands.values());
    let of_backend: Vec<_> = grants.iter().map(command_of_grant).collect();
    let by_last_seq: BTreeMap<_, _> = chains(events)
        .filter_map(|chain| Some((chain.last()?.seq, chain)))
        .collect();
    for command in of_devices.chain(&of_backend) {
        let effect = effect_of_command(&command.command);
        // A copy from a lost connection may arrive after the one that was refused.
        let can_have_effect = !command.is_refused || command.attempts > 1;
        let is_first = command.op.as_ref().is_none_or(|op| ops.insert(op));
        let allowed = allowed.entry(effect.clone()).or_default();
        *allowed += usize::from(can_have_effect && is_first);
        violations.extend(check_ack(command, effect, events, &by_last_seq));
    }
    let mut found: BTreeMap<String, usize> = BTreeMap::new();
    for effect in events.iter().filter_map(effect_of_event) {
        *found.entry(effect).or_default() += 1;
    }
    for (effect, found) in found {
        let allowed = allowed.get(&effect).copied().unwrap_or(0);
        if found > allowed {
            violations.push(StreamViolationKind::DoubleCommand {
                effect,
                found,
                allowed,
            });
        }
    }
    violations
}

/// Returns a grant as a command whose earlier copies, if there were any, may still have arrived.
fn command_of_grant(grant: &Grant) -> DeviceCommand {
    DeviceCommand {
        op: None,
        command: grant.command.clone(),
        attempts: 2,
        ack: grant.ack,
        is_refused: grant.ack.is_none(),
    }
}

/// Checks that the chain that ends at the acknowledged seq has the effect of the command, and that a
/// setting had the version that the command names.
fn check_ack(
    command: &DeviceCommand,
    effect: String,
    events: &[PlayerEvent],
    by_last_seq: &BTreeMap<Seq, &[PlayerEvent]>,
) -> Option<StreamViolationKind> {
    let seq = command.ack?;
    let chain = by_last_seq.get(&seq).copied().unwrap_or_default();
    if chain.iter().find_map(effect_of_event).as_ref() == Some(&effect) {
        return check_if_version(&command.command, chain.first()?);
    }
    if may_lack_event(&command.command) {
        return None;
    }
    let event = events.iter().find(|event| event.seq == seq);
    let found = event
        .map_or("no event", |event| event.data.kind())
        .to_owned();
    Some(StreamViolationKind::AckWithoutEvent { seq, effect, found })
}

/// Returns whether a command may find its effect in place, and so has no event.
fn may_lack_event(command: &PlayerCommand) -> bool {
    match command {
        PlayerCommand::SetSetting { key, .. } => DAY_SETTINGS.contains(&key.as_str()),
        PlayerCommand::Equip { .. } | PlayerCommand::GrantItem { .. } => true,
        _ => false,
    }
}

fn check_if_version(command: &PlayerCommand, event: &PlayerEvent) -> Option<StreamViolationKind> {
    let PlayerCommand::SetSetting {
        if_version: Some(held),
        ..
    } = command
    else {
        return None;
    };
    let PlayerEventData::SettingSet { version, .. } = &event.data else {
        return None;
    };
    let expected = held + 1;
    (*version != expected).then_some(StreamViolationKind::VersionWrong {
        seq: event.seq,
        told: *version,
        expected,
    })
}

/// Checks that each setting's version counts how often it was set.
fn check_versions(events: &[PlayerEvent]) -> Vec<StreamViolationKind> {
    let mut versions: BTreeMap<&str, u64> = BTreeMap::new();
    let mut violations = Vec::new();
    for event in events {
        if let PlayerEventData::SettingSet { key, version, .. } = &event.data {
            let expected = versions.get(key.as_str()).copied().unwrap_or(0) + 1;
            if *version != expected {
                violations.push(StreamViolationKind::VersionWrong {
                    seq: event.seq,
                    told: *version,
                    expected,
                });
            }
            versions.insert(key, *version);
        }
    }
    violations
}

fn effect_of_command(command: &PlayerCommand) -> String {
    match command {
        PlayerCommand::SetSetting { key, value, .. } => format!("setting {key} to {value}"),
        PlayerCommand::SetName { name } => format!("name {name}"),
        PlayerCommand::ReadThrough { seq } => format!("read through {seq}"),
        PlayerCommand::Buy { item } => format!("purchase of {item}"),
        PlayerCommand::Equip { item } => format!("wearing {item}"),
        PlayerCommand::RepairStreak => "repair of the streak".to_owned(),
        PlayerCommand::GrantXp { amount, kind, note } => xp_effect(*amount, skill_of(kind), note),
        PlayerCommand::GrantCoins { amount, note } => format!("{amount} coins: {note}"),
        PlayerCommand::GrantItem { item } => format!("grant of {item}"),
        PlayerCommand::Correct {
            field,
            amount,
            note,
        } => correction_effect(field.field(), *amount, note),
        PlayerCommand::Notify { title, .. } => format!("notification {title}"),
    }
}

/// Returns an event's effect; `None` for events that no command asks for, such as a reminder, and for
/// the price of a purchase, whose effect is the item.
fn effect_of_event(event: &PlayerEvent) -> Option<String> {
    match &event.data {
        PlayerEventData::SettingSet { key, value, .. } => Some(format!("setting {key} to {value}")),
        PlayerEventData::NameChanged { name } => Some(format!("name {name}")),
        PlayerEventData::ReadThrough { seq } => Some(format!("read through {seq}")),
        PlayerEventData::Notified { data, .. } => {
            let title = data["title"].as_str()?;
            Some(format!("notification {title}"))
        }
        PlayerEventData::XpEarned {
            source: XpSource::Grant,
            amount,
            skill,
            note,
            ..
        } => {
            let note = note.as_deref().unwrap_or_default();
            Some(xp_effect(*amount, skill.as_deref(), note))
        }
        PlayerEventData::CoinsMoved {
            reason: CoinsReason::Granted,
            amount,
            note,
            ..
        } => {
            let note = note.as_deref().unwrap_or_default();
            Some(format!("{amount} coins: {note}"))
        }
        PlayerEventData::ItemGranted { item, by, .. } => Some(match by {
            ItemSource::Purchase => format!("purchase of {item}"),
            ItemSource::Grant => format!("grant of {item}"),
        }),
        PlayerEventData::ItemEquipped { item, .. } => Some(format!("wearing {item}")),
        PlayerEventData::Corrected {
            field,
            from,
            to,
            by: CorrectionSource::Operator,
            note,
        } => Some(correction_effect(
            *field,
            to.cast_signed() - from.cast_signed(),
            note,
        )),
        PlayerEventData::StreakRepaired { .. } if event.cause.is_none() => {
            Some("repair of the streak".to_owned())
        }
        PlayerEventData::XpEarned { .. }
        | PlayerEventData::DayKept { .. }
        | PlayerEventData::StreakFrozen { .. }
        | PlayerEventData::StreakLost { .. }
        | PlayerEventData::StreakRepaired { .. }
        | PlayerEventData::LevelReached { .. }
        | PlayerEventData::CoinsMoved { .. }
        | PlayerEventData::AchievementUnlocked { .. }
        | PlayerEventData::RaidJoined { .. }
        | PlayerEventData::RaidLeft { .. }
        | PlayerEventData::RaidEnded { .. }
        | PlayerEventData::Corrected { .. } => None,
    }
}

fn correction_effect(field: CorrectedField, amount: i64, note: &str) -> String {
    format!("{amount} {} by a correction: {note}", field.as_str())
}

fn xp_effect(amount: impl fmt::Display, skill: Option<&str>, note: &str) -> String {
    let skill = skill.unwrap_or("no skill");
    format!("{amount} XP for {skill}: {note}")
}
