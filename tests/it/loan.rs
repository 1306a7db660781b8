//! The student loan's acceptance scenarios, through the door and the sandbox, each named by its rule.

use std::{cell::RefCell, net::SocketAddr};

use anyhow::{Context, Result};
use chrono::TimeDelta;
use engine::{clock::Clock, tls::Trust};
use ledger::{
    commands::demo,
    config::Config,
    house::House,
    play::{Ask, Stage, yuan},
    roles::{Role, Running},
};
use ledger_tests::{monday, stage_at};
use producers::sandbox::{BankStep, MoveStep, NoticeStep, Script};
use projections::report;
use rules::policy::{ChannelTerms, Cycle, SettlesTo};
use schemas::{
    Amount, Balance, Data, Event, Name, OrderId,
    events::{
        Bearer, ConfirmationResolved, ConfirmationRevoked, Evidence, Medium, Method, OrderCancelled,
        PaymentOutcomeUnknown, PaymentReversalFailed, PaymentReversed, ReceiptPrinted, ReceiptReprinted, ReceiptText,
        RefundReason, RepaymentConfirmed, Resolution, ReversalReason, RevocationReason, SettlementReceived,
        SettlementReported,
    },
};

use crate::looking::{balance, balances, breaks, count, order, status, timeline};

const README: &str = include_str!("../../README.md");
pub(crate) const POS: &str = "ums-pos";
const CQP: &str = "unionpay-cqp";
pub(crate) const POS_SOURCE: &str = "/channels/ums-pos";
pub(crate) const FINANCE: &str = "/operators/finance";

pub(crate) fn bank(steps: impl IntoIterator<Item = BankStep>) -> Script {
    Script { bank: steps.into_iter().collect(), ..Script::default() }
}

/// Asks, pays, and lets everything happen that follows at once.
pub(crate) async fn paid(
    stage: &Stage,
    channel: &str,
    contract: &str,
    amount: &str,
    script: Script,
) -> Result<OrderId> {
    let id = stage.accepted(&Ask::new(channel, contract, amount, contract)).await?;
    stage.script(&id, script);
    stage.pay(&id, channel, Method::Card, amount)?;
    stage.notified(&id).await?;
    stage.rest().await?;
    Ok(id)
}

#[tokio::test(flavor = "multi_thread")]
async fn s01_a_captured_and_confirmed_repayment_is_completed_and_owed_to_the_bank() -> Result<()> {
    let stage = stage_at("10:00:00").await?;
    let id = paid(&stage, POS, "K", "5000.00", Script::default()).await?;
    slip(&stage, &id, ReceiptText::Success).await?;
    assert_eq!(status(&stage, &id).await?, "completed");
    assert!(breaks(&stage).await?.is_empty());
    assert_eq!(balance(&stage, 2110).await?, "-5000.00");
    let types: Vec<&str> = timeline(&stage, &id).await?.iter().map(|event| event.data.event_type()).collect();
    let place = |name: &str| types.iter().position(|read| read.contains(name)).expect(name);
    assert!(place("receipt.printed") > place("repayment.confirmed"), "{types:?}");
    // Told of a success that the bank has not confirmed, somebody must look.
    let doubtful = paid(&stage, POS, "K2", "300.00", bank([BankStep::Uncertain])).await?;
    slip(&stage, &doubtful, ReceiptText::Success).await?;
    assert_eq!(breaks(&stage).await?, ["success_shown_unconfirmed"]);
    resolve(&stage, &doubtful, Resolution::Confirmed).await?;
    assert!(breaks(&stage).await?.is_empty());
    stage.close().await
}

#[tokio::test(flavor = "multi_thread")]
async fn s02_a_student_who_is_not_enrolled_is_refused_and_nothing_is_posted() -> Result<()> {
    let stage = stage_at("10:00:00").await?;
    let answer = stage.ask(&Ask { enrolled: false, ..Ask::new(POS, "K", "100.00", "1") }).await?;
    assert_eq!(answer.verdict, "NOT_ENROLLED");
    stage.wait(3600).await?;
    assert_eq!(status(&stage, &answer.order_id).await?, "rejected");
    let told = timeline(&stage, &answer.order_id).await?;
    let types: Vec<&str> = told.iter().map(|event| event.data.event_type()).collect();
    assert_eq!(types, ["ledger.repayment.requested.v1", "ledger.order.rejected.v1"], "no payment follows");
    assert!(report::balances(&stage.house.pool).await?.is_empty());
    // Money that a channel takes all the same goes back, unless the bank has booked it.
    stage.script(&answer.order_id, bank([BankStep::Failed]));
    stage.pay(&answer.order_id, POS, Method::Card, "100.00")?;
    stage.notified(&answer.order_id).await?;
    stage.wait(60).await?;
    assert_eq!(order(&stage, &answer.order_id).await?.reason.as_deref(), Some("NOT_ENROLLED"));
    assert_eq!(status(&stage, &answer.order_id).await?, "refunded");
    assert_eq!(stage.sandbox.books().refunded(&answer.order_id), yuan("100.00")?);
    assert!(report::balances(&stage.house.pool).await?.is_empty());
    let answer = stage.ask(&Ask { found: false, ..Ask::new(POS, "K", "100.00", "2") }).await?;
    assert_eq!(answer.verdict, "LOAN_NOT_FOUND");
    stage.close().await
}

#[tokio::test(flavor = "multi_thread")]
async fn s03_identity_numbers_are_normalised_and_checked_at_the_door() -> Result<()> {
    let stage = stage_at("10:00:00").await?;
    let ask = |student, key| Ask { student, ..Ask::new(POS, key, "100.00", key) };
    let lower = stage.accepted(&ask("11010519491231002x", "K1")).await?;
    let upper = stage.accepted(&ask("11010519491231002X", "K2")).await?;
    stage.accepted(&ask("11010519491231002y", "K3")).await?;
    let refused = stage.ask(&ask("110105194912310021", "K4")).await;
    assert!(refused.unwrap_err().to_string().contains("INVALID_ID_NUMBER"));
    stage.rest().await?;
    let client = stage.house.pool.get().await?;
    let sql = "select count(distinct student) from finance.orders where order_id = any($1)";
    let students: i64 = client.query_one(sql, &[&vec![lower.as_str(), upper.as_str()]]).await?.get(0);
    assert_eq!(students, 1, "both spellings are one student");
    stage.close().await
}

#[tokio::test(flavor = "multi_thread")]
async fn s04_an_explicit_failure_is_refunded_exactly_and_without_a_person() -> Result<()> {
    let stage = stage_at("10:00:00").await?;
    let id = paid(&stage, CQP, "K", "800.00", bank([BankStep::Failed])).await?;
    assert_eq!(status(&stage, &id).await?, "refunded");
    assert_eq!(balance(&stage, 2110).await?, "0.00");
    assert_eq!(stage.sandbox.books().refunded(&id), yuan("800.00")?);
    let events = timeline(&stage, &id).await?;
    let find = |name: &str| events.iter().find(|event| event.data.event_type().contains(name)).expect(name);
    let (failed, refund) = (find("confirmation.failed"), find("refund.initiated"));
    assert!(refund.occurred_at - failed.occurred_at <= TimeDelta::seconds(1));
    assert_eq!(refund.causation_id, Some(failed.id), "the failure itself brings it about");
    stage.close().await
}

#[tokio::test(flavor = "multi_thread")]
async fn s05_an_uncertain_repayment_is_kept_until_the_bank_says_confirmed() -> Result<()> {
    let stage = stage_at("10:00:00").await?;
    let id = paid(&stage, POS, "K", "300.00", bank([BankStep::Uncertain])).await?;
    slip(&stage, &id, ReceiptText::Uncertain).await?;
    stage.wait(3600).await?;
    let found = order(&stage, &id).await?;
    assert_eq!((found.status.as_str(), found.refund.as_str()), ("uncertain", "none"));
    assert_eq!(balance(&stage, 2010).await?, "-300.00");
    let age = "select age_days from finance.open_sagas";
    let client = stage.house.pool.get().await?;
    assert_eq!(client.query_one(age, &[]).await?.get::<_, i32>(0), 0);
    stage.wait(2 * 86_400).await?;
    // It ages by the log's time, and something happens elsewhere in the log.
    paid(&stage, POS, "K2", "1.00", Script::default()).await?;
    assert_eq!(client.query_one(age, &[]).await?.get::<_, i32>(0), 2);
    assert!(breaks(&stage).await?.is_empty(), "the slip told to ask the bank");
    resolve(&stage, &id, Resolution::Confirmed).await?;
    assert_eq!((status(&stage, &id).await?.as_str(), balance(&stage, 2110).await?.as_str()), ("completed", "-301.00"));
    stage.close().await
}

/// The terminal prints a slip.
async fn slip(stage: &Stage, id: &OrderId, outcome_text: ReceiptText) -> Result<()> {
    let printed = ReceiptPrinted { medium: Medium::Slip, outcome_text, slip_sha256: None };
    stage.tell(POS_SOURCE, &[stage.event(POS_SOURCE, id, printed)]).await?;
    stage.rest().await
}

async fn resolve(stage: &Stage, id: &OrderId, outcome: Resolution) -> Result<()> {
    let data =
        ConfirmationResolved { target: "cdb".parse()?, outcome, evidence: Evidence::Manual, by: "case-1".into() };
    stage.tell(FINANCE, &[stage.event(FINANCE, id, data)]).await?;
    stage.rest().await
}

#[tokio::test(flavor = "multi_thread")]
async fn s06_an_uncertain_repayment_that_failed_after_all_is_refunded_once() -> Result<()> {
    let stage = stage_at("10:00:00").await?;
    let id = paid(&stage, POS, "K", "300.00", bank([BankStep::Uncertain])).await?;
    stage.wait(86_400).await?;
    settle(&stage, "300.00").await?;
    assert_eq!((balance(&stage, 1110).await?, balance(&stage, 2010).await?), ("0.00".into(), "-300.00".into()));
    resolve(&stage, &id, Resolution::Failed).await?;
    resolve(&stage, &id, Resolution::Failed).await?;
    assert_eq!(status(&stage, &id).await?, "refunded");
    assert_eq!((stage.sandbox.books().refunds.len(), stage.sandbox.books().refunded(&id)), (1, yuan("300.00")?));
    // The capture was settled with its day, so the channel has a claim until it sets the refund off.
    assert_eq!((balance(&stage, 1110).await?, balance(&stage, 2010).await?), ("-300.00".into(), "0.00".into()));
    stage.close().await
}

/// The terminals' channel settles what it captured on the first day, free of fees.
async fn settle(stage: &Stage, gross: &str) -> Result<()> {
    settle_through(stage, POS, gross, None).await
}

async fn settle_through(stage: &Stage, channel: &str, gross: &str, straight_to: Option<&str>) -> Result<()> {
    let (source, day) = (format!("/channels/{channel}"), "2025-03-10".parse()?);
    let channel = channel.parse::<Name>()?;
    let report = SettlementReported {
        channel: channel.clone(),
        batch_no: "1".into(),
        period_from: day,
        period_to: day,
        gross: yuan(gross)?,
        refunds: Amount::ZERO,
        chargebacks: Amount::ZERO,
        fees: Amount::ZERO,
        fees_borne_by: None,
        beneficiary: None,
        fee_items: Vec::new(),
        carried_in: Balance::ZERO,
        net: gross.parse()?,
        transactions: 1,
    };
    stage.tell(&source, &[Event::about_channel(&source, &channel, stage.now(), report)]).await?;
    let received = SettlementReceived {
        channel: channel.clone(),
        batch_no: "1".into(),
        bank_account: "settlement".parse()?,
        bank_ref: format!("IN-{channel}"),
        value_date: "2025-03-11".parse()?,
        amount: yuan(gross)?,
        straight_to: straight_to.map(str::parse).transpose()?,
        items: Vec::new(),
    };
    stage.tell(FINANCE, &[Event::about_channel(FINANCE, &channel, stage.now(), received)]).await?;
    stage.rest().await
}

#[tokio::test(flavor = "multi_thread")]
async fn s07_a_request_in_flight_keeps_others_out_for_120_seconds() -> Result<()> {
    let stage = stage_at("10:00:00").await?;
    let first = stage.accepted(&Ask::new(POS, "K", "100.00", "1")).await?;
    stage.wait(90).await?;
    assert_eq!(stage.ask(&Ask::new(POS, "K", "100.00", "2")).await?.verdict, "IN_FLIGHT");
    stage.wait(35).await?;
    stage.accepted(&Ask::new(POS, "K", "100.00", "3")).await?;
    stage.rest().await?;
    assert_eq!(status(&stage, &first).await?, "expired");
    stage.close().await
}

#[tokio::test(flavor = "multi_thread")]
async fn s10_a_capture_after_expiry_asks_the_bank_once_and_is_refunded_if_it_says_no() -> Result<()> {
    let stage = stage_at("10:00:00").await?;
    for (contract, answer, expected) in [("K1", BankStep::Booked, "completed"), ("K2", BankStep::Failed, "refunded")] {
        let id = stage.accepted(&Ask::new(POS, contract, "100.00", contract)).await?;
        stage.script(&id, bank([answer]));
        stage.wait(127).await?;
        assert_eq!(status(&stage, &id).await?, "expired");
        stage.pay(&id, POS, Method::Card, "100.00")?;
        stage.notified(&id).await?;
        stage.rest().await?;
        assert_eq!(status(&stage, &id).await?, expected);
        assert_eq!(count(&stage, &id, "confirmation.requested").await?, 1);
        let reason = order(&stage, &id).await?.reason;
        assert!(expected == "completed" || reason.as_deref() == Some("late_capture"), "{reason:?}");
    }
    stage.close().await
}

#[tokio::test(flavor = "multi_thread")]
async fn s11_a_confirmation_after_the_refund_is_a_break_until_the_bank_revokes() -> Result<()> {
    let stage = stage_at("10:00:00").await?;
    let id = paid(&stage, POS, "K", "100.00", bank([BankStep::Failed])).await?;
    resolve(&stage, &id, Resolution::Confirmed).await?;
    assert_eq!(status(&stage, &id).await?, "exception");
    assert_eq!((balance(&stage, 2110).await?, balance(&stage, 2010).await?), ("-100.00".into(), "100.00".into()));
    assert_eq!(breaks(&stage).await?, ["confirmed_after_refund"]);
    let revoked = ConfirmationRevoked {
        target: "cdb".parse()?,
        revocation_no: "1".into(),
        amount: yuan("100.00")?,
        reason: RevocationReason::BankUndid,
        by: "cdb".into(),
        mode: None,
        fee_item: None,
        billing_year: None,
        merchant: None,
    };
    stage.tell("/banks/cdb", &[stage.event("/banks/cdb", &id, revoked)]).await?;
    stage.rest().await?;
    assert_eq!((balance(&stage, 2110).await?, balance(&stage, 2010).await?), ("0.00".into(), "0.00".into()));
    assert!(breaks(&stage).await?.is_empty());
    stage.close().await
}

#[tokio::test(flavor = "multi_thread")]
async fn s12_a_confirmation_before_the_refund_is_sent_cancels_it() -> Result<()> {
    let stage = stage_at("10:00:00").await?;
    let id = stage.accepted(&Ask::new(POS, "K", "100.00", "1")).await?;
    stage.script(&id, Script { bank: vec![BankStep::Failed], notice: Some(NoticeStep::Never), ..Script::default() });
    let capture = stage.pay(&id, POS, Method::Card, "100.00")?;
    let source = format!("/channels/{POS}");
    // The bank's "no" and its "yes" reach the log together, before anything can be sent.
    let failed = schemas::events::ConfirmationFailed {
        target: "cdb".parse()?,
        tries: 1,
        code: "F01".into(),
        message: String::new(),
        retryable: false,
        evidence: Evidence::Query,
    };
    let resolved = ConfirmationResolved {
        target: "cdb".parse()?,
        outcome: Resolution::Confirmed,
        evidence: Evidence::Manual,
        by: "1".into(),
    };
    let events =
        [stage.capture_by_query(&id, &capture), stage.event(&source, &id, failed), stage.event(FINANCE, &id, resolved)];
    let appended = stage.house.publisher().append(&events).await;
    assert!(appended.iter().all(Result::is_ok), "{appended:?}");
    stage.rest().await?;
    assert_eq!(status(&stage, &id).await?, "completed");
    assert_eq!((count(&stage, &id, "refund.initiated").await?, count(&stage, &id, "refund.cancelled").await?), (1, 1));
    assert!(stage.sandbox.books().refunds.is_empty(), "the channel is called 0 times");
    stage.close().await
}

#[tokio::test(flavor = "multi_thread")]
async fn s13_a_capture_without_a_slip_is_synchronised_and_reversed() -> Result<()> {
    let stage = stage_at("10:00:00").await?;
    let id = stage.accepted(&Ask::new(POS, "K", "450.00", "1")).await?;
    stage.script(&id, Script { notice: Some(NoticeStep::Never), ..Script::default() });
    let capture = stage.pay(&id, POS, Method::QrB2c, "450.00")?;
    stage.wait(60).await?;
    let found = stage.capture_by_query(&id, &capture);
    let source = format!("/channels/{POS}");
    let reversal = PaymentReversed {
        channel: POS.parse()?,
        attempt: 1,
        capture_id: Some(found.id),
        amount: yuan("450.00")?,
        reason: ReversalReason::OperatorSync,
        method: None,
        channel_txn_no: capture.channel_txn_no.clone(),
        business_date: capture.business_date,
        evidence: Evidence::Query,
    };
    stage.tell(&source, &[found, stage.event(&source, &id, reversal)]).await?;
    stage.rest().await?;
    assert_eq!(status(&stage, &id).await?, "reversed");
    let sql = "select captured::text, reversed::text from finance.orders where order_id = $1";
    let row = stage.house.pool.get().await?.query_one(sql, &[&id.as_str()]).await?;
    assert_eq!((row.get(0), row.get(1)), ("450.00", "450.00"));
    assert!(report::balances(&stage.house.pool).await?.is_empty());
    assert_eq!(legs(&stage, &id).await?, 4, "taken, and given back");
    let copy =
        ReceiptReprinted { medium: Medium::Slip, outcome_text: ReceiptText::Refunded, copy_no: 2, slip_sha256: None };
    stage.tell(&source, &[stage.event(&source, &id, copy)]).await?;
    stage.rest().await?;
    assert_eq!((legs(&stage, &id).await?, count(&stage, &id, "receipt.reprinted").await?), (4, 1));
    stage.close().await
}

/// Nobody stands at a terminal there, so the ledger asks.
#[tokio::test(flavor = "multi_thread")]
async fn a_repayment_by_phone_whose_outcome_is_unknown_is_asked_about_until_it_is_known() -> Result<()> {
    let source = format!("/channels/{CQP}");
    for (number, reversal_fails, end) in [("K1", false, "completed"), ("K2", true, "refunded")] {
        let stage = stage_at("10:00:00").await?;
        let id = stage.accepted(&Ask::new(CQP, number, "100.00", number)).await?;
        stage.script(&id, Script { notice: Some(NoticeStep::Never), ..Script::default() });
        let unknown = PaymentOutcomeUnknown { attempt: 1, tries: 0, response_code: "05".into(), next_query_at: None };
        stage.tell(&source, &[stage.event(&source, &id, unknown)]).await?;
        if reversal_fails {
            let failed = PaymentReversalFailed { attempt: 1, tries: 1, code: "96".into(), retryable: false };
            stage.tell(&source, &[stage.event(&source, &id, failed)]).await?;
        }
        stage.wait(1).await?;
        assert_eq!(status(&stage, &id).await?, "payment_unknown", "the channel does not know it yet");
        stage.pay(&id, CQP, Method::Cqp, "100.00")?;
        for wait in [2, 60] {
            stage.wait(wait).await?;
        }
        let row = order(&stage, &id).await?;
        assert_eq!((row.status.as_str(), row.captured.as_str()), (end, "100.00"));
        assert_eq!(count(&stage, &id, "confirmation.requested").await?, usize::from(!reversal_fails));
        let refunds = timeline(&stage, &id).await?.into_iter().filter_map(|event| match event.data {
            Data::RefundInitiated(data) => Some(data.reason),
            _ => None,
        });
        assert_eq!(refunds.collect::<Vec<_>>(), vec![RefundReason::ReversalFailed; usize::from(reversal_fails)]);
        stage.close().await?;
    }
    Ok(())
}

/// How many lines of the journal are about an order.
async fn legs(stage: &Stage, id: &OrderId) -> Result<i64> {
    let sql = "select count(*) from finance.journal where subject = $1";
    Ok(stage.house.pool.get().await?.query_one(sql, &[&id.as_str()]).await?.get(0))
}

#[tokio::test(flavor = "multi_thread")]
async fn s14_the_worked_day_agrees_to_the_fen() -> Result<()> {
    let stage = Stage::open(ledger_tests::config().await?, demo::start_of_day()?).await?;
    let said = RefCell::new(Vec::new());
    let day = demo::play(&stage, demo::System::Loan, |text| said.borrow_mut().push(text.to_owned())).await?;
    for check in &day.checks {
        assert!(check.agrees(), "{check:?}");
    }
    let title = demo::System::Loan.title();
    assert!(breaks(&stage).await?.is_empty());
    let sql = "select order_id, status, amount::text, age_days from finance.open_sagas";
    let open = stage.house.pool.get().await?.query(sql, &[]).await?;
    let [a4] = &*open else { panic!("one order is open, not {open:?}") };
    let a4: (&str, &str, &str, i32) = (a4.get(0), a4.get(1), a4.get(2), a4.get(3));
    let (_, id) = day.orders.iter().find(|(name, _)| *name == "A4").context("the day has A4")?;
    assert_eq!(a4, (id.as_str(), "uncertain", "300.00", 2));
    let printed = [said.take().join("\n"), title, demo::orders(&stage, &day).await?, demo::checks(&day)].join("\n");
    assert_eq!(
        readme_without(&printed)?,
        Vec::<&str>::new(),
        "README.md shows what the demo does not print:\n{printed}"
    );
    stage.close().await
}

/// Lines of the README's sample of the demo that are not in `printed`. The day's own lines count: from where it begins
/// to the last table.
fn readme_without(printed: &str) -> Result<Vec<&'static str>> {
    let (_, sample) = README.split_once("```text\n").context("README.md has no sample")?;
    let lines = sample.lines().skip(1).take_while(|line| !line.starts_with("every figure agrees"));
    // Before the lines in which the day is told stands a time.
    let told = lines.map(|line| line.split_once(" s  ").map_or(line, |(_, told)| told));
    Ok(told.filter(|line| *line != "…" && !printed.lines().any(|printed| printed == *line)).collect())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_terms_of_each_channel_stand_beside_what_it_is_to_settle() -> Result<()> {
    let mut config = ledger_tests::config().await?;
    let ours = ChannelTerms { fee_ppm: 2000, cycle: Cycle::TwiceWeekly, ..ChannelTerms::default() };
    let theirs = ChannelTerms {
        fees_borne_by: Bearer::Beneficiary,
        fees_returned: false,
        settles_to: SettlesTo::School,
        cycle: Cycle::Fortnightly,
        ..ours
    };
    config.policy.channels = [(POS.parse()?, ours), (CQP.parse()?, theirs)].into();
    let stage = Stage::open(config, monday("10:00:00")?).await?;
    for channel in [POS, CQP] {
        paid(&stage, channel, &format!("booked by {channel}"), "100.00", Script::default()).await?;
        paid(&stage, channel, &format!("refused by {channel}"), "100.00", bank([BankStep::Failed])).await?;
    }
    let sql = "select concat_ws(' ', channel, fees_borne_by, fees, settles_to, net, period_from, period_to)
               from finance.settlement_days order by channel";
    let rows = stage.house.pool.get().await?.query(sql, &[]).await?;
    let days: Vec<&str> = rows.iter().map(|row| row.get(0)).collect();
    assert_eq!(
        days,
        [
            "ums-pos operator 0.20 us 99.80 2025-03-10 2025-03-12",
            "unionpay-cqp beneficiary 0.40 school 99.60 2025-03-10 2025-03-23",
        ]
    );
    // What they do stands there as they do it.
    settle(&stage, "100.00").await?;
    settle_through(&stage, CQP, "100.00", Some("school-1")).await?;
    let sql =
        "select concat_ws(' ', channel, fees_borne_by, received, paid_to) from finance.settlements order by channel";
    let rows = stage.house.pool.get().await?.query(sql, &[]).await?;
    let settled: Vec<&str> = rows.iter().map(|row| row.get(0)).collect();
    assert_eq!(settled, ["ums-pos operator 100.00 us", "unionpay-cqp operator 100.00 school-1"]);
    stage.close().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_confirmation_without_its_capture_is_a_break_once_its_grace_is_over() -> Result<()> {
    let stage = stage_at("10:00:00").await?;
    let id = stage.accepted(&Ask::new(POS, "K", "100.00", "1")).await?;
    let confirmed = RepaymentConfirmed {
        target: "cdb".parse()?,
        amount: yuan("100.00")?,
        bank_ref: None,
        booked_date: None,
        principal: None,
        interest: None,
        evidence: Evidence::Query,
    };
    stage.tell("/banks/cdb", &[stage.event("/banks/cdb", &id, confirmed)]).await?;
    stage.wait(299).await?;
    paid(&stage, POS, "K2", "1.00", Script::default()).await?;
    assert!(breaks(&stage).await?.is_empty(), "the capture may be on its way");
    stage.wait(2).await?;
    // Time passes by the log, wherever in it something happens.
    paid(&stage, POS, "K3", "1.00", Script::default()).await?;
    assert_eq!(breaks(&stage).await?, ["confirmed_without_capture"]);
    assert_eq!(balances(&stage, [2010, 2110]).await?, ["100.00", "-102.00"], "recoverable");
    stage.pay(&id, POS, Method::Card, "100.00")?;
    stage.notified(&id).await?;
    stage.rest().await?;
    assert!(breaks(&stage).await?.is_empty());
    assert_eq!((status(&stage, &id).await?.as_str(), balance(&stage, 2010).await?.as_str()), ("completed", "0.00"));
    stage.close().await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_that_its_channel_cancels_makes_room_and_a_capture_of_it_is_looked_after_all_the_same() -> Result<()> {
    let stage = stage_at("10:00:00").await?;
    let id = stage.accepted(&Ask::new(POS, "K", "100.00", "1")).await?;
    assert_eq!(stage.ask(&Ask::new(POS, "K", "50.00", "2")).await?.verdict, "IN_FLIGHT");
    let cancelled = OrderCancelled { by: POS.parse()?, reason: "payer left".into() };
    stage.tell(POS_SOURCE, &[stage.event(POS_SOURCE, &id, cancelled)]).await?;
    stage.rest().await?;
    assert_eq!(status(&stage, &id).await?, "cancelled");
    stage.accepted(&Ask::new(POS, "K", "50.00", "3")).await?;
    stage.script(&id, bank([BankStep::Failed]));
    stage.pay(&id, POS, Method::Card, "100.00")?;
    stage.notified(&id).await?;
    stage.rest().await?;
    assert_eq!(status(&stage, &id).await?, "refunded");
    assert_eq!(count(&stage, &id, "order.expired").await?, 0);
    stage.close().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_repayment_of_a_contract_on_one_day_is_a_break() -> Result<()> {
    let stage = stage_at("10:00:00").await?;
    let late = stage.accepted(&Ask::new(POS, "K", "100.00", "late")).await?;
    stage.wait(127).await?;
    paid(&stage, POS, "K", "50.00", Script::default()).await?;
    assert!(breaks(&stage).await?.is_empty());
    stage.pay(&late, POS, Method::Card, "100.00")?;
    stage.notified(&late).await?;
    stage.rest().await?;
    assert_eq!(status(&stage, &late).await?, "completed");
    assert_eq!(breaks(&stage).await?, ["second_repayment_of_the_day"]);
    stage.close().await
}

/// The door refuses it. Where the log has it all the same, the first report stands.
#[tokio::test(flavor = "multi_thread")]
async fn the_same_fact_with_other_content_in_the_log_is_a_break_and_moves_nothing() -> Result<()> {
    let stage = stage_at("10:00:00").await?;
    let id = paid(&stage, POS, "K", "100.00", Script::default()).await?;
    let mut capture = stage.sandbox.books().captures[&id][0].clone();
    capture.amount = yuan("99.00")?;
    let appended = stage.house.publisher().append(&[stage.capture_by_query(&id, &capture)]).await;
    assert!(appended.iter().all(Result::is_ok), "{appended:?}");
    stage.rest().await?;
    assert_eq!(breaks(&stage).await?, ["conflicting_repeat"]);
    assert_eq!(balances(&stage, [1110, 2110]).await?, ["100.00", "-100.00"]);
    assert_eq!(status(&stage, &id).await?, "completed");
    stage.close().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sandbox_beside_the_door_tells_it_of_payments() -> Result<()> {
    let any_port = SocketAddr::from(([127, 0, 0, 1], 0));
    let config = Config { listen: any_port, sandbox_listen: any_port, ..ledger_tests::config().await? };
    let house = House::open(config, Clock::System).await?;
    house.apply_topics().await?;
    let mut running = Running::start(&house, &[Role::Coordinator, Role::Projector, Role::Door, Role::Sandbox]).await?;
    let sandbox = running.sandbox.take().context("the sandbox plays")?;
    let door_url = format!("http://{}", running.door.context("the door is open")?);
    let http = producers::http::client(Trust::nobody())?.build()?;
    let stage = Stage { house, running, sandbox, http, door_url };
    let id = stage.accepted(&Ask::new(CQP, "K", "100.00", "1")).await?;
    stage.pay(&id, CQP, Method::Cqp, "100.00")?;
    stage.notified(&id).await?;
    stage.close().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refund_with_a_lost_answer_is_asked_about_and_never_paid_twice() -> Result<()> {
    let stage = stage_at("10:00:00").await?;
    for (contract, step) in [
        ("K1", MoveStep::Http500ButDone),
        ("K2", MoveStep::Http500NotDone),
        ("K3", MoveStep::ResetButDone),
        ("K4", MoveStep::ResetNotDone),
        ("K5", MoveStep::Accepted { processing: 2 }),
    ] {
        let script =
            Script { bank: vec![BankStep::Failed], refunds: vec![step, MoveStep::Success], ..Script::default() };
        let id = paid(&stage, POS, contract, "100.00", script).await?;
        for _ in 0..6 {
            stage.wait(60).await?;
        }
        assert_eq!(status(&stage, &id).await?, "refunded", "{contract}");
        assert_eq!(stage.sandbox.books().refunded(&id), yuan("100.00")?, "{contract}");
    }
    stage.close().await
}
