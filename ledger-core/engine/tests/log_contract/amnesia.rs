//! A cluster that forgets its brokers for a moment, as one does whose only broker was frozen for longer than its
//! session: its answer to "who are you all?" names nobody. A proxy before the real broker gives that answer.

use std::{
    collections::HashMap,
    io::{self, Read as _, Write as _},
    net::{Shutdown, TcpListener, TcpStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use super::{bed::Bed, kafka::Kafka, outage::nothing_is_lost_while};

/// How Kafka numbers the questions whose answers hold addresses.
const METADATA: [u8; 2] = [0, 3];
const FIND_COORDINATOR: [u8; 2] = [0, 10];

const HOST: &str = "127.0.0.1";

/// Stands before a broker that is alone, and tells clients its own port for the broker's.
struct Proxy {
    port: u16,
    broker_port: u16,
    forgets: AtomicBool,
    forgotten: AtomicUsize,
    connections: Mutex<Vec<TcpStream>>,
}

impl Proxy {
    fn before(broker: &str) -> Arc<Self> {
        let broker_port = broker.rsplit_once(':').unwrap().1.parse().unwrap();
        let listener = TcpListener::bind((HOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let proxy = Arc::new(Self {
            port,
            broker_port,
            forgets: AtomicBool::new(false),
            forgotten: AtomicUsize::new(0),
            connections: Mutex::default(),
        });
        let accepting = Arc::clone(&proxy);
        thread::spawn(move || {
            for client in listener.incoming() {
                accepting.connect(client.unwrap());
            }
        });
        proxy
    }

    fn connect(self: &Arc<Self>, client: TcpStream) {
        let broker = TcpStream::connect((HOST, self.broker_port)).unwrap();
        self.connections.lock().unwrap().extend([client.try_clone().unwrap(), broker.try_clone().unwrap()]);
        let asked = Arc::new(Mutex::new(HashMap::new()));
        for (mut from, mut to, asks) in
            [(client.try_clone().unwrap(), broker.try_clone().unwrap(), true), (broker, client, false)]
        {
            let (proxy, asked) = (Arc::clone(self), Arc::clone(&asked));
            thread::spawn(move || {
                // Whoever closes one side closes the other.
                while let Ok(mut frame) = read_frame(&mut from) {
                    let mut asked = asked.lock().unwrap();
                    if asks {
                        asked.insert(frame[4..8].to_vec(), [frame[0], frame[1]]);
                    } else {
                        match asked.remove(&frame[..4]) {
                            Some(METADATA) => proxy.rewrite(&mut frame),
                            Some(FIND_COORDINATOR) => proxy.replace_port(&mut frame),
                            _ => {}
                        }
                    }
                    drop(asked);
                    if write_frame(&mut to, &frame).is_err() {
                        break;
                    }
                }
                let _ = (from.shutdown(Shutdown::Both), to.shutdown(Shutdown::Both));
            });
        }
    }

    fn replace_port(&self, answer: &mut [u8]) {
        let address = |port: u16| [HOST.as_bytes(), &u32::from(port).to_be_bytes()].concat();
        let (real, ours) = (address(self.broker_port), address(self.port));
        if let Some(at) = answer.windows(real.len()).position(|bytes| bytes == real) {
            answer[at..at + ours.len()].copy_from_slice(&ours);
        }
    }

    /// Before the list of brokers stand the number of the question, its tags, and for how long to wait. The list begins
    /// with its length plus one; its only broker is a number, a host, a port, no rack and no tags.
    fn rewrite(&self, answer: &mut Vec<u8>) {
        const LENGTH: usize = 9;
        const BROKER: std::ops::Range<usize> = 10..10 + 4 + 1 + HOST.len() + 4 + 2;
        assert!(answer[LENGTH] == 2 && answer[BROKER.end - 2..BROKER.end] == [0, 0], "not one broker: {answer:?}");
        if self.forgets.load(Ordering::SeqCst) {
            answer[LENGTH] = 1;
            answer.drain(BROKER);
            self.forgotten.fetch_add(1, Ordering::SeqCst);
        } else {
            self.replace_port(answer);
        }
    }

    /// All connections break, and who asks meanwhile is told of no broker.
    fn forgets_while(&self, meanwhile: impl FnOnce()) {
        self.forgets.store(true, Ordering::SeqCst);
        for connection in self.connections.lock().unwrap().drain(..) {
            let _ = connection.shutdown(Shutdown::Both);
        }
        meanwhile();
        self.forgets.store(false, Ordering::SeqCst);
    }
}

fn read_frame(from: &mut TcpStream) -> io::Result<Vec<u8>> {
    let mut length = [0; 4];
    from.read_exact(&mut length)?;
    let mut frame = vec![0; u32::from_be_bytes(length) as usize];
    from.read_exact(&mut frame)?;
    Ok(frame)
}

fn write_frame(to: &mut TcpStream, frame: &[u8]) -> io::Result<()> {
    to.write_all(&[&(frame.len() as u32).to_be_bytes(), frame].concat())
}

#[test]
fn a_cluster_may_forget_its_brokers() {
    let Some(kafka) = Kafka::shared("a_cluster_may_forget_its_brokers") else { return };
    let proxy = Proxy::before(&kafka.bootstrap);
    // librdkafka begins anew with the addresses of the URL, unless it misses the moment; here it always does.
    let settings = [("metadata.recovery.strategy", "none")].map(|(name, value)| (name.to_owned(), value.to_owned()));
    let kafka = Kafka { bootstrap: format!("{HOST}:{}", proxy.port), settings: settings.into(), ..kafka };
    let bed = Bed::new("forgotten", Box::new(kafka));
    let other = bed.topic(1);
    nothing_is_lost_while(&bed, || {
        proxy.forgets_while(|| drop(bed.log.describe(&other)));
        // A reader may still find its way by the coordinator of its group, but not every time.
        for _ in 0..20 {
            proxy.forgets_while(|| thread::sleep(Duration::from_millis(300)));
            thread::sleep(Duration::from_millis(300));
        }
    });
    println!("{} answers named no broker", proxy.forgotten.load(Ordering::SeqCst));
    assert!(proxy.forgotten.load(Ordering::SeqCst) >= 3, "each client was told so");
}
