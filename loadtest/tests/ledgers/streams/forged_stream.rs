//! Forgeries of a player's stream that its devices do not see.

use raidhall_loadtest::judge::StreamViolationKind;
use raidhall_protocol::Seq;
use raidhall_protocol::player::{PlayerEvent, PlayerEventData};

use super::sample_stream::{StreamSample, at, find};

/// Returns the violations of a stream that the devices were told as it is.
pub(super) fn find_in_stream(
    forge: impl FnOnce(&mut Vec<PlayerEvent>),
) -> Vec<StreamViolationKind> {
    let found = find(|case| {
        forge(&mut case.stream);
        case.phone.clear();
        case.laptop.clear();
        case.states.clear();
    });
    let of_server = found.into_iter().filter(|(client, _)| client == "server");
    // No device sent the setting.
    of_server
        .map(|(_, kind)| kind)
        .filter(|kind| !matches!(kind, StreamViolationKind::DoubleCommand { .. }))
        .collect()
}

pub(super) fn renumber(stream: &mut [PlayerEvent]) {
    for (event, seq) in stream.iter_mut().zip(1..) {
        event.seq = Seq(seq);
    }
}

pub(super) fn missing(seq: usize, expected: &str) -> StreamViolationKind {
    StreamViolationKind::FollowUpMissing {
        seq: Seq(seq as u64),
        expected: expected.to_owned(),
    }
}

pub(super) fn unexpected(seq: usize, kind: &'static str) -> StreamViolationKind {
    let seq = Seq(seq as u64);
    StreamViolationKind::FollowUpUnexpected { seq, kind }
}

/// Asserts that the first violation of a forged stream is an event that is not what it must be.
#[track_caller]
pub(super) fn assert_wrong(seq: usize, forge: impl FnOnce(&mut PlayerEventData)) {
    let found = find_in_stream(|stream| forge(&mut stream[at(seq)].data));
    assert!(
        matches!(found.first(), Some(StreamViolationKind::EffectWrong { seq: Seq(wrong), .. })
            if *wrong == seq as u64),
        "{found:?}"
    );
}

/// Asserts that a violation is among those of a forged stream, of which all others follow from it.
#[track_caller]
pub(super) fn assert_found(kind: &StreamViolationKind, forge: impl FnOnce(&mut Vec<PlayerEvent>)) {
    let found = find_in_stream(forge);
    assert!(found.contains(kind), "{found:?}");
}

/// Asserts that the judge finds exactly these violations of a forged sample.
#[track_caller]
pub(super) fn assert_kinds(
    forge: impl FnOnce(&mut StreamSample),
    expected: &[StreamViolationKind],
) {
    let found: Vec<_> = find(forge).into_iter().map(|(_, kind)| kind).collect();
    assert_eq!(found, expected);
}
