//! `deadletter retry`: records go out again over Forward, chunk by chunk, each confirmed before the next.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, bail};
use clap::Args;

use super::{Chosen, UsageError};
use crate::cli::record_json;
use crate::clock::Clock;
use crate::record::UnixNanos;
use crate::record::msgpack::{Error, Reader, Value, write};

/// A chunk is sent at this size; routers take frames of 8 MiB by default.
const CHUNK_BYTES: usize = 1 << 20;

/// Records of a chunk, at most.
const CHUNK_RECORDS: u32 = 1000;

/// Where letters go whose tag is not known.
const TAG: &str = "deadletter";

#[derive(Args, Debug)]
pub(crate) struct RetryArgs {
    #[command(flatten)]
    chosen: Chosen,
    /// unix:///path or tcp://host:port of a router; without it, where the config's first source listens
    #[arg(long, value_name = "ADDRESS")]
    to: Option<String>,
    /// Tag of those that have kept only the text of `log`
    #[arg(long, value_name = "TAG", default_value = TAG)]
    tag: String,
    /// Say what would be sent, and send nothing
    #[arg(long)]
    dry_run: bool,
    /// The longest wait for a connection or an ack, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    timeout: u64,
}

pub(crate) fn run(args: RetryArgs) -> anyhow::Result<ExitCode> {
    let to = match &args.to {
        Some(to) => to.clone(),
        None if args.chosen.stored.is_some() && args.dry_run => String::new(),
        None => first_source(&args)?,
    };
    let peer = match args.dry_run {
        true => None,
        false => Some(Peer::connect(&to, Duration::from_secs(args.timeout.max(1)))?),
    };
    let now = Clock::start().unix();
    let mut sender = Sender { peer, chunk: Chunk::default(), sent: 0, acked: 0, chunks: 0 };
    let mut passed: BTreeMap<String, u64> = BTreeMap::new();
    let read = args.chosen.read(|letter, _| {
        match letter.original() {
            Some(original) => {
                let tag = original.tag.as_deref().unwrap_or(&args.tag);
                let mut map = Vec::new();
                record_json::write_map(&original.record, &mut map);
                sender.add(tag, original.time.unwrap_or(now), &map)?;
            }
            None => *passed.entry(letter.reason).or_default() += 1,
        }
        Ok(true)
    });
    let ended = read.and_then(|strange| sender.flush().map(|()| strange));
    let would = if args.dry_run { "would send" } else { "sent" };
    let (sent, acked) = (sender.sent, sender.acked);
    let confirmed = if args.dry_run { String::new() } else { format!(" to {to}, {acked} confirmed") };
    println!("{would} {sent} records{confirmed}; nothing was deleted");
    if !passed.is_empty() {
        let reasons: Vec<String> = passed.iter().map(|(reason, n)| format!("{reason} {n}")).collect();
        println!("passed over {} that are no records: {}", passed.values().sum::<u64>(), reasons.join(", "));
    }
    Ok(ended?.tell())
}

/// Where the config's first source listens.
fn first_source(args: &RetryArgs) -> anyhow::Result<String> {
    if args.chosen.stored.is_some() && args.chosen.config.place.is_none() {
        let message = "--to: say where to send them, for example unix:///var/run/fluent.sock, or name a config";
        return Err(UsageError(message.into()).into());
    }
    let (plan, _) = args.chosen.config.plan()?;
    let address = plan.sources.first().and_then(|source| source.listen.first());
    Ok(address.context("the config has no source that listens")?.to_string())
}

/// Records of one tag on their way.
#[derive(Debug, Default)]
struct Chunk {
    tag: String,
    records: u32,
    /// `[time, record]`, one after the other.
    entries: Vec<u8>,
}

struct Sender {
    /// None when nothing is to be sent.
    peer: Option<Peer>,
    chunk: Chunk,
    sent: u64,
    acked: u64,
    chunks: u64,
}

impl Sender {
    fn add(&mut self, tag: &str, time: UnixNanos, map: &[u8]) -> anyhow::Result<()> {
        let Chunk { records, entries, .. } = &self.chunk;
        let full = entries.len() + map.len() > CHUNK_BYTES || *records >= CHUNK_RECORDS;
        if *records > 0 && (full || self.chunk.tag != tag) {
            self.flush()?;
        }
        self.chunk.tag.clear();
        self.chunk.tag.push_str(tag);
        self.chunk.records += 1;
        let out = &mut self.chunk.entries;
        write::array(out, 2);
        event_time(time, out);
        out.extend_from_slice(map);
        Ok(())
    }

    fn flush(&mut self) -> anyhow::Result<()> {
        let Chunk { tag, records, entries } = std::mem::take(&mut self.chunk);
        if records == 0 {
            return Ok(());
        }
        self.chunks += 1;
        self.sent += u64::from(records);
        let Some(peer) = &mut self.peer else { return Ok(()) };
        let token = format!("deadletter-{}-{}", std::process::id(), self.chunks);
        let mut frame = Vec::with_capacity(entries.len() + 256);
        write::array(&mut frame, 3);
        write::str(&mut frame, tag.as_bytes());
        write::array(&mut frame, records);
        frame.extend_from_slice(&entries);
        write::map(&mut frame, 1);
        write::str(&mut frame, b"chunk");
        write::str(&mut frame, token.as_bytes());
        peer.deliver(&frame, token.as_bytes()).with_context(|| {
            let (acked, more) = (self.acked, records);
            format!("{acked} records were confirmed before; whether the next {more} arrived is not known")
        })?;
        self.acked += u64::from(records);
        Ok(())
    }
}

/// EventTime: seconds and nanoseconds of 32 bits each; what lies outside is told as the nearest moment inside.
fn event_time(time: UnixNanos, out: &mut Vec<u8>) {
    let seconds = u32::try_from(time.div_euclid(1_000_000_000).max(0)).unwrap_or(u32::MAX);
    out.extend_from_slice(&[0xd7, 0]);
    out.extend_from_slice(&seconds.to_be_bytes());
    out.extend_from_slice(&(time.rem_euclid(1_000_000_000) as u32).to_be_bytes());
}

trait Stream: Read + Write {}
impl Stream for UnixStream {}
impl Stream for TcpStream {}

/// A router that acks.
struct Peer {
    stream: Box<dyn Stream>,
    /// Read, and not an ack yet.
    buf: Vec<u8>,
}

impl Peer {
    fn connect(to: &str, timeout: Duration) -> anyhow::Result<Self> {
        let failed = |error: io::Error| anyhow::anyhow!("cannot connect to {to}: {error}; is the router running?");
        let stream: Box<dyn Stream> = if let Some(path) = to.strip_prefix("unix://") {
            let stream = UnixStream::connect(path).map_err(failed)?;
            stream.set_read_timeout(Some(timeout))?;
            stream.set_write_timeout(Some(timeout))?;
            Box::new(stream)
        } else if let Some(address) = to.strip_prefix("tcp://") {
            let stream = TcpStream::connect(address).map_err(failed)?;
            stream.set_read_timeout(Some(timeout))?;
            stream.set_write_timeout(Some(timeout))?;
            Box::new(stream)
        } else {
            let message = format!("--to: `{to}` is no address; accepted: unix:///path and tcp://host:port");
            return Err(UsageError(message).into());
        };
        Ok(Self { stream, buf: Vec::new() })
    }

    /// Sends a frame and waits for its ack.
    fn deliver(&mut self, frame: &[u8], token: &[u8]) -> anyhow::Result<()> {
        self.stream.write_all(frame).context("cannot send")?;
        let mut piece = [0; 4096];
        loop {
            match ack(&self.buf) {
                Ok((acked, len)) => {
                    let same = acked == token;
                    self.buf.drain(..len);
                    if same {
                        return Ok(());
                    }
                }
                Err(Error::Incomplete) => match self.stream.read(&mut piece) {
                    Ok(0) => bail!("the router closed the connection before the ack"),
                    Ok(n) => self.buf.extend_from_slice(&piece[..n]),
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    Err(error) => return Err(error).context("no ack came"),
                },
                Err(_) => bail!("the answer is no ack; is this a Forward source?"),
            }
        }
    }
}

/// The token of the ack at the beginning of the bytes, and where it ends.
fn ack(bytes: &[u8]) -> Result<(&[u8], usize), Error> {
    let mut reader = Reader::new(bytes);
    let Value::Map(1) = reader.read()? else { return Err(Error::Reserved) };
    if reader.read()?.text() != Some(b"ack") {
        return Err(Error::Reserved);
    }
    let token = reader.read()?.text().ok_or(Error::Reserved)?;
    Ok((token, reader.pos()))
}
