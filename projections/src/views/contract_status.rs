//! Contract status: what a loan contract's repayments add up to, and whether a new one would be let in.

use chrono::{DateTime, Utc};
use engine::{store::Row, stream::StreamError};
use postgres::{Transaction, types::Type};
use rules::contract::{LoanContract, Standing};

use super::Table;
use crate::projector::State;

pub(super) const TABLE: Table = Table {
    name: "contract_status",
    ddl: "create table contract_status (
        stream text primary key, partition int not null, contract text, contract_type text, student uuid, beneficiary text,
        enrolment text, outstanding_fen bigint, overdue_fen bigint, quoted_at timestamptz, repaid_fen bigint not null,
        in_flight int not null, uncertain int not null, last_repaid_on date)",
    indexes: &[],
};

type Changed<'a> = (&'a str, &'a Row<LoanContract>);

fn count(contract: &LoanContract, standing: Standing) -> i32 {
    i32::try_from(contract.attempts.values().filter(|attempt| attempt.standing == standing).count()).unwrap_or(i32::MAX)
}

pub(super) fn write(tx: &mut Transaction<'_>, state: &State) -> Result<(), StreamError> {
    let mut changed: Vec<Changed<'_>> = state.contracts.changed().collect();
    if changed.is_empty() {
        return Ok(());
    }
    changed.sort_unstable_by_key(|(key, _)| *key);
    columns!(
        &changed,
        tx,
        "insert into contract_status select * from unnest($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)
         on conflict (stream) do update set contract = excluded.contract, contract_type = excluded.contract_type,
           student = excluded.student, beneficiary = excluded.beneficiary, enrolment = excluded.enrolment,
           outstanding_fen = excluded.outstanding_fen, overdue_fen = excluded.overdue_fen,
           quoted_at = excluded.quoted_at, repaid_fen = excluded.repaid_fen, in_flight = excluded.in_flight,
           uncertain = excluded.uncertain, last_repaid_on = excluded.last_repaid_on",
        (stream: TEXT_ARRAY = |(key, _): &Changed<'_>| key.to_string()),
        (partition: INT4_ARRAY = |(_, row): &Changed<'_>| row.partition()),
        (contract: TEXT_ARRAY = |(_, row): &Changed<'_>| row.state.terms.as_ref().map(|t| t.contract.clone())),
        (contract_type: TEXT_ARRAY = |(_, row): &Changed<'_>| row.state.terms.as_ref().map(|t| t.contract_type.clone())),
        (student: UUID_ARRAY = |(_, row): &Changed<'_>| row.state.terms.as_ref().map(|t| t.student)),
        (beneficiary: TEXT_ARRAY = |(_, row): &Changed<'_>| row.state.terms.as_ref().map(|t| t.beneficiary.to_string())),
        (enrolment: TEXT_ARRAY = |(_, row): &Changed<'_>| row.state.enrolment.as_ref().map(|e| e.result.as_str())),
        (outstanding: INT8_ARRAY = |(_, row): &Changed<'_>| row.state.quote.as_ref().and_then(|q| q.outstanding).map(|a| a.fen())),
        (overdue: INT8_ARRAY = |(_, row): &Changed<'_>| row.state.quote.as_ref().and_then(|q| q.overdue).map(|a| a.fen())),
        (quoted_at: TIMESTAMPTZ_ARRAY = |(_, row): &Changed<'_>| row.state.quote.as_ref().map(|q| -> DateTime<Utc> { q.as_of.to_utc() })),
        (repaid: INT8_ARRAY = |(_, row): &Changed<'_>| row.state.repaid.fen()),
        (in_flight: INT4_ARRAY = |(_, row): &Changed<'_>| count(&row.state, Standing::InFlight)),
        (uncertain: INT4_ARRAY = |(_, row): &Changed<'_>| count(&row.state, Standing::Uncertain)),
        (last: DATE_ARRAY = |(_, row): &Changed<'_>| {
            row.state.attempts.values().filter(|a| a.standing == Standing::Confirmed).map(|a| a.day).max()
        }),
    )?;
    Ok(())
}
