//! Each kind of damage: it is found, repaired and found no more.

use super::*;

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
             earned_xp is 115 and should be 85, xp is 115 and should be 85",
            "xp is 115 and should be 85",
            "earned_xp is 115 and should be 85",
        ]
    );
    stream.repair(&[]);
    let corrected = |event: &PlayerEvent| match &event.data {
        PlayerEventData::Corrected {
            field,
            from,
            to,
            by: None,
            ..
        } => Some((*field, *from, *to)),
        _ => None,
    };
    let corrections: Vec<_> = stream.events.iter().filter_map(corrected).collect();
    let expected = [
        (CorrectedField::Xp, 115, 85),
        (CorrectedField::EarnedXp, 115, 85),
    ];
    assert_eq!(corrections, expected);
    assert_eq!(stream.shown().state.xp, 85);
    stream.play(CauseKind::Contributed { xp: 5 });
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
            by: None,
            note: format!("rebuild: {wrong}"),
        }
    );
}

#[test]
fn a_repeated_effect_is_corrected() {
    let mut stream = PlayedStream::played();
    let cause = stream.causes[2];
    stream.append_effects(&cause);
    assert_eq!(
        stream.found(),
        [
            "event 7 (raid 7, event 3): repeats event 4 and should not be there",
            "xp is 110 and should be 85",
            "earned_xp is 110 and should be 85",
            "tasks is 4 and should be 3",
        ]
    );
    stream.repair(&[]);
    assert_eq!(stream.shown().state.tasks, 3);
}

/// The effect that follows at once is no second effect of the same cause.
#[test]
fn an_effect_repeated_at_once_is_found() {
    let mut stream = PlayedStream::of([CauseKind::HasRole(Role::Member)]);
    let cause = stream.causes[0];
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
    stream.repair(&["raids are [] and should be [7 (member)]"]);
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
