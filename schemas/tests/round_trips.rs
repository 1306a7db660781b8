//! Whatever the schemas allow goes into the log and comes out the same, for events made up by the schemas themselves.

#![allow(clippy::unwrap_used)]

use ledger_schemas::{AMOUNT_MAX_FEN, Amount, AmountError, Balance, Data, Event, RefusalCode, generated::event_schema};
use proptest::{
    option,
    prelude::*,
    sample::select,
    string::string_regex,
    test_runner::{Config, TestRunner},
};
use serde_json::{Map, Value, json};

/// Failures are printed in full, so no file of them is kept.
fn config(cases: u32) -> Config {
    Config { cases, failure_persistence: None, ..Config::default() }
}

/// Any JSON that `schema` allows; `root` holds its definitions.
fn any_json(root: &Value, schema: &Value) -> BoxedStrategy<Value> {
    if let Some(reference) = schema["$ref"].as_str() {
        return any_json(root, root.pointer(reference.trim_start_matches('#')).unwrap());
    }
    if let Some(word) = schema.get("const") {
        return Just(word.clone()).boxed();
    }
    if let Some(words) = schema["enum"].as_array() {
        return select(words.clone()).boxed();
    }
    if let Some(choices) = schema["oneOf"].as_array().or(schema["anyOf"].as_array()) {
        let choices: Vec<_> = choices.iter().map(|choice| any_json(root, choice)).collect();
        return proptest::strategy::Union::new(choices).boxed();
    }
    match schema["type"].as_str().or_else(|| schema["type"][0].as_str()).unwrap() {
        "string" => any_string(schema).prop_map(Value::from).boxed(),
        "boolean" => any::<bool>().prop_map(Value::from).boxed(),
        "integer" => any_integer(schema),
        "null" => Just(Value::Null).boxed(),
        "array" => proptest::collection::vec(any_json(root, &schema["items"]), 0..4).prop_map(Value::from).boxed(),
        "object" => any_object(root, schema),
        other => panic!("no values are made for {other}"),
    }
}

fn any_string(schema: &Value) -> BoxedStrategy<String> {
    let pattern = match (schema["pattern"].as_str(), schema["format"].as_str()) {
        (_, Some("date-time")) => return any_time().boxed(),
        (_, Some("uri-reference")) => "/[a-z]{1,9}/[a-z0-9.~-]{1,9}".to_owned(),
        (Some(pattern), _) => pattern.replace(['^', '$'], ""),
        (None, Some("uuid")) => "[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}".to_owned(),
        (None, Some("date")) => "[0-9]{4}-(0[1-9]|1[0-2])-(0[1-9]|1[0-9]|2[0-8])".to_owned(),
        // What tells facts apart begins and ends with something.
        (None, _) => "[!-~支付﷽🎓]([ -~\u{a0}-\u{fffd}]{0,40}[!-~支付])?".to_owned(),
    };
    string_regex(&pattern).unwrap().boxed()
}

fn any_time() -> impl Strategy<Value = String> {
    let offset = select(vec!["Z", "+08:00", "-11:30", "+14:00"]);
    let fraction = select(vec!["", ".001", ".000000001", ".120000"]);
    let clock = "[0-9]{3}[1-9]-(0[1-9]|1[0-2])-(0[1-9]|1[0-9]|2[0-8])T([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9]";
    (string_regex(clock).unwrap(), fraction, offset)
        .prop_map(|(clock, fraction, offset)| format!("{clock}{fraction}{offset}"))
}

fn any_integer(schema: &Value) -> BoxedStrategy<Value> {
    let most = match schema["format"].as_str().unwrap() {
        "uint8" => u8::MAX.into(),
        "uint16" => u16::MAX.into(),
        "uint32" => u32::MAX.into(),
        "int32" => i32::MAX as u64,
        _ => i64::MAX as u64,
    };
    (0..=most).prop_map(Value::from).boxed()
}

fn any_object(root: &Value, schema: &Value) -> BoxedStrategy<Value> {
    let required = schema["required"].as_array().cloned().unwrap_or_default();
    let mut object = Just(Map::new()).boxed();
    for (name, field) in schema["properties"].as_object().unwrap() {
        let field = any_json(root, field);
        let field =
            if required.contains(&json!(name)) { field.prop_map(Some).boxed() } else { option::of(field).boxed() };
        let name = name.clone();
        object = (object, field)
            .prop_map(move |(mut object, value)| {
                value.map(|value| object.insert(name.clone(), value));
                object
            })
            .boxed();
    }
    object.prop_map(Value::Object).boxed()
}

/// Where an event stands, as its schema says it: an order, a stream as a whole, or a channel.
fn any_place(envelope: &Value) -> BoxedStrategy<(&'static str, String)> {
    let (name, tail) = match envelope["properties"]["partitionkey"]["pattern"].as_str() {
        None => return any_string(&envelope["properties"]["subject"]).prop_map(|order| ("subject", order)).boxed(),
        Some("^channel:") => ("partitionkey", "[a-z][a-z0-9-]{0,31}"),
        Some(_) => ("partitionkey", "[A-Z2-7]{16}"),
    };
    let start = any_string(&envelope["properties"][name]);
    (start, string_regex(tail).unwrap()).prop_map(move |(start, tail)| (name, start + &tail)).boxed()
}

fn any_event(event_type: &str) -> BoxedStrategy<Value> {
    let schema = event_schema(event_type).unwrap();
    let mut envelope = schema.clone();
    // The two must fit together, so they are made together.
    for name in ["subject", "partitionkey", "datacontenttype"] {
        envelope["properties"].as_object_mut().unwrap().remove(name);
    }
    (any_json(&schema, &envelope), any_place(&schema))
        .prop_map(|(mut event, (name, place))| {
            event["specversion"] = "1.0".into();
            event[name] = place.into();
            event
        })
        .boxed()
}

/// Through a door, into the log, out of it, and through a door again.
fn travels(json: &Value) -> Result<Option<RefusalCode>, TestCaseError> {
    let event = match Event::from_structured(json.to_string().as_bytes()) {
        Ok(event) => event,
        Err(refusal) => return Ok(Some(refusal.code)),
    };
    let (headers, value) = (event.headers(), event.value());
    let headers = || headers.iter().map(|(name, text)| (*name, text.as_bytes()));
    let key = event.stream.as_str().as_bytes();
    prop_assert_eq!(Event::from_record(key, headers(), &value), Ok(event.clone()));
    prop_assert_eq!(Event::from_binary(headers(), &value), Ok(event.clone()));
    let again = event.to_structured();
    prop_assert_eq!(Event::from_structured(again.to_string().as_bytes()), Ok(event.clone()));
    prop_assert_eq!(&again["id"], &json!(event.id));
    Ok(None)
}

/// A rule that no schema can express (a sum, an amount of nothing) may still refuse an event, and nothing else may.
#[test]
fn what_a_schema_allows_travels_unchanged() {
    for event_type in Data::TYPES {
        let schema = event_schema(event_type).unwrap();
        let validator = jsonschema::options().should_validate_formats(true).build(&schema).unwrap();
        let accepted = std::cell::Cell::new(0);
        let mut runner = TestRunner::new(config(48));
        let outcome = runner.run(&any_event(event_type), |json| {
            prop_assert!(
                validator.is_valid(&json),
                "{:?}",
                validator.iter_errors(&json).map(|e| e.to_string()).collect::<Vec<_>>()
            );
            let refused = travels(&json)?;
            accepted.set(accepted.get() + u32::from(refused.is_none()));
            prop_assert!(matches!(refused, None | Some(RefusalCode::InvalidData)), "{refused:?}");
            Ok(())
        });
        outcome.unwrap_or_else(|error| panic!("{event_type}: {error}"));
        assert!(accepted.get() > 0 || ADDING_UP.contains(event_type), "{event_type}: none was taken");
    }
}

/// Types whose fields must add up, which they hardly ever do by chance; they have tests of their own below.
const ADDING_UP: &[&str] =
    &["ledger.settlement.reported.v1", "ledger.funds.remitted.v1", "ledger.fee-payment.requested.v1"];

#[test]
fn a_settlement_travels_unchanged() {
    let golden = include_str!("../golden/ledger.settlement.reported.v1/1-a-day.json");
    let mut runner = TestRunner::new(config(256));
    let fen = || 0..=AMOUNT_MAX_FEN / 4;
    let outcome = runner.run(&(fen(), fen(), fen(), fen(), fen()), |(gross, refunds, chargebacks, fees, carried)| {
        let mut json: Value = serde_json::from_str(golden).unwrap();
        let amounts = [("gross", gross), ("refunds", refunds), ("chargebacks", chargebacks), ("fees", fees)];
        for (name, fen) in amounts {
            json["data"][name] = Balance::from_fen(fen).to_string().into();
        }
        json["data"]["carried_in"] = Balance::from_fen(-carried).to_string().into();
        json["data"]["net"] = Balance::from_fen(gross - refunds - chargebacks - fees - carried).to_string().into();
        prop_assert_eq!(travels(&json)?, None);
        Ok(())
    });
    outcome.unwrap();
}

/// What one account of a beneficiary gets or bears.
fn any_item() -> impl Strategy<Value = Map<String, Value>> {
    let fields = |json: Value| json.as_object().unwrap().clone();
    prop_oneof![
        "loan:[A-Z2-7]{16}".prop_map(move |contract| fields(json!({ "contract": contract }))),
        ("[a-z]{1,9}", 2000_u16..2100)
            .prop_map(move |(item, year)| fields(json!({ "fee_item": item, "billing_year": year }))),
        "[a-z0-9-]{1,9}".prop_map(move |merchant| fields(json!({ "merchant": merchant }))),
    ]
}

/// Items, each with an amount, and what they add up to.
fn any_items() -> impl Strategy<Value = (Vec<Value>, String)> {
    proptest::collection::vec((any_item(), 0..=AMOUNT_MAX_FEN / 9), 1..9).prop_map(|items| {
        let sum = items.iter().map(|(_, fen)| fen).sum();
        let with_amount = |(mut item, fen): (Map<String, Value>, i64)| {
            item.insert("amount".to_owned(), Balance::from_fen(fen).to_string().into());
            Value::Object(item)
        };
        (items.into_iter().map(with_amount).collect(), Balance::from_fen(sum).to_string())
    })
}

#[test]
fn a_remittance_travels_unchanged() {
    let golden = include_str!("../golden/ledger.funds.remitted.v1/1-to-the-bank.json");
    let outcome = TestRunner::new(config(256)).run(&any_items(), |(items, sum)| {
        let mut json: Value = serde_json::from_str(golden).unwrap();
        json["data"]["amount"] = sum.into();
        json["data"]["items"] = items.into();
        prop_assert_eq!(travels(&json)?, None);
        Ok(())
    });
    outcome.unwrap();
}

#[test]
fn a_settlement_whose_fees_the_beneficiary_bears_travels_unchanged() {
    let golden = include_str!("../golden/ledger.settlement.reported.v1/4-fees-borne-by-the-school.json");
    let outcome = TestRunner::new(config(256)).run(&any_items(), |(items, sum)| {
        let mut json: Value = serde_json::from_str(golden).unwrap();
        json["data"]["net"] = (json["data"]["gross"].as_str().unwrap().parse::<Balance>().unwrap()
            - sum.parse::<Balance>().unwrap())
        .to_string()
        .into();
        json["data"]["fees"] = sum.into();
        json["data"]["fee_items"] = items.into();
        prop_assert_eq!(travels(&json)?, None);
        Ok(())
    });
    outcome.unwrap();
}

#[test]
fn a_fee_payment_travels_unchanged() {
    let golden = include_str!("../golden/ledger.fee-payment.requested.v1/1-dormitory-and-a-part-of-the-tuition.json");
    let lines = proptest::collection::vec(("[a-z]{1,9}", 1..=AMOUNT_MAX_FEN / 50), 1..=50);
    let outcome = TestRunner::new(config(256)).run(&lines, |lines| {
        let mut json: Value = serde_json::from_str(golden).unwrap();
        json["data"]["amount"] = Balance::from_fen(lines.iter().map(|(_, fen)| fen).sum()).to_string().into();
        let numbered = lines.iter().enumerate().map(|(place, (item, fen))| {
            let amount = Balance::from_fen(*fen).to_string();
            json!({ "line": place + 1, "fee_item": format!("{item}-{place}"), "billing_year": 2025, "amount": amount })
        });
        json["data"]["lines"] = numbered.collect();
        prop_assert_eq!(travels(&json)?, None);
        Ok(())
    });
    outcome.unwrap();
}

proptest! {
    #![proptest_config(config(2_000))]

    #[test]
    fn an_amount_is_read_as_it_was_written(fen in 0..=AMOUNT_MAX_FEN) {
        let amount = Amount::from_fen(fen).unwrap();
        prop_assert_eq!(amount.to_string().parse(), Ok(amount));
        let json = serde_json::to_string(&amount).unwrap();
        prop_assert_eq!(serde_json::from_str::<Amount>(&json).unwrap(), amount);
    }

    #[test]
    fn a_balance_is_read_as_it_was_written(fen in -AMOUNT_MAX_FEN..=AMOUNT_MAX_FEN) {
        let balance = Balance::from_fen(fen);
        prop_assert_eq!(balance.to_string().parse(), Ok(balance));
        let json = serde_json::to_string(&balance).unwrap();
        prop_assert_eq!(serde_json::from_str::<Balance>(&json).unwrap(), balance);
    }

    #[test]
    fn a_sum_beyond_one_amount_is_written_in_full_but_is_no_amount(fen in AMOUNT_MAX_FEN + 1..i64::MAX) {
        let text = Balance::from_fen(fen).to_string();
        prop_assert_eq!(text.replace('.', "").parse(), Ok(fen));
        prop_assert_eq!(text.parse::<Amount>(), Err(AmountError::TooLarge));
        prop_assert_eq!(Amount::from_fen(fen), Err(AmountError::TooLarge));
    }

    /// One spelling per value: what is read is what is written.
    #[test]
    fn no_other_text_is_an_amount(text in "-?[0-9+.,e ]{0,14}") {
        if let Ok(amount) = text.parse::<Amount>() {
            prop_assert_eq!(amount.to_string(), text.as_str());
        }
        if let Ok(balance) = text.parse::<Balance>() {
            prop_assert_eq!(balance.to_string(), text.as_str());
        }
    }

    #[test]
    fn no_bytes_make_reading_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = Event::from_structured(&bytes);
        let headers: [(&str, &[u8]); 2] = [("ce_type", b"ledger.payment.captured.v1"), ("ce_id", &bytes)];
        let _ = Event::from_record(&bytes, headers, &bytes);
    }
}
