//! The house: one log, one Postgres, and what every role needs from them.

use std::{
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use data_encoding::HEXLOWER;
use deadpool_postgres::Pool;
use engine::{
    clock::Clock,
    log::{Log, LogError, TopicSpec},
    postgres::server::Server,
};
use producers::{
    door::{Client, Source, authority::Role},
    publisher::Publisher,
    reconciliation::Reconciler,
    sandbox,
    token::Tokens,
};
use schemas::topics::{Topic, Topics};

use crate::config::Config;

const POOL_SIZE: usize = 16;

/// For one machine on which things are tried out: every channel that there is, one bank, one school, one operator.
const DEFAULT_CLIENTS: [&str; 10] = [
    "/channels/ums-pos",
    "/channels/unionpay-cqp",
    "/channels/bestpay-web",
    "/channels/alipay-mini",
    "/channels/alipay-withholding",
    "/channels/campus-pos",
    "/channels/ejt",
    "/banks/cdb",
    "/schools/school-1",
    "/operators/finance",
];

pub struct House {
    pub config: Config,
    pub clock: Clock,
    pub log: Arc<dyn Log>,
    pub pool: Pool,
    pub postgres_url: String,
    pub topics: Topics,
    pub tokens: Tokens,
    /// Kept alive for as long as the house stands, when Postgres is ours to look after.
    _server: Option<Server>,
}

impl House {
    /// Opens the log and Postgres, and brings the tables up to date.
    pub async fn open(config: Config, clock: Clock) -> Result<Self> {
        tokio::task::spawn_blocking(move || Self::open_blocking(config, clock)).await?
    }

    /// As [`House::open`], for who looks at what stands there: a folder that was mistyped is told, and no empty ledger is
    /// made in it.
    pub async fn existing(config: Config, clock: Clock) -> Result<Self> {
        let folder = config.data_dir.join("postgres");
        ensure!(
            !config.postgres_url.is_empty() || folder.exists(),
            "there is no ledger in {}; start one with `ledger up`, or set LEDGER_DATA_DIR or LEDGER_POSTGRES_URL to where \
             yours is",
            config.data_dir.display()
        );
        Self::open(config, clock).await
    }

    /// As [`House::existing`], for who needs the log alone: one in Kafka may stand there before any Postgres.
    pub async fn with_its_log(config: Config, clock: Clock) -> Result<Self> {
        match config.log.as_str() {
            "postgres" => Self::existing(config, clock).await,
            _ => Self::open(config, clock).await,
        }
    }

    /// As [`House::existing`], for who reads the views: those of another log are refused.
    pub async fn with_its_views(config: Config, clock: Clock) -> Result<Self> {
        let house = Self::existing(config, clock).await?;
        house.tell_of_old_views().await?;
        Ok(house)
    }

    /// Says how far the views are behind their log, unless they catch up within a second. Views of another log are an
    /// error.
    pub async fn tell_of_old_views(&self) -> Result<()> {
        let (log, topic) = (self.log.clone(), self.events_topic().to_owned());
        let found = tokio::task::spawn_blocking(move || Ok((log.describe(&topic)?.identity, log.ends(&topic)?)));
        let (identity, ends) = match found.await? {
            Ok(found) => found,
            Err(LogError::TopicMissing(topic)) => (format!("one without {topic}"), Vec::new()),
            Err(error @ LogError::Unavailable(_)) => {
                eprintln!("whether the views are at the end of the log is not known: {error}");
                return Ok(());
            }
            Err(error) => return Err(error.into()),
        };
        let views = projections::report::active_schema(&self.pool.get().await?).await?;
        let projection = views.clone();
        self.with_client("ledger", move |client| Ok(engine::stream::check_log(client, &projection, &identity)?))
            .await?;
        let until = Instant::now() + Duration::from_secs(1);
        loop {
            let behind = engine::stream::progress(&self.pool, &views).await?.behind(&ends);
            if behind == 0 {
                return Ok(());
            }
            let (readers, _) = engine::stream::held(&self.pool, &views).await?;
            if readers == 0 || Instant::now() >= until {
                eprintln!(
                    "the views are {behind} events behind the log; a projector brings them up to date: `ledger up`, or \
                     `ledger run projector`"
                );
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    fn open_blocking(mut config: Config, clock: Clock) -> Result<Self> {
        let server = match config.postgres_url.as_str() {
            "" => Some(Server::start(&config.data_dir.join("postgres")).context("Postgres cannot be started")?),
            _ => None,
        };
        let postgres_url = server.as_ref().map_or(config.postgres_url.clone(), Server::url);
        migrate(&postgres_url)?;
        if config.secret.is_empty() {
            config.secret = kept_secret(&config.data_dir)?;
        }
        let mut topics = Topics::declared(&config.topic_prefix)?.with_replication(config.replication);
        if matches!(clock, Clock::Simulated(_)) {
            topics = topics.with_producers_time();
        }
        Ok(Self {
            log: engine::log::open(&config.log, &postgres_url).context("the log cannot be opened")?,
            pool: engine::postgres::pool(&postgres_url, "ledger", POOL_SIZE)?,
            tokens: Tokens::new(&config.secret),
            config,
            clock,
            postgres_url,
            topics,
            _server: server,
        })
    }

    /// The URL of Postgres without its password.
    pub fn postgres_url_masked(&self) -> String {
        crate::config::mask_password(&self.postgres_url)
    }

    pub fn events_topic(&self) -> &str {
        &self.topics.events().name
    }

    pub fn clients(&self) -> Result<Vec<Client>> {
        clients(&self.config, &self.tokens)
    }

    pub fn client_token(&self, source: &Source) -> Result<String> {
        client_token(&self.clients()?, source)
    }

    /// How the sandbox tells the door at `url` of payments, in the name of every channel.
    pub fn sandbox_door(&self, url: String) -> Result<sandbox::Door> {
        let clients = self.clients()?;
        let channels = clients.iter().flat_map(|client| &client.sources).filter(|source| source.role == Role::Channel);
        let token = |source: &Source| Ok((source.name.clone(), client_token(&clients, source)?));
        Ok(sandbox::Door { url, tokens: channels.map(token).collect::<Result<_>>()? })
    }

    pub fn publisher(&self) -> Publisher {
        Publisher::new(self.log.clone(), self.events_topic(), self.clock.clone())
    }

    pub fn reconciler(&self) -> Reconciler {
        Reconciler::new(self.publisher(), self.pool.clone())
    }

    /// Every topic as it should be.
    pub fn topic_specs(&self) -> Vec<TopicSpec> {
        let spec = |topic: Topic| TopicSpec {
            name: topic.name,
            partitions: topic.partitions,
            replication: topic.replication,
            settings: topic.settings,
        };
        let inboxes = self.config.inbox_channels.iter().map(|channel| self.topics.inbox(channel));
        std::iter::once(self.topics.events().clone()).chain(inboxes).map(spec).collect()
    }

    /// Makes the topics; done by `up` and the demo, and by hand in production.
    pub async fn apply_topics(&self) -> Result<()> {
        let (log, specs) = (self.log.clone(), self.topic_specs());
        tokio::task::spawn_blocking(move || specs.iter().try_for_each(|spec| log.apply(spec))).await??;
        Ok(())
    }

    /// A connection of one's own, with its work on a thread of its own.
    pub async fn with_client<T: Send + 'static>(
        &self,
        name: &'static str,
        work: impl FnOnce(&mut postgres::Client) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let url = self.postgres_url.clone();
        tokio::task::spawn_blocking(move || work(&mut engine::postgres::connect(&url, name)?)).await?
    }

    /// The offset after the last record of every partition.
    pub async fn ends(&self) -> Result<Vec<i64>> {
        let (log, topic) = (self.log.clone(), self.events_topic().to_owned());
        Ok(tokio::task::spawn_blocking(move || log.ends(&topic)).await??)
    }

    /// Waits until everything that is in the log has been decided on, carried out and projected, and nothing more is
    /// due at the clock's time. Demos and tests let time pass only then.
    pub async fn come_to_rest(&self, patience: Duration) -> Result<()> {
        let until = tokio::time::Instant::now() + patience;
        while !self.is_at_rest().await? {
            anyhow::ensure!(tokio::time::Instant::now() < until, "the ledger did not come to rest in {patience:?}");
            tokio::time::sleep(Duration::from_millis(15)).await;
        }
        Ok(())
    }

    /// Work passes from one role to another while one looks, however slowly. But all of it begins with a record that
    /// somebody has yet to read: so nobody has any if between two looks at the log, both times read to its end, nobody
    /// had anything in hand.
    async fn is_at_rest(&self) -> Result<bool> {
        let Some(ends) = self.all_read().await? else { return Ok(false) };
        let tasks_due = engine::task::due(&self.pool, self.clock.now()).await? > 0;
        if tasks_due || producers::coordinator::is_busy(&self.pool, self.clock.now()).await? {
            return Ok(false);
        }
        Ok(self.all_read().await? == Some(ends))
    }

    /// The ends of the log, if coordinator and views have read it that far.
    async fn all_read(&self) -> Result<Option<Vec<i64>>> {
        let ends = self.ends().await?;
        let client = self.pool.get().await?;
        let views = projections::report::active_schema(&client).await?;
        drop(client);
        for projection in [producers::coordinator::PROJECTION, &views] {
            if !engine::stream::progress(&self.pool, projection).await?.has_reached(&ends) {
                return Ok(None);
            }
        }
        Ok(Some(ends))
    }
}

/// Those whom the configuration lists; else one client for each channel, a bank, a school and finance, with tokens that
/// are derived from the secret, so that they need no place of their own.
pub fn clients(config: &Config, tokens: &Tokens) -> Result<Vec<Client>> {
    if !config.door.clients.is_empty() {
        return Ok(config.door.clients.clone());
    }
    let client =
        |text: &&str| Ok(Client { name: (*text).to_owned(), token: tokens.client(text), sources: vec![text.parse()?] });
    DEFAULT_CLIENTS.iter().map(client).collect()
}

/// The bearer token with which the door takes reports of `source`.
pub fn client_token(clients: &[Client], source: &Source) -> Result<String> {
    // The door lets nobody in without a token.
    let able = clients.iter().filter(|client| !client.token.is_empty());
    let client = able.clone().find(|client| client.sources.contains(source));
    client.map(|client| client.token.clone()).with_context(|| {
        let known: Vec<String> = able.flat_map(|client| &client.sources).map(Source::to_string).collect();
        format!(
            "the door has no client with a token for {source}, only for {}; give it one in LEDGER_DOOR__CLIENTS, \
             which names every client: [{{name=\"{}\", token=\"…\", sources=[\"{source}\"]}}, …]",
            known.join(", "),
            source.name
        )
    })
}

/// Brings every table up to date; several processes may do so at once.
fn migrate(postgres_url: &str) -> Result<()> {
    let mut client = engine::postgres::connect(postgres_url, "ledger migrations").with_context(|| {
        let url = crate::config::mask_password(postgres_url);
        format!("Postgres cannot be reached at {url}, of LEDGER_POSTGRES_URL or the data folder")
    })?;
    for (set, migrations) in
        [("engine", engine::MIGRATIONS), ("producers", producers::MIGRATIONS), ("projections", projections::MIGRATIONS)]
    {
        engine::postgres::migrate(&mut client, set, migrations)?;
    }
    projections::generation::Generation::active(&mut client)?;
    Ok(())
}

/// The secret of this data folder, made on first use and readable by its owner alone.
pub fn kept_secret(data_dir: &Path) -> Result<String> {
    use std::{fs, io::Write};
    let path = data_dir.join("secret");
    fs::create_dir_all(data_dir).with_context(|| format!("{} cannot be made", data_dir.display()))?;
    if !path.exists() {
        // Whole or not at all, and of two that make one at once the first stands.
        let mut file = tempfile::NamedTempFile::new_in(data_dir)?;
        let random: Vec<u8> = (0..2).flat_map(|_| uuid::Uuid::new_v4().into_bytes()).collect();
        file.write_all(HEXLOWER.encode(&random).as_bytes())?;
        file.as_file().sync_all()?;
        match file.persist_noclobber(&path) {
            Err(error) if error.error.kind() != std::io::ErrorKind::AlreadyExists => {
                return Err(error.error).with_context(|| format!("{} cannot be made", path.display()));
            }
            Ok(_) | Err(_) => {}
        }
    }
    let secret = fs::read_to_string(&path).with_context(|| format!("{} cannot be read", path.display()))?;
    ensure!(
        !secret.trim().is_empty(),
        "{} is empty: restore it, or remove it to have another one made",
        path.display()
    );
    Ok(secret)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_given_only_for_those_whom_the_door_knows() -> Result<()> {
        let tokens = Tokens::new("a secret");
        let (pos, finance): (Source, Source) = ("/channels/ums-pos".parse()?, "/operators/finance".parse()?);
        let by_default = clients(&Config::default(), &tokens)?;
        assert_eq!(client_token(&by_default, &finance)?, tokens.client("/operators/finance"));
        let unknown = client_token(&by_default, &"/operators/li".parse()?).unwrap_err().to_string();
        assert!(unknown.contains("LEDGER_DOOR__CLIENTS") && unknown.contains("/operators/finance"), "{unknown}");
        let client = |token: &str, source: &Source| Client {
            name: "a client".to_owned(),
            token: token.to_owned(),
            sources: vec![source.clone()],
        };
        let configured = [client("t", &pos), client("", &finance)];
        assert_eq!(client_token(&configured, &pos)?, "t");
        assert!(client_token(&configured, &finance).is_err(), "the door takes no empty token");
        Ok(())
    }
}
