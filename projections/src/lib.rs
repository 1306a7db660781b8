//! The log turned into tables, and the tables into reports.
//!
//! Everything here can be thrown away and rebuilt from the log. All views of one worker move in one transaction with
//! its offsets, so a report is a consistent snapshot and can name its positions.

pub mod api;
pub mod digest;
pub mod generation;
pub mod projector;
pub mod rebuild;
pub mod report;
pub mod timeline;
mod views;

/// The projections' own tables, in the order of their making.
pub const MIGRATIONS: &[(&str, &str)] = &[("V1__finance", include_str!("../migrations/V1__finance.sql"))];
