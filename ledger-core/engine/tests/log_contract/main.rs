//! The contract of the log: one suite of cases, run against every engine. Memory and Postgres always run (a Postgres is
//! started for it); Kafka runs when `LEDGER_TEST_KAFKA` holds the address of a broker, which `tests/kafka/kafka.sh start`
//! prints. Without it the run says so, and under `CI` it fails.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod amnesia;
mod appending;
mod bed;
mod kafka;
mod memory;
mod outage;
mod postgres;
mod reading;
mod topics;

/// Every case as a test of each engine.
macro_rules! contract {
    ($($suite:ident::$case:ident,)*) => {
        $(
            mod $case {
                #[test]
                fn memory() {
                    super::$suite::$case(&super::bed::Bed::new(stringify!($case), Box::new(super::memory::Memory::new())));
                }

                #[test]
                fn postgres() {
                    super::$suite::$case(&super::bed::Bed::new(stringify!($case), Box::new(super::postgres::Postgres::shared())));
                }

                #[test]
                fn kafka() {
                    if let Some(kafka) = super::kafka::Kafka::shared(stringify!($case)) {
                        super::$suite::$case(&super::bed::Bed::new(stringify!($case), Box::new(kafka)));
                    }
                }
            }
        )*
    };
}

contract! {
    appending::records_of_one_key_keep_their_order,
    appending::positions_are_contiguous_and_as_answered,
    appending::records_come_back_as_they_were,
    appending::a_repeated_append_stands_twice,
    appending::the_key_decides_the_partition,
    appending::a_huge_record_is_refused_and_the_largest_is_taken,
    appending::many_appenders_lose_nothing,
    appending::nothing_to_append_is_answered_at_once,
    reading::reading_resumes_where_another_reader_stopped,
    reading::partitions_are_handed_over_without_a_gap,
    reading::reading_starts_in_the_middle,
    reading::an_assignment_replaces_the_one_before,
    reading::an_offset_out_of_range_is_an_error_until_the_next_assignment,
    reading::a_new_record_is_seen_soon,
    reading::large_records_come_in_several_polls,
    reading::no_partition_starves,
    topics::ends_count_the_records,
    topics::offsets_are_found_by_time,
    topics::a_missing_topic_is_named,
    topics::a_topic_made_anew_has_another_identity,
    topics::the_log_has_its_own_clock,
    topics::producers_time_is_kept_where_the_topic_says_so,
    topics::applying_again_changes_settings_but_never_partitions,
}
