//! Statements of channels (对账文件): comma-separated text, whose character set and columns are settings of the channel. A
//! file is taken as a whole or not at all: of one with a line that cannot be read, nobody knows what it says.

use std::{fmt, iter};

use chrono::NaiveDate;
use csv::ByteRecord;
use data_encoding::HEXLOWER;
use rules::reconciliation::{Line, Statement};
use schemas::{Amount, Balance, events::StatementSide};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::signature::Charset;

const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// As many as the log takes.
const NUMBER_CHARS_MAX: usize = 128;

/// So many lines are named when a file is refused.
const LINES_NAMED_MAX: usize = 20;

/// How the statements of a channel are written. Columns are named as in the file's heading; an empty name means that the
/// file has no such column.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct StatementFormat {
    pub charset: Charset,
    /// The column of the channel's number of a payment, or of the number of a refund.
    pub number: String,
    /// In yuan with two decimals.
    pub amount: String,
    /// In yuan with two decimals; may be empty in a line.
    pub fee: String,
    /// Of the order's number; may be empty in a line.
    pub order: String,
    /// What stands before the order's number, such as the digits that a channel gives each of its merchants.
    pub order_prefix: String,
    /// Of the word that tells payments from refunds. Without this column, a negative amount is a refund.
    pub kind: String,
    /// The words of payments.
    pub payments: Vec<String>,
    /// The words of refunds, whose amounts may be negative or not.
    pub refunds: Vec<String>,
    /// What stands in the column of numbers where the file says what it adds up to, such as 合计; the column of amounts then
    /// has payments less refunds. Empty: the file does not say it.
    pub totals: String,
    /// The column in which it then says how many lines it has.
    pub count: String,
}

impl Default for StatementFormat {
    fn default() -> Self {
        Self {
            charset: Charset::Utf8,
            number: "number".to_owned(),
            amount: "amount".to_owned(),
            fee: "fee".to_owned(),
            order: "order".to_owned(),
            order_prefix: String::new(),
            kind: "kind".to_owned(),
            payments: vec!["payment".to_owned()],
            refunds: vec!["refund".to_owned()],
            totals: String::new(),
            count: String::new(),
        }
    }
}

/// A line that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejected {
    /// Of the file, from 1.
    pub line_no: u64,
    pub reason: String,
}

#[derive(Debug, thiserror::Error)]
pub enum StatementError {
    #[error("it is empty; a day without payments has at least the heading")]
    Empty,
    #[error("its heading is not text in the character set {0}")]
    Heading(Charset),
    #[error("its heading has no column {0:?}, which its settings name")]
    Column(String),
    #[error("{}", list(.0))]
    Lines(Vec<Rejected>),
    #[error("it has no line with its totals, so it may have been cut off")]
    NoTotals,
    #[error("its heading has {0:?} twice, and nobody knows which one counts")]
    ColumnTwice(String),
    #[error("line {0} has a carriage return that does not end it; where does the next line begin?")]
    LoneReturn(usize),
    #[error("its last line does not end, so it may have been cut off; if it is whole, end that line")]
    NoEnd,
    #[error(transparent)]
    Csv(#[from] csv::Error),
}

impl fmt::Display for Rejected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}", self.line_no, self.reason)
    }
}

fn list(rejected: &[Rejected]) -> String {
    let named: Vec<String> = rejected.iter().take(LINES_NAMED_MAX).map(Rejected::to_string).collect();
    let more = rejected.len().saturating_sub(LINES_NAMED_MAX);
    let more = if more == 0 { String::new() } else { format!("\nand {more} more") };
    format!("lines cannot be read:\n{}{more}", named.join("\n"))
}

/// What one line says.
enum Row {
    Line(Line),
    Totals { net: Balance, lines: Option<u32> },
}

/// Where the columns stand.
struct Columns<'a> {
    format: &'a StatementFormat,
    count_of_all: usize,
    number: usize,
    amount: usize,
    fee: Option<usize>,
    order: Option<usize>,
    kind: Option<usize>,
    count: Option<usize>,
}

/// Reads the file of a day.
///
/// # Errors
/// There is no heading, or it is in another character set, or lacks a column or has it twice; the totals are missing where the channel
/// writes some, or else the end of the last line; where lines end cannot be told; or lines cannot be read, which are named,
/// each with its number and reason.
pub fn read(
    bytes: &[u8],
    date: NaiveDate,
    file_name: &str,
    format: &StatementFormat,
) -> Result<Statement, StatementError> {
    let text = bytes.strip_prefix(BYTE_ORDER_MARK).unwrap_or(bytes);
    if let Some(at) = (0..text.len()).find(|at| text[*at] == b'\r' && text.get(at + 1) != Some(&b'\n')) {
        return Err(StatementError::LoneReturn(text[..at].iter().filter(|byte| **byte == b'\n').count() + 1));
    }
    let mut reader = csv::ReaderBuilder::new().flexible(true).from_reader(text);
    if reader.byte_headers()?.is_empty() {
        return Err(StatementError::Empty);
    }
    let heading = fields(reader.byte_headers()?, format.charset).ok_or(StatementError::Heading(format.charset))?;
    let columns = Columns::find(&heading, format)?;
    let (mut lines, mut totals, mut rejected) = (Vec::new(), None, Vec::new());
    for record in reader.byte_records() {
        let record = record?;
        let line_no = record.position().map_or(0, |start| line_no(text, start));
        match columns.row(&record, line_no) {
            // Nothing belongs behind the totals, not even others.
            Ok(_) if totals.is_some() => {
                rejected.push(Rejected { line_no, reason: "it follows the totals".to_owned() })
            }
            Ok(Row::Line(line)) => lines.push(line),
            Ok(Row::Totals { net, lines }) => totals = Some((net, lines)),
            Err(reason) => rejected.push(Rejected { line_no, reason }),
        }
    }
    if !rejected.is_empty() {
        return Err(StatementError::Lines(rejected));
    }
    if totals.is_none() && !format.totals.is_empty() {
        return Err(StatementError::NoTotals);
    }
    if totals.is_none() && !text.ends_with(b"\n") {
        return Err(StatementError::NoEnd);
    }
    Ok(Statement {
        date,
        file_name: file_name.to_owned(),
        sha256: HEXLOWER.encode(&Sha256::digest(bytes)),
        lines,
        declared_lines: totals.and_then(|(_, lines)| lines),
        declared_net: totals.map(|(net, _)| net),
    })
}

/// The line on which a record begins. It is told from the end of the one before, and blank lines may stand between them.
fn line_no(text: &[u8], start: &csv::Position) -> u64 {
    let rest = usize::try_from(start.byte()).ok().and_then(|at| text.get(at..)).unwrap_or_default();
    let blank = rest.iter().take_while(|byte| matches!(byte, b'\r' | b'\n'));
    blank.filter(|byte| **byte == b'\n').map(|_| 1).sum::<u64>() + start.line()
}

/// Without the blanks, tabs and back-ticks with which some channels keep spreadsheets from reading numbers. `None` where a
/// single byte is not of the character set.
fn fields(record: &ByteRecord, charset: Charset) -> Option<Vec<String>> {
    let bare = |text: String| text.trim_matches(|c: char| c.is_whitespace() || c == '`').to_owned();
    record.iter().map(|field| charset.decode(field).map(bare)).collect()
}

impl<'a> Columns<'a> {
    fn find(heading: &[String], format: &'a StatementFormat) -> Result<Self, StatementError> {
        let place = |name: &String| {
            let mut places = (0..).zip(heading).filter(|(_, column)| *column == name).map(|(place, _)| place);
            match (places.next(), places.next()) {
                (Some(place), None) => Ok(place),
                (Some(_), Some(_)) => Err(StatementError::ColumnTwice(name.clone())),
                (None, _) => Err(StatementError::Column(name.clone())),
            }
        };
        let optional = |name: &String| if name.is_empty() { Ok(None) } else { place(name).map(Some) };
        Ok(Self {
            format,
            count_of_all: heading.len(),
            number: place(&format.number)?,
            amount: place(&format.amount)?,
            fee: optional(&format.fee)?,
            order: optional(&format.order)?,
            kind: optional(&format.kind)?,
            count: optional(&format.count)?,
        })
    }

    fn row(&self, record: &ByteRecord, line_no: u64) -> Result<Row, String> {
        // With a quotation mark that is not closed, the lines that follow are taken for text.
        if record.iter().flatten().any(|byte| matches!(byte, b'\n' | b'\r' | 0)) {
            return Err("a field has a line break or a NUL; a quotation mark may not be closed".to_owned());
        }
        let charset = self.format.charset;
        let fields = fields(record, charset).ok_or_else(|| format!("it is not text in the character set {charset}"))?;
        if fields.iter().skip(self.count_of_all).any(|field| !field.is_empty()) {
            return Err("it has more columns than the heading".to_owned());
        }
        let field = |place: usize| fields.get(place).map(String::as_str).ok_or("it has too few columns");
        // A column that the file has, and text that a line may leave out.
        let told = |place: Option<usize>| Ok::<_, &str>(place.map(field).transpose()?.filter(|text| !text.is_empty()));
        let (number, net) = (field(self.number)?, yuan(field(self.amount)?)?);
        if !self.format.totals.is_empty() && number == self.format.totals {
            let count = |text: &str| text.parse().map_err(|_| format!("{text:?} is no number of lines"));
            return Ok(Row::Totals { net, lines: told(self.count)?.map(count).transpose()? });
        }
        let prefix = self.format.order_prefix.as_str();
        let order_no = told(self.order)?.map(|order| order.strip_prefix(prefix).unwrap_or(order));
        let is_sound =
            |number: &str| (1..=NUMBER_CHARS_MAX).contains(&number.chars().count()) && !number.contains(is_unseen);
        let numbers = iter::once(("number", number)).chain(order_no.map(|order| ("order's number", order)));
        if let Some((what, text)) = numbers.into_iter().find(|(_, text)| !is_sound(text)) {
            let why = format!("is empty, longer than {NUMBER_CHARS_MAX} characters, or has a blank in it");
            return Err(format!("the {what} {text:?} {why}"));
        }
        // 28001234567890123 becomes 2.80012E+16, and so do the numbers beside it.
        if is_rounded(number) {
            return Err(format!("a spreadsheet has rounded {number}"));
        }
        // Words are headings, or sums that no setting names.
        if !number.contains(|c: char| c.is_ascii_digit()) {
            return Err(format!("{number:?} has no digit, so it is no number; of a sum, `totals` is to name the word"));
        }
        let side = match self.kind {
            Some(kind) => self.side(field(kind)?)?,
            None if net < Balance::ZERO => StatementSide::Refund,
            None => StatementSide::Payment,
        };
        let fen = match side {
            StatementSide::Payment => net.fen(),
            StatementSide::Refund => net.fen().abs(),
        };
        let amount = Amount::from_fen(fen).map_err(|error| format!("{net}: {error}"))?;
        if amount.is_zero() {
            return Err("it is about 0.00".to_owned());
        }
        Ok(Row::Line(Line {
            line_no: u32::try_from(line_no).map_err(|_| "the file is too long")?,
            side,
            number: number.to_owned(),
            amount,
            fee: told(self.fee)?.map(yuan).transpose()?,
            order_no: order_no.map(str::to_owned),
        }))
    }

    fn side(&self, word: &str) -> Result<StatementSide, String> {
        let is_among = |words: &[String]| words.iter().any(|known| known == word);
        if is_among(&self.format.payments) {
            Ok(StatementSide::Payment)
        } else if is_among(&self.format.refunds) {
            Ok(StatementSide::Refund)
        } else {
            Err(format!("{word:?} is neither a payment nor a refund"))
        }
    }
}

fn is_rounded(number: &str) -> bool {
    let is_made_of = |text: &str, others: &str| text.chars().all(|c| c.is_ascii_digit() || others.contains(c));
    let parts = number.split_once(['E', 'e']).and_then(|(digits, power)| Some((digits, power.strip_prefix('+')?)));
    parts.is_some_and(|(digits, power)| is_made_of(digits, ".") && is_made_of(power, ""))
}

/// Two numbers that look the same are to be the same.
fn is_unseen(c: char) -> bool {
    c.is_control() || c.is_whitespace() || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2060}' | '\u{feff}')
}

fn yuan(text: &str) -> Result<Balance, String> {
    let balance = text.parse::<Balance>().map_err(|error| format!("{text:?}: {error}"))?;
    // What is said in one event has the size of an amount.
    Amount::from_fen(balance.fen().saturating_abs()).map_err(|error| format!("{text:?}: {error}"))?;
    Ok(balance)
}

#[cfg(test)]
mod tests;
