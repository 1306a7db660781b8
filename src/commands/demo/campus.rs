//! The worked day of the Alipay mini program (完美校园): top-ups, a swipe and a code that are debited, a purchase from the card's
//! value, a partial refund that is asked for twice; and on T+1 two codes that were used offline, one of them too late.

use anyhow::{Result, ensure};
use producers::sandbox::Capture;
use schemas::{
    OrderId,
    events::{
        ConfirmationRevoked, LatePurchaseOutcome, Method, OfflinePurchaseResolved, RefundOrigin, RefundReason,
        RefundRequested, RevocationReason,
    },
};
use serde_json::{Value, json};
use uuid::Uuid;

use super::{Day, FINANCE, at};
use crate::play::{Stage, yuan};

const MINI: &str = "alipay-mini";
const POS: &str = "campus-pos";
const SCHOOL: &str = "school-1";
const SCHOOL_SOURCE: &str = "/schools/school-1";
const CARD: &str = "the card of the worked day";

pub async fn play(stage: &Stage, day: &mut Day, say: &impl Fn(&str)) -> Result<()> {
    say("完美校园, Monday 2025-03-24: top-ups, withholding, a partial refund 充值、代扣、退款");
    stage.wait_until(at("2025-03-24T09:00:00+08:00")?).await?;
    stage.sign_mandate(SCHOOL, CARD, "20255324001").await?;
    stage.rest().await?;
    top_up(stage, day, "top-up 50", "50.00").await?;
    let (refunded, capture) = top_up(stage, day, "top-up 100", "100.00").await?;
    buy(stage, day, "swipe 12.50", 1, "12.50", "withholding").await?;
    buy(stage, day, "code 8.00", 2, "8.00", "withholding").await?;
    buy(stage, day, "card value 20", 3, "20.00", "card_balance").await?;
    for _ in 0..2 {
        refund_part(stage, &refunded, &capture).await?;
    }
    let expected = [("1110", "140.50"), ("2130", "-100.00"), ("2140", "-40.50"), ("1210", "0.00"), ("2210", "0.00")];
    day.check(stage, "T", &expected).await?;
    let (fees, net) = projections::report::settlement(&stage.house.pool, "alipay-", "2025-03-24".parse()?).await?;
    day.expect("T", "fees of Alipay 手续费", "0.85", fees);
    day.expect("T", "Alipay will settle 应结净额", "139.65", net);

    say("T+1, Tuesday 07:00: a terminal that was offline uploads 脱机消费上传");
    stage.wait_until(at("2025-03-25T07:00:00+08:00")?).await?;
    let in_time = offline(4, "9.90", "2025-03-24T18:00:00+08:00", "2025-03-24T09:00:00+08:00");
    let answer = stage.upload(&in_time).await?;
    ensure!(answer.verdict == "accepted", "a code of nine hours should count, not be {}", answer.verdict);
    day.orders.push(("offline 9.90", answer.order_id));
    let too_late = offline(5, "15.00", "2025-03-24T19:00:00+08:00", "2025-03-23T17:00:00+08:00");
    let answer = stage.upload(&too_late).await?;
    ensure!(answer.verdict == "CODE_EXPIRED", "a code of 26 hours should be refused, not {}", answer.verdict);
    day.orders.push(("code of 26 h", answer.order_id.clone()));
    stage.rest().await?;
    day.check(stage, "T+1", &[("1110", "150.40"), ("1210", "0.00"), ("2130", "-100.00"), ("2140", "-50.40")]).await?;
    day.expect("T+1", "open breaks 未决差异", "late_offline_purchase", open_breaks(stage, &answer.order_id).await?);
    // A person decides that the shop bears it.
    let resolved = OfflinePurchaseResolved { outcome: LatePurchaseOutcome::MerchantBears, by: "finance".into() };
    stage.tell(FINANCE, &[stage.event(FINANCE, &answer.order_id, resolved)]).await?;
    stage.rest().await?;
    day.expect("T+1", "… once decided 处理后", "", open_breaks(stage, &answer.order_id).await?);
    Ok(())
}

async fn top_up(stage: &Stage, day: &mut Day, name: &'static str, amount: &str) -> Result<(OrderId, Capture)> {
    let body = json!({
        "school": SCHOOL,
        "card": { "number": CARD },
        "amount": amount,
        "method": "wallet",
        "check": { "found": true, "name_matches": true, "checked_at": stage.now() },
        "identity": { "verified": true, "method": "alipay_realname", "checked_at": stage.now() },
        "requested_at": stage.now(),
    });
    let order = stage.admitted("/v1/card-top-ups", MINI, name, &body).await?;
    let capture = stage.pay(&order, MINI, Method::Wallet, amount)?;
    stage.notified(&order).await?;
    stage.rest().await?;
    day.orders.push((name, order.clone()));
    Ok((order, capture))
}

fn sale(seq: u64, amount: &str, funding: &str) -> Value {
    json!({
        "school": SCHOOL, "card": { "number": CARD }, "merchant": "canteen-1", "amount": amount, "funding": funding,
        "terminal": "T1", "terminal_seq": seq,
    })
}

async fn buy(stage: &Stage, day: &mut Day, name: &'static str, seq: u64, amount: &str, funding: &str) -> Result<()> {
    let mut body = sale(seq, amount, funding);
    body["requested_at"] = json!(stage.now());
    let order = stage.admitted("/v1/purchases", POS, "-", &body).await?;
    stage.rest().await?;
    day.orders.push((name, order));
    Ok(())
}

fn offline(seq: u64, amount: &str, made_at: &str, issued_at: &str) -> Value {
    let mut body = sale(seq, amount, "withholding");
    body["occurred_at"] = made_at.into();
    body["code_id"] = format!("code-{seq}").into();
    body["code_issued_at"] = issued_at.into();
    body
}

/// The school takes 30.00 off the card again, and the holder asks for them. The same request may come twice.
async fn refund_part(stage: &Stage, order: &OrderId, capture: &Capture) -> Result<()> {
    let taken_back = ConfirmationRevoked {
        target: SCHOOL.parse()?,
        revocation_no: "R-20250324-1".into(),
        amount: yuan("30.00")?,
        reason: RevocationReason::CardDebitedBack,
        by: SCHOOL.into(),
        mode: None,
        fee_item: None,
        billing_year: None,
        merchant: None,
    };
    stage.tell(SCHOOL_SOURCE, &[stage.event(SCHOOL_SOURCE, order, taken_back)]).await?;
    let asked = RefundRequested {
        refund_id: Uuid::from_u128(0x2025_0324),
        // However it is told of, it is the same fact under the same id.
        capture_id: stage.capture_by_query(order, capture).id,
        amount: yuan("30.00")?,
        reason: RefundReason::Customer,
        by: RefundOrigin::Customer,
    };
    let source = format!("/channels/{MINI}");
    stage.tell(&source, &[stage.event(&source, order, asked)]).await?;
    stage.rest().await
}

async fn open_breaks(stage: &Stage, order: &OrderId) -> Result<String> {
    let breaks = projections::report::open_breaks(&stage.house.pool, order.as_str()).await?;
    Ok(breaks.join(", "))
}
