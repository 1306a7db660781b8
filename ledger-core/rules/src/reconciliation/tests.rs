use fastrand::Rng;
use schemas::{Event, events::*};

use super::*;
use crate::{refund::Refund, testing::*};

/// The worked day: six payments of 590.00, and a file of 539.00 that knows B4, not yet B5, and of B7 a yuan less.
fn worked_day() -> (Channel, Vec<Line>) {
    let mut channel = Channel::default();
    for (number, txn, amount) in [
        (1, "B1", "100.00"),
        (2, "B2", "50.00"),
        (3, "B3", "200.00"),
        (5, "B5", "80.00"),
        (6, "B6", "60.00"),
        (7, "B7", "100.00"),
    ] {
        channel.paid(number, txn, amount, 17);
    }
    let lines =
        [("B1", "100.00"), ("B2", "50.00"), ("B3", "200.00"), ("B4", "30.00"), ("B6", "60.00"), ("B7", "99.00")];
    (channel, lines.map(|(number, amount)| line(number, amount)).to_vec())
}

#[test]
fn s19_the_file_of_the_worked_day_differs_in_three_lines_and_the_bridge_closes() {
    let (mut channel, lines) = worked_day();
    channel.file(17, "a", &lines);
    assert_eq!(channel.open(), ["B4 missing_in_ledger 30.00", "B5 timing -80.00", "B7 amount_channel_under -1.00"]);
    let sum: Balance = channel.books.open_breaks().into_iter().map(ReconciliationBreakRaised::difference).sum();
    let (ours, theirs) = (Balance::from(yuan("590.00")), Balance::from(yuan("539.00")));
    assert_eq!(ours + sum, theirs);
    assert_eq!(channel.matched(17), 5);
    assert_eq!(channel.balances(), ["619.00", "-30.00", "1.00"]);
}

#[test]
fn s20_what_comes_in_the_file_of_the_next_day_closes_its_break_and_posts_nothing() {
    let (mut channel, lines) = worked_day();
    channel.file(17, "a", &lines);
    let before = channel.accounts.clone();
    channel.file(18, "b", &[line("B5", "80.00")]);
    assert_eq!(channel.open(), ["B4 missing_in_ledger 30.00", "B7 amount_channel_under -1.00"]);
    assert_eq!((channel.endings(), channel.accounts), (vec![BreakResolution::Timing], before));
}

#[test]
fn s21_the_same_file_again_has_no_effect_and_a_corrected_one_changes_only_what_it_corrects() {
    let (mut channel, mut lines) = worked_day();
    assert!(channel.file(17, "a", &lines) > 0);
    assert_eq!(channel.file(17, "a", &lines), 0);
    lines[5] = line("B7", "100.00");
    channel.file(17, "b", &lines);
    assert_eq!(channel.open(), ["B4 missing_in_ledger 30.00", "B5 timing -80.00"]);
    assert_eq!(channel.balances(), ["620.00", "-30.00", "0.00"]);
    assert_eq!(channel.matched(17), 5, "those of the first file count no more");
    assert_eq!(channel.file(17, "b", &lines), 0);
    // The first one after all.
    lines[5] = line("B7", "99.00");
    channel.file(17, "a", &lines);
    assert_eq!(channel.balances(), ["619.00", "-30.00", "1.00"]);
    assert_eq!(channel.books.statement_of(day(17)).unwrap().revision, 3);
}

#[test]
fn a_run_that_was_cut_off_is_completed_by_the_next() {
    let (mut whole, mut lines) = worked_day();
    whole.file(17, "a", &lines);
    lines[5] = line("B7", "98.00");
    let before = whole.log.len();
    whole.file(17, "b", &lines);
    for cut in before..whole.log.len() {
        let mut channel = Channel::default();
        for event in &whole.log[..cut] {
            channel.append(event.clone());
        }
        channel.file(17, "b", &lines);
        assert_eq!((channel.open(), channel.balances()), (whole.open(), whole.balances()), "cut at {cut}");
        assert_eq!(channel.file(17, "b", &lines), 0);
    }
}

#[test]
fn the_books_are_the_same_in_any_order_of_arrival_and_with_repeats() {
    let (mut channel, mut lines) = worked_day();
    channel.file(17, "a", &lines);
    lines[5] = line("B7", "100.00");
    channel.file(17, "b", &lines);
    channel.told(3, completed(Uuid::from_u128(3), Channel::NAME, "200.00"));
    let capture_id = Some(channel.log[4].id);
    channel.told(6, PaymentReversed { capture_id, amount: yuan("60.00"), ..nothing_charged(Channel::NAME, "B6") });
    channel.resolve("B4", &BreakDecision::ChannelCorrected, &["finance-2"]).unwrap();
    channel.file(18, "c", &[line("B5", "80.00")]);
    for seed in 0..50 {
        let mut random = Rng::with_seed(seed);
        let repeats: Vec<Event> = channel.log.iter().filter(|_| random.u8(..3) == 0).cloned().collect();
        let mut shuffled: Vec<Event> = channel.log.iter().cloned().chain(repeats).collect();
        random.shuffle(&mut shuffled);
        let mut books = Books::default();
        shuffled.iter().for_each(|event| books.apply(event));
        assert_eq!(books, channel.books, "seed {seed}");
    }
}

#[test]
fn a_number_that_stands_twice_is_a_repeat_in_one_file_and_across_days() {
    let mut channel = Channel::default();
    channel.paid(1, "t1", "10.00", 10);
    channel.file(10, "a", &[line("t1", "10.00"), line("t1", "10.00")]);
    assert_eq!(channel.open(), ["t1 duplicate_in_channel 10.00"]);
    channel.file(11, "b", &[line("t1", "10.00"), line("t1#2", "3.00")]);
    assert_eq!(
        channel.open(),
        ["t1 duplicate_in_channel 10.00", "t1 duplicate_in_channel 10.00", "t1#2 missing_in_ledger 3.00"]
    );
    assert_eq!(channel.balances(), ["13.00", "-3.00", "0.00"], "one number is one payment");
    channel.file(10, "c", &[line("t1", "10.00")]);
    channel.resolve("t1", &BreakDecision::ChannelCorrected, &["finance-2"]).unwrap();
    assert_eq!((channel.open(), channel.compare()), (vec!["t1#2 missing_in_ledger 3.00".to_owned()], 0));
    // The payments of the tenth were those of the eleventh.
    channel.file(10, "d", &[]);
    assert_eq!((channel.open(), channel.matched(11)), (vec!["t1#2 missing_in_ledger 3.00".to_owned()], 1));
}

#[test]
fn the_line_that_is_right_counts_and_not_the_first() {
    let mut channel = Channel::default();
    channel.paid(1, "t1", "100.00", 10).file(10, "a", &[line("t1", "99.00")]);
    assert_eq!(channel.open(), ["t1 amount_channel_under -1.00"]);
    channel.file(12, "b", &[line("t1", "100.00")]);
    assert_eq!(channel.open(), ["t1 duplicate_in_channel 99.00"]);
    assert_eq!(channel.balances(), ["100.00", "0.00", "0.00"]);
}

#[test]
fn what_is_the_same_is_not_raised_again_whatever_else_is_read() {
    let (mut channel, mut lines) = worked_day();
    channel.file(17, "a", &lines);
    for (date, file) in [(12, "b"), (13, "c")] {
        assert_eq!(channel.file(date, file, &[]), 1, "that it was received");
    }
    let open = channel.books.open_breaks().into_iter().cloned().collect::<Vec<_>>();
    lines.insert(0, line("B5", "80.00"));
    channel.file(17, "d", &lines);
    let left: Vec<_> = channel.books.open_breaks().into_iter().cloned().collect();
    assert_eq!(left, [open[0].clone(), open[2].clone()], "in other places of the file, with other line numbers");
}

#[test]
fn a_file_that_was_read_wrongly_and_is_read_again_is_another_statement() {
    let mut channel = Channel::default();
    channel.paid(1, "t1", "800.00", 10).file(10, "a", &[line("t1", "798.40")]);
    assert_eq!(channel.open(), ["t1 amount_channel_under -1.60"]);
    channel.file(10, "a", &[line("t1", "800.00")]);
    assert_eq!((channel.open(), channel.balances()), (vec![], ["800.00", "0.00", "0.00"].map(Into::into)));
    assert_eq!(channel.books.statement_of(day(10)).unwrap().revision, 2);
    assert_eq!((channel.file(11, "b", &[]), channel.compare()), (1, 0));
}

#[test]
fn a_statement_counts_once_all_its_lines_are_in_the_log() {
    let mut whole = Channel::default();
    whole.paid(1, "t1", "10.00", 10).paid(2, "t2", "20.00", 10);
    let before = whole.log.len();
    whole.file(10, "a", &[line("t1", "10.00"), line("t2", "20.00")]);
    assert_eq!(whole.log.len(), before + 3);
    for cut in before..whole.log.len() {
        let mut channel = Channel::default();
        whole.log[..cut].iter().for_each(|event| channel.append(event.clone()));
        channel.file(11, "b", &[]);
        assert_eq!((channel.open(), channel.matched(10)), (vec![], 0), "cut at {cut}");
        channel.file(10, "a", &[line("t1", "10.00"), line("t2", "20.00")]);
        assert_eq!((channel.open(), channel.matched(10)), (vec![], 2));
    }
}

/// The number of an order, the amount, and the day of March.
type Payment = (u8, &'static str, u32);

/// Payments, and a file for each day, of a few numbers and amounts.
fn random_facts(random: &mut Rng) -> (Vec<Payment>, Vec<(u32, Vec<Line>)>) {
    const AMOUNTS: [&str; 2] = ["10.00", "11.00"];
    let payments = (1..6).filter_map(|number| {
        let (amount, date) = (random.choice(AMOUNTS)?, random.u32(10..14));
        random.bool().then_some((number, amount, date))
    });
    let payments = payments.collect();
    let mut line_of = |_| {
        let (number, amount) = (format!("t{}", random.u8(1..6)), random.choice(AMOUNTS).unwrap());
        if random.u8(..8) == 0 { refund_line(&number, amount) } else { line(&number, amount) }
    };
    let files = (10..14).map(|date| (date, (0..3).map(&mut line_of).collect())).collect();
    (payments, files)
}

#[test]
fn it_does_not_matter_in_which_order_files_and_payments_come() {
    for seed in 0..300 {
        let mut random = Rng::with_seed(seed);
        let (payments, files) = random_facts(&mut random);
        let found: Vec<_> = (0..4)
            .map(|_| {
                let mut channel = Channel::default();
                let mut steps: Vec<usize> = (0..payments.len() + files.len()).collect();
                random.shuffle(&mut steps);
                for step in steps {
                    match payments.get(step) {
                        Some((number, amount, date)) => {
                            channel.paid(*number, &format!("t{number}"), amount, *date);
                        }
                        None => {
                            let (date, lines) = &files[step - payments.len()];
                            channel.file(*date, &date.to_string(), lines);
                        }
                    }
                }
                channel.compare();
                assert_eq!(channel.compare(), 0);
                (channel.open(), channel.balances())
            })
            .collect();
        assert!(found.iter().all(|other| *other == found[0]), "seed {seed}: {found:#?}");
    }
}

#[test]
fn totals_that_the_lines_do_not_add_up_to_are_a_break_of_the_file() {
    let mut channel = Channel::default();
    channel.paid(1, "t1", "10.00", 10).told(1, completed(Uuid::from_u128(1), Channel::NAME, "4.00"));
    let lines = [line("t1", "10.00"), refund_line(&Refund::request_no(Uuid::from_u128(1)), "4.00")];
    channel.file_with(10, "a", &lines, Some((2, "10.00")));
    assert_eq!(channel.open(), ["all control_total 4.00"]);
    let no_money = channel.resolve("all", &BreakDecision::WrittenOff, &["finance-2", "finance-3"]);
    assert_eq!(no_money, Err(BreakRefusal::NoMoney(ReconciliationClass::ControlTotal)));
    channel.file_with(10, "b", &lines, Some((3, "6.00")));
    assert_eq!(channel.open(), ["all control_total 0.00"], "a line is missing");
    channel.file_with(10, "c", &lines, Some((2, "6.00")));
    assert_eq!(channel.open(), [""; 0]);
    assert_eq!(channel.endings(), [BreakResolution::Superseded, BreakResolution::ChannelCorrected]);
}

#[test]
fn a_refund_that_only_one_side_has_is_the_other_way_round() {
    let mut channel = Channel::default();
    channel.paid(1, "t1", "10.00", 10).told(1, completed(Uuid::from_u128(1), Channel::NAME, "4.00"));
    channel.file(10, "a", &[line("t1", "10.00"), refund_line("R-9", "3.00")]);
    let ours = Refund::request_no(Uuid::from_u128(1));
    assert_eq!(channel.open(), ["R-9 missing_in_ledger -3.00".to_owned(), format!("{ours} timing 4.00")]);
    assert_eq!(channel.balances(), ["3.00", "0.00", "3.00"]);
    let identified = BreakDecision::LateCapturePosted { order: card_order(1), method: Method::Netbank };
    let refused = channel.resolve("R-9", &identified, &["li"]);
    assert_eq!(refused, Err(BreakRefusal::NotAPayment));
}

#[test]
fn a_refund_is_known_by_the_channels_number_and_by_ours() {
    let refund_id = Uuid::from_u128(1);
    for number in [Refund::request_no(refund_id), "C-1".to_owned()] {
        let mut channel = Channel::default();
        let completed = completed(refund_id, Channel::NAME, "4.00");
        channel.told(1, RefundCompleted { channel_refund_no: Some("C-1".into()), ..completed });
        channel.file(10, "a", &[]);
        assert_eq!(channel.open(), ["C-1 timing 4.00"]);
        channel.file(11, "b", &[refund_line(&number, "4.00")]);
        assert_eq!((channel.open(), channel.matched(11)), (vec![], 1));
    }
}

#[test]
fn a_refund_under_both_its_numbers_is_one_refund_and_a_repeat() {
    let mut channel = Channel::default();
    let refund_id = Uuid::from_u128(1);
    let completed = completed(refund_id, Channel::NAME, "4.00");
    channel.told(1, RefundCompleted { channel_refund_no: Some("C-1".into()), ..completed });
    let ours = Refund::request_no(refund_id);
    channel.file(10, "a", &[refund_line("C-1", "4.00"), refund_line(&ours, "4.00")]);
    assert_eq!(channel.open(), [format!("{ours} duplicate_in_channel -4.00")]);
}

#[test]
fn refunds_to_which_the_channel_gives_one_number_are_as_many_as_they_are() {
    let mut channel = Channel::default();
    for (id, amount) in [(1, "4.00"), (2, "5.00")] {
        let completed = completed(Uuid::from_u128(id), Channel::NAME, amount);
        channel.told(1, RefundCompleted { channel_refund_no: Some("C-1".into()), ..completed });
    }
    channel.file(10, "a", &[]);
    assert_eq!(channel.open(), ["C-1 timing 4.00", "C-1 timing 5.00"]);
    channel.file(11, "b", &[refund_line("C-1", "5.00")]);
    assert_eq!(channel.open(), ["C-1 timing 4.00"]);
    channel.file(12, "c", &[refund_line("C-1", "4.00")]);
    assert_eq!(channel.open(), [""; 0]);
}

#[test]
fn lines_that_have_no_choice_choose_first() {
    let other = Refund::request_no(Uuid::from_u128(1));
    for lines in [["C-1", &other], [&other, "C-1"]] {
        let mut channel = Channel::default();
        for id in [1, 2] {
            let completed = completed(Uuid::from_u128(id), Channel::NAME, "4.00");
            channel.told(1, RefundCompleted { channel_refund_no: Some("C-1".into()), ..completed });
        }
        channel.file(10, "a", &lines.map(|number| refund_line(number, "4.00")));
        assert_eq!((channel.open(), channel.matched(10)), (vec![], 2));
    }
}

#[test]
fn a_refund_of_another_amount_is_no_repeat_of_its_number() {
    let mut channel = Channel::default();
    let completed = completed(Uuid::from_u128(1), Channel::NAME, "4.00");
    channel.told(1, RefundCompleted { channel_refund_no: Some("C-1".into()), ..completed });
    let lines = [("C-1", "4.00"), ("C-1", "5.00"), ("C-1", "5.00")];
    channel.file(10, "a", &lines.map(|(number, amount)| refund_line(number, amount)));
    assert_eq!(channel.open(), ["C-1 duplicate_in_channel -5.00", "C-1 missing_in_ledger -5.00"]);
}

#[test]
fn a_payment_of_a_day_whose_statement_never_came_is_missing_once_its_time_is_over() {
    let mut channel = Channel::default();
    channel.paid(1, "t1", "5.00", 9).paid(2, "t2", "7.00", 11);
    for (date, file, open) in [(10, "a", vec![]), (13, "b", vec![]), (14, "c", vec!["t2 missing_in_channel -7.00"])] {
        channel.file(date, file, &[]);
        assert_eq!(channel.open(), open, "on the {date}th; t1 is older than the first statement");
    }
}

#[test]
fn a_refund_that_came_back_and_a_dispute_are_lines_of_ours() {
    let mut channel = Channel::default();
    channel.paid(1, "t1", "10.00", 10);
    let returned = RefundReturned {
        refund_id: Uuid::from_u128(1),
        channel: name(Channel::NAME),
        amount: yuan("4.00"),
        return_no: "r1".into(),
        reason: String::new(),
        business_date: day(10),
    };
    let (at, case) = (name(Channel::NAME), "CB-1".to_owned());
    let disputed = chargeback(channel.log[0].id, "10.00");
    let won = dispute_closed("10.00", DisputeOutcome::Won, Bearer::Operator);
    channel.told(1, returned);
    channel
        .told(1, ChargebackReceived { channel: at.clone(), case_no: case.clone(), business_date: day(10), ..disputed });
    channel.told(1, ChargebackClosed { channel: at, case_no: case, business_date: day(10), ..won });
    let lines = [line("t1", "10.00"), line("r1", "4.00"), refund_line("CB-1", "10.00"), line("CB-1", "10.00")];
    channel.file(10, "a", &lines);
    assert_eq!((channel.open(), channel.matched(10)), (vec![], 4));
}

#[test]
fn a_payment_that_was_told_for_two_orders_is_seen() {
    let mut channel = Channel::default();
    channel.paid(1, "t1", "10.00", 10);
    let other = PaymentCaptured { business_date: day(10), ..paid_by(Channel::NAME, "t1", "10.00") };
    let told = Event::about_order("/test", &card_order(2), Default::default(), other);
    channel.books.apply(&told);
    channel.file(10, "a", &[line("t1", "10.00")]);
    assert_eq!(channel.open(), ["t1 timing -10.00"], "the channel has it once");
}

/// The channel undid the payment `t1` of 10.00, of the tenth, on a day of March.
fn reversed_on(date: u32) -> Channel {
    let mut channel = Channel::default();
    channel.paid(1, "t1", "10.00", 10);
    let reversal = PaymentReversed {
        capture_id: Some(channel.log[0].id),
        amount: yuan("10.00"),
        business_date: day(date),
        ..nothing_charged(Channel::NAME, "t1")
    };
    channel.told(1, reversal);
    channel
}

#[test]
fn of_a_payment_that_was_reversed_on_its_day_the_channel_should_have_nothing() {
    let mut channel = reversed_on(10);
    channel.file(10, "a", &[]);
    assert_eq!(channel.open(), [""; 0]);
    channel.file(10, "b", &[line("t1", "10.00")]);
    assert_eq!(channel.open(), ["t1 missing_in_ledger 10.00"]);
    let identified = BreakDecision::LateCapturePosted { order: card_order(9), method: Method::Netbank };
    let posted = BreakRefusal::Posted(card_order(1).to_string());
    assert_eq!(channel.resolve("t1", &identified, &["li"]), Err(posted), "it was, and went back");
}

#[test]
fn of_a_payment_that_was_reversed_in_part_both_are_lines() {
    let mut channel = Channel::default();
    channel.paid(1, "t1", "10.00", 10);
    let capture_id = Some(channel.log[0].id);
    let part = PaymentReversed { capture_id, amount: yuan("3.00"), ..nothing_charged(Channel::NAME, "v1") };
    channel.told(1, part.clone()).file(10, "a", &[line("t1", "10.00"), refund_line("v1", "3.00")]);
    assert_eq!((channel.open(), channel.matched(10)), (vec![], 2));
    channel.told(1, PaymentReversed { amount: yuan("7.00"), channel_txn_no: "v2".into(), attempt: 2, ..part });
    channel.file(10, "b", &[]);
    assert_eq!(channel.open(), [""; 0], "in two parts, and wholly");
}

#[test]
fn a_reversal_on_another_day_is_a_line_of_that_day() {
    let mut channel = reversed_on(11);
    channel.file(10, "a", &[line("t1", "10.00")]);
    channel.file(11, "b", &[]);
    assert_eq!(channel.open(), ["t1 timing 10.00"]);
    channel.file(12, "c", &[refund_line("t1", "10.00")]);
    assert_eq!((channel.open(), channel.balances()), (vec![], ["0.00"; 3].map(Into::into)));
}

#[test]
fn lines_that_add_up_to_more_than_an_event_can_say_are_refused() {
    let lines = vec![Line { line_no: 2, ..line("t1", "9999999999.99") }, Line { line_no: 3, ..line("t2", "0.01") }];
    let (declared_lines, declared_net) = (None, None);
    let statement =
        Statement { date: day(10), file_name: "a".into(), sha256: "a".into(), lines, declared_lines, declared_net };
    let refused = receive(&Books::default(), &name(Channel::NAME), &statement);
    assert_eq!(refused, Err(AmountError::TooLarge));
}
