//! Opens a log by its URL: `kafka://host:9092[,host2:9092][?key=value&…]`, where the query holds further settings of
//! librdkafka, or `postgres`.

use std::{collections::BTreeMap, sync::Arc};

use super::{Log, LogError, kafka::KafkaLog, postgres::PostgresLog};

/// Connects to the log that `url` names; `postgres_url` is where `postgres` leads.
pub fn open(url: &str, postgres_url: &str) -> Result<Arc<dyn Log>, LogError> {
    if url == "postgres" {
        return Ok(Arc::new(PostgresLog::connect(postgres_url)?));
    }
    let (bootstrap, settings) = kafka_address(url)?;
    Ok(Arc::new(KafkaLog::connect(&bootstrap, &settings)?))
}

/// Whether [`open`] could read this URL; nobody is asked.
///
/// # Errors
/// What is wrong with it.
pub fn check(url: &str) -> Result<(), LogError> {
    if url == "postgres" { Ok(()) } else { kafka_address(url).map(drop) }
}

/// The brokers and settings of a `kafka://` URL. Nothing of the URL is repeated in an error: it may hold a password.
fn kafka_address(url: &str) -> Result<(String, BTreeMap<String, String>), LogError> {
    let wrong =
        |what: &str| LogError::Misconfigured(format!("the log's URL {what}; write postgres, or kafka://host:9092"));
    let rest = url.strip_prefix("kafka://").ok_or_else(|| wrong("is of no log that there is"))?;
    let (brokers, query) = rest.split_once('?').unwrap_or((rest, ""));
    let brokers = brokers.trim_end_matches('/');
    if brokers.split(',').any(str::is_empty) {
        return Err(wrong("names no broker"));
    }
    let settings = query
        .split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| {
            let (key, value) = pair.split_once('=').ok_or_else(|| wrong("has a setting without a value"))?;
            let decoded = percent_decoded(value).ok_or_else(|| wrong("has a broken %-escape"))?;
            Ok((key.to_owned(), decoded))
        })
        .collect::<Result<_, LogError>>()?;
    Ok((brokers.to_owned(), settings))
}

/// `%3D` and the like as characters; a plus sign stays one, because passwords have them.
pub(crate) fn percent_decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut parts = text.split('%');
    bytes.extend_from_slice(parts.next()?.as_bytes());
    for part in parts {
        let (hex, rest) = part.split_at_checked(2)?;
        bytes.push(u8::from_str_radix(hex, 16).ok()?);
        bytes.extend_from_slice(rest.as_bytes());
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn brokers_and_settings_are_read_from_the_url() {
        let (brokers, settings) =
            kafka_address("kafka://a:9092,b:9093/?sasl.username=me&sasl.password=a%26b%3D+c").unwrap();
        assert_eq!(brokers, "a:9092,b:9093");
        assert_eq!(settings["sasl.username"], "me");
        assert_eq!(settings["sasl.password"], "a&b=+c");
        assert_eq!(kafka_address("kafka://a:9092").unwrap(), ("a:9092".to_owned(), BTreeMap::new()));
    }

    #[test]
    fn a_wrong_url_is_refused_without_repeating_it() {
        for url in [
            "",
            "kafka://",
            "kafka://?a=b",
            "kafka://a,,b",
            "http://secret",
            "kafka://a?secret",
            "kafka://a?k=%zz",
            "kafka://a?k=%secret",
        ] {
            let error = kafka_address(url).unwrap_err();
            assert!(matches!(&error, LogError::Misconfigured(text) if !text.contains("secret")), "{url}: {error}");
        }
    }
}
