//! Compressed entries, inflated by windows: a frame's records are routed as they appear and never lie in memory whole.
//!
//! The bytes' own magic says what they are, over what the option claims. Several gzip members or zstd frames in a row
//! are one stream.

use std::io::{Cursor, Read};

use bytes::{Bytes, BytesMut};
use flate2::bufread::MultiGzDecoder;

use super::entries::{self, MAX_RECORDS, Tally};
use super::malformed::Malformed;
use crate::record::msgpack::{Error, Reader};
use crate::record::{RecordSpan, UnixNanos};

/// Inflated bytes that are looked at together: large enough for full batches, small enough to stay in the cache.
const WINDOW: usize = 256 << 10;

/// Largest zstd window as a power of two: 8 MiB, what RFC 8878 asks every decoder to support. A frame may declare up
/// to 2 GiB, and the decoder would allocate it.
const ZSTD_WINDOW_LOG: u32 = 23;

enum Inflater {
    Gzip(Box<MultiGzDecoder<Cursor<Bytes>>>),
    Zstd(zstd::stream::read::Decoder<'static, Cursor<Bytes>>),
}

impl Inflater {
    fn state(&self) -> usize {
        match self {
            Self::Gzip(_) => GZIP_STATE,
            Self::Zstd(_) => ZSTD_STATE,
        }
    }
}

impl Read for Inflater {
    fn read(&mut self, out: &mut [u8]) -> std::io::Result<usize> {
        match self {
            Self::Gzip(gzip) => gzip.read(out),
            Self::Zstd(zstd) => zstd.read(out),
        }
    }
}

/// What inflating holds beside the window: deflate's history and tables, or the largest zstd window. Of zstd the most
/// is asked for, since any of the frames in a row may declare it.
const GZIP_STATE: usize = 64 << 10;
const ZSTD_STATE: usize = (1 << ZSTD_WINDOW_LOG) + (256 << 10);

/// What [`Windows::next`] comes to.
#[derive(Debug)]
pub(super) enum Step {
    /// Bytes with records.
    Records(Bytes),
    /// Going on takes so many bytes in all; the next call takes them for granted.
    Grow(usize),
    End,
}

/// So many values that are no records end a frame: a small one may inflate to millions, and whoever steps over them
/// reads nothing else meanwhile.
const MAX_REFUSED: u64 = 2_000_000;

/// The entries of a compressed frame, window by window.
pub(super) struct Windows {
    inflater: Inflater,
    /// Inflated, and not yet given away.
    window: BytesMut,
    /// Length of the window that has been granted.
    granted: usize,
    /// Inflated so far, at most `bound`.
    total: u64,
    bound: u64,
    /// Longest entry.
    entry_bound: usize,
    /// What stood where entries should, so far.
    refused: u64,
    ended: bool,
    /// Why inflating broke off; told when what came before has been given away.
    failed: Option<Malformed>,
}

impl std::fmt::Debug for Windows {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Windows").field("total", &self.total).finish_non_exhaustive()
    }
}

impl Windows {
    /// Looks at how the payload is compressed; none when it is not.
    pub(super) fn open(
        payload: Bytes,
        claimed: Option<&[u8]>,
        bound: u64,
        entry_bound: usize,
    ) -> Result<Option<Self>, Malformed> {
        let inflater = match (&payload[..], claimed) {
            ([0x1f, 0x8b, ..], _) => Inflater::Gzip(Box::new(MultiGzDecoder::new(Cursor::new(payload)))),
            ([0x28, 0xb5, 0x2f, 0xfd, ..], _) => {
                let mut zstd = zstd::stream::read::Decoder::with_buffer(Cursor::new(payload)).map_err(broken)?;
                zstd.window_log_max(ZSTD_WINDOW_LOG).map_err(broken)?;
                Inflater::Zstd(zstd)
            }
            (_, None | Some(b"" | b"text" | b"gzip" | b"zstd")) => return Ok(None),
            (_, Some(other)) => {
                let name = String::from_utf8_lossy(&other[..other.len().min(32)]).into_owned();
                return Err(Malformed::Compression(name));
            }
        };
        Ok(Some(Self {
            inflater,
            window: BytesMut::new(),
            granted: 0,
            total: 0,
            bound,
            entry_bound,
            refused: 0,
            ended: false,
            failed: None,
        }))
    }

    /// The next bytes with their records. `records` comes empty and is filled.
    pub(super) fn next(
        &mut self,
        records: &mut Vec<RecordSpan>,
        received: UnixNanos,
        tally: &mut Tally,
    ) -> Result<Step, Malformed> {
        loop {
            let before = tally.refused();
            let used = self.entries(records, received, tally)?;
            self.refused += tally.refused() - before;
            if self.refused > MAX_REFUSED {
                return Err(Malformed::NoEntries(self.refused));
            }
            if !records.is_empty() {
                return Ok(Step::Records(self.window.split_to(used).freeze()));
            }
            bytes::Buf::advance(&mut self.window, used);
            if let Some(failed) = self.failed.take() {
                return Err(failed);
            }
            if self.ended {
                return if self.window.is_empty() { Ok(Step::End) } else { Err(Malformed::CutEntries) };
            }
            let target = self.target()?;
            if target > self.granted {
                self.granted = target;
                return Ok(Step::Grow(target + self.inflater.state()));
            }
            self.fill(target);
        }
    }

    /// Reads whole entries; returns where they end.
    fn entries(
        &self,
        records: &mut Vec<RecordSpan>,
        received: UnixNanos,
        tally: &mut Tally,
    ) -> Result<usize, Malformed> {
        let mut reader = Reader::new(&self.window);
        while !reader.is_empty() && records.len() < MAX_RECORDS {
            match entries::next(&mut reader, received, tally) {
                Ok(record) => records.extend(record),
                Err(Error::Incomplete) => break,
                Err(error) if records.is_empty() => return Err(error.into()),
                // The records before it are given away first; the next call meets it again.
                Err(_) => break,
            }
        }
        Ok(reader.pos())
    }

    /// How much to inflate: a full window, or twice what a large entry has so far.
    fn target(&self) -> Result<usize, Malformed> {
        let held = self.window.len();
        if held > self.entry_bound {
            return Err(Malformed::FrameTooLarge { found: held as u64, bound: self.entry_bound as u64 });
        }
        Ok(if held < WINDOW { WINDOW } else { 2 * held })
    }

    /// Inflates until the window holds `target` bytes.
    fn fill(&mut self, target: usize) {
        let held = self.window.len();
        self.window.resize(target, 0);
        let mut end = held;
        while end < target {
            match self.inflater.read(&mut self.window[end..target]) {
                Ok(0) => {
                    self.ended = true;
                    break;
                }
                Ok(n) => {
                    end += n;
                    self.total += n as u64;
                }
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) => {
                    self.failed = Some(broken(error));
                    break;
                }
            }
            if self.total > self.bound {
                // What fits the bound is looked at before the connection ends.
                end -= usize::try_from(self.total - self.bound).unwrap_or(end).min(end);
                self.failed = Some(Malformed::Bomb { bound: self.bound });
                break;
            }
        }
        self.window.truncate(end);
    }
}

fn broken(error: std::io::Error) -> Malformed {
    Malformed::Inflate(error.to_string())
}
