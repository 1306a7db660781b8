//! Rebuild: a new generation from offset 0, compared with the live one at the same offsets, then shown in its place.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use engine::{
    clock::Clock,
    log::Log,
    stream::{Lane, LaneConfig, Stop, StreamError},
};
use postgres::{Client, GenericClient, IsolationLevel};
use rules::policy::Policy;
use schemas::Balance;

use crate::{
    digest::{TableDigest, balances, digest},
    generation::Generation,
    projector::Projector,
};

/// One table that differs between the live generation and the rebuilt one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    pub table: &'static str,
    /// None where the live generation, which an older program made, does not have it.
    pub live: Option<TableDigest>,
    pub rebuilt: TableDigest,
}

/// One account that holds another amount in the rebuilt generation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Moved {
    pub account: i32,
    pub live: Balance,
    pub rebuilt: Balance,
}

/// What a rebuild found.
#[derive(Clone, Debug)]
pub struct Rebuilt {
    pub generation: Generation,
    /// By partition: up to where both were compared.
    pub compared_at: Vec<i64>,
    pub differences: Vec<Difference>,
    /// The same in money.
    pub moved: Vec<Moved>,
}

/// What a rebuild needs.
pub struct Rebuild {
    pub log: Arc<dyn Log>,
    pub topic: String,
    pub postgres_url: String,
    pub policy: Policy,
    pub stop: Stop,
}

impl Rebuild {
    /// Builds a new generation up to where the live one stands now, and compares the two. The live one goes on.
    pub fn run(&self, client: &mut Client) -> Result<Rebuilt, StreamError> {
        let live = Generation::active(client)?;
        engine::stream::check_log(client, live.projection(), &self.log.describe(&self.topic)?.identity)?;
        let next = Generation::create(client)?;
        let mut snapshot_client = engine::postgres::connect(&self.postgres_url, "ledger rebuild")?;
        let mut snapshot = snapshot_client
            .build_transaction()
            .isolation_level(IsolationLevel::RepeatableRead)
            .read_only(true)
            .start()?;
        snapshot.batch_execute("set local idle_in_transaction_session_timeout = 0")?;
        let compared_at = offsets(&mut snapshot, &live)?;
        if compared_at.is_empty() {
            next.drop(client)?;
            return Err(StreamError::Fatal("no projector has run yet, so there is nothing to rebuild; start `ledger up` or `ledger run projector` first".to_owned()));
        }
        self.fill(&next, compared_at.clone())?;
        let (mut before, after) = (digest(&mut snapshot, &live)?, digest(client, &next)?);
        let (held, holds) = (balances(&mut snapshot, &live)?, balances(client, &next)?);
        snapshot.rollback()?;
        let differences = after
            .into_iter()
            .map(|(table, rebuilt)| Difference { table, live: before.remove(table), rebuilt })
            .filter(|difference| difference.live.as_ref() != Some(&difference.rebuilt))
            .collect();
        let of = |balances: &BTreeMap<i32, Balance>, account| balances.get(account).copied().unwrap_or_default();
        let accounts: BTreeSet<&i32> = held.keys().chain(holds.keys()).collect();
        let moved = accounts
            .into_iter()
            .map(|account| Moved { account: *account, live: of(&held, account), rebuilt: of(&holds, account) })
            .filter(|account| account.live != account.rebuilt)
            .collect();
        Ok(Rebuilt { generation: next, compared_at, differences, moved })
    }

    fn fill(&self, generation: &Generation, until: Vec<i64>) -> Result<(), StreamError> {
        let config = LaneConfig {
            until: Some(until),
            ..LaneConfig::new(generation.projection(), &self.topic, &self.postgres_url)
        };
        let projector = Projector::new(generation.clone(), self.policy.clone(), false);
        Lane::new(config, self.log.clone(), Clock::System, projector, self.stop.clone()).run()
    }

    /// Lets another generation read the log to its end, and shows it in one transaction. Live projectors notice and go on
    /// with it.
    pub fn swap(&self, client: &mut Client, next: &Generation) -> Result<(), StreamError> {
        let live = Generation::active(client)?;
        if live == *next {
            return Ok(());
        }
        next.create_indexes(client)?;
        // Most of it while the live one goes on.
        self.fill(next, self.log.ends(&self.topic)?)?;
        let mut tx = client.transaction()?;
        // From here on the live fence stands still. Lanes lock its rows in no order of their own, but they only start over.
        tx.query(
            "select from engine.fence where projection = $1 order by partition for update",
            &[&live.projection()],
        )?;
        if !live.is_shown(&mut tx)? {
            return Err(StreamError::Passing("another generation was shown meanwhile; try again".to_owned()));
        }
        self.fill(next, self.log.ends(&self.topic)?)?;
        // Lanes that have nothing to do notice, too.
        tx.execute(
            "update engine.fence set owner = null, lease_until = null where projection = $1",
            &[&live.projection()],
        )?;
        next.show(&mut tx)?;
        Ok(tx.commit()?)
    }
}

fn offsets(client: &mut impl GenericClient, generation: &Generation) -> Result<Vec<i64>, StreamError> {
    let rows = client.query(
        "select next_offset from engine.fence where projection = $1 order by partition",
        &[&generation.projection()],
    )?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}
