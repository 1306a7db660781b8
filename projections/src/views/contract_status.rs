//! Contract status: what a loan contract's repayments add up to, and whether a new one would be let in.

use chrono::{DateTime, Utc};
use engine::store::Column;
use rules::contract::{LoanContract, Standing};

pub(crate) const NAME: &str = "contract_status";

fn count(contract: &LoanContract, standing: Standing) -> i32 {
    i32::try_from(contract.attempts.values().filter(|attempt| attempt.standing == standing).count()).unwrap_or(i32::MAX)
}

#[rustfmt::skip]
pub(crate) fn columns() -> Vec<Column<LoanContract>> {
    vec![
        Column::new("contract", "text", |_, row| row.state.terms.as_ref().map(|t| t.contract.clone())),
        Column::new("contract_type", "text", |_, row| row.state.terms.as_ref().map(|t| t.contract_type.clone())),
        Column::new("student", "uuid", |_, row| row.state.terms.as_ref().map(|t| t.student)),
        Column::new("beneficiary", "text", |_, row| row.state.terms.as_ref().map(|t| t.beneficiary.to_string())),
        Column::new("enrolment", "text", |_, row| row.state.enrolment.as_ref().map(|e| e.result.as_str())),
        Column::new("outstanding_fen", "bigint", |_, row| {
            row.state.quote.as_ref().and_then(|q| q.outstanding).map(|a| a.fen())
        }),
        Column::new("overdue_fen", "bigint", |_, row| row.state.quote.as_ref().and_then(|q| q.overdue).map(|a| a.fen())),
        Column::new("quoted_at", "timestamptz", |_, row| {
            row.state.quote.as_ref().map(|q| -> DateTime<Utc> { q.as_of.to_utc() })
        }),
        Column::new("repaid_fen", "bigint not null", |_, row| row.state.repaid.fen()),
        Column::new("in_flight", "int not null", |_, row| count(&row.state, Standing::InFlight)),
        Column::new("uncertain", "int not null", |_, row| count(&row.state, Standing::Uncertain)),
        Column::new("unread", "int not null", |_, row| i32::try_from(row.state.unread.len()).unwrap_or(i32::MAX)),
        Column::new("last_repaid_on", "date", |_, row| {
            row.state.attempts.values().filter(|a| a.standing == Standing::Confirmed).map(|a| a.day).max()
        }),
    ]
}
