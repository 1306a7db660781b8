//! Every "no" of the door as a problem of RFC 9457. The code is what clients branch on; `type` is the same code as a
//! URI reference, and the title never changes for a code.

use axum::{
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use rules::admission;
use schemars::JsonSchema;
use schemas::{OrderId, Refusal, RefusalCode, events::RejectionReason};
use serde::Serialize;

macro_rules! door_codes {
    ($($(#[$doc:meta])* $variant:ident = $code:literal, $status:ident, $title:literal;)+) => {
        /// What the door itself refuses, before or besides the rules of events and orders.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum DoorCode { $($(#[$doc])* $variant),+ }

        impl DoorCode {
            pub const ALL: &[Self] = &[$(Self::$variant),+];

            fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $code),+ }
            }

            fn status(self) -> StatusCode {
                match self { $(Self::$variant => StatusCode::$status),+ }
            }

            fn title(self) -> &'static str {
                match self { $(Self::$variant => $title),+ }
            }
        }
    };
}

door_codes! {
    Unauthorized = "UNAUTHORIZED", UNAUTHORIZED, "A known bearer token is required";
    NotFound = "NOT_FOUND", NOT_FOUND, "There is nothing here";
    MethodNotAllowed = "METHOD_NOT_ALLOWED", METHOD_NOT_ALLOWED, "This address takes other methods";
    UnsupportedMediaType = "UNSUPPORTED_MEDIA_TYPE", UNSUPPORTED_MEDIA_TYPE, "This content type is not taken";
    BodyUnreadable = "BODY_UNREADABLE", BAD_REQUEST, "The body did not arrive whole";
    IdempotencyKeyMissing = "IDEMPOTENCY_KEY_MISSING", BAD_REQUEST, "The header Idempotency-Key is required";
    IdempotencyKeyReused = "IDEMPOTENCY_KEY_REUSED", CONFLICT, "This key was used with another request";
    /// Of a channel's notice.
    BadSignature = "BAD_SIGNATURE", UNAUTHORIZED, "The signature is missing or wrong";
    /// Of a channel's notice: whoever overheard it may be repeating it, or a clock is wrong.
    SignedOutOfTime = "SIGNED_OUT_OF_TIME", UNAUTHORIZED, "It was signed too long ago, or in the future";
    UnknownOrder = "UNKNOWN_ORDER", UNPROCESSABLE_ENTITY, "This is no order number of this ledger";
    InvalidIdNumber = "INVALID_ID_NUMBER", UNPROCESSABLE_ENTITY, "This is not an identity number";
    /// Nothing has been appended.
    Unavailable = "UNAVAILABLE", SERVICE_UNAVAILABLE, "Out of service for now; nothing was appended";
    /// Perhaps appended.
    OutcomeUnknown = "OUTCOME_UNKNOWN", SERVICE_UNAVAILABLE, "Not acknowledged; repeat with the same content";
}

/// Why a request is refused, wherever the rule stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Code {
    Door(DoorCode),
    /// A rule of events.
    Event(RefusalCode),
    /// A rule of orders.
    Order(RejectionReason),
}

impl Code {
    pub fn all() -> impl Iterator<Item = Self> {
        let door = DoorCode::ALL.iter().copied().map(Self::Door);
        let event = RefusalCode::ALL.iter().copied().map(Self::Event);
        let order = RejectionReason::ALL.iter().copied().map(Self::Order);
        door.chain(event).chain(order)
    }

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Door(code) => code.as_str(),
            Self::Event(code) => code.as_str(),
            Self::Order(reason) => reason.as_str(),
        }
    }

    /// 409 means that the request is in order, but something else stands in its way.
    pub fn status(self) -> StatusCode {
        match self {
            Self::Door(code) => code.status(),
            Self::Event(code) => match code {
                RefusalCode::BrokenJson => StatusCode::BAD_REQUEST,
                RefusalCode::NotYours => StatusCode::FORBIDDEN,
                RefusalCode::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
                RefusalCode::ConflictingRepeat => StatusCode::CONFLICT,
                RefusalCode::InvalidEnvelope
                | RefusalCode::UnknownType
                | RefusalCode::UnknownSchemaVersion
                | RefusalCode::MissingField
                | RefusalCode::InvalidAmount
                | RefusalCode::InvalidData
                | RefusalCode::UnknownField
                | RefusalCode::WrongKey
                | RefusalCode::WrongId => StatusCode::UNPROCESSABLE_ENTITY,
            },
            Self::Order(reason) => match reason {
                RejectionReason::InFlight
                | RejectionReason::DailyLimit
                | RejectionReason::BookingLock
                | RejectionReason::BlackoutWindow
                | RejectionReason::CardSuspended
                | RejectionReason::SpendingLimit
                | RejectionReason::NoMandate
                | RejectionReason::MandateBlocked => StatusCode::CONFLICT,
                RejectionReason::NotEnrolled
                | RejectionReason::LoanNotFound
                | RejectionReason::AboveOutstanding
                | RejectionReason::CardNotFound
                | RejectionReason::NameMismatch
                | RejectionReason::IdentityNotVerified
                | RejectionReason::SchoolNotEnabled
                | RejectionReason::CodeExpired
                | RejectionReason::ItemNotPayable
                | RejectionReason::InstalmentNotAllowed => StatusCode::UNPROCESSABLE_ENTITY,
            },
        }
    }

    fn title(self) -> &'static str {
        match self {
            Self::Door(code) => code.title(),
            Self::Event(code) => match code {
                RefusalCode::BrokenJson => "The body is not JSON",
                RefusalCode::InvalidEnvelope => "A CloudEvents attribute is missing or malformed",
                RefusalCode::UnknownType => "The catalogue has no such type",
                RefusalCode::UnknownSchemaVersion => "The type is not known in this version",
                RefusalCode::MissingField => "A required field is missing",
                RefusalCode::InvalidAmount => "This is not an amount",
                RefusalCode::InvalidData => "A field has the wrong form or breaks a rule",
                RefusalCode::UnknownField => "The type does not know this field",
                RefusalCode::WrongKey => "This is not the stream that the subject belongs to",
                RefusalCode::WrongId => "This is not the id of the fact",
                RefusalCode::TooLarge => "Larger than the ledger takes",
                RefusalCode::NotYours => "This is somebody else's to report",
                RefusalCode::ConflictingRepeat => "The same fact was reported before with other content",
            },
            Self::Order(reason) => admission::explain(reason),
        }
    }
}

/// A refusal, as `application/problem+json`.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct Problem {
    /// The code as a URI reference, such as `/problems/unknown-type`.
    #[serde(rename = "type")]
    kind: String,
    title: &'static str,
    #[schemars(range(min = 400, max = 599))]
    status: u16,
    /// What is wrong with this very request.
    detail: String,
    #[schemars(extend("enum" = codes()))]
    code: &'static str,
    /// The order that was refused, which the log has.
    #[serde(skip_serializing_if = "Option::is_none")]
    order_id: Option<OrderId>,
    /// Where the refused request stands in the log.
    #[serde(skip_serializing_if = "Option::is_none")]
    position: Option<String>,
}

fn codes() -> Vec<&'static str> {
    Code::all().map(Code::as_str).collect()
}

impl Problem {
    pub fn new(code: Code, detail: impl Into<String>) -> Self {
        let slug = code.as_str().to_ascii_lowercase().replace('_', "-");
        Self {
            kind: format!("/problems/{slug}"),
            title: code.title(),
            status: code.status().as_u16(),
            detail: detail.into(),
            code: code.as_str(),
            order_id: None,
            position: None,
        }
    }

    pub fn door(code: DoorCode, detail: impl Into<String>) -> Self {
        Self::new(Code::Door(code), detail)
    }

    pub fn about_order(mut self, order: OrderId, position: Option<String>) -> Self {
        self.order_id = Some(order);
        self.position = position;
        self
    }

    pub fn code(&self) -> &'static str {
        self.code
    }

    pub fn detail(&self) -> &str {
        &self.detail
    }

    pub fn status(&self) -> StatusCode {
        StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        Self::new(Code::Event(refusal.code), refusal.detail)
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        // The detail may repeat what the client sent, so only the code is logged.
        tracing::info!(code = self.code, "refused");
        let status = self.status();
        let headers = [(header::CONTENT_TYPE, "application/problem+json")];
        let mut response = (status, headers, axum::Json(self).into_response().into_body()).into_response();
        if status == StatusCode::UNAUTHORIZED {
            response.headers_mut().insert(header::WWW_AUTHENTICATE, header::HeaderValue::from_static("Bearer"));
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_code_is_one_of_a_kind() {
        let codes: BTreeSet<&str> = codes().into_iter().collect();
        assert_eq!(codes.len(), Code::all().count());
    }

    /// Those of events and orders have tests of their own kind: a row or a record for each, and stories.
    #[test]
    fn every_code_of_the_door_is_expected_by_a_test() {
        let of_requests = [include_str!("tests/events.rs"), include_str!("tests/repayments.rs")].concat();
        let of_notices = [include_str!("../channels/tests/ums.rs"), include_str!("../channels/tests/ejt.rs")].concat();
        let tests = [&of_requests, include_str!("tests/rest.rs"), &of_notices].concat();
        for code in DoorCode::ALL {
            assert!(tests.contains(&format!("\"{}\"", code.as_str())), "no test is refused with {}", code.as_str());
        }
    }

    #[test]
    fn a_problem_names_its_code_as_a_type() {
        let problem = Problem::from(Refusal::new(RefusalCode::UnknownType, "ledger.x.v1 is not a type of this ledger"));
        let json = serde_json::to_value(&problem).unwrap();
        assert_eq!(json["type"], "/problems/unknown-type");
        assert_eq!(json["code"], "UNKNOWN_TYPE");
        assert_eq!(json["status"], 422);
        assert!(json.get("order_id").is_none());
    }
}
