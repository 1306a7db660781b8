//! What the log says of one channel, as far as its statements are compared with it. Each fact is kept under its own id or
//! number, so that neither repeats nor another order of arrival change anything.

use std::collections::{BTreeMap, BTreeSet};

use chrono::NaiveDate;
use schemas::{
    Amount, Balance, Data, Event, Name,
    events::{
        BreakResolution, ReconciliationBreakRaised, ReconciliationBreakResolved, StatementLineMatched, StatementSide,
    },
};
use uuid::Uuid;

use super::{Key, signed};
use crate::refund::Refund;

/// A capture of the ledger, or what went back: a refund, or a reversal.
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
    transactions: BTreeMap<Uuid, Ours>,
    /// By capture.
    reversals: BTreeMap<Uuid, Uuid>,
    /// The SHA-256 of each revision.
    statements: BTreeMap<NaiveDate, BTreeMap<u16, String>>,
    matches: BTreeMap<(NaiveDate, u16, u32), StatementLineMatched>,
    /// By break and occurrence.
    raised: BTreeMap<Uuid, BTreeMap<u16, ReconciliationBreakRaised>>,
    resolved: BTreeMap<(Uuid, u16), ReconciliationBreakResolved>,
}

/// The channel in whose books an event counts.
pub fn channel_of(data: &Data) -> Option<&Name> {
    match data {
        Data::PaymentCaptured(data) => Some(&data.channel),
        Data::PaymentReversed(data) => Some(&data.channel),
        Data::RefundCompleted(data) => Some(&data.channel),
        Data::ChannelStatementReceived(data) => Some(&data.channel),
        Data::StatementLineMatched(data) => Some(&data.channel),
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
                    self.reversals.entry(capture_id).or_insert(event.id);
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
            Data::ChannelStatementReceived(data) => {
                let revisions = self.statements.entry(data.statement_date).or_default();
                revisions.entry(data.revision).or_insert_with(|| data.sha256.clone());
            }
            Data::StatementLineMatched(data) => {
                let line = (data.statement_date, data.revision, data.line_no);
                self.matches.entry(line).or_insert_with(|| data.clone());
            }
            Data::ReconciliationBreakRaised(data) => {
                let occurrences = self.raised.entry(data.break_id).or_default();
                occurrences.entry(data.occurrence).or_insert_with(|| data.clone());
            }
            Data::ReconciliationBreakResolved(data) => {
                self.resolved.entry((data.break_id, data.occurrence)).or_insert_with(|| data.clone());
            }
            _ => {}
        }
    }

    fn add(&mut self, event: &Event, id: Uuid, keys: (Key, Option<Key>), amount: Amount, business_date: NaiveDate) {
        let ((key, also), order) = (keys, event.subject.clone());
        self.transactions.entry(id).or_insert(Ours { id, key, also, amount, business_date, order });
    }

    /// What the channel should have, by number. A payment that was reversed (冲正) on its own day is in no statement, nor is
    /// its reversal.
    pub(super) fn standing(&self) -> BTreeMap<&Key, &Ours> {
        let day = |id: &Uuid| self.transactions.get(id).map(|ours| ours.business_date);
        let same_day = self.reversals.iter().filter(|(capture, reversal)| day(capture) == day(reversal));
        let undone: BTreeSet<&Uuid> = same_day.flat_map(|(capture, reversal)| [capture, reversal]).collect();
        let standing = self.transactions.values().filter(|ours| !undone.contains(&ours.id));
        standing.flat_map(|ours| ours.keys().map(move |key| (key, ours))).collect()
    }

    /// What was written off of the differences about each number: so much more or less than our own the channel may have.
    pub(super) fn written_off(&self) -> BTreeMap<Key, Balance> {
        let mut sums = BTreeMap::<Key, Balance>::new();
        for resolved in self.resolved.values().filter(|end| end.resolution == BreakResolution::WrittenOff) {
            let raised = self.raised.get(&resolved.break_id).and_then(|all| all.get(&resolved.occurrence));
            if let Some(key) = raised.filter(|raised| raised.class.is_money()).and_then(key_of) {
                *sums.entry(key).or_default() += resolved.difference;
            }
        }
        sums
    }

    /// The revision of a day's statement that counts, and the SHA-256 of its file.
    pub fn statement_of(&self, date: NaiveDate) -> Option<(u16, &str)> {
        let (revision, sha256) = self.statements.get(&date)?.last_key_value()?;
        Some((*revision, sha256))
    }

    /// The last day of which there is a statement.
    pub(super) fn last_day(&self) -> Option<NaiveDate> {
        self.statements.last_key_value().map(|(date, _)| *date)
    }

    pub(super) fn is_matched(&self, date: NaiveDate, revision: u16, line_no: u32) -> bool {
        self.matches.contains_key(&(date, revision, line_no))
    }

    /// How many lines of the statement that counts are captures or refunds of ours.
    pub fn matched_lines(&self, date: NaiveDate) -> usize {
        self.matches_that_count().filter(|line| line.statement_date == date).count()
    }

    /// The matched lines of every statement, those of a revision that another has replaced left out.
    pub(super) fn matches_that_count(&self) -> impl Iterator<Item = &StatementLineMatched> {
        let counts = |line: &&StatementLineMatched| {
            self.statement_of(line.statement_date).is_some_and(|(revision, _)| revision == line.revision)
        };
        self.matches.values().filter(counts)
    }

    /// The last occurrence of a break, and how it ended if it has.
    pub fn last_of(
        &self,
        break_id: Uuid,
    ) -> Option<(&ReconciliationBreakRaised, Option<&ReconciliationBreakResolved>)> {
        let (occurrence, raised) = self.raised.get(&break_id)?.last_key_value()?;
        Some((raised, self.resolved.get(&(break_id, *occurrence))))
    }

    /// The last occurrence of every break, and how it ended if it has.
    pub(super) fn last_breaks(
        &self,
    ) -> impl Iterator<Item = (&ReconciliationBreakRaised, Option<&ReconciliationBreakResolved>)> {
        self.raised.keys().filter_map(|break_id| self.last_of(*break_id))
    }

    /// The breaks that nothing has ended yet, by day, side and number.
    pub fn open_breaks(&self) -> Vec<&ReconciliationBreakRaised> {
        let open = self.last_breaks().filter(|(_, ended)| ended.is_none());
        let mut open: Vec<_> = open.map(|(raised, _)| raised).collect();
        open.sort_by_key(|raised| (raised.statement_date, raised.side, &raised.number));
        open
    }
}

/// The number that a break is about, if it is about one.
pub(super) fn key_of(raised: &ReconciliationBreakRaised) -> Option<Key> {
    Some((raised.side?, raised.number.clone()?))
}

impl Ours {
    pub fn keys(&self) -> impl Iterator<Item = &Key> {
        std::iter::once(&self.key).chain(&self.also)
    }

    pub fn signed(&self) -> Balance {
        signed(self.key.0, self.amount)
    }
}
