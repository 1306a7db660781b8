#![allow(clippy::unwrap_used)]

use super::*;

const TODAY: NaiveDate = NaiveDate::from_ymd_opt(2025, 3, 10).unwrap();

fn yuan(text: &str) -> Amount {
    text.parse().unwrap()
}

fn order(request_no: &str, amount: &str) -> RefundOrder {
    RefundOrder {
        refund_request_no: request_no.to_owned(),
        channel: "ums-pos".parse().unwrap(),
        channel_txn_no: "t1".to_owned(),
        order_no: format!("L{}", "A".repeat(29)).parse().unwrap(),
        amount: yuan(amount),
    }
}

/// Sends a refund as HTTP does: the deed counts only where the request is not settled.
fn send(books: &mut Books, order: &RefundOrder, deed: RefundDeed) -> RefundReply {
    books.repeated(order).unwrap_or_else(|| books.refund(order, deed, TODAY))
}

fn captured(amount: &str) -> Books {
    let RefundOrder { order_no, channel, channel_txn_no, .. } = order("R1", amount);
    let mut books = Books::default();
    books.capture(Capture {
        order_no,
        channel,
        channel_txn_no,
        method: Method::Card,
        amount: yuan(amount),
        fee: None,
        business_date: TODAY,
        captured_at: DateTime::parse_from_rfc3339("2025-03-10T10:00:00+08:00").unwrap(),
        instrument_masked: None,
        terminal: None,
        refunded: Amount::ZERO,
        notices_sent: 0,
        notices_acknowledged: 0,
    });
    books
}

#[test]
fn a_refund_moves_money_once_per_request_number() {
    let mut books = Books::default();
    let first = send(&mut books, &order("R1", "800.00"), RefundDeed::Pay);
    assert_eq!((first.result, first.business_date), (RefundResult::Success, Some(TODAY)));
    assert_eq!(send(&mut books, &order("R1", "800.00"), RefundDeed::Pay), first);
    assert_eq!(books.refund_result("R1", TODAY), first);
    let refund = &books.refunds["R1"];
    assert_eq!((refund.calls, refund.queries, refund.money_moved), (2, 1, yuan("800.00")));
    assert_eq!(books.refunded(&refund.order_no), yuan("800.00"));
}

#[test]
fn another_amount_under_the_same_number_is_refused() {
    let mut books = Books::default();
    send(&mut books, &order("R1", "800.00"), RefundDeed::Pay);
    let reply = send(&mut books, &order("R1", "80.00"), RefundDeed::Pay);
    assert_eq!((reply.result, reply.code.as_str()), (RefundResult::Refused, "AMOUNT_DIFFERS"));
    assert_eq!(books.refunds["R1"].money_moved, yuan("800.00"));
}

#[test]
fn refunds_never_exceed_their_capture() {
    let mut books = captured("100.00");
    assert_eq!(send(&mut books, &order("R1", "60.00"), RefundDeed::Pay).result, RefundResult::Success);
    let reply = send(&mut books, &order("R2", "60.00"), RefundDeed::Pay);
    assert_eq!((reply.result, reply.code.as_str()), (RefundResult::Refused, "ABOVE_CAPTURE"));
    assert_eq!(send(&mut books, &order("R3", "40.00"), RefundDeed::Pay).result, RefundResult::Success);
}

#[test]
fn a_refund_that_was_taken_is_done_after_so_many_queries() {
    let mut books = Books::default();
    let taken = RefundDeed::Take { processing: 1, refusal: None };
    assert_eq!(send(&mut books, &order("R1", "8.00"), taken.clone()).result, RefundResult::Accepted);
    assert_eq!(send(&mut books, &order("R1", "8.00"), taken).result, RefundResult::Accepted);
    assert_eq!(books.refund_result("R1", TODAY).result, RefundResult::Processing);
    assert_eq!(books.refund_result("R1", TODAY).result, RefundResult::Success);
    assert_eq!(books.refunds["R1"].money_moved, yuan("8.00"));
}

#[test]
fn a_refund_that_was_taken_may_still_be_refused() {
    let mut books = Books::default();
    let refusal = Some(Refusal { code: "CLOSED".to_owned(), retryable: false });
    send(&mut books, &order("R1", "8.00"), RefundDeed::Take { processing: 0, refusal });
    let reply = books.refund_result("R1", TODAY);
    assert_eq!((reply.result, reply.code.as_str(), reply.retryable), (RefundResult::Refused, "CLOSED", false));
    assert_eq!(send(&mut books, &order("R1", "8.00"), RefundDeed::Pay), reply);
    assert_eq!(books.refunds["R1"].money_moved, Amount::ZERO);
}

#[test]
fn what_was_lost_or_refused_for_now_may_be_sent_again() {
    let mut books = Books::default();
    send(&mut books, &order("R1", "8.00"), RefundDeed::Lose);
    assert_eq!(books.refund_result("R1", TODAY).result, RefundResult::NotFound);
    let refusal = Refusal { code: "NO_FUNDS".to_owned(), retryable: true };
    assert!(send(&mut books, &order("R1", "8.00"), RefundDeed::Refuse(refusal)).retryable);
    assert_eq!(send(&mut books, &order("R1", "8.00"), RefundDeed::Pay).result, RefundResult::Success);
    assert_eq!(books.refund_result("R2", TODAY).result, RefundResult::NotFound);
}

#[test]
fn the_bank_keeps_to_what_it_booked() {
    let RefundOrder { order_no, channel_txn_no, amount, .. } = order("R1", "800.00");
    let question = RepaymentQuestion { order_no: order_no.clone(), channel_txn_no, amount };
    let mut books = Books::default();
    assert_eq!(books.repayment(&question, BankDeed::Refuse, TODAY).result, BankResult::Failed);
    assert_eq!(books.repayment(&question, BankDeed::Book, TODAY).amount, Some(amount));
    assert_eq!(books.repayment(&question, BankDeed::Refuse, TODAY).result, BankResult::Booked);
    assert_eq!(books.repayment(&question, BankDeed::Doubt, TODAY).result, BankResult::Uncertain);
    assert_eq!(books.repayments[&order_no].queries, 4);
}
