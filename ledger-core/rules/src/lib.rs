//! What events mean, and what follows from them. Pure: no clock, no randomness, no input or output.
//! Time comes in as the log's time, decisions go out as data.

#[cfg(test)]
mod abnormal;
pub mod accounts;
pub mod admission;
pub mod breaks;
pub mod business_day;
pub mod card;
pub mod confirmation;
pub mod contract;
pub mod coordinator;
pub mod fee;
pub mod fees;
pub mod id_number;
#[cfg(test)]
mod invariants;
pub mod order;
pub mod policy;
pub mod postings;
pub mod purchase;
pub mod reconciliation;
pub mod refund;
pub mod retention;
pub mod settlement;
#[cfg(test)]
mod stories;
pub mod stream;
#[cfg(test)]
mod testing;

/// The log's time: what timers, limits and ages are measured in.
pub type LogTime = chrono::DateTime<chrono::Utc>;

/// What says nothing is left out of a row's state, which is written again with every change.
fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}
