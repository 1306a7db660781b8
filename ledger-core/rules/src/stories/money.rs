//! What happens to the money of an order of any system.

use super::*;
use crate::{
    order::Capture,
    refund::{Refund, automatic_refund_id},
    testing::{asked_back, completed, name, reversed, yuan},
};

pub(super) fn pick<T: Clone>(from: impl IntoIterator<Item = T>, random: &mut Rng) -> Option<T> {
    let from: Vec<T> = from.into_iter().collect();
    (!from.is_empty()).then(|| from[random.usize(..from.len())].clone())
}

fn captures(world: &World, number: u8) -> Vec<Capture> {
    world.orders.get(&world.order_id(number)).map_or(Vec::new(), |order| order.captures.clone())
}

/// The channel undoes a capture, somebody asks for a refund, or a refund goes on.
pub(super) fn goes_back(world: &mut World, number: u8, random: &mut Rng) {
    let Some(capture) = pick(captures(world, number), random) else {
        world.read(number, asked_back(0xff00 | u128::from(number), Uuid::nil(), "10.00"));
        return;
    };
    match random.u8(..8) {
        0 => _ = world.read(number, reversed(&capture)),
        1 => _ = world.read(number, reversal_failed(random)),
        2 | 3 => asks(world, number, &capture, random),
        4 => disputes(world, number, &capture, random),
        _ => (0..random.u8(1..4)).for_each(|_| refund_goes_on(world, number, random)),
    }
}

fn reversal_failed(random: &mut Rng) -> PaymentReversalFailed {
    PaymentReversalFailed { attempt: 1, tries: random.u8(1..4), code: "X".into(), retryable: random.bool() }
}

/// Under a number of their own, or by mistake or malice under that of the ledger's refund of any capture.
fn asks(world: &mut World, number: u8, capture: &Capture, random: &mut Rng) {
    let amount = ["10.00", "12.50", "100.00", "100.01"][random.usize(..4)];
    let of_the_ledger = pick(captures(world, number), random).filter(|_| random.u8(..4) == 0);
    let own = u128::from(random.u8(1..4)) << 8 | u128::from(number);
    let refund = of_the_ledger.map_or(own, |capture| automatic_refund_id(capture.id).as_u128());
    world.read(number, asked_back(refund, capture.id, amount));
}

fn disputes(world: &mut World, number: u8, capture: &Capture, random: &mut Rng) {
    let (channel, case_no) = (capture.channel.clone(), format!("CB-{number}"));
    let data: Data = match random.u8(..3) {
        0 => ChargebackReceived {
            channel,
            case_no,
            capture_id: capture.id,
            amount: capture.amount,
            reason_code: "4853".into(),
            due_at: None,
            business_date: capture.business_date,
        }
        .into(),
        1 => ChargebackRepresented { channel, case_no, evidence_sha256: "e".repeat(64) }.into(),
        _ => {
            let of_fees = world.stream.kind() == Some(StreamKind::Fees);
            let waits = world.order(number).confirmation.is_to_be_loaded();
            let of_purchase = world.stream.kind() == Some(StreamKind::Card) && card::buys(number);
            ChargebackClosed {
                channel,
                case_no,
                amount: capture.amount,
                outcome: DisputeOutcome::ALL[random.usize(..2)],
                borne_by: Bearer::ALL[random.usize(..2)],
                beneficiary: name("school-1"),
                mode: waits.then_some(CreditMode::PendingLoad),
                fee_item: of_fees.then(|| "tuition".into()),
                billing_year: of_fees.then_some(2025),
                merchant: of_purchase.then(|| "canteen-1".into()),
                business_date: capture.business_date,
            }
            .into()
        }
    };
    world.read(number, data);
}

/// Money moves once a refund only, and only while it is owed.
fn refund_goes_on(world: &mut World, number: u8, random: &mut Rng) {
    let Some((refund_id, refund)) = pick(world.order(number).refunds.clone(), random) else { return };
    let channel = refund.channel.clone().unwrap_or(name("ums-pos"));
    let owed = !refund.open().is_zero() && refund.completed.is_zero();
    let tries = random.u8(1..4);
    let data: Data = match random.u8(..6) {
        0 => RefundSubmitted { refund_id, refund_request_no: Refund::request_no(refund_id), tries }.into(),
        1 => refund_failed(refund_id, tries, random.bool()).into(),
        2 | 3 if owed => completed(refund_id, channel.as_str(), &refund.open().to_string()).into(),
        4 if !refund.completed.is_zero() && refund.returned.is_zero() => {
            bounced(refund_id, channel, refund.completed).into()
        }
        5 if refund.escalated && !refund.open().is_zero() && refund.paid_manually.is_zero() => {
            let (bank_account, bank_ref, approver) = (name("main"), "b1".into(), "finance-2".into());
            RefundPaidManually { refund_id, bank_account, bank_ref, amount: refund.open(), approver }.into()
        }
        _ => return,
    };
    world.read(number, data);
}

fn refund_failed(refund_id: Uuid, tries: u8, retryable: bool) -> RefundFailed {
    let (code, message, evidence) = ("X".into(), String::new(), Evidence::Query);
    RefundFailed { refund_id, tries, code, message, retryable, evidence }
}

fn bounced(refund_id: Uuid, channel: schemas::Name, amount: Amount) -> RefundReturned {
    let (return_no, reason, business_date) = ("1".into(), "card closed".into(), "2025-03-12".parse().unwrap());
    RefundReturned { refund_id, channel, amount, return_no, reason, business_date }
}

/// What a channel says about a payment of which it has no proof.
pub(super) fn unclear(random: &mut Rng) -> Data {
    match random.u8(..4) {
        0 => PaymentInitiated { attempt: 1, method: Method::Netbank, amount: yuan("100.00"), channel_order_no: None }
            .into(),
        1 => PaymentDeclined {
            attempt: 1,
            response_code: "51".into(),
            message: String::new(),
            evidence: Evidence::Query,
        }
        .into(),
        2 => {
            PaymentOutcomeUnknown { attempt: 1, tries: random.u8(1..4), response_code: "0".into(), next_query_at: None }
                .into()
        }
        _ => PayerClaimRecorded { claim: if random.bool() { Claim::Paid } else { Claim::Problem } }.into(),
    }
}

/// What the payer is told.
pub(super) fn shown(random: &mut Rng) -> Data {
    let (medium, outcome_text) = (Medium::Slip, ReceiptText::Success);
    if random.bool() {
        ReceiptPrinted { medium, outcome_text, slip_sha256: None }.into()
    } else {
        let copy_no = random.u16(2..4);
        ReceiptReprinted { medium, outcome_text, copy_no, slip_sha256: Some("c".repeat(64)) }.into()
    }
}

/// What whoever fulfils, or a person, answers without doing it.
pub(super) fn answered(target: &str, random: &mut Rng) -> Data {
    let tries = random.u8(1..4);
    match random.u8(..8) {
        0 => crate::testing::failed(target, tries, false).into(),
        1..=3 => crate::testing::failed(target, tries, true).into(),
        4..=5 => crate::testing::unknown(target, tries).into(),
        _ => ConfirmationResolved {
            target: name(target),
            outcome: if random.bool() { Resolution::Confirmed } else { Resolution::Failed },
            evidence: Evidence::Manual,
            by: "operator-7".into(),
        }
        .into(),
    }
}
