//! What views show of a log, folded in any order.

use std::collections::{BTreeMap, BTreeSet};

use schemas::{Balance, Event};
use uuid::Uuid;

use crate::{
    LogTime,
    breaks::{Break, breaks_of},
    invariants::Books,
    order::{FulfilmentTrack, Order, OrderStatus, PaymentTrack, RefundTrack, RequestData},
    postings::{Leg, postings},
    settlement::{DayTotals, day_totals},
    stream::{StreamState, counts_once},
    testing::World,
};

type Tracks = (OrderStatus, PaymentTrack, FulfilmentTrack, RefundTrack);

/// What views show of one order.
#[derive(Debug, PartialEq)]
struct OrderView {
    asked: Option<RequestData>,
    tracks: Tracks,
    totals: [Balance; 9],
    breaks: Vec<Break>,
    rejected: bool,
}

/// What views show, positions and times of recording left out.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Views {
    orders: BTreeMap<String, OrderView>,
    state: StreamState,
    books: Books,
    days: BTreeMap<String, DayTotals>,
    journal: Vec<(Uuid, Vec<Leg>)>,
}

/// Folds events in the order given. Repeats are left out where they would add up, as the projector does.
pub(super) fn project<'a>(events: impl IntoIterator<Item = &'a Event>, world: &World) -> Views {
    let mut views = Views::default();
    views.state.of(world.stream.kind().unwrap());
    let (mut orders, mut seen) = (BTreeMap::<String, Order>::new(), BTreeSet::new());
    for event in events {
        let order_id = event.order();
        if !seen.insert(event.id) && (order_id.is_some() || counts_once(event)) {
            continue;
        }
        match order_id {
            Some(id) => {
                let order = orders.entry(id.to_string()).or_default();
                let booked_before = order.confirmation.standing();
                order.apply(event, LogTime::UNIX_EPOCH);
                views.state.absorb(event, order, booked_before);
            }
            None => views.state.apply(event),
        }
        let legs = postings(event);
        if !legs.is_empty() {
            views.journal.push((event.id, legs));
        }
        if let Some((channel, date, totals)) = day_totals(event, &world.policy) {
            views.days.entry(format!("{channel} {date}")).or_default().add(totals);
        }
    }
    views.books.post(views.journal.iter().flat_map(|(_, legs)| legs.iter().cloned()));
    views.journal.sort_by_key(|(id, _)| *id);
    views.orders = orders.into_iter().map(|(id, order)| (id, OrderView::of(&order, world))).collect();
    views
}

impl OrderView {
    fn of(order: &Order, world: &World) -> Self {
        let purchase = order.purchase.as_ref();
        Self {
            asked: order.request.as_ref().map(|request| request.data.clone()),
            tracks: (order.status(), order.payment_track(), order.fulfilment_track(), order.refund_track()),
            totals: [
                order.requested().into(),
                order.captured().into(),
                order.reversed().into(),
                order.refunded().into(),
                order.refund_open().into(),
                order.charged_back().into(),
                order.confirmation.standing(),
                order.fiscal_receipts,
                purchase.map_or(Balance::ZERO, |purchase| purchase.receivable(order)),
            ],
            breaks: breaks_of(order, &world.policy),
            rejected: order.rejection().is_some(),
        }
    }
}
