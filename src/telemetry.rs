//! What the program says about itself, on stderr.

use std::io::{IsTerminal, stderr};

use tracing_subscriber::EnvFilter;

/// `RUST_LOG` chooses what is said: `info`, `ledger_engine=debug`, …
pub fn start(quiet: bool) {
    let default = if quiet { "warn" } else { "info" };
    let filter = EnvFilter::try_from_env("RUST_LOG").unwrap_or_else(|_| EnvFilter::new(default));
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(stderr).with_target(false);
    // A second start, as tests do it, keeps the first.
    if stderr().is_terminal() {
        lines.try_init().unwrap_or_default();
    } else {
        lines.with_ansi(false).try_init().unwrap_or_default();
    }
}
