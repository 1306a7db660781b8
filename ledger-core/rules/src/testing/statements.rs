//! A channel that sends statements, and the books that follow from its log.

use chrono::NaiveDate;
use schemas::{Data, Event, Name, OrderId, Stream, StreamKind, events::*};
use uuid::Uuid;

use super::{World, name, paid_by, top_up, yuan};
use crate::{
    LogTime,
    accounts::AccountCode::*,
    invariants,
    order::Order,
    policy::Policy,
    postings::postings,
    reconciliation::{self, Books, BreakDecision, BreakRefusal, Comparison, Ending, Line, Statement, receive},
};

pub fn day(number: u32) -> NaiveDate {
    NaiveDate::from_ymd_opt(2025, 3, number).unwrap()
}

/// A line of a payment, under an order of ours.
pub fn line(number: &str, amount: &str) -> Line {
    Line {
        line_no: 0,
        side: StatementSide::Payment,
        number: number.into(),
        amount: yuan(amount),
        fee: None,
        order_no: Some(card_order(9).to_string()),
    }
}

pub fn refund_line(number: &str, amount: &str) -> Line {
    Line { side: StatementSide::Refund, ..line(number, amount) }
}

pub fn card_order(number: u8) -> OrderId {
    OrderId::new(&Stream::new(StreamKind::Card, [1; 10]), [number; 8]).unwrap()
}

/// A top-up through this channel that nobody has paid.
pub fn asked() -> Order {
    let mut world = World::of(StreamKind::Card, "10:00:00");
    world.read(1, top_up("30.00"));
    world.order(1).clone()
}

/// A channel, its log, and the books that follow from it.
#[derive(Default)]
pub struct Channel {
    pub log: Vec<Event>,
    pub books: Books,
    pub accounts: invariants::Books,
}

impl Channel {
    pub const NAME: &str = "bestpay-web";

    pub fn append(&mut self, event: Event) {
        assert!(self.log.iter().all(|earlier| earlier.id != event.id), "twice: {event:?}");
        self.books.apply(&event);
        self.accounts.post(postings(&event));
        assert!(self.accounts.trial_balance().is_zero());
        self.log.push(event);
    }

    pub fn of_the_channel(&mut self, events: Vec<Data>) -> usize {
        let count = events.len();
        for data in events {
            self.append(Event::about_channel("/test", &name(Self::NAME), LogTime::UNIX_EPOCH.fixed_offset(), data));
        }
        count
    }

    /// Something that happened to the order of this number.
    pub fn told(&mut self, number: u8, data: impl Into<Data>) -> &mut Self {
        self.append(Event::about_order("/test", &card_order(number), LogTime::UNIX_EPOCH.fixed_offset(), data));
        self
    }

    /// A payment of the order with the number of its place, on a day of March.
    pub fn paid(&mut self, number: u8, txn: &str, amount: &str, date: u32) -> &mut Self {
        let business_date = day(date);
        self.told(number, PaymentCaptured { business_date, ..paid_by(Self::NAME, txn, amount) })
    }

    /// The events that a file of the day brings; its name is all that tells one from another.
    pub fn file(&mut self, date: u32, file_name: &str, lines: &[Line]) -> usize {
        self.file_with(date, file_name, lines, None)
    }

    /// As [`Channel::file`], for a file that says how many lines it has and what they add up to.
    pub fn file_with(&mut self, date: u32, file_name: &str, lines: &[Line], declared: Option<(u32, &str)>) -> usize {
        let lines: Vec<Line> =
            (2..).zip(lines).map(|(line_no, line): (u32, &Line)| Line { line_no, ..line.clone() }).collect();
        let statement = Statement {
            date: day(date),
            file_name: file_name.into(),
            sha256: file_name.repeat(9),
            lines,
            declared_lines: declared.map(|(lines, _)| lines),
            declared_net: declared.map(|(_, net)| net.parse().unwrap()),
        };
        let received = receive(&self.books, &name(Self::NAME), &statement).unwrap();
        self.of_the_channel(received) + self.compare()
    }

    /// The events that a comparison brings, with the statements that were read.
    pub fn compare(&mut self) -> usize {
        let changes = Comparison::of(&self.books).changes(&name(Self::NAME), &Policy::default());
        self.of_the_channel(changes)
    }

    pub fn matched(&self, date: u32) -> usize {
        Comparison::of(&self.books).matched(day(date))
    }

    /// `B7 amount_channel_under -1.00` for each open break.
    pub fn open(&self) -> Vec<String> {
        let text = |raised: &ReconciliationBreakRaised| {
            let number = raised.number.as_deref().unwrap_or("all");
            format!("{number} {} {}", raised.class, raised.difference())
        };
        self.books.open_breaks().into_iter().map(text).collect()
    }

    pub fn break_of(&self, number: &str) -> (Uuid, u16) {
        let of_it = |raised: &&ReconciliationBreakRaised| raised.number.as_deref().unwrap_or("all") == number;
        let raised = self.books.open_breaks().into_iter().find(of_it).unwrap();
        (raised.break_id, raised.occurrence)
    }

    /// Settles the break of this number; an order that is named was asked for through this channel.
    pub fn resolve(&mut self, number: &str, how: &BreakDecision, approvers: &[&str]) -> Result<(), BreakRefusal> {
        self.resolve_for(number, how, &asked(), approvers)
    }

    /// As [`Channel::resolve`], where this is what is known of the order.
    pub fn resolve_for(
        &mut self,
        number: &str,
        how: &BreakDecision,
        order: &Order,
        approvers: &[&str],
    ) -> Result<(), BreakRefusal> {
        let approvers: Vec<Name> = approvers.iter().map(|text| name(text)).collect();
        let Ending { order, resolved } = reconciliation::resolve(
            &self.books,
            self.break_of(number),
            how,
            Some(order),
            &approvers,
            &Policy::default(),
        )?;
        for (order, data) in
            order.into_iter().flat_map(|(order, data)| data.into_iter().map(move |d| (order.clone(), d)))
        {
            self.append(Event::about_order("/test", &order, LogTime::UNIX_EPOCH.fixed_offset(), data));
        }
        self.of_the_channel(vec![resolved.into()]);
        Ok(())
    }

    pub fn endings(&self) -> Vec<BreakResolution> {
        let ending = |event: &Event| match &event.data {
            Data::ReconciliationBreakResolved(data) => Some(data.resolution),
            _ => None,
        };
        self.log.iter().filter_map(ending).collect()
    }

    /// What the channel owes, what it has too much, and what it has too little.
    pub fn balances(&self) -> [String; 3] {
        [ChannelReceivable, SuspenseOver, SuspenseShort].map(|code| self.accounts.total(code).to_string())
    }
}
