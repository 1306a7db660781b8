//! The ground that both sides stand on: the log behind its trait, Postgres, the fenced stream, tasks, and waiting for
//! a position. It knows no business.

pub mod clock;
pub mod log;
pub mod postgres;
pub mod store;
pub mod stream;
pub mod task;
pub mod tls;

/// The engine's own tables, in the order of their making.
pub const MIGRATIONS: &[(&str, &str)] = &[
    ("V1__log", include_str!("../migrations/V1__log.sql")),
    ("V2__stream", include_str!("../migrations/V2__stream.sql")),
    ("V3__task_by_hand", include_str!("../migrations/V3__task_by_hand.sql")),
    ("V4__task_stopped", include_str!("../migrations/V4__task_stopped.sql")),
];
