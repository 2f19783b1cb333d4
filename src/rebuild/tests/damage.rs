//! Each kind of damage: it is found, repaired and found no more.

use raidhall_protocol::player::PlayerCommand;

use super::*;
use crate::player::decide;

#[test]
fn a_lost_effect_is_projected_again() {
    let mut stream = PlayedStream::played();
    stream.events.pop();
    stream.last_seq = Seq(5);
    assert_eq!(
        stream.found(),
        ["raid 7, event 5: has no effect and should have raid_ended"]
    );
    stream.repair(&[]);
    assert_eq!(stream.events.len(), 6);
    assert_eq!(stream.events[5].cause, Some(place(5)));
    assert_eq!(stream.shown().state.raids_won, 1);
}

#[test]
fn effects_that_never_came_are_projected_onto_an_empty_stream() {
    let mut stream = PlayedStream::played();
    stream.events.clear();
    stream.last_seq = Seq::ZERO;
    stream.saved = None;
    assert_eq!(stream.found().len(), 5);
    stream.repair(&[]);
    let state = stream.shown().state;
    assert_eq!((state.xp, state.tasks, state.raids_won), (85, 3, 1));
}

#[test]
fn an_event_with_too_much_xp_is_corrected() {
    let mut stream = PlayedStream::played();
    stream.change(5, add_xp(30));
    assert_eq!(
        stream.found(),
        [
            "event 5 (raid 7, event 4): amount is 50 and should be 20, counted is 50 and should be 20, \
             earned_xp is 115 and should be 85, level_xp is 115 and should be 85, \
             xp is 115 and should be 85",
            "xp is 115 and should be 85",
            "earned_xp is 115 and should be 85",
            "level_xp is 115 and should be 85",
        ]
    );
    stream.repair(&[]);
    let corrected = |event: &PlayerEvent| match &event.data {
        PlayerEventData::Corrected {
            field,
            from,
            to,
            by: CorrectionSource::Rebuild,
            ..
        } => Some((*field, *from, *to)),
        _ => None,
    };
    let corrections: Vec<_> = stream.events.iter().filter_map(corrected).collect();
    let expected = [
        (CorrectedField::Xp, 115, 85),
        (CorrectedField::EarnedXp, 115, 85),
        (CorrectedField::LevelXp, 115, 85),
    ];
    assert_eq!(corrections, expected);
    assert_eq!(stream.shown().state.xp, 85);
    stream.play(contributed(5));
    assert_eq!(stream.found(), [""; 0]);
}

#[test]
fn a_wrong_amount_with_right_numbers_is_settled_by_a_correction() {
    let mut stream = PlayedStream::played();
    stream.change(4, |data| match data {
        PlayerEventData::XpEarned { amount, .. } => *amount = 99,
        other => panic!("{other:?}"),
    });
    let wrong = "event 4 (raid 7, event 3): amount is 99 and should be 25";
    assert_eq!(stream.found(), [wrong]);
    stream.repair(&[]);
    assert_eq!(
        stream.events[6].data,
        PlayerEventData::Corrected {
            field: CorrectedField::Xp,
            from: 85,
            to: 85,
            by: CorrectionSource::Rebuild,
            note: format!("rebuild: {wrong}"),
        }
    );
}

#[test]
fn a_repeated_effect_is_corrected() {
    let mut stream = PlayedStream::played();
    let cause = stream.causes[2].clone();
    stream.append_effects(&cause);
    assert_eq!(
        stream.found(),
        [
            "event 7 (raid 7, event 3): repeats event 4 and should not be there",
            "xp is 110 and should be 85",
            "earned_xp is 110 and should be 85",
            "tasks is 4 and should be 3",
            "level_xp is 110 and should be 85",
        ]
    );
    stream.repair(&[]);
    assert_eq!(stream.shown().state.tasks, 3);
}

/// The effect that follows at once is no second effect of the same cause.
#[test]
fn an_effect_repeated_at_once_is_found() {
    let mut stream = PlayedStream::of([CauseKind::HasRole(Role::Member)]);
    let cause = stream.causes[0].clone();
    stream.append_effects(&cause);
    assert_eq!(
        stream.found(),
        ["event 2 (raid 7, event 1): repeats event 1 and should not be there"]
    );
    stream.repair(&[]);
}

#[test]
fn effects_without_a_cause_are_corrected() {
    let mut stream = PlayedStream::played();
    let stranger = stream.causes.pop().expect("a cause");
    assert_eq!(stranger.place, place(5));
    let won = stream.events[5].data.clone();
    stream.append(won);
    let found = stream.found();
    assert_eq!(
        found[..2],
        [
            "event 6 (raid 7, event 5): is raid_ended and should not be there",
            "event 7: is raid_ended and should not be there",
        ]
    );
    assert!(
        found.contains(&"raids_won is 1 and should be 0".to_owned()),
        "{found:?}"
    );
    // The raid is not among the player's raids, and no append would bring it back.
    stream.repair(&[r#"raids: [] should be [{"raid":7,"role":"member"}]"#]);
}

#[test]
fn a_missing_seq_is_found_again_after_its_effect_is_repaired() {
    let mut stream = PlayedStream::played();
    stream.events.remove(3);
    let found = stream.found();
    let lost = "raid 7, event 3: has no effect and should have xp_earned".to_owned();
    assert!(
        found[0] == "event 4 is missing" && found.contains(&lost),
        "{found:?}"
    );
    stream.repair(&["event 4 is missing"]);
    assert_eq!(stream.shown().state.xp, 85);
    assert!(stream.check().repair(NOW).is_none());
}

#[test]
fn missing_seqs_at_the_end_are_found() {
    let mut stream = PlayedStream::played();
    stream.last_seq = Seq(8);
    assert_eq!(stream.found(), ["events 7 to 8 are missing"]);
}

#[test]
fn a_state_that_is_not_the_fold_is_saved_again() {
    let mut stream = PlayedStream::played();
    stream.save(|fold| fold.state.xp = 1_000);
    let found = ["the state saved at event 6 is not the fold of the events up to it"];
    assert_eq!(stream.found()[..1], found);
    assert_eq!(stream.found()[1], "xp is 1000 and should be 85");
    stream.repair(&[]);
    assert_eq!(stream.shown().state.xp, 85);

    stream.save(|fold| fold.state.raids.clear());
    stream.save(|fold| fold.state.settings.clear());
    assert_eq!(stream.found().len(), 1);
    stream.repair(&[]);
    assert!(stream.shown().state.settings.contains_key("zone"));
}

#[test]
fn a_state_that_cannot_be_read_is_saved_again() {
    for saved in [(Seq(6), vec![0, 1, 0xc1]), (Seq(60), vec![0, 1, 0xc1])] {
        let mut stream = PlayedStream::played();
        let seq = saved.0;
        stream.saved = Some(saved);
        let found =
            format!("the state saved at event {seq} is not the fold of the events up to it");
        assert_eq!(stream.found(), [found]);
        stream.repair(&[]);
    }
}

#[test]
fn a_name_that_no_event_gave_is_saved_again() {
    let mut stream = PlayedStream::played();
    stream.save(|fold| fold.state.name = "Eve".to_owned());
    assert_eq!(stream.found().len(), 1);
    stream.repair(&[]);
    assert_eq!(stream.shown().state.name, "Ada");
}

/// A task that brings a level and achievements, and a victory.
fn rewarded() -> PlayedStream {
    let is_ranked = true;
    let kinds = [
        CauseKind::HasRole(Role::Leader),
        CauseKind::TaskCompleted { xp: 400, is_ranked },
        contributed(25),
        CauseKind::Ended {
            outcome: RaidOutcome::Completed,
            rank: Some(1),
            xp: 425,
        },
    ];
    PlayedStream::with_definitions(Definitions::built_in(), kinds)
}

#[test]
fn all_effects_of_a_cause_are_compared() {
    let stream = rewarded();
    assert_eq!(stream.found(), [""; 0]);
    let of_task = |event: &&PlayerEvent| event.cause == Some(place(2));
    let count = stream.events.iter().filter(of_task).count();
    assert!(count > 3, "{count} effects");
    for (index, event) in stream.events.iter().enumerate() {
        let mut lacking = stream.clone();
        lacking.events.remove(index);
        let found = lacking.found();
        assert_ne!(found, [""; 0], "without {event:?}");
    }
}

#[test]
fn a_wrong_reward_is_corrected() {
    let mut stream = rewarded();
    let is_coins = |it: &PlayerEvent| matches!(it.data, PlayerEventData::CoinsMoved { .. });
    let index = stream.events.iter().rposition(is_coins).expect("coins");
    let right = stream.shown().state.coins;
    stream.change(index as u64 + 1, |data| match data {
        PlayerEventData::CoinsMoved { amount, coins, .. } => {
            *amount += 1_000;
            *coins += 1_000;
        }
        other => panic!("{other:?}"),
    });
    let wrong = format!("coins is {} and should be {right}", right + 1_000);
    assert!(stream.found().contains(&wrong), "{:?}", stream.found());
    stream.repair(&[]);
    assert_eq!(stream.shown().state.coins, right);
}

/// What a command brings is an input, as its event says it, whatever was wrong before it.
#[test]
fn what_a_command_brings_is_no_difference() {
    let mut stream = rewarded();
    let grant = |stream: &mut PlayedStream| {
        let command = PlayerCommand::GrantXp {
            amount: 500,
            kind: "habit".to_owned(),
            note: "a week of walks".to_owned(),
        };
        let decided = decide(&stream.shown(), &command, &stream.definitions, NOW);
        for data in decided.expect("a grant") {
            stream.append(data);
        }
    };
    grant(&mut stream);
    stream.play(contributed(10));
    assert_eq!(stream.found(), [""; 0]);
    let right = stream.shown().state;
    stream.save(|fold| fold.state.coins += 7);
    grant(&mut stream);
    stream.repair(&[]);
    let state = stream.shown().state;
    assert_eq!(state.xp, right.xp + 500);
    assert!(state.coins > right.coins);
}
