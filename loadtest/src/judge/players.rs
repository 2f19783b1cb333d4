//! The judge of players' streams: reads the logs of each player's devices and the stream by REST,
//! holds them against each other and against the ledgers of the player's raids.

mod allowance;
mod balances;
mod causes;
mod commands;
mod counters;
mod device;
mod effects;
mod follow_ups;
mod lag;
mod progress;
mod rules;
mod streaks;
mod violation;

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};

pub use causes::{ExpectedEffect, Gain, expected_effects};
use counters::TierGoals;
use device::{DeviceSummary, stream_event};
pub use lag::{EffectArrivals, RaidEventArrivals};
use raidhall_protocol::player::{PlayerCommand, PlayerEvent, PlayerState};
use raidhall_protocol::rest::{PlayerStateAt, Profile};
use raidhall_protocol::server::PlayerRef;
use raidhall_protocol::{PlayerId, Seq, UnixMillis};
pub use violation::{StreamViolation, StreamViolationKind};

use super::difference::first_difference;
use crate::client_log::StreamLog;
use crate::fold::StreamFold;

/// A player's stream, read by REST after the run settled.
#[derive(Debug, Clone)]
pub struct StreamRecord {
    /// The player as the sign-in named them.
    pub player: PlayerRef,
    /// The whole stream (`GET /me/events`).
    pub events: Vec<PlayerEvent>,
    /// The state as each instance shows it (`GET /me/state`).
    pub states: Vec<PlayerStateAt>,
    /// The player's totals (`GET /me`), if they were read.
    pub profile: Option<Profile>,
}

/// A command of the host app's backend to a player's stream.
#[derive(Debug, Clone)]
pub struct Grant {
    pub command: PlayerCommand,
    /// The seq of its ack; `None` if it was refused.
    pub ack: Option<Seq>,
}

/// One player with the logs of their devices.
#[derive(Debug, Clone)]
pub struct StreamCase {
    pub record: StreamRecord,
    pub devices: Vec<StreamLog>,
    pub grants: Vec<Grant>,
}

/// The judge's result for all players.
#[derive(Debug, Default)]
pub struct StreamVerdict {
    /// Every violation that was found.
    pub violations: Vec<StreamViolation>,
    /// Events in the players' streams.
    pub stream_events: u64,
    /// Those of them that events of raids caused.
    pub effects: u64,
    /// Events received by all devices together.
    pub received_events: u64,
    /// Commands of devices that were acknowledged.
    pub acks: u64,
    /// Grants of the host app's backend that were acknowledged.
    pub grants: u64,
    /// Watches of streams with `since`.
    pub resumes: u64,
    /// A hash over the final states of all players, as their first, second, … devices hold them.
    pub state_hashes: Vec<u64>,
    /// When effects arrived at devices.
    pub arrivals: EffectArrivals,
}

/// Judges players' streams. `expected` has the effects of the ledgers of all their raids.
pub fn judge_players(cases: &[StreamCase], expected: &[ExpectedEffect]) -> StreamVerdict {
    let mut by_player: BTreeMap<PlayerId, Vec<&ExpectedEffect>> = BTreeMap::new();
    for effect in expected {
        by_player.entry(effect.player).or_default().push(effect);
    }
    let mut verdict = StreamVerdict::default();
    let mut hashers: Vec<DefaultHasher> = Vec::new();
    let mut goals = TierGoals::default();
    for case in cases {
        let player = case.record.player.id;
        let expected = by_player.remove(&player).unwrap_or_default();
        let devices: Vec<_> = case.devices.iter().map(device::read_stream_log).collect();
        let states = states_of_stream(&case.record, &devices);
        let mut found = check_stream(&case.record, &states);
        found.extend(judge_stream(case, &devices, &expected, &mut goals));
        let found = found.into_iter();
        (verdict.violations).extend(found.map(|kind| StreamViolation::of_server(player, kind)));
        judge_devices(case, &devices, &states, &mut verdict, &mut hashers);
    }
    verdict.state_hashes = hashers.iter().map(Hasher::finish).collect();
    verdict
}

/// Holds a stream against its raids' ledgers, the rules, and the commands that were sent to it.
fn judge_stream(
    case: &StreamCase,
    devices: &[DeviceSummary],
    expected: &[&ExpectedEffect],
    goals: &mut TierGoals,
) -> Vec<StreamViolationKind> {
    let record = &case.record;
    let events = &record.events;
    let mut found = effects::check_effects(&record.player, events, expected.iter().copied(), goals);
    found.extend(commands::check_commands(devices, &case.grants, events));
    if let Some(shown) = record.states.first() {
        found.extend(balances::check_balances(
            events,
            &shown.state,
            record.profile.as_ref(),
        ));
    }
    found
}

/// Compares the devices with the stream, and adds what they show to the verdict.
fn judge_devices(
    case: &StreamCase,
    devices: &[DeviceSummary],
    states: &BTreeMap<Seq, PlayerState>,
    verdict: &mut StreamVerdict,
    hashers: &mut Vec<DefaultHasher>,
) {
    let record = &case.record;
    let player = record.player.id;
    hashers.resize_with(hashers.len().max(devices.len()), DefaultHasher::new);
    for ((log, device), hasher) in case.devices.iter().zip(devices).zip(hashers) {
        let found = device.violations.iter().cloned();
        let found = found.chain(compare_with_stream(device, record, states));
        verdict.violations.extend(found.map(|kind| StreamViolation {
            player,
            client: log.client.clone(),
            kind,
        }));
        hash_state(device.fold.state(), hasher);
        verdict.received_events += device.events.len() as u64;
        verdict.resumes += device.resumes;
        let acked = device.commands.values();
        verdict.acks += acked.filter(|command| command.ack.is_some()).count() as u64;
        verdict.arrivals.add(&log.client, player, device);
    }
    verdict.stream_events += record.events.len() as u64;
    let grants = case.grants.iter().filter(|grant| grant.ack.is_some());
    verdict.grants += grants.count() as u64;
    let effects = record.events.iter().filter(|event| event.cause.is_some());
    verdict.effects += effects.count() as u64;
}

/// Returns the states that a player's stream folds to, at the seqs where one was told.
fn states_of_stream(
    record: &StreamRecord,
    devices: &[DeviceSummary],
) -> BTreeMap<Seq, PlayerState> {
    let snapshots = devices.iter().flat_map(|device| &device.snapshots);
    let mut told: Vec<_> = snapshots.map(|(seq, _)| *seq).collect();
    told.extend(record.states.iter().map(|shown| shown.seq));
    told.extend(devices.iter().map(|device| device.fold.seq()));
    let mut states = BTreeMap::new();
    let mut fold = StreamFold::of_new_player(&record.player);
    let mut events = record.events.iter();
    loop {
        if told.contains(&fold.seq()) {
            states.extend(fold.state().cloned().map(|state| (fold.seq(), state)));
        }
        // After a gap, which is reported, there are no states.
        if events.next().is_none_or(|event| fold.apply(event).is_err()) {
            return states;
        }
    }
}

/// Checks the stream by REST by itself: its order, and the states that belong to it.
fn check_stream(
    record: &StreamRecord,
    states: &BTreeMap<Seq, PlayerState>,
) -> Vec<StreamViolationKind> {
    let mut found = Vec::new();
    let mut held = Seq::ZERO;
    let mut clock = UnixMillis(i64::MIN);
    for event in &record.events {
        let got = event.seq;
        if got <= held {
            found.push(StreamViolationKind::Duplicate { seq: got });
            continue;
        }
        if got != held.next() {
            found.push(StreamViolationKind::Gap { held, got });
        }
        if event.at < clock {
            found.push(StreamViolationKind::ClockWentBack { seq: got });
        }
        held = got;
        clock = event.at;
    }
    for PlayerStateAt { seq: at, state } in &record.states {
        match states.get(at) {
            Some(folded) => found.extend(compare_states(*at, state, folded)),
            None => {
                let (at, end) = (*at, held);
                found.push(StreamViolationKind::StateBeyondStream { at, end });
            }
        }
    }
    found
}

/// Compares every event and state that a device received with the player's stream.
fn compare_with_stream(
    device: &DeviceSummary,
    record: &StreamRecord,
    states: &BTreeMap<Seq, PlayerState>,
) -> Vec<StreamViolationKind> {
    let recorded: BTreeMap<_, _> = (record.events.iter())
        .map(|event| (event.seq, event))
        .collect();
    let mut found = Vec::new();
    for (seq, (_, message)) in &device.events {
        let recorded = recorded.get(seq).copied();
        let told = stream_event(message);
        if told != recorded {
            found.push(StreamViolationKind::DifferentEvent {
                seq: *seq,
                told: format!("{told:?}"),
                recorded: format!("{recorded:?}"),
            });
        }
    }
    let held = (device.fold.state()).map(|state| (device.fold.seq(), state));
    let snapshots = device.snapshots.iter().map(|(seq, state)| (*seq, state));
    for (seq, state) in snapshots.chain(held) {
        let folded = states.get(&seq);
        found.extend(folded.and_then(|folded| compare_states(seq, state, folded)));
    }
    found
}

fn compare_states(
    seq: Seq,
    told: &PlayerState,
    folded: &PlayerState,
) -> Option<StreamViolationKind> {
    let is_different = told != folded;
    is_different.then(|| StreamViolationKind::StateMismatch {
        seq,
        difference: first_difference(told, folded),
    })
}

fn hash_state(state: Option<&PlayerState>, hasher: &mut DefaultHasher) {
    let text = serde_json::to_string(&state).unwrap_or_default();
    text.hash(hasher);
}
