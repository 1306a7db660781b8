//! End to end, on real engines. Set LEDGER_TEST_KAFKA=host:port to run everything on Kafka.

mod campus;
mod cards;
mod contract;
mod dead_letters;
mod disputes;
mod doors;
mod fees;
mod finance;
mod loan;
mod looking;
mod orders;
mod reading;
mod rebuild;
mod reconciliation;
mod selling;
mod tidy;
