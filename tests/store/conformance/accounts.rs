//! Checks of accounts and refresh tokens.

use std::collections::BTreeSet;

use raidhall::store::{FamilyId, LinkOutcome, RotationOutcome, RotationRequest, TokenHash};
use raidhall_protocol::server::PlayerRef;
use uuid::Uuid;

use super::streams::{append, assert_no_stream, notified, stream_append, stream_events};
use super::*;
use crate::history::{History, joined, left, player, raid, raid_created};

fn new_family() -> FamilyId {
    FamilyId(Uuid::now_v7())
}

fn token_hash(n: u8) -> TokenHash {
    TokenHash([n; 32])
}

/// Signs a player in with token 1.
async fn sign_in(store: &dyn Store, ttl: Duration) -> (FamilyId, SignedInPlayer) {
    let family = new_family();
    let id = create_player(store, "Ada").await;
    store
        .create_token_family(family, id, token_hash(1), NOW, ttl)
        .await
        .expect("begin");
    (
        family,
        SignedInPlayer(PlayerRef {
            id,
            name: "Ada".into(),
        }),
    )
}

/// The player of a sign-in, as a rotation returns them.
#[derive(Debug, Clone, PartialEq)]
struct SignedInPlayer(PlayerRef);

impl SignedInPlayer {
    /// Returns the outcome of a rotation to token `n`.
    fn rotated_to(&self, n: u8) -> RotationOutcome {
        RotationOutcome::Rotated {
            player: self.0.clone(),
            current: token_hash(n),
        }
    }
}

pub(super) async fn rotate(
    store: &dyn Store,
    family: FamilyId,
    from: u8,
    to: u8,
) -> RotationOutcome {
    rotate_at(store, family, from, to, NOW).await
}

/// Rotates a token at `now`; the next one is valid for [`LONG_TTL`].
async fn rotate_at(
    store: &dyn Store,
    family: FamilyId,
    from: u8,
    to: u8,
    now: UnixMillis,
) -> RotationOutcome {
    let presentation = RotationRequest {
        family,
        presented: token_hash(from),
        replacement: token_hash(to),
        now,
        ttl: LONG_TTL,
    };
    store
        .rotate_refresh_token(presentation)
        .await
        .expect("rotate")
}

async fn database_now(store: &dyn Store) -> UnixMillis {
    store
        .renew(&instance(), SHORT_TTL)
        .await
        .expect("renew")
        .now
}

pub async fn a_player_starts_with_nothing(store: &dyn Store) {
    let before = database_now(store).await;
    let made = store.create_player("Ada").await.expect("create player");
    assert_eq!(
        (made.name.as_str(), made.xp, made.tasks, made.raids_won),
        ("Ada", 0, 0, 0)
    );
    assert!(made.created_at >= before && made.created_at <= database_now(store).await);
    assert_eq!(
        store.player(made.id).await.expect("read player"),
        Some(made.clone())
    );
    let namesake = store.create_player("Ada").await.expect("create player");
    assert_ne!(namesake.id, made.id, "names need not differ");
}

pub async fn an_unknown_player_is_none(store: &dyn Store) {
    assert_eq!(
        store.player(player(12_345)).await.expect("read player"),
        None
    );
}

pub async fn a_refresh_token_is_replaced(store: &dyn Store) {
    let (family, rotated) = sign_in(store, LONG_TTL).await;
    for from in 1..5 {
        assert_eq!(
            rotate(store, family, from, from + 1).await,
            rotated.rotated_to(from + 1)
        );
    }
}

pub async fn a_repeat_gets_the_same_next_refresh_token_until_that_is_used(store: &dyn Store) {
    let (family, rotated) = sign_in(store, LONG_TTL).await;
    for _ in 0..3 {
        assert_eq!(rotate(store, family, 1, 2).await, rotated.rotated_to(2));
    }
    assert_eq!(
        rotate(store, family, 1, 99).await,
        rotated.rotated_to(2),
        "the first successor holds"
    );
    assert_eq!(
        rotate(store, family, 2, 3).await,
        rotated.rotated_to(3),
        "the successor is current"
    );
    let again = tokio::join!(rotate(store, family, 3, 4), rotate(store, family, 3, 4));
    assert_eq!(
        again,
        (rotated.rotated_to(4), rotated.rotated_to(4)),
        "concurrent calls"
    );
}

pub async fn reuse_of_an_older_token_revokes_the_family(store: &dyn Store) {
    let (family, rotated) = sign_in(store, LONG_TTL).await;
    assert_eq!(rotate(store, family, 1, 2).await, rotated.rotated_to(2));
    assert_eq!(rotate(store, family, 2, 3).await, rotated.rotated_to(3));
    assert_eq!(
        rotate(store, family, 1, 2).await,
        RotationOutcome::Reused,
        "two generations back"
    );
    assert_eq!(rotate(store, family, 3, 4).await, RotationOutcome::Unknown);
}

pub async fn a_forged_token_revokes_the_family(store: &dyn Store) {
    let (family, _) = sign_in(store, LONG_TTL).await;
    assert_eq!(rotate(store, family, 77, 78).await, RotationOutcome::Reused);
    assert_eq!(rotate(store, family, 1, 2).await, RotationOutcome::Unknown);
}

/// The time at which a token that was issued at [`NOW`] for [`LONG_TTL`] expires.
const EXPIRY: UnixMillis = NOW.plus(LONG_TTL.as_millis() as i64);

pub async fn an_expired_family_is_unknown(store: &dyn Store) {
    let (family, _) = sign_in(store, LONG_TTL).await;
    assert_eq!(
        rotate_at(store, family, 1, 2, EXPIRY).await,
        RotationOutcome::Unknown
    );
    assert_eq!(
        rotate(store, self::new_family(), 1, 2).await,
        RotationOutcome::Unknown
    );
}

pub async fn rotating_prolongs_a_family(store: &dyn Store) {
    let (family, rotated) = sign_in(store, LONG_TTL).await;
    let before = EXPIRY.plus(-1);
    assert_eq!(
        rotate_at(store, family, 1, 2, before).await,
        rotated.rotated_to(2)
    );
    assert_eq!(
        rotate_at(store, family, 2, 3, EXPIRY).await,
        rotated.rotated_to(3)
    );
}

pub async fn a_repeat_prolongs_a_family(store: &dyn Store) {
    let (family, rotated) = sign_in(store, LONG_TTL).await;
    assert_eq!(rotate(store, family, 1, 2).await, rotated.rotated_to(2));
    let before = EXPIRY.plus(-1);
    assert_eq!(
        rotate_at(store, family, 1, 2, before).await,
        rotated.rotated_to(2)
    );
    assert_eq!(
        rotate_at(store, family, 2, 3, EXPIRY).await,
        rotated.rotated_to(3)
    );
}

pub async fn families_are_independent(store: &dyn Store) {
    let (phone, ada) = sign_in(store, LONG_TTL).await;
    let (laptop, namesake) = sign_in(store, LONG_TTL).await;
    assert_eq!(rotate(store, phone, 77, 78).await, RotationOutcome::Reused);
    assert_eq!(rotate(store, laptop, 1, 2).await, namesake.rotated_to(2));
    assert_ne!(ada, namesake);
}

pub async fn an_account_export_lists_the_renewable_sign_ins(store: &dyn Store) {
    let ada = create_player(store, "Ada").await;
    let bob = create_player(store, "Bob").await;
    for (player, token, ttl) in [
        (ada, 1, LONG_TTL),
        (ada, 2, LONG_TTL),
        (ada, 3, SHORT_TTL),
        (ada, 4, LONG_TTL),
        (bob, 5, LONG_TTL),
    ] {
        let family = FamilyId(Uuid::now_v7());
        let token = TokenHash([token; 32]);
        store
            .create_token_family(family, player, token, NOW, ttl)
            .await
            .expect("begin");
        if token == TokenHash([4; 32]) {
            assert_eq!(rotate(store, family, 9, 4).await, RotationOutcome::Reused);
        }
    }
    assert_eq!(
        store.link_identity(ada, "host:7").await.expect("link"),
        LinkOutcome::Linked
    );
    let now = NOW.plus(2);
    let account = store
        .account(ada, now)
        .await
        .expect("read account")
        .expect("an account");
    assert_eq!(
        Some(account.profile),
        store.player(ada).await.expect("read player")
    );
    assert_eq!(
        (account.external_id.as_deref(), account.sign_ins.len()),
        (Some("host:7"), 2)
    );
    assert!(
        account
            .sign_ins
            .iter()
            .all(|one| one.renewed_at <= now && one.expires_at > now)
    );
    assert_eq!(
        store
            .account(player(12_345), NOW)
            .await
            .expect("read account"),
        None
    );
}

pub async fn raids_ever_joined_include_current_and_left_ones_in_pages(store: &dyn Store) {
    let owner = register_instance(store).await;
    let ada = create_player(store, "Ada").await;
    let bob = create_player(store, "Bob").await;
    for id in 1..=4 {
        let mut history = create_raid(store, id, &owner, if id == 3 { bob } else { ada }).await;
        if id == 2 {
            assert_eq!(
                commit(store, &history.append([left(ada)])).await,
                CommitOutcome::Committed
            );
        }
        if id == 4 {
            let both = history.append([left(ada), joined(ada), joined(bob), left(bob)]);
            assert_eq!(commit(store, &both).await, CommitOutcome::Committed);
        }
    }
    let visited =
        |player, after: Option<u64>, limit| store.raids_ever_joined(player, after.map(raid), limit);
    assert_eq!(
        visited(ada, None, 10).await.expect("raids"),
        [raid(1), raid(2), raid(4)]
    );
    assert_eq!(
        visited(ada, None, 2).await.expect("raids"),
        [raid(1), raid(2)]
    );
    assert_eq!(visited(ada, Some(2), 2).await.expect("raids"), [raid(4)]);
    assert_eq!(
        visited(bob, None, 10).await.expect("raids"),
        [raid(3), raid(4)],
        "left within one commit"
    );
    let pairs = [(2, ada), (3, ada), (4, bob), (9, bob), (1, bob), (2, ada)]
        .map(|(id, player)| (raid(id), player));
    let joined = store.filter_ever_joined(&pairs).await.expect("pairs");
    assert_eq!(
        BTreeSet::from_iter(joined),
        BTreeSet::from([(raid(2), ada), (raid(4), bob)])
    );
    assert_eq!(store.filter_ever_joined(&[]).await.expect("none"), []);
}

pub async fn exactly_the_unused_guests_are_deleted_in_batches(store: &dyn Store) {
    let owner = register_instance(store).await;
    // All players are created now, and a sign-in is renewed at a time of its own.
    let now = store.renew(&owner, LONG_TTL).await.expect("renew").now;
    let later = now.plus(1_000_000);
    let sign_in = async |player, at, ttl| {
        store
            .create_token_family(new_family(), player, token_hash(1), at, ttl)
            .await
            .expect("a sign-in");
    };
    let mut guests = Vec::new();
    for name in [
        "Unused", "Gone", "Member", "Former", "Linked", "Banned", "Seen", "Absent",
    ] {
        guests.push(create_player(store, name).await);
    }
    let [unused, gone, member, former, linked, banned, seen, absent] = guests[..] else {
        unreachable!("eight guests")
    };
    let second = Duration::from_secs(1);
    let present = later.plus(5_000);
    sign_in(gone, later.plus(-1), second).await;
    sign_in(seen, later, second).await;
    sign_in(absent, later.plus(-1), 10 * second).await;
    let mut history = History::new(raid(1), owner.id);
    let creation = history.append([raid_created(raid(1)), joined(member), joined(former)]);
    let departure = history.append([left(former)]);
    for append in [creation, departure] {
        assert_eq!(commit(store, &append).await, CommitOutcome::Committed);
    }
    let linking = store.link_identity(linked, "app:1").await;
    assert_eq!(linking.expect("linked"), LinkOutcome::Linked);
    let entry = moderation::audit_entry("ban");
    assert!(store.ban(banned, "spam", &entry).await.expect("banned"));

    let nothing = store
        .delete_unused_guests(None, 10, UnixMillis(0), present)
        .await;
    assert_eq!(nothing.expect("a batch").count, 0, "none is that old");
    let mut after = None;
    let mut counts = Vec::new();
    loop {
        let batch = store.delete_unused_guests(after, 3, later, present).await;
        let batch = batch.expect("a batch");
        if batch.last.is_none() {
            break;
        }
        counts.push(batch.count);
        after = batch.last;
        assert!(counts.len() <= 3, "the batches do not end: {counts:?}");
    }
    assert_eq!(counts, [2, 0, 0]);
    for player in guests {
        let is_left = store.player(player).await.expect("read").is_some();
        assert_eq!(
            is_left,
            player != unused && player != gone,
            "player {player}"
        );
    }
}

pub async fn the_stream_of_a_deleted_guest_is_deleted(store: &dyn Store) {
    const LATER: UnixMillis = UnixMillis(4_000_000_000_000);
    let ada = create_player(store, "Ada").await;
    let ben = create_player(store, "Ben").await;
    for player in [ada, ben] {
        append(store, &stream_append(player, 0, [notified("a")])).await;
    }
    let linked = store.link_identity(ben, "app:1").await;
    assert_eq!(linked.expect("link"), LinkOutcome::Linked);
    let deleted = store.delete_unused_guests(None, 10, LATER, LATER).await;
    assert_eq!(deleted.expect("a batch").count, 1);
    assert_no_stream(store, ada).await;
    assert_eq!(stream_events(store, ben).await.len(), 1);
}
