//! The ground that both sides stand on: the log behind its trait, Postgres, the fenced stream, tasks, and waiting for
//! a position. It knows no business.

pub mod log;
pub mod postgres;
