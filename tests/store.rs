//! The conformance suite of the store's interface, [`Store`](pdkeys::store::Store), `Read` and `Write`.
//!
//! Each story is told three times: over one connection, over a store opened anew before every step, and over two
//! connections of which one writes and the other reads. Another engine is done when it passes the stories unedited:
//! implement [`Engine`] for it, and add a line `conformance!(TheEngine);`.

#![expect(clippy::panic, clippy::unwrap_used, reason = "a story that cannot go on has failed")]

#[path = "store/audit.rs"]
mod audit;
#[path = "store/import.rs"]
mod import;
#[path = "store/in_memory.rs"]
mod in_memory;
#[path = "store/in_memory_rows.rs"]
mod in_memory_rows;
#[path = "store/in_memory_site.rs"]
mod in_memory_site;
#[path = "store/keys.rs"]
mod keys;
#[path = "store/others.rs"]
mod others;
#[path = "store/queries.rs"]
mod queries;
#[path = "store/secrets.rs"]
mod secrets;
#[path = "store/site.rs"]
mod site;
#[path = "store/sqlite.rs"]
mod sqlite;
#[path = "store/transactions.rs"]
mod transactions;
#[path = "store/usage.rs"]
mod usage;
#[path = "store/users.rs"]
mod users;

/// Every story, for one engine. A story that is not listed here is dead code, which the compiler reports.
macro_rules! conformance {
    ($engine:ty) => {
        told! { $engine:
            users::the_account_reads_back_as_it_was_founded_and_changed,
            users::a_change_of_owner_makes_the_one_before_an_admin,
            users::a_user_reads_back_with_every_field_and_with_none,
            users::users_are_shown_in_the_order_in_which_they_were_added,
            users::who_has_left_is_found_by_id_alone_and_leaves_name_and_mapping_free,
            users::two_present_users_never_share_a_name_an_operating_system_user_or_an_external_id,
            users::an_id_is_not_drawn_that_is_the_external_id_of_a_user,
            users::there_are_never_two_owners,
            users::neither_the_account_nor_a_user_is_ever_deleted,
            keys::every_field_of_a_general_key_reads_back,
            keys::an_update_changes_every_field_that_can_change,
            keys::keys_come_in_every_order_and_backwards,
            keys::a_visitor_that_has_enough_is_shown_no_more,
            keys::what_a_visitor_says_went_wrong_comes_back,
            keys::a_removed_key_is_gone_and_the_others_stay,
            keys::ids_of_removed_things_stay_taken,
            queries::a_query_selects_the_keys_that_its_filter_matches_and_no_others,
            queries::pages_of_keys_follow_one_another_in_every_order,
            queries::a_page_after_a_key_that_is_gone_is_empty,
            queries::pages_of_every_other_noun_follow_one_another,
            queries::pages_of_audit_records_follow_one_another,
            secrets::a_digest_that_was_never_issued_belongs_to_nobody,
            secrets::an_issued_secret_belongs_to_its_key,
            secrets::a_rotation_without_overlap_kills_the_secret_before,
            secrets::a_rotation_with_overlap_lets_the_secret_before_go_on_until_its_end,
            secrets::a_second_rotation_ends_the_earlier_overlap,
            secrets::a_second_rotation_without_overlap_kills_both_secrets_before,
            secrets::ending_an_overlap_kills_the_secret_before_and_not_the_present_one,
            secrets::removal_leaves_a_tombstone_of_every_secret,
            secrets::a_tombstone_keeps_the_first_reason_of_its_death,
            secrets::a_dead_secret_is_never_issued_again,
            secrets::a_live_secret_is_never_issued_to_a_second_key,
            secrets::a_text_with_a_secret_of_the_store_is_refused_and_one_that_was_there_is_in_nobodys_way,
            secrets::the_digest_is_the_same_in_and_out_of_a_transaction,
            transactions::a_dropped_transaction_changes_nothing,
            transactions::a_transaction_sees_its_own_changes,
            transactions::a_permit_for_another_change_is_refused_and_nothing_is_written,
            transactions::a_permit_for_one_action_is_refused_for_the_fields_of_another,
            transactions::a_permit_for_one_action_is_refused_for_the_secrets_of_another,
            transactions::a_reader_sees_one_moment_while_a_writer_commits,
            transactions::a_writer_waits_for_a_writer_and_sees_what_it_did,
            audit::each_change_leaves_one_record_of_who_did_what_when,
            audit::a_record_names_the_fields_that_changed_and_no_others,
            audit::with_as_a_record_names_both_users,
            audit::records_are_shown_newest_first_and_filtered,
            audit::a_visitor_of_records_that_has_enough_is_shown_no_more,
            audit::the_head_is_the_end_of_an_intact_chain_and_moves_with_every_change,
            audit::an_altered_record_breaks_the_chain_where_it_stands,
            audit::a_record_left_out_breaks_the_chain_where_it_stood,
            audit::records_cut_off_are_seen_against_a_kept_head_and_an_emptied_trail_always,
            audit::a_kept_head_of_another_trail_is_not_gone_through,
            audit::what_follows_from_the_trail_is_no_difference,
            audit::what_was_changed_behind_the_trail_is_named,
            audit::of_a_broken_trail_nothing_is_compared,
            others::every_field_of_a_user_token_reads_back_and_changes,
            others::secrets_of_a_user_token_are_issued_rotated_and_killed,
            others::a_secret_is_live_in_one_credential_of_any_kind,
            others::services_and_orchestrations_read_back_and_change,
            others::a_name_is_unique_among_services_and_among_orchestrations,
            others::every_field_of_an_integration_reads_back,
            others::a_moved_integration_keeps_its_secret_and_a_removed_one_leaves_a_tombstone,
            others::what_still_has_integrations_is_not_deleted,
            others::every_field_of_an_app_reads_back_and_changes,
            others::an_app_is_found_by_its_client_secrets_as_long_as_they_live,
            others::an_app_token_lives_a_day_or_until_it_is_revoked_or_the_app_goes,
            others::one_token_of_an_app_is_revoked_and_the_others_go_on,
            others::an_app_gets_so_many_tokens_within_a_minute,
            others::a_check_finds_what_a_secret_belongs_to,
            others::a_check_sees_at_once_what_another_connection_committed,
            others::checks_are_counted_in_windows_of_sixty_seconds,
            import::what_is_imported_reads_back_and_leaves_one_record,
            import::a_secret_that_is_somebodys_does_not_come_in,
            import::an_import_that_fails_or_brings_nothing_leaves_nothing,
            usage::the_last_use_is_the_latest_that_was_counted,
            usage::keys_come_in_the_order_of_their_last_use_and_backwards,
            usage::a_list_by_last_use_stops_where_its_visitor_has_enough,
            usage::a_key_counted_while_keys_are_listed_by_last_use_is_listed_once,
            usage::counts_of_a_removed_key_bring_nothing_back,
            usage::what_was_counted_is_shown_by_hours_of_one_or_of_all,
            usage::counting_waits_for_no_writer,
        }
    };
}

macro_rules! told {
    ($engine:ty: $($topic:ident::$story:ident,)*) => {
        mod over_one_connection {
            use super::*;
            $(#[test] fn $story() { $topic::$story(&mut site::Site::<$engine>::found(site::Connections::One)); })*
        }
        mod opened_anew_before_every_step {
            use super::*;
            $(#[test] fn $story() { $topic::$story(&mut site::Site::<$engine>::found(site::Connections::Anew)); })*
        }
        mod over_two_connections {
            use super::*;
            $(#[test] fn $story() { $topic::$story(&mut site::Site::<$engine>::found(site::Connections::Two)); })*
        }
    };
}

conformance!(sqlite::Sqlite);

mod for_many_keys {
    use super::{audit, import, keys, others, queries, secrets, site, sqlite, transactions, usage, users};

    conformance!(sqlite::ForManyKeys);
}

mod an_engine_in_memory {
    use super::{
        audit, import, in_memory_site, keys, others, queries, secrets, site, transactions, usage, users,
    };

    conformance!(in_memory_site::InMemory);
}
