//! Compares players' streams with the ledgers of the raids: each event that means something for a
//! player is in their stream once, and the state is the sum of what is there.

use std::collections::{BTreeMap, BTreeSet};

use raidhall_protocol::event::LeaderReason;
use raidhall_protocol::player::{PlayerEvent, PlayerEventData, PlayerState};
use raidhall_protocol::{Event, EventData, PlayerId, RaidId, Seq};

use super::cluster::SimulatedCluster;

/// A direct effect of a raid's event: its seq, the type of the player's event, and the XP earned.
type RaidEffect = (Seq, &'static str, u64);

/// Returns what is wrong with the streams of the players in these raids. An erased player has none.
pub(super) async fn check_progress(
    cluster: &SimulatedCluster,
    ledgers: &BTreeMap<RaidId, Vec<Event>>,
    erased: &BTreeSet<PlayerId>,
) -> Vec<String> {
    let mut expected: BTreeMap<PlayerId, BTreeMap<RaidId, Vec<RaidEffect>>> = BTreeMap::new();
    for (raid, events) in ledgers {
        for (player, effect) in expected_effects(events) {
            let raids = expected.entry(player).or_default();
            raids.entry(*raid).or_default().push(effect);
        }
    }
    let mut violations = Vec::new();
    for (player, raids) in expected {
        let stream = cluster.stream(player).await;
        if erased.contains(&player) {
            if !stream.is_empty() {
                violations.push(format!("player {player} was erased and has a stream"));
            }
            continue;
        }
        for (raid, effects) in raids {
            let found = effects_of(&stream, raid);
            if found != effects {
                violations.push(format!(
                    "the stream of player {player} has {found:?} of raid {raid} instead of {effects:?}"
                ));
            }
        }
        let state = cluster.player_state(player).await;
        violations.extend(check_sums(&state, &stream));
        violations.extend(check_firsts(player, &stream));
    }
    violations
}

/// Returns which numbers of a state are not the sums of the stream's events.
fn check_sums(state: &PlayerState, stream: &[PlayerEvent]) -> Vec<String> {
    let player = state.id;
    let sums = [
        (
            "XP",
            i128::from(state.earned_xp),
            stream.iter().map(earned_xp).map(i128::from).sum(),
        ),
        (
            "coins",
            i128::from(state.coins),
            stream.iter().map(coins).sum(),
        ),
    ];
    let wrong = sums.into_iter().filter(|(_, shown, sum)| shown != sum);
    wrong
        .map(|(what, shown, sum)| {
            format!(
                "player {player} has {shown} {what}, and the events of the stream add up to {sum}"
            )
        })
        .collect()
}

/// Returns what a player reached twice: levels, and tiers of achievements.
fn check_firsts(player: PlayerId, stream: &[PlayerEvent]) -> Vec<String> {
    let mut reached = BTreeSet::new();
    let reached_events = stream.iter().filter_map(|event| match &event.data {
        PlayerEventData::LevelReached { level, .. } => Some(format!("level {level}")),
        PlayerEventData::AchievementUnlocked { id, tier } => Some(format!("{id} {tier}")),
        _ => None,
    });
    let repeated: Vec<_> = reached_events
        .filter(|what| !reached.insert(what.clone()))
        .collect();
    let said = repeated
        .iter()
        .map(|what| format!("player {player} reached {what} twice"));
    said.collect()
}

fn coins(event: &PlayerEvent) -> i128 {
    match event.data {
        PlayerEventData::XpEarned { coins_earned, .. }
        | PlayerEventData::LevelReached { coins_earned, .. } => coins_earned.into(),
        PlayerEventData::CoinsMoved { amount, .. } => amount.into(),
        _ => 0,
    }
}

fn earned_xp(event: &PlayerEvent) -> u64 {
    match event.data {
        PlayerEventData::XpEarned { amount, .. } => amount,
        _ => 0,
    }
}

fn effects_of(stream: &[PlayerEvent], raid: RaidId) -> Vec<RaidEffect> {
    let caused = stream
        .iter()
        .filter_map(|event| Some((event.cause?, event)));
    let of_raid = caused.filter(|(cause, _)| cause.raid == raid);
    let is_direct = |event: &PlayerEvent| {
        matches!(
            event.data,
            PlayerEventData::XpEarned { .. }
                | PlayerEventData::RaidJoined { .. }
                | PlayerEventData::RaidLeft { .. }
                | PlayerEventData::RaidEnded { .. }
        )
    };
    of_raid
        .filter(|(_, event)| is_direct(event))
        .map(|(cause, event)| (cause.seq, event.data.kind(), earned_xp(event)))
        .collect()
}

/// Derives the effects from what the events say, and not by the rules.
fn expected_effects(events: &[Event]) -> Vec<(PlayerId, RaidEffect)> {
    let mut members = BTreeSet::new();
    let mut effects = Vec::new();
    for event in events {
        let mut expect = |player: PlayerId, kind, xp| {
            effects.push((player, (event.seq, kind, xp)));
        };
        match &event.data {
            EventData::MemberJoined { player, .. } => {
                members.insert(*player);
                expect(*player, "raid_joined", 0);
            }
            EventData::MemberLeft { player, .. } => {
                members.remove(player);
                expect(*player, "raid_left", 0);
            }
            EventData::LeaderChanged {
                player,
                previous,
                reason,
                ..
            } => {
                if *reason != LeaderReason::Left {
                    expect(*previous, "raid_joined", 0);
                }
                expect(*player, "raid_joined", 0);
            }
            EventData::TaskCompleted { player, xp, .. }
            | EventData::Contributed { player, xp, .. } => expect(*player, "xp_earned", *xp),
            EventData::RaidCompleted { .. } | EventData::RaidFailed { .. } => {
                for player in &members {
                    expect(*player, "raid_ended", 0);
                }
            }
            _ => {}
        }
    }
    effects
}
