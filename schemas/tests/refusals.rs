//! What is not taken as an event, and under which code: one row for each way to go wrong, in the order of the codes.

#![allow(clippy::unwrap_used)]

use ledger_schemas::{Event, Refusal, RefusalCode, RefusalCode::*};
use serde_json::{Value, json};

const CAPTURE: &str = include_str!("../golden/ledger.payment.captured.v1/1-card-on-a-terminal.json");
const CAPTURED: &str = "ledger.payment.captured.v1";
const QUOTE: &str = include_str!("../golden/ledger.loan-contract.quoted.v1/1-owed.json");
const SETTLEMENT: &str = include_str!("../golden/ledger.settlement.reported.v1/1-a-day.json");
const RECEIPT: &str = include_str!("../golden/ledger.settlement.received.v1/1-a-day.json");
const OTHER_CONTRACT: &str = include_str!("../golden/ledger.repayment-enrolment.checked.v1/2-not-enrolled.json");

/// Codes that reading never gives: the doors do.
const OF_THE_DOORS: &[RefusalCode] = &[TooLarge, NotYours, ConflictingRepeat];

/// A record of the log or of an inbox topic.
struct Record {
    key: Vec<u8>,
    headers: Vec<(String, Vec<u8>)>,
    value: Vec<u8>,
}

impl Record {
    fn of(event: &Event) -> Self {
        let headers = event.headers().into_iter().map(|(name, text)| (name.to_owned(), text.into_bytes())).collect();
        Self { key: event.stream.as_str().into(), headers, value: event.value() }
    }

    fn headers(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.headers.iter().map(|(name, text)| (name.as_str(), text.as_slice()))
    }

    fn set(&mut self, name: &str, text: impl AsRef<[u8]>) {
        self.remove(name);
        self.headers.push((name.to_owned(), text.as_ref().to_vec()));
    }

    fn remove(&mut self, name: &str) {
        self.headers.retain(|(other, _)| other != name);
    }
}

type Answer = Result<Event, Refusal>;

/// What a door says to the golden capture after a change.
fn door(change: impl FnOnce(&mut Value)) -> Answer {
    door_to(CAPTURE, change)
}

fn door_to(golden: &str, change: impl FnOnce(&mut Value)) -> Answer {
    let mut json: Value = serde_json::from_str(golden).unwrap();
    change(&mut json);
    Event::from_structured(json.to_string().as_bytes())
}

/// What a door says to the golden capture after a change of its text, for what a JSON value cannot hold.
fn door_text(from: &str, to: &str) -> Answer {
    assert!(CAPTURE.contains(from));
    Event::from_structured(CAPTURE.replacen(from, to, 1).as_bytes())
}

fn changed_record(change: impl FnOnce(&mut Record)) -> Record {
    let mut record = Record::of(&Event::from_structured(CAPTURE.as_bytes()).unwrap());
    change(&mut record);
    record
}

/// What a reader of the log says to the golden capture after a change.
fn log(change: impl FnOnce(&mut Record)) -> Answer {
    let record = changed_record(change);
    Event::from_record(&record.key, record.headers(), &record.value)
}

fn log_value(value: &[u8]) -> Answer {
    log(|record| record.value = value.into())
}

/// What a reader of an inbox topic says to it.
fn inbox(change: impl FnOnce(&mut Record)) -> Answer {
    let record = changed_record(change);
    Event::from_binary(record.headers(), &record.value)
}

fn attribute(name: &str, value: impl Into<Value>) -> Answer {
    attribute_of(CAPTURE, name, value)
}

fn attribute_of(golden: &str, name: &str, value: impl Into<Value>) -> Answer {
    door_to(golden, |json| json[name] = value.into())
}

fn field(name: &str, value: impl Into<Value>) -> Answer {
    field_of(CAPTURE, name, value)
}

fn field_of(golden: &str, name: &str, value: impl Into<Value>) -> Answer {
    door_to(golden, |json| json["data"][name] = value.into())
}

fn amount(amount: impl Into<Value>) -> Answer {
    field("amount", amount)
}

fn without(name: &str) -> Answer {
    door(|json| drop(json.as_object_mut().unwrap().remove(name)))
}

fn other_stream() -> Value {
    serde_json::from_str::<Value>(OTHER_CONTRACT).unwrap()["partitionkey"].clone()
}

fn nested(depth: usize) -> String {
    format!("{}{}", "[".repeat(depth), "]".repeat(depth))
}

#[rustfmt::skip]
fn rows() -> Vec<(&'static str, RefusalCode, Answer)> {
    vec![
        ("nothing at all", BrokenJson, Event::from_structured(b"")),
        ("text that is no JSON", BrokenJson, Event::from_structured(b"amount=800.00")),
        ("JSON that was cut off", BrokenJson, Event::from_structured(&CAPTURE.as_bytes()[..CAPTURE.len() / 2])),
        ("a byte order mark", BrokenJson, Event::from_structured(format!("\u{feff}{CAPTURE}").as_bytes())),
        ("garbage behind the event", BrokenJson, Event::from_structured(format!("{CAPTURE}x").as_bytes())),
        ("a second event behind the first", BrokenJson, Event::from_structured(CAPTURE.repeat(2).as_bytes())),
        ("a comma after the last field", BrokenJson, door_text("\"sync_response\"", "\"sync_response\",")),
        ("an unescaped line break in a string", BrokenJson, door_text("622848******1234", "6228\n1234")),
        ("bytes that are not UTF-8", BrokenJson, Event::from_structured(&[CAPTURE.as_bytes(), b"\xff"].concat())),
        ("deeply nested objects, cut off", BrokenJson, Event::from_structured("{\"a\":".repeat(200_000).as_bytes())),
        ("deeply nested data, cut off", BrokenJson, door_text("\"card\"", &"[".repeat(200_000))),
        ("no value in the log", BrokenJson, log(|record| record.value.clear())),
        ("a value that is not UTF-8", BrokenJson, log_value(b"{\"channel\":\"\xff\"}")),
        ("garbage behind a value of the log", BrokenJson, log(|record| record.value.extend(b" {}"))),
        ("garbage behind a value of an inbox", BrokenJson, inbox(|record| record.value.extend(b"}"))),

        ("a number", InvalidEnvelope, Event::from_structured(b"800.00")),
        ("null", InvalidEnvelope, Event::from_structured(b"null")),
        ("an event as an array", InvalidEnvelope, Event::from_structured(br#" ["1.0", "1", "t", "/s"]"#)),
        ("deeply nested arrays", InvalidEnvelope, Event::from_structured(nested(200_000).as_bytes())),
        ("no specversion", InvalidEnvelope, without("specversion")),
        ("another specversion", InvalidEnvelope, attribute("specversion", "0.3")),
        ("no id", InvalidEnvelope, without("id")),
        ("an empty id", InvalidEnvelope, attribute("id", "")),
        ("an id that is a number", InvalidEnvelope, attribute("id", 7)),
        ("no type", InvalidEnvelope, without("type")),
        ("an empty type", InvalidEnvelope, attribute("type", "")),
        ("no source", InvalidEnvelope, without("source")),
        ("an empty source", InvalidEnvelope, attribute("source", "")),
        ("a source with a line break", InvalidEnvelope, attribute("source", "/channels/ums-pos\r\nx: y")),
        ("a trace with U+0000", InvalidEnvelope, attribute("traceparent", "\0")),
        ("no subject", InvalidEnvelope, without("subject")),
        ("an empty subject", InvalidEnvelope, attribute("subject", "")),
        ("a subject that is no order number", InvalidEnvelope, attribute("subject", "20250310000042")),
        ("an order number of a kind that there is not", InvalidEnvelope, attribute("subject", "XAAAAAAAAAAAAAAAAAAAAAAAAAAAAA")),
        ("no time", InvalidEnvelope, without("time")),
        ("a time without its offset", InvalidEnvelope, attribute("time", "2025-03-10T10:15:03")),
        ("a time that does not exist", InvalidEnvelope, attribute("time", "2025-02-30T10:15:03+08:00")),
        ("a time with a blank for its T", InvalidEnvelope, attribute("time", "2025-03-10 10:15:03+08:00")),
        ("a date without a time", InvalidEnvelope, attribute("time", "2025-03-10")),
        ("a correlationid that is no UUID", InvalidEnvelope, attribute("correlationid", "7")),
        ("a causationid that is no UUID", InvalidEnvelope, attribute("causationid", "")),
        ("data that is said to be XML", InvalidEnvelope, attribute("datacontenttype", "application/xml")),
        ("a value of an inbox that is said to be XML", InvalidEnvelope, inbox(|record| record.set("content-type", "text/xml"))),
        ("no data", InvalidEnvelope, without("data")),
        ("data that is null", InvalidEnvelope, attribute("data", Value::Null)),
        ("data in base 64", InvalidEnvelope, door_text("\"data\":", "\"data_base64\": \"e30=\", \"extra\":")),
        ("an attribute that stands twice", InvalidEnvelope, door_text("\"id\":", "\"id\": \"1\", \"id\":")),
        ("data that stands twice", InvalidEnvelope, door_text("\"data\":", "\"data\": {}, \"data\":")),
        ("a header that is not UTF-8", InvalidEnvelope, log(|record| record.set("ce_source", b"\xff\xfe"))),
        ("a header that stands twice", InvalidEnvelope, log(|record| record.headers.push(("ce_id".into(), b"1".into())))),
        ("a record without ce_type", InvalidEnvelope, log(|record| record.remove("ce_type"))),
        ("an inbox record of another specversion", InvalidEnvelope, inbox(|record| record.set("ce_specversion", "0.3"))),
        ("an inbox record without headers", InvalidEnvelope, inbox(|record| record.headers.clear())),

        ("a type of somebody else", UnknownType, attribute("type", "com.example.paid.v1")),
        ("a type without its version", UnknownType, attribute("type", "ledger.payment.captured")),
        ("a type in capitals", UnknownType, attribute("type", "LEDGER.PAYMENT.CAPTURED.V1")),
        ("a huge type", UnknownType, attribute("type", "t".repeat(1_000_000))),

        ("a version that is not out yet", UnknownSchemaVersion, attribute("type", CAPTURED.replace("v1", "v2"))),
        ("version nought", UnknownSchemaVersion, log(|record| record.set("ce_type", CAPTURED.replace("v1", "v0")))),
        ("a huge version", UnknownSchemaVersion, attribute("type", CAPTURED.to_owned() + &"9".repeat(1_000_000))),

        ("empty data", MissingField, attribute("data", json!({}))),
        ("no amount", MissingField, door(|json| drop(json["data"].as_object_mut().unwrap().remove("amount")))),
        ("a field missing inside a field", MissingField, field("terminal", json!({"merchant_id": "898310148160101"}))),
        ("a field missing in the log", MissingField, log_value(b"{}")),

        ("a negative amount", InvalidAmount, amount("-1.00")),
        ("minus nought", InvalidAmount, amount("-0.00")),
        ("an amount with three decimals", InvalidAmount, amount("800.000")),
        ("an amount with one decimal", InvalidAmount, amount("800.0")),
        ("an amount without decimals", InvalidAmount, amount("800")),
        ("an empty amount", InvalidAmount, amount("")),
        ("an amount with a leading nought", InvalidAmount, amount("0800.00")),
        ("an amount with a plus", InvalidAmount, amount("+800.00")),
        ("an amount with thousands", InvalidAmount, amount("1,800.00")),
        ("an amount with a blank", InvalidAmount, amount("800.00 ")),
        ("an amount with its currency", InvalidAmount, amount("￥800.00")),
        ("an amount in other digits", InvalidAmount, amount("８００.００")),
        ("an amount as a number", InvalidAmount, amount(json!(800.00))),
        ("an amount in whole yuan as a number", InvalidAmount, amount(800)),
        ("a negative number", InvalidAmount, amount(-800)),
        ("one fen too many", InvalidAmount, amount("10000000000.00")),
        ("an amount beyond 64 bits", InvalidAmount, amount("99999999999999999999.00")),
        ("an amount of a million digits", InvalidAmount, amount(format!("{}.00", "9".repeat(1_000_000)))),
        ("a balance with one decimal", InvalidAmount, field_of(SETTLEMENT, "net", "-0.5")),
        ("a balance of minus nought", InvalidAmount, field_of(SETTLEMENT, "carried_in", "-0.00")),
        ("a negative amount in the log", InvalidAmount, log_value(b"{\"amount\":\"-1.00\"}")),

        ("data as an array", InvalidData, attribute("data", json!(["ums-pos", "1", "card", "800.00"]))),
        ("data as an array in the log", InvalidData, log_value(br#" ["ums-pos"]"#)),
        ("data as a text", InvalidData, attribute("data", "{}")),
        ("a required field that is null", InvalidData, field("channel", Value::Null)),
        ("an amount that is null", InvalidData, amount(Value::Null)),
        ("an amount in an object", InvalidData, amount(json!({"value": "800.00"}))),
        ("a field that stands twice", InvalidData, door_text("\"amount\":", "\"amount\": \"1.00\", \"amount\":")),
        ("a nested field that stands twice", InvalidData, door_text("\"batch_no\":", "\"batch_no\": \"1\", \"batch_no\":")),
        ("an unknown word", InvalidData, field("method", "cash")),
        ("a word that is a number", InvalidData, field("method", 5)),
        ("a word that is a number in the log", InvalidData, log_value(br#"{"method":5}"#)),
        ("a word in capitals", InvalidData, field("method", "CARD")),
        ("a huge word", InvalidData, field("method", "c".repeat(1_000_000))),
        ("a channel in capitals", InvalidData, field("channel", "UMS")),
        ("an impossible date", InvalidData, field("business_date", "2025-02-29")),
        ("a date of six digits a year", InvalidData, field("business_date", "-262143-01-01")),
        ("a date in a loose spelling", InvalidData, field("business_date", "2025-3-10")),
        ("a date without hyphens", InvalidData, field("business_date", "20250310")),
        ("a time in the data without its offset", InvalidData, field_of(QUOTE, "as_of", "2025-03-10T10:14:05")),
        ("a time in the data of six digits a year", InvalidData, field_of(QUOTE, "as_of", "-262143-01-01T00:00:00Z")),
        ("deeply nested data", InvalidData, door_text("\"card\"", &nested(200_000))),
        ("an amount of nothing", InvalidData, amount("0.00")),
        ("a whole card number", InvalidData, field("instrument_masked", "6228480402564890018")),
        ("a net that does not add up", InvalidData, field_of(SETTLEMENT, "net", "7085.81")),
        ("a number too large for its field", InvalidData, field_of(SETTLEMENT, "transactions", 1_u64 << 32)),
        ("a number with a fraction", InvalidData, field_of(SETTLEMENT, "transactions", json!(1.5))),
        ("an empty transaction number", InvalidData, field("channel_txn_no", "")),
        ("a transaction number with a tab", InvalidData, field("channel_txn_no", "000042\t")),
        ("a transaction number with a line break", InvalidData, field("channel_txn_no", "0000\n42")),
        ("a transaction number that no index takes", InvalidData, field("channel_txn_no", "4".repeat(129))),
        ("a batch number that no index takes", InvalidData, field_of(RECEIPT, "batch_no", "4".repeat(129))),
        ("half of a surrogate pair", InvalidData, door_text("622848******1234", "\\ud83d")),
        ("U+0000 in a text", InvalidData, door(|json| json["data"]["terminal"]["terminal_id"] = "1001\u{0}".into())),
        ("U+0000 behind a backslash", InvalidData, door(|json| json["data"]["terminal"]["terminal_id"] = "\\\u{0}".into())),
        ("U+0000 in the log", InvalidData, log_value(br#"{"channel_txn_no":"\u0000"}"#)),

        ("a field that the type does not know", UnknownField, field("tip", "1.00")),
        ("a misspelt optional field", UnknownField, field("Fee", "1.00")),
        ("an unknown field inside a field", UnknownField, door(|json| json["data"]["terminal"]["mcc"] = "8220".into())),
        ("an unknown field of deep nesting", UnknownField, door_text("\"fee\":", &["\"x\":", &nested(200_000), ",\"fee\":"].concat())),
        ("an unknown field with a huge name", UnknownField, door(|json| json["data"]["x".repeat(1_000_000)] = 1.into())),
        ("an unknown field in an inbox", UnknownField, inbox(|record| drop(record.value.splice(..1, *b"{\"tip\":1,")))),

        ("the stream of another contract", WrongKey, attribute("partitionkey", other_stream())),
        ("a stream that is none", WrongKey, attribute("partitionkey", "6228480402564890018")),
        ("an empty stream", WrongKey, attribute("partitionkey", "")),
        ("an order on a channel's stream", WrongKey, attribute("partitionkey", "channel:ums-pos")),
        ("a contract without its stream", WrongKey, attribute_of(QUOTE, "partitionkey", Value::Null)),
        ("a contract under the subject of another", WrongKey, attribute_of(QUOTE, "subject", other_stream())),
        ("a contract on a channel's stream", WrongKey, attribute_of(QUOTE, "partitionkey", "channel:cdb")),
        ("a batch without its stream", WrongKey, attribute_of(SETTLEMENT, "partitionkey", Value::Null)),
        ("a batch on a contract's stream", WrongKey, attribute_of(SETTLEMENT, "partitionkey", other_stream())),
        ("a stream of a kind that there is not", WrongKey, attribute_of(QUOTE, "partitionkey", "bank:AAAAAAAAAAAAAAAA")),
        ("a stream with a short token", WrongKey, attribute_of(QUOTE, "partitionkey", "card:AAAAAAAAAAAAAAA")),
        ("a stream with a token in lower case", WrongKey, attribute_of(QUOTE, "partitionkey", "card:aaaaaaaaaaaaaaaa")),
        ("a record under another key", WrongKey, log(|record| record.key = other_stream().as_str().unwrap().into())),
        ("a record without a key", WrongKey, log(|record| record.key.clear())),
        ("a record whose key has more behind it", WrongKey, log(|record| record.key.push(b' '))),
        ("a header that says another stream", WrongKey, log(|record| record.set("ce_partitionkey", "channel:ums-pos"))),

        ("a record with another id", WrongId, log(|record| record.set("ce_id", "b8bbef23-58c8-5ed9-90bf-7674d84a0a3c"))),
        ("a record with its id in capitals", WrongId, log(|record| record.set("ce_id", "B8BBEF23-58C8-5ED9-90BF-7674D84A0A3B"))),
        ("a record with an id that is no UUID", WrongId, log(|record| record.set("ce_id", "1"))),
    ]
}

#[test]
fn each_way_to_get_it_wrong_has_its_code() {
    for (what, code, answer) in rows() {
        let refusal = answer.err().unwrap_or_else(|| panic!("{what} was taken as an event"));
        assert_eq!(refusal.code, code, "{what}: {refusal}");
        assert!((1..=400).contains(&refusal.detail.chars().count()), "{what}: {} characters", refusal.detail.len());
    }
}

#[test]
fn every_code_of_reading_has_a_row_in_the_order_of_the_codes() {
    let mut codes: Vec<RefusalCode> = rows().into_iter().map(|(_, code, _)| code).collect();
    codes.dedup();
    codes.extend(OF_THE_DOORS);
    assert_eq!(codes, RefusalCode::ALL);
}

#[test]
fn what_does_no_harm_is_taken() {
    let capture = Event::from_structured(CAPTURE.as_bytes());
    let taken = [
        ("the publisher's own id", attribute("id", "1")),
        ("an extension that we do not know", attribute("sequence", "7")),
        ("an optional attribute left to the subject", without("partitionkey")),
        ("other spellings of a UUID", attribute("causationid", "355D8DE8EA8D586488A79C471876EB92")),
        ("blanks around the event", Event::from_structured(format!("\r\n\t {CAPTURE}\n").as_bytes())),
        (
            "a field of a newer writer in the log",
            log(|record| {
                record.value = String::from_utf8_lossy(&record.value).replacen('{', "{\"tip\":[{\"a\":1}],", 1).into();
            }),
        ),
        (
            "a header of somebody else, in any form",
            log(|record| record.headers.push(("b3".into(), b"\xff\x00".into()))),
        ),
        (
            "a header of somebody else, twice",
            inbox(|record| record.headers.extend([("x".into(), vec![]), ("x".into(), vec![])])),
        ),
        ("blanks around a value", inbox(|record| record.value.splice(..0, *b" \n").for_each(drop))),
    ];
    for (what, answer) in taken {
        assert_eq!(answer, capture, "{what}");
    }
}

#[test]
fn an_optional_field_may_be_null() {
    let null = door(|json| json["data"]["fee"] = Value::Null);
    assert_eq!(null, door(|json| drop(json["data"].as_object_mut().unwrap().remove("fee"))));
    assert!(null.unwrap().to_structured()["data"].get("fee").is_none());
}

#[test]
fn text_that_only_looks_like_an_escape_is_taken() {
    let event = door(|json| json["data"]["instrument_masked"] = r"622848\u0000".into()).unwrap();
    assert_eq!(event.to_structured()["data"]["instrument_masked"], r"622848\u0000");
}
