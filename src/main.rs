use std::{
    io,
    process::{ExitCode, exit},
};

use clap::Parser;

#[global_allocator]
static GLOBAL: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[tokio::main]
async fn main() {
    let code = ledger::cli::Cli::parse().run().await.unwrap_or_else(|error| {
        // Who reads our output has had enough of it, as `head` has.
        let enough = |cause: &(dyn std::error::Error + 'static)| {
            cause.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
        };
        if error.chain().any(enough) {
            return ExitCode::SUCCESS;
        }
        eprintln!("error: {error:#}");
        ExitCode::FAILURE
    });
    // Not by a return: a lane that waits for an engine which is away does so in this runtime, which must outlive it.
    exit(i32::from(code != ExitCode::SUCCESS));
}
