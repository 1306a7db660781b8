//! Orders: one row for each attempt to pay, with its totals, tracks and status.

use engine::store::Column;
use rules::{
    order::{Capture, Order},
    purchase::Purchase,
};
use schemas::{OrderId, events::PurchasePosted};

use super::last_offset;

pub(crate) const NAME: &str = "orders";

pub(super) const INDEXES: &[&str] = &[
    "create index if not exists orders_status on orders (status)",
    "create index if not exists orders_stream on orders (stream)",
];

/// Why an order is where it is, in the word that staff would look up.
fn reason_of(order: &Order) -> Option<String> {
    let refund = || order.refunds.values().find_map(|refund| refund.reason.filter(|_| !refund.initiated.is_zero()));
    order
        .rejection()
        .map(|reason| reason.to_string())
        .or_else(|| refund().map(|reason| reason.to_string()))
        .or_else(|| order.confirmation.failed.clone())
        .or_else(|| order.confirmation.uncertain.clone())
        .or_else(|| order.declined.as_ref().map(|declined| declined.code.clone()))
        .or_else(|| order.purchase.as_ref().and_then(|purchase| flags_of(purchase)))
}

/// What is odd about a purchase that counts all the same.
fn flags_of(purchase: &Purchase) -> Option<String> {
    let flags = &purchase.posted.as_ref()?.flags;
    (!flags.is_empty()).then(|| flags.iter().map(|flag| flag.as_str()).collect::<Vec<_>>().join(", "))
}

#[rustfmt::skip]
pub(crate) fn columns() -> Vec<Column<Order>> {
    vec![
        Column::new("last_offset", "bigint not null", |_, row| last_offset(row)),
        Column::new("stream", "text not null", |key, _| {
            key.parse::<OrderId>().map(|id| id.stream().to_string()).unwrap_or_default()
        }),
        Column::new("kind", "text", |_, row| row.state.request.as_ref().map(|r| r.data.kind())),
        Column::new("channel", "text", |_, row| channel_of(&row.state)),
        Column::new("beneficiary", "text", |_, row| row.state.request.as_ref().map(|r| r.data.beneficiary().to_string())),
        Column::new("student", "uuid", |_, row| row.state.request.as_ref().and_then(|r| r.data.student())),
        Column::new("status", "text not null", |_, row| row.state.status().as_str()),
        Column::new("payment", "text not null", |_, row| row.state.payment_track().as_str()),
        Column::new("fulfilment", "text not null", |_, row| row.state.fulfilment_track().as_str()),
        Column::new("refund", "text not null", |_, row| row.state.refund_track().as_str()),
        Column::new("reason", "text", |_, row| reason_of(&row.state)),
        Column::new("funding", "text", |_, row| posted(&row.state).map(|posted| posted.funding.as_str())),
        Column::new("agreement_no", "text", |_, row| posted(&row.state).and_then(|posted| posted.agreement_no.clone())),
        Column::new("requested_fen", "bigint not null", |_, row| row.state.requested().fen()),
        Column::new("captured_fen", "bigint not null", |_, row| row.state.captured().fen()),
        Column::new("reversed_fen", "bigint not null", |_, row| row.state.reversed().fen()),
        Column::new("confirmed_fen", "bigint not null", |_, row| row.state.confirmation.standing().fen()),
        Column::new("refunded_fen", "bigint not null", |_, row| row.state.refunded().fen()),
        Column::new("refund_open_fen", "bigint not null", |_, row| row.state.refund_open().fen()),
        Column::new("charged_back_fen", "bigint not null", |_, row| row.state.charged_back().fen()),
        Column::new("receivable_fen", "bigint not null", |_, row| row.state.receivable().fen()),
        Column::new("requested_at", "timestamptz", |_, row| row.state.request.as_ref().map(|r| r.recorded_at)),
        Column::new("expires_at", "timestamptz", |_, row| row.state.accepted_until()),
        Column::new("captured_at", "timestamptz", |_, row| earliest(&row.state).map(|c| c.captured_at.to_utc())),
        Column::new("confirmed_at", "timestamptz", |_, row| row.state.confirmation.confirmed_at),
        Column::new("fiscal_receipts_fen", "bigint not null", |_, row| row.state.fiscal_receipts.fen()),
        Column::new("business_date", "date", |_, row| earliest(&row.state).map(|c| c.business_date)),
        Column::new("bank_ref", "text", |_, row| row.state.confirmation.bank_ref.clone()),
    ]
}

fn posted(order: &Order) -> Option<&PurchasePosted> {
    order.purchase.as_ref()?.posted.as_ref()
}

/// Of several captures the one that was made first, whichever the log has first.
fn earliest(order: &Order) -> Option<&Capture> {
    order.captures.iter().min_by_key(|capture| (capture.captured_at, capture.id))
}

fn channel_of(order: &Order) -> Option<String> {
    let requested = order.request.as_ref().map(|request| request.data.channel());
    requested.or(earliest(order).map(|capture| &capture.channel)).map(ToString::to_string)
}
