//! A call that moves value: a refund, a debit, a credit, a posting. Its number names it: sent again under the same number
//! it moves once. What is not known is never taken for a "no".

use serde::{Deserialize, Serialize, de::DeserializeOwned};

/// The word of an answer, on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MovementResult {
    Success,
    /// Taken, and not yet done.
    Accepted,
    Processing,
    Refused,
    NotFound,
}

/// What the other side says about a movement, or that it says nothing.
#[derive(Clone, Debug, PartialEq)]
pub enum Movement<T> {
    Done(T),
    /// Taken, and not yet done.
    UnderWay,
    /// Definitely not done.
    Refused {
        code: String,
        message: String,
        retryable: bool,
    },
    /// Only a question is answered so: there is no such movement.
    NotKnown,
    /// Perhaps done, perhaps not.
    Unknown {
        why: String,
        code: String,
    },
}

/// An answer on the wire, to an order and to a question about it.
pub trait Reply: DeserializeOwned {
    type Done;

    fn result(&self) -> MovementResult;

    /// Code, message, and whether the same may succeed later.
    fn refusal(&self) -> (&str, &str, bool);

    fn done(self) -> Self::Done;
}

pub(super) fn of_an_order<R: Reply>(reply: R) -> Movement<R::Done> {
    match reply.result() {
        MovementResult::NotFound => Movement::Unknown {
            why: "an order was answered with \"not found\"".to_owned(),
            code: "NOT_FOUND".to_owned(),
        },
        _ => of_a_question(reply),
    }
}

pub(super) fn of_a_question<R: Reply>(reply: R) -> Movement<R::Done> {
    match reply.result() {
        MovementResult::Success => Movement::Done(reply.done()),
        MovementResult::Accepted | MovementResult::Processing => Movement::UnderWay,
        MovementResult::NotFound => Movement::NotKnown,
        MovementResult::Refused => {
            let (code, message, retryable) = reply.refusal();
            Movement::Refused { code: code.to_owned(), message: message.to_owned(), retryable }
        }
    }
}
