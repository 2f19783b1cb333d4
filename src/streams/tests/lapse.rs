//! The loss of a streak that is due before a command.

use raidhall_protocol::player::event::RaidPlace;
use raidhall_protocol::state::RaidStatus;
use raidhall_protocol::{Event, EventData, RaidId, UnixMillis};

use super::*;
use crate::player::CONTRIBUTION_DELAY_MAX_MS;
use crate::store::{
    Append, Epoch, FailedCause, Feed, Ledger, LedgerEvent, Month, ProjectedPage, Projection,
    ProjectionOutcome, RaidHeader,
};

const INSTANCE: InstanceId = InstanceId(Uuid::from_u128(1));

/// Returns the streams of a player whose streak of one day lapses in a day, and when that is.
async fn with_streak() -> (TestStreams, UnixMillis) {
    let test = TestStreams::new().await;
    let now = test.store.now();
    let lapses_at = now.plus(86_400_000);
    let kept = PlayerEventData::DayKept {
        day: "2026-11-28".to_owned(),
        zone: "UTC".to_owned(),
        days: 1,
        best: 1,
        freezes: 0,
        since: now,
        lapses_at,
    };
    let fold = test.streams.read(test.player).await.expect("read");
    let mut append = crate::streams::AppendBuilder::new(fold);
    append.add(vec![kept], now, None, None);
    let appended = test.store.append_to_stream(&append.build().0).await;
    assert_eq!(appended.expect("append"), StreamOutcome::Appended);
    (test, lapses_at)
}

/// Lets time pass until a moment, and sends a command. Returns the types of the newest events.
async fn command_at(test: &TestStreams, at: UnixMillis, value: u64) -> Vec<&'static str> {
    let before = test.streams.read(test.player).await.expect("read").seq;
    let wait = at.since(test.store.now()).max(0).cast_unsigned();
    tokio::time::sleep(Duration::from_millis(wait)).await;
    let ack = test.set(value, None).await.expect("an ack");
    let events = test.streams.events(test.player, before, 10).await;
    let events = events.expect("events");
    assert_eq!(events.last().map(|event| event.seq), Some(ack.seq));
    events.iter().map(|event| event.data.kind()).collect()
}

fn settled_at(lapses_at: UnixMillis) -> UnixMillis {
    lapses_at.plus(CONTRIBUTION_DELAY_MAX_MS)
}

#[tokio::test(start_paused = true)]
async fn a_lapsed_streak_is_lost_before_the_next_command() {
    let (test, lapses_at) = with_streak().await;
    let early = settled_at(lapses_at).plus(-2_000);
    assert_eq!(command_at(&test, early, 1).await, ["setting_set"]);
    let lost = ["streak_lost", "setting_set"];
    assert_eq!(command_at(&test, settled_at(lapses_at), 2).await, lost);
    let later = settled_at(lapses_at).plus(60_000);
    assert_eq!(command_at(&test, later, 3).await, ["setting_set"]);
}

#[tokio::test(start_paused = true)]
async fn a_command_that_changes_nothing_does_not_append_the_loss() {
    let (test, lapses_at) = with_streak().await;
    assert_eq!(
        command_at(&test, test.store.now(), 1).await,
        ["setting_set"]
    );
    let wait = settled_at(lapses_at).since(test.store.now());
    tokio::time::sleep(Duration::from_millis(wait.cast_unsigned())).await;
    assert_eq!(test.set(1, None).await, at(2));
    let fold = test.streams.read(test.player).await.expect("read");
    assert_eq!(fold.seq, Seq(2));
}

/// The projector is behind, so a contribution that keeps the streak may still come.
#[tokio::test(start_paused = true)]
async fn a_streak_is_not_lost_before_the_projector_has_passed_its_lapse() {
    let (test, lapses_at) = with_streak().await;
    let committed = test.store.commit(&[creation(lapses_at.plus(-1))]).await;
    committed.expect("commit");
    let late = settled_at(lapses_at).plus(3_600_000);
    assert_eq!(command_at(&test, late, 1).await, ["setting_set"]);
    project(&test, vec![]).await;
    let lost = ["streak_lost", "setting_set"];
    assert_eq!(command_at(&test, late, 2).await, lost);
}

#[tokio::test(start_paused = true)]
async fn a_streak_is_not_lost_while_an_effect_waits_to_be_tried_again() {
    let (test, lapses_at) = with_streak().await;
    let failed = FailedCause {
        player: test.player,
        cause: RaidPlace {
            raid: RaidId::try_from(7_u64).expect("an id"),
            seq: Seq(1),
        },
        error: "the stream cannot be read".to_owned(),
        failed_at: test.store.now(),
    };
    project(&test, vec![failed]).await;
    let late = settled_at(lapses_at);
    assert_eq!(command_at(&test, late, 1).await, ["setting_set"]);
}

/// Moves the projector to the end of the feed.
async fn project(test: &TestStreams, failed: Vec<FailedCause>) {
    let store = &test.store;
    let from = store.acquire_projector(INSTANCE).await.expect("acquire");
    let from = from.expect("the place");
    let page = ProjectedPage {
        from,
        to: store.read_feed(from, 10).await.expect("a page").next,
        failed,
        ..ProjectedPage::default()
    };
    let committed = store.commit_projection(INSTANCE, &page).await;
    assert_eq!(committed.expect("commit"), ProjectionOutcome::Committed);
}

/// Returns the append that creates a raid.
fn creation(at: UnixMillis) -> Append {
    let data = EventData::RaidCreated {
        title: "Ship it".to_owned(),
        description: None,
        invite_code: "K7MQ2XNB".to_owned(),
        target_xp: 1,
        target_tasks: 1,
        time_limit_secs: 60,
        max_members: 4,
        late_join: false,
        ranked: false,
    };
    let event = Event {
        seq: Seq(1),
        at,
        by: None,
        data,
    };
    Append {
        raid: RaidId::try_from(7_u64).expect("an id"),
        created_month: Month(202_701),
        owner: INSTANCE,
        epoch: Epoch(1),
        events: vec![LedgerEvent { event, op: None }],
        header: RaidHeader {
            status: RaidStatus::Recruiting,
            deadline: None,
            current_xp: 0,
            current_tasks: 0,
            ended_at: None,
        },
        creation: None,
    }
}
