//! Books and statements side by side, and what should be open because of it.

use std::{
    collections::{BTreeMap, BTreeSet},
    iter,
};

use chrono::{Days, NaiveDate};
use schemas::{
    Balance, Data, Name, OrderId,
    events::{
        BreakResolution, ChannelStatementReceived, ReconciliationBreakRaised, ReconciliationBreakResolved,
        ReconciliationClass, StatementLineReceived, StatementSide,
    },
};
use uuid::Uuid;

use super::{
    Books, Key, NAMESPACE,
    books::{About, Ours},
    decision::ended_by,
    key_of,
};
use crate::policy::Policy;

/// One payment or refund, as far as either side knows it.
struct Item<'a> {
    line: Option<&'a StatementLineReceived>,
    ours: Option<&'a Ours>,
    /// What was written off about it.
    off: Option<Balance>,
}

/// The statements that count against the ledger.
pub struct Comparison<'a> {
    books: &'a Books,
    items: Vec<Item<'a>>,
    /// Lines whose number another line has had.
    repeats: Vec<&'a StatementLineReceived>,
    /// What was written off about lines that are in no statement any more.
    off: BTreeMap<About, (NaiveDate, Balance)>,
}

fn key(line: &StatementLineReceived) -> Key {
    (line.side, line.number.clone())
}

impl<'a> Comparison<'a> {
    /// Lines and transactions go together by their numbers. Where several have one number, those lines choose first that
    /// have no choice, and of these and of the others those whose amount is ours.
    pub fn of(books: &'a Books) -> Self {
        let standing = books.standing();
        let mut by_key = BTreeMap::<&Key, Vec<usize>>::new();
        for (place, ours) in standing.iter().enumerate() {
            ours.keys().for_each(|key| by_key.entry(key).or_default().push(place));
        }
        let lines: Vec<_> = books.statements().flat_map(|statement| books.lines_of(statement.statement_id)).collect();
        let (mut ours_of, mut has_line) = (vec![None; lines.len()], vec![false; standing.len()]);
        for (no_choice, same_amount) in [(true, true), (true, false), (false, true), (false, false)] {
            for (line, ours) in lines.iter().zip(&mut ours_of).filter(|(_, ours)| ours.is_none()) {
                let Some(places) = by_key.get(&key(line)).filter(|places| places.len() == 1 || !no_choice) else {
                    continue;
                };
                let fits =
                    |place: &&usize| !has_line[**place] && (!same_amount || standing[**place].amount == line.amount);
                if let Some(&place) = places.iter().find(fits) {
                    (*ours, has_line[place]) = (Some(standing[place]), true);
                }
            }
        }
        let (mut items, mut repeats, mut seen) = (Vec::new(), Vec::new(), BTreeSet::new());
        for (line, ours) in lines.into_iter().zip(ours_of) {
            let key = key(line);
            // One number is one payment. Refunds may have that of their payment, so only one of the same amount is a repeat.
            let amount = (line.side == StatementSide::Refund).then_some(line.amount);
            let is_known = by_key.contains_key(&key) && line.side == StatementSide::Payment;
            if ours.is_none() && (is_known || seen.contains(&(key.clone(), amount))) {
                repeats.push(line);
                continue;
            }
            items.push(Item { line: Some(line), ours, off: None });
            seen.extend(ours.into_iter().flat_map(Ours::keys).cloned().chain([key]).map(|key| (key, amount)));
        }
        let absent = standing.into_iter().zip(has_line).filter(|(_, has_line)| !has_line);
        items.extend(absent.map(|(ours, _)| Item { line: None, ours: Some(ours), off: None }));
        let off = give_written_off(&mut items, books.written_off());
        Self { books, items, repeats, off }
    }

    /// How many lines of a day's statement are captures or refunds of ours.
    pub fn matched(&self, date: NaiveDate) -> usize {
        let of_the_day = |item: &&Item<'_>| item.line.is_some_and(|line| line.statement_date == date);
        self.items.iter().filter(of_the_day).filter(|item| item.ours.is_some()).count()
    }

    /// The events by which what is open becomes what should be: what is open and should not be ends, what should be and is
    /// not is raised.
    pub fn changes(&self, channel: &Name, policy: &Policy) -> Vec<Data> {
        let mut found = self.differences(channel, policy);
        let said = self.said();
        let mut events = Vec::new();
        for raised in self.books.open_breaks() {
            match found.get(&raised.break_id) {
                Some(now) if differs_alike(raised, now) => _ = found.remove(&raised.break_id),
                Some(_) => events.push(end(raised, BreakResolution::Superseded)),
                None => events.push(end(raised, how_gone(raised, &said))),
            }
        }
        for found in found.into_values() {
            let last = self.books.last_of(found.break_id);
            // What the channel has promised to put right rests until its term is over; what is no money, for good.
            let is_settled = last.is_some_and(|(raised, ended)| {
                ended.is_some_and(|ended| self.rests(ended)) && differs_alike(raised, &found)
            });
            if !is_settled {
                let occurrence = last.map_or(0, |(raised, _)| raised.occurrence) + 1;
                events.push(Data::from(ReconciliationBreakRaised { occurrence, ..found }));
            }
        }
        events
    }

    /// Whether the channel still has time to put right what it has promised to.
    fn rests(&self, ended: &ReconciliationBreakResolved) -> bool {
        let in_time = ended.until.is_none_or(|until| self.books.last_day() < Some(until));
        ended.resolution == BreakResolution::ChannelCorrected && !ended.approvers.is_empty() && in_time
    }

    /// What the channel says about each number, whichever of its numbers that is.
    fn said(&self) -> BTreeMap<Key, Balance> {
        let mut said = BTreeMap::new();
        for (item, line) in self.items.iter().filter_map(|item| Some((item, item.line?))) {
            let keys = item.ours.into_iter().flat_map(|ours| ours.keys().cloned());
            for key in iter::once(key(line)).chain(keys) {
                said.entry(key).or_insert(line.signed());
            }
        }
        said
    }

    fn differences(&self, channel: &Name, policy: &Policy) -> BTreeMap<Uuid, ReconciliationBreakRaised> {
        let (mut found, mut places) = (BTreeMap::new(), BTreeMap::new());
        let mut add = |raised: ReconciliationBreakRaised| {
            // Several lines may have one number.
            let name = break_name(&raised);
            let place = places.entry(name.clone()).and_modify(|place| *place += 1).or_insert(1);
            let break_id = Uuid::new_v5(&NAMESPACE, format!("{channel}/{place}/{name}").as_bytes());
            let revision = self.books.statement_of(raised.statement_date).map_or(0, |statement| statement.revision);
            found.insert(break_id, ReconciliationBreakRaised { break_id, revision, ..raised });
        };
        self.items.iter().filter_map(|item| self.difference(item, channel, policy)).for_each(&mut add);
        self.off.iter().filter_map(|(about, off)| left(about, *off, channel)).for_each(&mut add);
        let repeats = self.repeats.iter();
        repeats.map(|line| about(line, ReconciliationClass::DuplicateInChannel, channel)).for_each(&mut add);
        self.books.statements().filter_map(control_total).for_each(&mut add);
        found
    }

    /// What differs about one payment or refund.
    fn difference(&self, item: &Item<'_>, channel: &Name, policy: &Policy) -> Option<ReconciliationBreakRaised> {
        let ledger_amount = match (item.ours, item.off.filter(|off| !off.is_zero())) {
            (None, None) => None,
            (ours, off) => Some(ours.map(Ours::signed).unwrap_or_default() + off.unwrap_or_default()),
        };
        let channel_amount = item.line.map(StatementLineReceived::signed);
        if ledger_amount.unwrap_or_default() == channel_amount.unwrap_or_default() {
            return None;
        }
        let raised = match (item.line, item.ours) {
            (Some(line), ours) => {
                let is_an_order = |order: &String| order.parse::<OrderId>().is_ok();
                let class = match ledger_amount {
                    Some(amount) => over_or_under(amount, line.signed()),
                    None if line.order_no.as_ref().is_some_and(is_an_order) => ReconciliationClass::MissingInLedger,
                    None => ReconciliationClass::UnknownOrder,
                };
                let order_no = ours.map(|ours| ours.order.clone()).or_else(|| line.order_no.clone());
                ReconciliationBreakRaised { order_no, ..about(line, class, channel) }
            }
            // The channel had a line of it, about which something was written off.
            (None, Some(ours)) if item.off.is_some() => {
                let class = over_or_under(ledger_amount.unwrap_or_default(), Balance::ZERO);
                let order_no = Some(ours.order.clone());
                ReconciliationBreakRaised { order_no, ..blank(channel, ours.business_date, class, Some(&ours.key)) }
            }
            // It is absent once the statement of its day is here, and missing once its time is over.
            (None, Some(ours)) => {
                let grace = Days::new(policy.statement_grace_days.into());
                let grace_until = ours.business_date.checked_add_days(grace).unwrap_or(ours.business_date);
                let class = match self.books.last_day() < Some(grace_until) {
                    true if self.books.statement_of(ours.business_date).is_none() => return None,
                    true => ReconciliationClass::Timing,
                    // What is older than the first statement is of no concern to it.
                    false if self.books.first_day() > Some(ours.business_date) => return None,
                    false => ReconciliationClass::MissingInChannel,
                };
                ReconciliationBreakRaised {
                    order_no: Some(ours.order.clone()),
                    grace_until: (class == ReconciliationClass::Timing).then_some(grace_until),
                    ..blank(channel, ours.business_date, class, Some(&ours.key))
                }
            }
            (None, None) => return None,
        };
        let transaction_id = item.ours.map(|ours| ours.id);
        Some(ReconciliationBreakRaised { transaction_id, ledger_amount, channel_amount, ..raised })
    }
}

/// The ledger has what was written off, and the channel has nothing any more.
fn left(about: &About, (date, amount): (NaiveDate, Balance), channel: &Name) -> Option<ReconciliationBreakRaised> {
    let (key, transaction_id) = match about {
        About::Number(key) => (Some(key), None),
        About::Transaction(id) => (None, Some(*id)),
    };
    (!amount.is_zero()).then(|| ReconciliationBreakRaised {
        ledger_amount: Some(amount),
        transaction_id,
        ..blank(channel, date, over_or_under(amount, Balance::ZERO), key)
    })
}

/// Gives each item what was written off about it: about its transaction, or about its number before there was one. Of a
/// number the line that is still unknown comes first, and of several the one with that amount. Answers what is left.
fn give_written_off(
    items: &mut [Item<'_>],
    mut off: BTreeMap<About, (NaiveDate, Balance)>,
) -> BTreeMap<About, (NaiveDate, Balance)> {
    let mut give = |item: &mut Item<'_>, about: About, only: Option<Balance>| {
        let amount =
            off.get(&about).map(|(_, amount)| *amount).filter(|amount| only.is_none_or(|only| only == *amount));
        if let Some(amount) = amount {
            off.remove(&about);
            item.off = Some(item.off.unwrap_or_default() + amount);
        }
    };
    for item in items.iter_mut() {
        if let Some(ours) = item.ours {
            give(item, About::Transaction(ours.id), None);
        }
    }
    for same_amount in [true, false] {
        for item in items.iter_mut().filter(|item| item.ours.is_none()) {
            if let Some(line) = item.line {
                give(item, About::Number(key(line)), same_amount.then(|| line.signed()));
            }
        }
    }
    for item in items.iter_mut() {
        let keys = item.line.map(key).into_iter().chain(item.ours.into_iter().flat_map(Ours::keys).cloned());
        keys.for_each(|key| give(item, About::Number(key), None));
    }
    off
}

fn over_or_under(ledger: Balance, channel: Balance) -> ReconciliationClass {
    match ledger < channel {
        true => ReconciliationClass::AmountChannelOver,
        false => ReconciliationClass::AmountChannelUnder,
    }
}

fn blank(
    channel: &Name,
    statement_date: NaiveDate,
    class: ReconciliationClass,
    key: Option<&Key>,
) -> ReconciliationBreakRaised {
    ReconciliationBreakRaised {
        break_id: Uuid::nil(),
        occurrence: 0,
        channel: channel.clone(),
        statement_date,
        revision: 0,
        class,
        side: key.map(|(side, _)| *side),
        number: key.map(|(_, number)| number.clone()),
        line_no: None,
        order_no: None,
        transaction_id: None,
        ledger_amount: None,
        channel_amount: None,
        grace_until: None,
    }
}

/// What a line says, and the ledger does not.
fn about(line: &StatementLineReceived, class: ReconciliationClass, channel: &Name) -> ReconciliationBreakRaised {
    ReconciliationBreakRaised {
        line_no: Some(line.line_no),
        order_no: line.order_no.clone(),
        channel_amount: Some(line.signed()),
        ..blank(channel, line.statement_date, class, Some(&key(line)))
    }
}

/// The lines of a statement are not what it says itself.
fn control_total(statement: &ChannelStatementReceived) -> Option<ReconciliationBreakRaised> {
    let net = statement.payments - statement.refunds;
    let agrees = statement.declared_lines.is_none_or(|declared| declared == statement.lines)
        && statement.declared_net.is_none_or(|declared| declared == net);
    (!agrees).then(|| ReconciliationBreakRaised {
        ledger_amount: Some(net),
        channel_amount: Some(statement.declared_net.unwrap_or(net)),
        ..blank(&statement.channel, statement.statement_date, ReconciliationClass::ControlTotal, None)
    })
}

/// What differs about one transaction, or about one number that is none of ours, on one day is one break, however it
/// changes; a repeat of the number is another.
fn break_name(raised: &ReconciliationBreakRaised) -> String {
    let repeat = if raised.class == ReconciliationClass::DuplicateInChannel { "repeat " } else { "" };
    let side = raised.side.map_or("statement", |side| side.as_str());
    let (date, number) = (raised.statement_date, raised.number.clone().unwrap_or_default());
    let about = raised.transaction_id.map_or(number, |id| id.to_string());
    format!("{date}/{repeat}{side}/{about}")
}

/// Whether two say the same, whichever revision and line says it.
fn differs_alike(one: &ReconciliationBreakRaised, other: &ReconciliationBreakRaised) -> bool {
    let (occurrence, revision, line_no) = (other.occurrence, other.revision, other.line_no);
    *other == ReconciliationBreakRaised { occurrence, revision, line_no, ..one.clone() }
}

/// Why a break is gone: the channel says something else than it did, or else the ledger does.
fn how_gone(raised: &ReconciliationBreakRaised, said: &BTreeMap<Key, Balance>) -> BreakResolution {
    let now = key_of(raised).and_then(|key| said.get(&key).copied());
    match (raised.class, raised.channel_amount) {
        (ReconciliationClass::ControlTotal | ReconciliationClass::DuplicateInChannel, _) => {
            BreakResolution::ChannelCorrected
        }
        (_, before) if before == now => BreakResolution::LateCapturePosted,
        (_, None) => BreakResolution::Timing,
        (_, Some(_)) => BreakResolution::ChannelCorrected,
    }
}

fn end(raised: &ReconciliationBreakRaised, resolution: BreakResolution) -> Data {
    Data::from(ended_by(raised, resolution, Vec::new(), None))
}
