//! The stored form: what it keeps, and which bytes it refuses.

use raidhall_protocol::{Event, EventData, Seq, UnixMillis};

use super::script::{raid_id, run_script};
use crate::raid::state::DailyEvents;
use crate::raid::stored::{StoredError, decode, encode};
use crate::raid::{State, apply};

/// Returns a state with a value in every field.
fn state_with_every_field() -> State {
    run_script(
        "ada create description=why target_xp=100 max_members=6 late_join=true
         ben join
         cal join
         dot join
         +1s ada start
         ada add_task title=One xp=40 minutes=5
         ada add_task title=Two xp=60 minutes=5
         ada add_task title=Three xp=1 minutes=5
         +1s ben claim_task task=1
         ben complete_task task=1
         cal claim_task task=2
         dot claim_task task=3
         ben say text=bye
         ben leave
         ada kick player=dot
         +1s cal complete_task task=2",
    )
}

/// Returns a state that version 1 does not hold.
fn moderated_state() -> State {
    run_script(
        "ada create
         ben join
         cal join
         host add_task title=Zero xp=10 minutes=5
         ben add_task title=One xp=40 minutes=5
         ben add_task title=Two xp=60 minutes=5
         ada edit_task task=2 title=Uno
         ben remove_task task=3
         ada mute player=ben until=9000
         ada mute player=cal until=8000
         cal leave
         ada rotate_invite",
    )
}

#[test]
fn every_kind_of_state_survives_encoding_for_the_store() {
    let scripts = [
        "ada create",
        "ada create\nada start",
        "ada create\nada cancel",
        "ada create\nada leave",
        "ada create ranked=true",
    ];
    for state in scripts.map(run_script).into_iter().chain([
        State::new(raid_id()),
        state_with_every_field(),
        moderated_state(),
    ]) {
        let bytes = encode(&state);
        assert_eq!(decode(&bytes).expect("a state"), state);
        assert_eq!(encode(&state.clone()), bytes);
    }
}

#[test]
fn a_newer_stored_version_is_distinguished_from_damage() {
    let mut bytes = encode(&state_with_every_field());
    assert_eq!(bytes[..2], [0, 2]);
    bytes[1] = 3;
    assert!(matches!(decode(&bytes), Err(StoredError::Newer(3))));
    bytes[1] = 0;
    assert!(matches!(decode(&bytes), Err(StoredError::Damaged(_))));
}

#[test]
fn every_stored_format_stays_readable() {
    // If this fails, the stored form has changed, and databases hold the old one: give the new form
    // a version of its own and keep both.
    let bytes = include_bytes!("moderated.v2");
    assert_eq!(decode(bytes).expect("a state"), moderated_state());
    assert_eq!(encode(&moderated_state()), bytes);

    // Version 1 does not have the number of events of the day.
    let state = State {
        daily_events: DailyEvents::default(),
        ..state_with_every_field()
    };
    assert_eq!(
        decode(include_bytes!("eventful.v1")).expect("a state"),
        state
    );
}

#[test]
fn truncated_or_extended_stored_states_are_refused() {
    for bytes in [state_with_every_field(), moderated_state()].map(|state| encode(&state)) {
        for length in 0..bytes.len() {
            assert!(
                matches!(decode(&bytes[..length]), Err(StoredError::Damaged(_))),
                "cut to {length}"
            );
        }
        assert!(decode(&[bytes, vec![0]].concat()).is_err());
    }
}

#[test]
#[should_panic(expected = "out of its place")]
fn an_event_out_of_sequence_panics() {
    let mut state = run_script("ada create");
    let data = EventData::RaidStarted {
        deadline: UnixMillis(3_000),
    };
    apply(
        &mut state,
        &Event {
            seq: Seq(4),
            at: UnixMillis(2_000),
            by: None,
            data,
        },
    );
}

#[test]
fn the_largest_raid_is_stored_in_bounded_space() {
    let script =
        "ada create\n".to_owned() + &"ada add_task title=🔥*120 xp=1 minutes=0\n".repeat(500);
    let state = run_script(&script);
    let bytes = encode(&state);
    assert!(bytes.len() < 300 * 1024, "{} bytes", bytes.len());
    assert_eq!(decode(&bytes).expect("a state"), state);
}
