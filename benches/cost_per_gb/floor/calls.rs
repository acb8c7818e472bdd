//! Bare library calls on what arrived: on a sample of the very bytes, in CPU time of the threads that make them.
//!
//! The sample goes through in blocks of 256 KiB, as the router's do, each through all calls before the next, so that what
//! one call has read is in the cache for the other. It keeps the scenario's [`Rhythm`]: where the router had all cores at
//! work, threads share the sample, since on cores that share something (caches, or all of a core, as hyperthreads do) a
//! second takes more; at a rate, one thread sleeps until a block is due, since a core that has slept is slower at first.

use std::hint::black_box;
use std::ops::Range;
use std::thread;
use std::time::{Duration, Instant};

use aws_lc_rs::digest::{SHA256, digest};
use libdeflater::{CompressionLvl, Compressor};
use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};
use zstd::zstd_safe::{CParameter, compress_bound};

use crate::machine;
use crate::scenario::Compression;

/// Bytes of a block.
const BLOCK: usize = 256 << 10;

/// Turns through the sample when there are no pauses, odd for a median.
const TURNS: usize = 5;

/// How the blocks of a sample follow one another.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Rhythm {
    /// Without pauses, shared by so many threads.
    Saturated(usize),
    /// Evenly in so much time.
    Paced(Duration),
}

impl Rhythm {
    fn threads(self) -> usize {
        match self {
            Self::Saturated(threads) => threads,
            Self::Paced(_) => 1,
        }
    }

    fn turns(self) -> usize {
        match self {
            Self::Saturated(_) => TURNS,
            Self::Paced(_) => 1,
        }
    }

    /// Sleeps until the `n`th of so many is due in a turn that began then.
    fn wait(self, begin: Instant, n: usize, of: usize) {
        if let Self::Paced(time) = self {
            let due = begin + time.mul_f64(n as f64 / of as f64);
            thread::sleep(due.saturating_duration_since(Instant::now()));
        }
    }
}

/// CPU seconds by call.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Calls {
    /// One memcpy of lines and messages.
    pub(crate) copy: f64,
    /// One UTF-8 check of lines and messages.
    pub(crate) utf8: f64,
    /// serde_json's `IgnoredAny` over the text of `log`, where that stands as JSON in lines or messages.
    pub(crate) json: f64,
    /// zstd level 1 or libdeflate level 1, one context for all blocks.
    pub(crate) objects: f64,
    /// libdeflate level 1 for the bodies of requests to CloudWatch Logs.
    pub(crate) bodies: f64,
    /// SHA-256 of what is signed: the bodies of requests to both, as sent.
    pub(crate) sha256: f64,
}

impl Calls {
    /// Each with its name.
    pub(crate) fn named(&self) -> [(&'static str, f64); 6] {
        let Self { copy, utf8, json, objects, bodies, sha256 } = *self;
        [("copy", copy), ("utf8", utf8), ("json", json), ("objects", objects), ("bodies", bodies), ("sha256", sha256)]
    }

    /// Each as `by` makes it.
    pub(crate) fn map(self, by: impl Fn(f64) -> f64) -> Self {
        self.with(Self::default(), |a, _| by(a))
    }

    /// Both together, call by call.
    pub(crate) fn with(self, other: Self, by: impl Fn(f64, f64) -> f64) -> Self {
        Self {
            copy: by(self.copy, other.copy),
            utf8: by(self.utf8, other.utf8),
            json: by(self.json, other.json),
            objects: by(self.objects, other.objects),
            bodies: by(self.bodies, other.bodies),
            sha256: by(self.sha256, other.sha256),
        }
    }

    fn median(turns: &[Self]) -> Self {
        let middle = |call: fn(&Self) -> f64| {
            let mut seconds: Vec<f64> = turns.iter().map(call).collect();
            seconds.sort_by(f64::total_cmp);
            seconds[seconds.len() / 2]
        };
        Self {
            copy: middle(|turn| turn.copy),
            utf8: middle(|turn| turn.utf8),
            json: middle(|turn| turn.json),
            objects: middle(|turn| turn.objects),
            bodies: middle(|turn| turn.bodies),
            sha256: middle(|turn| turn.sha256),
        }
    }
}

/// Lines or messages as they stand one after the other.
#[derive(Debug, Default)]
pub(crate) struct Block {
    bytes: Vec<u8>,
    /// Where JSON stands that was text in `log`.
    logs: Vec<Range<usize>>,
}

impl Block {
    /// Appends a text; `log` is where JSON stands in it. False when the block is full.
    pub(crate) fn push(&mut self, text: &[u8], log: Option<Range<usize>>) -> bool {
        let begin = self.bytes.len();
        if begin > 0 && begin + text.len() > BLOCK {
            return false;
        }
        self.bytes.extend_from_slice(text);
        self.logs.extend(log.map(|log| begin + log.start..begin + log.end));
        true
    }
}

/// What the calls on lines take, which are compressed and sent block by block.
pub(crate) fn on_lines(blocks: &[Block], compression: Compression, rhythm: Rhythm) -> Calls {
    shared(rhythm, |n| {
        let (blocks, mut copy, mut packer) = (part(blocks, n, rhythm.threads()), Vec::new(), Packer::new(compression));
        move || {
            let (mut calls, begin) = (Calls::default(), Instant::now());
            for (n, block) in blocks.iter().enumerate() {
                rhythm.wait(begin, n, blocks.len());
                reading(block, &mut copy, &mut calls);
                calls.objects += packer.pack(&block.bytes);
                calls.sha256 += clocked(|| digest(&SHA256, packer.packed(&block.bytes)));
            }
            calls
        }
    })
}

/// What the calls on messages take, and on the bodies that they are sent in.
pub(crate) fn on_messages(blocks: &[Block], bodies: &[Vec<u8>], compression: Compression, rhythm: Rhythm) -> Calls {
    shared(rhythm, |n| {
        let (blocks, bodies) = (part(blocks, n, rhythm.threads()), part(bodies, n, rhythm.threads()));
        let (mut copy, mut packer) = (Vec::new(), Packer::new(compression));
        move || {
            let (mut calls, begin) = (Calls::default(), Instant::now());
            // A thread may have messages and no body: those are few.
            let steps = bodies.len().max(1);
            for n in 0..steps {
                rhythm.wait(begin, n, steps);
                part(blocks, n, steps).iter().for_each(|block| reading(block, &mut copy, &mut calls));
                let Some(body) = bodies.get(n) else { continue };
                calls.bodies += packer.pack(body);
                calls.sha256 += clocked(|| digest(&SHA256, packer.packed(body)));
            }
            calls
        }
    })
}

/// What all threads take together: `work` makes each of them its turn. Of several turns the median of each call counts:
/// the router had not the best of several, either.
fn shared<T: FnMut() -> Calls>(rhythm: Rhythm, work: impl Fn(usize) -> T + Sync) -> Calls {
    let threads = rhythm.threads();
    let turns = |n| std::iter::repeat_with(work(n)).take(rhythm.turns()).collect::<Vec<_>>();
    let all: Vec<Vec<Calls>> = thread::scope(|scope| {
        let turns = &turns;
        let running: Vec<_> = (0..threads).map(|n| scope.spawn(move || turns(n))).collect();
        running.into_iter().map(|thread| thread.join().expect("it does not panic")).collect()
    });
    let turn = |n: usize| all.iter().fold(Calls::default(), |sum, own: &Vec<Calls>| sum.with(own[n], |a, b| a + b));
    Calls::median(&(0..rhythm.turns()).map(turn).collect::<Vec<_>>())
}

/// The `n`th of so many parts.
fn part<T>(all: &[T], n: usize, of: usize) -> &[T] {
    &all[all.len() * n / of..all.len() * (n + 1) / of]
}

/// What is done with a text before it is compressed.
fn reading(block: &Block, copy: &mut Vec<u8>, calls: &mut Calls) {
    calls.copy += clocked(|| {
        copy.clear();
        copy.extend_from_slice(&block.bytes);
    });
    calls.utf8 += clocked(|| std::str::from_utf8(&block.bytes).is_ok());
    if block.logs.is_empty() {
        return;
    }
    calls.json += clocked(|| {
        let logs = block.logs.iter().map(|log| &block.bytes[log.clone()]);
        logs.filter(|log| serde_json::from_slice::<IgnoredAny>(black_box(log)).is_ok()).count()
    });
}

/// CPU seconds of this thread for the work.
pub(super) fn clocked<T>(work: impl FnOnce() -> T) -> f64 {
    let before = machine::thread_cpu();
    black_box(work());
    machine::thread_cpu() - before
}

/// A compressor with a context and a buffer for all that it is given.
struct Packer {
    with: With,
    out: Vec<u8>,
}

enum With {
    Zstd(Box<zstd::bulk::Compressor<'static>>),
    Gzip(Compressor),
    Nothing,
}

impl Packer {
    fn new(compression: Compression) -> Self {
        let with = match compression {
            Compression::Zstd => With::Zstd(Box::new(zstd().expect("zstd knows level 1 and its parameters"))),
            Compression::Gzip => With::Gzip(Compressor::new(CompressionLvl::new(1).expect("libdeflate knows level 1"))),
            Compression::None => With::Nothing,
        };
        Self { with, out: Vec::new() }
    }

    /// Packs it into the buffer; what that took.
    fn pack(&mut self, plain: &[u8]) -> f64 {
        let Self { with, out } = self;
        match with {
            With::Zstd(zstd) => {
                out.clear();
                out.reserve(compress_bound(plain.len()));
                clocked(|| zstd.compress_to_buffer(plain, out).expect("the bound holds any input"))
            }
            With::Gzip(gzip) => {
                out.resize(gzip.gzip_compress_bound(plain.len()), 0);
                let mut len = 0;
                let seconds = clocked(|| len = gzip.gzip_compress(plain, out).expect("the bound holds any input"));
                out.truncate(len);
                seconds
            }
            With::Nothing => 0.0,
        }
    }

    /// What `plain` was packed to.
    fn packed<'a>(&'a self, plain: &'a [u8]) -> &'a [u8] {
        if matches!(self.with, With::Nothing) { plain } else { &self.out }
    }
}

/// Level 1 with the three parameters that log lines are quicker with, as the router has it.
fn zstd() -> std::io::Result<zstd::bulk::Compressor<'static>> {
    let mut zstd = zstd::bulk::Compressor::new(1)?;
    zstd.set_parameter(CParameter::MinMatch(7))?;
    zstd.set_parameter(CParameter::HashLog(14))?;
    zstd.set_parameter(CParameter::WindowLog(BLOCK.ilog2()))?;
    Ok(zstd)
}
