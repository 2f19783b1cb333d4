//! Checks of external identities and single-use proofs.

use raidhall::store::LinkOutcome;

use super::*;
use crate::history::player;

pub async fn an_identity_is_the_same_player_each_time(store: &dyn Store) {
    assert_eq!(
        store.player_by_identity("host:7").await.expect("read"),
        None
    );
    let made = store
        .find_or_create_by_identity("host:7", "Ada")
        .await
        .expect("admit");
    assert_eq!(
        store
            .find_or_create_by_identity("host:7", "Another name")
            .await
            .expect("admit"),
        made
    );
    assert_eq!(
        store.player_by_identity("host:7").await.expect("read"),
        Some(made.clone())
    );
    assert_ne!(
        store
            .find_or_create_by_identity("host:8", "Ada")
            .await
            .expect("admit")
            .id,
        made.id
    );
    assert_eq!(
        store
            .player(made.id)
            .await
            .expect("read")
            .expect("a player")
            .name,
        "Ada"
    );
}

pub async fn concurrent_first_uses_of_an_identity_create_one_player(store: &dyn Store) {
    let admit = || store.find_or_create_by_identity("host:7", "Ada");
    let (a, b, c, d) = tokio::join!(admit(), admit(), admit(), admit());
    let ids: Vec<_> = [a, b, c, d]
        .into_iter()
        .map(|admitted| admitted.expect("admit").id)
        .collect();
    assert!(ids.iter().all(|id| *id == ids[0]), "{ids:?}");
}

pub async fn an_identity_is_linked_unless_either_side_is_taken(store: &dyn Store) {
    let ada = create_player(store, "Ada").await;
    let ben = create_player(store, "Ben").await;
    let link = async |player, identity| store.link_identity(player, identity).await.expect("link");
    assert_eq!(link(ada, "host:7").await, LinkOutcome::Linked);
    assert_eq!(link(ada, "host:7").await, LinkOutcome::Linked, "once more");
    assert_eq!(link(ada, "host:8").await, LinkOutcome::HasAnother);
    assert_eq!(link(ben, "host:7").await, LinkOutcome::Taken);
    assert_eq!(link(player(12_345), "host:9").await, LinkOutcome::Missing);
    assert_eq!(
        store
            .player_by_identity("host:7")
            .await
            .expect("read")
            .map(|player| player.id),
        Some(ada)
    );
    assert_eq!(
        store
            .find_or_create_by_identity("host:7", "x")
            .await
            .expect("admit")
            .id,
        ada
    );
    assert_eq!(
        store.player_by_identity("host:8").await.expect("read"),
        None
    );
}

pub async fn one_of_two_concurrent_links_of_an_identity_succeeds(store: &dyn Store) {
    let ada = create_player(store, "Ada").await;
    let ben = create_player(store, "Ben").await;
    let (one, other) = tokio::join!(
        store.link_identity(ada, "host:7"),
        store.link_identity(ben, "host:7")
    );
    let mut links = [one.expect("link"), other.expect("link")];
    links.sort_by_key(|link| *link != LinkOutcome::Linked);
    assert_eq!(links, [LinkOutcome::Linked, LinkOutcome::Taken]);
}

pub async fn a_proof_is_accepted_once_until_it_expires(store: &dyn Store) {
    let used_at = async |proof: u8, now| {
        let used = store.consume_proof([proof; 32], now, LONG_TTL).await;
        used.expect("use")
    };
    let used = async |proof| used_at(proof, NOW).await;
    assert!(used(1).await);
    assert!(!used(1).await);
    assert!(used(2).await);
    let both = tokio::join!(
        store.consume_proof([3; 32], NOW, LONG_TTL),
        store.consume_proof([3; 32], NOW, LONG_TTL)
    );
    let both = [both.0.expect("use"), both.1.expect("use")];
    assert!(both[0] != both[1], "one of two concurrent uses succeeds");
    assert!(!used(1).await);
}
