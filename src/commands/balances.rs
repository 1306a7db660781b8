//! `ledger balances`: the trial balance, now or as it was.

use std::str::FromStr;

use anyhow::{Context, Result};
use chrono::{DateTime, Utc};
use engine::clock::Clock;
use projections::report::{self, AsOf};
use rules::{accounts::AccountCode, business_day};
use schemas::{Balance, Position};
use serde_json::json;

use crate::{
    commands,
    config::Config,
    house::House,
    output::{Output, Rows, print},
};

/// Up to when, as people say it.
#[derive(Clone, Debug)]
pub enum UpTo {
    Time(DateTime<Utc>),
    Positions(Vec<Position>),
}

impl FromStr for UpTo {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if let Ok(time) = commands::moment(text, business_day::end) {
            return Ok(Self::Time(time.to_utc()));
        }
        let positions = text.split(',').map(|position| position.trim().parse()).collect::<Result<_, _>>();
        positions.map(Self::Positions).map_err(|_| {
            "wanted is a day such as 2025-03-10, a time such as 2025-03-10T23:59:59+08:00, or positions such as 0:12,3:7"
        })
    }
}

impl UpTo {
    fn in_log(&self, partitions: usize) -> Result<AsOf> {
        let positions = match self {
            Self::Time(time) => return Ok(AsOf::Time(*time)),
            Self::Positions(positions) => positions,
        };
        let mut offsets = vec![0; partitions];
        for position in positions {
            let place = usize::try_from(position.partition).ok().and_then(|index| offsets.get_mut(index));
            *place.with_context(|| format!("there is no partition {}", position.partition))? = position.offset + 1;
        }
        Ok(AsOf::Offsets(offsets))
    }
}

pub async fn run(config: Config, as_of: Option<UpTo>, output: Output) -> Result<()> {
    let house = House::with_its_views(config, Clock::System).await?;
    let balances = match as_of {
        None => report::balances(&house.pool).await?,
        Some(as_of) => {
            let partitions = usize::try_from(house.topics.events().partitions).unwrap_or(0);
            report::balances_as_of(&house.pool, &as_of.in_log(partitions)?).await?
        }
    };
    let held_as = house.config.policy.held_as;
    let mut rows = Rows::new(&["account", "name", "name_zh", "class", "owner", "balance"], &[5]);
    let mut total = Balance::ZERO;
    for row in &balances {
        total += row.balance.parse::<Balance>()?;
        let code = AccountCode::ALL.iter().find(|code| i32::from(code.number()) == row.account);
        let class = code.map_or(String::new(), |code| {
            let (class, zh) = code.class(held_as);
            format!("{class} {zh}")
        });
        rows.push([
            row.account.to_string(),
            row.name.clone(),
            row.name_zh.clone(),
            class,
            row.owner.clone(),
            row.balance.clone(),
        ]);
    }
    if output == Output::Table {
        let (total, blank) = (total.to_string(), String::new());
        rows.push([blank.clone(), "total".to_owned(), "合计".to_owned(), blank.clone(), blank, total]);
    }
    print(output, &rows, &json!({ "balances": balances, "total": total }))
}
