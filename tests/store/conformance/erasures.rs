//! Checks of erasures.

use raidhall::store::{
    Epoch, Erasure, FamilyId, FeedCursor, LinkOutcome, NewAuditEntry, Notice, RaidLookup,
    RotationOutcome, TokenHash,
};
use raidhall_protocol::{Event, EventData, RaidId, Seq};
use serde_json::json;
use uuid::Uuid;

use super::accounts::rotate;
use super::streams::{append, assert_no_stream, notified, stream_append, stream_events};
use super::*;
use crate::history::{contributed, joined, player, raid, raid_created, said};
use crate::wait::wait_for;

const NAME: &str = "[erased]";

/// Begins the erasure of a player.
pub async fn erase(store: &dyn Store, player: PlayerId) {
    let begun = store
        .begin_erasure(player, NAME, &audit_entry("erase"))
        .await;
    assert!(begun.expect("begin the erasure"));
}

fn audit_entry(action: &'static str) -> NewAuditEntry {
    let actor = "5".into();
    let target = "player 5".into();
    let request_id = "r-1".into();
    NewAuditEntry {
        at: NOW,
        actor,
        action,
        target,
        request_id,
        details: json!({}),
    }
}

pub async fn a_closed_account_loses_its_name_identity_and_sign_ins(store: &dyn Store) {
    let ada = create_player(store, "Ada").await;
    let ben = create_player(store, "Ben").await;
    assert_eq!(
        store.link_identity(ada, "u-1").await.expect("link"),
        LinkOutcome::Linked
    );
    let family = FamilyId(Uuid::now_v7());
    let token = TokenHash([1; 32]);
    store
        .create_token_family(family, ada, token, NOW, LONG_TTL)
        .await
        .expect("signed in");
    assert!(
        store
            .ban(ada, "spam", &audit_entry("ban"))
            .await
            .expect("ban")
    );
    for _ in 0..2 {
        assert!(
            store
                .begin_erasure(ada, NAME, &audit_entry("erase"))
                .await
                .expect("begun")
        );
    }
    assert_eq!(
        store
            .player(ada)
            .await
            .expect("player")
            .expect("a row")
            .name,
        NAME
    );
    assert_eq!(
        store
            .player(ben)
            .await
            .expect("player")
            .expect("a row")
            .name,
        "Ben"
    );
    assert_eq!(
        store
            .account(ada, NOW)
            .await
            .expect("account")
            .expect("a row")
            .external_id,
        None
    );
    assert_eq!(
        store.link_identity(ada, "u-2").await.expect("link"),
        LinkOutcome::Missing
    );
    assert_eq!(rotate(store, family, 1, 2).await, RotationOutcome::Unknown);
    let bans = store.bans(None, 10).await.expect("bans");
    assert_eq!(
        bans.iter()
            .map(|ban| (ban.player.id, ban.reason.as_str()))
            .collect::<Vec<_>>(),
        [(ada, "erased")]
    );
    assert!(
        !store
            .unban(ada, &audit_entry("unban"))
            .await
            .expect("unban"),
        "an erased player's ban cannot be lifted"
    );
    assert!(
        !store
            .ban(ada, "again", &audit_entry("ban"))
            .await
            .expect("ban")
    );
    let notices = store.notices(0, NOW).await.expect("notices").notices;
    let banned = Notice::BanChanged {
        player: ada,
        banned: true,
    };
    assert!(
        notices.iter().any(|(_, notice)| *notice == banned),
        "{notices:?}"
    );
    let actions: Vec<_> = store
        .audit_entries(0, 10)
        .await
        .expect("audit")
        .into_iter()
        .map(|entry| entry.action)
        .collect();
    assert_eq!(actions, ["ban", "erase"]);
    assert_ne!(
        store
            .find_or_create_by_identity("u-1", "Ada")
            .await
            .expect("admitted")
            .id,
        ada,
        "the id is free again"
    );
    assert!(
        !store
            .begin_erasure(player(12_345), NAME, &audit_entry("erase"))
            .await
            .expect("take erasure")
    );
}

pub async fn an_erasure_is_due_until_ended_and_taken_by_one_instance_at_a_time(store: &dyn Store) {
    assert_eq!(
        store
            .take_erasure(NOW, LONG_TTL)
            .await
            .expect("take erasure"),
        None
    );
    let ada = create_player(store, "Ada").await;
    let ben = create_player(store, "Ben").await;
    for (player, again) in [(ada, SHORT_TTL), (ben, LONG_TTL)] {
        assert!(
            store
                .begin_erasure(player, NAME, &audit_entry("erase"))
                .await
                .expect("begun")
        );
        let Erasure {
            player: taken,
            begun_at,
        } = take_erasure(store, NOW, again).await;
        assert_eq!(taken, player);
        assert_eq!(begun_at, NOW);
        store.end_erasure(ada).await.expect("ended");
    }
    assert_eq!(
        store
            .take_erasure(NOW, LONG_TTL)
            .await
            .expect("take erasure"),
        None,
        "one is ended, another instance has taken the other"
    );
    let cal = create_player(store, "Cal").await;
    assert!(
        store
            .begin_erasure(cal, NAME, &audit_entry("erase"))
            .await
            .expect("begun")
    );
    for later in 0..3 {
        assert_eq!(
            take_erasure(store, NOW.plus(later), SHORT_TTL).await.player,
            cal,
            "the instance that took it may have died"
        );
    }
    let now = NOW.plus(3);
    let both = tokio::join!(
        store.take_erasure(now, LONG_TTL),
        store.take_erasure(now, LONG_TTL)
    );
    let one = both.0.expect("take erasure");
    let other = both.1.expect("take erasure");
    assert!(one.is_some() != other.is_some(), "{one:?} {other:?}");
}

async fn take_erasure(store: &dyn Store, now: UnixMillis, again: Duration) -> Erasure {
    store
        .take_erasure(now, again)
        .await
        .expect("take erasure")
        .expect("one is due")
}

pub async fn an_erasure_deletes_the_players_stream(store: &dyn Store) {
    let ada = create_player(store, "Ada").await;
    let ben = create_player(store, "Ben").await;
    for player in [ada, ben] {
        append(store, &stream_append(player, 0, [notified("a")])).await;
    }
    erase(store, ada).await;
    assert_no_stream(store, ada).await;
    store.end_erasure(ada).await.expect("end");
    assert_no_stream(store, ada).await;
    assert_eq!(stream_events(store, ben).await.len(), 1);
}

pub async fn rewritten_events_are_read_everywhere_at_their_old_seq(store: &dyn Store) {
    let owner = register_instance(store).await;
    let ada = create_player(store, "Ada").await;
    let id = raid(1);
    let other = create_raid(store, 2, &owner, ada).await;
    let mut history = History::new(id, owner.id);
    let made = history.append([
        raid_created(id),
        joined(ada),
        said("hello"),
        contributed(ada, 5),
    ]);
    commit(store, &made).await;
    let before = read_feed(store, 4 + other.seq.0 as usize).await;
    let epoch = store.head(id).await.expect("head").expect("a raid").epoch;
    assert_eq!(epoch, Epoch(1));
    for seq in [1, 3] {
        store
            .save_snapshot(id, owner.id, epoch, Seq(seq), b"state")
            .await
            .expect("kept");
    }
    let mut clean: Vec<Event> = made
        .events
        .iter()
        .map(|recorded| recorded.event.clone())
        .collect();
    clean.pop();
    clean[1].data = with_erased_name(&clean[1].data);
    clean[2].data = said(NAME);
    if let EventData::RaidCreated { title, .. } = &mut clean[0].data {
        NAME.clone_into(title);
    }
    store
        .rewrite_events(id, &clean, Seq(3))
        .await
        .expect("rewritten");
    let read = store.events(id, Seq::ZERO, 10).await.expect("events");
    assert_eq!(read[..3], clean[..]);
    assert_eq!(read[3], made.events[3].event, "other events are unchanged");
    let loaded = store.load(id, 10).await.expect("load").expect("a raid");
    assert_eq!(
        loaded.snapshot.map(|(seq, _)| seq),
        Some(Seq(3)),
        "a snapshot at `before` is kept"
    );
    store
        .rewrite_events(id, &[], Seq(4))
        .await
        .expect("rewritten");
    let loaded = store.load(id, 10).await.expect("load").expect("a raid");
    assert_eq!((loaded.snapshot, loaded.tail), (None, read));
    assert_eq!(
        store
            .raids_by_member(ada, None, None, 10)
            .await
            .expect("raids")[1]
            .title,
        NAME
    );
    assert_eq!(
        store
            .find_raids(&RaidLookup::Title(NAME.into()), 10)
            .await
            .expect("raids")
            .len(),
        1
    );
    let places = |events: Vec<(RaidId, Event)>| {
        events
            .into_iter()
            .map(|(of, event)| (of, event.seq))
            .collect::<Vec<_>>()
    };
    let after = read_feed(store, before.len()).await;
    assert!(after.contains(&(id, clean[2].clone())));
    assert_eq!(places(after), places(before));
    commit(store, &history.append([said("more")])).await;
    let missing_raid = store.rewrite_events(raid(99), &clean, Seq(9)).await;
    missing_raid.expect("there is nothing to rewrite");
}

fn with_erased_name(data: &EventData) -> EventData {
    let mut data = data.clone();
    if let EventData::MemberJoined { name, .. } = &mut data {
        NAME.clone_into(name);
    }
    data
}

/// Returns all events of the feed, once it has at least `count`: other tests' transactions may hold
/// it back.
async fn read_feed(store: &dyn Store, count: usize) -> Vec<(RaidId, Event)> {
    wait_for("the feed", async || {
        let batch = store.read_feed(FeedCursor::default(), 100).await;
        let events = batch.expect("feed").events.into_iter();
        let events: Vec<_> = events.map(|it| (it.raid, it.event)).collect();
        (events.len() >= count).then_some(events)
    })
    .await
}
