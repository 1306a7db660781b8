//! What is in force: defaults, then a TOML file, then the environment, then flags.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail, ensure};
use figment::{
    Figment,
    providers::{Env, Format, Serialized, Toml},
};
use producers::{
    calls::CallsConfig, channels::ChannelsConfig, door::DoorConfig, executor::ExecutorConfig, sandbox::SandboxConfig,
    statement::StatementFormat,
};
use rules::policy::Policy;
use schemas::Name;
use serde::{Deserialize, Serialize};

mod wrong;

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// `postgres`, or `kafka://host:9092[,host2:9092]`.
    pub log: String,
    /// Topics are named `<prefix>.events` and `<prefix>.in.<channel>`.
    pub topic_prefix: String,
    /// Copies of each record in Kafka.
    pub replication: i32,
    /// Where Postgres is; when empty, the ledger finds, starts and looks after one of its own in `data_dir`.
    pub postgres_url: String,
    pub data_dir: PathBuf,
    /// The key of tokens and of clients' passwords; when empty, one is made and kept in `data_dir`.
    pub secret: String,
    /// Lanes of the projector and of the coordinator in one process.
    pub lanes: usize,
    /// How long a partition stays with a lane that has fallen silent, in seconds.
    pub lease_s: u64,
    /// Channels that write an inbox topic of their own.
    pub inbox_channels: Vec<Name>,
    /// Where the door listens.
    pub listen: SocketAddr,
    /// Where the sandbox listens.
    pub sandbox_listen: SocketAddr,
    pub door: DoorConfig,
    pub channels: ChannelsConfig,
    /// How each channel writes its statements, where it is not in the default format.
    pub statements: BTreeMap<Name, StatementFormat>,
    pub calls: CallsConfig,
    pub executor: ExecutorConfig,
    pub sandbox: SandboxConfig,
    pub policy: Policy,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            log: "postgres".to_owned(),
            topic_prefix: "ledger".to_owned(),
            replication: 3,
            postgres_url: String::new(),
            data_dir: default_data_dir(),
            secret: String::new(),
            lanes: 1,
            lease_s: 10,
            inbox_channels: Vec::new(),
            listen: SocketAddr::from(([127, 0, 0, 1], 8080)),
            sandbox_listen: SocketAddr::from(([127, 0, 0, 1], 8081)),
            door: DoorConfig::default(),
            channels: ChannelsConfig::default(),
            statements: BTreeMap::new(),
            calls: CallsConfig::default(),
            executor: ExecutorConfig::default(),
            sandbox: SandboxConfig::default(),
            policy: Policy::default(),
        }
    }
}

/// Postgres will not run as root, and its own user cannot reach into root's home.
fn default_data_dir() -> PathBuf {
    let home = std::env::var_os("XDG_DATA_HOME")
        .map(PathBuf::from)
        .or_else(|| std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".local/share")))
        .filter(|home| !home.starts_with("/root"));
    home.map_or_else(|| PathBuf::from("/var/lib/ledger"), |home| home.join("ledger"))
}

/// Stands for a secret where settings are shown.
const MASK: &str = "***";

/// Characters of a key that nobody guesses.
const SECRET_MIN: usize = 16;

/// Variables with our prefix that are no settings.
const NO_SETTINGS: &[&str] = &["CONFIG", "POSTGRES_BIN", "DB_PASSWORD"];

/// Whether the rest of a variable's name is that of no setting, though somebody may think so.
fn is_a_slip(rest: &str, known: &toml::Value) -> bool {
    let first = rest.split("__").next().unwrap_or_default();
    // Tests have theirs, and an orchestrator makes some for a service of this name.
    let foreign = ["TEST_", "PORT", "SERVICE_"].iter().any(|start| rest.starts_with(start));
    !foreign && !NO_SETTINGS.contains(&rest) && known.get(first.to_ascii_lowercase()).is_none()
}

impl Config {
    /// Reads `file` (or `ledger.toml` here, if there is one), the environment (`LEDGER_LOG`, `LEDGER_LISTEN`, …)
    /// and the flags.
    pub fn load(file: Option<&Path>, flags: &Flags) -> Result<Self> {
        let defaults = toml::Value::try_from(Self::default())?;
        let mut figment = Figment::from(Serialized::defaults(&defaults));
        match file {
            Some(file) => {
                ensure!(file.exists(), "there is no configuration file {}", file.display());
                figment = figment.merge(Toml::file(file));
            }
            None => figment = figment.merge(Toml::file("ledger.toml")),
        }
        // Others use the prefix too: an orchestrator's LEDGER_PORT is none of our settings. But it may be a slip.
        for (name, _) in std::env::vars_os() {
            let name = name.to_string_lossy();
            if name.strip_prefix("LEDGER_").is_some_and(|rest| is_a_slip(rest, &defaults)) {
                eprintln!("warning: {name} is no setting of the ledger; `ledger config` shows those in force");
            }
        }
        let is_ours = move |name: &str| {
            let first = name.split("__").next().unwrap_or_default().to_ascii_lowercase();
            defaults.get(&first).is_some()
        };
        let env = Env::prefixed("LEDGER_").filter(move |name| is_ours(name.as_str())).split("__");
        let figment = figment.merge(env).merge(Serialized::defaults(flags));
        let mut config: Self = figment.extract().map_err(|error| wrong::settings(&figment, error))?;
        let in_an_address = [&config.postgres_url, &config.log].iter().any(|address| address.contains(MASK));
        ensure!(
            !in_an_address && config.secrets().all(|secret| secret != MASK),
            "a secret is {MASK}, which is how `ledger config` shows one: put the real one in its place"
        );
        config.check()?;
        Ok(config)
    }

    /// What could be read, but not be used later.
    fn check(&self) -> Result<()> {
        ensure!(
            self.secret.is_empty() || self.secret.trim().len() >= SECRET_MIN,
            "{} is the key of every token, so it has at least {SECRET_MIN} characters; `openssl rand -hex 32` makes one",
            wrong::name(&["secret"])
        );
        for client in &self.door.clients {
            ensure!(
                client.token.is_empty() || client.token.trim().len() >= SECRET_MIN,
                "the token of {} in {} can be guessed; it has at least {SECRET_MIN} characters",
                client.name,
                wrong::name(&["door", "clients"])
            );
        }
        let Policy { in_flight_ttl_s, top_up_ttl_s, fee_payment_ttl_s, .. } = self.policy;
        for (name, ttl) in [
            ("in_flight_ttl_s", in_flight_ttl_s),
            ("top_up_ttl_s", top_up_ttl_s),
            ("fee_payment_ttl_s", fee_payment_ttl_s),
        ] {
            ensure!(ttl > 0, "{} is how long one may pay, so at least a second", wrong::name(&["policy", name]));
        }
        ensure!(self.lanes > 0, "{} is how many work at once, so at least 1", wrong::name(&["lanes"]));
        engine::log::check(&self.log).with_context(|| format!("{} cannot be used", wrong::name(&["log"])))?;
        let takes = wrong::name(&["postgres_url"])
            + " takes postgres://user:password@host:5432/database, or nothing, for a Postgres of the ledger's own";
        match self.postgres_url.split_once("://") {
            None if self.postgres_url.is_empty() => Ok(()),
            // Of the rest nothing is repeated: it may hold a password.
            Some((scheme, _)) if !scheme.starts_with("postgres") && !scheme.contains('=') => {
                bail!("{takes}; not {scheme}://…")
            }
            _ => engine::postgres::check(&self.postgres_url).context(takes),
        }
    }

    /// As TOML, with everything secret masked.
    pub fn masked(&self) -> Result<String> {
        let mut shown = self.clone();
        for secret in shown.secrets().filter(|secret| !secret.is_empty()) {
            MASK.clone_into(secret);
        }
        let addresses = [&mut shown.postgres_url].into_iter().chain(shown.calls.addresses().map(|(_, url)| url));
        addresses.for_each(|url| *url = mask_password(url));
        shown.log = shown.log.split_once('?').map_or(shown.log.clone(), |(brokers, _)| format!("{brokers}?{MASK}"));
        toml::to_string_pretty(&shown).context("the configuration cannot be shown")
    }

    /// Everything secret, but for what stands within an address.
    fn secrets(&mut self) -> impl Iterator<Item = &mut String> {
        let tokens = self.door.clients.iter_mut().map(|client| &mut client.token);
        let played = self.sandbox.door.iter_mut().flat_map(|door| door.tokens.values_mut());
        let ours = [&mut self.secret, &mut self.calls.alipay.private_key];
        ours.into_iter().chain(tokens).chain(played).chain(self.channels.secrets())
    }
}

/// `postgres://user:secret@host` as `postgres://user:***@host`.
pub fn mask_password(url: &str) -> String {
    if !url.contains("://") {
        return if url.contains("password") { MASK.to_owned() } else { url.to_owned() };
    }
    replace_password(url, &format!(":{MASK}"))
}

/// `postgres://user:secret@host` as `postgres://user@host`.
pub fn without_password(url: &str) -> String {
    replace_password(url, "")
}

fn replace_password(url: &str, replacement: &str) -> String {
    if let Some((url, query)) = url.split_once('?') {
        let kept: Vec<&str> = query.split('&').filter(|parameter| !parameter.starts_with("password=")).collect();
        let mark = if kept.is_empty() { "" } else { "?" };
        return format!("{}{mark}{}", replace_password(url, replacement), kept.join("&"));
    }
    let parts = url.split_once("://").and_then(|(scheme, rest)| Some((scheme, rest.rsplit_once('@')?)));
    match parts.and_then(|(scheme, (user, host))| Some((scheme, user.split_once(':')?.0, host))) {
        Some((scheme, user, host)) => format!("{scheme}://{user}{replacement}@{host}"),
        None => url.to_owned(),
    }
}

/// Settings that have a flag of their own.
#[derive(Clone, Debug, Default, Serialize, clap::Args)]
pub struct Flags {
    /// The log: `postgres` or `kafka://host:9092`
    #[arg(long, global = true)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub log: Option<String>,
    /// Postgres by URL, instead of one that the ledger looks after
    #[arg(long, global = true)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub postgres_url: Option<String>,
    /// Where the ledger keeps what is its own
    #[arg(long, global = true)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub data_dir: Option<PathBuf>,
    /// Copies of each record in Kafka
    #[arg(long, global = true)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub replication: Option<i32>,
}

#[cfg(test)]
mod tests {
    use producers::door::Client;

    use super::*;

    #[test]
    fn nothing_secret_is_shown() {
        let mut config = Config {
            secret: "s3cret".into(),
            postgres_url: "postgres://ledger:pa55@db/ledger".into(),
            log: "kafka://b:9092?sasl.password=pa55".into(),
            calls: CallsConfig::new("https://ledger:pa55@bank", "https://ledger:pa55@acquirer"),
            ..Config::default()
        };
        for secret in config.channels.secrets() {
            "s3cret".clone_into(secret);
        }
        let shown = config.masked().unwrap();
        assert!(!shown.contains("s3cret") && !shown.contains("pa55"), "{shown}");
        assert!(shown.contains("postgres://ledger:***@db/ledger") && shown.contains("https://ledger:***@bank"));
        assert_eq!(without_password("postgres://ledger:pa55@db/ledger"), "postgres://ledger@db/ledger");
        assert_eq!(without_password("postgres://ledger@%2Frun/ledger"), "postgres://ledger@%2Frun/ledger");
        let by_query = "postgres://ledger@db/ledger?password=pa55&sslmode=require";
        assert_eq!(without_password(by_query), "postgres://ledger@db/ledger?sslmode=require");
        assert_eq!(mask_password("postgres://ledger@db/ledger?password=pa55"), "postgres://ledger@db/ledger");
    }

    #[test]
    fn what_is_shown_is_not_taken_for_the_secrets_themselves() {
        let mut config = Config { postgres_url: "postgres://ledger@db/ledger".into(), ..Config::default() };
        let file = tempfile::NamedTempFile::new().unwrap();
        let load = |config: &Config| {
            std::fs::write(file.path(), config.masked().unwrap()).unwrap();
            Config::load(Some(file.path()), &Flags::default()).map_err(|error| error.to_string())
        };
        load(&config).unwrap();
        config.postgres_url = "postgres://ledger:pa55@db/ledger".into();
        assert!(load(&config).unwrap_err().contains("put the real one in its place"));
        config.postgres_url = String::new();
        config.secret = "s3cret".into();
        assert!(load(&config).unwrap_err().contains("put the real one in its place"));
    }

    #[test]
    fn a_key_that_can_be_guessed_is_refused() {
        let told =
            |secret: &str| Config { secret: secret.into(), ..Config::default() }.check().map_err(|e| e.to_string());
        let refused = told("short").unwrap_err();
        assert!(refused.contains("LEDGER_SECRET") && !refused.contains("short"), "{refused}");
        told(&"s".repeat(SECRET_MIN)).unwrap();

        let mut config = Config::default();
        let source = "/channels/ums-pos".parse().unwrap();
        config.door.clients.push(Client { name: "pos".into(), token: "t0p".into(), sources: vec![source] });
        let refused = config.check().unwrap_err().to_string();
        assert!(refused.contains("token of pos") && !refused.contains("t0p"), "{refused}");
        config.door.clients[0].token = "t".repeat(SECRET_MIN);
        config.check().unwrap();
        config.policy.in_flight_ttl_s = 0;
        assert!(config.check().unwrap_err().to_string().contains("LEDGER_POLICY__IN_FLIGHT_TTL_S"));
    }

    #[test]
    fn a_setting_that_cannot_be_read_is_told_without_its_secret() {
        let mut config = Config { secret: "s3cret".into(), ..Config::default() };
        for secret in config.channels.secrets().into_iter().chain([&mut config.calls.alipay.private_key]) {
            "s3cret".clone_into(secret);
        }
        let text = config.masked().unwrap();
        let masked = format!("\"{MASK}\"");
        let parts: Vec<&str> = text.split(&masked).collect();
        assert!(parts.len() > 4, "{text}");
        let file = tempfile::NamedTempFile::new().unwrap();
        for at in 1..parts.len() {
            // A number stands where text should.
            let wrong = [parts[..at].join("\"\""), parts[at..].join("\"\"")].join("90210");
            std::fs::write(file.path(), wrong).unwrap();
            let told = Config::load(Some(file.path()), &Flags::default()).unwrap_err().to_string();
            assert!(told.contains("LEDGER_") && told.contains("takes text") && !told.contains("90210"), "{told}");
        }
    }

    #[test]
    fn a_slip_in_a_variable_is_noticed() {
        let known = toml::Value::try_from(Config::default()).unwrap();
        for (rest, slip) in [
            ("LISTN", true),
            ("LISTEN", false),
            ("DOOR__X", false),
            ("TEST_KAFKA", false),
            ("PORT", false),
            ("CONFIG", false),
        ] {
            assert_eq!(is_a_slip(rest, &known), slip, "{rest}");
        }
    }
}
