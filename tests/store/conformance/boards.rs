//! Checks of scores on leaderboards.

use std::collections::{BTreeMap, BTreeSet};

use raidhall::progression::{BoardWindowId, ScoreMove};
use raidhall::store::{
    BoardPart, BoardPosition, BoardScore, InstanceId, ProjectionOutcome, StreamAppend,
};
use raidhall_protocol::player::PlayerEventData;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde_json::json;

use super::erasures::erase;
use super::moderation::audit_entry;
use super::projection::{acquire, cause, page, project};
use super::streams::{append, notified, stream_append};
use super::*;

const HOUR_MS: i64 = 3_600_000;

fn window(number: i64) -> BoardWindowId {
    let board = "daily".to_owned();
    BoardWindowId { board, number }
}

fn moved(number: i64, xp: u64, at: i64, seq: u64) -> ScoreMove {
    ScoreMove {
        window: window(number),
        xp,
        reached_at: NOW.plus(at),
        reached_place: cause(7, seq),
        is_listed: true,
    }
}

/// Returns an append of one event behind `after` that moves scores.
fn scoring(player: PlayerId, after: u64, scores: Vec<ScoreMove>) -> StreamAppend {
    let append = stream_append(player, after, [notified("scored")]);
    StreamAppend { scores, ..append }
}

fn boards_set(value: &str) -> PlayerEventData {
    PlayerEventData::SettingSet {
        key: "boards".to_owned(),
        value: json!(value),
        version: 1,
        lapses_at: None,
    }
}

fn position(player: PlayerId, score: u64, at: i64, seq: u64) -> BoardPosition {
    BoardPosition {
        score,
        reached_at: NOW.plus(at),
        reached_place: cause(7, seq),
        player,
    }
}

async fn top(store: &dyn Store, number: i64) -> Vec<BoardPosition> {
    let window = window(number);
    let scores = store.listed_scores(&window, BoardPart::Top, 1_000).await;
    scores.expect("scores")
}

async fn project_all<const N: usize>(
    store: &dyn Store,
    instance: InstanceId,
    appends: [StreamAppend; N],
) -> ProjectionOutcome {
    let place = store.projector_place().await.expect("a place");
    project(store, instance, &page(place, appends)).await
}

pub async fn scores_move_with_the_appends_that_carry_them(store: &dyn Store) {
    let a = register_instance(store).await.id;
    let ada = create_player(store, "Ada").await;
    let ben = create_player(store, "Ben").await;
    acquire(store, a).await;
    let of_ada = scoring(ada, 0, vec![moved(1, 10, 5, 1), moved(2, 4, 5, 1)]);
    let of_ben = scoring(ben, 0, vec![moved(1, 12, 3, 2)]);
    let outcome = project_all(store, a, [of_ada, of_ben]).await;
    assert_eq!(outcome, ProjectionOutcome::Committed);
    let expected = [position(ben, 12, 3, 2), position(ada, 10, 5, 1)];
    assert_eq!(top(store, 1).await, expected);
    assert_eq!(top(store, 2).await, [position(ada, 4, 5, 1)]);

    // A cause that is older than the last one leaves the time and the place as they are.
    let outcome = project_all(store, a, [scoring(ada, 1, vec![moved(1, 5, 4, 3)])]).await;
    assert_eq!(outcome, ProjectionOutcome::Committed);
    let expected = [position(ada, 15, 5, 1), position(ben, 12, 3, 2)];
    assert_eq!(top(store, 1).await, expected);
    let own = |after| async move {
        let scores = store.scores_of_player(ada, &after, 1).await;
        scores.expect("scores")
    };
    let score = |position| BoardScore {
        position,
        is_listed: true,
    };
    let first = (window(1), score(position(ada, 15, 5, 1)));
    assert_eq!(own(BoardWindowId::default()).await, [first]);
    let second = (window(2), score(position(ada, 4, 5, 1)));
    assert_eq!(own(window(1)).await, [second]);
    assert_eq!(own(window(2)).await, []);
}

pub async fn a_stream_that_ends_elsewhere_moves_no_score(store: &dyn Store) {
    let a = register_instance(store).await.id;
    let ada = create_player(store, "Ada").await;
    let ben = create_player(store, "Ben").await;
    acquire(store, a).await;
    append(store, &stream_append(ben, 0, [notified("first")])).await;
    let of_ada = scoring(ada, 0, vec![moved(1, 10, 5, 1)]);
    let of_ben = scoring(ben, 0, vec![moved(1, 12, 3, 2)]);
    let outcome = project_all(store, a, [of_ada, of_ben]).await;
    assert_eq!(outcome, ProjectionOutcome::Moved(vec![ben]));
    assert_eq!(top(store, 1).await, [position(ada, 10, 5, 1)]);
}

/// Compares every rank and page of a window with a sorted list, after random moves, changes of the
/// setting, bans and erasures.
pub async fn ranks_and_pages_agree_with_the_order_of_all_scores(store: &dyn Store) {
    let mut rng = StdRng::seed_from_u64(7);
    let a = register_instance(store).await.id;
    acquire(store, a).await;
    let mut players = Vec::new();
    for number in 0..40 {
        players.push(create_player(store, &format!("Player {number}")).await);
    }
    let mut seqs: BTreeMap<PlayerId, u64> = BTreeMap::new();
    let mut scores: BTreeMap<PlayerId, BoardPosition> = BTreeMap::new();
    let mut hidden = BTreeSet::new();
    for seq in 1..=200 {
        let player = players[rng.random_range(0..players.len())];
        let last = seqs.entry(player).or_default();
        let xp = [1, 10, 256, 700][rng.random_range(0..4)];
        let at = rng.random_range(0..3) * HOUR_MS + rng.random_range(0..2);
        let mut score = moved(1, xp, at, seq);
        score.is_listed = !hidden.contains(&player);
        let outcome = project_all(store, a, [scoring(player, *last, vec![score])]).await;
        assert_eq!(outcome, ProjectionOutcome::Committed);
        *last += 1;
        let began = position(player, 0, at, seq);
        let known = scores.entry(player).or_insert(began);
        let is_older = began.reached_at < known.reached_at;
        let reached = if is_older { *known } else { began };
        *known = BoardPosition {
            score: known.score + xp,
            ..reached
        };
        if seq % 20 == 0 {
            let is_hidden = !hidden.remove(&player) && hidden.insert(player);
            let value = if is_hidden { "hidden" } else { "public" };
            append(store, &stream_append(player, *last, [boards_set(value)])).await;
            *last += 1;
        }
    }
    assert!(hidden.len() > 3);
    for banned in &players[..3] {
        let entry = audit_entry("ban");
        assert!(store.ban(*banned, "cheats", &entry).await.expect("ban"));
        scores.remove(banned);
    }
    for erased in &players[3..6] {
        erase(store, *erased).await;
        store.end_erasure(*erased).await.expect("end");
        scores.remove(erased);
    }
    store.delete_empty_counts(1_000).await.expect("delete");
    let window = window(1);
    let mut listed: Vec<_> = scores.values().copied().collect();
    listed.retain(|it| !hidden.contains(&it.player));
    listed.sort_unstable();
    assert_eq!(top(store, 1).await, listed);
    for position in scores.values() {
        let rank = store.count_listed_before(&window, position).await;
        let expected = listed.partition_point(|it| it < position);
        assert_eq!(rank.expect("a rank"), expected as u64);
        let part = async |part| {
            let part = store.listed_scores(&window, part, 5).await;
            part.expect("scores")
        };
        let mut expected: Vec<_> = listed.iter().copied().filter(|it| it > position).collect();
        expected.truncate(5);
        assert_eq!(part(BoardPart::Behind(*position)).await, expected);
        let before = listed.iter().rev().copied().filter(|it| it < position);
        let expected: Vec<_> = before.take(5).collect();
        assert_eq!(part(BoardPart::Before(*position)).await, expected);
    }
    let in_window = store.scores_in_window(&window, &players).await;
    let in_window = in_window.expect("scores");
    assert_eq!(in_window.len(), scores.len());
    for score in in_window {
        let player = score.position.player;
        assert_eq!(score.position, scores[&player]);
        assert_eq!(score.is_listed, !hidden.contains(&player));
    }
}

/// Scores of one page meet in the same counts: equal ones of an hour, and those of 256 in a row.
pub async fn players_of_one_page_are_counted_together(store: &dyn Store) {
    const PLAYERS: usize = 40;
    let a = register_instance(store).await.id;
    acquire(store, a).await;
    let mut players = Vec::new();
    for number in 0..PLAYERS {
        players.push(create_player(store, &format!("Player {number}")).await);
    }
    let mut scores: Vec<_> = players.iter().map(|it| position(*it, 0, 0, 1)).collect();
    for (round, xp) in [[250, 250], [5, 6], [1, 0]].into_iter().enumerate() {
        let after = round as u64;
        let appends: Vec<_> = scores
            .iter_mut()
            .zip(0_usize..)
            .map(|(score, number)| {
                let xp = xp[number % 2];
                score.score += xp;
                let moves = if xp == 0 {
                    vec![]
                } else {
                    vec![moved(1, xp, 0, 1)]
                };
                scoring(score.player, after, moves)
            })
            .collect();
        let appends: [StreamAppend; PLAYERS] = appends.try_into().expect("one each");
        let outcome = project_all(store, a, appends).await;
        assert_eq!(outcome, ProjectionOutcome::Committed);
        let mut listed = scores.clone();
        listed.sort_unstable();
        assert_eq!(top(store, 1).await, listed);
        for (rank, position) in listed.iter().enumerate() {
            let before = store.count_listed_before(&window(1), position).await;
            assert_eq!(before.expect("a count"), rank as u64, "round {round}");
        }
    }
}

pub async fn a_player_whose_ban_ends_is_listed_again(store: &dyn Store) {
    let a = register_instance(store).await.id;
    let ada = create_player(store, "Ada").await;
    let ben = create_player(store, "Ben").await;
    acquire(store, a).await;
    let of_ada = scoring(ada, 0, vec![moved(1, 10, 5, 1)]);
    let of_ben = scoring(ben, 0, vec![moved(1, 12, 3, 2)]);
    project_all(store, a, [of_ada, of_ben]).await;
    let rank = async || {
        let position = position(ada, 10, 5, 1);
        let before = store.count_listed_before(&window(1), &position).await;
        before.expect("a count")
    };
    assert_eq!(rank().await, 1);
    let banned = store.ban(ben, "cheats", &audit_entry("ban")).await;
    assert!(banned.expect("ban"));
    assert_eq!(top(store, 1).await, [position(ada, 10, 5, 1)]);
    assert_eq!(rank().await, 0);
    let unbanned = store.unban(ben, &audit_entry("unban")).await;
    assert!(unbanned.expect("unban"));
    assert_eq!(top(store, 1).await.len(), 2);
    assert_eq!(rank().await, 1);
}

pub async fn an_erasure_deletes_the_players_scores(store: &dyn Store) {
    let a = register_instance(store).await.id;
    let ada = create_player(store, "Ada").await;
    acquire(store, a).await;
    project_all(store, a, [scoring(ada, 0, vec![moved(1, 10, 5, 1)])]).await;
    erase(store, ada).await;
    assert_eq!(top(store, 1).await, []);
    let first = BoardWindowId::default();
    let own = store.scores_of_player(ada, &first, 10).await;
    assert_eq!(own.expect("scores"), []);
    let outcome = project_all(store, a, [scoring(ada, 1, vec![moved(1, 10, 5, 1)])]).await;
    assert_eq!(outcome, ProjectionOutcome::Committed);
    assert_eq!(top(store, 1).await, [], "the player is left out");
}
