//! Erasures beside commits, snapshots, links of identities and bans.

use raidhall::store::{
    Accounts, CommitOutcome, Epoch, Erasures, Identities, Ledger, Moderation, NewAuditEntry,
};
use raidhall_protocol::{EventData, PlayerId, Seq};
use serde_json::json;

use super::scheduler::{Interleavings, OrderRun, SessionCall};
use super::{create_owned_raid, read_events};
use crate::conformance::{NOW, commit, ledger_totals};
use crate::history::{completed_task, raid_created};

const NAME: &str = "[erased]";

pub(super) fn audit_entry(action: &'static str) -> NewAuditEntry {
    NewAuditEntry {
        at: NOW,
        actor: "5".into(),
        action,
        target: "player 5".into(),
        request_id: "r-1".into(),
        details: json!({}),
    }
}

pub(super) async fn create_ada(run: &OrderRun<'_>) -> PlayerId {
    run.store().create_player("Ada").await.expect("create").id
}

pub(super) fn erase(run: &mut OrderRun<'_>, player: PlayerId) -> SessionCall<()> {
    run.call("begin erasure", move |store| async move {
        let begun = store
            .begin_erasure(player, NAME, &audit_entry("erase"))
            .await;
        assert!(begun.expect("begin the erasure"));
    })
}

#[tokio::test]
async fn a_commit_and_an_erasure_of_a_player_both_take_effect() {
    let mut interleavings = Interleavings::open(3).await;
    interleavings.gates().add("players", "UPDATE").await;
    while let Some(mut run) = interleavings.next_order().await {
        let ada = create_ada(&run).await;
        let (_, mut history) = create_owned_raid(&mut run).await;
        let raid = history.raid;
        let append = history.append([completed_task(ada, 40)]);
        let mut first = read_events(run.store(), raid).await.swap_remove(0);
        let mut redacted = raid_created(raid);
        if let EventData::RaidCreated { title, .. } = &mut redacted {
            NAME.clone_into(title);
        }
        first.data = redacted;
        let erasing = erase(&mut run, ada);
        let committing = run.call(
            "commit",
            |store| async move { commit(&*store, &append).await },
        );
        let rewritten = first.clone();
        let rewriting = run.call("rewrite", move |store| async move {
            store.rewrite_events(raid, &[rewritten], Seq(3)).await
        });
        run.step_through().await;

        erasing.answer().await;
        rewriting.answer().await.expect("rewrite");
        assert_eq!(committing.answer().await, CommitOutcome::Committed);
        let events = read_events(run.store(), raid).await;
        assert_eq!((events.len(), &events[0]), (3, &first));
        let profile = run
            .store()
            .player(ada)
            .await
            .expect("read")
            .expect("a player");
        assert_eq!(profile.name, NAME);
        assert_eq!(ledger_totals(run.store(), ada).await, (40, 1, 0));
    }
}

/// A snapshot from before the erasure, which still contains the player's texts, is saved late.
#[tokio::test]
async fn a_late_snapshot_never_replaces_the_one_after_an_erasure() {
    let mut interleavings = Interleavings::open(3).await;
    let changes = "INSERT OR DELETE";
    interleavings.gates().add("raid_snapshots", changes).await;
    while let Some(mut run) = interleavings.next_order().await {
        let (owner, history) = create_owned_raid(&mut run).await;
        let (raid, owner) = (history.raid, owner.id);
        let save = |seq, state: &'static [u8]| {
            move |store: std::sync::Arc<raidhall::store::postgres::PostgresStore>| async move {
                store.save_snapshot(raid, owner, Epoch(1), seq, state).await
            }
        };
        let saving_old = run.call("save old", save(Seq(1), b"Ada"));
        let saving_new = run.call("save new", save(Seq(2), b"erased"));
        let rewriting = run.call("rewrite", move |store| async move {
            store.rewrite_events(raid, &[], Seq(2)).await
        });
        run.step_through().await;

        saving_old.answer().await.expect("save");
        saving_new.answer().await.expect("save");
        rewriting.answer().await.expect("rewrite");
        let loaded = run.store().load(raid, 0).await.expect("load");
        let snapshot = loaded.expect("a raid").snapshot;
        assert_eq!(snapshot, Some((Seq(2), b"erased".to_vec())));
    }
}

#[tokio::test]
async fn an_erased_player_never_has_an_external_id() {
    let mut interleavings = Interleavings::open(2).await;
    interleavings.gates().add("players", "UPDATE").await;
    while let Some(mut run) = interleavings.next_order().await {
        let ada = create_ada(&run).await;
        let id = format!("user {ada}");
        let erasing = erase(&mut run, ada);
        let linking = run.call("link", move |store| async move {
            store.link_identity(ada, &id).await
        });
        run.step_through().await;

        erasing.answer().await;
        linking.answer().await.expect("link");
        let account = run.store().account(ada, NOW).await.expect("read");
        assert_eq!(account.expect("an account").external_id, None);
    }
}

/// Of several sessions that wait for a row, any may be the first to lock its new version, so there are two.
async fn open_with_gates_of_bans() -> Interleavings {
    let mut interleavings = Interleavings::open(2).await;
    interleavings.gates().add("players", "UPDATE").await;
    let changes = "INSERT OR DELETE";
    interleavings.gates().add("bans", changes).await;
    interleavings
}

async fn create_banned_ada(run: &OrderRun<'_>) -> PlayerId {
    let ada = create_ada(run).await;
    let banned = run.store().ban(ada, "spam", &audit_entry("ban")).await;
    assert!(banned.expect("ban"));
    ada
}

async fn assert_banned_as_erased(run: &OrderRun<'_>, player: PlayerId) {
    let bans = run.store().bans(None, 1_000).await.expect("bans");
    let ban = bans.iter().find(|ban| ban.player.id == player);
    assert_eq!(ban.map(|ban| ban.reason.as_str()), Some("erased"));
}

#[tokio::test]
async fn the_ban_of_an_erased_player_is_never_lifted() {
    let mut interleavings = open_with_gates_of_bans().await;
    while let Some(mut run) = interleavings.next_order().await {
        let ada = create_banned_ada(&run).await;
        let erasing = erase(&mut run, ada);
        let lifting = run.call("unban", move |store| async move {
            store.unban(ada, &audit_entry("unban")).await
        });
        run.step_through().await;

        erasing.answer().await;
        lifting.answer().await.expect("unban");
        assert_banned_as_erased(&run, ada).await;
    }
}

#[tokio::test]
async fn the_ban_of_an_erased_player_is_never_replaced() {
    let mut interleavings = open_with_gates_of_bans().await;
    while let Some(mut run) = interleavings.next_order().await {
        let ada = create_banned_ada(&run).await;
        let erasing = erase(&mut run, ada);
        let banning = run.call("ban", move |store| async move {
            store.ban(ada, "again", &audit_entry("ban")).await
        });
        run.step_through().await;

        erasing.answer().await;
        banning.answer().await.expect("ban");
        assert_banned_as_erased(&run, ada).await;
    }
}
