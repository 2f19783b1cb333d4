//! Checks of the feed.

use std::time::Duration;

use raidhall::store::FeedCursor;
use raidhall_protocol::{Event, RaidId};
use tokio::time::{Instant, sleep};

use super::*;

/// Longer than any transaction of a test takes.
const HELD_BACK: Duration = Duration::from_secs(30);

/// Reads a feed of at least `count` events, in pages. A transaction in flight anywhere on the
/// server, even another test's, may hold events back for as long as it lasts.
async fn read_whole_feed(store: &dyn Store, count: usize, page: u32) -> Vec<(RaidId, Event)> {
    let mut place = FeedCursor::default();
    let mut all = Vec::new();
    let since = Instant::now();
    loop {
        let batch = store.read_feed(place, page).await.expect("feed");
        assert!(batch.events.len() <= page as usize);
        if batch.events.is_empty() {
            assert_eq!(batch.next, place, "the end stays where it is");
            if all.len() >= count || since.elapsed() > HELD_BACK {
                return all;
            }
            sleep(Duration::from_millis(10)).await;
            continue;
        }
        assert!(batch.next > place);
        place = batch.next;
        let events = batch.events.into_iter();
        all.extend(events.map(|it| (it.raid, it.event)));
    }
}

pub async fn the_feed_lists_all_raids_events_in_order_for_any_page_size(store: &dyn Store) {
    assert_eq!(read_whole_feed(store, 0, 10).await, []);
    let owner = register_instance(store).await;
    let ada = create_player(store, "Ada").await;
    let mut expected = Vec::new();
    let mut raids: Vec<_> = Vec::new();
    for id in 1..=3 {
        let mut history = History::new(raid(id), owner.id);
        let append = history.append([
            crate::history::raid_created(raid(id)),
            crate::history::joined(ada),
        ]);
        commit(store, &append).await;
        expected.extend(
            append
                .events
                .into_iter()
                .map(|recorded| (raid(id), recorded.event)),
        );
        raids.push(history);
    }
    for (round, id) in (0..12).zip([2, 1, 3, 3].into_iter().cycle()) {
        let append = raids[id as usize - 1].append([crate::history::said(&round.to_string())]);
        commit(store, &append).await;
        expected.extend(
            append
                .events
                .into_iter()
                .map(|recorded| (raid(id), recorded.event)),
        );
    }
    for page in [1, 2, 7, 100] {
        assert_eq!(
            read_whole_feed(store, expected.len(), page).await,
            expected,
            "in pages of {page}"
        );
    }
}

pub async fn an_empty_feed_names_the_lineage(store: &dyn Store) {
    let lineage = store
        .renew(&register_instance(store).await, LONG_TTL)
        .await
        .expect("renew")
        .lineage;
    assert_eq!(
        store
            .read_feed(FeedCursor::default(), 1)
            .await
            .expect("feed")
            .lineage,
        lineage
    );
}
