//! The roles, each of which may run in a process of its own, or all in one.

use std::{
    mem,
    net::SocketAddr,
    panic::{self, AssertUnwindSafe},
    thread,
    time::Duration,
};

use anyhow::{Context, Result};
use axum::middleware;
use engine::{
    postgres::explain,
    stream::{Handler, Lane, LaneConfig, Stop, StreamError},
};
use producers::{
    calls::Calls,
    channels::Channels,
    coordinator::{self, Coordinator},
    door::{self, Door, DoorConfig},
    executor::Executor,
    inbox::Inbox,
    sandbox::{Sandbox, keys},
};
use projections::{generation::Generation, projector::Projector};
use tokio::{sync::mpsc, task::JoinSet};

use crate::house::House;

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Role {
    /// HTTP: takes events, answers questions
    Door,
    /// Takes events from the inbox topics of channels
    Inbox,
    /// Turns the log into tables
    Projector,
    /// Decides
    Coordinator,
    /// Makes the calls that decisions ask for
    Executor,
    /// Plays the channels, the bank and the schools
    Sandbox,
}

impl Role {
    /// What `up` runs: everything but the sandbox, which is for trying things out.
    pub const ALL: &[Self] = &[Self::Door, Self::Inbox, Self::Projector, Self::Coordinator, Self::Executor];
}

type Ended = Result<(), StreamError>;

/// Shorter than the ten seconds after which Docker kills.
const STOP_PATIENCE: Duration = Duration::from_secs(8);

/// Roles at work.
pub struct Running {
    stop: Stop,
    tasks: JoinSet<Result<()>>,
    lanes: Vec<thread::JoinHandle<()>>,
    /// Lanes that ended tell why.
    ended: (mpsc::UnboundedSender<Ended>, mpsc::UnboundedReceiver<Ended>),
    pub door: Option<SocketAddr>,
    pub sandbox: Option<Sandbox>,
}

impl Running {
    /// Starts the roles; what they need from each other they find in the log and in Postgres.
    pub async fn start(house: &House, roles: &[Role]) -> Result<Self> {
        let mut running = Self {
            stop: Stop::default(),
            tasks: JoinSet::new(),
            lanes: Vec::new(),
            ended: mpsc::unbounded_channel(),
            door: None,
            sandbox: None,
        };
        running.start_roles(house, roles).await?;
        if let (Some(door), Some(sandbox), None) = (running.door, &running.sandbox, &house.config.sandbox.door) {
            sandbox.set_door(house.sandbox_door(format!("http://{door}"))?);
        }
        Ok(running)
    }

    /// Starts every role with the sandbox around them, which they call, and whose channels' notices the door takes.
    pub async fn start_with_sandbox(house: &mut House) -> Result<Self> {
        house.config.channels = keys::channels(mem::take(&mut house.config.channels));
        let mut running = Self::start(house, &[Role::Door, Role::Sandbox]).await?;
        // A call says where the door is to be told of it: so both are open before anybody calls.
        if let Some(sandbox) = &running.sandbox {
            house.config.calls = sandbox.calls(mem::take(&mut house.config.calls));
        }
        let others: Vec<Role> = Role::ALL.iter().copied().filter(|role| *role != Role::Door).collect();
        running.start_roles(house, &others).await?;
        Ok(running)
    }

    async fn start_roles(&mut self, house: &House, roles: &[Role]) -> Result<()> {
        for role in roles {
            self.start_role(house, *role)
                .await
                .with_context(|| format!("the {} cannot start", format!("{role:?}").to_lowercase()))?;
        }
        Ok(())
    }

    async fn start_role(&mut self, house: &House, role: Role) -> Result<()> {
        let policy = house.config.policy.clone();
        match role {
            Role::Door => self.start_door(house).await?,
            Role::Inbox => {
                for channel in &house.config.inbox_channels {
                    let topic = house.topics.inbox(channel).name;
                    let runtime = tokio::runtime::Handle::current();
                    let inbox = Inbox::new(channel.clone(), topic.clone(), house.publisher(), runtime);
                    self.start_lane(house, inbox.projection(), topic, inbox)?;
                }
            }
            Role::Projector => {
                for _ in 0..house.config.lanes {
                    self.start_projector(house)?;
                }
            }
            Role::Coordinator => {
                for _ in 0..house.config.lanes {
                    let runtime = tokio::runtime::Handle::current();
                    let coordinator = Coordinator::new(policy.clone(), house.publisher(), runtime);
                    let topic = house.events_topic().to_owned();
                    self.start_lane(house, coordinator::PROJECTION.to_owned(), topic, coordinator)?;
                }
            }
            Role::Executor => {
                let calls = Calls::new(house.config.calls.clone())?;
                let executor =
                    Executor::new(house.pool.clone(), house.publisher(), calls, policy, &house.config.executor);
                let stop = self.stop.clone();
                self.tasks.spawn(async move {
                    executor.run(stop).await;
                    Ok(())
                });
            }
            Role::Sandbox => {
                let mut config = house.config.sandbox.clone();
                // A door that is named without tokens is one of this house.
                if let Some(door) = config.door.take_if(|door| door.tokens.is_empty()) {
                    config.door = Some(house.sandbox_door(door.url)?);
                }
                (config.policy, config.channels) = (policy, house.config.channels.clone());
                let sandbox = Sandbox::start(house.config.sandbox_listen, config, house.clock.clone()).await;
                self.sandbox = Some(sandbox.context(
                    "the sandbox cannot start; if its address is taken, choose another with LEDGER_SANDBOX_LISTEN",
                )?);
            }
        }
        Ok(())
    }

    async fn start_door(&mut self, house: &House) -> Result<()> {
        let listen = house.config.listen;
        let listener = tokio::net::TcpListener::bind(listen)
            .await
            .with_context(|| format!("the door cannot listen on {listen}; choose another with LEDGER_LISTEN"))?;
        self.door = Some(listener.local_addr()?);
        let config = DoorConfig { clients: house.clients()?, ..house.config.door.clone() };
        let (log, topic, clock) = (house.log.clone(), house.events_topic(), house.clock.clone());
        let door =
            Door::new(config, log, topic, clock, house.pool.clone(), house.tokens.clone(), house.config.policy.clone());
        let operators = middleware::from_fn_with_state(door.clone(), door::operators_only);
        let reports = projections::api::router(house.pool.clone()).layer(operators);
        let webhooks = door::webhooks(door.clone(), Channels::open(&house.config.channels, &house.config.policy)?);
        let others = reports.merge(crate::openapi::router()).merge(projections::api::console()).merge(webhooks);
        let tidy_up = door.clone().tidy_up();
        let app = door::router(door, others);
        let stop = self.stop.clone();
        self.tasks.spawn(async move {
            let stopped = async move {
                while !stop.is_stopped() {
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            };
            tokio::select! {
                served = axum::serve(listener, app).with_graceful_shutdown(stopped) => Ok(served?),
                () = tidy_up => Ok(()),
            }
        });
        Ok(())
    }

    fn start_lane(
        &mut self,
        house: &House,
        projection: String,
        topic: String,
        handler: impl Handler + 'static,
    ) -> Result<()> {
        let config = lane_config(house, &projection, &topic);
        let lane = Lane::new(config, house.log.clone(), house.clock.clone(), handler, self.stop.clone());
        self.start_thread(projection, move || lane.run())
    }

    /// A projector's lane, and its successor each time that a rebuild has put a new generation in place.
    fn start_projector(&mut self, house: &House) -> Result<()> {
        let (log, clock, stop) = (house.log.clone(), house.clock.clone(), self.stop.clone());
        let (config, policy) = (lane_config(house, "", house.events_topic()), house.config.policy.clone());
        self.start_thread("views".to_owned(), move || {
            loop {
                let shown = engine::postgres::connect(&config.postgres_url, "ledger views");
                let generation = match shown.and_then(|mut client| Generation::active(&mut client)) {
                    Ok(generation) => generation,
                    Err(_) if stop.is_stopped() => return Ok(()),
                    // As with a lane, what Postgres has passes.
                    Err(error) => {
                        tracing::warn!(error = explain(&error), "which views are shown cannot be told; asking again");
                        stop.sleep(Duration::from_secs(1));
                        continue;
                    }
                };
                let config = LaneConfig { projection: generation.projection().to_owned(), ..config.clone() };
                let projector = Projector::new(generation, policy.clone(), true);
                match Lane::new(config, log.clone(), clock.clone(), projector, stop.clone()).run() {
                    Err(StreamError::Superseded) => tracing::info!("a new generation of views is shown"),
                    ended => return ended,
                }
            }
        })
    }

    fn start_thread(
        &mut self,
        name: String,
        work: impl FnOnce() -> Result<(), StreamError> + Send + 'static,
    ) -> Result<()> {
        let ended = self.ended.0.clone();
        let thread = thread::Builder::new().name(name).spawn(move || {
            // What has panicked is over as well; its message is on stderr.
            let panicked = |_| Err(StreamError::Fatal("a lane panicked".to_owned()));
            let end = panic::catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(panicked);
            // Nobody listens any more once the house is closing.
            ended.send(end).unwrap_or_default();
        })?;
        self.lanes.push(thread);
        Ok(())
    }

    /// Until a role ends by itself, which only happens when a person must look.
    pub async fn until_a_role_ends(&mut self) -> Result<()> {
        tokio::select! {
            Some(ended) = self.ended.1.recv() => Ok(ended?),
            Some(ended) = self.tasks.join_next() => ended?,
            else => std::future::pending().await,
        }
    }

    /// Lets every role finish what it has in hand. What an engine that is away keeps under way is given up after a
    /// while: it is found again in Postgres, as after a kill.
    pub async fn stop(mut self) -> Result<()> {
        self.stop.stop();
        let lanes = mem::take(&mut self.lanes);
        let until = tokio::time::Instant::now() + STOP_PATIENCE;
        while let Ok(Some(ended)) = tokio::time::timeout_at(until, self.tasks.join_next()).await {
            ended??;
        }
        while lanes.iter().any(|lane| !lane.is_finished()) && tokio::time::Instant::now() < until {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        if !self.tasks.is_empty() || lanes.iter().any(|lane| !lane.is_finished()) {
            tracing::warn!("something is still under way after {STOP_PATIENCE:?}; whoever comes next goes on with it");
        }
        for lane in lanes.into_iter().filter(thread::JoinHandle::is_finished) {
            lane.join().map_err(|_| anyhow::anyhow!("a lane panicked"))?;
        }
        Ok(())
    }
}

fn lane_config(house: &House, projection: &str, topic: &str) -> LaneConfig {
    let lease = Duration::from_secs(house.config.lease_s);
    LaneConfig { lease, ..LaneConfig::new(projection, topic, &house.postgres_url) }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop.stop();
    }
}
