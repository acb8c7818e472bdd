//! What the stages work on: log records as Docker's driver sends them under FireLens, from a fixed seed. Ids, paths,
//! durations and messages vary, so that neither a branch predictor nor a compressor sees one line repeated.

use logweir::record::msgpack::write;
use logweir::record::{Record, Tag};

/// Records of a run: some 400 KB of log text, more than one block of 256 KiB.
pub(crate) const RECORDS: usize = 1_000;

/// Tag of all records.
pub(crate) const TAG: &str = "app-firelens-0123456789abcdef0123456789abcdef";

/// Time of the first record, 2026-11-23T10:00:00Z in seconds; one more every millisecond.
const START: u64 = 1_795_428_000;

/// When all records are received, in nanoseconds: less than a second after the last.
pub(crate) const RECEIVED: i64 = (START as i64 + 2) * 1_000_000_000;

/// What applications write.
#[derive(Clone, Copy)]
pub(crate) enum Shape {
    /// A JSON object of 380 to 450 bytes.
    Json,
    /// A line of an access log, about 180 bytes.
    Text,
    /// An exception with its stack as one record, about 1 KB in 15 lines.
    Trace,
}

/// The `log` of each record.
pub(crate) fn logs(shape: Shape) -> Vec<String> {
    let mut rng = fastrand::Rng::with_seed(7);
    (0..RECORDS as u64).map(|n| shape.log(&mut rng, n)).collect()
}

/// The msgpack map of each record.
pub(crate) fn maps(shape: Shape) -> Vec<Vec<u8>> {
    logs(shape).iter().map(|log| map(log)).collect()
}

/// The records themselves.
pub(crate) fn records<'a>(maps: &'a [Vec<u8>], tag: &'a Tag) -> impl Iterator<Item = Record<'a>> {
    let record = move |(n, map): (_, &'a Vec<u8>)| Record {
        tag,
        source: "forward",
        time: time(n),
        received: RECEIVED,
        map,
        ecs: None,
        json: Default::default(),
    };
    maps.iter().enumerate().map(record)
}

/// A frame of Message mode for each record.
pub(crate) fn messages(shape: Shape) -> Vec<u8> {
    let mut out = Vec::new();
    for (n, map) in maps(shape).iter().enumerate() {
        write::array(&mut out, 4);
        write::str(&mut out, TAG.as_bytes());
        event_time(&mut out, n);
        out.extend_from_slice(map);
        write::map(&mut out, 0);
    }
    out
}

/// The records in frames of Forward mode.
pub(crate) fn forward(shape: Shape) -> Vec<u8> {
    chunks(shape, |out, records, entries| {
        write::array(out, records);
        out.extend_from_slice(entries);
    })
}

/// The records in frames of PackedForward.
pub(crate) fn packed(shape: Shape) -> Vec<u8> {
    chunks(shape, |out, _, entries| write::str(out, entries))
}

/// Frames of 64 KiB; `body` writes how many entries as the mode has them.
fn chunks(shape: Shape, body: fn(&mut Vec<u8>, u32, &[u8])) -> Vec<u8> {
    let (mut out, mut entries, mut records) = (Vec::new(), Vec::new(), 0);
    for (n, map) in maps(shape).iter().enumerate() {
        write::array(&mut entries, 2);
        event_time(&mut entries, n);
        entries.extend_from_slice(map);
        records += 1;
        if entries.len() >= 64 << 10 || n + 1 == RECORDS {
            write::array(&mut out, 3);
            write::str(&mut out, TAG.as_bytes());
            body(&mut out, records, &entries);
            write::map(&mut out, 0);
            entries.clear();
            records = 0;
        }
    }
    out
}

fn time(n: usize) -> i64 {
    START as i64 * 1_000_000_000 + n as i64 * 1_000_000
}

fn event_time(out: &mut Vec<u8>, n: usize) {
    out.extend_from_slice(&[0xd7, 0x00]);
    out.extend_from_slice(&(START as u32).to_be_bytes());
    out.extend_from_slice(&(n as u32 * 1_000_000).to_be_bytes());
}

fn map(log: &str) -> Vec<u8> {
    let mut map = Vec::new();
    write::map(&mut map, 4);
    for (key, value) in [
        ("container_id", "5f0c2b8d1e6a4f7c9b3d2e1f0a8c7b6d5e4f3a2b1c0d9e8f7a6b5c4d3e2f1a0b"),
        ("container_name", "/ecs-web-42-app-d0c1b2a3f4e5d6c7b801"),
        ("source", "stdout"),
        ("log", log),
    ] {
        write::str(&mut map, key.as_bytes());
        write::str(&mut map, value.as_bytes());
    }
    map
}

impl Shape {
    fn log(self, rng: &mut fastrand::Rng, n: u64) -> String {
        let level = match rng.u8(..100) {
            0..85 => "INFO",
            85..95 => "WARN",
            _ => "ERROR",
        };
        let path =
            *pick(rng, &["/api/v1/orders", "/api/v1/orders/items", "/health", "/api/v2/customers", "/api/v1/search"]);
        let status = *pick(rng, &[200, 200, 200, 204, 301, 404, 500]);
        let (took, client) = (rng.u32(..900_000), rng.u32(..));
        match self {
            Self::Json => format!(
                r#"{{"time":"2026-11-23T10:{:02}:{:02}.{:06}Z","level":"{level}","logger":"com.example.http.Access","thread":"worker-{}","trace_id":"{:032x}","method":"GET","path":"{path}/{}","status":{status},"duration_ms":{}.{:03},"bytes":{},"client":"10.{}.{}.{}","user":{{"id":"c-{:08x}","plan":"free"}},"message":"request {} by upstream, then {} for the client","sequence":{n}}}"#,
                rng.u8(..60),
                rng.u8(..60),
                rng.u32(..1_000_000),
                rng.u8(..16),
                rng.u128(..),
                rng.u32(..100_000),
                took / 1000,
                took % 1000,
                rng.u32(..65_536),
                client >> 16 & 255,
                client >> 8 & 255,
                client & 255,
                rng.u32(..),
                pick(rng, &WORDS),
                pick(rng, &WORDS),
            ),
            Self::Text => format!(
                "10.{}.{}.{} - c-{:08x} [23/Nov/2026:10:{:02}:{:02} +0000] \"GET {path}/{} HTTP/1.1\" {status} {} \"https://www.example.com/{}\" \"Mozilla/5.0 (X11; Linux x86_64)\" {}",
                client >> 16 & 255,
                client >> 8 & 255,
                client & 255,
                rng.u32(..),
                rng.u8(..60),
                rng.u8(..60),
                rng.u32(..100_000),
                rng.u32(..65_536),
                pick(rng, &WORDS),
                took / 1000,
            ),
            Self::Trace => {
                let mut log = format!(
                    "2026-11-23 10:{:02}:{:02}.{:03} [worker-{}] {level} com.example.orders.OrderService - request {} failed\njava.lang.IllegalStateException: order {:08x} was \"{}\"\n",
                    rng.u8(..60),
                    rng.u8(..60),
                    rng.u16(..1000),
                    rng.u8(..16),
                    path,
                    rng.u32(..),
                    pick(rng, &WORDS),
                );
                for _ in 0..13 {
                    let (class, method) = (pick(rng, &CLASSES), pick(rng, &WORDS));
                    log.push_str(&format!("\tat com.example.{class}.{method}({class}.java:{})\n", rng.u16(1..2_000)));
                }
                log
            }
        }
    }
}

const WORDS: [&str; 8] = ["accepted", "queued", "cached", "retried", "expired", "loaded", "merged", "skipped"];
const CLASSES: [&str; 6] = [
    "orders.OrderService",
    "orders.OrderController",
    "http.FilterChain",
    "http.DispatcherServlet",
    "db.ConnectionPool",
    "security.TokenFilter",
];

fn pick<'a, T>(rng: &mut fastrand::Rng, choices: &'a [T]) -> &'a T {
    &choices[rng.usize(..choices.len())]
}
