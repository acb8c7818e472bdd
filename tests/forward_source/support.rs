//! A source on loopback with an intake that collects, and clients that write literal bytes.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use logweir::clock::Clock;
use logweir::record::msgpack::write;
use logweir::record::{RecordBatch, Tickets};
use logweir::source::forward::{Address, Budget, ForwardConfig, ForwardStats, Listeners, Resources, Setup, serve};
use logweir::source::{Control, Intake};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::Instant;

/// Longest that a test waits for what must come; nothing is measured by it.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// What the connections of a source share.
pub(crate) const BUDGET: usize = 1 << 20;

/// One record as it was taken.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Taken {
    pub(crate) tag: String,
    pub(crate) time: i64,
    pub(crate) map: Vec<u8>,
}

#[derive(Debug, Default)]
struct Inner {
    taken: Mutex<Vec<Taken>>,
    batches: Mutex<usize>,
    refused: Mutex<BTreeMap<&'static str, (u64, u64)>>,
    /// Tickets of batches, while `hold` says so.
    tickets: Mutex<Vec<Tickets>>,
    hold: Mutex<bool>,
    /// Records that fill the queues.
    bound: Mutex<Option<usize>>,
}

/// An intake that keeps everything.
#[derive(Clone, Debug)]
pub(crate) struct Collector {
    inner: Arc<Inner>,
    room: watch::Sender<bool>,
}

impl Collector {
    pub(crate) fn new() -> Self {
        Self { inner: Arc::default(), room: watch::Sender::new(true) }
    }

    pub(crate) fn taken(&self) -> Vec<Taken> {
        self.inner.taken.lock().expect("no panic under it").clone()
    }

    pub(crate) fn logs(&self) -> Vec<String> {
        self.taken().iter().map(|taken| log_of(&taken.map)).collect()
    }

    pub(crate) fn refused(&self) -> BTreeMap<&'static str, (u64, u64)> {
        self.inner.refused.lock().expect("no panic under it").clone()
    }

    /// The queues are full as soon as so many records were taken.
    pub(crate) fn fill_with(&self, records: usize) {
        *self.inner.bound.lock().expect("no panic under it") = Some(records);
    }

    /// Opens or closes the queues.
    pub(crate) fn set_room(&self, room: bool) {
        self.room.send_replace(room);
    }

    /// Keeps the tickets of what is taken from now on.
    pub(crate) fn hold_tickets(&self) {
        *self.inner.hold.lock().expect("no panic under it") = true;
    }

    pub(crate) fn held(&self) -> Vec<Tickets> {
        std::mem::take(&mut *self.inner.tickets.lock().expect("no panic under it"))
    }

    /// Waits until so many records were taken, and gives them.
    pub(crate) async fn wait_for(&self, records: usize) -> Vec<Taken> {
        eventually(|| self.taken().len() >= records).await;
        self.taken()
    }
}

impl Intake for Collector {
    fn take(&self, batch: RecordBatch) {
        assert!(batch.is_sound(), "{batch:?}");
        let mut taken = self.inner.taken.lock().expect("no panic under it");
        taken.extend(batch.records.iter().map(|&span| Taken {
            tag: batch.tag.as_str().to_owned(),
            time: span.time,
            map: batch.map(span).to_vec(),
        }));
        let mut bound = self.inner.bound.lock().expect("no panic under it");
        if bound.take_if(|bound| taken.len() >= *bound).is_some() {
            self.room.send_replace(false);
        }
        *self.inner.batches.lock().expect("no panic under it") += 1;
        if *self.inner.hold.lock().expect("no panic under it") {
            self.inner.tickets.lock().expect("no panic under it").push(batch.tickets);
        }
    }

    async fn room(&self) {
        self.room.subscribe().wait_for(|room| *room).await.expect("the collector lives");
    }

    fn refuse(&self, reason: &'static str, records: u64, bytes: u64) {
        let mut refused = self.inner.refused.lock().expect("no panic under it");
        let entry = refused.entry(reason).or_default();
        *entry = (entry.0 + records, entry.1 + bytes);
    }
}

/// A running source.
pub(crate) struct Source {
    pub(crate) collector: Collector,
    pub(crate) control: Control,
    pub(crate) stats: Arc<ForwardStats>,
    pub(crate) budget: Arc<Budget>,
    pub(crate) addresses: Vec<Address>,
    pub(crate) task: JoinHandle<()>,
}

impl Source {
    /// On a free loopback port, with these keys over the defaults.
    pub(crate) fn start(keys: serde_json::Value) -> Self {
        Self::start_at(&["tcp://127.0.0.1:0"], keys)
    }

    pub(crate) fn start_at(listen: &[&str], mut keys: serde_json::Value) -> Self {
        keys["listen"] = listen.into();
        let config: ForwardConfig = serde_json::from_value(keys).expect("a forward config");
        let listeners = Listeners::bind(&config).expect("loopback is free");
        let (collector, control) = (Collector::new(), Control::new());
        let addresses = listeners.addresses();
        let stats = Arc::new(ForwardStats::default());
        let budget = Arc::new(Budget::new(BUDGET));
        let task = tokio::spawn({
            let (collector, shutdown) = (collector.clone(), control.subscribe());
            let resources = Resources { clock: Clock::start(), stats: Arc::clone(&stats) };
            let setup = Setup::new(listeners, &config, Arc::clone(&budget)).expect("file descriptors");
            let changes = mpsc::channel(1).1;
            async move { serve(setup, "forward", vec![collector], resources, changes, shutdown).await }
        });
        Self { collector, control, stats, budget, addresses, task }
    }

    pub(crate) fn tcp(&self) -> SocketAddr {
        let address = self.addresses.iter().find_map(|address| match address {
            Address::Tcp(address) => address.parse().ok(),
            Address::Unix(_) | Address::Tls(_) => None,
        });
        address.expect("it listens on tcp")
    }

    pub(crate) fn connect(&self) -> Client {
        Client::new(TcpStream::connect(self.tcp()).expect("it listens"))
    }

    /// Waits until this many connections have ended for the reason.
    pub(crate) async fn wait_for_end(&self, reason: &str, times: u64) {
        eventually(|| self.stats.ended().get(reason) == Some(&times)).await;
    }
}

/// A blocking client; its reads run beside the runtime's other thread.
pub(crate) struct Client(pub(crate) TcpStream);

impl Client {
    pub(crate) fn new(stream: TcpStream) -> Self {
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout above zero");
        stream.set_nodelay(true).expect("a tcp stream");
        Self(stream)
    }

    pub(crate) fn send(&mut self, bytes: &[u8]) {
        self.0.write_all(bytes).expect("the source reads");
    }

    /// Reads exactly what is expected next.
    pub(crate) fn expect(&mut self, bytes: &[u8]) {
        let mut got = vec![0; bytes.len()];
        self.0.read_exact(&mut got).expect("as many bytes come");
        assert_eq!(got, bytes);
    }

    /// The source closes the connection and has nothing more to say.
    pub(crate) fn expect_end(&mut self) {
        let mut got = [0; 64];
        match self.0.read(&mut got) {
            Ok(n) => assert_eq!(&got[..n], b"", "the end was expected"),
            // What the source had not read makes the kernel send a reset.
            Err(error) => assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset),
        }
    }

    /// Nothing has come so far, and the connection is open.
    pub(crate) fn expect_quiet(&mut self) {
        self.0.set_nonblocking(true).expect("a tcp stream");
        let got = self.0.read(&mut [0; 64]);
        self.0.set_nonblocking(false).expect("a tcp stream");
        assert_eq!(got.expect_err("nothing comes").kind(), std::io::ErrorKind::WouldBlock);
    }
}

pub(crate) async fn eventually(mut happens: impl FnMut() -> bool) {
    let start = Instant::now();
    while !happens() {
        assert!(start.elapsed() < PATIENCE, "it does not happen");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// `{"log": text}`
pub(crate) fn line(text: &str) -> Vec<u8> {
    let mut out = Vec::new();
    write::map(&mut out, 1);
    write::str(&mut out, b"log");
    write::str(&mut out, text.as_bytes());
    out
}

fn log_of(map: &[u8]) -> String {
    let value = rmpv::decode::read_value(&mut &map[..]).expect("a whole map");
    value["log"].as_str().expect("a string").to_owned()
}

/// `[tag, EventTime, {"log": text}, {}]` as Docker's driver writes it.
pub(crate) fn message(tag: &str, text: &str) -> Vec<u8> {
    with_option(tag, text, &[0x80])
}

/// A message that asks for an ack.
pub(crate) fn asking(text: &str, chunk: &str) -> Vec<u8> {
    let mut option = vec![0x81];
    write::str(&mut option, b"chunk");
    write::str(&mut option, chunk.as_bytes());
    with_option("t", text, &option)
}

fn with_option(tag: &str, text: &str, option: &[u8]) -> Vec<u8> {
    let mut out = vec![0x94];
    write::str(&mut out, tag.as_bytes());
    out.extend_from_slice(&[0xd7, 0, 0x60, 0, 0, 0, 0, 0, 0, 1]);
    out.extend_from_slice(&line(text));
    out.extend_from_slice(option);
    out
}

/// `{"ack": token}`
pub(crate) fn ack(chunk: &str) -> Vec<u8> {
    let mut out = vec![0x81, 0xa3, b'a', b'c', b'k'];
    write::str(&mut out, chunk.as_bytes());
    out
}
