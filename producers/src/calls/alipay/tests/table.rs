//! What each answer means, one row each.

use serde_json::{Value, json};

use super::*;

fn read(answer: Value) -> Answer {
    serde_json::from_value(answer).unwrap()
}

/// An answer with a code, as a row tells it.
fn coded(code: &str, sub_code: &str) -> Answer {
    read(json!({ "code": code, "msg": "m", "sub_code": sub_code, "sub_msg": "s" }))
}

/// In one word, with `!` for a refusal that may not be tried again.
fn word<T>(answer: &Movement<T>) -> &'static str {
    match answer {
        Movement::Done(_) => "done",
        Movement::UnderWay => "under way",
        Movement::Refused { retryable: true, .. } => "refused",
        Movement::Refused { retryable: false, .. } => "refused!",
        Movement::NotKnown => "not known",
        Movement::Unknown { .. } => "unknown",
    }
}

/// Likewise, of a debit.
fn end(answer: &Movement<DebitEnd>) -> &'static str {
    match answer {
        Movement::Done(DebitEnd::Taken(_)) => "taken",
        Movement::Done(DebitEnd::GivenBack(_)) => "given back",
        Movement::Done(DebitEnd::Closed) => "closed",
        other => word(other),
    }
}

#[test]
fn every_code_of_a_refund() {
    for (code, sub_code, meaning) in [
        ("20000", "isp.unknow-error", "unknown"),
        ("20000", "aop.unknow-error", "unknown"),
        ("20000", "", "unknown"),
        ("20001", "aop.invalid-auth-token", "refused!"),
        ("40001", "isv.missing-method", "refused!"),
        ("40002", "isv.invalid-parameter", "refused!"),
        ("40005", "isv.app-call-limited", "refused"),
        ("40006", "isv.insufficient-isv-permissions", "refused!"),
        ("40004", "ACQ.SYSTEM_ERROR", "unknown"),
        ("40004", "AOP.ACQ.SYSTEM_ERROR", "unknown"),
        ("40004", "AQC.SYSTEM_ERROR", "unknown"),
        ("40004", "ACQ.TRADE_NOT_EXIST", "refused!"),
        ("40004", "ACQ.TRADE_HAS_FINISHED", "refused!"),
        ("40004", "ACQ.TRADE_STATUS_ERROR", "refused!"),
        ("40004", "ACQ.SELLER_BALANCE_NOT_ENOUGH", "refused"),
        ("40004", "ACQ.REFUND_AMT_NOT_EQUAL_TOTAL", "refused!"),
        ("40004", "ACQ.REASON_TRADE_REFUND_FEE_ERR", "refused!"),
        ("40004", "ACQ.REFUND_FEE_ERROR", "refused!"),
        ("40004", "ACQ.DISCORDANT_REPEAT_REQUEST", "unknown"),
        ("40004", "ACQ.REASON_TRADE_BEEN_FREEZEN", "refused!"),
        ("40004", "ACQ.TRADE_NOT_ALLOW_REFUND", "refused!"),
        ("40004", "ACQ.INVALID_PARAMETER", "refused!"),
        ("40004", "", "unknown"),
        ("10001", "", "unknown"),
        ("", "", "unknown"),
    ] {
        let answer = coded(code, sub_code).refund(&refund_order());
        assert_eq!(word(&answer), meaning, "{code} {sub_code}");
        if let Movement::Refused { code: told, message, .. } = answer {
            assert_eq!((told.as_str(), message.as_str()), (sub_code, "s"));
        }
    }
}

#[test]
fn every_code_of_a_debit() {
    for (code, sub_code, meaning) in [
        ("10003", "", "under way"),
        ("20000", "isp.unknow-error", "unknown"),
        ("40004", "ACQ.SYSTEM_ERROR", "unknown"),
        ("40004", "ACQ.TRADE_HAS_SUCCESS", "under way"),
        ("40004", "ACQ.TRADE_HAS_CLOSE", "under way"),
        ("40004", "ACQ.CONTEXT_INCONSISTENT", "unknown"),
        ("40004", "ACQ.BUYER_BALANCE_NOT_ENOUGH", "refused!"),
        ("40004", "ACQ.BUYER_BANKCARD_BALANCE_NOT_ENOUGH", "refused!"),
        ("40004", "ACQ.PAYMENT_FAIL", "refused!"),
        ("40004", "ACQ.BUYER_PAYMENT_AMOUNT_DAY_LIMIT_ERROR", "refused!"),
        ("40004", "ACQ.BUYER_PAYMENT_AMOUNT_MONTH_LIMIT_ERROR", "refused!"),
        ("40004", "ACQ.NO_PAYMENT_INSTRUMENTS_AVAILABLE", "refused!"),
        ("40004", "ACQ.PAYMENT_REQUEST_HAS_RISK", "refused!"),
        ("40004", "ACQ.AGREEMENT_NOT_EXIST", "refused!"),
        ("40004", "ACQ.AGREEMENT_INVALID", "refused!"),
        ("40004", "ACQ.AGREEMENT_STATUS_NOT_NORMAL", "refused!"),
        ("40004", "ACQ.INVALID_PARAMETER", "refused!"),
    ] {
        assert_eq!(word(&coded(code, sub_code).debit(&debit_order())), meaning, "{code} {sub_code}");
    }
}

#[test]
fn a_question_that_fails_says_nothing_about_what_it_asks_for() {
    for (code, sub_code, meaning) in [
        ("40004", "ACQ.TRADE_NOT_EXIST", "not known"),
        ("40004", "ACQ.SYSTEM_ERROR", "unknown"),
        ("40004", "ACQ.INVALID_PARAMETER", "unknown"),
        ("40006", "isv.insufficient-isv-permissions", "unknown"),
        ("40005", "isv.app-call-limited", "unknown"),
        ("20000", "isp.unknow-error", "unknown"),
    ] {
        assert_eq!(word(&coded(code, sub_code).refund_result(&refund_order())), meaning, "{code} {sub_code}");
        assert_eq!(word(&coded(code, sub_code).debit_result(&debit_order())), meaning, "{code} {sub_code}");
        assert_eq!(coded(code, sub_code).payment(&ORDER.parse().unwrap()), None);
    }
    assert_eq!(coded("40004", "ACQ.TRADE_NOT_EXIST").why_unpaid(), "NOT_FOUND");
    assert_eq!(coded("20000", "isp.unknow-error").why_unpaid(), "isp.unknow-error");
}

#[test]
fn a_refund_is_done_where_its_own_call_moved_the_money() {
    let answer = |change: &str, order: &str| {
        let answer = json!({"code": "10000", "out_trade_no": order, "fund_change": change,
            "refund_fee": "9.00", "gmt_refund_pay": "2026-03-01 23:59:59.123"});
        read(answer).refund(&refund_order())
    };
    let done =
        Refunded { refund_no: None, counted: Some(Counted::At("2026-03-01T23:59:59.123+08:00".parse().unwrap())) };
    assert_eq!(answer("Y", ORDER), Movement::Done(done));
    assert_eq!((answer("N", ORDER), answer("", ORDER)), (Movement::UnderWay, Movement::UnderWay));
    assert_eq!(word(&answer("Y", "CBBBBBBBBBBBBBBBBBBBBBBBBBBBBB")), "unknown");
}

#[test]
fn a_refund_is_found_by_its_status_or_its_amount_and_nothing_is_no_refund() {
    let found = |facts: Value| {
        let mut answer = json!({"code": "10000", "msg": "Success"});
        answer.as_object_mut().unwrap().extend(facts.as_object().unwrap().clone());
        word(&read(answer).refund_result(&refund_order()))
    };
    for (facts, meaning) in [
        (json!({}), "not known"),
        (json!({"out_trade_no": ORDER, "out_request_no": "R1"}), "not known"),
        (json!({"out_request_no": "R1", "refund_status": "REFUND_SUCCESS", "refund_amount": "8.00"}), "done"),
        (json!({"out_request_no": "R1", "refund_amount": "8.00"}), "done"),
        (json!({"refund_status": "REFUND_SUCCESS"}), "done"),
        (json!({"out_request_no": "R2", "refund_amount": "8.00"}), "unknown"),
        (json!({"out_request_no": "R1", "refund_amount": "8.01"}), "unknown"),
        (json!({"out_request_no": "R1", "refund_amount": "8"}), "unknown"),
        (json!({"out_request_no": "R1", "refund_amount": "8.00", "refund_status": "REFUND_PROCESSING"}), "unknown"),
    ] {
        assert_eq!(found(facts.clone()), meaning, "{facts}");
    }
}

#[test]
fn every_status_of_a_trade() {
    let trade = |status: &str, paid_at: &str, amount: &str| {
        read(json!({"code": "10000", "out_trade_no": ORDER, "trade_no": "T1", "trade_status": status,
            "total_amount": amount, "send_pay_date": paid_at}))
    };
    let (at, order_no) = ("2026-03-01 08:30:00", ORDER.parse().unwrap());
    for (status, paid_at, debit, is_payment) in [
        ("TRADE_SUCCESS", at, "taken", true),
        ("TRADE_FINISHED", at, "taken", true),
        ("WAIT_BUYER_PAY", "", "not known", false),
        // Closed, because nobody paid, or because all went back.
        ("TRADE_CLOSED", "", "closed", false),
        ("TRADE_CLOSED", at, "given back", false),
        ("TRADE_PENDING", "", "unknown", false),
    ] {
        let answer = trade(status, paid_at, "12.50");
        assert_eq!(end(&answer.debit_result(&debit_order())), debit, "{status} {paid_at}");
        assert_eq!(answer.payment(&order_no).is_some(), is_payment, "{status} {paid_at}");
    }
    assert_eq!(word(&trade("TRADE_SUCCESS", at, "12.51").debit_result(&debit_order())), "unknown");
    for unreadable in ["", "12.5", "1e1", "-12.50"] {
        assert_eq!(trade("TRADE_SUCCESS", at, unreadable).payment(&order_no), None);
        assert_eq!(trade("TRADE_SUCCESS", at, unreadable).why_unpaid(), "UNREADABLE");
    }
    let of_another_attempt = DebitOrder { debit_no: debit_no(1), ..debit_order() };
    for (status, paid_at) in [("TRADE_SUCCESS", at), ("TRADE_CLOSED", at), ("TRADE_CLOSED", "")] {
        assert_eq!(end(&trade(status, paid_at, "12.50").debit_result(&of_another_attempt)), "unknown", "{status}");
    }
    let other: OrderId = "CBBBBBBBBBBBBBBBBBBBBBBBBBBBBB".parse().unwrap();
    assert_eq!(trade("TRADE_SUCCESS", at, "12.50").payment(&other), None);
}

#[test]
fn every_action_of_a_cancel() {
    for (action, again, trade_no, meaning) in [
        ("close", "N", "T1", "closed"),
        ("close", "N", "", "closed"),
        ("refund", "N", "T1", "given back"),
        // Without its number, nobody can say which money it was; the question brings it.
        ("refund", "N", "", "unknown"),
        // Alipay knows of no such trade.
        ("", "N", "", "not known"),
        ("", "", "", "not known"),
        ("reopen", "N", "T1", "unknown"),
        ("close", "Y", "T1", "under way"),
    ] {
        let answer = json!({"code": "10000", "out_trade_no": ORDER, "action": action, "retry_flag": again,
            "trade_no": trade_no});
        assert_eq!(end(&read(answer).cancel(&debit_order())), meaning, "{action} {again} {trade_no}");
    }
    for action in ["close", "refund"] {
        let answer = json!({"code": "10000", "out_trade_no": format!("{ORDER}_2"), "action": action, "trade_no": "T1"});
        assert_eq!(end(&read(answer).cancel(&debit_order())), "unknown", "{action} of another debit");
    }
}

#[test]
fn every_code_of_a_cancel() {
    for (code, sub_code, again, meaning) in [
        ("40004", "ACQ.SELLER_BALANCE_NOT_ENOUGH", "Y", "under way"),
        ("40004", "ACQ.SYSTEM_ERROR", "Y", "under way"),
        ("40004", "ACQ.SYSTEM_ERROR", "", "unknown"),
        ("40004", "AQC.SYSTEM_ERROR", "N", "unknown"),
        ("20000", "isp.unknow-error", "", "unknown"),
        ("40004", "ACQ.SELLER_BALANCE_NOT_ENOUGH", "N", "refused"),
        ("40004", "ACQ.CANCEL_NOT_ALLOWED", "N", "refused!"),
        ("40004", "ACQ.TRADE_CANCEL_TIME_OUT", "N", "refused!"),
        ("40004", "ACQ.TRADE_HAS_FINISHED", "N", "refused!"),
        ("40004", "ACQ.REASON_TRADE_BEEN_FREEZEN", "N", "refused!"),
        ("40004", "ACQ.REASON_TRADE_REFUND_FEE_ERR", "N", "refused!"),
        ("40006", "isv.insufficient-isv-permissions", "", "refused!"),
    ] {
        let answer = read(json!({"code": code, "msg": "m", "sub_code": sub_code, "retry_flag": again}));
        assert_eq!(end(&answer.cancel(&debit_order())), meaning, "{code} {sub_code} {again}");
    }
}
