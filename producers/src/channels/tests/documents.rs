//! The page of each channel, played: with its settings, its examples are answered as it says and become the events that it
//! lists.

use std::{fs, path::PathBuf};

use axum::http::StatusCode;
use serde::Deserialize;
use serde_json::Value;

use super::{webhooks::notify, *};
use crate::{
    door::{DoorCode, tests::bed::Bed},
    signature::{Secret, timestamped},
};

pub(crate) fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

fn page(name: &str) -> String {
    fs::read_to_string(root().join("docs/channels").join(name).with_extension("md")).unwrap()
}

/// The fenced blocks of a page, each with its language.
pub(crate) fn blocks(page: &str) -> Vec<(&str, &str)> {
    let fenced = page.split("```").skip(1).step_by(2);
    fenced.map(|block| block.split_once('\n').unwrap()).collect()
}

#[derive(Deserialize)]
struct Settings {
    channels: ChannelsConfig,
}

/// Paths in a page are from the root, where `ledger up` is typed.
fn settings(toml: &str) -> ChannelsConfig {
    let here = format!("\"{}/producers/", root().display());
    toml::from_str::<Settings>(&toml.replace("\"producers/", &here)).unwrap().channels
}

/// What stands between `before` and the next of these quotation marks.
pub(crate) fn quoted<'t>(text: &'t str, before: &str) -> Option<&'t str> {
    let (_, rest) = text.split_once(&format!("{before}'"))?;
    rest.split('\'').next()
}

/// The body and the headers of an example; where its signature has a time, that of the door.
fn request(example: &str) -> (&str, Vec<(&'static str, String)>) {
    let content_type = quoted(example, "-H ").and_then(|header| header.strip_prefix("content-type: "));
    let content_type = content_type.unwrap_or("application/x-www-form-urlencoded").to_owned();
    let mut headers = vec![("content-type", content_type)];
    let body = quoted(example, "body=").or_else(|| quoted(example, "--data ")).unwrap();
    if let Some(secret) = quoted(example, "-hmac ") {
        let signature = timestamped::sign(body.as_bytes(), &Secret::new(secret).unwrap(), now().timestamp());
        headers.push(("x-signature", signature));
    }
    (body, headers)
}

/// Whether something is as the page shows it, where `…` stands for what is another one each time.
pub(crate) fn is_shown(shown: &Value, is: &Value) -> bool {
    match (shown, is) {
        (Value::String(text), _) if text == "…" => true,
        (Value::Array(shown), Value::Array(is)) => {
            shown.len() == is.len() && shown.iter().zip(is).all(|(shown, is)| is_shown(shown, is))
        }
        (Value::Object(shown), Value::Object(is)) => {
            shown.len() == is.len() && shown.iter().all(|(name, shown)| is_shown(shown, &is[name]))
        }
        (shown, is) => shown == is,
    }
}

/// How the ledger is started so that the examples work.
const STARTED: &str =
    "Save these settings as `ledger.toml` in the root of the sources, and start `ledger up --sandbox` there.";

async fn play(channel: &str) {
    let page = page(channel);
    assert!(page.contains(STARTED), "{channel} does not say how to start");
    let blocks = blocks(&page);
    let (_, toml) = blocks.iter().find(|(language, _)| *language == "toml").unwrap();
    let bed = Bed::with_channels(&settings(toml)).await;
    let examples: Vec<&[(&str, &str)]> = blocks.windows(3).filter(|three| three[0].0 == "sh").collect();
    assert!(!examples.is_empty(), "{channel} has no example");
    for example in examples {
        let &[(_, command), ("text", answer), ("json", events)] = example else { panic!("{channel}: {example:?}") };
        assert!(command.contains(&format!("http://127.0.0.1:8080/v1/notify/{channel} ")), "{command}");
        let (body, headers) = request(command);
        let headers: Vec<(&str, &str)> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let before = bed.events().len();
        let (status, content_type, answered) = notify(&bed, channel, &headers, body).await;
        assert_eq!(status, StatusCode::OK, "{channel}: {answered}");
        if content_type == "application/json" {
            let (shown, is) = (serde_json::from_str(answer).unwrap(), serde_json::from_str(&answered).unwrap());
            assert!(is_shown(&shown, &is), "{channel}: {answered}");
        } else {
            assert_eq!(answer.trim_end(), answered, "{channel}");
        }
        let mut appended = bed.events();
        let appended: Vec<Value> = appended.drain(before..).map(|event| in_short(&event)).collect();
        let shown: Value = serde_json::from_str(events).unwrap();
        assert!(is_shown(&shown, &appended.clone().into()), "{channel}: {appended:#?}");
    }
}

fn in_short(event: &Event) -> Value {
    let whole = event.to_structured();
    json!({ "type": whole["type"], "subject": whole["subject"], "time": whole["time"], "data": whole["data"] })
}

#[tokio::test]
async fn the_examples_of_every_page_are_what_the_code_does() {
    let channels = Channels::open(&ChannelsConfig::default(), &Policy::default()).unwrap();
    for channel in channels.names() {
        play(channel).await;
    }
}

#[test]
fn the_overview_links_every_page_and_each_page_names_codes_that_exist() {
    let overview = page("README");
    let codes: Vec<&str> = Code::all().map(Code::as_str).collect();
    let channels = Channels::open(&ChannelsConfig::default(), &Policy::default()).unwrap();
    for channel in channels.names() {
        assert!(overview.contains(&format!("[{channel}]({channel}.md)")), "{channel}");
        let page = page(channel);
        let words = page.split('`').skip(1).step_by(2).filter(|word| word.contains('_'));
        let is_code = |word: &&str| word.bytes().all(|b| b.is_ascii_uppercase() || b == b'_');
        for word in words.filter(is_code).filter(|word| !OF_CHANNELS.contains(word)) {
            assert!(codes.contains(&word), "{channel}.md names {word}");
        }
    }
    assert!(codes.contains(&Code::Door(DoorCode::BadSignature).as_str()));
}

/// Words of the channels themselves, which look like codes.
const OF_CHANNELS: &[&str] =
    &["TRADE_SUCCESS", "TRADE_FINISHED", "TRADE_CLOSED", "TRADE_REFUND", "WAIT_BUYER_PAY", "NEW_ORDER", "UPTRANSEQ_"];
