//! The checks that every store passes, and what they share.

pub mod accounts;
pub mod claims;
pub mod commits;
pub mod erasures;
pub mod feed;
pub mod identities;
pub mod leases;
pub mod oversight;
pub mod reads;
pub mod standing;
pub mod text;
pub mod webhooks;

use std::any::Any;
use std::sync::Arc;
use std::time::Duration;

use raidhall::store::{Append, CommitOutcome, Instance, Renewal, Store, StoreError};
use raidhall_protocol::{PlayerId, UnixMillis};

use crate::history::{History, instance, raid};

/// Long enough for a lease or a token to outlive any test.
pub const LONG: Duration = Duration::from_secs(3_600);
/// Over before anything else can happen.
pub const BRIEF: Duration = Duration::from_millis(1);

/// A store over a database of its own.
pub struct Fresh {
    pub store: Arc<dyn Store>,
    _kept: Box<dyn Any>,
}

impl Fresh {
    /// `kept` is dropped after the test: whatever removes the database.
    pub fn new(store: Arc<dyn Store>, kept: impl Any) -> Fresh {
        Fresh {
            store,
            _kept: Box::new(kept),
        }
    }
}

/// Makes a test of each check, with a fresh store from `$fresh().await`.
macro_rules! conformance_suite {
    ($fresh:path) => {
        conformance_suite! { $fresh;
            leases: a_lease_tells_the_databases_time;
            leases: the_lineage_stays;
            leases: two_instances_live_side_by_side;
            leases: reserved_ids_start_at_one_and_never_overlap;
            leases: retiring_gives_every_raid_back;
            leases: living_peers_are_named_and_a_retired_one_is_not;
            leases: a_peer_whose_lease_has_run_out_is_gone_until_it_renews;
            leases: a_peer_that_drains_says_so;
            claims: a_raid_that_does_not_exist_is_missing;
            claims: a_raid_of_a_living_instance_is_held;
            claims: a_raid_whose_owners_lease_has_run_out_can_be_claimed;
            claims: a_raid_whose_owner_never_enlisted_can_be_claimed;
            claims: each_claim_is_a_new_epoch;
            claims: ones_own_raid_can_be_claimed_again;
            claims: a_released_raid_belongs_to_nobody;
            claims: a_release_under_an_older_epoch_changes_nothing;
            claims: of_rival_claims_one_wins;
            claims: each_raid_of_a_claim_is_answered_by_itself_and_in_order;
            claims: a_claim_of_nothing_is_nothing;
            claims: a_raid_that_is_asked_for_twice_is_claimed_once;
            claims: rival_claims_of_many_raids_give_each_to_one;
            claims: an_instance_owns_what_it_made_and_claimed_and_did_not_release;
            claims: heads_of_several_raids_leave_missing_ones_out;
            claims: a_claim_whose_caller_gave_up_leaves_the_store_usable;
            claims: due_raids_are_those_that_nobody_living_owns;
            claims: due_raids_come_most_urgent_first;
            claims: ended_raids_are_not_due;
            commits: a_creation_makes_the_raid;
            commits: a_second_creation_with_the_same_key_exists;
            commits: a_second_creation_with_the_same_invite_code_exists;
            commits: of_two_creations_with_one_key_in_one_batch_one_is_made;
            commits: a_creation_sent_again_is_committed_once;
            commits: an_append_sent_again_is_committed_once;
            commits: an_append_overtaken_by_the_next_is_committed_once;
            commits: an_older_epoch_is_fenced;
            commits: another_owner_is_fenced;
            commits: a_released_raid_is_fenced;
            commits: a_raid_that_was_never_made_is_fenced;
            commits: an_append_ahead_of_its_predecessor_is_unclear;
            commits: an_append_across_the_head_is_fenced;
            commits: an_empty_batch_is_nothing;
            commits: one_fenced_raid_leaves_the_other_49_alone;
            commits: a_repeated_op_refuses_the_batch_and_only_it_is_refused_alone;
            commits: a_number_too_large_refuses_the_batch;
            commits: two_appends_of_one_raid_are_refused;
            commits: a_hole_between_events_is_refused;
            commits: earnings_add_up_across_raids_and_within_one;
            commits: what_was_committed_before_is_not_counted_again_beside_new_raids;
            commits: whoever_leaves_and_rejoins_at_once_is_a_member;
            commits: whoever_joins_and_leaves_at_once_is_no_member;
            commits: the_ranked_players_have_won_one_raid_more;
            commits: the_row_follows_the_events;
            commits: a_commit_whose_caller_gave_up_leaves_the_store_usable;
            commits: concurrent_commits_each_take_effect_once;
            feed: the_feed_is_every_raids_events_in_order_whatever_the_page;
            feed: the_feed_names_the_lineage_though_it_is_empty;
            reads: a_load_is_the_snapshot_and_the_events_after_it;
            reads: a_load_whose_caller_gave_up_leaves_the_store_usable;
            reads: a_load_of_a_missing_raid_is_none;
            reads: a_snapshot_is_not_replaced_by_an_older_one;
            reads: a_snapshot_of_a_former_owner_is_dropped;
            reads: an_op_is_found_for_ever;
            reads: ops_are_loaded_oldest_first_within_the_window;
            reads: events_come_in_pages;
            reads: contributions_come_in_pages;
            reads: every_kind_of_event_comes_back_as_it_was;
            reads: raids_are_found_by_invite_code_and_create_key;
            reads: a_players_raids_come_newest_first_in_pages;
            reads: a_listed_raid_is_as_it_was_made;
            reads: a_players_raids_can_be_filtered_by_status;
            reads: a_raid_left_is_no_longer_listed;
            accounts: a_player_starts_with_nothing;
            accounts: an_unknown_player_is_none;
            accounts: an_account_is_told_with_the_sign_ins_that_can_be_renewed;
            accounts: raids_visited_are_those_of_today_and_those_that_were_left_in_pages;
            accounts: a_refresh_token_is_replaced;
            accounts: a_repeat_within_the_grace_gets_the_same_successor;
            accounts: reuse_after_the_grace_revokes_the_family;
            accounts: reuse_of_an_older_token_revokes_the_family;
            accounts: a_forged_token_revokes_the_family;
            accounts: an_expired_family_is_unknown;
            accounts: rotating_prolongs_a_family;
            accounts: families_are_independent;
            standing: a_ban_is_told_listed_and_on_record;
            standing: a_ban_that_was_lifted_is_told_as_it_stands;
            standing: nobody_who_does_not_exist_is_banned;
            standing: notices_go_on_where_they_ended;
            standing: a_sign_out_ends_the_family_and_is_told_until_its_tokens_have_ended;
            oversight: the_audit_log_keeps_every_deed_in_order;
            oversight: players_are_found_by_id_external_id_and_how_their_name_begins;
            oversight: raids_are_found_by_id_and_how_their_title_begins;
            oversight: instances_are_listed_while_their_lease_lives;
            erasures: a_closed_account_is_nobodys_any_more;
            erasures: an_erasure_is_due_until_it_is_ended_and_taken_by_one_at_a_time;
            erasures: rewritten_events_are_read_everywhere_and_stay_in_their_places;
            webhooks: an_endpoint_is_one_living_instances_and_begins_at_the_present;
            webhooks: what_was_not_taken_is_tried_when_its_time_comes_and_then_dead;
            webhooks: an_operator_has_deliveries_tried_again_and_goes_on_with_a_paused_endpoint;
            identities: an_identity_is_the_same_player_each_time;
            identities: of_many_who_bring_an_identity_at_once_one_player_is_made;
            identities: an_identity_is_linked_unless_either_side_is_taken;
            identities: of_two_who_link_an_identity_at_once_one_has_it;
            identities: a_proof_is_good_for_once_until_it_is_forgotten;
            text: hostile_text_comes_back_as_it_was;
            text: the_largest_ids_fit;
        }
    };
    ($fresh:path; $($module:ident: $check:ident;)*) => {
        $(
            #[tokio::test]
            async fn $check() {
                let fresh = $fresh().await;
                $crate::conformance::$module::$check(fresh.store.as_ref()).await;
            }
        )*
    };
}

/// An instance with a lease that outlives the test.
pub async fn enlisted(store: &dyn Store) -> Instance {
    let instance = instance();
    store.register(&instance, LONG, LONG).await.expect("enlist");
    instance
}

/// A raid that has been made, of one member.
pub async fn made(store: &dyn Store, id: u64, owner: &Instance, leader: PlayerId) -> History {
    let mut history = History::of(raid(id), owner.id);
    let creation = history.creation(leader);
    assert_eq!(commit(store, &creation).await, CommitOutcome::Committed);
    history
}

/// Commits one append.
pub async fn commit(store: &dyn Store, append: &Append) -> CommitOutcome {
    let fates = store
        .commit(std::slice::from_ref(append))
        .await
        .expect("commit");
    assert_eq!(fates.len(), 1);
    fates[0]
}

/// The batch is refused as a whole.
pub async fn assert_refused(store: &dyn Store, batch: &[Append]) {
    let result = store.commit(batch).await;
    assert!(
        matches!(result, Err(StoreError::Refused { .. })),
        "{result:?}"
    );
}

/// A player of this name.
pub async fn newcomer(store: &dyn Store, name: &str) -> PlayerId {
    store.create_player(name).await.expect("create player").id
}

/// A player's xp, tasks and raids won.
pub async fn totals(store: &dyn Store, player: PlayerId) -> (u64, u64, u64) {
    let player = store
        .player(player)
        .await
        .expect("read player")
        .expect("a player");
    (player.xp, player.tasks, player.raids_won)
}

/// Makes the instance's lease run out.
pub async fn let_lapse(store: &dyn Store, instance: &Instance) {
    let renewal = store.renew(instance, BRIEF).await.expect("renew");
    wait_until(store, renewal.now.plus(2)).await;
}

/// Makes a call again and again, and gives up on each at a later moment, until one ends by itself.
pub async fn give_up_on<T, F: Future<Output = T>>(mut call: impl FnMut() -> F) -> T {
    let mut patience = Duration::ZERO;
    loop {
        if let Ok(answer) = tokio::time::timeout(patience, call()).await {
            return answer;
        }
        patience += Duration::from_micros(50);
    }
}

/// Waits until the database's clock has passed the moment.
pub async fn wait_until(store: &dyn Store, moment: UnixMillis) {
    let bystander = instance();
    loop {
        let Renewal { now, .. } = store.renew(&bystander, BRIEF).await.expect("renew");
        if now > moment {
            return;
        }
        tokio::time::sleep(BRIEF).await;
    }
}
