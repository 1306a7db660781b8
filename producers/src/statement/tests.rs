use super::*;

const HEADING: &str = "number,amount,fee,order,kind\n";

fn statement(text: &str) -> Result<Statement, StatementError> {
    read(text.as_bytes(), NaiveDate::default(), "a.csv", &StatementFormat::default())
}

fn rejected(text: &str) -> Vec<String> {
    match statement(text) {
        Err(StatementError::Lines(rejected)) => rejected.iter().map(Rejected::to_string).collect(),
        other => panic!("{other:?}"),
    }
}

fn lines(statement: &Statement) -> Vec<(u32, StatementSide, &str, String)> {
    let lines = statement.lines.iter();
    lines.map(|line| (line.line_no, line.side, line.number.as_str(), line.amount.to_string())).collect()
}

#[test]
fn a_file_in_the_default_format_is_read_line_by_line() {
    let read = statement(&format!(
        "\u{feff}{HEADING}t1,100.00,0.30,C1,payment\n\n\"t,2\",50.00,,,payment\nR1,-4.00,-0.02,C1,refund\nR2,3.00,,,refund\n"
    ))
    .unwrap();
    let (payment, refund) = (StatementSide::Payment, StatementSide::Refund);
    assert_eq!(
        lines(&read),
        [
            (2, payment, "t1", "100.00".into()),
            (4, payment, "t,2", "50.00".into()),
            (5, refund, "R1", "4.00".into()),
            (6, refund, "R2", "3.00".into())
        ]
    );
    assert_eq!((read.lines[0].fee, read.lines[0].order_no.as_deref()), (Some(Balance::from_fen(30)), Some("C1")));
    assert_eq!((read.lines[1].fee, read.lines[1].order_no.as_deref()), (None, None));
    assert_eq!((read.declared_lines, read.declared_net), (None, None));
}

#[test]
fn lines_are_counted_as_editors_count_them() {
    for end in ["\n", "\r\n"] {
        let text = format!("{HEADING}t1,1.00,,,payment\n\nt2,2.00,,,payment\n").replace('\n', end);
        let read = statement(&text).unwrap();
        assert_eq!(read.lines.iter().map(|line| line.line_no).collect::<Vec<_>>(), [2, 4], "{end:?}");
    }
}

fn bestpay() -> StatementFormat {
    StatementFormat {
        charset: Charset::Gbk,
        number: "交易流水号".into(),
        amount: "交易金额".into(),
        fee: String::new(),
        order: "订单号".into(),
        kind: String::new(),
        totals: "合计".into(),
        count: "订单号".into(),
        ..StatementFormat::default()
    }
}

fn gbk(text: &str) -> Vec<u8> {
    Charset::Gbk.encode(text).unwrap()
}

#[test]
fn a_file_in_gbk_with_its_own_columns_tabs_back_ticks_and_totals_is_read_and_its_bytes_are_hashed() {
    let bytes =
        gbk("商户,交易流水号,订单号,交易金额\n翼机通,\t1209\t,`C1`,80.00\n翼机通,1210,,-30.00\n,合计,2,50.00\n");
    let read = read(&bytes, NaiveDate::default(), "a.csv", &bestpay()).unwrap();
    assert_eq!(
        lines(&read),
        [(2, StatementSide::Payment, "1209", "80.00".into()), (3, StatementSide::Refund, "1210", "30.00".into())]
    );
    assert_eq!(read.lines[0].order_no.as_deref(), Some("C1"));
    assert_eq!((read.declared_lines, read.declared_net), (Some(2), Some(Balance::from_fen(5000))));
    assert_eq!(read.sha256, HEXLOWER.encode(&Sha256::digest(&bytes)));
}

#[test]
fn a_file_without_the_totals_that_its_channel_writes_was_cut_off() {
    let bytes = gbk("交易流水号,订单号,交易金额\n1209,C1,80.00\n");
    let refused = read(&bytes, NaiveDate::default(), "a.csv", &bestpay());
    assert!(matches!(refused, Err(StatementError::NoTotals)), "{refused:?}");
}

#[test]
fn a_line_that_is_not_of_the_character_set_is_named_and_nothing_is_put_in_its_place() {
    let mut bytes = gbk("交易流水号,订单号,交易金额,备注\n1209,C1,80.00,好\n1210,C2,20.00,");
    bytes.extend(b"\xff\n,,,\xff\n");
    match read(&bytes, NaiveDate::default(), "a.csv", &bestpay()) {
        Err(StatementError::Lines(rejected)) => {
            let told: Vec<_> = rejected.iter().map(|line| (line.line_no, line.reason.as_str())).collect();
            let reason = "it is not text in the character set gbk";
            assert_eq!(told, [(3, reason), (4, reason)]);
        }
        other => panic!("{other:?}"),
    }
    // Somebody else's decoder has lost it before.
    assert_eq!(rejected(&format!("{HEADING}t1,1.00,,\u{fffd},payment\n")).len(), 1);
    let heading = read(b"\xff,amount\n", NaiveDate::default(), "a.csv", &StatementFormat::default());
    assert!(matches!(heading, Err(StatementError::Heading(Charset::Utf8))), "{heading:?}");
}

#[test]
fn a_line_that_cannot_be_read_is_named_with_its_reason() {
    for (line, reason) in [
        (
            "t1,100,,,payment",
            "line 2: \"100\": an amount is written in yuan with exactly two decimals, such as \"800.00\"",
        ),
        ("t1,10000000000.00,,,payment", "line 2: \"10000000000.00\": an amount may not exceed 9999999999.99 yuan"),
        ("t1,-1.00,,,payment", "line 2: -1.00: an amount may not be negative"),
        ("t1,0.00,,,payment", "line 2: it is about 0.00"),
        (
            "t1,1.00,x,,payment",
            "line 2: \"x\": an amount is written in yuan with exactly two decimals, such as \"800.00\"",
        ),
        ("t1,1.00,,,transfer", "line 2: \"transfer\" is neither a payment nor a refund"),
        ("t1,1.00", "line 2: it has too few columns"),
        (",1.00,,,payment", "line 2: the number \"\" is empty, longer than 128 characters, or has a blank in it"),
        (
            "t\t1,1.00,,,payment",
            "line 2: the number \"t\\t1\" is empty, longer than 128 characters, or has a blank in it",
        ),
        (
            "合计,1.00,,,payment",
            "line 2: \"合计\" has no digit, so it is no number; of a sum, `totals` is to name the word",
        ),
        ("2.02611E+27,1.00,,,payment", "line 2: a spreadsheet has rounded 2.02611E+27"),
        (
            "t1\u{200b},1.00,,,payment",
            "line 2: the number \"t1\\u{200b}\" is empty, longer than 128 characters, or has a blank in it",
        ),
        ("t1,1.00,,,payment,2.00", "line 2: it has more columns than the heading"),
        ("t1,1.00,,\"C1,payment", "line 2: a field has a line break or a NUL; a quotation mark may not be closed"),
    ] {
        assert_eq!(rejected(&format!("{HEADING}{line}\n")), [reason]);
    }
    let long = rejected(&format!("{HEADING}t1,1.00,,{},payment\n", "C".repeat(129)));
    assert!(long[0].starts_with("line 2: the order's number \"CCC"), "{long:?}");
    let bytes = gbk("交易流水号,订单号,交易金额\n合计,0,0.00\n1209,C1,80.00\n合计,1,80.00\n");
    let refused = read(&bytes, NaiveDate::default(), "a.csv", &bestpay()).unwrap_err().to_string();
    assert!(refused.ends_with("line 3: it follows the totals\nline 4: it follows the totals"), "{refused}");
    let bytes = gbk("交易流水号,订单号,交易金额\n合计,two,80.00\n");
    let refused = read(&bytes, NaiveDate::default(), "a.csv", &bestpay()).unwrap_err().to_string();
    assert!(refused.contains("line 2: \"two\" is no number of lines"), "{refused}");
}

#[test]
fn many_lines_that_cannot_be_read_are_counted() {
    let refused = statement(&format!("{HEADING}{}", "t1,1,,,payment\n".repeat(25))).unwrap_err().to_string();
    assert_eq!((refused.lines().count(), refused.lines().last()), (22, Some("and 5 more")), "{refused}");
}

#[test]
fn what_could_be_read_in_two_ways_is_refused() {
    let refused = statement(&format!("{HEADING}t1,1.00,,,payment\nt2,2.00,,,payment\rt3,3.00,,,payment\r\n"));
    assert!(matches!(refused, Err(StatementError::LoneReturn(3))), "{refused:?}");
    let refused = statement("number,amount,amount,fee,order,kind\nt1,1.00,2.00,,,payment\n");
    assert!(matches!(&refused, Err(StatementError::ColumnTwice(name)) if name == "amount"), "{refused:?}");
}

#[test]
fn an_orders_number_is_told_without_what_the_channel_puts_before_it() {
    let format = StatementFormat { order_prefix: "0319".to_owned(), ..StatementFormat::default() };
    let text = format!("{HEADING}t1,1.00,,0319C1,payment\nt2,1.00,,C2,payment\n");
    let read = read(text.as_bytes(), NaiveDate::default(), "a.csv", &format).unwrap();
    assert_eq!(read.lines.iter().map(|line| line.order_no.as_deref()).collect::<Vec<_>>(), [Some("C1"), Some("C2")]);
}

#[test]
fn an_empty_file_is_no_statement() {
    assert!(matches!(statement(""), Err(StatementError::Empty)));
    assert!(statement(HEADING).unwrap().lines.is_empty());
}

#[test]
fn a_file_that_may_have_been_cut_off_is_refused() {
    for text in [HEADING.trim_end().to_owned(), format!("{HEADING}t1,1.00,,,payment")] {
        assert!(matches!(statement(&text), Err(StatementError::NoEnd)), "{text}");
    }
    // Totals tell that it is whole.
    let bytes = gbk("交易流水号,订单号,交易金额\n1209,C1,80.00\n合计,1,80.00");
    assert!(read(&bytes, NaiveDate::default(), "a.csv", &bestpay()).is_ok());
}

#[test]
fn a_heading_that_lacks_a_column_is_refused() {
    for heading in ["number,fee,order,kind\n", "amount,fee,order,kind\n", "number,amount,fee,order\n"] {
        let refused = statement(heading);
        assert!(matches!(refused, Err(StatementError::Column(_))), "{heading}: {refused:?}");
    }
}
