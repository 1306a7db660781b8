//! Events as the outside reports them, with what matters to a test as arguments.

use chrono::{DateTime, TimeDelta};
use schemas::{Amount, Name, events::*};
use uuid::Uuid;

use super::World;
use crate::order::Capture;

pub fn name(text: &str) -> Name {
    text.parse().unwrap()
}

pub fn yuan(text: &str) -> Amount {
    text.parse().unwrap()
}

pub fn request(amount: &str) -> RepaymentRequested {
    let noon = DateTime::parse_from_rfc3339("2025-03-10T09:00:00+08:00").unwrap();
    RepaymentRequested {
        channel: name("ums-pos"),
        beneficiary: name("cdb"),
        student: Uuid::from_u128(1),
        contract: "K".into(),
        contract_type: "origin".into(),
        amount: yuan(amount),
        method: Some(Method::Card),
        enrolment: EnrolmentAnswer { result: Enrolment::Enrolled, checked_at: noon },
        quote: ContractAnswer { found: true, outstanding: None, overdue: None, as_of: noon },
        consent: Consent { version: "1".into(), consented_at: noon },
        payer: None,
        merchant_id: None,
        terminal_id: None,
    }
}

pub fn capture(txn: &str, amount: &str) -> PaymentCaptured {
    PaymentCaptured {
        channel: name("ums-pos"),
        channel_txn_no: txn.into(),
        method: Method::Card,
        amount: yuan(amount),
        business_date: "2025-03-10".parse().unwrap(),
        fee: None,
        instrument_masked: None,
        terminal: None,
        evidence: Evidence::AsyncNotice,
    }
}

/// A payment through the channel of a card or fee account.
pub fn paid_by(channel: &str, txn: &str, amount: &str) -> PaymentCaptured {
    PaymentCaptured { channel: name(channel), method: Method::Netbank, ..capture(txn, amount) }
}

/// A debit of the card's holder.
pub fn debited(txn: &str, amount: &str) -> PaymentCaptured {
    PaymentCaptured { channel: name("alipay-withholding"), method: Method::Withholding, ..capture(txn, amount) }
}

pub fn declined(attempt: u16) -> PaymentDeclined {
    PaymentDeclined {
        attempt,
        response_code: "ACQ.BUYER_BALANCE_NOT_ENOUGH".into(),
        message: String::new(),
        evidence: Evidence::SyncResponse,
    }
}

/// The channel undid a capture; of a debit it says that it was one.
pub fn reversed(capture: &Capture) -> PaymentReversed {
    PaymentReversed {
        channel: capture.channel.clone(),
        attempt: 1,
        capture_id: Some(capture.id),
        amount: capture.amount,
        reason: ReversalReason::OperatorSync,
        method: (capture.method == Method::Withholding).then_some(Method::Withholding),
        channel_txn_no: capture.channel_txn_no.clone(),
        business_date: capture.business_date,
        evidence: Evidence::Query,
    }
}

/// A sync found that the channel had charged nothing.
pub fn nothing_charged(channel: &str, txn: &str) -> PaymentReversed {
    PaymentReversed {
        channel: name(channel),
        attempt: 1,
        capture_id: None,
        amount: Amount::ZERO,
        reason: ReversalReason::OperatorSync,
        method: None,
        channel_txn_no: txn.into(),
        business_date: "2025-03-10".parse().unwrap(),
        evidence: Evidence::Query,
    }
}

/// The issuer took a capture back, in case `CB1`.
pub fn chargeback(capture_id: Uuid, amount: &str) -> ChargebackReceived {
    ChargebackReceived {
        channel: name("ums-pos"),
        case_no: "CB1".into(),
        capture_id,
        amount: yuan(amount),
        reason_code: "4853".into(),
        due_at: None,
        business_date: "2025-04-02".parse().unwrap(),
    }
}

pub fn dispute_closed(amount: &str, outcome: DisputeOutcome, borne_by: Bearer) -> ChargebackClosed {
    ChargebackClosed {
        channel: name("ums-pos"),
        case_no: "CB1".into(),
        amount: yuan(amount),
        outcome,
        borne_by,
        beneficiary: name("cdb"),
        mode: None,
        fee_item: None,
        billing_year: None,
        merchant: None,
        business_date: "2025-04-30".parse().unwrap(),
    }
}

pub fn confirmed(amount: &str) -> RepaymentConfirmed {
    RepaymentConfirmed {
        target: name("cdb"),
        amount: yuan(amount),
        bank_ref: None,
        booked_date: None,
        principal: None,
        interest: None,
        evidence: Evidence::Query,
    }
}

/// An explicit "no", for good or for now.
pub fn failed(target: &str, tries: u8, retryable: bool) -> ConfirmationFailed {
    ConfirmationFailed {
        target: name(target),
        tries,
        code: "F01".into(),
        message: String::new(),
        retryable,
        evidence: Evidence::Query,
    }
}

pub fn unknown(target: &str, tries: u8) -> ConfirmationUncertain {
    ConfirmationUncertain { target: name(target), tries, code: "U01".into(), evidence: Evidence::Query }
}

/// A booking undone; of a fee or a purchase, the item or merchant is to be added.
pub fn revoked(target: &str, reason: RevocationReason, number: &str, amount: &str) -> ConfirmationRevoked {
    ConfirmationRevoked {
        target: name(target),
        revocation_no: number.into(),
        amount: yuan(amount),
        reason,
        by: target.into(),
        mode: None,
        fee_item: None,
        billing_year: None,
        merchant: None,
    }
}

pub fn asked_back(refund: u128, capture_id: Uuid, amount: &str) -> RefundRequested {
    RefundRequested {
        refund_id: Uuid::from_u128(refund),
        capture_id,
        amount: yuan(amount),
        reason: RefundReason::Customer,
        by: RefundOrigin::Customer,
    }
}

pub fn completed(refund_id: Uuid, channel: &str, amount: &str) -> RefundCompleted {
    RefundCompleted {
        refund_id,
        channel: name(channel),
        amount: yuan(amount),
        channel_refund_no: None,
        fee_netted: None,
        business_date: "2025-03-10".parse().unwrap(),
        evidence: Evidence::SyncResponse,
    }
}

fn answered_at() -> DateTime<chrono::FixedOffset> {
    DateTime::parse_from_rfc3339("2025-03-10T09:00:00+08:00").unwrap()
}

/// A top-up of the world's card.
pub fn top_up(amount: &str) -> TopUpRequested {
    TopUpRequested {
        channel: name("bestpay-web"),
        school: name("school-1"),
        amount: yuan(amount),
        method: None,
        card: CardAnswer { found: true, name_matches: true, checked_at: answered_at() },
        identity: None,
        payer: None,
    }
}

pub fn credited(amount: &str, mode: CreditMode) -> CardCredited {
    CardCredited {
        target: name("school-1"),
        amount: yuan(amount),
        mode,
        host_ref: None,
        balance_after: None,
        evidence: Evidence::SyncResponse,
    }
}

/// A fee item of the year 2025.
pub fn assessed(fee_item: &str, amount: &str, instalments_allowed: bool) -> FeeItemAssessed {
    FeeItemAssessed {
        school: name("school-1"),
        student: Uuid::from_u128(1),
        fee_item: fee_item.into(),
        billing_year: 2025,
        amount: yuan(amount),
        instalments_allowed,
    }
}

pub fn fee_payment(lines: &[(&str, &str)]) -> FeePaymentRequested {
    let line = |(number, (fee_item, amount)): (u16, &(&str, &str))| FeeLine {
        line: number,
        fee_item: (*fee_item).into(),
        billing_year: 2025,
        amount: yuan(amount),
    };
    let lines: Vec<FeeLine> = (1..).zip(lines).map(line).collect();
    FeePaymentRequested {
        channel: name("ejt"),
        school: name("school-1"),
        student: Uuid::from_u128(1),
        amount: lines.iter().map(|line| line.amount).sum(),
        lines,
        method: None,
        consent: Consent { version: "1".into(), consented_at: answered_at() },
        payer: None,
    }
}

pub fn posted(line: u16, fee_item: &str, amount: &str) -> FeePosted {
    FeePosted {
        target: name("school-1"),
        line,
        fee_item: fee_item.into(),
        billing_year: 2025,
        amount: yuan(amount),
        remaining: None,
        school_ref: None,
        evidence: Evidence::SyncResponse,
    }
}

pub fn purchase(amount: &str, funding: Funding) -> PurchaseRequested {
    PurchaseRequested {
        channel: name("campus-pos"),
        school: name("school-1"),
        merchant: "canteen-1".into(),
        amount: yuan(amount),
        funding,
        terminal: "T1".into(),
        terminal_seq: 1,
    }
}

/// A campus code that is `age_s` old when it is used now.
pub fn offline(world: &World, amount: &str, funding: Funding, age_s: i64) -> OfflinePurchaseUploaded {
    let PurchaseRequested { channel, school, merchant, amount, funding, terminal, terminal_seq } =
        purchase(amount, funding);
    let now = crate::business_day::shanghai(&world.now);
    OfflinePurchaseUploaded {
        channel,
        school,
        merchant,
        amount,
        funding,
        terminal,
        terminal_seq,
        code_id: Some("code-1".into()),
        code_issued_at: Some(now - TimeDelta::seconds(age_s)),
        terminal_online_at: None,
        uploaded_at: now + TimeDelta::hours(2),
    }
}

/// A load terminal wrote a top-up to the card.
pub fn loaded(amount: &str, card_counter: u32) -> CardValueLoaded {
    CardValueLoaded {
        target: name("school-1"),
        amount: yuan(amount),
        load_terminal: "L1".into(),
        card_counter,
        balance_on_card: None,
    }
}

/// The merchant gave back what had been bought with the card's own value.
pub fn given_back(number: &str, amount: &str, funding: Funding) -> PurchaseRefunded {
    PurchaseRefunded {
        refund_no: number.into(),
        school: name("school-1"),
        merchant: "canteen-1".into(),
        amount: yuan(amount),
        funding,
    }
}

/// A purchase by withholding that was returned to its merchant.
pub fn returned(number: &str, amount: &str) -> ConfirmationRevoked {
    ConfirmationRevoked {
        merchant: Some("canteen-1".into()),
        ..revoked("school-1", RevocationReason::PurchaseReturned, number, amount)
    }
}

/// A payment that the school took off an item again.
pub fn unposted(number: &str, fee_item: &str, amount: &str) -> ConfirmationRevoked {
    ConfirmationRevoked {
        fee_item: Some(fee_item.into()),
        billing_year: Some(2025),
        ..revoked("school-1", RevocationReason::FeeUnposted, number, amount)
    }
}

/// A person gives a debit up.
pub fn given_up(amount: Amount, bearer: LossBearer) -> WithholdingUncollected {
    WithholdingUncollected {
        school: name("school-1"),
        merchant: "canteen-1".into(),
        amount,
        tries: 1,
        last_code: "ACQ.BUYER_BALANCE_NOT_ENOUGH".into(),
        bearer: Some(bearer),
    }
}

pub fn ended() -> WithholdingMandateEnded {
    WithholdingMandateEnded {
        channel: name("alipay-withholding"),
        agreement_no: "M1".into(),
        ended_by: MandateEnder::Payer,
    }
}

pub fn mandate() -> WithholdingMandateSigned {
    WithholdingMandateSigned {
        channel: name("alipay-withholding"),
        agreement_no: "M1".into(),
        external_agreement_no: None,
        product_code: "GENERAL_WITHHOLDING".into(),
    }
}
