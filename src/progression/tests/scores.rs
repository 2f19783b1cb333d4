//! Tests of what effects add to scores on leaderboards.

use raidhall_protocol::player::event::XpSource;

use super::*;
use crate::progression::{BoardTimes, BoardWindowId, ScoreMove, ScoreTerms, add_score_moves};

const TERMS: ScoreTerms = ScoreTerms {
    times: BoardTimes {
        since: UnixMillis(0),
        final_until: UnixMillis(0),
    },
    is_public: true,
};

fn cause_at(seq: u64, at: UnixMillis) -> Cause {
    Cause {
        place: RaidPlace {
            raid: raid(7),
            seq: Seq(seq),
        },
        at,
        definitions: DefinitionsNumber::FIRST,
        kind: CauseKind::Contributed {
            xp: 40,
            kind: "walk".to_owned(),
        },
    }
}

/// Returns the event by which a source brings 50 XP, of which 40 count.
fn earned(source: XpSource) -> PlayerEventData {
    let mut stream = Stream::new();
    let kind = CauseKind::Contributed {
        xp: 50,
        kind: "walk".to_owned(),
    };
    let mut effects = stream.add(7, time("2026-11-28T12:00Z"), kind);
    let PlayerEventData::XpEarned {
        counted,
        source: of,
        ..
    } = &mut effects[0]
    else {
        panic!("{effects:?}");
    };
    *counted = 40;
    *of = source;
    effects.swap_remove(0)
}

fn moves_at(times: &[&str], effects: &[PlayerEventData], terms: ScoreTerms) -> Vec<ScoreMove> {
    let boards = Definitions::built_in().boards;
    let mut moves = Vec::new();
    for (seq, at) in (1..).zip(times) {
        let cause = cause_at(seq, time(at));
        add_score_moves(&mut moves, &cause, effects, &boards, terms);
    }
    moves
}

fn terms_at(since: &str, final_until: &str) -> ScoreTerms {
    let times = BoardTimes {
        since: time(since),
        final_until: time(final_until),
    };
    ScoreTerms { times, ..TERMS }
}

fn windows(moves: &[ScoreMove]) -> Vec<(&str, i64, u64)> {
    let moves = moves.iter();
    moves
        .map(|it| (it.window.board.as_str(), it.window.number, it.xp))
        .collect()
}

#[test]
fn counted_xp_of_raids_is_added_in_each_window_of_its_time() {
    let effects = [earned(XpSource::Contribution), earned(XpSource::Task)];
    let moves = moves_at(&["2026-11-28T12:00Z"], &effects, TERMS);
    let expected = [
        ("daily", 20_785, 80),
        ("weekly", 2_969, 80),
        ("season", 227, 80),
        ("all_time", 0, 80),
    ];
    assert_eq!(windows(&moves), expected);
}

#[test]
fn grants_add_nothing_to_scores() {
    let effects = [earned(XpSource::Grant)];
    assert_eq!(moves_at(&["2026-11-28T12:00Z"], &effects, TERMS), []);
}

#[test]
fn causes_of_one_window_are_one_move_reached_with_the_latest() {
    let effects = [earned(XpSource::Contribution)];
    let times = ["2026-11-28T12:00Z", "2026-11-28T11:00Z"];
    let moves = moves_at(&times, &effects, TERMS);
    let day = ScoreMove {
        window: BoardWindowId {
            board: "daily".to_owned(),
            number: 20_785,
        },
        xp: 80,
        reached_at: time("2026-11-28T12:00Z"),
        reached_place: cause_at(1, UnixMillis(0)).place,
        is_public: true,
    };
    assert_eq!((moves.len(), &moves[0]), (4, &day));
}

#[test]
fn windows_that_closed_before_there_were_boards_stay_empty() {
    let effects = [earned(XpSource::Contribution)];
    let terms = terms_at("2026-11-29T00:00Z", "2026-11-29T00:00Z");
    let moves = moves_at(&["2026-11-28T12:00Z"], &effects, terms);
    let boards: Vec<_> = moves.iter().map(|it| it.window.board.as_str()).collect();
    assert_eq!(boards, ["weekly", "season", "all_time"]);
}

#[test]
fn xp_that_comes_when_its_window_is_final_counts_in_the_open_one() {
    let effects = [earned(XpSource::Contribution)];
    let late = "2026-11-28T12:00Z";
    let terms = terms_at("2026-11-01T00:00Z", "2026-11-29T00:00:05Z");
    let moves = moves_at(&[late, "2026-11-29T00:01Z"], &effects, terms);
    let days: Vec<_> = windows(&moves)
        .into_iter()
        .filter(|it| it.0 == "daily")
        .collect();
    assert_eq!(days, [("daily", 20_786, 80)]);
    assert_eq!(
        windows(&moves)[1..],
        [
            ("weekly", 2_969, 80),
            ("season", 227, 80),
            ("all_time", 0, 80),
        ]
    );
    let moves = moves_at(&[late], &effects, terms);
    assert_eq!(moves[0].reached_at, time("2026-11-29T00:00Z"));
    assert_eq!(moves[3].reached_at, time(late));
}

#[test]
fn a_window_is_open_until_the_moment_when_it_is_final() {
    let effects = [earned(XpSource::Contribution)];
    let terms = terms_at("2026-11-01T00:00Z", "2026-11-28T23:59:59Z");
    let moves = moves_at(&["2026-11-28T12:00Z"], &effects, terms);
    assert_eq!(windows(&moves)[0], ("daily", 20_785, 40));
}
