use schemas::{Balance, Data, events::*};
use uuid::Uuid;

use super::{super::*, *};
use crate::{accounts::AccountCode::*, policy::Policy, testing::*};

#[test]
fn what_was_written_off_of_one_refund_is_none_of_another_with_its_number() {
    for ids in [[1, 2], [2, 1]] {
        let mut channel = Channel::default();
        for (id, amount) in ids.into_iter().zip(["10.00", "20.00"]) {
            let completed = completed(Uuid::from_u128(id), Channel::NAME, amount);
            channel.told(1, RefundCompleted { channel_refund_no: Some("C-1".into()), ..completed });
        }
        for (date, file) in [(10, "a"), (13, "b")] {
            channel.file(date, file, &[]);
        }
        let of_20 = channel.books.open_breaks().into_iter().find(|raised| raised.difference().fen() == 2000).unwrap();
        let (of_20, by) = ((of_20.break_id, of_20.occurrence), [name("li"), name("wang")]);
        let ending = resolve(&channel.books, of_20, &BreakDecision::WrittenOff, None, &by, &Policy::default()).unwrap();
        channel.of_the_channel(vec![ending.resolved.into()]);
        assert_eq!((channel.compare(), channel.open()), (0, vec!["C-1 missing_in_channel 10.00".to_owned()]));
        assert_eq!(channel.balances(), ["0.00", "-10.00", "0.00"]);
    }
}

#[test]
fn what_was_written_off_of_an_unknown_refund_is_none_of_a_known_one_with_its_number() {
    for turned in [false, true] {
        let mut channel = Channel::default();
        let completed = completed(Uuid::from_u128(1), Channel::NAME, "10.00");
        channel.told(1, RefundCompleted { channel_refund_no: Some("C-1".into()), ..completed });
        let mut lines = [refund_line("C-1", "10.00"), refund_line("C-1", "20.00")];
        if turned {
            lines.reverse();
        }
        channel.file(10, "a", &lines);
        assert_eq!(channel.open(), ["C-1 missing_in_ledger -20.00"]);
        channel.resolve("C-1", &BreakDecision::WrittenOff, &["li", "wang"]).unwrap();
        assert_eq!((channel.compare(), channel.open()), (0, vec![]));
    }
}

#[test]
fn what_was_written_off_is_left_when_its_line_is_withdrawn_whatever_the_day_of_the_payment() {
    let mut channel = Channel::default();
    channel.file(12, "a", &[line("t1", "200.00")]);
    channel.resolve("t1", &BreakDecision::WrittenOff, &["li", "wang"]).unwrap();
    channel.paid(1, "t1", "200.00", 11).compare();
    assert_eq!(channel.open(), ["t1 amount_channel_under -200.00"]);
    channel.file(12, "b", &[]);
    assert_eq!(channel.open(), ["t1 amount_channel_under -400.00"], "ours and what was written off");
}

#[test]
fn what_the_channel_has_promised_is_raised_again_when_its_term_is_over() {
    let mut channel = Channel::default();
    channel.paid(1, "t1", "80.00", 10);
    for (date, file) in [(10, "a"), (13, "b")] {
        channel.file(date, file, &[]);
    }
    channel.resolve("t1", &BreakDecision::ChannelCorrected, &["li"]).unwrap();
    for (date, file) in [(14, "c"), (15, "d")] {
        channel.file(date, file, &[]);
        assert_eq!((channel.open(), channel.balances()), (vec![], ["80.00", "0.00", "0.00"].map(Into::into)));
    }
    channel.file(16, "e", &[]);
    assert_eq!(channel.open(), ["t1 missing_in_channel -80.00"]);
    assert_eq!(channel.balances(), ["0.00", "0.00", "80.00"]);
}

#[test]
fn an_occurrence_that_has_been_replaced_is_not_settled_with_the_figures_of_another() {
    let mut channel = Channel::default();
    channel.file(10, "a", &[line("t1", "25.00")]);
    let (id, by) = (channel.break_of("t1"), [name("li"), name("wang")]);
    channel.file(10, "b", &[line("t1", "2500.00")]);
    let settle = |id| resolve(&channel.books, id, &BreakDecision::WrittenOff, None, &by, &Policy::default());
    assert_eq!(settle(id), Err(BreakRefusal::RaisedAgain));
    assert_eq!(settle((id.0, 3)), Err(BreakRefusal::Unknown));
    assert!(settle((id.0, 2)).is_ok());
}

#[test]
fn a_payment_is_posted_to_an_order_for_which_it_can_be() {
    use BreakRefusal::*;
    let mut channel = Channel::default();
    channel.file(10, "a", &[line("t1", "30.00"), Line { order_no: None, ..line("t2", "30.00") }]);
    let late = |order: u8, method| BreakDecision::LateCapturePosted { order: card_order(order), method };
    let as_netbank = late(9, Method::Netbank);
    assert_eq!(channel.resolve("t1", &late(1, Method::Netbank), &["li"]), Err(OtherOrder(card_order(9).to_string())));
    assert_eq!(channel.resolve("t1", &late(9, Method::Withholding), &["li"]), Err(OtherMethod));
    assert_eq!(channel.resolve_for("t1", &as_netbank, &Default::default(), &["li"]), Err(NoRequest));
    let mut other = World::at("10:00:00");
    other.request(1, "30.00");
    let refused = channel.resolve_for("t1", &as_netbank, other.order(1), &["li"]);
    assert_eq!(refused, Err(OtherChannel(name("ums-pos"))));
    channel.resolve("t1", &as_netbank, &["li"]).unwrap();
    channel.resolve("t2", &late(1, Method::Netbank), &["li"]).unwrap();
    assert_eq!((channel.open(), channel.compare()), (vec![], 0));
}

#[test]
fn a_payment_that_the_statement_has_under_an_order_of_ours_is_not_sent_back_as_nobodys() {
    let mut channel = Channel::default();
    channel.file(10, "a", &[line("t1", "30.00")]);
    let back = BreakDecision::Refunded { method: Method::Netbank };
    assert_eq!(order_in_question(&channel.books, channel.break_of("t1").0, &back), Some(card_order(9)));
    assert_eq!(channel.resolve("t1", &back, &["li"]), Err(BreakRefusal::ItsOrder(card_order(9))));
    // Of an order that nobody has placed it is nobody's.
    channel.resolve_for("t1", &back, &Default::default(), &["li"]).unwrap();
    assert_eq!((channel.open(), channel.compare()), (vec![], 0));
}

#[test]
fn a_payment_that_the_ledger_knows_is_not_posted_again() {
    let mut channel = Channel::default();
    channel.paid(1, "t1", "80.00", 10).file(10, "a", &[line("t1", "90.00")]);
    let late = BreakDecision::LateCapturePosted { order: card_order(1), method: Method::Netbank };
    for how in [late, BreakDecision::Refunded { method: Method::Netbank }] {
        let refused = channel.resolve("t1", &how, &["li"]);
        assert_eq!(refused, Err(BreakRefusal::NotUnknown(ReconciliationClass::AmountChannelOver)));
    }
}

#[test]
fn a_refund_is_not_posted() {
    let mut channel = Channel::default();
    channel.file(10, "a", &[refund_line("r1", "30.00")]);
    let late = BreakDecision::LateCapturePosted { order: card_order(1), method: Method::Netbank };
    for how in [late, BreakDecision::Refunded { method: Method::Netbank }] {
        assert_eq!(channel.resolve("r1", &how, &["li"]), Err(BreakRefusal::NotAPayment));
    }
}

#[test]
fn a_break_that_the_ledger_knows_better_by_now_is_not_for_a_person() {
    let mut channel = Channel::default();
    channel.file(10, "a", &[Line { order_no: None, ..line("t1", "30.00") }]);
    channel.paid(2, "t1", "30.00", 10);
    let posted = Err(BreakRefusal::Posted(card_order(2).to_string()));
    let late = BreakDecision::LateCapturePosted { order: card_order(1), method: Method::Netbank };
    assert_eq!(channel.resolve("t1", &late, &["li"]), posted);
    assert_eq!(channel.resolve("t1", &BreakDecision::Refunded { method: Method::Netbank }, &["li"]), posted);
    channel.compare();
    assert_eq!((channel.open(), channel.endings()), (vec![], vec![BreakResolution::LateCapturePosted]));
}

#[test]
fn a_refund_of_a_payment_of_nobody_that_was_cut_off_is_completed() {
    let back = BreakDecision::Refunded { method: Method::Netbank };
    let mut channel = Channel::default();
    channel.file(10, "a", &[Line { order_no: None, ..line("t1", "30.00") }]);
    let (before, id, by) = (channel.books.clone(), channel.break_of("t1"), [name("li")]);
    channel.resolve("t1", &back, &["li"]).unwrap();
    let settle = |books: &Books| resolve(books, id, &back, None, &by, &Policy::default());
    let mut cut = before.clone();
    channel
        .log
        .iter()
        .filter(|event| matches!(event.data, Data::PaymentCaptured(_)))
        .for_each(|event| cut.apply(event));
    assert_ne!(cut, before);
    assert_eq!(settle(&cut), settle(&before));
}

#[test]
fn what_was_written_off_is_counted_when_the_channel_says_more() {
    let mut channel = Channel::default();
    channel.paid(1, "t1", "80.00", 10);
    for (date, file) in [(10, "a"), (13, "b")] {
        channel.file(date, file, &[]);
    }
    assert_eq!(channel.open(), ["t1 missing_in_channel -80.00"]);
    assert_eq!(channel.resolve("t1", &BreakDecision::WrittenOff, &["li", "li"]), Err(BreakRefusal::Approvers));
    channel.resolve("t1", &BreakDecision::WrittenOff, &["li", "wang"]).unwrap();
    assert_eq!((channel.balances(), channel.accounts.total(Loss)), (["0.00"; 3].map(Into::into), yuan("80.00").into()));
    channel.file(14, "c", &[]);
    assert_eq!(channel.open(), [""; 0]);
    channel.file(15, "d", &[line("t1", "80.00")]);
    assert_eq!(channel.open(), ["t1 amount_channel_over 80.00"], "it came after all");
    channel.resolve("t1", &BreakDecision::WrittenOff, &["li", "wang"]).unwrap();
    assert_eq!(channel.accounts.total(OtherIncome), -Balance::from(yuan("80.00")));
    assert_eq!(channel.file(15, "d", &[line("t1", "80.00")]), 0);

    let mut channel = Channel::default();
    channel.file(10, "a", &[line("t1", "30.00")]);
    channel.resolve("t1", &BreakDecision::WrittenOff, &["li", "wang"]).unwrap();
    assert_eq!(channel.file(10, "a", &[line("t1", "30.00")]), 0);
    // The channel tells of it after all, and the ledger has it twice.
    channel.paid(1, "t1", "30.00", 10).file(11, "b", &[]);
    assert_eq!(
        (channel.open(), channel.balances()),
        (vec!["t1 amount_channel_under -30.00".into()], ["30.00", "0.00", "30.00"].map(Into::into))
    );

    let mut channel = Channel::default();
    channel.file(10, "a", &[line("t1", "30.00")]);
    channel.resolve("t1", &BreakDecision::WrittenOff, &["li", "wang"]).unwrap();
    channel.file(10, "b", &[]);
    assert_eq!(
        (channel.open(), channel.balances()),
        (vec!["t1 amount_channel_under -30.00".into()], ["0.00", "0.00", "30.00"].map(Into::into)),
        "the channel has taken it back"
    );
    channel.resolve("t1", &BreakDecision::WrittenOff, &["li", "wang"]).unwrap();
    let pl = [OtherIncome, Loss].map(|code| channel.accounts.total(code).to_string());
    assert_eq!(
        (channel.compare(), channel.balances(), pl),
        (0, ["0.00"; 3].map(Into::into), ["-30.00", "30.00"].map(Into::into))
    );
}

#[test]
fn a_break_that_has_ended_or_ends_by_itself_is_not_for_a_person() {
    let mut channel = Channel::default();
    channel.paid(1, "t1", "80.00", 10);
    channel.file(10, "a", &[line("t2", "5.00")]);
    let id = channel.break_of("t2");
    channel.resolve("t2", &BreakDecision::ChannelCorrected, &["li"]).unwrap();
    assert_eq!(channel.file(10, "a", &[line("t2", "5.00")]), 0, "a person has settled it");
    let by = [name("li")];
    let settle = |id| resolve(&channel.books, id, &BreakDecision::ChannelCorrected, None, &by, &Policy::default());
    assert_eq!(settle(id), Err(BreakRefusal::Ended(BreakResolution::ChannelCorrected)));
    assert_eq!(settle((Uuid::nil(), 1)), Err(BreakRefusal::Unknown));
    assert_eq!(channel.resolve("t1", &BreakDecision::ChannelCorrected, &["li"]), Err(BreakRefusal::EndsByItself));
    channel.file(12, "b", &[]);
    assert_eq!(channel.open(), ["t1 timing -80.00"]);
    channel.file(13, "c", &[]);
    assert_eq!(channel.open(), ["t1 missing_in_channel -80.00", "t2 missing_in_ledger 5.00"], "it was not corrected");
}
