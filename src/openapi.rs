//! The OpenAPI document of everything that is served. It is put together here, because those who write the log and those
//! who read it do not know each other.

use axum::{Router, http::header, routing::get};
use serde_json::Value;

pub fn document() -> Value {
    producers::door::openapi::document(projections::api::paths)
}

/// Serves the document; it needs no token.
pub fn router() -> Router {
    let text = document().to_string();
    let answer = || async { ([(header::CONTENT_TYPE, "application/json")], text) };
    Router::new().route("/v1/openapi.json", get(answer))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn the_checked_in_document_is_the_one_that_is_served() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("schemas/openapi.json");
        let made = format!("{:#}\n", document());
        if std::env::var_os("UPDATE_GENERATED").is_some() {
            std::fs::write(&path, &made).unwrap();
        }
        let kept = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(
            kept == made,
            "{} is out of date: run `UPDATE_GENERATED=1 cargo test -p ledger --lib openapi`",
            path.display()
        );
    }

    /// Every `$ref` leads somewhere.
    #[test]
    fn no_reference_is_broken() {
        fn references(value: &Value, found: &mut Vec<String>) {
            match value {
                Value::Object(map) => {
                    found.extend(map.get("$ref").and_then(Value::as_str).map(str::to_owned));
                    map.values().for_each(|value| references(value, found));
                }
                Value::Array(values) => values.iter().for_each(|value| references(value, found)),
                _ => {}
            }
        }
        let document = document();
        let mut found = Vec::new();
        references(&document, &mut found);
        assert!(!found.is_empty());
        for reference in found {
            assert!(document.pointer(&reference[1..]).is_some(), "{reference}");
        }
    }
}
