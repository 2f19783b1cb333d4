//! Checks of text and numbers at the limits of what is allowed.

use raidhall_protocol::{EventData, Seq};

use super::*;
use crate::history::*;

/// Returns texts that could break quoting, encodings, column widths or terminals. Control
/// characters never reach the store.
fn hostile_texts() -> Vec<String> {
    vec![
        String::new(),
        "Robert'); DROP TABLE raids;--".into(),
        r#"" \" \\ ' '' ` $1 ?1 :name @p %s {0} \u0000 null"#.into(),
        "🔥👩‍👩‍👧‍👦🏴‍☠️ e\u{301} é ẞ ﷽ 𝕏 \u{10FFFF} \u{FFFE}".into(),
        "\u{202E}dehcated\u{202C} \u{2066}a\u{2069} \u{200B}\u{FEFF}\u{00AD}".into(),
        "{\"type\":\"said\",\"data\":{}}".into(),
        "\u{85}\u{2028}\u{2029}\u{A0}".into(),
        "ﬀ𐍈".repeat(50_000),
    ]
}

pub async fn hostile_text_survives_a_round_trip_through_the_store(store: &dyn Store) {
    let owner = register_instance(store).await;
    for (id, text) in (1..).zip(hostile_texts()) {
        let made = store.create_player(&text).await.expect("create player");
        assert_eq!(made.name, text);
        assert_eq!(
            store.player(made.id).await.expect("read player"),
            Some(made.clone())
        );

        let mut history = History::new(raid(id), owner.id);
        let mut created = raid_created(raid(id));
        if let EventData::RaidCreated {
            title, description, ..
        } = &mut created
        {
            (*title, *description) = (text.clone(), Some(text.clone()));
        }
        let append = history.append([created, joined(made.id), said(&text)]);
        assert_eq!(commit(store, &append).await, CommitOutcome::Committed);
        let expected: Vec<_> = append
            .events
            .into_iter()
            .map(|recorded| recorded.event)
            .collect();
        assert_eq!(
            store.events(raid(id), Seq::ZERO, 10).await.expect("events"),
            expected
        );
        assert_eq!(
            store
                .raids_by_member(made.id, None, None, 1)
                .await
                .expect("raids of")[0]
                .title,
            text
        );
        assert_eq!(store.raid_by_invite(&text).await.expect("find"), None);
    }
}

pub async fn the_largest_ids_fit(store: &dyn Store) {
    const MAX: u64 = (1 << 53) - 1;
    let owner = register_instance(store).await;
    let mut history = create_raid(store, MAX, &owner, player(MAX)).await;
    let mut append = history.append_with_op([completed_task(player(MAX), MAX)], Some(op("most")));
    append.events[0].event.at = UnixMillis(MAX.cast_signed());
    assert_eq!(commit(store, &append).await, CommitOutcome::Committed);

    let loaded = store
        .load(raid(MAX), 1)
        .await
        .expect("load")
        .expect("a raid");
    assert_eq!(loaded.tail[2], append.events[0].event);
    assert_eq!(loaded.ops, [(op("most"), Seq(3))]);
    let rows = store
        .raids_by_member(player(MAX), None, None, 1)
        .await
        .expect("raids of");
    assert_eq!((rows[0].id, rows[0].header.current_xp), (raid(MAX), MAX));
    let contributions = store
        .contributions(raid(MAX), Seq::ZERO, 1)
        .await
        .expect("contributions");
    assert_eq!(
        (contributions[0].xp, contributions[0].player),
        (MAX, player(MAX))
    );
    let before = store
        .raids_by_member(player(MAX), None, Some(raid(MAX)), 1)
        .await
        .expect("raids of");
    assert_eq!(before, []);
}
