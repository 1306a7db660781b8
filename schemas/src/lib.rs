//! The language of the ledger: amounts, names, the CloudEvents envelope and every type of event.
//! It knows words, not what follows from them: what an event means is the business of the rules.

mod amount;
mod calendar;
mod event;
mod names;

pub mod events;
pub mod generated;
pub mod topics;
pub mod upcast;

pub use amount::{AMOUNT_MAX_FEN, Amount, AmountError, Balance, total};
pub use calendar::parse_date;
pub use event::{CONTENT_TYPE, Event, Position, Recorded, Refusal, RefusalCode, event_id, json_refusal};
pub use events::{About, Data};
pub use names::{Name, NameError, OrderId, Stream, StreamKind};
