//! Contract status: what a loan contract's repayments add up to, and whether a new one would be let in.

use chrono::{DateTime, Utc};
use engine::store::Column;
use rules::{
    contract::{LoanContract, Quote, Standing, Terms},
    stream::StreamState,
};

pub(crate) const NAME: &str = "contract_status";

fn count(state: &StreamState, standing: Standing) -> i32 {
    let attempts = state.loan().into_iter().flat_map(|contract| contract.attempts.values());
    i32::try_from(attempts.filter(|attempt| attempt.standing == standing).count()).unwrap_or(i32::MAX)
}

/// What the newest request says of a contract.
fn terms<T>(state: &StreamState, value: impl Fn(&Terms) -> T) -> Option<T> {
    state.loan()?.terms.as_ref().map(value)
}

fn quote<T>(state: &StreamState, value: impl Fn(&Quote) -> Option<T>) -> Option<T> {
    state.loan()?.quote.as_ref().and_then(value)
}

#[rustfmt::skip]
pub(crate) fn columns() -> Vec<Column<StreamState>> {
    vec![
        Column::new("contract", "text", |_, row| terms(&row.state, |t| t.contract.clone())),
        Column::new("contract_type", "text", |_, row| terms(&row.state, |t| t.contract_type.clone())),
        Column::new("student", "uuid", |_, row| terms(&row.state, |t| t.student)),
        Column::new("beneficiary", "text", |_, row| terms(&row.state, |t| t.beneficiary.to_string())),
        Column::new("enrolment", "text", |_, row| {
            row.state.loan().and_then(|contract| contract.enrolment.as_ref()).map(|e| e.result.as_str())
        }),
        Column::new("outstanding_fen", "bigint", |_, row| quote(&row.state, |q| q.outstanding.map(|a| a.fen()))),
        Column::new("overdue_fen", "bigint", |_, row| quote(&row.state, |q| q.overdue.map(|a| a.fen()))),
        Column::new("quoted_at", "timestamptz", |_, row| quote(&row.state, |q| -> Option<DateTime<Utc>> { Some(q.as_of.to_utc()) })),
        Column::new("repaid_fen", "bigint not null", |_, row| row.state.loan().map_or(0, |contract| contract.repaid.fen())),
        Column::new("in_flight", "int not null", |_, row| count(&row.state, Standing::InFlight)),
        Column::new("uncertain", "int not null", |_, row| count(&row.state, Standing::Uncertain)),
        Column::new("unread", "int not null", |_, row| super::unread(&row.state)),
        Column::new("last_repaid_on", "date", |_, row| row.state.loan().and_then(LoanContract::last_repaid_on)),
    ]
}
