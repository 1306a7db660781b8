//! Acceptance scenarios of the campus card in the Alipay mini program, through the door and the sandbox, each named by its
//! rule.

use anyhow::{Context, Result};
use engine::clock::Clock;
use ledger::{
    commands::demo,
    play::{Stage, yuan},
};
use ledger_tests::{monday, stage_at};
use producers::sandbox::{MoveStep, NoticeStep, SandboxConfig, Script};
use projections::report;
use schemas::{
    Data, OrderId,
    events::{
        ConfirmationRevoked, Method, RefundOrigin, RefundReason, RefundRejectionReason, RefundRequested,
        RevocationReason,
    },
};
use uuid::Uuid;

use crate::{
    looking::{balances, breaks, count, status, the_worked_day_agrees, timeline},
    selling::{MINI, POS, SCHOOL, SCHOOL_SOURCE, bought, card_stream, offline, sale, sign, topped_up},
};

const CARD: &str = "card";

/// What is on the card, by the view of cards.
async fn on_card(stage: &Stage) -> Result<String> {
    let sql = "select balance::text from finance.cards where card = $1";
    let card = card_stream(stage, CARD).await?;
    Ok(stage.house.pool.get().await?.query_one(sql, &[&card.as_str()]).await?.get(0))
}

#[tokio::test(flavor = "multi_thread")]
async fn s25_parts_of_a_top_up_go_back_once_for_each_number_and_never_more_than_is_left() -> Result<()> {
    let stage = stage_at("10:00:00").await?;
    let (id, _) = topped_up(&stage, MINI, CARD, "100.00", Script::default()).await?;
    for _ in 0..2 {
        take_back(&stage, &id, 1, "30.00").await?;
    }
    assert_eq!(
        (count(&stage, &id, "confirmation.revoked").await?, count(&stage, &id, "refund.completed").await?),
        (1, 1)
    );
    assert_eq!((on_card(&stage).await?.as_str(), stage.sandbox.books().refunded(&id)), ("70.00", yuan("30.00")?));

    take_back(&stage, &id, 2, "30.00").await?;
    assert_eq!(
        (count(&stage, &id, "confirmation.revoked").await?, count(&stage, &id, "refund.completed").await?),
        (2, 2)
    );
    assert_eq!((on_card(&stage).await?.as_str(), stage.sandbox.books().refunded(&id)), ("40.00", yuan("60.00")?));

    ask_back(&stage, &id, 3, "50.00").await?;
    let refusals: Vec<_> = timeline(&stage, &id).await?.into_iter().filter_map(refusal).collect();
    assert_eq!(refusals, [RefundRejectionReason::AboveRefundable]);
    assert_eq!((on_card(&stage).await?.as_str(), stage.sandbox.books().refunded(&id)), ("40.00", yuan("60.00")?));
    assert_eq!(status(&stage, &id).await?, "partially_refunded");
    stage.close().await
}

fn refusal(event: schemas::Event) -> Option<RefundRejectionReason> {
    if let Data::RefundRejected(refused) = event.data { Some(refused.reason) } else { None }
}

/// The school takes value off the card again, and the holder asks for it.
async fn take_back(stage: &Stage, id: &OrderId, number: u128, amount: &str) -> Result<()> {
    let taken_back = revoked(&number.to_string(), amount, RevocationReason::CardDebitedBack)?;
    stage.tell(SCHOOL_SOURCE, &[stage.event(SCHOOL_SOURCE, id, taken_back)]).await?;
    ask_back(stage, id, number, amount).await
}

fn revoked(number: &str, amount: &str, reason: RevocationReason) -> Result<ConfirmationRevoked> {
    Ok(ConfirmationRevoked {
        target: SCHOOL.parse()?,
        revocation_no: number.to_owned(),
        amount: yuan(amount)?,
        reason,
        by: SCHOOL.into(),
        mode: None,
        fee_item: None,
        billing_year: None,
        merchant: None,
    })
}

async fn ask_back(stage: &Stage, id: &OrderId, number: u128, amount: &str) -> Result<()> {
    let asked = RefundRequested {
        refund_id: Uuid::from_u128(number),
        capture_id: stage.capture_id(id).await?,
        amount: yuan(amount)?,
        reason: RefundReason::Customer,
        by: RefundOrigin::Customer,
    };
    let source = format!("/channels/{MINI}");
    stage.tell(&source, &[stage.event(&source, id, asked)]).await?;
    stage.wait(60).await
}

#[tokio::test(flavor = "multi_thread")]
async fn s26_a_swipe_under_a_mandate_is_debited_at_alipay_and_leaves_the_card_as_it_was() -> Result<()> {
    let stage = stage_at("10:00:00").await?;
    topped_up(&stage, MINI, CARD, "20.00", Script::default()).await?;
    sign(&stage, CARD).await?;
    let id = bought(&stage, &sale(CARD, 1, "12.50", "withholding")).await?;
    assert_eq!((status(&stage, &id).await?.as_str(), on_card(&stage).await?.as_str()), ("completed", "20.00"));
    assert_eq!(balances(&stage, [1110, 1210, 2130, 2140]).await?, ["32.50", "0.00", "-20.00", "-12.50"]);
    let debited = |event: &schemas::Event| match &event.data {
        Data::PaymentCaptured(capture) => Some((capture.method, capture.amount)),
        _ => None,
    };
    let history: Vec<_> = timeline(&stage, &id).await?.iter().filter_map(debited).collect();
    assert_eq!(history, [(Method::Withholding, yuan("12.50")?)]);
    let sql = "select order_id, agreement_no, captured::text from finance.orders where stream = $1 and funding = 'withholding'";
    let rows = stage.house.pool.get().await?.query(sql, &[&id.stream().as_str()]).await?;
    let [debit] = &*rows else { panic!("the history has one withholding, not {}", rows.len()) };
    let debit: (&str, Option<&str>, &str) = (debit.get(0), debit.get(1), debit.get(2));
    assert_eq!((debit.0, debit.1.is_some(), debit.2), (id.as_str(), true, "12.50"));
    stage.close().await
}

#[tokio::test(flavor = "multi_thread")]
async fn s27_an_offline_purchase_within_the_window_is_debited_when_uploaded_and_counts_for_the_day_it_was_made()
-> Result<()> {
    let stage = stage_at("08:00:00").await?;
    sign(&stage, CARD).await?;
    stage.wait(23 * 3600).await?;
    assert_eq!(stage.now().to_rfc3339(), "2025-03-11T07:00:00+08:00");
    let upload =
        offline(sale(CARD, 1, "9.90", "withholding"), "2025-03-10T18:00:00+08:00", "2025-03-10T09:00:00+08:00");
    let id = stage.admitted("/v1/offline-purchases", POS, "-", &upload).await?;
    stage.rest().await?;
    assert_eq!(status(&stage, &id).await?, "completed");
    assert_eq!(balances(&stage, [1110, 1210, 2140]).await?, ["9.90", "0.00", "-9.90"]);
    let day = |event: &schemas::Event| match &event.data {
        Data::PurchasePosted(posted) => Some(("consumed", posted.consumed_on)),
        Data::PaymentCaptured(capture) => Some(("captured", capture.business_date)),
        _ => None,
    };
    let days: Vec<_> = timeline(&stage, &id).await?.iter().filter_map(day).collect();
    assert_eq!(days, [("consumed", "2025-03-10".parse()?), ("captured", "2025-03-11".parse()?)]);
    stage.close().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sale_that_was_asked_for_online_and_made_offline_after_all_is_one_purchase() -> Result<()> {
    let stage = stage_at("10:00:00").await?;
    sign(&stage, CARD).await?;
    let sale = sale(CARD, 1, "12.50", "withholding");
    let asked = bought(&stage, &sale).await?;
    let upload = offline(sale, "2025-03-10T10:00:00+08:00", "2025-03-10T09:00:00+08:00");
    assert_eq!(stage.admitted("/v1/offline-purchases", POS, "-", &upload).await?, asked);
    stage.rest().await?;
    assert_eq!((count(&stage, &asked, "purchase.posted").await?, stage.sandbox.books().debits.len()), (1, 1));
    assert_eq!(balances(&stage, [1110, 1210, 2140]).await?, ["12.50", "0.00", "-12.50"]);
    stage.close().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sale_of_tomorrow_is_refused_since_it_would_count_for_the_limit_of_another_day() -> Result<()> {
    let stage = stage_at("10:00:00").await?;
    for (path, when) in [("/v1/purchases", "requested_at"), ("/v1/offline-purchases", "occurred_at")] {
        let mut sale = offline(sale(CARD, 1, "9.90", "card_balance"), "", "2025-03-10T09:00:00+08:00");
        sale.as_object_mut()
            .context("an object")?
            .retain(|name, _| path.contains("offline") || !OFFLINE.contains(&&**name));
        sale[when] = "2025-03-11T00:10:00+08:00".into();
        let refusal = stage.request(path, POS, "-", &sale).await.unwrap_err().to_string();
        assert!(refusal.contains("INVALID_DATA") && refusal.contains("lies in the future"), "{path}: {refusal}");
    }
    stage.close().await
}

/// What only a sale that was made offline tells.
const OFFLINE: [&str; 3] = ["occurred_at", "code_id", "code_issued_at"];

#[tokio::test(flavor = "multi_thread")]
async fn s28_a_purchase_on_an_expired_code_posts_nothing_and_is_one_break_however_often_it_is_uploaded() -> Result<()> {
    let stage = stage_at("12:00:00").await?;
    sign(&stage, CARD).await?;
    let upload =
        offline(sale(CARD, 1, "15.00", "withholding"), "2025-03-10T11:00:00+08:00", "2025-03-09T09:00:00+08:00");
    let first = stage.request("/v1/offline-purchases", POS, "-", &upload).await?;
    stage.rest().await?;
    assert_eq!(first.verdict, "CODE_EXPIRED");
    let ends = stage.house.ends().await?;
    assert_eq!(stage.request("/v1/offline-purchases", POS, "-", &upload).await?, first);
    stage.rest().await?;
    assert_eq!(stage.house.ends().await?, ends, "the same sale again is nothing new");
    assert!(report::balances(&stage.house.pool).await?.is_empty());
    assert_eq!(breaks(&stage).await?, ["late_offline_purchase"]);
    assert!(stage.sandbox.books().debits.is_empty(), "nobody is debited");
    stage.close().await
}

#[tokio::test(flavor = "multi_thread")]
async fn s29_a_debit_declined_three_times_stays_an_aged_receivable_and_keeps_its_holder_from_more() -> Result<()> {
    let config = ledger_tests::config().await?;
    let declined = MoveStep::RefuseFinal { code: "ACQ.BUYER_BALANCE_NOT_ENOUGH".to_owned() };
    let played =
        SandboxConfig { default: Script { debits: vec![declined], ..Script::default() }, ..SandboxConfig::default() };
    let stage = Stage::open_by(config, Clock::simulated(monday("10:00:00")?.to_utc()), played).await?;
    sign(&stage, CARD).await?;
    let id = bought(&stage, &sale(CARD, 1, "12.50", "withholding")).await?;
    assert_eq!(status(&stage, &id).await?, "awaiting_debit");
    for wait in [3600, 86_400, 2 * 86_400] {
        stage.wait(wait).await?;
    }
    assert_eq!(status(&stage, &id).await?, "uncollected");
    assert_eq!(
        (count(&stage, &id, "payment.declined").await?, count(&stage, &id, "withholding.uncollected").await?),
        (3, 1)
    );
    assert_eq!(balances(&stage, [1110, 1210, 2130, 2140]).await?, ["0.00", "12.50", "0.00", "-12.50"]);
    let sql = "select amount::text, age_days from finance.open_sagas where order_id = $1";
    let row = stage.house.pool.get().await?.query_opt(sql, &[&id.as_str()]).await?.context("it is open")?;
    // It ages by the log's time, which stands at the last thing that happened.
    assert_eq!((row.get::<_, &str>(0), row.get::<_, i32>(1)), ("12.50", 1));
    let more = stage.request("/v1/purchases", POS, "-", &sale(CARD, 2, "1.00", "withholding")).await?;
    assert_eq!(more.verdict, "MANDATE_BLOCKED");
    stage.close().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_debit_that_nobody_pays_is_cancelled_at_alipay_and_the_next_one_has_a_number_of_its_own() -> Result<()> {
    let waits = MoveStep::Accepted { processing: 100 };
    let (stage, id) = cancelled(Script { debits: vec![waits, MoveStep::Success], ..Script::default() }).await?;
    assert_eq!(
        (status(&stage, &id).await?.as_str(), count(&stage, &id, "payment.reversed").await?),
        ("awaiting_debit", 1)
    );
    assert_eq!(balances(&stage, [1110, 1210, 2140]).await?, ["0.00", "12.50", "-12.50"]);
    stage.wait(3600).await?;
    assert_eq!(status(&stage, &id).await?, "completed");
    assert_eq!(balances(&stage, [1110, 1210, 2140]).await?, ["12.50", "0.00", "-12.50"]);
    let numbers: Vec<_> = stage.sandbox.books().debits.into_keys().collect();
    assert_eq!(numbers, [id.to_string(), format!("{id}_2")]);
    stage.close().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_debit_that_is_cancelled_after_all_goes_back_and_is_left_to_a_person() -> Result<()> {
    let silent = Script { debits: vec![MoveStep::Http500ButDone], queries_too_early: 6, ..Script::default() };
    let (stage, id) = cancelled(Script { notice: Some(NoticeStep::Never), ..silent }).await?;
    stage.wait(86_400).await?;
    assert_eq!(status(&stage, &id).await?, "uncollected");
    assert_eq!(balances(&stage, [1110, 1210, 2140]).await?, ["0.00", "12.50", "-12.50"]);
    let books = stage.sandbox.books();
    assert_eq!((books.debits.len(), books.refunded(&id)), (1, yuan("12.50")?));
    let sql = "select amount::text from finance.open_sagas where order_id = $1";
    let open: String = stage.house.pool.get().await?.query_one(sql, &[&id.as_str()]).await?.get(0);
    assert_eq!(open, "12.50", "what was debited has gone back");
    stage.close().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_debit_whose_purchase_was_returned_meanwhile_is_not_sent_again() -> Result<()> {
    let broken = Script { debits: vec![MoveStep::Http500NotDone, MoveStep::Success], ..Script::default() };
    let played = SandboxConfig { default: broken, ..SandboxConfig::default() };
    let stage =
        Stage::open_by(ledger_tests::config().await?, Clock::simulated(monday("10:00:00")?.to_utc()), played).await?;
    sign(&stage, CARD).await?;
    let id = bought(&stage, &sale(CARD, 1, "12.50", "withholding")).await?;
    let returned = ConfirmationRevoked {
        merchant: Some("canteen-1".into()),
        ..revoked("1", "12.50", RevocationReason::PurchaseReturned)?
    };
    stage.tell(SCHOOL_SOURCE, &[stage.event(SCHOOL_SOURCE, &id, returned)]).await?;
    for wait in [10, 20, 40, 80, 160, 320] {
        stage.wait(wait).await?;
    }
    assert_eq!(status(&stage, &id).await?, "refunded");
    assert_eq!(balances(&stage, [1110, 1210, 2140]).await?, ["0.00", "0.00", "0.00"]);
    let moved: Vec<_> = stage.sandbox.books().debits.values().map(|debit| (debit.calls, debit.money_moved)).collect();
    assert_eq!(moved, [(1, yuan("0.00")?)]);
    let sql = "select state, stopped from engine.task where key like 'debit/%'";
    let task = stage.house.pool.get().await?.query_one(sql, &[]).await?;
    assert_eq!((task.get::<_, &str>(0), task.get::<_, bool>(1)), ("cancelled", true));
    stage.close().await
}

/// A purchase whose debit Alipay does not call paid however often it is asked, until it is cancelled.
async fn cancelled(debit: Script) -> Result<(Stage, OrderId)> {
    let played = SandboxConfig { default: debit, ..SandboxConfig::default() };
    let stage =
        Stage::open_by(ledger_tests::config().await?, Clock::simulated(monday("10:00:00")?.to_utc()), played).await?;
    sign(&stage, CARD).await?;
    let id = bought(&stage, &sale(CARD, 1, "12.50", "withholding")).await?;
    for wait in [10, 20, 40, 80, 160, 320] {
        assert_eq!(count(&stage, &id, "payment.reversed").await?, 0);
        stage.wait(wait).await?;
    }
    Ok((stage, id))
}

#[tokio::test(flavor = "multi_thread")]
async fn the_worked_day_of_the_campus_card_agrees_to_the_fen() -> Result<()> {
    the_worked_day_agrees(demo::System::Campus).await
}
