//! Reads a request's body as strictly as the data of a publisher's event, with the same codes.

use schemas::{Refusal, RefusalCode, json_refusal};
use serde::Deserialize;

/// A field that nobody knows is refused, because a misspelt one would be lost in silence.
pub fn read<'a, T: Deserialize<'a>>(json: &'a [u8]) -> Result<T, Refusal> {
    // Serde would take an array for the fields in their order.
    if json.trim_ascii_start().starts_with(b"[") {
        return Err(Refusal::new(RefusalCode::InvalidData, "a request is an object, not an array"));
    }
    let refusal = |error| json_refusal(&error, json);
    let mut ignored = Vec::new();
    let mut deserializer = serde_json::Deserializer::from_slice(json);
    let mut note = |path: serde_ignored::Path<'_>| ignored.push(path.to_string());
    let read = T::deserialize(serde_ignored::Deserializer::new(&mut deserializer, &mut note)).map_err(refusal)?;
    deserializer.end().map_err(refusal)?;
    match ignored.is_empty() {
        true => Ok(read),
        false => Err(Refusal::new(RefusalCode::UnknownField, format!("there is no field {}", ignored.join(", ")))),
    }
}

#[cfg(test)]
mod tests {
    use schemas::{Amount, events::Method};

    use super::*;

    #[derive(Debug, Deserialize)]
    struct Request {
        #[serde(rename = "amount")]
        _amount: Amount,
        #[serde(default, rename = "method")]
        _method: Option<Method>,
    }

    #[test]
    fn each_mistake_has_its_code() {
        for (json, code) in [
            (r#"{"amount":"1.00"#, RefusalCode::BrokenJson),
            (r#"{"amount":"1.00"} x"#, RefusalCode::BrokenJson),
            (r#"{}"#, RefusalCode::MissingField),
            (r#"{"amount":"1.0"}"#, RefusalCode::InvalidAmount),
            (r#"{"amount":1}"#, RefusalCode::InvalidAmount),
            (r#"{"amount":"1.00","method":1}"#, RefusalCode::InvalidData),
            (r#" ["1.00"]"#, RefusalCode::InvalidData),
            (r#"{"amount":"1.00","amuont":"1.00"}"#, RefusalCode::UnknownField),
        ] {
            assert_eq!(read::<Request>(json.as_bytes()).unwrap_err().code, code, "{json}");
        }
        assert!(read::<Request>(br#"{"amount":"1.00"}"#).is_ok());
    }
}
