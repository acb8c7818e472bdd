//! The sender: a process of its own, so that its CPU is not the router's.
//!
//! It encodes its chunks, says `ready`, waits for `go`, and sends on a schedule: a write is due when all log text before
//! it has had its time at the rate, whether or not the router has taken what came before (an open loop). Ack latency
//! counts from that moment, so that a router that is slow cannot hide behind a sender that waits for it.

use std::collections::HashMap;
use std::io::{self, BufRead, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::{Barrier, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

use crate::chunks::{ACK_LEN, Chunk, Encoder, acked, compressor};
use crate::machine;
use crate::scenario::{Ack, Framing, Rate, Scenario};

/// Log text that is encoded beforehand: more than a cache of this decade holds.
const CORPUS: u64 = 32_000_000;

/// What comes so long after its due time comes late.
const LATE: Duration = Duration::from_millis(1);

/// What the sender is told.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Order {
    pub(crate) scenario: Scenario,
    pub(crate) socket: PathBuf,
    pub(crate) run: u16,
    pub(crate) seed: u64,
}

/// What the sender has done.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Sent {
    /// Records of each lane; their numbers are those below.
    pub(crate) lanes: Vec<u64>,
    /// Records that belong to CloudWatch Logs.
    pub(crate) alerts: u64,
    /// Bytes of log text.
    pub(crate) text: u64,
    /// Bytes on the wire.
    pub(crate) wire: u64,
    /// Writes to sockets.
    pub(crate) writes: u64,
    /// From `go` to the last write, and the last ack if acks are asked for.
    pub(crate) seconds: f64,
    /// The most that a write came after its due time, in milliseconds; 0 when saturated.
    pub(crate) late_ms: f64,
    /// Writes that came more than a millisecond after their due time: in bursts instead of evenly.
    pub(crate) late: u64,
    /// CPU seconds of the sender.
    pub(crate) cpu: f64,
    pub(crate) acks: Option<Acks>,
}

impl Sent {
    /// Records of all lanes.
    pub(crate) fn records(&self) -> u64 {
        self.lanes.iter().sum()
    }

    /// The share of writes that came late.
    pub(crate) fn late_share(&self) -> f64 {
        self.late as f64 / self.writes.max(1) as f64
    }
}

/// From the moment that a chunk was due to its ack, in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Acks {
    pub(crate) count: u64,
    pub(crate) p50_ms: f64,
    pub(crate) p99_ms: f64,
    pub(crate) p999_ms: f64,
    pub(crate) max_ms: f64,
}

/// Runs the sender: its order as JSON in, its account as a line of JSON out.
pub(crate) fn run(order: &str) {
    let order: Order = serde_json::from_str(order).expect("the bench wrote it");
    let lanes: Vec<Lane> = (0..order.scenario.lanes()).map(|n| Lane::prepare(&order, n)).collect();
    println!("ready");
    io::stdin().lock().read_line(&mut String::new()).expect("the bench says go");
    let before = machine::own_cpu();
    let start = Instant::now();
    if lanes.is_empty() {
        thread::sleep(order.scenario.time.unwrap_or_default());
    }
    let gate = Barrier::new(lanes.len());
    let accounts: Vec<(Sent, Histogram<u64>)> = thread::scope(|scope| {
        let running: Vec<_> =
            lanes.into_iter().map(|lane| scope.spawn(|| lane.send(&order.scenario, start, &gate))).collect();
        running.into_iter().map(|lane| lane.join().expect("no lane panics")).collect()
    });
    let seconds = start.elapsed().as_secs_f64();
    let mut sent = Sent { cpu: machine::own_cpu() - before, seconds, ..Sent::default() };
    let mut latencies = Histogram::<u64>::new(3).expect("three digits are legal");
    for (account, own) in accounts {
        sent.lanes.extend(account.lanes);
        sent.alerts += account.alerts;
        sent.text += account.text;
        sent.wire += account.wire;
        sent.writes += account.writes;
        sent.late_ms = sent.late_ms.max(account.late_ms);
        sent.late += account.late;
        latencies.add(own).expect("both resize");
    }
    if order.scenario.ack != Ack::None {
        let ms = |quantile| latencies.value_at_quantile(quantile) as f64 / 1000.0;
        let (p50_ms, p99_ms, p999_ms, max_ms) = (ms(0.5), ms(0.99), ms(0.999), latencies.max() as f64 / 1000.0);
        sent.acks = Some(Acks { count: latencies.len(), p50_ms, p99_ms, p999_ms, max_ms });
    }
    println!("{}", serde_json::to_string(&sent).expect("plain data"));
}

/// A thread with some of the connections, and its own chunks.
struct Lane {
    number: u8,
    connections: Vec<UnixStream>,
    chunks: Vec<Chunk>,
    /// The most log text that it sends.
    volume: u64,
}

impl Lane {
    fn prepare(order: &Order, number: usize) -> Self {
        let scenario = &order.scenario;
        let lanes = scenario.lanes() as u64;
        let mine = (0..scenario.connections).filter(|n| n % scenario.lanes() == number);
        let connections: Vec<UnixStream> =
            mine.map(|_| UnixStream::connect(&order.socket).expect("the router listens")).collect();
        let volume = match (scenario.volume, scenario.rate, scenario.time) {
            (Some(volume), ..) => volume / lanes,
            (None, Rate::Bytes(rate), Some(time)) => (rate * time.as_secs_f64()) as u64 / lanes,
            _ => u64::MAX,
        };
        let mut encoder = Encoder::new(scenario, order.run, order.seed + number as u64);
        let (mut chunks, mut text) = (Vec::new(), 0);
        while text < volume.min(CORPUS / lanes) && (scenario.rate != Rate::Idle || chunks.len() < connections.len()) {
            let chunk = encoder.chunk();
            text += chunk.text;
            chunks.push(chunk);
        }
        if scenario.framing == Framing::Gzip {
            chunks = compress(chunks, number as u8, volume);
        }
        Self { number: number as u8, connections, chunks, volume }
    }

    fn send(mut self, scenario: &Scenario, start: Instant, gate: &Barrier) -> (Sent, Histogram<u64>) {
        let lanes = scenario.lanes() as f64;
        let end = start + scenario.time.unwrap_or(Duration::from_secs(86_400));
        let readers: Vec<_> = match scenario.ack {
            Ack::None => Vec::new(),
            _ => self.connections.iter().map(AckReader::start).collect(),
        };
        gate.wait();
        let mut sent = Sent { lanes: vec![0], ..Sent::default() };
        let mut round = 0;
        'sending: while sent.text < self.volume {
            let n = round % self.chunks.len();
            let (chunk, connection) = (&mut self.chunks[n], round % self.connections.len());
            chunk.prepare(self.number, sent.lanes[0], round as u64);
            for (write, (text, records)) in chunk.writes().enumerate() {
                let due = start
                    + match scenario.rate {
                        Rate::Bytes(rate) => scenario.due(Duration::from_secs_f64(sent.text as f64 * lanes / rate)),
                        Rate::Records(rate) => {
                            scenario.due(Duration::from_secs_f64(sent.lanes[0] as f64 * lanes / rate))
                        }
                        Rate::Saturated | Rate::Idle => start.elapsed(),
                    };
                // A line is sent whole.
                if due >= end && write == 0 {
                    break 'sending;
                }
                let now = Instant::now();
                match due.checked_duration_since(now) {
                    Some(wait) => thread::sleep(wait),
                    None => {
                        sent.late_ms = sent.late_ms.max((now - due).as_secs_f64() * 1000.0);
                        sent.late += u64::from(now - due > LATE);
                    }
                }
                if let Some(reader) = readers.get(connection) {
                    reader.due.send((round as u64, due)).expect("the reader lives while it is told");
                }
                let bytes = chunk.write(write);
                (&self.connections[connection]).write_all(bytes).expect("the router reads");
                sent.wire += bytes.len() as u64;
                sent.writes += 1;
                sent.text += text;
                sent.lanes[0] += records;
            }
            sent.alerts += chunk.alerts;
            round += 1;
            if scenario.rate == Rate::Idle && round == self.connections.len() {
                break;
            }
        }
        if scenario.rate == Rate::Idle {
            thread::sleep(end.saturating_duration_since(Instant::now()));
        }
        let mut latencies = Histogram::new(3).expect("three digits are legal");
        for reader in readers {
            latencies.add(reader.finish()).expect("both resize");
        }
        (sent, latencies)
    }
}

/// Chunks for a whole run, compressed with their marks and times.
fn compress(templates: Vec<Chunk>, lane: u8, volume: u64) -> Vec<Chunk> {
    let (mut templates, mut compressor) = (templates, compressor());
    let (mut chunks, mut text, mut records) = (Vec::new(), 0, 0);
    while text < volume {
        let n = chunks.len() % templates.len();
        let template = &mut templates[n];
        template.prepare(lane, records, 0);
        let _ = template.write(0);
        chunks.push(template.compressed(&mut compressor));
        text += template.text;
        records += template.records;
    }
    chunks
}

/// Reads the acks of a connection.
struct AckReader {
    /// Which chunk is sent, and when it was due.
    due: mpsc::Sender<(u64, Instant)>,
    latencies: thread::JoinHandle<Histogram<u64>>,
}

impl AckReader {
    fn start(socket: &UnixStream) -> Self {
        let mut socket = socket.try_clone().expect("a socket can be cloned");
        let (due, sent) = mpsc::channel::<(u64, Instant)>();
        let latencies = thread::spawn(move || {
            let mut latencies = Histogram::new(3).expect("three digits are legal");
            let (mut waiting, mut answer) = (HashMap::new(), [0; ACK_LEN]);
            loop {
                if waiting.is_empty() {
                    let Ok((chunk, due)) = sent.recv() else { break };
                    waiting.insert(chunk, due);
                }
                socket.read_exact(&mut answer).expect("every chunk is acked");
                let now = Instant::now();
                // A chunk is told before it is written, so that its ack never comes first.
                waiting.extend(sent.try_iter());
                let chunk = acked(&answer).expect("an ack with a token of ours");
                let due = waiting.remove(&chunk).expect("an ack of a chunk that was sent");
                latencies.record(now.saturating_duration_since(due).as_micros() as u64).expect("it resizes");
            }
            latencies
        });
        Self { due, latencies }
    }

    fn finish(self) -> Histogram<u64> {
        drop(self.due);
        self.latencies.join().expect("the reader does not panic")
    }
}
