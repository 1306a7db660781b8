//! The outside world, and decisions about it, turned into the log.
//!
//! Doors take what channels report, their statements are compared with what the log has, the coordinator decides, the
//! executor makes the calls that decisions ask for and appends their outcomes. The sandbox plays the outside for demos and
//! tests.

pub mod calls;
pub mod channels;
pub mod coordinator;
pub mod door;
pub mod executor;
pub mod http;
pub mod inbox;
pub mod publisher;
pub mod reconciliation;
pub mod refund_file;
pub mod sandbox;
pub mod signature;
pub mod statement;
pub mod token;

/// The producers' own tables, in the order of their making.
pub const MIGRATIONS: &[(&str, &str)] = &[
    ("V1__coordinator", include_str!("../migrations/V1__coordinator.sql")),
    ("V2__door", include_str!("../migrations/V2__door.sql")),
    ("V3__streams", include_str!("../migrations/V3__streams.sql")),
    ("V4__outbox", include_str!("../migrations/V4__outbox.sql")),
    ("V5__states", include_str!("../migrations/V5__states.sql")),
    ("V6__outbox_numbers", include_str!("../migrations/V6__outbox_numbers.sql")),
];
