//! The world around the processes under test: the payers, the acquirer and the bank, and a house to look into.

use std::{
    fs,
    net::{SocketAddr, TcpListener},
    path::PathBuf,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use engine::{clock::Clock, tls::Trust};
use ledger::{config::Config, house::House};
use producers::{
    executor::ExecutorConfig,
    sandbox::{Capture, PaymentRequest, Sandbox, SandboxConfig},
};
use rules::policy::Policy;
use schemas::{OrderId, events::Method};
use uuid::Uuid;

use crate::fleet::Process;

/// How long a frozen process keeps what it holds, in the tests.
pub const LEASE: Duration = Duration::from_secs(2);

pub struct World {
    pub house: House,
    pub sandbox: Sandbox,
    pub http: reqwest::Client,
    pub door_url: String,
    /// Configuration and output of the processes.
    folder: PathBuf,
}

/// Everything that waits waits for a shorter time, so that a run is over soon.
pub fn hurried(config: Config) -> Config {
    let mut config = Config {
        lease_s: LEASE.as_secs(),
        executor: ExecutorConfig { append_patience_ms: 1_500, lease_s: 4, ..ExecutorConfig::default() },
        policy: Policy {
            confirmation_retry_s: vec![1, 1, 2],
            refund_retry_s: vec![1, 1, 2, 2, 2, 2],
            refund_settling_s: 1,
            ..Policy::default()
        },
        ..config
    };
    config.calls.timeout_ms = 800;
    config.door.append_timeout_ms = 3_000;
    config
}

impl World {
    /// Opens the house and the outside; no role runs yet.
    pub async fn open(mut config: Config) -> Result<Self> {
        let sandbox = Sandbox::start(any_port(), SandboxConfig::default(), Clock::System).await?;
        config.calls.bank_url.clone_from(&sandbox.bank_url);
        config.calls.acquirer_url.clone_from(&sandbox.acquirer_url);
        // Chosen now, because a door that is started again must be found at the same address.
        config.listen = TcpListener::bind(any_port())?.local_addr()?;
        let door_url = format!("http://{}", config.listen);
        let folder = config.data_dir.join(format!("roles-{}", Uuid::new_v4().simple()));
        fs::create_dir_all(&folder)?;
        fs::write(folder.join("ledger.toml"), toml::to_string(&config)?)?;
        let house = House::open(config, Clock::System).await?;
        house.apply_topics().await?;
        sandbox.set_door(house.sandbox_door(door_url.clone())?);
        let http = producers::http::client(Trust::nobody())?.timeout(Duration::from_secs(4)).build()?;
        Ok(Self { house, sandbox, http, door_url, folder })
    }

    /// Starts a process with one role.
    pub fn process(&self, name: &str, role: &'static str) -> Result<Process> {
        Process::start(&self.folder, name, role)
    }

    /// Waits until the door answers.
    pub async fn door_is_open(&self) -> Result<()> {
        let url = format!("{}/readyz", self.door_url);
        eventually("the door opens", async || {
            Ok(self.http.get(&url).send().await.is_ok_and(|a| a.status().is_success()))
        })
        .await
    }

    /// Waits until so many living lanes hold all partitions of a projection among them.
    pub async fn is_held_by(&self, projection: &str, lanes: i64) -> Result<()> {
        let sql = "select count(distinct owner), count(*) from engine.fence
                   where projection = $1 and lease_until > clock_timestamp()";
        eventually(&format!("{lanes} lanes hold {projection}"), async || {
            let row = self.house.pool.get().await?.query_one(sql, &[&projection]).await?;
            let (owners, held): (i64, i64) = (row.get(0), row.get(1));
            Ok(owners == lanes && held == i64::from(self.house.topics.events().partitions))
        })
        .await
    }

    /// The projection of the views that are shown.
    pub async fn views(&self) -> Result<String> {
        Ok(projections::report::active_schema(&self.house.pool.get().await?).await?)
    }

    /// The payer pays, and the acquirer tells the door.
    pub fn pay(&self, order: &OrderId, channel: &str, amount: &str) -> Result<Capture> {
        Ok(self.sandbox.pay(PaymentRequest {
            order_no: order.clone(),
            channel: channel.parse()?,
            method: Method::Card,
            amount: amount.parse()?,
            channel_txn_no: None,
            business_date: None,
            captured_at: None,
            instrument_masked: None,
            terminal: None,
        }))
    }

    /// The payer pays, and the door takes the notice of it.
    pub async fn pay_and_tell(&self, order: &OrderId, channel: &str, amount: &str) -> Result<()> {
        self.pay(order, channel, amount)?;
        let until = Instant::now() + Duration::from_secs(60);
        while self.sandbox.books().captures[order].iter().any(|capture| capture.notices_acknowledged == 0) {
            ensure!(Instant::now() < until, "the door does not take the notice of {order}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        Ok(())
    }

    /// Waits until nothing is under way, and nothing will come up by itself within ten minutes. What was asked in vain many
    /// times is asked again after minutes; that time passes here at once.
    pub async fn comes_to_rest(&self, patience: Duration) -> Result<()> {
        const HURRY: &str = "update engine.task set due_at = now()
                             where state = 'unknown' and due_at > now() + interval '5 seconds'";
        let until = Instant::now() + patience;
        while self.house.come_to_rest(Duration::from_secs(1)).await.is_err() || !self.under_way().await?.is_empty() {
            self.house.pool.get().await?.execute(HURRY, &[]).await?;
            if Instant::now() > until {
                bail!("after {patience:?} there is still under way: {:#?}", self.under_way().await?);
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        Ok(())
    }

    /// What is still to be done, in words.
    async fn under_way(&self) -> Result<Vec<String>> {
        let sql = "select format('task %s %s, due %s, lease %s: %s', key, state, due_at, lease_until, last_error)
                   from engine.task where state in ('ready', 'claimed', 'submitted', 'unknown')
                   union all select format('order %s, due %s', key, due_at) from coordinator.orders
                   where due_at < now() + interval '10 minutes'
                   union all select 'not sent: ' || event from coordinator.outbox
                   union all select format('%s %s: epoch %s next %s, end %s, lease %s', projection, f.partition, epoch,
                     f.next_offset, ends.o, lease_until)
                   from engine.fence f join unnest($1::bigint[]) with ordinality ends (o, n) on f.partition = n - 1
                   where f.next_offset < ends.o
                   limit 100";
        let ends = self.house.ends().await?;
        let rows = self.house.pool.get().await?.query(sql, &[&ends]).await?;
        Ok(rows.iter().map(|row| row.get(0)).collect())
    }

    /// No process has ever said that a thread of it panicked.
    pub fn nobody_panicked(&self) -> Result<()> {
        for entry in fs::read_dir(&self.folder)? {
            let path = entry?.path();
            let said = String::from_utf8_lossy(&fs::read(&path)?).into_owned();
            let panic: Vec<&str> = said.lines().skip_while(|line| !line.contains("panicked at")).take(3).collect();
            ensure!(panic.is_empty(), "{}: {panic:#?}", path.display());
        }
        Ok(())
    }

    /// Every record of the log, each partition's in order.
    pub async fn log(&self) -> Result<Vec<engine::log::Record>> {
        let (log, topic) = (self.house.log.clone(), self.house.events_topic().to_owned());
        tokio::task::spawn_blocking(move || ledger_tests::all_records(&*log, &topic)).await?
    }
}

fn any_port() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 0))
}

/// Asks until the answer is yes. Engines may be away meanwhile, so an error is no answer.
pub async fn eventually(what: &str, question: impl AsyncFn() -> Result<bool>) -> Result<()> {
    let until = Instant::now() + Duration::from_secs(60);
    let mut last = None;
    while Instant::now() < until {
        match question().await {
            Ok(true) => return Ok(()),
            Ok(false) => last = None,
            Err(error) => last = Some(error),
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    last.map_or_else(|| Err(anyhow::anyhow!("it does not happen")), Err).context(what.to_owned())
}
