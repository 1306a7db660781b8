//! The page of what the ledger calls, played: the code makes each of its calls, the sandbox answers them as the page shows,
//! and whatever it shows of an answer is understood.

use std::{
    collections::BTreeSet,
    fs,
    sync::{Mutex, PoisonError},
};

use axum::{
    body::to_bytes,
    extract::{Request, State},
};
use engine::clock::Clock;
use schemas::{
    Amount,
    events::{CreditMode, Method},
};
use serde_json::{Deserializer, Value};

use super::*;
use crate::{
    channels::tests::documents::{blocks, is_shown, quoted, root},
    sandbox::{Sandbox, SandboxConfig},
};

const SANDBOX: &str = "http://127.0.0.1:8081";

fn page() -> String {
    fs::read_to_string(root().join("docs/calls.md")).unwrap()
}

fn section<'p>(page: &'p str, heading: &str) -> &'p str {
    let sections = page.split("\n## ");
    sections.into_iter().find(|section| section.starts_with(&format!("{heading}\n"))).unwrap()
}

/// A request, as a command of the page says it or as somebody receives it.
#[derive(Clone, Debug, PartialEq)]
struct Asked {
    method: String,
    path: String,
    key: Option<String>,
    body: Value,
}

fn commands(shell: &str) -> Vec<Asked> {
    let whole = shell.replace("\\\n", "");
    let command = |text: &str| {
        let (_, address) = text.split_once(SANDBOX).unwrap();
        let (_, key) = text.split_once("idempotency-key: ").unzip();
        let body = quoted(text, "-d ").map(|body| serde_json::from_str(body).unwrap());
        let method = if text.contains("-X PUT") {
            "PUT"
        } else if body.is_some() {
            "POST"
        } else {
            "GET"
        };
        Asked {
            method: method.to_owned(),
            path: address.split_whitespace().next().unwrap().to_owned(),
            key: key.and_then(|key| key.split('\'').next()).map(str::to_owned),
            body: body.unwrap_or_default(),
        }
    };
    whole.split("curl -sS ").skip(1).map(command).collect()
}

fn answers(json: &str) -> Vec<Value> {
    Deserializer::from_str(json).into_iter().collect::<Result<_, _>>().unwrap()
}

/// The address of somebody who writes down what he is asked, and answers nothing that counts.
async fn listener() -> (String, Arc<Mutex<Vec<Asked>>>) {
    let heard: Arc<Mutex<Vec<Asked>>> = Arc::default();
    let hear = |State(heard): State<Arc<Mutex<Vec<Asked>>>>, request: Request| async move {
        let (parts, body) = request.into_parts();
        let header = |name: &str| parts.headers.get(name).map(|value| value.to_str().unwrap().to_owned());
        assert_eq!(header("authorization"), None, "the page says that there is none");
        let body = to_bytes(body, usize::MAX).await.unwrap();
        let asked = Asked {
            method: parts.method.to_string(),
            path: parts.uri.to_string(),
            key: header("idempotency-key"),
            body: serde_json::from_slice(&body).unwrap_or_default(),
        };
        heard.lock().unwrap_or_else(PoisonError::into_inner).push(asked);
        "{}"
    };
    let tcp = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", tcp.local_addr().unwrap());
    let app = Router::new().fallback(hear).with_state(Arc::clone(&heard));
    tokio::spawn(async move { axum::serve(tcp, app).await });
    (url, heard)
}

/// Makes a call of the page with the ledger's own code; `noun` is what the call is about.
async fn make(calls: &Calls, asked: &Asked, noun: &str) {
    fn read<T: DeserializeOwned>(asked: &Asked) -> T {
        serde_json::from_value(asked.body.clone()).unwrap()
    }
    let steps: Vec<&str> = asked.path.split('/').collect();
    let party = |text: &str| text.parse::<Name>().unwrap();
    match (asked.method.as_str(), noun, steps[steps.len() - 1]) {
        ("POST", "repayment-results", _) => drop(calls.repayment_result(&party("cdb"), &read(asked)).await),
        ("POST", "refunds", _) => drop(calls.refund(&read(asked)).await),
        ("GET", "refunds", number) => {
            drop(calls.refund_result(&RefundOrder { refund_request_no: number.to_owned(), ..sent() }).await);
        }
        ("GET", "payments", number) => drop(calls.payment(&party("ums-pos"), &number.parse().unwrap()).await),
        ("POST", "debits", _) => drop(calls.debit(&party("ums-pos"), &read(asked)).await),
        ("GET", "debits", number) => {
            let order = DebitOrder {
                debit_no: number.parse().unwrap(),
                agreement_no: String::new(),
                school: party("school-1"),
                merchant: String::new(),
                amount: "1.00".parse().unwrap(),
            };
            drop(calls.debit_result(&party("ums-pos"), &order).await);
        }
        ("POST", "credits", _) => drop(calls.credit(&party(steps[2]), &read(asked)).await),
        ("GET", "credits", number) => drop(calls.credit_result(&party(steps[2]), number).await),
        ("POST", "postings", _) => drop(calls.post_fees(&party(steps[2]), &read(asked)).await),
        ("GET", "postings", number) => drop(calls.posting_result(&party(steps[2]), number).await),
        other => panic!("the code makes no such call: {other:?}"),
    }
}

#[tokio::test]
async fn the_code_makes_every_call_of_the_page() {
    let (url, heard) = listener().await;
    let school_url = format!("{url}/schools/{NAME}");
    let config = CallsConfig::new(format!("{url}/bank"), format!("{url}/acquirer"));
    let calls = Calls::new(CallsConfig { card_host_url: school_url.clone(), school_url, ..config }).unwrap();
    let page = page();
    let shells = blocks(&page).into_iter().filter(|(language, _)| *language == "sh");
    let mut kinds = BTreeSet::new();
    for asked in shells.flat_map(|(_, shell)| commands(shell)).filter(|asked| !asked.path.starts_with("/sandbox/")) {
        let nouns = ["repayment-results", "refunds", "payments", "debits", "credits", "postings"];
        let noun = nouns.into_iter().find(|noun| asked.path.split('/').any(|step| step == *noun)).unwrap();
        make(&calls, &asked, noun).await;
        let heard = heard.lock().unwrap_or_else(PoisonError::into_inner).pop();
        assert_eq!(heard.as_ref(), Some(&asked));
        assert!(page.contains(&format!("`{} …/{noun}", asked.method)), "the first table lacks {asked:?}");
        kinds.insert((asked.method, noun));
    }
    assert_eq!(kinds.len(), 10, "{kinds:?}");
}

#[tokio::test]
async fn the_sandbox_answers_as_the_page_shows() {
    let addr = "127.0.0.1:0".parse().unwrap();
    let sandbox = Sandbox::start(addr, SandboxConfig::default(), Clock::System).await.unwrap();
    let http = http::client(Trust::nobody()).unwrap().build().unwrap();
    let page = page();
    let examples: Vec<_> = blocks(&page).windows(2).filter(|two| two[0].0 == "sh").map(<[_]>::to_vec).collect();
    assert_eq!(examples.len(), 6);
    for example in examples {
        let [(_, shell), ("json", shown)] = example[..] else { panic!("{example:?}") };
        let mut told = Vec::new();
        for asked in commands(shell) {
            let mut request = http.request(asked.method.parse().unwrap(), format!("{}{}", sandbox.url, asked.path));
            if !asked.body.is_null() {
                request = request.json(&asked.body);
            }
            let answer = request.send().await.unwrap();
            assert!(answer.status().is_success(), "{asked:?}: {}", answer.status());
            told.extend(answers(&answer.text().await.unwrap()));
        }
        let shown = answers(shown);
        assert!(is_shown(&shown.clone().into(), &told.clone().into()), "{shown:#?}\n{told:#?}");
    }
}

/// Every name in it.
fn names(value: &Value, into: &mut BTreeSet<String>) {
    match value {
        Value::Object(fields) => fields.iter().for_each(|(name, value)| {
            into.insert(name.clone());
            names(value, into);
        }),
        Value::Array(items) => items.iter().for_each(|item| names(item, into)),
        _ => {}
    }
}

/// Whether all that is shown stands in it.
fn holds(is: &Value, shown: &Value) -> bool {
    match (is, shown) {
        (Value::Object(is), Value::Object(shown)) => {
            shown.iter().all(|(name, shown)| is.get(name).is_some_and(|is| holds(is, shown)))
        }
        (Value::Array(is), Value::Array(shown)) => {
            is.len() == shown.len() && is.iter().zip(shown).all(|(is, shown)| holds(is, shown))
        }
        (is, shown) => is == shown,
    }
}

/// What is shown of an answer is read, all of it; and `whole`, which has every field, has none that the page does not name.
fn is_told<R: DeserializeOwned + Serialize>(page: &str, headings: &[&str], whole: &R) {
    let mut fields = BTreeSet::new();
    names(&json!(whole), &mut fields);
    let text: String = headings.iter().map(|heading| section(page, heading)).collect();
    for field in fields {
        assert!([format!("`{field}`"), format!("\"{field}\"")].iter().any(|name| text.contains(name)), "{field}");
    }
    let shown = blocks(section(page, headings[0])).into_iter().filter(|(language, _)| *language == "json");
    for answer in shown.flat_map(|(_, json)| answers(&json.replace('…', "2025-03-10"))) {
        let read: R = serde_json::from_value(answer.clone()).unwrap_or_else(|error| panic!("{error}: {answer}"));
        assert!(holds(&json!(read), &answer), "not read: {answer}");
    }
}

#[test]
fn every_answer_of_the_page_is_understood_and_every_field_is_named() {
    let (page, amount, day) = (page(), "1.00".parse::<Amount>().unwrap(), "2025-03-10".parse().ok());
    let (code, message) = (String::new(), String::new());
    let bank = BankReply {
        result: BankResult::Booked,
        code: code.clone(),
        message: message.clone(),
        amount: Some(amount),
        bank_ref: Some(code.clone()),
        booked_date: day,
        principal: Some(amount),
        interest: Some(amount),
    };
    is_told(&page, &["Bank"], &bank);
    let (result, refund_no, retryable) = (MovementResult::Success, Some(code.clone()), true);
    let (business_date, channel_txn_no) = (day, Some(code.clone()));
    let refund =
        RefundReply { result, refund_no, business_date, code: code.clone(), message: message.clone(), retryable };
    is_told(&page, &["Refunds"], &refund);
    let debit = DebitReply { result, channel_txn_no, business_date, code: code.clone(), message: message.clone() };
    is_told(&page, &["Debits"], &debit);
    let (mode, host_ref, balance_after) = (Some(CreditMode::Online), Some(code.clone()), Some(amount));
    let credit =
        CreditReply { result, mode, host_ref, balance_after, code: code.clone(), message: message.clone(), retryable };
    is_told(&page, &["Credits"], &credit);
    let line = PostedLine { line: 1, remaining: Some(amount), school_ref: Some(code.clone()) };
    let posting = PostingReply { result, posted: vec![line], code: code.clone(), message, retryable };
    is_told(&page, &["Postings"], &posting);
    let capture = FoundCapture {
        channel: party(),
        channel_txn_no: code,
        method: Method::Card,
        amount,
        business_date,
        captured_at: "2025-03-10T09:30:00+08:00".parse().unwrap(),
        fee: Some(amount),
    };
    is_told(&page, &["Payments"], &PaymentReply { result: PaymentResult::Captured, captures: vec![capture] });
}

/// Such as `10 s, 30 s, 2 min and 10 min`.
fn spoken(schedule: &[u32]) -> String {
    let words = schedule.iter().map(|seconds| match seconds {
        whole if whole % 3600 == 0 => format!("{} h", whole / 3600),
        whole if whole % 60 == 0 => format!("{} min", whole / 60),
        _ => format!("{seconds} s"),
    });
    let words: Vec<String> = words.collect();
    let (last, others) = words.split_last().unwrap();
    format!("{} and {last}", others.join(", "))
}

#[test]
fn the_times_of_the_page_are_those_of_the_code() {
    let (page, policy, config) = (page(), rules::policy::Policy::default(), CallsConfig::default());
    let page = page.replace("\n", " ");
    let told = |heading: &str, words: &str| {
        let (_, rest) = page.split_once(&format!(" ## {heading} ")).unwrap();
        assert!(rest.split(" ## ").next().unwrap().contains(words), "{heading}: {words}");
    };
    told("Bank", &spoken(&policy.confirmation_retry_s));
    told("Payments", &spoken(&policy.payment_query_s[1..]));
    told("Payments", &spoken(&policy.back_end_query_s));
    for schedule in [&policy.refund_retry_s, &policy.fulfilment_retry_s, &policy.withholding_retry_s] {
        told("Calls that move value", &spoken(schedule));
    }
    told("Calls that move value", &format!("{} s later", policy.refund_settling_s));
    told("What holds for all", &format!("({} s, connecting", config.timeout().as_secs()));
    told("What holds for all", &format!("more than {} KiB", ANSWER_BYTES_MAX >> 10));
}
