//! Compressing anew what should not go out as it lies in the queue.
//!
//! Blocks are frames of their own, and an object may be their concatenation. Two cases are not: neighbours so small
//! that a frame each costs ratio are joined ([`join_small`]), and with `single_frame` an object is one frame from its
//! first byte to its last ([`SingleFrame`]), for readers that stop after the first. Costs CPU: call it off the reactor.

use std::io::{Error, Result, Write};

use bytes::Bytes;

use crate::encode::{BlockMeta, Compression, decompress};

/// Frames below this are joined with their neighbours: at 32 KiB a frame of its own still costs some 10 % of ratio.
const SMALL: usize = 32 << 10;

/// Joined frames hold up to this many plain bytes, the size of a full block.
const JOINED: u64 = 256 << 10;

/// A block's bytes without what else it carries.
#[derive(Clone, Debug)]
pub(super) struct Piece {
    pub(super) data: Bytes,
    plain_len: u64,
}

/// How a block is compressed, told by its first bytes, which no line begins with: one on disk may be older than the
/// config.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    None,
    Zstd,
    Gzip,
}

impl Kind {
    fn of(data: &[u8]) -> Self {
        match data {
            [0x28, 0xb5, 0x2f, 0xfd, ..] => Self::Zstd,
            [0x1f, 0x8b, ..] => Self::Gzip,
            _ => Self::None,
        }
    }
}

impl Piece {
    /// Of a block that could be read.
    pub(super) fn new(meta: &BlockMeta, data: &Bytes) -> Option<Self> {
        (!data.is_empty()).then(|| Self { data: data.clone(), plain_len: meta.plain_len })
    }

    /// Whether it is compressed as its object is.
    fn fits(&self, compression: Compression) -> bool {
        let kind = match compression {
            Compression::None => Kind::None,
            Compression::Zstd(_) => Kind::Zstd,
            Compression::Gzip(_) => Kind::Gzip,
        };
        Kind::of(&self.data) == kind
    }

    /// Whether it is better not to stand alone.
    fn is_small(&self, compression: Compression) -> bool {
        compression != Compression::None && self.data.len() < SMALL
    }

    /// The lines. Cannot inflate beyond what the block was sealed with.
    fn plain(&self) -> Result<Bytes> {
        decompress(&self.data, self.plain_len)
    }
}

/// Whether [`join_small`] would change anything.
fn has_small(pieces: &[Piece], compression: Compression) -> bool {
    pieces.iter().any(|piece| !piece.fits(compression))
        || pieces.windows(2).any(|pair| pair.iter().all(|piece| piece.is_small(compression)))
}

/// The pieces of some blocks; those that could not be read are left out.
pub(super) fn pieces<'a>(metas: impl Iterator<Item = &'a BlockMeta>, data: &[Bytes]) -> Vec<Piece> {
    metas.zip(data).filter_map(|(meta, data)| Piece::new(meta, data)).collect()
}

/// As [`join_small`], off the reactor where there is anything to do.
pub(super) async fn joined(pieces: Vec<Piece>, compression: Compression) -> Result<Vec<Bytes>> {
    match has_small(&pieces, compression) {
        true => off_reactor(move || Ok(join_small(pieces, compression))).await,
        false => Ok(pieces.into_iter().map(|piece| piece.data).collect()),
    }
}

pub(super) async fn off_reactor<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(Error::other)?
}

/// The pieces with small neighbours joined, all compressed alike. What does not decompress stays as it is: it is no
/// worse than before.
fn join_small(pieces: Vec<Piece>, compression: Compression) -> Vec<Bytes> {
    let mut out = Vec::with_capacity(pieces.len());
    let mut run: Vec<Piece> = Vec::new();
    for piece in pieces {
        let small = piece.is_small(compression) || !piece.fits(compression);
        let run_len: u64 = run.iter().map(|piece| piece.plain_len).sum();
        if !small || run_len + piece.plain_len > JOINED {
            join(&mut run, compression, &mut out);
        }
        match small {
            true => run.push(piece),
            false => out.push(piece.data),
        }
    }
    join(&mut run, compression, &mut out);
    out
}

/// Empties the run into one frame.
fn join(run: &mut Vec<Piece>, compression: Compression, out: &mut Vec<Bytes>) {
    let run = std::mem::take(run);
    let joined = match &*run {
        [] => None,
        [one] if one.fits(compression) => None,
        _ => run.iter().map(Piece::plain).collect::<Result<Vec<Bytes>>>().ok(),
    };
    match joined {
        Some(plain) => out.push(compression.compress(&plain.concat())),
        None => out.extend(run.into_iter().map(|piece| piece.data)),
    }
}

/// A frame that grows over all parts of an object.
pub(super) struct SingleFrame {
    encoder: Encoder,
}

enum Encoder {
    Plain(Vec<u8>),
    Zstd(zstd::stream::write::Encoder<'static, Vec<u8>>),
    Gzip(flate2::write::GzEncoder<Vec<u8>>),
}

impl SingleFrame {
    pub(super) fn begin(compression: Compression) -> Result<Self> {
        let encoder = match compression {
            Compression::None => Encoder::Plain(Vec::new()),
            Compression::Zstd(level) => Encoder::Zstd(zstd::stream::write::Encoder::new(Vec::new(), level.into())?),
            // A stream's levels end at 9; 10 to 12 are those of whole blocks.
            Compression::Gzip(level) => {
                let level = flate2::Compression::new(u32::from(level.min(9)));
                Encoder::Gzip(flate2::write::GzEncoder::new(Vec::new(), level))
            }
        };
        Ok(Self { encoder })
    }

    /// Compresses further blocks into the frame.
    pub(super) fn add(&mut self, pieces: &[Piece]) -> Result<()> {
        for piece in pieces {
            let plain = piece.plain()?;
            match &mut self.encoder {
                Encoder::Plain(out) => out.extend_from_slice(&plain),
                Encoder::Zstd(encoder) => encoder.write_all(&plain)?,
                Encoder::Gzip(encoder) => encoder.write_all(&plain)?,
            }
        }
        Ok(())
    }

    /// All that was added so far is in the output: a reader that streams gets it even if no more follows.
    pub(super) fn flush(&mut self) -> Result<()> {
        match &mut self.encoder {
            Encoder::Plain(_) => Ok(()),
            Encoder::Zstd(encoder) => encoder.flush(),
            Encoder::Gzip(encoder) => encoder.flush(),
        }
    }

    /// Ends the frame; [`SingleFrame::output`] then holds its end.
    pub(super) fn finish(self) -> Result<Bytes> {
        let out = match self.encoder {
            Encoder::Plain(out) => out,
            Encoder::Zstd(encoder) => encoder.finish()?,
            Encoder::Gzip(encoder) => encoder.finish()?,
        };
        Ok(out.into())
    }

    /// Compressed bytes that were not taken yet.
    pub(super) fn output(&mut self) -> &mut Vec<u8> {
        match &mut self.encoder {
            Encoder::Plain(out) => out,
            Encoder::Zstd(encoder) => encoder.get_mut(),
            Encoder::Gzip(encoder) => encoder.get_mut(),
        }
    }
}
