//! Refunds of a channel that takes them in a file only (退款文本). Such a refund waits as a task without a time; a person
//! takes all that wait into one file. Whoever takes a task first has it: a refund that the coordinator still cancels is in
//! no file, and one that is in a file cannot be cancelled.

use std::{io, time::Duration};

use data_encoding::HEXLOWER;
use deadpool_postgres::Pool;
use engine::{log::AppendError, postgres::QueryError, task};
use rules::{business_day::shanghai, coordinator::Call, refund::Refund};
use schemas::{
    Amount, AmountError, Event, Name, OrderId,
    events::{RefundFileExported, RefundSubmitted},
};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::{executor::TaskPayload, publisher::Publisher};

const SOURCE: &str = "/ledger/refund-file";
const PATIENCE: Duration = Duration::from_secs(30);

/// A refund that waits for the file.
#[derive(Clone, Debug, PartialEq)]
pub struct Waiting {
    key: String,
    payload: TaskPayload,
    pub order_id: OrderId,
    pub refund_id: Uuid,
    pub amount: Amount,
    /// The channel's number of the payment that goes back.
    pub channel_txn_no: String,
    tries: u8,
}

/// A file that was written.
#[derive(Clone, Debug, PartialEq)]
pub struct Exported {
    pub refunds: Vec<Waiting>,
    pub text: String,
    pub sha256: String,
    pub total: Amount,
}

#[derive(Debug, thiserror::Error)]
pub enum RefundFileError {
    #[error(transparent)]
    Postgres(#[from] QueryError),
    #[error("the log did not acknowledge; export again, nothing has been released")]
    Log(#[from] AppendError),
    #[error("the file cannot be written; export again, nothing has been released")]
    Write(#[source] io::Error),
    #[error("the refunds of one file are more than an amount can say")]
    Total(#[from] AmountError),
    #[error("another export took the same refunds: release that file, and export again for what is left")]
    TakenTwice,
}

/// The refunds of `channel` that wait, in the order of their keys.
pub async fn waiting(pool: &Pool, channel: &Name) -> Result<Vec<Waiting>, QueryError> {
    let read = |(key, payload): (String, String)| {
        let payload: TaskPayload = serde_json::from_str(&payload)
            .inspect_err(|error| tracing::error!(key, %error, "a task cannot be read"))
            .ok()?;
        let Call::Refund { refund_id, tries, amount, channel: of, channel_txn_no } = payload.call.clone() else {
            return None;
        };
        let order_id = payload.order_id.clone();
        (of == *channel).then_some(Waiting { key, payload, order_id, refund_id, amount, channel_txn_no, tries })
    };
    Ok(task::held(pool).await?.into_iter().filter_map(read).collect())
}

/// Takes every refund of `channel` that waits, lets `write` put the file's text where it lasts, tells the log that it goes
/// out under `file_name`, and answers the file. Nothing of it may be released before this has answered; a crash before
/// leaves all of them waiting.
pub async fn export(
    pool: &Pool,
    publisher: &Publisher,
    channel: &Name,
    file_name: &str,
    write: impl FnOnce(&str) -> io::Result<()>,
) -> Result<Exported, RefundFileError> {
    let mut refunds = waiting(pool, channel).await?;
    let keys: Vec<String> = refunds.iter().map(|refund| refund.key.clone()).collect();
    let taken = task::take(pool, &keys).await?;
    refunds.retain(|refund| taken.contains(&refund.key));
    let text: String = refunds.iter().map(line).collect();
    let sha256 = HEXLOWER.encode(&Sha256::digest(text.as_bytes()));
    let total = Amount::from_fen(refunds.iter().map(|refund| refund.amount.fen()).sum())?;
    if refunds.is_empty() {
        return Ok(Exported { refunds, text, sha256, total });
    }
    write(&text).map_err(RefundFileError::Write)?;
    let now = shanghai(&publisher.clock().now());
    let mut events: Vec<Event> = refunds.iter().map(|refund| submitted(refund, now)).collect();
    let exported = RefundFileExported {
        channel: channel.clone(),
        file_name: file_name.to_owned(),
        sha256: sha256.clone(),
        lines: u32::try_from(refunds.len()).unwrap_or(u32::MAX),
        total,
    };
    events.push(Event::about_channel(SOURCE, channel, now, exported));
    publisher.append_all(&events, PATIENCE).await?;
    if !task::gone_out(pool, &taken).await? {
        return Err(RefundFileError::TakenTwice);
    }
    Ok(Exported { refunds, text, sha256, total })
}

/// `refund number|order number|the channel's transaction|amount in fen`, as BestPay's own files part their fields.
fn line(refund: &Waiting) -> String {
    let number = Refund::request_no(refund.refund_id);
    format!("{number}|{}|{}|{}\n", refund.order_id, refund.channel_txn_no, refund.amount.fen())
}

fn submitted(refund: &Waiting, now: chrono::DateTime<chrono::FixedOffset>) -> Event {
    let data = RefundSubmitted {
        refund_id: refund.refund_id,
        refund_request_no: Refund::request_no(refund.refund_id),
        tries: refund.tries,
    };
    Event {
        correlation_id: refund.payload.correlation_id,
        causation_id: refund.payload.causation_id,
        ..Event::about_order(SOURCE, &refund.order_id, now, data)
    }
}
