//! Checks of scores on leaderboards.

use std::collections::{BTreeMap, BTreeSet};

use raidhall::progression::{BoardWindowId, ScoreMove};
use raidhall::store::{
    BoardPart, BoardPosition, BoardScore, InstanceId, ProjectionOutcome, StreamAppend,
};
use raidhall_protocol::player::PlayerEventData;
use raidhall_protocol::player::event::XpSource;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde_json::json;

use super::erasures::erase;
use super::moderation::audit_entry;
use super::projection::{acquire, cause, page, project};
use super::streams::{append, notified, stream_append};
use super::*;

const HOUR_MS: i64 = 3_600_000;

pub fn window(number: i64) -> BoardWindowId {
    let board = "daily".to_owned();
    BoardWindowId { board, number }
}

pub fn moved(number: i64, xp: u64, at: i64, seq: u64) -> ScoreMove {
    ScoreMove {
        window: window(number),
        xp,
        reached_at: NOW.plus(at),
        reached_place: cause(7, seq),
        is_public: true,
    }
}

/// Returns an append of one event behind `after` that moves scores.
pub fn scoring(player: PlayerId, after: u64, scores: Vec<ScoreMove>) -> StreamAppend {
    let append = stream_append(player, after, [earned(after + 1)]);
    StreamAppend { scores, ..append }
}

fn earned(xp: u64) -> PlayerEventData {
    PlayerEventData::XpEarned {
        amount: 1,
        counted: 1,
        earned_xp: xp,
        xp,
        tasks: 0,
        source: XpSource::Contribution,
        allowance: None,
        happened_at: NOW,
        level_xp: 0,
        next_level_xp: 100,
        skill: None,
        skill_xp: None,
        skill_level: None,
        coins: 0,
        coins_earned: 0,
        note: None,
        counters: Vec::new(),
    }
}

pub fn boards_set(value: &str) -> PlayerEventData {
    PlayerEventData::SettingSet {
        key: "boards".to_owned(),
        value: json!(value),
        version: 1,
        lapses_at: None,
    }
}

pub fn position(player: PlayerId, score: u64, at: i64, seq: u64) -> BoardPosition {
    BoardPosition {
        score,
        reached_at: NOW.plus(at),
        reached_place: cause(7, seq),
        player,
    }
}

pub async fn top(store: &dyn Store, number: i64) -> Vec<BoardPosition> {
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

/// What a window should hold.
#[derive(Default)]
struct WindowModel {
    seqs: BTreeMap<PlayerId, u64>,
    scores: BTreeMap<PlayerId, BoardPosition>,
    hidden: BTreeSet<PlayerId>,
    banned: BTreeSet<PlayerId>,
    removed: BTreeSet<PlayerId>,
    erased: BTreeSet<PlayerId>,
}

impl WindowModel {
    async fn move_score(
        &mut self,
        store: &dyn Store,
        instance: InstanceId,
        player: PlayerId,
        (xp, at, seq): (u64, i64, u64),
    ) {
        let last = self.seqs.entry(player).or_default();
        let mut score = moved(1, xp, at, seq);
        score.is_public = !self.hidden.contains(&player);
        let append = scoring(player, *last, vec![score]);
        let outcome = project_all(store, instance, [append]).await;
        assert_eq!(outcome, ProjectionOutcome::Committed);
        if self.erased.contains(&player) {
            return;
        }
        *last += 1;
        let began = position(player, 0, at, seq);
        let known = self.scores.entry(player).or_insert(began);
        let is_older = began.reached_at < known.reached_at;
        let reached = if is_older { *known } else { began };
        *known = BoardPosition {
            score: known.score + xp,
            ..reached
        };
    }

    async fn toggle_setting(&mut self, store: &dyn Store, player: PlayerId) {
        if self.erased.contains(&player) {
            return;
        }
        let last = self.seqs.entry(player).or_default();
        let is_hidden = !self.hidden.remove(&player) && self.hidden.insert(player);
        let value = if is_hidden { "hidden" } else { "public" };
        append(store, &stream_append(player, *last, [boards_set(value)])).await;
        *last += 1;
    }

    async fn toggle_ban(&mut self, store: &dyn Store, player: PlayerId) {
        let is_erased = self.erased.contains(&player);
        let changed = if self.banned.contains(&player) {
            store.unban(player, &audit_entry("unban")).await
        } else {
            store.ban(player, "cheats", &audit_entry("ban")).await
        };
        assert_eq!(changed.expect("a change"), !is_erased);
        if !is_erased && !self.banned.remove(&player) {
            self.banned.insert(player);
        }
    }

    async fn toggle_removal(&mut self, store: &dyn Store, player: PlayerId) {
        let removed = !self.removed.contains(&player);
        let entry = audit_entry("remove_score");
        let found = store.set_removed(&window(1), player, removed, &entry).await;
        let is_known = self.scores.contains_key(&player);
        assert_eq!(found.expect("a removal"), is_known);
        if is_known && !self.removed.remove(&player) {
            self.removed.insert(player);
        }
    }

    async fn erase(&mut self, store: &dyn Store, player: PlayerId) {
        erase(store, player).await;
        store.end_erasure(player).await.expect("end");
        self.scores.remove(&player);
        self.erased.insert(player);
    }

    fn is_listed(&self, player: PlayerId) -> bool {
        [&self.hidden, &self.banned, &self.removed]
            .iter()
            .all(|hidden| !hidden.contains(&player))
    }

    /// Compares every rank and page with a sorted list.
    async fn check(&self, store: &dyn Store) {
        let window = window(1);
        let mut listed: Vec<_> = self.scores.values().copied().collect();
        listed.retain(|it| self.is_listed(it.player));
        listed.sort_unstable();
        assert_eq!(top(store, 1).await, listed);
        for position in self.scores.values() {
            let rank = store.count_listed_before(&window, position).await;
            let expected = listed.partition_point(|it| it < position);
            assert_eq!(rank.expect("a rank"), expected as u64);
            let part = async |part| {
                let part = store.listed_scores(&window, part, 5).await;
                part.expect("scores")
            };
            let behind = listed.iter().copied().filter(|it| it > position);
            let expected: Vec<_> = behind.take(5).collect();
            assert_eq!(part(BoardPart::Behind(*position)).await, expected);
            let before = listed.iter().rev().copied().filter(|it| it < position);
            let expected: Vec<_> = before.take(5).collect();
            assert_eq!(part(BoardPart::Before(*position)).await, expected);
        }
        let players: Vec<_> = self.seqs.keys().copied().collect();
        let in_window = store.scores_in_window(&window, &players).await;
        let mut in_window = in_window.expect("scores");
        in_window.sort_by_key(|it| it.position.player);
        let is_shown = |player| !self.banned.contains(player) && !self.removed.contains(player);
        let shown = self.scores.iter().filter(|(player, _)| is_shown(player));
        let expected: Vec<_> = shown
            .map(|(player, position)| BoardScore {
                position: *position,
                is_listed: self.is_listed(*player),
            })
            .collect();
        assert_eq!(in_window, expected);
    }
}

pub async fn ranks_and_pages_agree_with_the_order_of_all_scores(store: &dyn Store) {
    let mut rng = StdRng::seed_from_u64(7);
    let a = register_instance(store).await.id;
    acquire(store, a).await;
    let mut players = Vec::new();
    for number in 0..30 {
        players.push(create_player(store, &format!("Player {number}")).await);
    }
    let mut model = WindowModel::default();
    for seq in 1..=300 {
        let player = players[rng.random_range(0..players.len())];
        match rng.random_range(0..100) {
            0..60 => {
                let xp = [1, 10, 256, 700][rng.random_range(0..4)];
                let at = rng.random_range(0..3) * HOUR_MS + rng.random_range(0..2);
                model.move_score(store, a, player, (xp, at, seq)).await;
            }
            60..72 => model.toggle_setting(store, player).await,
            72..84 => model.toggle_ban(store, player).await,
            84..97 => model.toggle_removal(store, player).await,
            _ => model.erase(store, player).await,
        }
        if seq % 75 == 0 {
            model.check(store).await;
            store.delete_empty_counts(1_000).await.expect("delete");
        }
    }
    for (what, players) in [
        ("hidden", &model.hidden),
        ("banned", &model.banned),
        ("removed", &model.removed),
        ("erased", &model.erased),
    ] {
        assert!(players.len() > 2, "{what}: {players:?}");
    }
}

pub async fn of_two_equal_scores_the_one_reached_earlier_is_ahead(store: &dyn Store) {
    let a = register_instance(store).await.id;
    acquire(store, a).await;
    let mut expected = Vec::new();
    for (at, seq) in [(5, 3), (5, 4), (6, 1), (HOUR_MS, 2)] {
        let player = create_player(store, "Ada").await;
        expected.push(position(player, 10, at, seq));
    }
    for reached in expected.iter().rev() {
        let at = reached.reached_at.0 - NOW.0;
        let score = moved(1, 10, at, reached.reached_place.seq.0);
        project_all(store, a, [scoring(reached.player, 0, vec![score])]).await;
    }
    assert_eq!(top(store, 1).await, expected);
    for (rank, position) in expected.iter().enumerate() {
        let before = store.count_listed_before(&window(1), position).await;
        assert_eq!(before.expect("a count"), rank as u64);
    }
}

/// A score that begins while its player is banned is listed when the ban ends.
pub async fn scores_that_begin_during_a_ban_are_hidden_until_it_ends(store: &dyn Store) {
    let a = register_instance(store).await.id;
    let ada = create_player(store, "Ada").await;
    acquire(store, a).await;
    let banned = store.ban(ada, "cheats", &audit_entry("ban")).await;
    assert!(banned.expect("ban"));
    project_all(store, a, [scoring(ada, 0, vec![moved(1, 10, 5, 1)])]).await;
    assert_eq!(top(store, 1).await, []);
    let unbanned = store.unban(ada, &audit_entry("unban")).await;
    assert!(unbanned.expect("unban"));
    assert_eq!(top(store, 1).await, [position(ada, 10, 5, 1)]);
    let behind = position(ada, 1, 5, 1);
    let count = store.count_listed_before(&window(1), &behind).await;
    assert_eq!(count.expect("a count"), 1);
}

/// Appends move scores while bans, removals and settings change at the same time.
pub async fn counts_are_right_after_concurrent_changes(store: &dyn Store) {
    const ROUNDS: u64 = 25;
    let a = register_instance(store).await.id;
    let ada = create_player(store, "Ada").await;
    let ben = create_player(store, "Ben").await;
    acquire(store, a).await;
    let appends = async {
        for round in 0..ROUNDS {
            let number = i64::try_from(round).expect("a number") % 5;
            let moves = vec![moved(9, 10, 5, round + 1), moved(number, 10, 5, round + 1)];
            let appends = [
                scoring(ada, round, moves.clone()),
                scoring(ben, round, moves),
            ];
            let outcome = project_all(store, a, appends).await;
            assert_eq!(outcome, ProjectionOutcome::Committed);
        }
    };
    let bans = async {
        for _ in 0..ROUNDS {
            let entry = audit_entry("ban");
            store.unban(ada, &entry).await.expect("unban");
            assert!(store.ban(ada, "cheats", &entry).await.expect("ban"));
        }
    };
    let removals = async {
        for round in 0..ROUNDS {
            let entry = audit_entry("remove_score");
            let window = window(9);
            let set = store.set_removed(&window, ben, round % 2 == 1, &entry);
            set.await.expect("a removal");
        }
    };
    futures_util::join!(appends, bans, removals);
    for number in [0, 1, 2, 3, 4, 9] {
        let listed = top(store, number).await;
        assert!(
            listed.iter().all(|it| it.player == ben),
            "{number}: {listed:?}"
        );
        let last = position(ben, 1, 5, 1);
        let count = store.count_listed_before(&window(number), &last).await;
        assert_eq!(count.expect("a count"), 1, "window {number}");
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
