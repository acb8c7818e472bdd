//! What inflating alone takes, where chunks come compressed: libdeflate on chunks as the sender makes them.

use libdeflater::Decompressor;

use super::calls::clocked;
use crate::chunks::{Encoder, compressor};
use crate::scenario::Scenario;

/// Log text that is inflated.
const SAMPLE: u64 = 16_000_000;

/// CPU seconds a GB of log text.
pub(super) fn cpu_per_gb(scenario: &Scenario, seed: u64) -> f64 {
    let (mut encoder, mut compressor) = (Encoder::new(scenario, 0, seed), compressor());
    let (mut inflater, mut out) = (Decompressor::new(), Vec::new());
    let (mut seconds, mut text) = (0.0, 0);
    while text < scenario.volume.unwrap_or(SAMPLE).min(SAMPLE) {
        let chunk = encoder.chunk();
        let compressed = chunk.compressed(&mut compressor);
        out.resize(chunk.entries().len(), 0);
        seconds += clocked(|| {
            let len = inflater.gzip_decompress(compressed.entries(), &mut out);
            assert_eq!(len, Ok(out.len()), "it is what was compressed");
        });
        text += chunk.text;
    }
    seconds * 1e9 / text as f64
}
