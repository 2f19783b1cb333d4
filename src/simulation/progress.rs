//! Compares players' streams with the ledgers of the raids: each event that means something for a
//! player is in their stream once, and the state is the sum of what is there.

use std::collections::{BTreeMap, BTreeSet};

use raidhall_protocol::event::LeaderReason;
use raidhall_protocol::player::{PlayerEvent, PlayerEventData};
use raidhall_protocol::{Event, EventData, PlayerId, RaidId, Seq};

use super::cluster::SimulatedCluster;

/// An effect of a raid's event: its seq, the type of the player's event, and the XP earned.
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
        let earned: u64 = stream.iter().map(earned_xp).sum();
        if state.earned_xp != earned {
            let shown = state.earned_xp;
            violations.push(format!(
                "player {player} has {shown} XP, and the events of the stream add up to {earned}"
            ));
        }
    }
    violations
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
    of_raid
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
