//! What the program says about itself, on stderr.

use std::io::stderr;

use tracing::Level;
use tracing_subscriber::{filter::Targets, fmt, prelude::*};

/// `RUST_LOG` chooses what is said: `info`, `info,ledger_engine=debug`, …
pub fn start(quiet: bool) {
    let chosen = std::env::var("RUST_LOG").ok().and_then(|chosen| chosen.parse().ok());
    let filter: Targets =
        chosen.unwrap_or_else(|| Targets::new().with_default(if quiet { Level::WARN } else { Level::INFO }));
    let lines = fmt::layer().with_writer(stderr).with_target(false).with_ansi(false);
    // A second start, as tests do it, keeps the first.
    tracing_subscriber::registry().with(lines.with_filter(filter)).try_init().unwrap_or_default();
}
