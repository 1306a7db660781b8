//! One span and one line per request. Neither holds a body, a query or a token.

use std::time::Instant;

use axum::{
    extract::Request,
    http::{HeaderMap, HeaderValue},
    middleware::Next,
    response::Response,
};
use tracing::{Instrument, field};
use uuid::Uuid;

const REQUEST_ID: &str = "x-request-id";

pub async fn each_request(request: Request, next: Next) -> Response {
    let id = request_id(request.headers());
    let span = tracing::info_span!(
        "request",
        request_id = id,
        method = %request.method(),
        path = request.uri().path(),
        client = field::Empty,
    );
    let started = Instant::now();
    async move {
        let mut response = next.run(request).await;
        let (status, elapsed_ms) = (response.status().as_u16(), started.elapsed().as_millis());
        tracing::info!(status, elapsed_ms, "answered");
        if let Ok(value) = HeaderValue::from_str(&id) {
            response.headers_mut().insert(REQUEST_ID, value);
        }
        response
    }
    .instrument(span)
    .await
}

/// The caller's own id of the request, where it has a harmless form; else a new one.
fn request_id(headers: &HeaderMap) -> String {
    let harmless = |id: &&str| {
        (1..=64).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.:".contains(&b))
    };
    let given = headers.get(REQUEST_ID).and_then(|value| value.to_str().ok()).filter(harmless);
    given.map_or_else(|| Uuid::new_v4().to_string(), str::to_owned)
}

/// The W3C trace context of the request, which its events carry on.
pub fn traceparent(headers: &HeaderMap) -> Option<String> {
    let text = headers.get("traceparent")?.to_str().ok()?;
    is_traceparent(text).then(|| text.to_owned())
}

/// Version 00: 2, 32, 16 and 2 hexadecimal digits. Anything else is dropped, as the standard says.
fn is_traceparent(text: &str) -> bool {
    let hex = |part: &str| part.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    let parts: Vec<&str> = text.split('-').collect();
    parts.iter().map(|part| part.len()).eq([2, 32, 16, 2]) && parts[0] == "00" && parts.iter().all(|part| hex(part))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_well_formed_traceparent_is_carried_on() {
        assert!(is_traceparent("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"));
        for text in ["", "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01", "00-1-2-01", "11010519491231002X"] {
            assert!(!is_traceparent(text), "{text}");
        }
    }

    #[test]
    fn a_request_id_with_odd_characters_is_replaced() {
        let with = |id: &'static str| {
            request_id(&HeaderMap::from_iter([(REQUEST_ID.parse().unwrap(), HeaderValue::from_static(id))]))
        };
        assert_eq!(with("pos-7.1"), "pos-7.1");
        assert_ne!(with("a b"), "a b");
    }
}
