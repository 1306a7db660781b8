//! Reconciliation (对账): a channel's statements against what the log says of that channel. First the lines of a file are
//! taken into the log as they are. Then all that the log has says what should be open now: whatever is not open yet is
//! raised, and whatever else is open ends. So it does not matter in which order files and notices come, how often, or
//! where a run was cut off; the same file again finds nothing to say, and one that the channel issues again changes only
//! what it corrects.

use chrono::NaiveDate;
use schemas::{
    Amount, AmountError, Balance, Data, Name,
    events::{ChannelStatementReceived, ReconciliationBreakRaised, StatementLineReceived, StatementSide},
};
use uuid::Uuid;

mod books;
mod comparison;
mod decision;

pub use books::{Books, channel_of};
pub use comparison::Comparison;
pub use decision::{BreakDecision, BreakRefusal, Ending, order_in_question, resolve};

/// Chosen once: every id of a statement or break is derived under it.
const NAMESPACE: Uuid = Uuid::from_u128(0x0b51_4c5e_7a3d_4f0e_9d6b_52d1_c0a8_77e4);

/// Which way the money went, and the number that names it to the channel.
type Key = (StatementSide, String);

/// The number that a break is about, if it is about one.
fn key_of(raised: &ReconciliationBreakRaised) -> Option<Key> {
    Some((raised.side?, raised.number.clone()?))
}

/// One line of a statement.
#[derive(Clone, Debug, PartialEq)]
pub struct Line {
    /// Of the file, from 1, its heading included.
    pub line_no: u32,
    pub side: StatementSide,
    /// The channel's number of the payment, or the number of the refund.
    pub number: String,
    pub amount: Amount,
    /// Negative where the channel gives a fee back.
    pub fee: Option<Balance>,
    pub order_no: Option<String>,
}

/// What a channel's file of a day says.
#[derive(Clone, Debug, PartialEq)]
pub struct Statement {
    pub date: NaiveDate,
    pub file_name: String,
    /// Of the whole file, in hexadecimal.
    pub sha256: String,
    pub lines: Vec<Line>,
    /// How many lines the file itself says it has.
    pub declared_lines: Option<u32>,
    /// Payments less refunds, as the file itself says.
    pub declared_net: Option<Balance>,
}

impl Statement {
    /// The same file read in another way says something else, so that is another statement.
    fn id(&self, channel: &Name) -> Uuid {
        let Self { date, file_name: _, sha256, lines, declared_lines, declared_net } = self;
        let mut text = format!("statement/{channel}/{date}/{sha256}/{declared_lines:?}/{declared_net:?}");
        for Line { line_no, side, number, amount, fee, order_no } in lines {
            text += &format!("\n{line_no}/{side}/{amount}/{fee:?}/{number:?}/{order_no:?}");
        }
        Uuid::new_v5(&NAMESPACE, text.as_bytes())
    }

    fn sum(&self, side: StatementSide) -> Result<Amount, AmountError> {
        let sum: Amount = self.lines.iter().filter(|line| line.side == side).map(|line| line.amount).sum();
        Amount::from_fen(sum.fen())
    }
}

/// The events that take a statement into the log, in the order in which they are to be appended: its lines, and then that
/// it was received; none if it counts already.
///
/// # Errors
/// The lines add up to more than one event can say, 9,999,999,999.99 yuan.
pub fn receive(books: &Books, channel: &Name, statement: &Statement) -> Result<Vec<Data>, AmountError> {
    let (last, statement_id) = (books.statement_of(statement.date), statement.id(channel));
    if last.is_some_and(|last| last.statement_id == statement_id) {
        return Ok(Vec::new());
    }
    let received = ChannelStatementReceived {
        channel: channel.clone(),
        statement_date: statement.date,
        revision: last.map_or(0, |last| last.revision) + 1,
        statement_id,
        file_name: statement.file_name.clone(),
        sha256: statement.sha256.clone(),
        lines: u32::try_from(statement.lines.len()).unwrap_or(u32::MAX),
        payments: statement.sum(StatementSide::Payment)?,
        refunds: statement.sum(StatementSide::Refund)?,
        declared_lines: statement.declared_lines,
        declared_net: statement.declared_net,
    };
    let new = statement.lines.iter().filter(|line| !books.has_line(statement_id, line.line_no));
    let lines = new.map(|line| {
        Data::from(StatementLineReceived {
            channel: channel.clone(),
            statement_date: statement.date,
            statement_id,
            line_no: line.line_no,
            side: line.side,
            number: line.number.clone(),
            amount: line.amount,
            fee: line.fee,
            order_no: line.order_no.clone(),
        })
    });
    Ok(lines.chain([Data::from(received)]).collect())
}

#[cfg(test)]
mod tests;
