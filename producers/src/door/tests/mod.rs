//! The door on a real Postgres and a log in memory, one test for each rule.

pub(crate) mod bed;
mod events;
mod repayments;
mod rest;
