//! Random streams with random damage: it is found, and after the repair nothing is, however the
//! player plays on.

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::*;

fn random_kind(rng: &mut StdRng) -> CauseKind {
    let xp = rng.random_range(1..200);
    match rng.random_range(0..4) {
        0 => contributed(xp),
        1 => CauseKind::Ended {
            outcome: RaidOutcome::Completed,
            rank: Some(rng.random_range(1..3)),
            xp,
        },
        _ => CauseKind::TaskCompleted {
            xp,
            is_ranked: rng.random_bool(0.3),
        },
    }
}

/// Loses the last effects, repeats one, or changes what one says.
fn damage(stream: &mut PlayedStream, rng: &mut StdRng) {
    let index = rng.random_range(0..stream.events.len());
    match rng.random_range(0..4) {
        0 => {
            stream.events.truncate(index.max(1));
            stream.last_seq = Seq(stream.events.len() as u64);
            stream.saved = stream
                .saved
                .take()
                .filter(|(seq, _)| *seq <= stream.last_seq);
        }
        1 => {
            let cause = rng.random_range(0..stream.causes.len());
            stream.append_effects(&stream.causes[cause].clone());
        }
        2 => stream.save(|fold| fold.state.earned_xp += 1),
        _ => match &mut stream.events[index].data {
            PlayerEventData::XpEarned { xp: number, .. }
            | PlayerEventData::RaidEnded { xp: number, .. }
            | PlayerEventData::LevelReached { coins: number, .. }
            | PlayerEventData::CoinsMoved { coins: number, .. } => *number += 7,
            PlayerEventData::AchievementUnlocked { tier, .. } => *tier += 7,
            other => panic!("{other:?}"),
        },
    }
}

#[test]
fn damage_is_found_once_and_later_play_is_healthy() {
    for seed in 0..100 {
        let rng = &mut StdRng::seed_from_u64(seed);
        let mut stream = PlayedStream::with_definitions(Definitions::built_in(), []);
        for _ in 0..rng.random_range(2..40) {
            stream.play(random_kind(rng));
        }
        assert_eq!(stream.found(), [""; 0], "seed {seed}");
        for _ in 0..rng.random_range(1..4) {
            damage(&mut stream, rng);
            if rng.random_bool(0.5) {
                stream.play(random_kind(rng));
            }
        }
        assert_ne!(stream.found(), [""; 0], "seed {seed}");
        stream.repair(&[]);
        let earned = stream.causes.iter().map(|cause| match &cause.kind {
            CauseKind::TaskCompleted { xp, .. } | CauseKind::Contributed { xp, .. } => *xp,
            _ => 0,
        });
        assert_eq!(
            stream.shown().state.earned_xp,
            earned.sum::<u64>(),
            "seed {seed}"
        );
        for _ in 0..40 {
            stream.play(random_kind(rng));
        }
        assert_eq!(stream.found(), [""; 0], "seed {seed}");
    }
}
