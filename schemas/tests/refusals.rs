//! What is not taken as an event, and under which code: one row for each way to get it wrong, in the order of the codes.

use ledger_schemas::{Event, Refusal, RefusalCode, RefusalCode::*};
use serde_json::{Value, json};

const CAPTURE: &str = include_str!("../golden/ledger.payment.captured.v1/1-card-on-a-terminal.json");
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

/// What a reader of an inbox topic says to it.
fn inbox(change: impl FnOnce(&mut Record)) -> Answer {
    let record = changed_record(change);
    Event::from_binary(record.headers(), &record.value)
}

fn amount(amount: impl Into<Value>) -> Answer {
    door(|json| json["data"]["amount"] = amount.into())
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
        ("a second event behind the first", BrokenJson, Event::from_structured(format!("{CAPTURE}{CAPTURE}").as_bytes())),
        ("a comma after the last field", BrokenJson, door_text("\"sync_response\"", "\"sync_response\",")),
        ("an unescaped line break in a string", BrokenJson, door_text("622848******1234", "6228\n1234")),
        ("bytes that are not UTF-8", BrokenJson, Event::from_structured(&[CAPTURE.as_bytes(), b"\xff"].concat())),
        ("deeply nested objects, cut off", BrokenJson, Event::from_structured("{\"a\":".repeat(200_000).as_bytes())),
        ("deeply nested data, cut off", BrokenJson, door_text("\"card\"", &"[".repeat(200_000))),
        ("no value in the log", BrokenJson, log(|record| record.value.clear())),
        ("a value that is not UTF-8", BrokenJson, log(|record| record.value = b"{\"channel\":\"\xff\"}".into())),
        ("garbage behind a value of the log", BrokenJson, log(|record| record.value.extend(b" {}"))),
        ("garbage behind a value of an inbox", BrokenJson, inbox(|record| record.value.extend(b"}"))),

        ("a number", InvalidEnvelope, Event::from_structured(b"800.00")),
        ("null", InvalidEnvelope, Event::from_structured(b"null")),
        ("an event as an array", InvalidEnvelope, Event::from_structured(br#" ["1.0", "1", "t", "/s"]"#)),
        ("deeply nested arrays", InvalidEnvelope, Event::from_structured(nested(200_000).as_bytes())),
        ("no specversion", InvalidEnvelope, without("specversion")),
        ("another specversion", InvalidEnvelope, door(|json| json["specversion"] = "0.3".into())),
        ("no id", InvalidEnvelope, without("id")),
        ("an empty id", InvalidEnvelope, door(|json| json["id"] = "".into())),
        ("an id that is a number", InvalidEnvelope, door(|json| json["id"] = 7.into())),
        ("no type", InvalidEnvelope, without("type")),
        ("an empty type", InvalidEnvelope, door(|json| json["type"] = "".into())),
        ("no source", InvalidEnvelope, without("source")),
        ("an empty source", InvalidEnvelope, door(|json| json["source"] = "".into())),
        ("a source with a line break", InvalidEnvelope, door(|json| json["source"] = "/channels/ums-pos\r\nx: y".into())),
        ("a trace with U+0000", InvalidEnvelope, door(|json| json["traceparent"] = "\0".into())),
        ("no subject", InvalidEnvelope, without("subject")),
        ("an empty subject", InvalidEnvelope, door(|json| json["subject"] = "".into())),
        ("a subject that is no order number", InvalidEnvelope, door(|json| json["subject"] = "20250310000042".into())),
        ("no time", InvalidEnvelope, without("time")),
        ("a time without its offset", InvalidEnvelope, door(|json| json["time"] = "2025-03-10T10:15:03".into())),
        ("a time that does not exist", InvalidEnvelope, door(|json| json["time"] = "2025-02-30T10:15:03+08:00".into())),
        ("a time with a blank for its T", InvalidEnvelope, door(|json| json["time"] = "2025-03-10 10:15:03+08:00".into())),
        ("a date without a time", InvalidEnvelope, door(|json| json["time"] = "2025-03-10".into())),
        ("a correlationid that is no UUID", InvalidEnvelope, door(|json| json["correlationid"] = "7".into())),
        ("a causationid that is no UUID", InvalidEnvelope, door(|json| json["causationid"] = "".into())),
        ("no data", InvalidEnvelope, without("data")),
        ("data that is null", InvalidEnvelope, door(|json| json["data"] = Value::Null)),
        ("data in base 64", InvalidEnvelope, door(|json| { json.as_object_mut().unwrap().remove("data"); json["data_base64"] = "e30=".into() })),
        ("an attribute that stands twice", InvalidEnvelope, door_text("\"id\":", "\"id\": \"1\", \"id\":")),
        ("data that stands twice", InvalidEnvelope, door_text("\"data\":", "\"data\": {}, \"data\":")),
        ("a header that is not UTF-8", InvalidEnvelope, log(|record| record.set("ce_source", b"\xff\xfe"))),
        ("a header that stands twice", InvalidEnvelope, log(|record| record.headers.push(("ce_id".into(), b"1".into())))),
        ("a record without ce_type", InvalidEnvelope, log(|record| record.remove("ce_type"))),
        ("an inbox record of another specversion", InvalidEnvelope, inbox(|record| record.set("ce_specversion", "0.3"))),
        ("an inbox record without headers", InvalidEnvelope, inbox(|record| record.headers.clear())),

        ("a type of somebody else", UnknownType, door(|json| json["type"] = "com.example.paid.v1".into())),
        ("a type without its version", UnknownType, door(|json| json["type"] = "ledger.payment.captured".into())),
        ("a type in capitals", UnknownType, door(|json| json["type"] = "LEDGER.PAYMENT.CAPTURED.V1".into())),
        ("a huge type", UnknownType, door(|json| json["type"] = "t".repeat(5_000_000).into())),

        ("a version that is not out yet", UnknownSchemaVersion, door(|json| json["type"] = "ledger.payment.captured.v2".into())),
        ("version nought", UnknownSchemaVersion, log(|record| record.set("ce_type", "ledger.payment.captured.v0"))),
        ("a huge version", UnknownSchemaVersion, door(|json| json["type"] = format!("ledger.payment.captured.v{}", "9".repeat(5_000_000)).into())),

        ("empty data", MissingField, door(|json| json["data"] = json!({}))),
        ("no amount", MissingField, door(|json| drop(json["data"].as_object_mut().unwrap().remove("amount")))),
        ("a field missing inside a field", MissingField, door(|json| json["data"]["terminal"] = json!({"merchant_id": "898310148160101"}))),
        ("a field missing in the log", MissingField, log(|record| record.value = b"{}".into())),

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
        ("a balance with one decimal", InvalidAmount, door_to(SETTLEMENT, |json| json["data"]["net"] = "-0.5".into())),
        ("a balance of minus nought", InvalidAmount, door_to(SETTLEMENT, |json| json["data"]["carried_in"] = "-0.00".into())),
        ("a negative amount in the log", InvalidAmount, log(|record| record.value = b"{\"amount\":\"-1.00\"}".into())),

        ("data as an array", InvalidData, door(|json| json["data"] = json!(["ums-pos", "1", "card", "800.00"]))),
        ("data as an array in the log", InvalidData, log(|record| record.value = br#" ["ums-pos"]"#.into())),
        ("data as a text", InvalidData, door(|json| json["data"] = "{}".into())),
        ("a required field that is null", InvalidData, door(|json| json["data"]["channel"] = Value::Null)),
        ("an amount that is null", InvalidData, amount(Value::Null)),
        ("an amount in an object", InvalidData, amount(json!({"value": "800.00"}))),
        ("a field that stands twice", InvalidData, door_text("\"amount\":", "\"amount\": \"1.00\", \"amount\":")),
        ("a field that stands twice inside a field", InvalidData, door_text("\"batch_no\":", "\"batch_no\": \"1\", \"batch_no\":")),
        ("an unknown word", InvalidData, door(|json| json["data"]["method"] = "cash".into())),
        ("a word that is a number", InvalidData, door(|json| json["data"]["method"] = 5.into())),
        ("a word that is a number in the log", InvalidData, log(|record| record.value = br#"{"method":5}"#.into())),
        ("a word in capitals", InvalidData, door(|json| json["data"]["method"] = "CARD".into())),
        ("a huge word", InvalidData, door(|json| json["data"]["method"] = "c".repeat(5_000_000).into())),
        ("a channel in capitals", InvalidData, door(|json| json["data"]["channel"] = "UMS".into())),
        ("an impossible date", InvalidData, door(|json| json["data"]["business_date"] = "2025-02-29".into())),
        ("a date of six digits a year", InvalidData, door(|json| json["data"]["business_date"] = "-262143-01-01".into())),
        ("a date in a loose spelling", InvalidData, door(|json| json["data"]["business_date"] = "2025-3-10".into())),
        ("a date without hyphens", InvalidData, door(|json| json["data"]["business_date"] = "20250310".into())),
        ("a time in the data without its offset", InvalidData, door_to(QUOTE, |json| json["data"]["as_of"] = "2025-03-10T10:14:05".into())),
        ("a time in the data of six digits a year", InvalidData, door_to(QUOTE, |json| json["data"]["as_of"] = "-262143-01-01T00:00:00Z".into())),
        ("deeply nested data", InvalidData, door_text("\"card\"", &nested(200_000))),
        ("an amount of nothing", InvalidData, amount("0.00")),
        ("a whole card number", InvalidData, door(|json| json["data"]["instrument_masked"] = "6228480402564890018".into())),
        ("a net that does not add up", InvalidData, door_to(SETTLEMENT, |json| json["data"]["net"] = "7085.81".into())),
        ("a number too large for its field", InvalidData, door_to(SETTLEMENT, |json| json["data"]["transactions"] = (1_u64 << 32).into())),
        ("a number with a fraction", InvalidData, door_to(SETTLEMENT, |json| json["data"]["transactions"] = json!(1.5))),
        ("an empty transaction number", InvalidData, door(|json| json["data"]["channel_txn_no"] = "".into())),
        ("a transaction number with a tab", InvalidData, door(|json| json["data"]["channel_txn_no"] = "000042\t".into())),
        ("a transaction number with a line break", InvalidData, door(|json| json["data"]["channel_txn_no"] = "0000\n42".into())),
        ("a transaction number that no index takes", InvalidData, door(|json| json["data"]["channel_txn_no"] = "4".repeat(129).into())),
        ("a batch number that no index takes", InvalidData, door_to(RECEIPT, |json| json["data"]["batch_no"] = "4".repeat(129).into())),
        ("half of a surrogate pair", InvalidData, door_text("622848******1234", "\\ud83d")),
        ("U+0000 in a text", InvalidData, door(|json| json["data"]["terminal"]["terminal_id"] = "1001\u{0}".into())),
        ("U+0000 behind a backslash", InvalidData, door(|json| json["data"]["terminal"]["terminal_id"] = "\\\u{0}".into())),
        ("U+0000 in the log", InvalidData, log(|record| record.value = br#"{"channel_txn_no":"\u0000"}"#.into())),

        ("a field that the type does not know", UnknownField, door(|json| json["data"]["tip"] = "1.00".into())),
        ("a misspelt optional field", UnknownField, door(|json| json["data"]["Fee"] = "1.00".into())),
        ("an unknown field inside a field", UnknownField, door(|json| json["data"]["terminal"]["mcc"] = "8220".into())),
        ("an unknown field of deep nesting", UnknownField, door_text("\"fee\":", &format!("\"x\": {}, \"fee\":", nested(200_000)))),
        ("an unknown field with a huge name", UnknownField, door(|json| json["data"]["x".repeat(5_000_000)] = 1.into())),
        ("an unknown field in an inbox", UnknownField, inbox(|record| record.value = String::from_utf8_lossy(&record.value).replacen('{', "{\"tip\":1,", 1).into())),

        ("the stream of another contract", WrongKey, door(|json| json["partitionkey"] = other_stream())),
        ("a stream that is none", WrongKey, door(|json| json["partitionkey"] = "6228480402564890018".into())),
        ("an empty stream", WrongKey, door(|json| json["partitionkey"] = "".into())),
        ("an order on a channel's stream", WrongKey, door(|json| json["partitionkey"] = "channel:ums-pos".into())),
        ("a contract without its stream", WrongKey, door_to(QUOTE, |json| json["partitionkey"] = Value::Null)),
        ("a contract under the subject of another", WrongKey, door_to(QUOTE, |json| json["subject"] = other_stream())),
        ("a contract on a channel's stream", WrongKey, door_to(QUOTE, |json| json["partitionkey"] = "channel:cdb".into())),
        ("a batch without its stream", WrongKey, door_to(SETTLEMENT, |json| json["partitionkey"] = Value::Null)),
        ("a batch on a contract's stream", WrongKey, door_to(SETTLEMENT, |json| json["partitionkey"] = other_stream())),
        ("a record under another key", WrongKey, log(|record| record.key = other_stream().as_str().unwrap().into())),
        ("a record without a key", WrongKey, log(|record| record.key.clear())),
        ("a record whose key has more behind it", WrongKey, log(|record| record.key.push(b' '))),
        ("a record whose header says another stream", WrongKey, log(|record| record.set("ce_partitionkey", "channel:ums-pos"))),

        ("a record with another id", WrongId, log(|record| record.set("ce_id", "b8bbef23-58c8-5ed9-90bf-7674d84a0a3c"))),
        ("a record with its id in capitals", WrongId, log(|record| record.headers.iter_mut().filter(|(name, _)| name == "ce_id").for_each(|(_, id)| id.make_ascii_uppercase()))),
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
        ("the publisher's own id", door(|json| json["id"] = "1".into())),
        ("an extension that we do not know", door(|json| json["sequence"] = "7".into())),
        ("an optional attribute left to the subject", without("partitionkey")),
        ("other spellings of a UUID", door(|json| json["causationid"] = "355D8DE8EA8D586488A79C471876EB92".into())),
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
