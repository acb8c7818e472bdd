//! Compressing anew what should not go out as it lies in the queue.
//!
//! Blocks are frames of their own, and an object may be their concatenation. Two cases are not: neighbours so small
//! that a frame each costs ratio are joined ([`join_small`]), and with `single_frame` an object is one frame from its
//! first byte to its last ([`SingleFrame`]), for readers that stop after the first. Costs CPU: call it off the reactor.

use std::io::{Error, Result, Write};

use bytes::Bytes;

use crate::encode::{Block, Compression};

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

impl From<&Block> for Piece {
    fn from(block: &Block) -> Self {
        Self { data: block.data.clone(), plain_len: block.meta.plain_len }
    }
}

impl Piece {
    /// The lines. Cannot inflate beyond what the block was sealed with.
    fn plain(&self, compression: Compression) -> Result<Bytes> {
        let len = usize::try_from(self.plain_len).map_err(Error::other)?;
        let plain = match compression {
            Compression::None => return Ok(self.data.clone()),
            Compression::Zstd(_) => zstd::bulk::decompress(&self.data, len)?,
            Compression::Gzip(_) => {
                let mut plain = vec![0; len];
                let wrote = libdeflater::Decompressor::new()
                    .gzip_decompress(&self.data, &mut plain)
                    .map_err(|error| Error::other(error.to_string()))?;
                plain.truncate(wrote);
                plain
            }
        };
        Ok(plain.into())
    }
}

/// Whether [`join_small`] would change anything.
pub(super) fn has_small(pieces: &[Piece], compression: Compression) -> bool {
    compression != Compression::None && pieces.windows(2).any(|pair| pair.iter().all(|piece| piece.data.len() < SMALL))
}

/// The pieces with small neighbours joined. What does not decompress stays as it is: it is no worse than before.
pub(super) fn join_small(pieces: Vec<Piece>, compression: Compression) -> Vec<Bytes> {
    let mut out = Vec::with_capacity(pieces.len());
    let mut run: Vec<Piece> = Vec::new();
    for piece in pieces {
        let small = piece.data.len() < SMALL;
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
    let joined = match run.len() {
        0 | 1 => None,
        _ => run.iter().map(|piece| piece.plain(compression)).collect::<Result<Vec<Bytes>>>().ok(),
    };
    match joined {
        Some(plain) => out.push(compression.compress(&plain.concat())),
        None => out.extend(run.into_iter().map(|piece| piece.data)),
    }
}

/// A frame that grows over all parts of an object.
pub(super) struct SingleFrame {
    compression: Compression,
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
        Ok(Self { compression, encoder })
    }

    /// Compresses further blocks into the frame.
    pub(super) fn add(&mut self, pieces: &[Piece]) -> Result<()> {
        for piece in pieces {
            let plain = piece.plain(self.compression)?;
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
