//! The day of a contract: how often it is repaid, and when it is open again.

use anyhow::Result;
use ledger::play::{Ask, Stage};
use ledger_tests::stage_at;
use producers::sandbox::{BankStep, Script};

use crate::loan::{POS, bank, paid};

#[tokio::test(flavor = "multi_thread")]
async fn s08_a_contract_is_repaid_once_a_day() -> Result<()> {
    let stage = stage_at("10:00:00").await?;
    paid(&stage, POS, "K", "100.00", Script::default()).await?;
    assert_eq!(stage.ask(&Ask::new(POS, "K", "50.00", "second")).await?.verdict, "DAILY_LIMIT");
    stage.accepted(&Ask::new(POS, "K2", "50.00", "other contract")).await?;
    stage.wait(14 * 3600).await?;
    let locked = stage.ask(&Ask::new(POS, "K", "50.00", "after midnight")).await?;
    assert_eq!(locked.verdict, "BOOKING_LOCK", "until the bank has booked it, on D+2");
    stage.wait(24 * 3600).await?;
    stage.accepted(&Ask::new(POS, "K", "50.00", "booked")).await?;
    stage.close().await
}

#[tokio::test(flavor = "multi_thread")]
async fn s08_without_the_lock_a_contract_is_open_again_after_midnight() -> Result<()> {
    let mut config = ledger_tests::config().await?;
    config.policy.booking_lock = false;
    let stage = Stage::open(config, ledger_tests::monday("10:00:00")?).await?;
    paid(&stage, POS, "K", "100.00", Script::default()).await?;
    stage.wait(14 * 3600).await?;
    stage.accepted(&Ask::new(POS, "K", "50.00", "after midnight")).await?;
    stage.close().await
}

#[tokio::test(flavor = "multi_thread")]
async fn s09_an_uncertain_repayment_uses_up_the_day() -> Result<()> {
    let stage = stage_at("10:00:00").await?;
    paid(&stage, POS, "K", "100.00", bank([BankStep::Uncertain])).await?;
    assert_eq!(stage.ask(&Ask::new(POS, "K", "50.00", "second")).await?.verdict, "DAILY_LIMIT");
    stage.close().await
}
