//! Blocks compressed, as an outlet has it done, beside the bare library with a context of its own.

use std::hint::black_box;

use libdeflater::{CompressionLvl, Compressor};
use logweir::encode::ndjson::NdjsonEncoder;
use logweir::encode::{Compression, Encoder, LogJson};

use super::{Run, Work, lines};

/// One block of 256 KiB.
pub(super) fn work(compression: Compression) -> Work {
    let mut block = lines::encoded(Encoder::Ndjson(NdjsonEncoder::new(LogJson::Nest)));
    block.truncate(logweir::encode::BLOCK_SIZE);
    let copy = block.clone();
    let (floor, run_floor): (_, Run) = match compression {
        Compression::Zstd(level) => {
            let mut zstd = zstd::bulk::Compressor::new(level.into()).expect("zstd knows the level");
            let mut out = Vec::with_capacity(zstd::zstd_safe::compress_bound(copy.len()));
            ("zstd", Box::new(move || zstd.compress_to_buffer(black_box(&copy), &mut out).expect("it fits")))
        }
        Compression::Gzip(level) => {
            let mut gzip = Compressor::new(CompressionLvl::new(level.into()).expect("libdeflate knows the level"));
            let mut out = vec![0; gzip.gzip_compress_bound(copy.len())];
            ("libdeflate", Box::new(move || gzip.gzip_compress(black_box(&copy), &mut out).expect("it fits")))
        }
        Compression::None => unreachable!("nothing to measure"),
    };
    Work { bytes: block.len(), run: Box::new(move || compression.compress(black_box(&block)).len()), floor, run_floor }
}
