//! Losses of streaks that have lapsed, reminders, and the end of leaderboards' windows, by projectors
//! that follow one another.

use raidhall_protocol::player::PlayerEventData;
use raidhall_protocol::player::event::RaidPlace;
use raidhall_protocol::{RaidId, Seq, UnixMillis};
use uuid::Uuid;

use super::*;
use crate::cluster::client::ClusterClient;
use crate::cluster::membership::Membership;
use crate::definitions::Definitions;
use crate::player::CONTRIBUTION_DELAY_MAX_MS;
use crate::store::faulty::{Call, Faulty};
use crate::store::memory::MemoryStore;
use crate::store::{
    Accounts, FailedCause, PlayerStreams, ProjectedPage, Projection, ProjectionOutcome,
    StreamOutcome,
};
use crate::streams::AppendBuilder;

const DAY_MS: i64 = 86_400_000;

fn projector(store: &Faulty<MemoryStore>, number: u128) -> Projector {
    let clock = Arc::new(Clock::new(store.now()));
    let membership = Membership::new(Duration::from_secs(3));
    let instance = InstanceId(Uuid::from_u128(number));
    let cluster = ClusterClient::standalone(instance, Arc::clone(&clock), membership);
    let shared: Arc<dyn Store> = Arc::new(store.clone());
    let streams = Streams::new(Arc::clone(&shared), Arc::clone(&clock), cluster.clone());
    Projector {
        definitions: streams.current_definitions(),
        store: shared,
        streams,
        instance,
        clock,
        cluster,
        feed_advanced: Arc::default(),
        report_lag: Box::new(|_| {}),
    }
}

/// Lets an instance be the projector for a while, and then crash.
async fn run(projector: &Projector, seconds: u64) {
    let run = projector.acquire_and_read();
    let ended = timeout(Duration::from_secs(seconds), run).await;
    assert!(ended.is_err(), "{ended:?}");
}

async fn wait_until(store: &Faulty<MemoryStore>, at: UnixMillis) {
    let wait = at.since(store.now()).max(0).cast_unsigned();
    tokio::time::sleep(Duration::from_millis(wait)).await;
}

/// Creates a player whose streak of one day lapses then.
async fn create_player(store: &Faulty<MemoryStore>, lapses_at: UnixMillis) -> PlayerId {
    create_player_of_days(store, 1, lapses_at).await
}

/// Creates a player whose streak of these days has its latest day now and lapses then.
async fn create_player_of_days(
    store: &Faulty<MemoryStore>,
    days: u64,
    lapses_at: UnixMillis,
) -> PlayerId {
    let player = store.create_player("Ada").await.expect("create").id;
    let mut append = AppendBuilder::new(PlayerFold::new(player, "Ada".to_owned()));
    let kept = PlayerEventData::DayKept {
        day: "2026-11-28".to_owned(),
        zone: "UTC".to_owned(),
        days,
        best: days,
        freezes: 0,
        since: store.now(),
        lapses_at,
    };
    append.add(vec![kept], store.now(), None, None);
    let appended = store.append_to_stream(&append.build().0).await;
    assert_eq!(appended.expect("append"), StreamOutcome::Appended);
    player
}

async fn kinds(store: &Faulty<MemoryStore>, player: PlayerId) -> Vec<&'static str> {
    let events = store.stream_events(player, Seq::ZERO, 100).await;
    let events = events.expect("events");
    events.iter().map(|event| event.data.kind()).collect()
}

#[tokio::test(start_paused = true)]
async fn a_lapsed_streak_is_lost_once_whatever_projector_crashes() {
    let store = Faulty::<MemoryStore>::default();
    let lapses_at = store.now().plus(DAY_MS);
    let ada = create_player(&store, lapses_at).await;
    let ben = create_player(&store, lapses_at.plus(DAY_MS)).await;
    wait_until(&store, lapses_at).await;
    run(&projector(&store, 1), 100).await;
    assert_eq!(kinds(&store, ada).await, ["day_kept"], "it is too early");
    wait_until(&store, lapses_at.plus(CONTRIBUTION_DELAY_MAX_MS)).await;
    store.faults().stall_answers(Call::CommitProjection, 1);
    run(&projector(&store, 1), 20).await;
    assert_eq!(kinds(&store, ada).await, ["day_kept", "streak_lost"]);
    run(&projector(&store, 2), 100).await;
    assert_eq!(kinds(&store, ada).await, ["day_kept", "streak_lost"]);
    assert_eq!(kinds(&store, ben).await, ["day_kept"]);
    let lapsed = store.due_streaks(store.now(), None, 10).await;
    assert_eq!(lapsed.expect("a list"), []);
}

/// Returns the next moment at 20:00 UTC that is not today.
fn evening_of_tomorrow(store: &Faulty<MemoryStore>) -> UnixMillis {
    let today = store.now().0.div_euclid(DAY_MS);
    UnixMillis((today + 1) * DAY_MS + 20 * 3_600_000)
}

#[tokio::test(start_paused = true)]
async fn a_streak_at_risk_is_told_once_whatever_projector_crashes() {
    let store = Faulty::<MemoryStore>::default();
    let evening = evening_of_tomorrow(&store);
    let ada = create_player_of_days(&store, 3, evening.plus(DAY_MS)).await;
    let ben = create_player_of_days(&store, 2, evening.plus(DAY_MS)).await;
    wait_until(&store, evening).await;
    run(&projector(&store, 1), 100).await;
    assert_eq!(kinds(&store, ada).await, ["day_kept"], "it is too early");
    wait_until(&store, evening.plus(CONTRIBUTION_DELAY_MAX_MS)).await;
    store.faults().stall_answers(Call::CommitProjection, 1);
    run(&projector(&store, 1), 20).await;
    assert_eq!(kinds(&store, ada).await, ["day_kept", "notified"]);
    run(&projector(&store, 2), 100).await;
    assert_eq!(kinds(&store, ada).await, ["day_kept", "notified"]);
    assert_eq!(kinds(&store, ben).await, ["day_kept"]);
}

#[tokio::test(start_paused = true)]
async fn a_reminder_that_was_due_long_before_is_left_out() {
    let store = Faulty::<MemoryStore>::default();
    let evening = evening_of_tomorrow(&store);
    let ada = create_player_of_days(&store, 3, evening.plus(2 * DAY_MS)).await;
    wait_until(&store, evening.plus(3 * 3_600_000)).await;
    run(&projector(&store, 1), 20).await;
    assert_eq!(kinds(&store, ada).await, ["day_kept"]);
    let due = store.due_streaks(store.now(), None, 10).await;
    assert_eq!(due.expect("a list"), []);
    let next = evening.plus(DAY_MS + CONTRIBUTION_DELAY_MAX_MS);
    wait_until(&store, next).await;
    run(&projector(&store, 2), 20).await;
    assert_eq!(kinds(&store, ada).await, ["day_kept", "notified"]);
}

#[tokio::test(start_paused = true)]
async fn more_streaks_than_a_page_are_lost_one_page_after_the_other() {
    let store = Faulty::<MemoryStore>::default();
    let lapses_at = store.now().plus(DAY_MS);
    for _ in 0..600 {
        create_player(&store, lapses_at).await;
    }
    wait_until(&store, lapses_at.plus(CONTRIBUTION_DELAY_MAX_MS)).await;
    run(&projector(&store, 1), 20).await;
    let lapsed = store.due_streaks(store.now(), None, 1).await;
    assert_eq!(lapsed.expect("a list"), []);
    assert_eq!(store.faults().call_count(Call::CommitProjection), 3);
}

#[tokio::test(start_paused = true)]
async fn a_player_with_a_failed_cause_keeps_the_streak_until_it_is_settled() {
    let store = Faulty::<MemoryStore>::default();
    let lapses_at = store.now().plus(DAY_MS);
    let ada = create_player(&store, lapses_at).await;
    let ben = create_player(&store, lapses_at).await;
    wait_until(&store, lapses_at.plus(CONTRIBUTION_DELAY_MAX_MS)).await;
    let cause = RaidPlace {
        raid: RaidId::try_from(7_u64).expect("an id"),
        seq: Seq(1),
    };
    let failed = FailedCause {
        player: ada,
        cause,
        error: "the stream cannot be read".to_owned(),
        failed_at: store.now(),
    };
    let other = InstanceId(Uuid::from_u128(9));
    let place = store.acquire_projector(other).await.expect("acquire");
    let place = place.expect("the place");
    let mut page = ProjectedPage {
        from: place,
        to: place,
        failed: vec![failed],
        ..ProjectedPage::default()
    };
    let committed = store.commit_projection(other, &page).await;
    assert_eq!(committed.expect("commit"), ProjectionOutcome::Committed);
    run(&projector(&store, 1), 20).await;
    assert_eq!(kinds(&store, ada).await, ["day_kept"]);
    assert_eq!(kinds(&store, ben).await, ["day_kept", "streak_lost"]);

    store.acquire_projector(other).await.expect("acquire");
    page.failed.clear();
    page.settled.push((ada, cause));
    let committed = store.commit_projection(other, &page).await;
    assert_eq!(committed.expect("commit"), ProjectionOutcome::Committed);
    run(&projector(&store, 2), 20).await;
    assert_eq!(kinds(&store, ada).await, ["day_kept", "streak_lost"]);
}

#[tokio::test(start_paused = true)]
async fn a_command_between_reading_and_writing_a_loss_loses_neither() {
    let store = Faulty::<MemoryStore>::default();
    let lapses_at = store.now().plus(DAY_MS);
    let ada = create_player(&store, lapses_at).await;
    let first = projector(&store, 1);
    run(&first, 1).await;
    let mut append = AppendBuilder::new(first.streams.read(ada).await.expect("read"));
    wait_until(&store, lapses_at.plus(CONTRIBUTION_DELAY_MAX_MS)).await;
    let renamed = PlayerEventData::NameChanged {
        name: "Countess".to_owned(),
    };
    append.add(vec![renamed], store.now(), None, None);
    store.faults().hold_calls(Call::CommitProjection);
    let second = projector(&store, 2);
    let append = async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        let appended = store.append_to_stream(&append.build().0).await;
        store.faults().release_calls(Call::CommitProjection);
        appended.expect("append")
    };
    let (appended, ()) = tokio::join!(append, run(&second, 30));
    assert_eq!(appended, StreamOutcome::Appended);
    let expected = ["day_kept", "name_changed", "streak_lost"];
    assert_eq!(kinds(&store, ada).await, expected);
}

#[tokio::test(start_paused = true)]
async fn a_window_is_final_once_all_its_contributions_are_in() {
    let store = Faulty::<MemoryStore>::default();
    let definitions = Definitions::built_in();
    let daily = definitions.board("daily").expect("a leaderboard");
    let closes_at = daily.closes_at(daily.number_at(store.now()));
    let closes_at = closes_at.expect("a time");
    let final_until = async || store.boards_final_until().await.expect("a moment");
    wait_until(&store, closes_at).await;
    run(&projector(&store, 1), 20).await;
    assert!(final_until().await > UnixMillis(0), "earlier windows are");
    assert!(final_until().await < closes_at, "it is too early");
    wait_until(&store, closes_at.plus(CONTRIBUTION_DELAY_MAX_MS)).await;
    store.faults().stall_answers(Call::FinishBoards, 1);
    run(&projector(&store, 1), 20).await;
    let finished = final_until().await;
    assert!(finished >= closes_at);
    run(&projector(&store, 2), 100).await;
    assert_eq!(final_until().await, finished, "no other window has closed");
}
