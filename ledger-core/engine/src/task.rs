//! Calls to the outside, as rows that are claimed, submitted and finished by compare-and-set.
//!
//! A task is written once under its key, in the transaction of the decision that asks for it. Whoever moves it from
//! `ready` first has it: the executor to claim it, or the coordinator to cancel it. A claim that was never finished
//! becomes `unknown` when its lease is over: perhaps the call went out.

use std::{collections::BTreeMap, time::Duration};

use chrono::{DateTime, Utc};
use deadpool_postgres::Pool;
use postgres::{Transaction, types::Type};

use crate::postgres::QueryError;

/// A task to write down.
#[derive(Clone, Debug, PartialEq)]
pub struct NewTask {
    /// Names the call for good: the same key is never written twice.
    pub key: String,
    /// Who is called; see [`claim`].
    pub party: String,
    pub payload: String,
    /// `None`: nobody claims it by itself; see [`held`].
    pub due_at: Option<DateTime<Utc>>,
    /// The call may have gone out already: its outcome must be asked for first.
    pub unknown: bool,
    /// Not to go out (again). What waits is cancelled; of what may have gone out, only the outcome is asked for.
    pub stopped: bool,
}

/// A claimed task.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Task {
    pub key: String,
    pub party: String,
    pub payload: String,
    /// The call may have gone out already.
    pub unknown: bool,
    /// The call must not go out (again).
    pub stopped: bool,
    /// How often it has been claimed before.
    pub tries: i32,
    claim: i64,
}

/// Writes tasks that are not yet written, and stops those that are to be stopped.
pub fn insert(tx: &mut Transaction<'_>, tasks: &[NewTask]) -> Result<(), postgres::Error> {
    if tasks.is_empty() {
        return Ok(());
    }
    let keys: Vec<&str> = tasks.iter().map(|task| task.key.as_str()).collect();
    let parties: Vec<&str> = tasks.iter().map(|task| task.party.as_str()).collect();
    let payloads: Vec<&str> = tasks.iter().map(|task| task.payload.as_str()).collect();
    let due: Vec<Option<DateTime<Utc>>> = tasks.iter().map(|task| task.due_at).collect();
    let states: Vec<&str> =
        tasks.iter().map(|task| if task.unknown || task.stopped { "unknown" } else { "ready" }).collect();
    let stopped: Vec<bool> = tasks.iter().map(|task| task.stopped).collect();
    tx.execute_typed(
        "insert into engine.task (key, party, payload, due_at, state, stopped)
         select * from unnest($1, $2, $3, $4, $5, $6) on conflict (key) do nothing",
        &[
            (&keys, Type::TEXT_ARRAY),
            (&parties, Type::TEXT_ARRAY),
            (&payloads, Type::TEXT_ARRAY),
            (&due, Type::TIMESTAMPTZ_ARRAY),
            (&states, Type::TEXT_ARRAY),
            (&stopped, Type::BOOL_ARRAY),
        ],
    )?;
    let stopped: Vec<&str> = tasks.iter().filter(|task| task.stopped).map(|task| task.key.as_str()).collect();
    if stopped.is_empty() {
        return Ok(());
    }
    tx.execute_typed(
        "update engine.task set stopped = true, updated_at = now(),
                state = case when state = 'ready' then 'cancelled' else state end
         where key = any($1) and not stopped and state not in ('done', 'cancelled')",
        &[(&stopped, Type::TEXT_ARRAY)],
    )?;
    Ok(())
}

/// Withdraws a task. False when the executor has had it: then the call stands.
pub fn cancel(tx: &mut Transaction<'_>, key: &str) -> Result<bool, postgres::Error> {
    let cancelled = tx.execute(
        "update engine.task set state = 'cancelled', updated_at = now() where key = $1 and state = 'ready'",
        &[&key],
    )?;
    if cancelled == 1 {
        return Ok(true);
    }
    let taken =
        tx.query_one("select exists (select from engine.task where key = $1 and state <> 'cancelled')", &[&key])?;
    Ok(!taken.get::<_, bool>(0))
}

/// Takes tasks back for good: those that wait are cancelled, and those that are under way end with what they have in
/// hand, are not sent again and not asked about again.
pub fn withdraw(tx: &mut Transaction<'_>, keys: &[String]) -> Result<(), postgres::Error> {
    if keys.is_empty() {
        return Ok(());
    }
    let sql = "update engine.task set withdrawn = true, updated_at = now(),
                      state = case when state in ('ready', 'unknown') then 'cancelled' else state end
               where key = any($1) and state not in ('done', 'cancelled')";
    tx.execute(sql, &[&keys])?;
    Ok(())
}

/// Tasks that have no time and wait to be taken by hand: their keys and payloads, in the order of the keys.
pub async fn held(pool: &Pool) -> Result<Vec<(String, String)>, QueryError> {
    let sql = "select key, payload from engine.task
               where due_at is null and state in ('ready', 'claimed') and not withdrawn order by key";
    let rows = pool.get().await?.query(sql, &[]).await?;
    Ok(rows.iter().map(|row| (row.get(0), row.get(1))).collect())
}

/// Takes tasks that have no time: from here on they cannot be cancelled. Answers which of them were still there.
pub async fn take(pool: &Pool, keys: &[String]) -> Result<Vec<String>, QueryError> {
    let sql = "update engine.task set state = 'claimed', updated_at = now()
               where key = any($1) and due_at is null and state in ('ready', 'claimed') and not withdrawn returning key";
    let rows = pool.get().await?.query(sql, &[&keys]).await?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}

/// What was taken goes out, all of it or nothing: `false` when somebody else has sent some of it meanwhile.
pub async fn gone_out(pool: &Pool, keys: &[String]) -> Result<bool, QueryError> {
    let sql = "update engine.task set state = 'done', updated_at = now()
               where key = any($1) and due_at is null and state = 'claimed'";
    let mut client = pool.get().await?;
    let tx = client.transaction().await?;
    let all = tx.execute(sql, &[&keys]).await? == keys.len() as u64;
    if all {
        tx.commit().await?;
    } else {
        tx.rollback().await?;
    }
    Ok(all)
}

/// How many tasks may be under way in one process.
#[derive(Clone, Copy, Debug)]
pub struct Room<'a> {
    /// How many more may begin now.
    pub free: usize,
    /// How many at most with one party, so that one that does not answer leaves room for the others.
    pub per_party: usize,
    /// How many are under way with each.
    pub busy: &'a BTreeMap<String, usize>,
}

/// Claims tasks that are due at `now`, those of a party with no room left out. Claims of a silent executor come back as
/// unknown once their lease is over, or end there if they have been withdrawn meanwhile.
pub async fn claim(pool: &Pool, room: Room<'_>, now: DateTime<Utc>, lease: Duration) -> Result<Vec<Task>, QueryError> {
    let count = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
    let (parties, busy): (Vec<&str>, Vec<i64>) =
        room.busy.iter().map(|(party, busy)| (party.as_str(), count(*busy))).unzip();
    let client = pool.get().await?;
    let statement = client
        .prepare_typed_cached(
            "with recursive ended as (
               update engine.task set state = 'cancelled', lease_until = null, updated_at = now()
               where key in (select key from engine.task where withdrawn and state in ('claimed', 'submitted')
                             and lease_until < now() for update skip locked)),
             party as (
               (select party from engine.task where state in ('ready', 'claimed', 'submitted', 'unknown')
                order by party limit 1)
               union all
               select (select t.party from engine.task t
                       where t.party > p.party and t.state in ('ready', 'claimed', 'submitted', 'unknown')
                       order by t.party limit 1)
               from party p where p.party is not null),
             due as (
               select d.* from party p left join unnest($5, $6) as b (party, tasks) using (party)
               cross join lateral (
                 select key, state, due_at from engine.task t
                 where t.party = p.party and due_at <= $2 and not withdrawn
                   and (state in ('ready', 'unknown') or state in ('claimed', 'submitted') and lease_until < now())
                 order by due_at limit greatest(0, least($1, $4 - coalesce(b.tasks, 0))) for update skip locked) d)
             update engine.task t set claim = t.claim + 1, tries = t.tries + 1, updated_at = now(),
                    state = 'claimed', lease_until = now() + make_interval(secs => $3)
             from (select key, state from due order by due_at limit $1) n
             where t.key = n.key
             returning t.key, t.party, t.payload, n.state <> 'ready', t.stopped, t.tries - 1, t.claim",
            &[Type::INT8, Type::TIMESTAMPTZ, Type::FLOAT8, Type::INT8, Type::TEXT_ARRAY, Type::INT8_ARRAY],
        )
        .await?;
    let (free, per_party) = (count(room.free), count(room.per_party));
    let rows = client.query(&statement, &[&free, &now, &lease.as_secs_f64(), &per_party, &parties, &busy]).await?;
    Ok(rows
        .iter()
        .map(|row| Task {
            key: row.get(0),
            party: row.get(1),
            payload: row.get(2),
            unknown: row.get(3),
            stopped: row.get(4),
            tries: row.get(5),
            claim: row.get(6),
        })
        .collect())
}

/// The call is about to go out. False when the claim has been lost, or its task stopped meanwhile: then it must not.
pub async fn submit(pool: &Pool, task: &Task, lease: Duration) -> Result<bool, QueryError> {
    let sql = "update engine.task set state = 'submitted', updated_at = now(),
                      lease_until = now() + make_interval(secs => $3)
               where key = $1 and claim = $2 and state = 'claimed' and not withdrawn and stopped = $4";
    let client = pool.get().await?;
    let statement = client.prepare_typed_cached(sql, &[Type::TEXT, Type::INT8, Type::FLOAT8, Type::BOOL]).await?;
    Ok(client.execute(&statement, &[&task.key, &task.claim, &lease.as_secs_f64(), &task.stopped]).await? == 1)
}

/// The outcome is in the log: nothing is left to do.
pub async fn finish(pool: &Pool, task: &Task) -> Result<(), QueryError> {
    settle(pool, task, "done", None, "").await
}

/// Nothing went out; try again at `due_at`.
pub async fn put_back(pool: &Pool, task: &Task, due_at: DateTime<Utc>, why: &str) -> Result<(), QueryError> {
    settle(pool, task, "ready", Some(due_at), why).await
}

/// It was stopped, and never went out.
pub async fn end(pool: &Pool, task: &Task, why: &str) -> Result<(), QueryError> {
    settle(pool, task, "cancelled", None, why).await
}

/// The call may have gone out; ask for its outcome at `due_at`.
pub async fn leave_unknown(pool: &Pool, task: &Task, due_at: DateTime<Utc>, why: &str) -> Result<(), QueryError> {
    settle(pool, task, "unknown", Some(due_at), why).await
}

async fn settle(
    pool: &Pool,
    task: &Task,
    state: &str,
    due_at: Option<DateTime<Utc>>,
    why: &str,
) -> Result<(), QueryError> {
    let sql = "update engine.task set due_at = coalesce($4, due_at), last_error = nullif($5, ''),
                      lease_until = null, updated_at = now(),
                      state = case when withdrawn and $3 <> 'done' or stopped and $3 = 'ready' then 'cancelled' else $3 end
               where key = $1 and claim = $2 and state in ('claimed', 'submitted')";
    let client = pool.get().await?;
    let types = [Type::TEXT, Type::INT8, Type::TEXT, Type::TIMESTAMPTZ, Type::TEXT];
    let statement = client.prepare_typed_cached(sql, &types).await?;
    client.execute(&statement, &[&task.key, &task.claim, &state, &due_at, &why]).await?;
    Ok(())
}

/// How many tasks are due at `now` or under way.
pub async fn due(pool: &Pool, now: DateTime<Utc>) -> Result<i64, QueryError> {
    let sql = "select count(*) from engine.task
               where state in ('ready', 'claimed', 'submitted', 'unknown') and not withdrawn
                 and (due_at <= $1 or due_at is not null and state in ('claimed', 'submitted'))";
    Ok(pool.get().await?.query_one(sql, &[&now]).await?.get(0))
}

/// How many tasks are due since `before`, and nobody has taken them.
pub async fn left(pool: &Pool, before: DateTime<Utc>) -> Result<i64, QueryError> {
    let sql = "select count(*) from engine.task
               where state in ('ready', 'unknown') and not withdrawn and due_at <= $1";
    Ok(pool.get().await?.query_one(sql, &[&before]).await?.get(0))
}
