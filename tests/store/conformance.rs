//! The conformance suite: checks that every store passes, and their shared helpers.

pub mod accounts;
pub mod audit;
pub mod boards;
pub mod claims;
pub mod commits;
pub mod definitions;
pub mod erasures;
pub mod feed;
pub mod identities;
pub mod leases;
pub mod led_raids;
pub mod moderation;
pub mod projection;
pub mod reads;
pub mod streams;
pub mod text;
pub mod webhooks;

use std::any::Any;
use std::sync::Arc;
use std::time::Duration;

use raidhall::store::{Append, CommitOutcome, InstanceRecord, Renewal, Store, StoreError};
use raidhall_protocol::{EventData, PlayerId, Seq, UnixMillis};

use crate::history::{History, instance, raid};
use crate::wait::wait_for;

/// The present time of the checks, for calls that take one.
pub const NOW: UnixMillis = UnixMillis(1_767_225_600_000);
/// Time to live of a lease or token that must outlive the test.
pub const LONG_TTL: Duration = Duration::from_secs(3_600);
/// Time to live of a lease or token that must expire at once.
pub const SHORT_TTL: Duration = Duration::from_millis(1);

/// A store with a database of its own.
pub struct TestStore {
    pub store: Arc<dyn Store>,
    _guard: Box<dyn Any>,
}

impl TestStore {
    /// Wraps a store; `guard`, which removes the database, is dropped after the test.
    pub fn new(store: Arc<dyn Store>, guard: impl Any) -> TestStore {
        TestStore {
            store,
            _guard: Box::new(guard),
        }
    }
}

/// Defines one test per check, each with a fresh store from `$fresh().await`.
macro_rules! conformance_suite {
    ($fresh:path) => {
        conformance_suite! { $fresh;
            leases: a_lease_renewal_reports_the_database_time;
            leases: the_lineage_is_the_same_at_registration_and_renewal;
            leases: two_instances_are_registered_side_by_side;
            leases: reserved_ids_start_at_one_and_never_overlap;
            leases: deregistering_releases_every_raid;
            leases: live_peers_are_listed_and_a_deregistered_one_is_not;
            leases: a_peer_whose_lease_has_run_out_is_gone_until_it_renews;
            leases: a_stale_lease_is_ended_unless_it_was_renewed;
            leases: a_draining_peer_is_listed_as_draining;
            claims: a_raid_that_does_not_exist_is_missing;
            claims: a_raid_of_a_living_instance_is_held;
            claims: a_raid_whose_owners_lease_has_run_out_can_be_claimed;
            claims: a_raid_whose_owner_never_registered_can_be_claimed;
            claims: each_claim_is_a_new_epoch;
            claims: an_owner_can_claim_its_own_raid_again;
            claims: a_released_raid_has_no_owner;
            claims: a_release_under_an_older_epoch_changes_nothing;
            claims: one_of_two_rival_claims_wins;
            claims: each_raid_of_a_claim_has_its_own_outcome_in_order;
            claims: an_empty_claim_has_no_outcomes;
            claims: a_raid_listed_twice_in_a_claim_is_claimed_once;
            claims: rival_claims_of_many_raids_give_each_to_one;
            claims: an_instance_owns_raids_it_created_or_claimed_and_not_released;
            claims: heads_of_several_raids_leave_missing_ones_out;
            claims: a_claim_whose_caller_gave_up_leaves_the_store_usable;
            claims: due_raids_have_no_live_owner;
            claims: due_raids_come_most_urgent_first;
            claims: due_raids_come_in_pages;
            claims: ended_raids_are_not_due;
            commits: a_creation_inserts_the_raid;
            commits: a_second_creation_with_the_same_key_exists;
            commits: a_second_creation_with_the_same_invite_code_exists;
            commits: a_replaced_invite_code_is_found_no_more;
            commits: a_code_replaced_in_the_creating_append_is_the_new_one;
            commits: a_new_invite_code_of_another_raid_is_refused;
            commits: an_append_of_a_kick_and_a_thousand_removals_is_committed;
            commits: one_of_two_creations_with_one_key_in_a_batch_succeeds;
            led_raids: a_player_leads_at_most_as_many_open_raids_as_the_terms_allow;
            led_raids: creations_of_one_leader_in_a_batch_succeed_up_to_the_limit;
            led_raids: a_creation_sent_again_takes_no_place_of_another;
            led_raids: concurrent_creations_do_not_exceed_the_led_raids;
            commits: a_creation_sent_again_is_committed_once;
            commits: an_append_sent_again_is_committed_once;
            commits: an_append_overtaken_by_the_next_is_committed_once;
            commits: an_older_epoch_is_fenced;
            commits: another_owner_is_fenced;
            commits: a_released_raid_is_fenced;
            commits: a_raid_that_was_never_created_is_fenced;
            commits: an_append_ahead_of_its_predecessor_is_unclear;
            commits: an_append_across_the_head_is_fenced;
            commits: an_empty_batch_has_no_outcomes;
            commits: one_fenced_raid_does_not_affect_the_other_49;
            commits: a_repeated_op_refuses_the_batch_and_only_it_is_refused_alone;
            commits: a_number_too_large_refuses_the_batch;
            commits: two_appends_of_one_raid_are_refused;
            commits: a_gap_between_events_is_refused;
            commits: earnings_add_up_across_raids_and_within_one;
            commits: a_repeated_append_is_not_counted_again_beside_new_raids;
            commits: a_player_who_leaves_and_rejoins_in_one_append_is_a_member;
            commits: a_player_who_joins_and_leaves_in_one_append_is_no_member;
            commits: the_row_follows_the_events;
            commits: a_commit_whose_caller_gave_up_leaves_the_store_usable;
            commits: concurrent_commits_each_take_effect_once;
            definitions: the_first_definitions_of_two_starts_are_the_same;
            definitions: applied_definitions_come_behind_the_newest_ones;
            definitions: concurrent_changes_of_definitions_follow_one_another;
            definitions: events_carry_the_definitions_in_force_at_their_commit;
            feed: the_feed_lists_all_raids_events_in_order_for_any_page_size;
            feed: an_empty_feed_names_the_lineage;
            reads: a_load_is_the_snapshot_and_the_events_after_it;
            reads: a_load_whose_caller_gave_up_leaves_the_store_usable;
            reads: a_load_of_a_missing_raid_is_none;
            reads: a_snapshot_is_not_replaced_by_an_older_one;
            reads: a_snapshot_of_a_former_owner_is_dropped;
            reads: an_op_never_expires;
            reads: ops_are_loaded_oldest_first_within_the_window;
            reads: events_come_in_pages;
            reads: events_of_several_raids_are_read_by_their_places;
            reads: contributions_come_in_pages;
            reads: every_kind_of_event_survives_a_round_trip_through_the_store;
            reads: raids_are_found_by_invite_code_and_create_key;
            reads: a_players_raids_come_newest_first_in_pages;
            reads: a_listed_raid_has_the_values_of_its_creation;
            reads: a_players_raids_can_be_filtered_by_status;
            reads: a_raid_left_is_no_longer_listed;
            reads: members_of_raids_are_counted_and_listed_by_joining;
            accounts: a_player_starts_with_nothing;
            accounts: an_unknown_player_is_none;
            accounts: exactly_the_unused_guests_are_deleted_in_batches;
            accounts: the_stream_of_a_deleted_guest_is_deleted;
            accounts: an_account_export_lists_the_renewable_sign_ins;
            accounts: raids_ever_joined_include_current_and_left_ones_in_pages;
            accounts: a_refresh_token_is_replaced;
            accounts: a_repeat_gets_the_same_next_refresh_token_until_that_is_used;
            accounts: reuse_of_an_older_token_revokes_the_family;
            accounts: a_forged_token_revokes_the_family;
            accounts: an_expired_family_is_unknown;
            accounts: rotating_prolongs_a_family;
            accounts: a_repeat_prolongs_a_family;
            accounts: families_are_independent;
            moderation: a_ban_is_announced_listed_and_in_the_audit_log;
            moderation: a_lifted_ban_is_announced_as_lifted;
            moderation: a_ban_of_an_unknown_player_changes_nothing;
            moderation: notices_resume_at_their_cursor;
            moderation: a_sign_out_ends_the_family_and_is_announced_until_tokens_expire;
            audit: the_audit_log_keeps_every_entry_in_order;
            audit: players_are_found_by_id_external_id_and_name_prefix;
            audit: raids_are_found_by_id_and_title_prefix;
            audit: instances_are_listed_while_their_lease_lives;
            erasures: a_closed_account_loses_its_name_identity_and_sign_ins;
            erasures: an_erasure_is_due_until_ended_and_taken_by_one_instance_at_a_time;
            erasures: an_erasure_deletes_the_players_stream;
            erasures: rewritten_events_are_read_everywhere_at_their_old_seq;
            webhooks: an_endpoint_has_one_live_owner_and_starts_at_the_feed_end;
            webhooks: a_failed_delivery_is_retried_when_due_and_finally_abandoned;
            webhooks: an_operator_replays_deliveries_and_resumes_a_paused_endpoint;
            identities: an_identity_is_the_same_player_each_time;
            identities: concurrent_first_uses_of_an_identity_create_one_player;
            identities: an_identity_is_linked_unless_either_side_is_taken;
            identities: one_of_two_concurrent_links_of_an_identity_succeeds;
            identities: a_proof_is_accepted_once_until_it_expires;
            streams: a_players_stream_is_empty_at_first;
            streams: a_stream_is_loaded_as_its_saved_state_and_later_events;
            streams: events_of_a_stream_come_in_pages;
            streams: an_op_is_found_in_the_whole_stream;
            streams: an_append_at_another_seq_writes_nothing;
            streams: a_repeated_op_refuses_an_append_to_a_stream;
            streams: a_change_of_name_renames_the_player;
            streams: effects_of_raids_raise_the_players_totals;
            streams: a_missing_or_erased_player_has_no_stream;
            streams: heads_of_streams_leave_empty_ones_out;
            streams: players_with_streams_come_in_pages;
            streams: due_streaks_come_in_the_order_of_their_moments;
            streams: a_stream_has_what_is_due_after_each_append;
            streams: every_kind_of_player_event_survives_a_round_trip;
            projection: the_projector_is_one_live_instance_at_a_time;
            projection: windows_become_final_by_the_projector_alone;
            projection: a_page_is_written_whole_and_moves_the_place;
            projection: a_page_without_appends_moves_the_place;
            projection: a_moved_stream_holds_the_place_until_it_is_computed_again;
            projection: a_page_of_another_place_or_owner_writes_nothing;
            projection: an_erased_or_missing_player_is_left_out_of_a_page;
            projection: a_refused_page_writes_nothing_at_all;
            projection: failed_causes_keep_their_first_time_until_settled;
            projection: failed_causes_come_in_pages_of_whole_players;
            projection: an_erasure_deletes_the_players_failed_causes;
            projection: the_failed_causes_of_a_deleted_guest_are_deleted;
            projection: ops_are_found_in_the_streams_of_their_players;
            projection: several_streams_are_loaded_as_each_alone;
            boards: scores_move_with_the_appends_that_carry_them;
            boards: a_stream_that_ends_elsewhere_moves_no_score;
            boards: ranks_and_pages_agree_with_the_order_of_all_scores;
            boards: players_of_one_page_are_counted_together;
            boards: of_two_equal_scores_the_one_reached_earlier_is_ahead;
            boards: scores_that_begin_during_a_ban_are_hidden_until_it_ends;
            boards: counts_are_right_after_concurrent_changes;
            boards: a_player_whose_ban_ends_is_listed_again;
            boards: an_erasure_deletes_the_players_scores;
            text: hostile_text_survives_a_round_trip_through_the_store;
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

/// Registers an instance with a lease that outlives the test.
pub async fn register_instance(store: &dyn Store) -> InstanceRecord {
    let instance = instance();
    store
        .register(&instance, LONG_TTL, LONG_TTL)
        .await
        .expect("register");
    instance
}

/// Creates a raid whose only member is its leader.
pub async fn create_raid(
    store: &dyn Store,
    id: u64,
    owner: &InstanceRecord,
    leader: PlayerId,
) -> History {
    let mut history = History::new(raid(id), owner.id);
    let creation = history.creation(leader);
    assert_eq!(commit(store, &creation).await, CommitOutcome::Committed);
    history
}

/// Commits one append and returns its outcome.
pub async fn commit(store: &dyn Store, append: &Append) -> CommitOutcome {
    let fates = store
        .commit(std::slice::from_ref(append))
        .await
        .expect("commit");
    assert_eq!(fates.len(), 1);
    fates[0]
}

/// Asserts that the store refuses the batch as a whole.
pub async fn assert_refused(store: &dyn Store, batch: &[Append]) {
    let result = store.commit(batch).await;
    assert!(
        matches!(result, Err(StoreError::Refused { .. })),
        "{result:?}"
    );
}

/// Creates a player with this name.
pub async fn create_player(store: &dyn Store, name: &str) -> PlayerId {
    store.create_player(name).await.expect("create player").id
}

/// Returns a player's XP, tasks and raids won, as the ledgers of raids 1, 2 and so on have them.
pub async fn ledger_totals(store: &dyn Store, player: PlayerId) -> (u64, u64, u64) {
    let mut totals = (0, 0, 0);
    for id in 1.. {
        let events = store.events(raid(id), Seq::ZERO, u32::MAX).await;
        let events = events.expect("read events");
        if events.is_empty() {
            break;
        }
        for event in events {
            match &event.data {
                EventData::RaidCompleted { ranking } => {
                    totals.2 += ranking.iter().filter(|it| it.player == player).count() as u64;
                }
                data => {
                    if let Some((_, xp)) = data.earned().filter(|(by, _)| *by == player) {
                        totals.0 += xp;
                        totals.1 += 1;
                    }
                }
            }
        }
    }
    totals
}

/// Lets the instance's lease expire.
pub async fn expire_lease(store: &dyn Store, instance: &InstanceRecord) {
    let renewal = store.renew(instance, SHORT_TTL).await.expect("renew");
    wait_until(store, renewal.now.plus(2)).await;
}

/// Repeats a call with ever longer time-outs, which drop it at ever later points, until one
/// completes.
pub async fn cancel_repeatedly<T, F: Future<Output = T>>(mut call: impl FnMut() -> F) -> T {
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
    wait_for("the database's clock", async || {
        let Renewal { now, .. } = store.renew(&bystander, SHORT_TTL).await.expect("renew");
        (now > moment).then_some(())
    })
    .await;
}
