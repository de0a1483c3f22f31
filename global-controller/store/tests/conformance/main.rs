//! One suite for all backends: what callers of a store may rely on, whatever is behind it.
//!
//! It tests the contract; the few tests of what only an etcd has are in a file of their own. With the feature `etcd` it needs the program in
//! `CONFORMANCE_ETCD`, as `make conformance` sets it, and fails without.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "../common/mod.rs"]
mod common;

mod backend;
mod embedded;
#[cfg(feature = "etcd")]
mod etcd;
#[cfg(feature = "etcd")]
mod etcd_alone;
#[cfg(feature = "etcd")]
mod etcd_servers;
mod failing;
mod keys;
mod leading;
mod servers;
mod transactions;
mod watching;

use embedded::{OneReplica, ThreeReplicas};
#[cfg(feature = "etcd")]
use etcd::Etcd;

/// Makes each function a test of the backend.
macro_rules! on {
    ($backend:ident as $name:ident: $($module:ident { $($test:ident)* })*) => {
        mod $name {
            $($(
                #[tokio::test(flavor = "multi_thread")]
                async fn $test() {
                    crate::$module::$test::<crate::$backend>().await;
                }
            )*)*
        }
    };
}

/// What any backend does.
macro_rules! on_any {
    ($backend:ident as $name:ident: $($more:tt)*) => {
        on! { $backend as $name:
            keys {
                what_one_handle_wrote_every_handle_reads
                a_deleted_key_is_gone_and_comes_back_with_a_later_revision
                pages_are_in_order_bounded_and_say_whether_more_follows
                a_page_holds_its_prefix_and_nothing_beside_it
                revisions_only_grow
            }
            transactions {
                a_transaction_happens_only_when_all_its_conditions_hold
                a_conflict_names_what_is_there_for_each_condition
                revision_zero_is_no_revision
                all_of_a_transaction_bears_one_revision
                what_is_outside_the_limits_is_invalid_and_what_is_just_inside_is_not
                a_transaction_without_effect_takes_no_revision
                concurrent_increments_lose_nothing
            }
            watching {
                a_watch_tells_whole_revisions_in_order_from_where_it_was_asked
                a_watch_says_first_how_far_it_has_come
                a_watch_of_everything_reaches_the_revision_of_every_page
                every_watcher_hears_each_of_many_revisions_once
                a_watch_from_before_the_kept_history_says_resync_and_goes_on
                a_watch_ends_when_its_store_is_closed
            }
            leading {
                exactly_one_leads_and_all_know_where
                only_the_leaders_fence_is_let_through
                a_closed_leader_is_followed_by_another_term_and_its_fence_is_void
                a_leader_that_died_is_followed_by_another_term
            }
            failing {
                after_closing_nothing_is_accepted
            }
            $($more)*
        }
    };
}

/// What needs several servers.
macro_rules! on_replicated {
    ($backend:ident as $name:ident) => {
        on_any! { $backend as $name: servers {
            without_servers_nothing_is_answered_and_what_was_not_applied_never_is
            a_watch_outlives_an_outage_without_a_gap
        } }
    };
}

on_any! { OneReplica as one_replica: }
on_replicated! { ThreeReplicas as three_replicas }
#[cfg(feature = "etcd")]
on_replicated! { Etcd as etcd_of_three }
