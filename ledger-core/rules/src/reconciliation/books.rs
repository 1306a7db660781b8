//! What the log says of one channel, as far as its statements are compared with it. Each fact is kept under its own id or
//! number, so that neither repeats nor another order of arrival change anything.

use std::{
    collections::{BTreeMap, BTreeSet},
    iter,
};

use chrono::NaiveDate;
use schemas::{
    Amount, Balance, Data, Event, Name,
    events::{
        BreakResolution, ChannelStatementReceived, DisputeOutcome, ReconciliationBreakRaised,
        ReconciliationBreakResolved, StatementLineReceived, StatementSide,
    },
};
use uuid::Uuid;

use super::{Key, Statement, key_of};
use crate::refund::Refund;

/// What moved at the channel by the ledger's account: a capture or what comes back of a refund or dispute; a refund, a
/// reversal or a dispute.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Ours {
    pub id: Uuid,
    pub key: Key,
    /// The other number of a refund that has two.
    pub also: Option<Key>,
    pub amount: Amount,
    pub business_date: NaiveDate,
    pub order: String,
}

/// What the log says of one channel: what it took and gave back, its statements, and what differed.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Books {
    /// By id and order: what somebody told for two orders, both have.
    transactions: BTreeMap<(Uuid, String), Ours>,
    /// By capture.
    reversals: BTreeMap<Uuid, BTreeSet<Uuid>>,
    /// By day and revision.
    statements: BTreeMap<NaiveDate, BTreeMap<u16, ChannelStatementReceived>>,
    /// By statement and number of the line.
    lines: BTreeMap<Uuid, BTreeMap<u32, StatementLineReceived>>,
    /// By break and occurrence.
    raised: BTreeMap<(Uuid, u16), ReconciliationBreakRaised>,
    resolved: BTreeMap<(Uuid, u16), ReconciliationBreakResolved>,
}

/// The channel in whose books an event counts.
pub fn channel_of(data: &Data) -> Option<&Name> {
    match data {
        Data::PaymentCaptured(data) => Some(&data.channel),
        Data::PaymentReversed(data) => Some(&data.channel),
        Data::RefundCompleted(data) => Some(&data.channel),
        Data::RefundReturned(data) => Some(&data.channel),
        Data::ChargebackReceived(data) => Some(&data.channel),
        Data::ChargebackClosed(data) => Some(&data.channel),
        Data::ChannelStatementReceived(data) => Some(&data.channel),
        Data::StatementLineReceived(data) => Some(&data.channel),
        Data::ReconciliationBreakRaised(data) => Some(&data.channel),
        Data::ReconciliationBreakResolved(data) => Some(&data.channel),
        _ => None,
    }
}

impl Books {
    /// Adds an event of the channel; whatever does not count is passed over. The first report of a fact stands.
    pub fn apply(&mut self, event: &Event) {
        match &event.data {
            Data::PaymentCaptured(data) => {
                let key = (StatementSide::Payment, data.channel_txn_no.clone());
                self.add(event, event.id, (key, None), data.amount, data.business_date);
            }
            Data::PaymentReversed(data) => {
                if let Some(capture_id) = data.capture_id {
                    self.reversals.entry(capture_id).or_default().insert(event.id);
                    let key = (StatementSide::Refund, data.channel_txn_no.clone());
                    self.add(event, event.id, (key, None), data.amount, data.business_date);
                }
            }
            Data::RefundCompleted(data) => {
                // Some channels write their own number, others the one that we gave the refund.
                let key = |number| (StatementSide::Refund, number);
                let ours = key(Refund::request_no(data.refund_id));
                let keys = match data.channel_refund_no.clone() {
                    Some(theirs) => (key(theirs), Some(ours)),
                    None => (ours, None),
                };
                self.add(event, data.refund_id, keys, data.amount, data.business_date);
            }
            Data::RefundReturned(data) => {
                let key = (StatementSide::Payment, data.return_no.clone());
                self.add(event, event.id, (key, None), data.amount, data.business_date);
            }
            Data::ChargebackReceived(data) => {
                let key = (StatementSide::Refund, data.case_no.clone());
                self.add(event, event.id, (key, None), data.amount, data.business_date);
            }
            Data::ChargebackClosed(data) if data.outcome == DisputeOutcome::Won => {
                let key = (StatementSide::Payment, data.case_no.clone());
                self.add(event, event.id, (key, None), data.amount, data.business_date);
            }
            Data::ChannelStatementReceived(data) => {
                let revisions = self.statements.entry(data.statement_date).or_default();
                revisions.entry(data.revision).or_insert_with(|| data.clone());
            }
            Data::StatementLineReceived(data) => {
                let lines = self.lines.entry(data.statement_id).or_default();
                lines.entry(data.line_no).or_insert_with(|| data.clone());
            }
            Data::ReconciliationBreakRaised(data) => {
                self.raised.entry((data.break_id, data.occurrence)).or_insert_with(|| data.clone());
            }
            Data::ReconciliationBreakResolved(data) => {
                self.resolved.entry((data.break_id, data.occurrence)).or_insert_with(|| data.clone());
            }
            _ => {}
        }
    }

    fn add(&mut self, event: &Event, id: Uuid, keys: (Key, Option<Key>), amount: Amount, business_date: NaiveDate) {
        let ((key, also), order) = (keys, event.subject.clone());
        let ours = Ours { id, key, also, amount, business_date, order: order.clone() };
        self.transactions.entry((id, order)).or_insert(ours);
    }

    /// What the channel should have, by day. A payment that was reversed (冲正) on its own day, and wholly, is in no
    /// statement, nor is its reversal.
    pub(super) fn standing(&self) -> Vec<&Ours> {
        let is_undone = |(capture, reversals): &(&Uuid, &BTreeSet<Uuid>)| {
            let capture = self.of_id(**capture).next();
            let reversals = || reversals.iter().filter_map(|reversal| self.of_id(*reversal).next());
            capture.is_some_and(|capture| {
                reversals().all(|reversal| reversal.business_date == capture.business_date)
                    && reversals().map(|reversal| reversal.amount).sum::<Amount>() == capture.amount
            })
        };
        let undone = self.reversals.iter().filter(is_undone);
        let undone: BTreeSet<&Uuid> =
            undone.flat_map(|(capture, reversals)| iter::once(capture).chain(reversals)).collect();
        let mut standing: Vec<_> = self.transactions.values().filter(|ours| !undone.contains(&ours.id)).collect();
        standing.sort_by_key(|ours| ours.business_date);
        standing
    }

    fn of_id(&self, id: Uuid) -> impl Iterator<Item = &Ours> {
        self.transactions.range((id, String::new())..).map(|(_, ours)| ours).take_while(move |ours| ours.id == id)
    }

    /// The order of a capture that the log has, also of one that was reversed.
    pub(super) fn order_of(&self, capture_id: Uuid) -> Option<&str> {
        self.of_id(capture_id).next().map(|ours| ours.order.as_str())
    }

    /// What was written off of the differences about each transaction of ours, and about each number that was none: so much
    /// more or less than our own the channel may have.
    pub(super) fn written_off(&self) -> BTreeMap<About, (NaiveDate, Balance)> {
        let mut sums = BTreeMap::<About, (NaiveDate, Balance)>::new();
        for (key, resolved) in self.resolved.iter().filter(|(_, end)| end.resolution == BreakResolution::WrittenOff) {
            let Some(raised) = self.raised.get(key).filter(|raised| raised.class.is_money()) else { continue };
            let number = || key_of(raised).map(About::Number);
            if let Some(about) = raised.transaction_id.map(About::Transaction).or_else(number) {
                sums.entry(about).or_insert((raised.statement_date, Balance::ZERO)).1 += resolved.difference;
            }
        }
        sums
    }

    /// The statement of a day that counts: its last revision.
    pub fn statement_of(&self, date: NaiveDate) -> Option<&ChannelStatementReceived> {
        self.statements.get(&date)?.last_key_value().map(|(_, statement)| statement)
    }

    /// Another day of which this very file counts as the statement; a file without lines may be of any day.
    pub fn day_of_file(&self, file: &Statement) -> Option<NaiveDate> {
        let mut same = self.statements().filter(|read| read.sha256 == file.sha256 && !file.lines.is_empty());
        same.find(|read| read.statement_date != file.date).map(|read| read.statement_date)
    }

    /// The statement of every day, by day.
    pub(super) fn statements(&self) -> impl Iterator<Item = &ChannelStatementReceived> {
        self.statements.values().filter_map(|revisions| revisions.last_key_value()).map(|(_, statement)| statement)
    }

    /// The lines of a statement, in their order.
    pub(super) fn lines_of(&self, statement_id: Uuid) -> impl Iterator<Item = &StatementLineReceived> {
        self.lines.get(&statement_id).into_iter().flat_map(BTreeMap::values)
    }

    pub(super) fn has_line(&self, statement_id: Uuid, line_no: u32) -> bool {
        self.lines.get(&statement_id).is_some_and(|lines| lines.contains_key(&line_no))
    }

    /// The first day of which there is a statement.
    pub(super) fn first_day(&self) -> Option<NaiveDate> {
        self.statements.first_key_value().map(|(date, _)| *date)
    }

    /// The last day of which there is a statement.
    pub(super) fn last_day(&self) -> Option<NaiveDate> {
        self.statements.last_key_value().map(|(date, _)| *date)
    }

    /// The last occurrence of a break, and how it ended if it has.
    pub(super) fn last_of(
        &self,
        break_id: Uuid,
    ) -> Option<(&ReconciliationBreakRaised, Option<&ReconciliationBreakResolved>)> {
        let (key, raised) = self.raised.range((break_id, 0)..=(break_id, u16::MAX)).next_back()?;
        Some((raised, self.resolved.get(key)))
    }

    /// The breaks that nothing has ended yet, by day, side and number.
    pub fn open_breaks(&self) -> Vec<&ReconciliationBreakRaised> {
        let open = self.raised.iter().filter(|(key, _)| !self.resolved.contains_key(key));
        let mut open: Vec<_> = open.map(|(_, raised)| raised).collect();
        open.sort_by_key(|raised| {
            (raised.statement_date, raised.side, &raised.number, raised.difference(), raised.class.as_str())
        });
        open
    }
}

/// What something was written off about.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum About {
    Transaction(Uuid),
    Number(Key),
}

impl Ours {
    pub fn keys(&self) -> impl Iterator<Item = &Key> {
        iter::once(&self.key).chain(&self.also)
    }

    pub fn signed(&self) -> Balance {
        self.key.0.signed(self.amount)
    }
}
