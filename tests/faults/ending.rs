//! Told to end, a process ends, whatever is away; and whoever comes next goes on where it stood.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use producers::sandbox::{BankStep, Script};

use crate::{
    audit,
    engines::Engines,
    load::{self, Fate, Payment},
    world::{World, eventually, hurried},
};

const ORDERS: usize = 40;
/// The bank answers while the log is away.
const BANK: Duration = Duration::from_millis(2_500);
/// What Docker and Kubernetes give a process at the least, and some time for two cores that many share.
const ENDS_WITHIN: Duration = Duration::from_secs(25);

#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_is_told_to_end_does_so_although_the_log_is_away() -> Result<()> {
    let mut engines = Engines::start().await?;
    let mut config = hurried(engines.config());
    config.calls.timeout_ms = 10_000;
    let world = Arc::new(World::open(config).await?);
    let mut processes: Vec<_> =
        ["door", "projector", "coordinator", "executor"].map(|role| world.process(role, role).unwrap()).into();
    world.door_is_open().await?;
    let script = Script { bank: vec![BankStep::Slow { ms: BANK.as_millis() as u64 }], ..Script::default() };
    let payments = (0..ORDERS).map(|number| Payment::new(number, Fate::Booked, script.clone())).collect();
    let paid = load::pay_all(&world, payments, Duration::ZERO).await?;
    audit::every_notice_is_acknowledged(&world, &paid, ENDS_WITHIN).await?;
    eventually("the bank is asked", async || Ok(!world.sandbox.books().repayments.is_empty())).await?;
    engines.take_log_away().await?;
    tokio::time::sleep(BANK).await;

    let began = Instant::now();
    for process in &processes {
        process.tell_to_end()?;
    }
    for process in &mut processes {
        let status = process.has_ended().await?;
        ensure!(began.elapsed() < ENDS_WITHIN, "{} ended only after {:?}", process.name, began.elapsed());
        ensure!(status.success(), "{} ended with {status}", process.name);
    }
    eprintln!("all ended within {:?}", began.elapsed());

    engines.bring_log_back().await?;
    processes.iter_mut().try_for_each(|process| process.restart())?;
    world.door_is_open().await?;
    world.comes_to_rest(Duration::from_secs(60)).await?;
    audit::everything_is_right(&world, &paid).await?;
    engines.done();
    Ok(())
}
