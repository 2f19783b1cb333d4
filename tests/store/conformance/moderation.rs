//! Checks of bans, ended sign-ins, and the notices of both.

use raidhall::store::{FamilyId, NewAuditEntry, Notice, RotationOutcome, TokenHash};
use serde_json::json;
use uuid::Uuid;

use super::accounts::rotate;
use super::*;
use crate::history::player;

pub(super) fn audit_entry(action: &'static str) -> NewAuditEntry {
    NewAuditEntry {
        at: NOW,
        actor: "admin:ops".into(),
        action,
        target: "player 1".into(),
        request_id: "r-1".into(),
        details: json!({"reason": "spam 🔥"}),
    }
}

/// Returns the notices after a cursor, and where the next poll continues.
async fn read_notices(store: &dyn Store, after: u64) -> (Vec<Notice>, u64) {
    let notices = store.notices(after, NOW).await.expect("notices");
    (
        notices
            .notices
            .into_iter()
            .map(|(_, notice)| notice)
            .collect(),
        notices.next,
    )
}

pub async fn a_ban_is_announced_listed_and_in_the_audit_log(store: &dyn Store) {
    let ada = create_player(store, "Ada").await;
    let ben = create_player(store, "Ben").await;
    assert!(
        store
            .ban(ben, "spam", &audit_entry("ban"))
            .await
            .expect("ban")
    );
    assert!(
        store
            .ban(ada, "cheats", &audit_entry("ban"))
            .await
            .expect("ban")
    );
    assert!(
        store
            .ban(ada, "cheats again", &audit_entry("ban"))
            .await
            .expect("ban")
    );
    let bans = store.bans(None, 10).await.expect("bans");
    let shown: Vec<_> = bans
        .iter()
        .map(|ban| (ban.player.id, ban.reason.as_str(), ban.by.as_str()))
        .collect();
    assert_eq!(
        shown,
        [
            (ada, "cheats again", "admin:ops"),
            (ben, "spam", "admin:ops")
        ]
    );
    assert_eq!(
        store.bans(Some(ada), 10).await.expect("bans")[0]
            .player
            .name,
        "Ben"
    );
    assert_eq!(store.bans(None, 1).await.expect("bans").len(), 1);
    let (notices, _) = read_notices(store, 0).await;
    for banned in [ada, ben] {
        assert!(
            notices.contains(&Notice::BanChanged {
                player: banned,
                banned: true
            }),
            "{notices:?}"
        );
    }
    assert_eq!(store.audit_entries(0, 10).await.expect("audit").len(), 3);
}

pub async fn a_lifted_ban_is_announced_as_lifted(store: &dyn Store) {
    let ada = create_player(store, "Ada").await;
    assert!(
        store
            .ban(ada, "spam", &audit_entry("ban"))
            .await
            .expect("ban")
    );
    assert!(
        store
            .unban(ada, &audit_entry("unban"))
            .await
            .expect("unban")
    );
    assert!(
        !store
            .unban(ada, &audit_entry("unban"))
            .await
            .expect("unban"),
        "there is none"
    );
    assert_eq!(store.bans(None, 10).await.expect("bans"), []);
    let (notices, _) = read_notices(store, 0).await;
    assert!(notices.iter().all(|notice| *notice
        == Notice::BanChanged {
            player: ada,
            banned: false
        }));
    assert_eq!(
        store.audit_entries(0, 10).await.expect("audit").len(),
        2,
        "calls that changed nothing have no audit entry"
    );
}

pub async fn a_ban_of_an_unknown_player_changes_nothing(store: &dyn Store) {
    let unknown = player(12_345);
    assert!(
        !store
            .ban(unknown, "spam", &audit_entry("ban"))
            .await
            .expect("ban")
    );
    assert!(
        !store
            .disconnect(unknown, &audit_entry("disconnect"))
            .await
            .expect("disconnect")
    );
    assert_eq!(read_notices(store, 0).await.0, []);
    assert_eq!(store.audit_entries(0, 10).await.expect("audit"), []);
}

pub async fn notices_resume_at_their_cursor(store: &dyn Store) {
    let ada = create_player(store, "Ada").await;
    let (none, start) = read_notices(store, 0).await;
    assert_eq!(none, []);
    assert!(
        store
            .disconnect(ada, &audit_entry("disconnect"))
            .await
            .expect("disconnect")
    );
    let (first, next) = read_notices(store, start).await;
    assert_eq!(first, [Notice::Disconnect(ada)]);
    // Other tests' transactions may hold the cursor back: a notice may be returned again, under the
    // same number.
    let again = store.notices(next, NOW).await.expect("notices").notices;
    let known = store.notices(start, NOW).await.expect("notices").notices;
    assert!(
        again.iter().all(|notice| known.contains(notice)),
        "{again:?}"
    );
    assert!(
        store
            .disconnect(ada, &audit_entry("disconnect"))
            .await
            .expect("disconnect")
    );
    let later = store.notices(next, NOW).await.expect("notices").notices;
    let fresh = later
        .iter()
        .filter(|notice| !known.contains(notice))
        .count();
    assert_eq!(fresh, 1, "{later:?}");
}

pub async fn a_sign_out_ends_the_family_and_is_announced_until_tokens_expire(store: &dyn Store) {
    let family = FamilyId(Uuid::now_v7());
    let other = FamilyId(Uuid::now_v7());
    let id = create_player(store, "Ada").await;
    for family in [family, other] {
        store
            .create_token_family(family, id, TokenHash([1; 32]), NOW, LONG_TTL)
            .await
            .expect("begin");
    }
    store
        .sign_out(family, NOW, LONG_TTL)
        .await
        .expect("sign out");
    store
        .sign_out(family, NOW, LONG_TTL)
        .await
        .expect("once more");
    assert_eq!(rotate(store, family, 1, 2).await, RotationOutcome::Unknown);
    assert!(matches!(
        rotate(store, other, 1, 2).await,
        RotationOutcome::Rotated { .. }
    ));
    let (notices, _) = read_notices(store, 0).await;
    assert_eq!(notices.len(), 2);
    let of_family =
        |notice: &Notice| matches!(notice, Notice::SignedOut { family: of, .. } if *of == family);
    assert!(notices.iter().all(of_family), "{notices:?}");

    let earlier = NOW.plus(-1);
    let sign_out = store.sign_out(other, earlier, SHORT_TTL);
    sign_out.await.expect("sign out");
    assert_eq!(
        read_notices(store, 0).await.0.len(),
        2,
        "no notice once the family's tokens have expired"
    );
}
