//! Reading the reports: orders, balances, and the balances as they were.

use chrono::{DateTime, NaiveDate, Utc};
use deadpool_postgres::{
    Client, Pool,
    tokio_postgres::{IsolationLevel, Row},
};
use engine::postgres::QueryError;
use rules::order::OrderStatus;
use schemars::JsonSchema;
use serde::Serialize;

/// An order as finance sees it.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct OrderReport {
    pub order_id: String,
    /// `loan_repayment`, `card_top_up`, `fee_payment` or `purchase`; absent while no request is known.
    pub kind: Option<String>,
    pub channel: Option<String>,
    pub status: String,
    /// The status in Chinese.
    pub status_zh: String,
    pub payment: String,
    pub fulfilment: String,
    pub refund: String,
    pub reason: Option<String>,
    /// Yuan, as decimal strings.
    pub requested: String,
    pub captured: String,
    pub confirmed: String,
    pub refunded: String,
    pub refund_open: String,
    pub requested_at: Option<DateTime<Utc>>,
    /// Where the log last changed it.
    pub position: String,
}

/// One line of the trial balance.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct BalanceReport {
    pub account: i32,
    pub name: String,
    pub name_zh: String,
    pub owner: String,
    /// Yuan; debit positive, credit negative.
    pub balance: String,
}

/// Held, where it is, and the gap, in yuan.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct PositionReport {
    pub held: String,
    pub located: String,
    pub gap: String,
}

const ORDER_COLUMNS: &str =
    "order_id, kind, channel, status, payment, fulfilment, refund, reason, requested::text, captured::text,
    confirmed::text, refunded::text, refund_open::text, requested_at, position";

fn order(row: &Row) -> OrderReport {
    let status: String = row.get(3);
    let known = OrderStatus::ALL.iter().find(|known| known.as_str() == status);
    OrderReport {
        order_id: row.get(0),
        kind: row.get(1),
        channel: row.get(2),
        status_zh: known.map(|known| known.zh()).unwrap_or_default().to_owned(),
        status,
        payment: row.get(4),
        fulfilment: row.get(5),
        refund: row.get(6),
        reason: row.get(7),
        requested: row.get(8),
        captured: row.get(9),
        confirmed: row.get(10),
        refunded: row.get(11),
        refund_open: row.get(12),
        requested_at: row.get(13),
        position: row.get(14),
    }
}

pub async fn find_order(pool: &Pool, order_id: &str) -> Result<Option<OrderReport>, QueryError> {
    let sql = format!("select {ORDER_COLUMNS} from finance.orders where order_id = $1");
    Ok(pool.get().await?.query_opt(&sql, &[&order_id]).await?.as_ref().map(order))
}

/// The newest orders first, at most `limit`; of one status if it is given.
pub async fn list_orders(pool: &Pool, status: Option<&str>, limit: i64) -> Result<Vec<OrderReport>, QueryError> {
    let sql = format!(
        "select {ORDER_COLUMNS} from finance.orders where $1::text is null or status = $1
         order by requested_at desc nulls last, order_id limit $2"
    );
    Ok(pool.get().await?.query(&sql, &[&status, &limit]).await?.iter().map(order).collect())
}

fn balance(row: &Row) -> BalanceReport {
    BalanceReport { account: row.get(0), name: row.get(1), name_zh: row.get(2), owner: row.get(3), balance: row.get(4) }
}

pub async fn balances(pool: &Pool) -> Result<Vec<BalanceReport>, QueryError> {
    Ok(pool.get().await?.query(BALANCES, &[]).await?.iter().map(balance).collect())
}

/// Up to where balances are wanted: a time of the log, or an offset for each partition.
#[derive(Clone, Debug)]
pub enum AsOf {
    Time(DateTime<Utc>),
    Offsets(Vec<i64>),
}

/// Balances as they were, added up from the journal.
pub async fn balances_as_of(pool: &Pool, as_of: &AsOf) -> Result<Vec<BalanceReport>, QueryError> {
    let client = pool.get().await?;
    let schema = active_schema(&client).await?;
    let (filter, time, offsets) = match as_of {
        AsOf::Time(time) => ("j.recorded_at <= $1 and $2::bigint[] is not null", Some(*time), Vec::new()),
        AsOf::Offsets(offsets) => {
            ("$1::timestamptz is null and j.\"offset\" < ($2::bigint[])[j.partition + 1]", None, offsets.clone())
        }
    };
    let sql = format!(
        "select j.account, a.name, a.name_zh, j.owner, finance.yuan(sum(j.amount_fen)::bigint)::text
         from {schema}.journal j join finance.accounts a using (account) where {filter}
         group by j.account, a.name, a.name_zh, j.owner having sum(j.amount_fen) <> 0 order by j.account, j.owner"
    );
    Ok(client.query(&sql, &[&time, &offsets]).await?.iter().map(balance).collect())
}

pub async fn position(pool: &Pool) -> Result<PositionReport, QueryError> {
    Ok(position_of(&pool.get().await?.query_one(POSITION, &[]).await?))
}

const BALANCES: &str =
    "select account, name, name_zh, owner, balance::text from finance.balances order by account, owner";
const POSITION: &str = "select held::text, located::text, gap::text from finance.position";

fn position_of(row: &Row) -> PositionReport {
    PositionReport { held: row.get(0), located: row.get(1), gap: row.get(2) }
}

/// Balances and position of one and the same moment.
pub async fn books(pool: &Pool) -> Result<(Vec<BalanceReport>, PositionReport), QueryError> {
    let mut client = pool.get().await?;
    let moment = client.build_transaction().isolation_level(IsolationLevel::RepeatableRead).read_only(true);
    let moment = moment.start().await?;
    let balances = moment.query(BALANCES, &[]).await?.iter().map(balance).collect();
    Ok((balances, position_of(&moment.query_one(POSITION, &[]).await?)))
}

/// The schema, which is also the projection's name, of the generation that is shown.
pub async fn active_schema(client: &Client) -> Result<String, QueryError> {
    let row = client.query_one("select 'views_g' || id from finance.generation where active", &[]).await?;
    Ok(row.get(0))
}

/// Classes of the breaks of an order or stream that are open.
pub async fn open_breaks(pool: &Pool, subject: &str) -> Result<Vec<String>, QueryError> {
    let sql = "select class from finance.breaks where subject = $1 and open order by class";
    Ok(pool.get().await?.query(sql, &[&subject]).await?.iter().map(|row| row.get(0)).collect())
}

/// What the ledger expects the channels whose names begin so to settle for a day, in yuan: their fees, and what is left.
pub async fn settlement(pool: &Pool, channels: &str, day: NaiveDate) -> Result<(String, String), QueryError> {
    let sql = "select coalesce(sum(fees), 0)::numeric(18, 2)::text, coalesce(sum(net), 0)::numeric(18, 2)::text
               from finance.settlement_days where starts_with(channel, $1) and business_date = $2";
    let row = pool.get().await?.query_one(sql, &[&channels, &day]).await?;
    Ok((row.get(0), row.get(1)))
}

/// What a student owes in all, in yuan.
pub async fn arrears(pool: &Pool, stream: &str) -> Result<String, QueryError> {
    let sql = "select coalesce(sum(outstanding), 0)::numeric(18, 2)::text from finance.fees where stream = $1";
    Ok(pool.get().await?.query_one(sql, &[&stream]).await?.get(0))
}
