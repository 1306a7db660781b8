#![allow(clippy::unwrap_used)]

use super::*;

const TODAY: NaiveDate = NaiveDate::from_ymd_opt(2025, 3, 10).unwrap();

fn now() -> DateTime<FixedOffset> {
    DateTime::parse_from_rfc3339("2025-03-10T10:00:00+08:00").unwrap()
}

fn yuan(text: &str) -> Amount {
    text.parse().unwrap()
}

fn order_no() -> OrderId {
    format!("L{}", "A".repeat(29)).parse().unwrap()
}

fn order(amount: &str) -> Movement {
    Movement::new(&order_no(), &"ums-pos".parse().unwrap(), "t1", yuan(amount))
}

/// Sends a refund as HTTP does: the deed counts only where the request is not settled.
fn send(books: &mut Books, number: &str, amount: &str, deed: Deed) -> Told {
    let repeated = books.repeated(Kind::Refund, number, &order(amount));
    repeated.unwrap_or_else(|| books.act(Kind::Refund, number, deed, now()))
}

fn ask(books: &mut Books, number: &str) -> Told {
    books.result(Kind::Refund, number, now())
}

fn captured(amount: &str) -> Books {
    let Movement { order_no, party: channel, reference: channel_txn_no, .. } = order(amount);
    let mut books = Books::default();
    books.capture(Capture {
        order_no,
        channel,
        channel_txn_no,
        method: Method::Card,
        amount: yuan(amount),
        fee: None,
        business_date: TODAY,
        captured_at: now(),
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
    let first = send(&mut books, "R1", "800.00", Deed::Do);
    assert_eq!((first.result, first.business_date()), (MovementResult::Success, Some(TODAY)));
    assert_eq!(send(&mut books, "R1", "800.00", Deed::Do), first);
    assert_eq!(ask(&mut books, "R1"), first);
    let refund = &books.refunds["R1"];
    assert_eq!((refund.calls, refund.queries, refund.money_moved), (2, 1, yuan("800.00")));
    assert_eq!(books.refunded(&refund.order_no), yuan("800.00"));
}

#[test]
fn another_amount_under_the_same_number_is_refused() {
    let mut books = Books::default();
    send(&mut books, "R1", "800.00", Deed::Do);
    let reply = send(&mut books, "R1", "80.00", Deed::Do);
    assert_eq!((reply.result, reply.code.as_str()), (MovementResult::Refused, "AMOUNT_DIFFERS"));
    assert_eq!(books.refunds["R1"].money_moved, yuan("800.00"));
}

#[test]
fn refunds_never_exceed_their_capture() {
    let mut books = captured("100.00");
    assert_eq!(send(&mut books, "R1", "60.00", Deed::Do).result, MovementResult::Success);
    let reply = send(&mut books, "R2", "60.00", Deed::Do);
    assert_eq!((reply.result, reply.code.as_str()), (MovementResult::Refused, "ABOVE_CAPTURE"));
    assert_eq!(send(&mut books, "R3", "40.00", Deed::Do).result, MovementResult::Success);
}

#[test]
fn a_refund_that_was_taken_is_done_after_so_many_queries() {
    let mut books = Books::default();
    let taken = Deed::Take { processing: 1, refusal: None };
    assert_eq!(send(&mut books, "R1", "8.00", taken.clone()).result, MovementResult::Accepted);
    assert_eq!(send(&mut books, "R1", "8.00", taken).result, MovementResult::Accepted);
    assert_eq!(ask(&mut books, "R1").result, MovementResult::Processing);
    assert_eq!(ask(&mut books, "R1").result, MovementResult::Success);
    assert_eq!(books.refunds["R1"].money_moved, yuan("8.00"));
}

#[test]
fn a_refund_that_was_taken_may_still_be_refused() {
    let mut books = Books::default();
    let refusal = Some(Refusal { code: "CLOSED".to_owned(), retryable: false });
    send(&mut books, "R1", "8.00", Deed::Take { processing: 0, refusal });
    let reply = ask(&mut books, "R1");
    assert_eq!((reply.result, reply.code.as_str(), reply.retryable), (MovementResult::Refused, "CLOSED", false));
    assert_eq!(send(&mut books, "R1", "8.00", Deed::Do), reply);
    assert_eq!(books.refunds["R1"].money_moved, Amount::ZERO);
}

#[test]
fn what_was_lost_or_refused_for_now_may_be_sent_again() {
    let mut books = Books::default();
    send(&mut books, "R1", "8.00", Deed::Lose);
    assert_eq!(ask(&mut books, "R1").result, MovementResult::NotFound);
    let refusal = Refusal { code: "NO_FUNDS".to_owned(), retryable: true };
    assert!(send(&mut books, "R1", "8.00", Deed::Refuse(refusal)).retryable);
    assert_eq!(send(&mut books, "R1", "8.00", Deed::Do).result, MovementResult::Success);
    assert_eq!(ask(&mut books, "R2").result, MovementResult::NotFound);
}

#[test]
fn the_bank_keeps_to_what_it_booked() {
    let Movement { order_no, reference: channel_txn_no, amount, .. } = order("800.00");
    let question = RepaymentQuestion { order_no: order_no.clone(), channel_txn_no, amount };
    let mut books = Books::default();
    assert_eq!(books.repayment(&question, BankDeed::Refuse, TODAY).result, BankResult::Failed);
    assert_eq!(books.repayment(&question, BankDeed::Book, TODAY).amount, Some(amount));
    assert_eq!(books.repayment(&question, BankDeed::Refuse, TODAY).result, BankResult::Booked);
    assert_eq!(books.repayment(&question, BankDeed::Doubt, TODAY).result, BankResult::Uncertain);
    assert_eq!(books.repayments[&order_no].queries, 4);
}
