use chrono::DateTime;
use schemas::{
    OrderId,
    events::{
        ConfirmationResolved, Evidence, FundsRemitted, Method, OrderExpired, PaymentCaptured, PaymentDeclined,
        RefundReason, RefundRequested, RepaymentConfirmed, Resolution, SettlementReported,
    },
};
use serde_json::json;
use uuid::Uuid;

use super::*;

fn name(text: &str) -> Name {
    text.parse().unwrap()
}

fn about_order(data: impl Into<Data>) -> Event {
    let order = OrderId::new(&Stream::loan([1; 10]), [1; 8]).unwrap();
    Event::about_order("/test", &order, DateTime::UNIX_EPOCH.fixed_offset(), data)
}

fn about_channel(channel: &str, data: impl Into<Data>) -> Event {
    Event::about_channel("/test", &name(channel), DateTime::UNIX_EPOCH.fixed_offset(), data)
}

fn code(source: &str, event: &Event) -> Option<RefusalCode> {
    check(&source.parse().unwrap(), event).err().map(|refusal| refusal.code)
}

fn capture(channel: &str) -> Event {
    about_order(PaymentCaptured {
        channel: name(channel),
        channel_txn_no: "t1".into(),
        method: Method::Card,
        amount: "1.00".parse().unwrap(),
        business_date: Default::default(),
        fee: None,
        instrument_masked: None,
        terminal: None,
        evidence: Evidence::AsyncNotice,
    })
}

fn confirmed(bank: &str) -> Event {
    about_order(RepaymentConfirmed {
        target: name(bank),
        amount: "1.00".parse().unwrap(),
        bank_ref: None,
        booked_date: None,
        principal: None,
        interest: None,
        evidence: Evidence::Query,
    })
}

fn settlement(channel: &str, stream: &str) -> Event {
    let data: SettlementReported = serde_json::from_value(json!({
        "channel": channel, "batch_no": "1", "period_from": "2025-03-10", "period_to": "2025-03-10",
        "gross": "0.00", "refunds": "0.00", "chargebacks": "0.00", "fees": "0.00", "carried_in": "0.00", "net": "0.00",
        "transactions": 0,
    }))
    .unwrap();
    about_channel(stream, data)
}

/// A new type of event must be placed in the table before anybody may report it.
#[test]
fn every_type_of_the_catalogue_has_its_reporters() {
    let placed: Vec<&str> = REPORTERS.iter().map(|(event_type, _)| *event_type).collect();
    assert_eq!(placed, Data::TYPES);
}

#[test]
fn nobody_reports_what_the_ledger_decides_or_does() {
    let own: Vec<&str> = REPORTERS.iter().filter(|(_, roles)| roles.is_empty()).map(|(name, _)| *name).collect();
    assert_eq!(
        own,
        [
            "ledger.repayment.requested.v1",
            "ledger.top-up.requested.v1",
            "ledger.fee-payment.requested.v1",
            "ledger.purchase.requested.v1",
            "ledger.offline-purchase.uploaded.v1",
            "ledger.order.accepted.v1",
            "ledger.order.rejected.v1",
            "ledger.order.expired.v1",
            "ledger.confirmation.requested.v1",
            "ledger.purchase.posted.v1",
            "ledger.refund.rejected.v1",
            "ledger.refund.initiated.v1",
            "ledger.refund.submitted.v1",
            "ledger.refund.cancelled.v1",
            "ledger.refund.escalated.v1",
            "ledger.refund-file.exported.v1",
            "ledger.channel-statement.received.v1",
            "ledger.statement-line.received.v1",
            "ledger.reconciliation-break.raised.v1",
            "ledger.reconciliation-break.resolved.v1",
            "ledger.inbox-record.rejected.v1",
        ]
    );
    let expired = about_order(OrderExpired { rule: schemas::events::ExpiryRule::ChannelClose, ttl_s: 120 });
    for source in ["/channels/ums-pos", "/banks/cdb", "/operators/li"] {
        assert_eq!(code(source, &expired), Some(RefusalCode::NotYours), "{source}");
    }
}

#[test]
fn a_channel_reports_only_for_itself() {
    assert_eq!(code("/channels/ums-pos", &capture("ums-pos")), None);
    assert_eq!(code("/channels/ums-pos", &capture("unionpay-cqp")), Some(RefusalCode::NotYours));
    assert_eq!(code("/banks/ums-pos", &capture("ums-pos")), Some(RefusalCode::NotYours));
    assert_eq!(code("/operators/li", &capture("ums-pos")), Some(RefusalCode::NotYours));
}

#[test]
fn only_the_bank_says_that_it_booked() {
    assert_eq!(code("/banks/cdb", &confirmed("cdb")), None);
    assert_eq!(code("/banks/icbc", &confirmed("cdb")), Some(RefusalCode::NotYours));
    assert_eq!(code("/channels/ums-pos", &confirmed("cdb")), Some(RefusalCode::NotYours));
    assert_eq!(code("/operators/li", &confirmed("cdb")), Some(RefusalCode::NotYours));
}

#[test]
fn an_operator_settles_what_is_uncertain() {
    let resolved = about_order(ConfirmationResolved {
        target: name("cdb"),
        outcome: Resolution::Confirmed,
        evidence: Evidence::Manual,
        by: "li".into(),
    });
    assert_eq!(code("/operators/li", &resolved), None);
    assert_eq!(code("/banks/cdb", &resolved), None);
    assert_eq!(code("/channels/ums-pos", &resolved), Some(RefusalCode::NotYours));
}

#[test]
fn a_refund_is_asked_for_in_ones_own_name() {
    let asked = |by| {
        about_order(RefundRequested {
            refund_id: Uuid::nil(),
            capture_id: Uuid::nil(),
            amount: "1.00".parse().unwrap(),
            reason: RefundReason::Customer,
            by,
        })
    };
    for (source, by, refused) in [
        ("/channels/ums-pos", RefundOrigin::Customer, false),
        ("/channels/ums-pos", RefundOrigin::Operator, true),
        ("/channels/ums-pos", RefundOrigin::Saga, true),
        ("/operators/li", RefundOrigin::Operator, false),
        ("/operators/li", RefundOrigin::File, false),
        ("/operators/li", RefundOrigin::Saga, true),
        ("/banks/cdb", RefundOrigin::Customer, true),
    ] {
        assert_eq!(code(source, &asked(by)).is_some(), refused, "{source} by {by}");
    }
}

#[test]
fn what_is_about_a_party_stands_on_its_stream() {
    assert_eq!(code("/operators/li", &settlement("ums-pos", "ums-pos")), None);
    assert_eq!(code("/channels/ums-pos", &settlement("ums-pos", "ums-pos")), None);
    assert_eq!(code("/operators/li", &settlement("ums-pos", "unionpay-cqp")), Some(RefusalCode::WrongKey));
    let remitted = |stream| {
        about_channel(
            stream,
            FundsRemitted {
                beneficiary: name("cdb"),
                bank_account: name("icbc-1"),
                bank_ref: "b1".into(),
                value_date: Default::default(),
                amount: "0.00".parse().unwrap(),
                items: Vec::new(),
            },
        )
    };
    assert_eq!(code("/operators/li", &remitted("cdb")), None);
    assert_eq!(code("/operators/li", &remitted("ums-pos")), Some(RefusalCode::WrongKey));
}

#[test]
fn what_names_nobody_is_taken_from_the_right_role() {
    let declined = about_order(PaymentDeclined {
        attempt: 1,
        response_code: "51".into(),
        message: "余额不足".into(),
        evidence: Evidence::SyncResponse,
    });
    assert_eq!(code("/channels/ums-pos", &declined), None);
    assert_eq!(code("/banks/cdb", &declined), Some(RefusalCode::NotYours));
}

fn order_by(channel: &str, bank: &str) -> Order {
    let mut order = Order::default();
    let request = json!({
        "channel": channel, "beneficiary": bank, "student": Uuid::nil(), "contract": "loan:AAAAAAAAAAAAAAAA",
        "contract_type": "origin", "amount": "1.00",
        "enrolment": { "result": "enrolled", "checked_at": "2025-03-10T10:00:00+08:00" },
        "quote": { "found": true, "as_of": "2025-03-10T10:00:00+08:00" },
        "consent": { "version": "1", "consented_at": "2025-03-10T10:00:00+08:00" },
    });
    let request: schemas::events::RepaymentRequested = serde_json::from_value(request).unwrap();
    let event = about_order(request);
    order.apply(&event, event.occurred_at.to_utc());
    order
}

#[test]
fn an_order_is_spoken_about_by_its_own_channels_and_bank() {
    let declined = about_order(PaymentDeclined {
        attempt: 1,
        response_code: "51".into(),
        message: "余额不足".into(),
        evidence: Evidence::SyncResponse,
    });
    let speaks = |source: &str, order: &Order| check_order(&source.parse().unwrap(), &declined, order).is_ok();
    let mut order = order_by("ums-pos", "cdb");
    for (source, may) in [
        ("/channels/ums-pos", true),
        ("/channels/unionpay-cqp", false),
        ("/banks/cdb", true),
        ("/banks/icbc", false),
        ("/operators/li", true),
    ] {
        assert_eq!(speaks(source, &order), may, "{source}");
    }
    let paid_elsewhere = capture("unionpay-cqp");
    order.apply(&paid_elsewhere, paid_elsewhere.occurred_at.to_utc());
    assert!(speaks("/channels/unionpay-cqp", &order), "money that came through it is its own");
    assert!(speaks("/channels/ums-pos", &Order::default()), "of an order that nobody knows nobody can say");
}

#[test]
fn a_payment_that_is_told_again_at_another_channel_is_no_second_payment() {
    let (mut order, paid, elsewhere) = (order_by("ums-pos", "cdb"), capture("ums-pos"), capture("unionpay-cqp"));
    let told = |event: &Event, order: &Order| {
        let Data::PaymentCaptured(data) = &event.data else { panic!("{event:?}") };
        let source = Source::channel(data.channel.clone());
        assert_eq!(order_to_look_at(&source, event), Some(&*event.subject));
        check_order(&source, event, order).is_ok()
    };
    assert!(told(&paid, &order) && told(&elsewhere, &order), "money that came in says so by itself");
    order.apply(&paid, paid.occurred_at.to_utc());
    assert!(told(&paid, &order), "a repeat is for the ledger to find");
    assert!(!told(&elsewhere, &order));
}

#[test]
fn a_refund_and_a_capture_are_spoken_about_by_their_own_channel() {
    let (mut order, paid) = (order_by("ums-pos", "cdb"), capture("ums-pos"));
    order.apply(&paid, paid.occurred_at.to_utc());
    // Both channels have to do with the order; the refund is that of the first.
    let duplicate = capture("unionpay-cqp");
    order.apply(&duplicate, duplicate.occurred_at.to_utc());
    let initiated: schemas::events::RefundInitiated = serde_json::from_value(json!({
        "refund_id": Uuid::max(), "capture_id": paid.id, "channel": "ums-pos", "amount": "1.00",
        "reason": "duplicate_capture", "by": "saga",
    }))
    .unwrap();
    order.apply(&about_order(initiated), paid.occurred_at.to_utc());
    let completed = |channel: &str| -> Event {
        let data: schemas::events::RefundCompleted = serde_json::from_value(json!({
            "refund_id": Uuid::max(), "channel": channel, "amount": "1.00", "channel_refund_no": "R-1",
            "business_date": "2025-03-10", "evidence": "async_notice",
        }))
        .unwrap();
        about_order(data)
    };
    let refused = |channel: &str| {
        let (source, event) = (format!("/channels/{channel}").parse().unwrap(), completed(channel));
        assert_eq!(order_to_look_at(&source, &event), Some(&*event.subject));
        check_order(&source, &event, &order).is_err()
    };
    assert!(!refused("ums-pos"));
    assert!(refused("unionpay-cqp"), "the refund went through another channel");
}

#[test]
fn a_source_has_one_spelling() {
    for text in ["/channels/ums-pos", "/banks/cdb", "/operators/li-4"] {
        assert_eq!(text.parse::<Source>().unwrap().to_string(), text);
    }
    for text in ["", "channels/ums-pos", "/channels/", "/channels/UMS", "/ledger/coordinator", "/channels/a/b", "//a"] {
        assert!(text.parse::<Source>().is_err(), "{text}");
    }
}
