//! End to end, on real engines. Set LEDGER_TEST_KAFKA=host:port to run everything on Kafka.

mod dead_letters;
mod doors;
mod loan;
mod reading;
mod rebuild;
mod tidy;
