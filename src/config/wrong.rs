//! A setting that cannot be read, in the words of whoever wrote it: which one, what was given, what it takes.

use anyhow::anyhow;
use figment::{
    Error, Figment, Source,
    error::{Actual, Kind},
};

/// Settings of these names are not repeated: they are secret, or hold what is.
const SECRET: &[&str] = &["secret", "key", "private_key", "token", "tokens", "clients", "log", "postgres_url"];

pub fn settings(read: &Figment, error: Error) -> anyhow::Error {
    anyhow!(error.into_iter().map(|error| setting(read, &error)).collect::<Vec<_>>().join("; "))
}

/// As the environment and as TOML spell it.
pub fn name(path: &[&str]) -> String {
    let toml = path.join(".");
    // No shell takes a variable with a hyphen.
    if toml.contains('-') {
        return toml;
    }
    format!("LEDGER_{} (in TOML: {toml})", path.join("__").to_uppercase())
}

fn setting(read: &Figment, error: &Error) -> String {
    let file = match error.metadata.as_ref().and_then(|metadata| metadata.source.as_ref()) {
        Some(Source::File(path)) => format!(" in {}", path.display()),
        _ => String::new(),
    };
    let path: Vec<&str> = error.path.iter().map(String::as_str).collect();
    // What stands in a list is set with the list.
    let entry = path.iter().enumerate().find_map(|(at, step)| Some((at, step.parse::<usize>().ok()?)));
    let name = match entry {
        _ if path.is_empty() => return format!("the configuration{file} cannot be read: {}", error.kind),
        None => name(&path) + &file,
        Some((at, index)) => {
            let fields: String = path[at + 1..].iter().map(|field| format!(", {field}")).collect();
            format!("{}{file}, entry {}{fields}", name(&path[..at]), index + 1)
        }
    };
    let is_secret = path.iter().any(|step| SECRET.contains(step));
    let told = |given: &Actual, takes: &str| match typed(given).filter(|_| !is_secret && !is_group(takes)) {
        Some(text) => format!("{name} is {text}, but it takes {}", plain(takes, &text)),
        None => format!("{name} takes {}", plain(takes, "")),
    };
    match &error.kind {
        Kind::InvalidType(given, takes) | Kind::InvalidValue(given, takes) => told(given, takes),
        // All that the standard library says of a wrong address.
        Kind::Message(text) if text.contains("socket address") => match read.find_value(&path.join(".")) {
            Ok(value) => told(&value.to_actual(), "socket address"),
            Err(_) => told(&Actual::Unit, "socket address"),
        },
        Kind::UnknownVariant(given, known) => format!("{name} is {given:?}, but it takes one of: {}", known.join(", ")),
        Kind::UnknownField(_, known) => format!("there is no setting {name}; there are: {}", known.join(", ")),
        Kind::MissingField(field) => format!("{name} lacks its {field}"),
        other => format!("{name}: {other}"),
    }
}

fn is_group(takes: &str) -> bool {
    takes.starts_with("struct ") || takes == "a map"
}

/// A value as somebody types it; none for a list or group.
fn typed(given: &Actual) -> Option<String> {
    Some(match given {
        Actual::Bool(value) => value.to_string(),
        Actual::Unsigned(value) => value.to_string(),
        Actual::Signed(value) => value.to_string(),
        Actual::Float(value) => value.to_string(),
        Actual::Char(value) => format!("{value:?}"),
        Actual::Str(value) => format!("{value:?}"),
        _ => return None,
    })
}

/// What serde expects, for people.
fn plain(takes: &str, given: &str) -> String {
    let up_to = |max: u64| format!("a whole number from 0 to {max}");
    match takes {
        "usize" | "u64" => "a whole number that is not negative".to_owned(),
        "u32" => up_to(u32::MAX.into()),
        "u16" => up_to(u16::MAX.into()),
        "i32" => format!("a whole number up to {}", i32::MAX),
        "socket address" => "an address such as 127.0.0.1:8080".to_owned(),
        "path string" => "the path of a file or folder".to_owned(),
        "a boolean" => "true or false".to_owned(),
        "a string" => r#"text; in the environment a number as text has quotes of its own: '"0319"'"#.to_owned(),
        "a sequence" if given.is_empty() || given.contains(['[', '{']) => "a list in brackets, as [a, b]".to_owned(),
        "a sequence" => {
            let is_text = given.trim_matches('"').split(',').any(|item| item.trim().parse::<i64>().is_err());
            let quote = if is_text && given.starts_with('"') { "\"" } else { "" };
            let list = |quote| {
                let items = given.trim_matches('"').split(',').map(|item| format!("{quote}{}{quote}", item.trim()));
                format!("[{}]", items.collect::<Vec<_>>().join(", "))
            };
            format!("a list: {} in the environment, {} in TOML", list(""), list(quote))
        }
        group if is_group(group) => "no value of its own, only settings below it".to_owned(),
        other => other.to_owned(),
    }
}
