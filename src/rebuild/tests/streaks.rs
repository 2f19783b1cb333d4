//! Streaks: what is wrong with them, and what is an input.

use super::*;

fn kept() -> PlayedStream {
    let causes = [contributed(25), contributed(25)];
    PlayedStream::with_definitions(Definitions::plain_with_streaks(), causes)
}

#[test]
fn a_kept_day_with_a_wrong_number_is_settled() {
    let mut stream = kept();
    assert_eq!(stream.found(), [""; 0]);
    stream.change(2, |data| match data {
        PlayerEventData::DayKept { days, .. } => *days = 5,
        other => panic!("{other:?}"),
    });
    let found = stream.found();
    assert_eq!(
        found[0],
        "event 2 (raid 7, event 1): days is 5 and should be 1"
    );
    assert!(
        found[1].starts_with("the state saved at event 2 "),
        "{found:?}"
    );
    assert!(found[2].starts_with("streak: "), "{found:?}");
    assert_eq!(found.len(), 3);
    stream.repair(&[]);
}

#[test]
fn a_day_that_was_not_kept_is_found() {
    let mut stream = kept();
    let missing = stream.events.remove(1);
    assert_eq!(missing.data.kind(), "day_kept");
    stream.events[1].seq = Seq(2);
    stream.last_seq = Seq(2);
    stream.saved = None;
    let found = stream.found();
    assert_eq!(
        found[0],
        "event 1 (raid 7, event 1): day_kept should come after it"
    );
    assert!(found[1].starts_with("streak: "), "{found:?}");
    stream.repair(&[]);
}

/// A command brings them, so no cause gives them.
#[test]
fn a_loss_and_a_repair_without_a_cause_are_inputs() {
    let mut stream = kept();
    let until = NOW.plus(100 * HOUR_MS);
    stream.append(PlayerEventData::StreakLost {
        days: 1,
        repairable_days: 1,
        repairable_from: Some(NOW),
        repairable_until: Some(until),
    });
    stream.append(PlayerEventData::StreakRepaired {
        days: 1,
        best: 1,
        freezes: 0,
        cost: 0,
        since: Some(NOW),
        lapses_at: until,
    });
    stream.play(contributed(5));
    assert_eq!(stream.found(), [""; 0]);
    assert!(stream.check().repair(NOW).is_none());
}

#[test]
fn a_kept_day_without_a_cause_should_not_be_there() {
    let mut stream = kept();
    let kept = stream.events[1].data.clone();
    stream.append(kept);
    assert_eq!(
        stream.found()[0],
        "event 4: is day_kept and should not be there"
    );
}
