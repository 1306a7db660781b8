//! The topics as they should be, read from `topics.toml`.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::Name;

/// How a topic should be; settings stand under Kafka's names.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Topic {
    pub name: String,
    pub partitions: i32,
    pub replication: i32,
    pub settings: BTreeMap<String, String>,
}

/// The topics of one ledger.
#[derive(Clone, Debug, Deserialize)]
pub struct Topics {
    events: Topic,
    inbox: Topic,
}

impl Topics {
    /// As declared, under a prefix: `ledger` gives `ledger.events` and `ledger.in.<channel>`.
    pub fn declared(prefix: &str) -> Result<Self, toml::de::Error> {
        let mut topics: Self = toml::from_str(include_str!("../topics.toml"))?;
        for topic in [&mut topics.events, &mut topics.inbox] {
            topic.name = format!("{prefix}.{}", topic.name);
        }
        Ok(topics)
    }

    /// For a cluster of fewer brokers: one copy less than all must be in step.
    #[must_use]
    pub fn with_replication(mut self, replication: i32) -> Self {
        for topic in [&mut self.events, &mut self.inbox] {
            topic.replication = replication;
            topic.settings.insert("min.insync.replicas".to_owned(), (replication - 1).max(1).to_string());
        }
        self
    }

    /// For simulated days: the producers' time counts instead of the broker's.
    #[must_use]
    pub fn with_producers_time(mut self) -> Self {
        for topic in [&mut self.events, &mut self.inbox] {
            topic.settings.insert("message.timestamp.type".to_owned(), "CreateTime".to_owned());
        }
        self
    }

    pub fn events(&self) -> &Topic {
        &self.events
    }

    pub fn inbox(&self, channel: &Name) -> Topic {
        Topic { name: format!("{}.{channel}", self.inbox.name), ..self.inbox.clone() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn facts_are_kept_for_ever_in_twelve_partitions() {
        let topics = Topics::declared("ledger").unwrap();
        let events = topics.events();
        assert_eq!((events.name.as_str(), events.partitions), ("ledger.events", 12));
        assert_eq!(
            (events.settings["retention.ms"].as_str(), events.settings["retention.bytes"].as_str()),
            ("-1", "-1")
        );
        assert_eq!(topics.inbox(&"ums-pos".parse().unwrap()).name, "ledger.in.ums-pos");
    }

    #[test]
    fn one_copy_fewer_than_all_must_be_in_step() {
        let one = Topics::declared("t").unwrap().with_replication(1);
        assert_eq!((one.events().replication, one.events().settings["min.insync.replicas"].as_str()), (1, "1"));
    }
}
