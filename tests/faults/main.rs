//! Faults: what is killed, frozen or cut off while money moves, each test named by the rule that holds nevertheless.
//!
//! The real binary runs role by role in processes of its own; the payers, the acquirer and the bank are in this one. With
//! LEDGER_TEST_KAFKA=host:port everything runs on Kafka; tests that kill an engine start one of their own. FAULTS_SEED
//! repeats a run's choices (not its timing); each test prints the seed that it used.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod audit;
mod cancelling;
mod ending;
mod engines;
mod fleet;
mod load;
mod reading;
mod storm;
mod timers;
mod world;
mod zombies;

/// Chance that can be repeated.
fn dice(test: &str) -> fastrand::Rng {
    let seed = std::env::var("FAULTS_SEED").ok().and_then(|seed| seed.parse().ok());
    let seed = seed.unwrap_or_else(|| fastrand::u64(..1_000_000));
    eprintln!("{test}: FAULTS_SEED={seed}");
    fastrand::Rng::with_seed(seed)
}
