use std::process::{ExitCode, exit};

use clap::Parser;

#[global_allocator]
static GLOBAL: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[tokio::main]
async fn main() {
    let code = ledger::cli::Cli::parse().run().await.unwrap_or_else(|error| {
        eprintln!("error: {error:#}");
        ExitCode::FAILURE
    });
    // Not by a return: a lane that waits for an engine which is away does so in this runtime, which must outlive it.
    exit(i32::from(code != ExitCode::SUCCESS));
}
