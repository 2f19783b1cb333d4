//! Checks of the audit log and of operators' lookups.

use raidhall::store::{InstanceRow, NewAuditEntry, PlayerLookup, RaidLookup};
use serde_json::json;

use super::*;
use crate::history::player;

pub async fn the_audit_log_keeps_every_entry_in_order(store: &dyn Store) {
    let details = json!({"reason": "it's \"that\" é🔥\\", "n": [1, null, {"deep": true}]});
    for target in ["raid 1", "raid 2", "raid 3"] {
        let entry = NewAuditEntry {
            at: NOW,
            actor: "service:shop".into(),
            action: "end_raid",
            target: target.into(),
            request_id: format!("r-{target}"),
            details: details.clone(),
        };
        store.record_audit(&entry).await.expect("record");
    }
    let all = store.audit_entries(0, 10).await.expect("audit");
    let shown: Vec<_> = all
        .iter()
        .map(|row| (row.target.as_str(), row.request_id.as_str()))
        .collect();
    assert_eq!(
        shown,
        [
            ("raid 1", "r-raid 1"),
            ("raid 2", "r-raid 2"),
            ("raid 3", "r-raid 3")
        ]
    );
    assert_eq!(
        (all[0].actor.as_str(), all[0].action.as_str()),
        ("service:shop", "end_raid")
    );
    assert_eq!(all[0].details, details);
    assert!(
        all.windows(2)
            .all(|pair| pair[0].id < pair[1].id && pair[0].at <= pair[1].at)
    );
    assert_eq!(store.audit_entries(0, 2).await.expect("audit"), all[..2]);
    assert_eq!(
        store.audit_entries(all[1].id, 10).await.expect("audit"),
        all[2..]
    );
}

pub async fn players_are_found_by_id_external_id_and_name_prefix(store: &dyn Store) {
    let ada = create_player(store, "Ada Lovelace").await;
    let adam = create_player(store, "ADAM").await;
    let percent = create_player(store, "%_wild").await;
    let known = store
        .find_or_create_by_identity("host:7", "Bea")
        .await
        .expect("admit")
        .id;
    let found = async |lookup: PlayerLookup| {
        let rows = store.find_players(&lookup, 10).await.expect("find");
        rows.into_iter()
            .map(|row| row.profile.id)
            .collect::<Vec<_>>()
    };
    let name = |name: &str| PlayerLookup::Name(name.to_owned());
    assert_eq!(found(name("ada")).await, [ada, adam]);
    assert_eq!(found(name("ADA ")).await, [ada]);
    assert_eq!(found(name("%")).await, [percent], "no wildcard");
    assert_eq!(found(name("da")).await, []);
    let long = |end: &str| format!("{}{end}", "é".repeat(70));
    let one = create_player(store, &long("one")).await;
    let two = create_player(store, &long("two")).await;
    assert_eq!(
        found(name(&long("tw"))).await,
        [two],
        "a name may be longer than the index covers"
    );
    assert_eq!(found(name(&long(""))).await, [one, two]);
    assert_eq!(found(PlayerLookup::Id(adam)).await, [adam]);
    assert_eq!(found(PlayerLookup::Id(player(12_345))).await, []);
    assert_eq!(
        found(PlayerLookup::ExternalId("host:7".into())).await,
        [known]
    );
    assert_eq!(
        store.find_players(&name("a"), 1).await.expect("find").len(),
        1
    );
    let row = &store
        .find_players(&PlayerLookup::Id(known), 1)
        .await
        .expect("find")[0];
    assert_eq!(
        (row.external_id.as_deref(), row.ban.as_deref()),
        (Some("host:7"), None)
    );
}

pub async fn raids_are_found_by_id_and_title_prefix(store: &dyn Store) {
    let owner = register_instance(store).await;
    let leader = create_player(store, "Ada").await;
    for id in [7, 3] {
        create_raid(store, id, &owner, leader).await;
    }
    let all = store
        .find_raids(&RaidLookup::Title(String::new()), 10)
        .await
        .expect("find");
    assert_eq!(all.len(), 2);
    let title = all[0].title.to_uppercase();
    let found = store
        .find_raids(&RaidLookup::Title(title), 10)
        .await
        .expect("find");
    assert!(found.iter().any(|row| row.id == all[0].id), "{found:?}");
    let other = store
        .find_raids(&RaidLookup::Title("\u{10ffff}".into()), 10)
        .await
        .expect("find");
    assert_eq!(other, []);
    let one = store
        .find_raids(&RaidLookup::Id(raid(7)), 10)
        .await
        .expect("find");
    assert_eq!((one.len(), one[0].id), (1, raid(7)));
}

pub async fn instances_are_listed_while_their_lease_lives(store: &dyn Store) {
    let one = register_instance(store).await;
    let listed = async || store.instances().await.expect("instances");
    let rows = listed().await;
    let [
        InstanceRow {
            id,
            ws_url,
            release,
            draining,
            lease_until,
        },
    ] = rows.as_slice()
    else {
        panic!("{rows:?}")
    };
    assert_eq!(
        (*id, ws_url, release, *draining),
        (one.id, &one.ws_url, &one.release, false)
    );
    let now = store.renew(&one, LONG_TTL).await.expect("renew").now;
    assert!(*lease_until > now);
    expire_lease(store, &one).await;
    assert!(listed().await.iter().all(|row| row.id != one.id));
}
