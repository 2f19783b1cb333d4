//! A deploy is invisible, and the judge who says so can tell: two players, times in milliseconds, one forgery each.

use std::time::Duration;

use raidhall_loadtest::fold::Fold;
use raidhall_loadtest::judge::{Breach, Calm, Flaps, Truth, flaps};
use raidhall_loadtest::ledger::{Entry, Ledger, Moment};
use raidhall_protocol::event::LeaderReason;
use raidhall_protocol::server::UnwatchReason;
use raidhall_protocol::{Command, ErrorBody, ErrorType, EventData, PlayerId, Seq, ServerMessage};

use crate::court::{both, connected, event, player, raid, sent, told, told_event, watch};

type Line = (u64, Entry);

fn watching(online: &[PlayerId]) -> Entry {
    let online = online.to_vec();
    told(ServerMessage::Watching {
        raid: raid(),
        seq: Seq(3),
        recovered: true,
        online,
    })
}

fn presence(online: &[u64], offline: &[u64]) -> Entry {
    let [online, offline] = [online, offline].map(|ids| ids.iter().map(|id| player(*id)).collect());
    told(ServerMessage::Presence {
        raid: raid(),
        online,
        offline,
    })
}

const GONE: Entry = Entry::Disconnected { code: Some(4200) };

/// Both connect, and Ben comes back from a deploy after a second.
fn honest() -> [Vec<Line>; 2] {
    let ada = vec![
        (0, connected()),
        (1, watch(None)),
        (10, watching(&[player(5)])),
        (20, presence(&[6], &[])),
    ];
    let ben = vec![
        (5, connected()),
        (6, watch(None)),
        (15, watching(&both())),
        (30_000, GONE),
        (31_000, connected()),
        (31_001, watch(Some(3))),
        (31_010, watching(&both())),
    ];
    [ada, ben]
}

fn judged(stories: [Vec<Line>; 2], truth: Option<&Truth>) -> Flaps {
    let ledger = |name, id, mut lines: Vec<Line>| {
        lines.sort_by_key(|(at, _)| *at);
        let mut ledger = Ledger::new(name, player(id), raid());
        lines
            .into_iter()
            .for_each(|(at, entry)| ledger.note(Moment(at * 1000), entry));
        ledger
    };
    let [ada, ben] = stories;
    let ledgers = [ledger("ada", 5, ada), ledger("ben", 6, ben)];
    let (from, to) = (Moment(100_000), Moment(200_000_000));
    let (presence_grace, leader_grace) = (Duration::from_secs(5), Duration::from_secs(60));
    flaps(
        raid(),
        &ledgers,
        truth,
        &Calm {
            from,
            to,
            presence_grace,
            leader_grace,
        },
    )
}

/// The story with more lines for Ada and for Ben.
fn with(ada: Vec<Line>, ben: Vec<Line>) -> [Vec<Line>; 2] {
    let mut stories = honest();
    stories[0].extend(ada);
    stories[1].extend(ben);
    stories
}

#[track_caller]
fn innocent(stories: [Vec<Line>; 2]) -> Flaps {
    let flaps = judged(stories, None);
    assert!(flaps.violations.is_empty(), "{flaps:?}");
    assert_eq!((flaps.shown_gone, flaps.deposed), (0, 0));
    flaps
}

#[track_caller]
fn convict(stories: [Vec<Line>; 2], client: &str, breach: &Breach) {
    let flaps = judged(stories, None);
    let found = flaps
        .violations
        .iter()
        .any(|violation| violation.client == client && violation.breach == *breach);
    assert!(
        found && flaps.shown_gone + flaps.deposed == flaps.violations.len() as u64,
        "{flaps:?}"
    );
}

#[test]
fn who_comes_back_in_time_and_is_never_shown_gone_is_no_flap() {
    assert_eq!(innocent(honest()).absences, 0);
}

#[test]
fn a_presence_message_about_somebody_who_was_hardly_away_is_convicted() {
    for at in [29_000, 30_500, 40_000] {
        let breach = Breach::ShownGone {
            player: player(6),
            at_ms: at,
        };
        convict(
            with(vec![(at, presence(&[], &[6]))], vec![]),
            "ada",
            &breach,
        );
    }
}

#[test]
fn a_list_on_return_that_lacks_somebody_is_convicted_be_it_another_or_oneself() {
    for (online, gone) in [([player(6)], player(5)), ([player(5)], player(6))] {
        let mut stories = honest();
        stories[1][6].1 = watching(&online);
        convict(
            stories,
            "ben",
            &Breach::ShownGone {
                player: gone,
                at_ms: 31_010,
            },
        );
    }
}

#[test]
fn somebody_who_was_away_for_longer_than_the_grace_may_be_shown_gone_and_is_counted() {
    let away = vec![
        (50_000, GONE),
        (58_000, connected()),
        (58_001, watch(Some(3))),
        (58_010, watching(&both())),
    ];
    let shown = |at| {
        with(
            vec![(at, presence(&[], &[6])), (60_500, presence(&[6], &[]))],
            away.clone(),
        )
    };
    assert_eq!(innocent(shown(55_100)).absences, 1);
    // Before the grace is over, and long after the return, it is a lie all the same.
    convict(
        shown(52_000),
        "ada",
        &Breach::ShownGone {
            player: player(6),
            at_ms: 52_000,
        },
    );
    convict(
        shown(60_400),
        "ada",
        &Breach::ShownGone {
            player: player(6),
            at_ms: 60_400,
        },
    );
}

#[test]
fn somebody_who_never_comes_back_may_be_shown_gone() {
    innocent(with(
        vec![(56_000, presence(&[], &[6]))],
        vec![(50_000, GONE)],
    ));
}

#[test]
fn somebody_who_leaves_the_raid_may_be_shown_gone_at_once_and_only_if_the_leave_succeeds() {
    let left = told(ServerMessage::Unwatched {
        raid: raid(),
        reason: UnwatchReason::Left,
    });
    let leave = |answer: Entry| {
        let ben = vec![
            (50_000, sent(9, "b9", Command::Leave)),
            (50_100, answer),
            (53_000, watch(None)),
            (53_010, watching(&both())),
        ];
        with(
            vec![
                (50_050, presence(&[], &[6])),
                (53_020, presence(&[6], &[])),
                (70_000, presence(&[], &[6])),
            ],
            ben,
        )
    };
    let mut stories = leave(left);
    let again = stories[0].pop().unwrap();
    innocent(stories.clone());
    stories[0].push(again);
    convict(
        stories,
        "ada",
        &Breach::ShownGone {
            player: player(6),
            at_ms: 70_000,
        },
    );
    let error = ErrorBody::new(ErrorType::WrongStatus, "no");
    let refused = told(ServerMessage::Error {
        re: "do".to_owned(),
        id: Some(9),
        raid: Some(raid()),
        error,
    });
    convict(
        leave(refused),
        "ada",
        &Breach::ShownGone {
            player: player(6),
            at_ms: 50_050,
        },
    );
}

#[test]
fn what_happens_before_all_are_there_and_after_they_go_home_does_not_count() {
    for at in [50, 250_000] {
        innocent(with(vec![(at, presence(&[], &[6]))], vec![]));
    }
}

#[test]
fn a_message_that_changes_nothing_is_only_counted() {
    assert_eq!(
        innocent(with(vec![(40_000, presence(&[6], &[]))], vec![])).repeated,
        1
    );
}

fn lead_moves() -> EventData {
    let reason = LeaderReason::LeaderOffline;
    EventData::LeaderChanged {
        player: player(5),
        previous: player(6),
        reason,
        term: 2,
    }
}

#[test]
fn a_lead_that_is_taken_from_somebody_who_was_there_is_convicted() {
    let mut moved = event(4, 6, lead_moves());
    moved.by = None;
    let breach = Breach::Deposed {
        seq: Seq(4),
        leader: player(6),
    };
    convict(
        with(vec![(90_000, told_event(&moved))], vec![]),
        "server",
        &breach,
    );
    // Away for longer than presence lasts, but not for as long as the lead does.
    let away = vec![
        (50_000, GONE),
        (60_000, connected()),
        (60_001, watch(Some(3))),
        (60_010, watching(&both())),
    ];
    convict(
        with(vec![(61_000, told_event(&moved))], away),
        "server",
        &breach,
    );
    innocent(with(
        vec![(111_000, told_event(&moved))],
        vec![(50_000, GONE)],
    ));
    let promoted = EventData::LeaderChanged {
        player: player(5),
        previous: player(6),
        reason: LeaderReason::Promoted,
        term: 2,
    };
    innocent(with(
        vec![(90_000, told_event(&event(4, 6, promoted)))],
        vec![],
    ));
}

#[test]
fn a_lead_that_moved_while_nobody_was_told_is_found_in_the_server_s_ledger() {
    let mut court = crate::court::Court::honest();
    let events = court.history.clone();
    let state = Fold::of(raid(), &events).unwrap().state().unwrap().clone();
    let truth = court.truth();
    truth.state = state;
    truth.events.push(event(9, 6, lead_moves()));
    let flaps = judged(honest(), Some(truth));
    assert_eq!(flaps.deposed, 1, "{flaps:?}");
}
