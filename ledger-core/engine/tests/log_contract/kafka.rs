//! The engine on a real broker, and librdkafka's own mock for errors that a real one hardly ever gives.

use std::{
    collections::BTreeMap,
    env,
    io::Write as _,
    path::{Path, PathBuf},
    process::Command,
    sync::{
        Arc, Once,
        atomic::{AtomicU32, Ordering},
    },
    thread,
    time::Duration,
};

use ledger_engine::log::{AppendError, Log, LogError, kafka::KafkaLog, partition_of};
use rdkafka::{
    ClientConfig, Message as _, Offset, TopicPartitionList,
    admin::{AdminClient, AdminOptions},
    client::DefaultClientContext,
    message::DeliveryResult,
    mocking::MockCluster,
    producer::{BaseProducer, BaseRecord, Producer as _, ProducerContext},
    types::{RDKafkaApiKey, RDKafkaRespErr},
};

use super::{
    bed::{Bed, Engine, at, numbered, read_on, record},
    outage::nothing_is_lost_while,
};

const VARIABLE: &str = "LEDGER_TEST_KAFKA";

#[derive(Clone)]
pub struct Kafka {
    pub bootstrap: String,
    pub brokers: i32,
    /// Of librdkafka.
    pub settings: BTreeMap<String, String>,
}

impl Kafka {
    /// The broker of this run, if there is one. Whoever reads the output learns that Kafka was left out.
    pub fn shared(case: &str) -> Option<Self> {
        static NOTICE: Once = Once::new();
        if let Ok(bootstrap) = env::var(VARIABLE) {
            return Some(Self { bootstrap, brokers: 1, settings: BTreeMap::new() });
        }
        assert!(
            env::var_os("CI").is_none(),
            "{case} did not run on Kafka: {VARIABLE} is not set, and under CI nothing is skipped"
        );
        NOTICE.call_once(|| {
            // Not `eprintln!`, which the test harness keeps back.
            let text =
                "SKIPPED: the log's contract on Kafka; to run it, set LEDGER_TEST_KAFKA=$(tests/kafka/kafka.sh start)";
            let _ = writeln!(std::io::stderr(), "{text}");
        });
        None
    }
}

impl Engine for Kafka {
    fn connect(&self) -> Arc<dyn Log> {
        Arc::new(KafkaLog::connect(&self.bootstrap, &self.settings).unwrap())
    }

    fn remove(&self, topic: &str) {
        let admin: AdminClient<DefaultClientContext> =
            ClientConfig::new().set("bootstrap.servers", &self.bootstrap).create().unwrap();
        let removed = futures_executor::block_on(admin.delete_topics(&[topic], &AdminOptions::new())).unwrap();
        removed.into_iter().for_each(|result| drop(result.unwrap()));
        // The broker answers before it has forgotten the topic.
        while self.connect().describe(topic).is_ok() {
            thread::sleep(Duration::from_millis(50));
        }
    }

    fn replication(&self) -> i32 {
        self.brokers
    }
}

/// A cluster of its own, whose brokers may be killed.
struct Cluster {
    folder: PathBuf,
    kafka: Kafka,
}

impl Cluster {
    fn start(brokers: i32) -> Self {
        static STARTED: AtomicU32 = AtomicU32::new(0);
        let number = STARTED.fetch_add(1, Ordering::Relaxed);
        let folder = format!("log-contract-kafka-{}-{number}", std::process::id());
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(folder);
        // It was free a moment ago; the other ports of the cluster follow it.
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port().min(65_000);
        let bootstrap = script(&folder, &["start", "--brokers", &brokers.to_string(), "--port", &port.to_string()]);
        Self { folder, kafka: Kafka { bootstrap, brokers, settings: BTreeMap::new() } }
    }

    fn bed(&self) -> Bed {
        Bed::new("outage", Box::new(self.kafka.clone()))
    }
}

fn script(folder: &Path, arguments: &[&str]) -> String {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/kafka/kafka.sh");
    let output = Command::new(script).args(arguments).arg("--dir").arg(folder).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

impl Drop for Cluster {
    fn drop(&mut self) {
        script(&self.folder, &["kill9"]);
        std::fs::remove_dir_all(&self.folder).unwrap();
    }
}

#[test]
fn the_engine_goes_away_and_comes_back() {
    if Kafka::shared("the_engine_goes_away_and_comes_back").is_none() {
        return;
    }
    let cluster = Cluster::start(1);
    nothing_is_lost_while(&cluster.bed(), || {
        for _ in 0..2 {
            script(&cluster.folder, &["kill9"]);
            thread::sleep(Duration::from_secs(1));
            script(&cluster.folder, &["resume"]);
            thread::sleep(Duration::from_secs(2));
        }
    });
}

#[test]
fn each_of_three_brokers_may_be_killed() {
    if Kafka::shared("each_of_three_brokers_may_be_killed").is_none() {
        return;
    }
    let cluster = Cluster::start(3);
    nothing_is_lost_while(&cluster.bed(), || {
        for broker in ["1", "2", "3"] {
            script(&cluster.folder, &["kill9", "--broker", broker]);
            thread::sleep(Duration::from_secs(4));
            script(&cluster.folder, &["resume", "--broker", broker]);
            thread::sleep(Duration::from_secs(4));
        }
    });
}

#[test]
fn a_reader_never_jumps_over_what_was_removed() {
    let Some(kafka) = Kafka::shared("a_reader_never_jumps_over_what_was_removed") else { return };
    let admin: AdminClient<DefaultClientContext> =
        ClientConfig::new().set("bootstrap.servers", &kafka.bootstrap).create().unwrap();
    let bed = Bed::new("removed", Box::new(kafka));
    let topic = bed.topic(1);
    bed.append(&topic, numbered(30, 1));
    let mut before = TopicPartitionList::new();
    before.add_partition_offset(&topic, 0, Offset::Offset(10)).unwrap();
    futures_executor::block_on(admin.delete_records(&before, &AdminOptions::new())).unwrap();

    let mut reader = bed.log.reader(&topic).unwrap();
    reader.assign(&[at(0, 0)]).unwrap();
    let gone = (0..50).find_map(|_| reader.poll(10, Duration::from_millis(200)).err()).unwrap();
    assert_eq!(gone, LogError::OutOfRange { position: at(0, 0), first: 10, end: 30 });
    reader.assign(&[at(0, 10)]).unwrap();
    assert_eq!(read_on(reader.as_mut(), 20)[0].position, at(0, 10));
}

/// Records where librdkafka's own partitioner would put each key.
struct Partitions(std::sync::Mutex<BTreeMap<usize, i32>>);

impl rdkafka::ClientContext for Partitions {}

impl ProducerContext for Partitions {
    type DeliveryOpaque = usize;

    fn delivery(&self, delivery: &DeliveryResult<'_>, index: usize) {
        self.0.lock().unwrap().insert(index, delivery.as_ref().unwrap().partition());
    }
}

#[test]
fn settings_that_need_tls_name_the_feature_that_brings_it() {
    let connect = |settings: &[(&str, &str)]| {
        let settings = settings.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect();
        KafkaLog::connect("127.0.0.1:1", &settings).map(drop)
    };
    let user = [("sasl.username", "me"), ("sasl.password", "secret")];
    let plain = [("security.protocol", "sasl_plaintext"), ("sasl.mechanism", "PLAIN")];
    assert_eq!(connect(&[&plain[..], &user].concat()), Ok(()));
    let scram = [("security.protocol", "sasl_plaintext"), ("sasl.mechanism", "SCRAM-SHA-512")];
    for settings in [&[("security.protocol", "ssl")][..], &[&scram[..], &user].concat()] {
        let outcome = connect(settings);
        let refused = matches!(&outcome, Err(error) if error.to_string().contains("--features kafka-tls"));
        assert!(if cfg!(feature = "kafka-tls") { outcome.is_ok() } else { refused }, "{outcome:?}");
    }
}

/// A broker as production has it: encrypted, with a certificate of a private authority, and only for whom it knows.
#[cfg(feature = "kafka-tls")]
#[test]
fn records_travel_over_tls_by_a_known_user() {
    use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};

    if Kafka::shared("records_travel_over_tls_by_a_known_user").is_none() {
        return;
    }
    let cluster = Cluster::start(1);
    script(&cluster.folder, &["stop"]);
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    // OpenSSL takes a certificate whose issuer has its own name for one that signed itself.
    params.distinguished_name.push(DnType::CommonName, "authority");
    let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let broker = CertificateParams::new(["127.0.0.1".to_owned()]).unwrap().signed_by(&key, &authority).unwrap();
    let path = |name: &str| cluster.folder.join(name).display().to_string();
    std::fs::write(path("ca.pem"), authority.pem()).unwrap();
    std::fs::write(path("broker.pem"), key.serialize_pem() + &broker.pem()).unwrap();

    let plain = &cluster.kafka.bootstrap;
    let port = plain.rsplit_once(':').unwrap().1.parse::<u16>().unwrap();
    let (controller, encrypted) = (port + 10, format!("127.0.0.1:{}", port + 20));
    // The last line for a name counts.
    let settings = format!(
        "
listeners=CLIENT://{plain},TLS://{encrypted},CONTROLLER://127.0.0.1:{controller}
listener.security.protocol.map=CLIENT:PLAINTEXT,TLS:SASL_SSL,CONTROLLER:PLAINTEXT
ssl.keystore.type=PEM
ssl.keystore.location={}
listener.name.tls.sasl.enabled.mechanisms=PLAIN
listener.name.tls.plain.sasl.jaas.config=org.apache.kafka.common.security.plain.PlainLoginModule required user_me=\"it\";
",
        path("broker.pem")
    );
    std::fs::OpenOptions::new()
        .append(true)
        .open(path("broker-1.properties"))
        .unwrap()
        .write_all(settings.as_bytes())
        .unwrap();
    script(&cluster.folder, &["resume"]);

    let connect = |ca_file: &str| {
        let settings = [
            ("security.protocol", "SASL_SSL"),
            ("ssl.ca.location", ca_file),
            ("sasl.mechanism", "PLAIN"),
            ("sasl.username", "me"),
            ("sasl.password", "it"),
        ];
        let settings = settings.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        KafkaLog::connect(&encrypted, &settings)
    };
    let bed = cluster.bed();
    let topic = bed.topic(1);
    let log = connect(&path("ca.pem")).unwrap();
    assert_eq!(bed.run(log.append(&topic, numbered(1, 1))), [Ok(at(0, 0))]);
    let mut reader = log.reader(&topic).unwrap();
    reader.assign(&[at(0, 0)]).unwrap();
    assert_eq!(read_on(reader.as_mut(), 1)[0].position, at(0, 0));

    let unproven = connect("probe").unwrap().ends(&topic);
    assert!(unproven.is_err(), "{unproven:?}");
}

#[test]
fn partitions_are_those_of_librdkafkas_murmur2() {
    let Some(kafka) = Kafka::shared("partitions_are_those_of_librdkafkas_murmur2") else { return };
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", &kafka.bootstrap).set("partitioner", "murmur2");
    let bed = Bed::new("murmur2", Box::new(kafka));
    let topic = bed.topic(12);
    let keys: Vec<String> = (0..300)
        .map(|number: usize| "学费:token-".repeat(1 + number % 3) + &"x".repeat(number % 9) + &number.to_string())
        .collect();
    let producer: BaseProducer<Partitions> = config.create_with_context(Partitions(Default::default())).unwrap();
    for (index, key) in keys.iter().enumerate() {
        producer.send(BaseRecord::with_opaque_to(&topic, index).key(key).payload("")).unwrap();
    }
    producer.flush(Duration::from_secs(20)).unwrap();
    let theirs = producer.client().context().0.lock().unwrap().clone();
    assert_eq!(theirs.len(), keys.len());
    for (index, key) in keys.iter().enumerate() {
        assert_eq!(theirs[&index], partition_of(key.as_bytes(), 12), "{key}");
    }
}

#[test]
fn librdkafka_was_built_with_lz4() {
    let features = ClientConfig::new().create_native_config().unwrap().get("builtin.features").unwrap();
    assert!(features.trim_end_matches('\0').split(',').any(|feature| feature == "lz4"), "{features}");
}

/// A mock broker with one topic, and our log on it.
fn mock(
    extra: &[(&str, &str)],
) -> (MockCluster<'static, rdkafka::producer::DefaultProducerContext>, KafkaLog, tokio::runtime::Runtime) {
    let mock = MockCluster::new(1).unwrap();
    mock.create_topic("mocked", 3, 1).unwrap();
    let extra = extra.iter().map(|(key, value)| (key.to_string(), value.to_string())).collect();
    let log = KafkaLog::connect(&mock.bootstrap_servers(), &extra).unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    (mock, log, runtime)
}

#[test]
fn a_broken_producer_is_replaced() {
    let (mock, log, runtime) = mock(&[]);
    for round in 0..3 {
        // Refusing a producer id breaks the producer for good. The first one asks as soon as it can.
        mock.request_errors(
            RDKafkaApiKey::InitProducerId,
            &[RDKafkaRespErr::RD_KAFKA_RESP_ERR_CLUSTER_AUTHORIZATION_FAILED; 1],
        );
        mock.request_errors(RDKafkaApiKey::Produce, &[RDKafkaRespErr::RD_KAFKA_RESP_ERR_INVALID_PRODUCER_EPOCH; 1]);
        let mut tries = 0;
        while !runtime.block_on(log.append("mocked", numbered(100, 10))).iter().all(Result::is_ok) {
            tries += 1;
            assert!(tries < 10);
        }
        println!("round {round}: {tries} tries with unknown answers");
    }
}

#[test]
fn an_error_of_the_broker_is_an_unknown_outcome() {
    let (mock, log, runtime) = mock(&[]);
    runtime.block_on(log.append("mocked", vec![record("key", "first")])).remove(0).unwrap();
    mock.request_errors(RDKafkaApiKey::Produce, &[RDKafkaRespErr::RD_KAFKA_RESP_ERR_POLICY_VIOLATION]);
    let answer = runtime.block_on(log.append("mocked", vec![record("key", "second")])).remove(0);
    assert!(matches!(answer, Err(AppendError::Unknown(_))), "{answer:?}");
    // A batch that is too large for the topic says nothing about its small records.
    mock.request_errors(RDKafkaApiKey::Produce, &[RDKafkaRespErr::RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE]);
    let answer = runtime.block_on(log.append("mocked", vec![record("key", "third")])).remove(0);
    assert!(matches!(answer, Err(AppendError::Unknown(_))), "{answer:?}");
    mock.request_errors(RDKafkaApiKey::Produce, &[RDKafkaRespErr::RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE]);
    let answer = runtime.block_on(log.append("mocked", vec![record("key", vec![0; 1_010_000])])).remove(0);
    assert!(matches!(answer, Err(AppendError::TooLarge { .. })), "{answer:?}");
    runtime.block_on(log.append("mocked", vec![record("key", "fourth")])).remove(0).unwrap();
}

#[test]
fn a_full_queue_only_makes_an_append_slower() {
    let (_mock, log, runtime) = mock(&[("queue.buffering.max.messages", "50")]);
    let answers = runtime.block_on(log.append("mocked", numbered(2_000, 10)));
    assert!(answers.iter().all(Result::is_ok));
}
