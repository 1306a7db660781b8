//! The worked day of the student loan "repay any time" (随时还款): nine requests to repay six loans, settled on T+1 and passed
//! on to the bank on D+2.

use anyhow::{Context, Result, ensure};
use chrono::NaiveDate;
use producers::sandbox::{BankStep, NoticeStep, Script};
use projections::report;
use rules::accounts::AccountCode::BankSettlement;
use schemas::{
    Amount, Balance, Event, Name, OrderId,
    events::{
        Evidence, FundsRemitted, Medium, Method, PaymentDeclined, PaymentInitiated, PaymentReversed, ReceiptPrinted,
        ReceiptText, RemittedItem, ReversalReason, SettlementReceived, SettlementReported,
    },
};

use super::{Day, at, of, totals};
use crate::play::{Ask, Stage, yuan};

const POS: &str = "ums-pos";
const CQP: &str = "unionpay-cqp";
const FINANCE: &str = "/operators/finance";

/// Plays the whole day and the two days after it.
pub async fn play(stage: &Stage, day: &mut Day, say: &impl Fn(&str)) -> Result<()> {
    say("T, Monday 2025-03-10: nine requests to repay six loans 还款申请");
    payments(stage, day).await?;
    stage.rest().await?;
    day.check(stage, "T", &[("1110", "7100.00"), ("2010", "-300.00"), ("2110", "-6800.00"), ("2210", "0.00")]).await?;
    let mut net = Balance::ZERO;
    for channel in [POS, CQP] {
        let (_, of_channel) = report::settlement(&stage.house.pool, channel, "2025-03-10".parse()?).await?;
        net += of_channel.parse::<Balance>()?;
    }
    day.expect("T", "settlement net 应结净额", "7085.80", net.to_string());
    say("T+1, Tuesday: the channels settle 渠道结算");
    stage.wait_until(at("2025-03-11T10:00:00+08:00")?).await?;
    settle(stage).await?;
    let after_receipt = [
        ("1010", "7085.80"),
        ("1110", "0.00"),
        ("1120", "0.00"),
        ("2010", "-300.00"),
        ("2110", "-6800.00"),
        ("5010", "14.20"),
    ];
    day.check(stage, "T+1", &after_receipt).await?;
    say("D+2, Wednesday: the bank gets its money 划付银行");
    stage.wait_until(at("2025-03-12T10:00:00+08:00")?).await?;
    let at_the_bank = totals(stage).await?;
    remit(stage, day).await?;
    let remitted = of(&at_the_bank, BankSettlement) - of(&totals(stage).await?, BankSettlement);
    day.expect("D+2", "remittance 划付", "6800.00", remitted.to_string());
    day.check(stage, "D+2", &[("1010", "285.80"), ("2010", "-300.00"), ("2110", "0.00"), ("5010", "14.20")]).await?;
    day.check_position(stage, "D+2", ["300.00", "285.80", "14.20"]).await
}

/// One more repayment, for those who want to see that everything still works.
pub async fn play_one_more(stage: &Stage) -> Result<OrderId> {
    let order = stage.accepted(&Ask::new(POS, "K-one-more", "1.00", "one more")).await?;
    pay(stage, &order, POS, Method::Card, "1.00").await?;
    Ok(order)
}

async fn payments(stage: &Stage, day: &mut Day) -> Result<()> {
    // A1: a card at the terminal, booked by the bank, and only then a slip.
    let a1 = stage.accepted(&Ask::new(POS, "K-A1", "5000.00", "A1")).await?;
    pay(stage, &a1, POS, Method::Card, "5000.00").await?;
    receipt(stage, &a1, POS, ReceiptText::Success).await?;
    // A2: the mini program.
    let a2 = stage.accepted(&Ask::new(CQP, "K-A2", "1200.00", "A2")).await?;
    pay(stage, &a2, CQP, Method::Cqp, "1200.00").await?;
    receipt(stage, &a2, CQP, ReceiptText::Success).await?;
    // A3: paid, but the bank says no, so the saga gives the money back.
    let a3 = stage.accepted(&Ask::new(CQP, "K-A3", "800.00", "A3")).await?;
    stage.script(&a3, Script { bank: vec![BankStep::Failed], ..Script::default() });
    pay(stage, &a3, CQP, Method::Cqp, "800.00").await?;
    receipt(stage, &a3, CQP, ReceiptText::Refunded).await?;
    // A4: the bank does not know. Nothing is refunded; the slip says to ask the bank.
    let a4 = stage.accepted(&Ask::new(POS, "K-A4", "300.00", "A4")).await?;
    stage.script(&a4, Script { bank: vec![BankStep::Uncertain], ..Script::default() });
    pay(stage, &a4, POS, Method::QrB2c, "300.00").await?;
    receipt(stage, &a4, POS, ReceiptText::Uncertain).await?;
    let a5 = reversed(stage).await?;
    let [first, too_early, second] = declined_and_repeated(stage).await?;
    // A7: the same contract a second time on one day.
    let a7 = stage.ask(&Ask::new(POS, "K-A1", "100.00", "A7")).await?;
    ensure!(a7.verdict == "DAILY_LIMIT", "A7 should be refused with DAILY_LIMIT, not {}", a7.verdict);
    let names = ["A1", "A2", "A3", "A4", "A5", "A6", "A6 too early", "A6 again", "A7"];
    day.orders.extend(names.into_iter().zip([a1, a2, a3, a4, a5, first, too_early, second, a7.order_id]));
    // What is uncertain is asked about again until the schedule is over.
    stage.wait(1200).await
}

/// A5: money was taken but no slip came; the operator synchronises, and the payment is reversed.
async fn reversed(stage: &Stage) -> Result<OrderId> {
    let order = stage.accepted(&Ask::new(POS, "K-A5", "450.00", "A5")).await?;
    stage.script(&order, Script { notice: Some(NoticeStep::Never), ..Script::default() });
    let capture = stage.pay(&order, POS, Method::QrB2c, "450.00")?;
    stage.wait(60).await?;
    let found = stage.capture_by_query(&order, &capture);
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
    let source = format!("/channels/{POS}");
    stage.tell(&source, &[found, stage.event(&source, &order, reversal)]).await?;
    stage.rest().await?;
    Ok(order)
}

/// A6: the first payment is declined; the contract stays locked for two minutes, so a request meanwhile is refused, and
/// one after that goes through.
async fn declined_and_repeated(stage: &Stage) -> Result<[OrderId; 3]> {
    let source = format!("/channels/{CQP}");
    let first = stage.accepted(&Ask::new(CQP, "K-A6", "600.00", "A6")).await?;
    let initiated =
        PaymentInitiated { attempt: 1, method: Method::Cqp, amount: yuan("600.00")?, channel_order_no: None };
    let declined = PaymentDeclined {
        attempt: 1,
        response_code: "51".into(),
        message: "余额不足 not enough money".into(),
        evidence: Evidence::AsyncNotice,
    };
    stage.tell(&source, &[stage.event(&source, &first, initiated), stage.event(&source, &first, declined)]).await?;
    let too_early = stage.ask(&Ask::new(CQP, "K-A6", "600.00", "A6 too early")).await?;
    ensure!(too_early.verdict == "IN_FLIGHT", "A6 should still be in flight, not {}", too_early.verdict);
    stage.wait(125).await?;
    let second = stage.accepted(&Ask::new(CQP, "K-A6", "600.00", "A6 again")).await?;
    pay(stage, &second, CQP, Method::Cqp, "600.00").await?;
    receipt(stage, &second, CQP, ReceiptText::Success).await?;
    Ok([first, too_early.order_id, second])
}

async fn pay(stage: &Stage, order: &OrderId, channel: &str, method: Method, amount: &str) -> Result<()> {
    let source = format!("/channels/{channel}");
    let initiated = PaymentInitiated { attempt: 1, method, amount: yuan(amount)?, channel_order_no: None };
    stage.tell(&source, &[stage.event(&source, order, initiated)]).await?;
    stage.pay(order, channel, method, amount)?;
    stage.notified(order).await?;
    stage.wait(8).await
}

async fn receipt(stage: &Stage, order: &OrderId, channel: &str, outcome_text: ReceiptText) -> Result<()> {
    let source = format!("/channels/{channel}");
    let medium = if channel == POS { Medium::Slip } else { Medium::Screen };
    stage
        .tell(&source, &[stage.event(&source, order, ReceiptPrinted { medium, outcome_text, slip_sha256: None })])
        .await
}

/// Gross, refunds, fee, net and number of transactions of each channel's batch for T.
const BATCHES: [(&str, &str, &str, &str, &str, u32); 2] =
    [(POS, "5300.00", "0.00", "10.60", "5289.40", 2), (CQP, "2600.00", "800.00", "3.60", "1796.40", 4)];

/// The channels report what they settle for T, and the bank has it.
pub async fn settle(stage: &Stage) -> Result<()> {
    let day: NaiveDate = "2025-03-10".parse()?;
    for (channel, gross, refunds, fees, net, transactions) in BATCHES {
        let name: Name = channel.parse()?;
        let report = SettlementReported {
            channel: name.clone(),
            batch_no: "20250310".into(),
            period_from: day,
            period_to: day,
            gross: yuan(gross)?,
            refunds: yuan(refunds)?,
            chargebacks: Amount::ZERO,
            fees: yuan(fees)?,
            fees_borne_by: None,
            beneficiary: None,
            fee_items: Vec::new(),
            carried_in: Balance::ZERO,
            net: net.parse()?,
            transactions,
        };
        let source = format!("/channels/{channel}");
        stage.tell(&source, &[Event::about_channel(&source, &name, stage.now(), report)]).await?;
        let received = SettlementReceived {
            channel: name.clone(),
            batch_no: "20250310".into(),
            bank_account: "settlement".parse()?,
            bank_ref: format!("IN-20250311-{channel}"),
            value_date: "2025-03-11".parse()?,
            amount: yuan(net)?,
            straight_to: None,
            items: Vec::new(),
        };
        stage.tell(FINANCE, &[Event::about_channel(FINANCE, &name, stage.now(), received)]).await?;
    }
    stage.rest().await
}

async fn remit(stage: &Stage, day: &Day) -> Result<()> {
    let owed = [("A1", "5000.00"), ("A2", "1200.00"), ("A6 again", "600.00")];
    let item = |(name, amount): (&str, &str)| {
        let order = day.orders.iter().find(|(label, _)| *label == name).context("an order of the day is missing")?;
        Ok(RemittedItem::of_contract(order.1.stream(), yuan(amount)?))
    };
    let data = FundsRemitted {
        beneficiary: "cdb".parse()?,
        bank_account: "settlement".parse()?,
        bank_ref: "OUT-20250312-1".into(),
        value_date: "2025-03-12".parse()?,
        amount: yuan("6800.00")?,
        items: owed.into_iter().map(item).collect::<Result<_>>()?,
    };
    stage.tell(FINANCE, &[Event::about_channel(FINANCE, &"cdb".parse()?, stage.now(), data)]).await?;
    stage.rest().await
}
