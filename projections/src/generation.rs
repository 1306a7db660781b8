//! Generations: complete sets of tables, each built from offset 0. The public views in `finance` show one of them, so
//! a rebuild works beside the live tables and takes their place in one transaction.

use chrono::{DateTime, Utc};
use postgres::{Client, Error, GenericClient, Transaction, types::Type};
use rules::accounts::AccountCode;

use crate::{
    projector::State,
    views::{INDEXES, STORES, TABLES},
};

const PUBLIC_VIEWS: &str = include_str!("finance.sql");

/// One set of tables.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Generation {
    id: i32,
    schema: String,
}

/// What there is of one generation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    pub generation: Generation,
    pub shown: bool,
    pub created_at: DateTime<Utc>,
    pub bytes: i64,
    /// By partition.
    pub next_offsets: Vec<i64>,
}

impl Generation {
    fn new(id: i32) -> Self {
        Self { id, schema: format!("views_g{id}") }
    }

    pub fn id(&self) -> i32 {
        self.id
    }

    /// The schema of its tables.
    pub fn schema(&self) -> &str {
        &self.schema
    }

    /// The name of its fence and leases.
    pub fn projection(&self) -> &str {
        &self.schema
    }

    /// Every table of the generation, for comparing it with another.
    pub fn tables() -> impl Iterator<Item = &'static str> {
        TABLES.iter().map(|table| table.name).chain(STORES.iter().copied())
    }

    /// The tables that it lacks: it was made by a version of the program that did not have them.
    pub fn missing_tables(&self, client: &mut impl GenericClient) -> Result<Vec<&'static str>, Error> {
        let rows = client.query("select tablename::text from pg_tables where schemaname = $1", &[&self.schema])?;
        let present: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
        Ok(Self::tables().filter(|table| present.iter().all(|name| name != table)).collect())
    }

    /// The columns that it lacks, or has with another type, although it has their table.
    pub fn missing_columns(&self, client: &mut Client) -> Result<Vec<String>, Error> {
        // The tables as this program makes them, for as long as it takes to look.
        let mut tx = client.transaction()?;
        make_tables(&mut tx, "pg_temp")?;
        let rows = tx.query(
            "select c.relname || '.' || a.attname from pg_class c join pg_attribute a on a.attrelid = c.oid
             join pg_class own on own.relname = c.relname and own.relnamespace = to_regnamespace($1)
             where c.relnamespace = pg_my_temp_schema() and c.relkind = 'r' and a.attnum > 0
               and not exists (select from pg_attribute o where o.attrelid = own.oid and o.attname = a.attname
                               and o.atttypid = a.atttypid and not o.attisdropped)
             order by 1",
            &[&self.schema],
        )?;
        tx.rollback()?;
        Ok(rows.iter().map(|row| row.get(0)).collect())
    }

    /// Every generation, the oldest first.
    pub fn list(client: &mut impl GenericClient) -> Result<Vec<Listed>, Error> {
        let sql = "select id, active, created_at,
                (select coalesce(sum(pg_total_relation_size(c.oid)), 0)::bigint
                 from pg_class c join pg_namespace n on n.oid = c.relnamespace
                 where n.nspname = 'views_g' || id and c.relkind = 'r'),
                (select coalesce(array_agg(next_offset order by partition), '{}')
                 from engine.fence where projection = 'views_g' || id)
            from finance.generation order by id";
        let listed = |row: &postgres::Row| Listed {
            generation: Self::new(row.get(0)),
            shown: row.get(1),
            created_at: row.get(2),
            bytes: row.get(3),
            next_offsets: row.get(4),
        };
        Ok(client.query(sql, &[])?.iter().map(listed).collect())
    }

    /// The generation that is shown; the first one is made when there is none.
    pub fn active(client: &mut Client) -> Result<Self, Error> {
        let mut tx = client.transaction()?;
        // Two projectors that start at once must not both make it.
        tx.batch_execute("lock table finance.generation in share row exclusive mode")?;
        if let Some(row) = tx.query_opt("select id from finance.generation where active", &[])? {
            return Ok(Self::new(row.get(0)));
        }
        let first = Self::create_next(&mut tx)?;
        first.create_indexes(&mut tx)?;
        first.show(&mut tx)?;
        tx.commit()?;
        Ok(first)
    }

    /// A new, empty generation without its secondary indexes.
    pub fn create(client: &mut Client) -> Result<Self, Error> {
        let mut tx = client.transaction()?;
        tx.batch_execute("lock table finance.generation in share row exclusive mode")?;
        let next = Self::create_next(&mut tx)?;
        tx.commit()?;
        Ok(next)
    }

    fn create_next(tx: &mut Transaction<'_>) -> Result<Self, Error> {
        let row = tx.query_one(
            "insert into finance.generation (id, active) select coalesce(max(id), 0) + 1, false from finance.generation
             returning id",
            &[],
        )?;
        let next = Self::new(row.get(0));
        tx.batch_execute(&format!("create schema {}", next.schema))?;
        make_tables(tx, &next.schema)?;
        Ok(next)
    }

    /// The indexes that filling the tables does not need.
    pub fn create_indexes(&self, client: &mut impl GenericClient) -> Result<(), Error> {
        client.batch_execute(&format!("set search_path to {}", self.schema))?;
        for index in INDEXES.iter().copied().flatten() {
            client.batch_execute(index)?;
        }
        client.batch_execute("reset search_path")
    }

    /// Points the public views at this generation.
    pub fn show(&self, tx: &mut Transaction<'_>) -> Result<(), Error> {
        let views = PUBLIC_VIEWS.replace("{schema}", &self.schema).replace("{accounts}", &chart_of_accounts());
        tx.batch_execute(&views)?;
        tx.execute("update finance.generation set active = false where active", &[])?;
        tx.execute("update finance.generation set active = true where id = $1", &[&self.id])?;
        Ok(())
    }

    pub fn is_shown(&self, client: &mut impl GenericClient) -> Result<bool, Error> {
        let sql = "select exists (select from finance.generation where id = $1 and active)";
        Ok(client.query_typed_one(sql, &[(&self.id, Type::INT4)])?.get(0))
    }

    /// Drops its tables. False for the generation that is shown, which is kept.
    pub fn drop(self, client: &mut Client) -> Result<bool, Error> {
        let mut tx = client.transaction()?;
        let dropped = tx.execute("delete from finance.generation where id = $1 and not active", &[&self.id])?;
        if dropped == 1 {
            tx.batch_execute(&format!("drop schema {} cascade", self.schema))?;
            // Also what a lane has left that found out too late about an earlier drop.
            for table in ["engine.fence", "engine.worker"] {
                tx.batch_execute(&format!(
                    "delete from {table} where projection like 'views\\_g%'
                     and not exists (select from finance.generation where 'views_g' || id = projection)"
                ))?;
            }
        }
        tx.commit()?;
        Ok(dropped == 1)
    }
}

fn make_tables(tx: &mut Transaction<'_>, schema: &str) -> Result<(), Error> {
    tx.batch_execute(&format!("set local search_path to {schema}"))?;
    for table in TABLES {
        tx.batch_execute(table.ddl)?;
    }
    State::ddl(schema).iter().try_for_each(|ddl| tx.batch_execute(ddl))
}

/// The chart as rows of SQL; its words are constants of ours without quotes.
fn chart_of_accounts() -> String {
    let rows = AccountCode::ALL.iter().map(|code| format!("({}, '{}', '{}')", code.number(), code.name(), code.zh()));
    rows.collect::<Vec<_>>().join(", ")
}
