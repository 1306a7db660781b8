//! Reconciliation (对账): a channel's statement of a day against what the log says of that channel. A statement says
//! what should be open now; whatever is not open yet is raised, and whatever else is open ends. So the same file again
//! finds nothing to say, and a file that the channel issues again changes only what it corrects.

use std::collections::BTreeMap;

use chrono::{Days, NaiveDate};
use schemas::{
    Amount, AmountError, Balance, Data, Name, OrderId,
    events::{
        BreakResolution, ChannelStatementReceived, ReconciliationBreakRaised, ReconciliationBreakResolved,
        ReconciliationClass, StatementLineMatched, StatementSide,
    },
};
use uuid::Uuid;

use crate::policy::Policy;

mod books;
mod decision;

pub use books::{Books, channel_of};
use books::{Ours, key_of};
pub use decision::{BreakDecision, BreakRefusal, resolve};

/// Chosen once: every break id is derived under it.
const BREAK_NAMESPACE: Uuid = Uuid::from_u128(0x0b51_4c5e_7a3d_4f0e_9d6b_52d1_c0a8_77e4);

/// Which way the money went, and the number that names it to the channel.
type Key = (StatementSide, String);

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
    fn sum(&self, side: StatementSide) -> Amount {
        self.lines.iter().filter(|line| line.side == side).map(|line| line.amount).sum()
    }

    fn net(&self) -> Balance {
        self.sum(StatementSide::Payment) - self.sum(StatementSide::Refund)
    }

    fn received(&self, channel: &Name, revision: u16) -> Result<Data, AmountError> {
        let in_one_event = |sum: Amount| Amount::from_fen(sum.fen());
        Ok(Data::from(ChannelStatementReceived {
            channel: channel.clone(),
            statement_date: self.date,
            revision,
            file_name: self.file_name.clone(),
            sha256: self.sha256.clone(),
            lines: line_count(&self.lines),
            payments: in_one_event(self.sum(StatementSide::Payment))?,
            refunds: in_one_event(self.sum(StatementSide::Refund))?,
            declared_lines: self.declared_lines,
            declared_net: self.declared_net,
        }))
    }
}

fn line_count(lines: &[Line]) -> u32 {
    u32::try_from(lines.len()).unwrap_or(u32::MAX)
}

/// What came in counts as positive, what went back as negative.
fn signed(side: StatementSide, amount: Amount) -> Balance {
    match side {
        StatementSide::Payment => amount.into(),
        StatementSide::Refund => -Balance::from(amount),
    }
}

/// The identity of what may differ about a number, or about the statement as a whole, on a day.
fn break_id(channel: &Name, date: NaiveDate, key: Option<&Key>) -> Uuid {
    let (side, number) = key.map_or(("statement", ""), |(side, number)| (side.as_str(), number.as_str()));
    Uuid::new_v5(&BREAK_NAMESPACE, format!("{channel}/{date}/{side}/{number}").as_bytes())
}

/// What the channel says about a number, in the statement that counts.
struct Theirs {
    date: NaiveDate,
    revision: u16,
    line_no: u32,
    amount: Balance,
    fee: Option<Balance>,
    order_no: Option<String>,
}

/// The events that follow from a statement, in the order in which they are to be appended.
///
/// # Errors
/// The lines add up to more than one event can say, 9,999,999,999.99 yuan.
pub fn reconcile(
    books: &Books,
    channel: &Name,
    statement: &Statement,
    policy: &Policy,
) -> Result<Vec<Data>, AmountError> {
    let (mut events, date) = (Vec::new(), statement.date);
    let revision = match books.statement_of(date) {
        Some((revision, sha256)) if sha256 == statement.sha256 => revision,
        other => {
            let revision = other.map_or(0, |(revision, _)| revision) + 1;
            events.push(statement.received(channel, revision)?);
            revision
        }
    };
    let mut found = Comparison {
        books,
        channel,
        date,
        revision,
        theirs: lines_of_other_days(books, date),
        ours: books.standing(),
        written_off: books.written_off(),
        breaks: BTreeMap::new(),
    };
    found.lines(&statement.lines);
    found.totals(statement);
    found.amounts();
    found.missing(policy);
    events.extend(found.matches());
    events.extend(found.changes());
    Ok(events)
}

/// What other statements say: the lines that were matched, and those whose difference is open or was written off.
fn lines_of_other_days(books: &Books, date: NaiveDate) -> BTreeMap<Key, Theirs> {
    let stands = |ended: Option<&ReconciliationBreakResolved>| {
        ended.is_none_or(|ended| ended.resolution == BreakResolution::WrittenOff)
    };
    let differing = books.last_breaks().filter(|(raised, ended)| raised.class.is_money() && stands(*ended));
    let differing = differing.filter_map(|(raised, _)| {
        let line = Theirs {
            date: raised.statement_date,
            revision: raised.revision,
            line_no: raised.line_no?,
            amount: raised.channel_amount?,
            fee: None,
            order_no: raised.order_no.clone(),
        };
        Some((key_of(raised)?, line))
    });
    let matched = books.matches_that_count().map(|line| {
        let (date, revision, line_no) = (line.statement_date, line.revision, line.line_no);
        let amount = signed(line.side, line.amount);
        ((line.side, line.number.clone()), Theirs { date, revision, line_no, amount, fee: line.fee, order_no: None })
    });
    differing.chain(matched).filter(|(_, line)| line.date != date).collect()
}

/// Books and statements side by side, and what should be open because of it.
struct Comparison<'a> {
    books: &'a Books,
    channel: &'a Name,
    /// Of the statement in hand.
    date: NaiveDate,
    revision: u16,
    theirs: BTreeMap<Key, Theirs>,
    ours: BTreeMap<&'a Key, &'a Ours>,
    written_off: BTreeMap<Key, Balance>,
    breaks: BTreeMap<Uuid, ReconciliationBreakRaised>,
}

impl Comparison<'_> {
    /// A difference of the statement in hand as a whole; others fill in what it is about.
    fn blank(&self, class: ReconciliationClass) -> ReconciliationBreakRaised {
        ReconciliationBreakRaised {
            break_id: Uuid::nil(),
            occurrence: 0,
            channel: self.channel.clone(),
            statement_date: self.date,
            revision: self.revision,
            class,
            side: None,
            number: None,
            line_no: None,
            order_no: None,
            ledger_amount: None,
            channel_amount: None,
            grace_until: None,
        }
    }

    fn add(&mut self, found: ReconciliationBreakRaised) {
        let break_id = break_id(self.channel, found.statement_date, key_of(&found).as_ref());
        self.breaks.insert(break_id, ReconciliationBreakRaised { break_id, ..found });
    }

    /// The first line of a number is what the channel says about it. A further one, or one of a number that another day
    /// has had, is a repeat with a place of its own.
    fn lines(&mut self, lines: &[Line]) {
        let mut times = BTreeMap::<Key, u32>::new();
        for line in lines {
            let key = (line.side, line.number.clone());
            let count = times.entry(key.clone()).or_insert_with(|| u32::from(self.theirs.contains_key(&key)));
            *count += 1;
            let (amount, order_no) = (signed(line.side, line.amount), line.order_no.clone());
            if *count == 1 {
                let (date, revision, line_no) = (self.date, self.revision, line.line_no);
                self.theirs.insert(key, Theirs { date, revision, line_no, amount, fee: line.fee, order_no });
                continue;
            }
            self.add(ReconciliationBreakRaised {
                side: Some(line.side),
                number: Some(format!("{}#{count}", line.number)),
                line_no: Some(line.line_no),
                order_no,
                channel_amount: Some(amount),
                ..self.blank(ReconciliationClass::DuplicateInChannel)
            });
        }
    }

    fn totals(&mut self, statement: &Statement) {
        let (lines, net) = (line_count(&statement.lines), statement.net());
        let agrees = statement.declared_lines.is_none_or(|declared| declared == lines)
            && statement.declared_net.is_none_or(|declared| declared == net);
        if !agrees {
            let (ledger_amount, channel_amount) = (Some(net), statement.declared_net);
            let blank = self.blank(ReconciliationClass::ControlTotal);
            self.add(ReconciliationBreakRaised { ledger_amount, channel_amount, ..blank });
        }
    }

    /// What the books say about a number: our own, and what was written off of earlier differences about it.
    fn ledger_amount(&self, key: &Key) -> Option<Balance> {
        match (self.ours.get(key), self.written_off.get(key)) {
            (None, None) => None,
            (ours, off) => Some(ours.map(|ours| ours.signed()).unwrap_or_default() + off.copied().unwrap_or_default()),
        }
    }

    /// Lines that are not ours, or not to the fen.
    fn amounts(&mut self) {
        let differs = |(key, line): (&Key, &Theirs)| {
            let ledger_amount = self.ledger_amount(key);
            let is_an_order = || line.order_no.as_ref().is_some_and(|order| order.parse::<OrderId>().is_ok());
            let class = match ledger_amount {
                Some(ledger) if ledger == line.amount => return None,
                Some(ledger) if ledger < line.amount => ReconciliationClass::AmountChannelOver,
                Some(_) => ReconciliationClass::AmountChannelUnder,
                None if is_an_order() => ReconciliationClass::MissingInLedger,
                None => ReconciliationClass::UnknownOrder,
            };
            Some(ReconciliationBreakRaised {
                statement_date: line.date,
                revision: line.revision,
                side: Some(key.0),
                number: Some(key.1.clone()),
                line_no: Some(line.line_no),
                order_no: self.ours.get(key).map(|ours| ours.order.clone()).or_else(|| line.order_no.clone()),
                ledger_amount,
                channel_amount: Some(line.amount),
                ..self.blank(class)
            })
        };
        let found: Vec<_> = self.theirs.iter().filter_map(differs).collect();
        found.into_iter().for_each(|found| self.add(found));
    }

    /// What is ours and in no statement, though the one of its day is here.
    fn missing(&mut self, policy: &Policy) {
        let last_day = self.books.last_day().map_or(self.date, |last| last.max(self.date));
        let grace = Days::new(policy.statement_grace_days.into());
        let misses = |(key, ours): (&&Key, &&Ours)| {
            let statement_date = ours.business_date;
            let revision = match statement_date == self.date {
                true => self.revision,
                false => self.books.statement_of(statement_date)?.0,
            };
            let grace_until = statement_date.checked_add_days(grace).unwrap_or(statement_date);
            let class = match last_day < grace_until {
                true => ReconciliationClass::Timing,
                false => ReconciliationClass::MissingInChannel,
            };
            Some(ReconciliationBreakRaised {
                statement_date,
                revision,
                side: Some(key.0),
                number: Some(key.1.clone()),
                order_no: Some(ours.order.clone()),
                ledger_amount: Some(self.ledger_amount(key).filter(|amount| !amount.is_zero())?),
                grace_until: (class == ReconciliationClass::Timing).then_some(grace_until),
                ..self.blank(class)
            })
        };
        let is_absent = |(key, ours): &(&&Key, &&Ours)| {
            **key == &ours.key && ours.keys().all(|number| !self.theirs.contains_key(number))
        };
        let absent = self.ours.iter().filter(is_absent);
        let found: Vec<_> = absent.filter_map(misses).collect();
        found.into_iter().for_each(|found| self.add(found));
    }

    /// The lines that are ours by their numbers, and of which the log does not say so yet.
    fn matches(&self) -> Vec<Data> {
        let new = self.theirs.iter().filter_map(|(key, line)| Some((key, line, self.ours.get(key)?)));
        let new = new.filter(|(_, line, _)| !self.books.is_matched(line.date, line.revision, line.line_no));
        let matched = new.map(|(key, line, ours)| {
            Data::from(StatementLineMatched {
                channel: self.channel.clone(),
                statement_date: line.date,
                revision: line.revision,
                line_no: line.line_no,
                side: key.0,
                number: key.1.clone(),
                matched_id: ours.id,
                amount: line.amount.debit() + line.amount.credit(),
                fee: line.fee,
            })
        });
        matched.collect()
    }

    /// What is open and should not be ends; what should be and is not is raised.
    fn changes(self) -> Vec<Data> {
        // Repeats and totals of another day's file are known from that file alone.
        let is_judged = |raised: &&ReconciliationBreakRaised| match raised.class {
            ReconciliationClass::DuplicateInChannel | ReconciliationClass::ControlTotal => {
                raised.statement_date == self.date
            }
            _ => true,
        };
        let open = self.books.open_breaks().into_iter().filter(is_judged);
        let gone = open.filter(|raised| !self.breaks.contains_key(&raised.break_id));
        let mut events: Vec<Data> = gone.map(|raised| end(raised, how_gone(raised, &self.theirs))).collect();
        for found in self.breaks.into_values() {
            let last = self.books.last_of(found.break_id);
            let is_last = |raised: &ReconciliationBreakRaised| {
                *raised == ReconciliationBreakRaised { occurrence: raised.occurrence, ..found.clone() }
            };
            match last {
                Some((raised, None)) if is_last(raised) => continue,
                // What a person has settled stays settled, until another statement says it again.
                Some((raised, Some(ended))) if is_last(raised) && !ended.approvers.is_empty() => continue,
                Some((raised, None)) => events.push(end(raised, BreakResolution::Superseded)),
                Some((_, Some(_))) | None => {}
            }
            let occurrence = last.map_or(0, |(raised, _)| raised.occurrence) + 1;
            events.push(Data::from(ReconciliationBreakRaised { occurrence, ..found }));
        }
        events
    }
}

/// Why a break is gone: the channel says something else than it did, or else the ledger does.
fn how_gone(raised: &ReconciliationBreakRaised, theirs: &BTreeMap<Key, Theirs>) -> BreakResolution {
    let now = key_of(raised).and_then(|key| theirs.get(&key)).map(|line| line.amount);
    match raised.channel_amount {
        before if before == now => BreakResolution::LateCapturePosted,
        None => BreakResolution::Timing,
        Some(_) => BreakResolution::ChannelCorrected,
    }
}

fn end(raised: &ReconciliationBreakRaised, resolution: BreakResolution) -> Data {
    Data::from(ended_by(raised, resolution, Vec::new()))
}

fn ended_by(
    raised: &ReconciliationBreakRaised,
    resolution: BreakResolution,
    approvers: Vec<String>,
) -> ReconciliationBreakResolved {
    ReconciliationBreakResolved {
        break_id: raised.break_id,
        occurrence: raised.occurrence,
        channel: raised.channel.clone(),
        class: raised.class,
        difference: raised.difference(),
        resolution,
        approvers,
    }
}

#[cfg(test)]
mod tests;
